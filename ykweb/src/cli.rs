//! The command line: its verbs, and what they have in common.

mod check;
mod completions;
mod explain;
mod init;
mod out;
mod place;
mod restore;
mod serve;
mod session;
mod set_password;
mod user;

use clap::{Parser, Subcommand, ValueHint};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use ykcli::failure::{self, Done, Failure};
use ykcli::line::absolute;
use ykcli::{diagnostic, explain as codes};
use ykweb::config::Config;
use ykweb::store::Store;
use yubiotp::diagnostic::{Calls, Code, Diagnostic, cause};
use yubiotp::seal::StoreKeys;

/// A web login with a second factor, in front of Apache, nginx and Caddy
#[derive(Parser)]
#[command(name = "ykwebd", version, max_term_width = 100)]
#[command(
    after_help = "Exit status: 0 done, 1 problems found (check: warnings), 2 something cannot be used (check: errors)."
)]
pub(crate) struct Command {
    /// Configuration file [default: /etc/ykweb/config.toml, or config.toml in /var/lib/ykweb (root) or
    /// ~/.local/share/ykweb (others)]
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
    /// Create the configuration, the store key and the store
    Init(init::Args),
    /// Answer browsers and web servers until SIGTERM. Creates a site for trying out if no configuration exists
    Serve(serve::Args),
    /// Check everything that the server depends on, without starting it. Changes nothing
    Check,
    /// Manage users, their tokens and their recovery codes
    #[command(subcommand)]
    User(user::Verb),
    /// Manage sessions: who is signed in
    #[command(subcommand)]
    Session(session::Verb),
    /// Put a copy of the store in its place, so that used codes stay invalid. The server must be stopped
    Restore(restore::Args),
    /// Explain why somebody was refused, by the number on the page
    Explain(explain::Args),
    /// Explain a code of a log line or an error: its cause and its remedy
    ExplainCode(codes::Args),
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
    keys: StoreKeys,
}

impl Context {
    fn settings(&self, listen: &[SocketAddr]) -> Result<Config, Failure> {
        let path = match &self.config {
            Some(path) => path.clone(),
            None => place::settings()?.ok_or_else(place::no_settings)?,
        };
        Ok(Config::load(&path, listen)?)
    }

    fn open(&self) -> Result<Opened, Failure> {
        self.open_with(self.settings(&[])?)
    }

    fn open_with(&self, config: Config) -> Result<Opened, Failure> {
        let keys = place::store_key(&config)?;
        let store = place::store(&config, &keys)?;
        Ok(Opened { config, store, keys })
    }

    /// How to call the command with this configuration.
    fn ykwebd(&self) -> String {
        failure::call("ykwebd", self.config.as_deref())
    }

    /// A finding as a remark.
    fn note(&self, found: &Diagnostic) {
        let ykwebd = self.ykwebd();
        diagnostic::note("", found, Calls { ykwebd: &ykwebd, ..Calls::PLAIN });
    }
}

/// Threads that ask validation servers, or serve.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|why| {
        Diagnostic::error(Code::InternalError, format!("cannot start threads: {}", cause(&why))).into()
    })
}

/// Runs a command, and shows why it fails.
pub(crate) fn run(command: Command) -> ExitCode {
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
            let ykwebd = failure::call("ykwebd", config.as_deref());
            failure.or_as_root().exit("ykwebd", Calls { ykwebd: &ykwebd, ..Calls::PLAIN }, json)
        }
    }
}

fn dispatch(context: &Context, verb: Verb) -> Done {
    match verb {
        Verb::Init(args) => init::run(context, args),
        Verb::Serve(args) => serve::run(context, &args),
        Verb::Check => check::run(context),
        Verb::User(verb) => user::run(context, verb),
        Verb::Session(verb) => session::run(context, verb),
        Verb::Restore(args) => restore::run(context, &args),
        Verb::Explain(args) => explain::run(context, &args),
        Verb::ExplainCode(args) => Ok(codes::run(&args, context.json)?),
        Verb::Completions(args) => {
            completions::run(&args);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_verbs_and_their_options_go_together() {
        Command::command().debug_assert();
    }
}
