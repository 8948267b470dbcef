//! `ykmap`: the administrator's command over a host's mapping and token store. Its verbs, one file each, and what they
//! have in common. What it decides, it decides as a login does: through [`ykhost`].
#![forbid(unsafe_code)]

mod add;
mod check;
mod doctor;
mod files;
mod init;
mod key;
mod list;
mod modhex;
mod otp;
mod remove;
mod token;
mod touches;
mod verify;

use clap::{CommandFactory, Parser, Subcommand, ValueHint};
use std::path::PathBuf;
use std::process::ExitCode;
use ykcli::{completions, line, out};
use ykhost::Fault;
use ykhost::file::FileFault;
use ykhost::settings::{Given, Settings};
use ykhost::store::Store;
use yubiotp::{PublicId, shown};

/// Manage the YubiKeys of this host's users: the mapping and the token store of pam_yubiotp.
#[derive(Parser)]
#[command(name = "ykmap", version, max_term_width = 100)]
#[command(
    after_help = "Exit status: 0 done or accepted, 1 rejected or problems found, 2 something cannot be used (doctor: 1 \
                  warnings, 2 errors)."
)]
struct Command {
    /// Configuration file [default: /etc/yubiotp/config.toml]
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
    /// Create the configuration file, the mapping, the store key and the store, with the right modes
    Init(init::Args),
    /// Assign tokens to a user, by a touch, which is checked, or by public IDs
    Add(add::Args),
    /// Unassign tokens, or all of them, from a user
    Remove(remove::Args),
    /// List users and their tokens
    List(list::Args),
    /// Check the mapping for mistakes
    Check,
    /// Find out why logins are rejected, or who gets in without a token: checks everything from pam.d to the validation
    /// servers, and changes nothing
    Doctor(doctor::Args),
    /// Decide about an OTP exactly as a login would, and say why. The OTP is used up
    Verify(verify::Args),
    /// Manage the keys of tokens in the store
    #[command(subcommand)]
    Key(key::Verb),
    /// Manage tokens, with or without a key on this host
    #[command(subcommand)]
    Token(token::Verb),
    /// Convert to and from modhex
    #[command(subcommand)]
    Modhex(modhex::Verb),
    /// Show what an OTP contains, without using it up
    Otp(otp::Args),
    /// Print the code with which a shell completes verbs and options
    Completions(completions::Args),
}

/// Why a verb did not do what was asked.
#[derive(Debug)]
enum Failure {
    /// Decided, and the answer is no; or problems were found. Already said. Exit status 1.
    No,
    /// Errors were found. Already said. Exit status 2.
    Bad,
    /// Something cannot be used, or the command does not make sense. Exit status 2.
    Fault(String),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault.to_string())
    }
}

impl From<FileFault> for Failure {
    fn from(fault: FileFault) -> Self {
        Self::Fault(fault.to_string())
    }
}

impl From<ykhost::store::EnrolError> for Failure {
    fn from(error: ykhost::store::EnrolError) -> Self {
        Self::Fault(error.to_string())
    }
}

type Done = Result<(), Failure>;

/// What every verb has.
struct Context {
    /// The settings file, absolute, if one was named.
    config: Option<PathBuf>,
    json: bool,
}

impl Context {
    fn settings(&self) -> Result<Settings, Failure> {
        Ok(Settings::load(self.config.as_deref(), Given::default())?)
    }

    fn store(&self) -> Result<Store, Failure> {
        Ok(Store::new(&self.settings()?))
    }

    /// The command as it goes on with these settings.
    fn ykmap(&self) -> String {
        match &self.config {
            Some(config) => format!("ykmap --config {}", shown::text(config.as_os_str().as_encoded_bytes())),
            None => "ykmap".to_owned(),
        }
    }
}

fn main() -> ExitCode {
    match Command::try_parse() {
        Ok(command) => run(command),
        Err(error) => line::not_understood(&error),
    }
}

/// Runs one command and says how it went.
fn run(command: Command) -> ExitCode {
    // A decision stays what it is, whoever could not read it.
    let decides = matches!(command.verb, Verb::Verify(_));
    let done = dispatch(command).and_then(|()| match out::failed() {
        Some(why) if !decides => Err(Failure::Fault(why.to_owned())),
        _ => Ok(()),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::No) => ExitCode::from(1),
        Err(Failure::Bad) => ExitCode::from(2),
        Err(Failure::Fault(why)) => {
            out::note(&format!("ykmap: {why}"));
            ExitCode::from(2)
        }
    }
}

fn dispatch(command: Command) -> Done {
    let config = command.config.map(absolute).transpose()?;
    let context = Context { config, json: command.json };
    match command.verb {
        Verb::Init(args) => init::run(&context, args),
        Verb::Add(args) => add::run(&context, &args),
        Verb::Remove(args) => remove::run(&context, &args),
        Verb::List(args) => list::run(&context, &args),
        Verb::Check => check::run(&context),
        Verb::Doctor(args) => doctor::run(&context, &args),
        Verb::Verify(args) => verify::run(&context, args),
        Verb::Key(verb) => key::run(&context, verb),
        Verb::Token(verb) => token::run(&context, &verb),
        Verb::Modhex(verb) => modhex::run(&context, &verb),
        Verb::Otp(args) => otp::run(&context, args),
        Verb::Completions(args) => {
            completions::print(&args, &mut Command::command(), "ykmap");
            Ok(())
        }
    }
}

fn absolute(path: PathBuf) -> Result<PathBuf, Failure> {
    line::absolute(path).map_err(Failure::Fault)
}

/// A public id on the command line.
fn parse_id(text: &str) -> Result<PublicId, String> {
    PublicId::parse(text.as_bytes())
        .map_err(|why| format!("{why}; ykmap list USER shows the public ids of a user's tokens"))
}
