//! The command line: its verbs, and what they have in common.

mod accept_database;
mod backup;
mod check;
mod checksum;
mod client;
mod completions;
mod evidence;
mod files;
mod import;
mod init;
mod key;
mod out;
mod place;
mod restore;
mod running;
mod serve;
mod token;

use clap::{Parser, Subcommand, ValueHint};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use ykcli::explain;
use ykval::config::{Config, ConfigFault};
use ykval::file::FileFault;
use ykval::random::NoRandom;
use ykval::store::{Store, StoreFault};
use yubiotp::PublicId;
use yubiotp::seal::StoreKey;
use yubiotp::shown;

/// A validation server for the one-time passwords of YubiKeys.
#[derive(Parser)]
#[command(name = "ykvald", version, max_term_width = 100)]
#[command(
    after_help = "Exit status: 0 done, 1 problems found (check: warnings), 2 something cannot be used (check: errors)."
)]
pub(crate) struct Command {
    /// Configuration file [default: /etc/ykvald/config.toml, or else config.toml in /var/lib/ykvald (root) or
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
    /// Create the configuration file, the store key, the store and the first client, with the right modes
    Init(init::Args),
    /// Answer questions, until SIGTERM. Creates a default configuration if none exists, and prints its path
    Serve(serve::Args),
    /// Check everything that the server depends on, without starting it. Changes nothing
    Check,
    /// Accept a PostgreSQL database that ykvald refuses: one older than it has seen, or a different one
    AcceptDatabase(accept_database::Args),
    /// Manage clients: their IDs and keys
    #[command(subcommand)]
    Client(client::Verb),
    /// Manage the keys of tokens in the store
    #[command(subcommand)]
    Key(key::Verb),
    /// Manage restored tokens: those whose stored position may be too low
    #[command(subcommand)]
    Token(token::Verb),
    /// Copy the store to a file, while the server runs. SQLite only
    Backup(backup::Args),
    /// Replace the store with a backup, while the server is stopped. Used OTPs stay invalid
    Restore(restore::Args),
    /// Import keys, counters and clients from YK-VAL and YK-KSM. Counters only grow
    #[command(subcommand)]
    Import(import::Verb),
    /// Print two digests of all keys, ours and YK-KSM's, to compare stores without showing a key
    Checksum(checksum::Args),
    /// Explain a code of a log line or an error: its cause and its remedy
    ExplainCode(explain::Args),
    /// Write what a shell needs to complete verbs and options
    Completions(completions::Args),
}

/// Why a verb did not do what was asked.
#[derive(Debug)]
enum Failure {
    /// Problems were found. Already said. Exit status 1.
    No,
    /// Errors were found. Already said. Exit status 2.
    Bad,
    /// Something cannot be used, or the command does not make sense. Exit status 2.
    Fault(String),
    /// This user may not read a file. Exit status 2.
    Denied(String),
    /// The store. Exit status 2.
    Store(Box<StoreFault>),
}

impl Failure {
    /// What to print, if it is not printed yet; `ykvald` is how to call it with these settings.
    fn told(self, ykvald: &str) -> Option<String> {
        match self {
            Self::No | Self::Bad => None,
            Self::Fault(why) => Some(why),
            Self::Denied(why) if rustix::process::geteuid().is_root() => Some(why),
            Self::Denied(why) => Some(format!("{why}: run this as root")),
            Self::Store(fault) => Some(fault.told(ykvald)),
        }
    }
}

impl From<StoreFault> for Failure {
    fn from(fault: StoreFault) -> Self {
        Self::Store(Box::new(fault))
    }
}

macro_rules! of_files {
    ($($fault:ty),*) => {$(
        impl From<$fault> for Failure {
            fn from(fault: $fault) -> Self {
                let is_denied = fault.is_denied();
                let why = fault.to_string();
                if is_denied { Self::Denied(why) } else { Self::Fault(why) }
            }
        }
    )*};
}

of_files!(FileFault, ConfigFault);

impl From<NoRandom> for Failure {
    fn from(fault: NoRandom) -> Self {
        Self::Fault(fault.to_string())
    }
}

type Done = Result<(), Failure>;

/// What every verb has.
struct Context {
    /// The settings file, absolute, if one was named.
    config: Option<PathBuf>,
    json: bool,
}

/// An open store, and what it is opened with.
struct Opened {
    config: Config,
    store: Store,
    key: StoreKey,
}

impl Context {
    /// The settings; `listen` replaces what they say of that.
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
        let store = place::store(self, &config, &config.store, &key).await?;
        Ok(Opened { config, store, key })
    }

    /// The same, of a PostgreSQL that is another one, or older, than the one that was used last, too.
    async fn open_even_another(&self) -> Result<Opened, Failure> {
        let config = self.settings(&[])?;
        let key = place::store_key(&config)?;
        let store = place::store(self, &config, &config.store.as_if_never_seen(), &key).await?;
        Ok(Opened { config, store, key })
    }

    /// The command as it goes on with these settings.
    fn ykvald(&self) -> String {
        match &self.config {
            Some(config) => format!("ykvald --config {}", shown::text(config.as_os_str().as_encoded_bytes())),
            None => "ykvald".to_owned(),
        }
    }
}

/// Runs what a verb does with a store, to its end.
fn wait<T>(doing: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|why| Failure::Fault(format!("cannot start: {why}")))?;
    runtime.block_on(doing)
}

/// Says why a command line is not understood.
pub(crate) fn not_understood(error: &clap::Error) -> ExitCode {
    ykcli::line::not_understood(error)
}

/// Runs one command and says how it went.
pub(crate) fn run(command: Command) -> ExitCode {
    let (context, done) = match command.config.map(absolute).transpose() {
        Ok(config) => {
            let context = Context { config, json: command.json };
            let done = dispatch(&context, command.verb);
            (context, done)
        }
        Err(failure) => (Context { config: None, json: command.json }, Err(failure)),
    };
    let done = done.and_then(|()| match out::failed() {
        Some(why) => Err(Failure::Fault(why.to_owned())),
        None => Ok(()),
    });
    let Err(failure) = done else { return ExitCode::SUCCESS };
    let status = if matches!(failure, Failure::No) { 1 } else { 2 };
    if let Some(why) = failure.told(&context.ykvald()) {
        out::note(&format!("ykvald: {why}"));
    }
    ExitCode::from(status)
}

fn dispatch(context: &Context, verb: Verb) -> Done {
    match verb {
        Verb::Init(args) => init::run(context, args),
        Verb::Serve(args) => serve::run(context, &args),
        Verb::Check => check::run(context),
        Verb::AcceptDatabase(args) => accept_database::run(context, &args),
        Verb::Client(verb) => client::run(context, verb),
        Verb::Key(verb) => key::run(context, verb),
        Verb::Token(verb) => token::run(context, &verb),
        Verb::Backup(args) => backup::run(context, &args),
        Verb::Restore(args) => restore::run(context, &args),
        Verb::Import(verb) => import::run(context, verb),
        Verb::Checksum(args) => checksum::run(context, &args),
        Verb::ExplainCode(args) => {
            explain::run(&args, context.json).map_err(|found| Failure::Fault(found.to_string()))
        }
        Verb::Completions(args) => {
            completions::run(&args);
            Ok(())
        }
    }
}

fn absolute(path: PathBuf) -> Result<PathBuf, Failure> {
    ykcli::line::absolute(path).map_err(Failure::Fault)
}

/// A public id on the command line.
fn parse_id(text: &str) -> Result<PublicId, String> {
    PublicId::parse(text.as_bytes()).map_err(|why| why.to_string())
}
