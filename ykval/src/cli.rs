//! The command line: its verbs, and what they have in common.

mod accept_database;
mod backup;
mod check;
mod checksum;
mod client;
mod cluster;
mod completions;
mod evidence;
mod files;
mod import;
mod init;
mod key;
mod move_store;
mod out;
mod place;
mod restore;
mod running;
mod serve;
mod sync;
mod token;

use clap::{Parser, Subcommand, ValueHint};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use ykcli::failure::{self, Done, Failure};
use ykcli::line::absolute;
use ykcli::{diagnostic, explain};
use ykval::config::Config;
use ykval::store::Store;
use yubiotp::PublicId;
use yubiotp::diagnostic::{Calls, Code, Diagnostic, Location, Program, cause};
use yubiotp::seal::StoreKeys;

/// A validation server for YubiKey OTPs
#[derive(Parser)]
#[command(name = "ykvald", version, max_term_width = 100)]
#[command(
    after_help = "Exit status: 0 done, 1 problems found (check: warnings), 2 something cannot be used (check: errors)."
)]
pub(crate) struct Command {
    /// Configuration file [default: /etc/ykvald/config.toml, or config.toml in /var/lib/ykvald (root) or
    /// ~/.local/share/ykvald (others)]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
    /// Print JSON instead of text, for scripts
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Create the configuration, the store key, the store and the first client
    Init(init::Args),
    /// Answer verification requests until SIGTERM. Creates a default configuration if none exists, and prints its path
    Serve(serve::Args),
    /// Check everything that the server depends on, without starting it. Changes nothing
    Check,
    /// Explain a code of a log line or an error: its cause and its remedy
    ExplainCode(explain::Args),
    /// Accept a PostgreSQL or etcd that ykvald refuses: an older one than it has seen, or another one
    AcceptDatabase(accept_database::Args),
    /// Manage clients: their IDs and keys
    #[command(subcommand)]
    Client(client::Verb),
    /// Look at the servers of the site, and at the store that they share
    #[command(subcommand)]
    Cluster(cluster::Verb),
    /// Manage the keys of tokens in the store
    #[command(subcommand)]
    Key(key::Verb),
    /// Manage restored tokens, whose stored position may be too low
    #[command(subcommand)]
    Token(token::Verb),
    /// Copy the store to a file, while the server runs. SQLite only
    Backup(backup::Args),
    /// Replace the store by a backup, with the server stopped. Used OTPs stay invalid
    Restore(restore::Args),
    /// Move clients, keys and counters to another store, while the servers run. The old store then accepts nothing any more
    MoveStore(move_store::Args),
    /// Import the counters, clients and keys of YK-VAL and YK-KSM. Counters are only raised
    #[command(subcommand)]
    Import(import::Verb),
    /// Tell peers of YK-VAL what was accepted, while a site moves from them
    #[command(subcommand)]
    Sync(sync::Verb),
    /// Print two digests of all keys, ours and YK-KSM's, to compare stores without showing a key
    Checksum(checksum::Args),
    /// Print a completion script for a shell
    Completions(completions::Args),
}

/// What every verb gets.
struct Context {
    /// The absolute path of the configuration file, if one was named.
    config: Option<PathBuf>,
    json: bool,
}

/// An open store, with its configuration and key.
struct Opened {
    config: Config,
    store: Store,
    /// What is new is sealed under the current one: that of the store, also while the store key is being replaced.
    key: StoreKeys,
}

impl Context {
    /// The configuration; `listen`, if not empty, replaces its setting of that name.
    fn settings(&self, listen: &[SocketAddr]) -> Result<Config, Failure> {
        let path = match &self.config {
            Some(path) => path.clone(),
            None => place::settings()?.ok_or_else(place::no_settings)?,
        };
        Ok(Config::load(&path, listen)?)
    }

    async fn open(&self) -> Result<Opened, Failure> {
        let config = self.settings(&[])?;
        let key = place::store_key(&config)?;
        let (store, key) = place::store(&config, &config.store, key).await?;
        Ok(Opened { config, store, key })
    }

    /// The same, even if the PostgreSQL or etcd is another one than was used last, or older.
    async fn open_even_another(&self) -> Result<Opened, Failure> {
        let config = self.settings(&[])?;
        let key = place::store_key(&config)?;
        let (store, key) = place::store(&config, &config.store.as_if_never_seen(), key).await?;
        Ok(Opened { config, store, key })
    }

    /// How to call the command with this configuration.
    fn ykvald(&self) -> String {
        failure::call("ykvald", self.config.as_deref())
    }

    /// A finding in one line, with its remedies and its code.
    fn line(&self, found: &Diagnostic) -> String {
        diagnostic::line(found, Calls { ykvald: &self.ykvald(), ..Calls::PLAIN })
    }

    /// A finding as a remark.
    fn note(&self, found: &Diagnostic) {
        out::note(&self.line(found));
    }
}

/// Runs a future to its end.
fn wait<T>(doing: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|why| cannot_start(&why))?.block_on(doing)
}

/// The system gives no threads, or no memory for them.
fn cannot_start(why: &std::io::Error) -> Failure {
    Diagnostic::error(Code::InternalError, format!("cannot start: {}", cause(why))).into()
}

/// Says why a command line is not understood.
pub(crate) fn not_understood(error: &clap::Error) -> ExitCode {
    ykcli::line::not_understood(error)
}

/// Runs a command, and shows why it fails.
pub(crate) fn run(command: Command) -> ExitCode {
    // A server should not run as root.
    let serves = matches!(command.verb, Verb::Serve(_));
    let json = command.json;
    let (config, done) = match command.config.map(absolute).transpose() {
        Ok(config) => {
            let context = Context { config, json };
            let done = dispatch(&context, command.verb);
            (context.config, done)
        }
        Err(failure) => (None, Err(failure)),
    };
    match done.and_then(|()| failure::output_is_complete()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let ykvald = failure::call("ykvald", config.as_deref());
            let failure = if serves { failure } else { failure.or_as_root() };
            failure.exit("ykvald", Calls { ykvald: &ykvald, ..Calls::PLAIN }, json)
        }
    }
}

fn dispatch(context: &Context, verb: Verb) -> Done {
    match verb {
        Verb::Init(args) => init::run(context, args),
        Verb::Serve(args) => serve::run(context, &args),
        Verb::Check => check::run(context),
        Verb::ExplainCode(args) => Ok(explain::run(&args, context.json)?),
        Verb::AcceptDatabase(args) => accept_database::run(context, &args),
        Verb::Client(verb) => client::run(context, verb),
        Verb::Cluster(verb) => cluster::run(context, &verb),
        Verb::Key(verb) => key::run(context, verb),
        Verb::Token(verb) => token::run(context, &verb),
        Verb::Backup(args) => backup::run(context, &args),
        Verb::Restore(args) => restore::run(context, &args),
        Verb::MoveStore(args) => move_store::run(context, &args),
        Verb::Import(verb) => import::run(context, verb),
        Verb::Sync(verb) => sync::run(context, &verb),
        Verb::Checksum(args) => checksum::run(context, &args),
        Verb::Completions(args) => {
            completions::run(&args);
            Ok(())
        }
    }
}

/// The key of a token cannot be opened.
fn key_unreadable(id: &PublicId) -> Diagnostic {
    let problem = "its key cannot be opened: it is damaged, or sealed under another store key";
    Diagnostic::error(Code::KeyUnreadable, problem).at(Location::Token(id.to_string())).run_when(
        "to remove it, so that it can be imported again",
        Program::Ykvald,
        format!("key remove {id}"),
    )
}

/// The store does not have this token.
fn not_here(id: &PublicId, problem: &str) -> Diagnostic {
    Diagnostic::error(Code::TokenNotHere, problem).at(Location::Token(id.to_string())).run_when(
        "to see which tokens there are",
        Program::Ykvald,
        "key list",
    )
}

/// Parses a public ID.
fn parse_id(text: &str) -> Result<PublicId, String> {
    PublicId::parse(text.as_bytes()).map_err(|why| why.to_string())
}
