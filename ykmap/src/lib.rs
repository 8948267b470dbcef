//! The administrator's command over a host's mapping and token store. Its verbs, one file each, and what they have in
//! common. What it decides, it decides as a login does: through [`ykhost`].
//!
//! Two programs: `ykmap`, and `yubiotp-enroll`, which enrolls users at a login and does for them what they ask of
//! `ykmap self`. No login loads either.
#![forbid(unsafe_code)]

mod account;
mod add;
mod apply;
mod assign;
mod backup;
mod check;
mod codes;
mod disable;
mod doctor;
mod enable;
pub mod enroll;
mod event;
mod exchange;
mod explain;
mod files;
mod homes;
mod import;
mod init;
mod key;
mod list;
mod log;
mod metrics;
mod migrate;
mod modhex;
mod otp;
mod own;
mod recovery;
mod remove;
mod report;
mod reset;
mod restore;
mod series;
mod service;
mod setup;
mod status;
mod switch;
mod system;
mod test;
mod token;
mod totp;
mod touches;
mod unlock;
mod verify;
mod when;

use clap::{CommandFactory, Parser, Subcommand, ValueHint};
use std::path::PathBuf;
use std::process::ExitCode;
use ykcli::explain as explain_code;
use ykcli::failure::{self, Done, Failure};
use ykcli::line::absolute;
use ykcli::{completions, diagnostic, line, out};
use ykhost::Fault;
use ykhost::settings::{LoginSettings, PartialConfig, Settings};
use ykhost::store::Store;
use yubiotp::diagnostic::{Calls, Diagnostic};
use yubiotp::{PublicId, TokenId};

/// Manage the tokens of this host's users: the mapping and the token store of pam_yubiotp.
#[derive(Parser)]
#[command(name = "ykmap", version, max_term_width = 100)]
#[command(
    after_help = "Exit status: 0 done or accepted, 1 rejected or problems found, 2 something cannot be used, 3 a \
                  run that only looks found differences (doctor: 1 warnings, 2 errors)."
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
    /// Set up a second factor for logins, step by step: a token, a way back, the services that ask for it
    Setup(setup::Args),
    /// Create the configuration file, the mapping, the store key and the store, with the right modes
    Init(init::Args),
    /// Assign tokens to a user, by a touch, which is checked, or by public IDs
    Add(add::Args),
    /// Unassign tokens, or all of them, from a user
    Remove(remove::Args),
    /// Make users, tokens and policy what a file declares, or compare them with it
    ///
    /// For configuration management: a run that changes nothing says so, and --dry-run changes nothing.
    Apply(apply::Args),
    /// List users and their tokens
    List(list::Args),
    /// Check the mapping for mistakes
    Check,
    /// Find out why logins are rejected, or who gets in without a token: checks everything from pam.d to the validation
    /// servers, and changes nothing
    Doctor(doctor::Args),
    /// Show the health of this host: which services ask whom, tokens, users without one, and what needs attention; or all about
    /// a user
    Status(status::Args),
    /// Print the state of this host for Prometheus
    Metrics(metrics::Args),
    /// Make a service ask for a YubiKey: tries a login first, and undoes the change unless you keep it
    Enable(enable::Args),
    /// Make a service stop asking for a YubiKey
    Disable(disable::Args),
    /// Say whether a user needs a second factor, and which rule of the policy decides
    Explain(explain::Args),
    /// Decide about an OTP or code as a login would, and say why. It is used up; `test` uses nothing up
    Verify(verify::Args),
    /// Say what a login would decide about an OTP or code. Nothing is used up; `verify` does, as a login
    Test(test::Args),
    /// Manage the keys of YubiKeys in the store
    #[command(subcommand)]
    Key(key::Verb),
    /// Set up authenticator apps
    #[command(subcommand)]
    Totp(totp::Verb),
    /// Manage tokens of every kind: YubiKeys, authenticator apps, hardware tokens
    #[command(subcommand)]
    Token(token::Verb),
    /// Read back from the logs who logged in with which token, who was rejected, and why
    Log(log::Args),
    /// Report who used which token when, and who changed what, for an auditor
    Report(report::Args),
    /// Manage series: tokens that were imported together
    #[command(subcommand)]
    Series(series::Verb),
    /// Manage recovery codes, each of which lets a user in once
    #[command(subcommand)]
    Recovery(recovery::Verb),
    /// Import the users of another PAM module, with their tokens and positions. `migrate` also changes pam.d
    ///
    /// pam.d stays as it is, so that the other module goes on asking: for secrets that come from another host, or for a change of
    /// pam.d by hand. `ykmap migrate` does both at once, for a host that asks by that module now.
    #[command(subcommand)]
    Import(import::Verb),
    /// Replace another PAM module on this host: its lines in pam.d, its users and tokens. Shows the plan; --write does it
    ///
    /// `ykmap import` takes over users and tokens only, and leaves pam.d as it is.
    #[command(subcommand)]
    Migrate(migrate::Verb),
    /// Accept single codes of a user again, after too many wrong ones
    Unlock(unlock::Args),
    /// Write a backup of this host: keys, positions, mapping and settings, sealed under the store key
    ///
    /// Logins go on meanwhile. The store key is not in it: keep a copy of that file elsewhere, or the backup is useless.
    Backup(backup::Args),
    /// Bring the tokens of a backup back. No position is lowered
    ///
    /// Where this host has lost its record, nobody knows what was used since the backup. The next login with a YubiKey then
    /// asks for three more touches, authenticator apps work again in a few minutes, and recovery codes are spent.
    Restore(restore::Args),
    /// Unassign every token of a user, and remove their authenticator apps and recovery codes
    Reset(reset::Args),
    /// As any user: see and change your own tokens, as far as the administrator allows it
    #[command(name = "self")]
    Own(own::Args),
    /// Convert to and from modhex
    #[command(subcommand)]
    Modhex(modhex::Verb),
    /// Show what an OTP contains, without using it up
    Otp(otp::Args),
    /// Explain a code of a log line or an error, such as otp-replayed: its cause and its remedy
    ExplainCode(explain_code::Args),
    /// Write what a shell needs to complete verbs and options
    Completions(completions::Args),
}

impl Verb {
    /// Whether it undoes changes that nobody has kept in time, before anything else.
    const fn may_finish(&self) -> bool {
        !matches!(
            self,
            Self::Doctor(_)
                | Self::Status(_)
                | Self::Metrics(_)
                | Self::Own(_)
                | Self::Modhex(_)
                | Self::Otp(_)
                | Self::ExplainCode(_)
                | Self::Completions(_)
        )
    }
}

/// What every verb has.
struct Context {
    /// The configuration file, absolute, if one was named.
    config: Option<PathBuf>,
    json: bool,
    /// `ykmap setup` runs the verb, and says itself what comes next.
    is_guided: bool,
}

impl Context {
    /// How remedies call the commands; `ykmap` is [`Context::ykmap`].
    const fn calls<'a>(&self, ykmap: &'a str) -> Calls<'a> {
        Calls { ykmap, ..Calls::PLAIN }
    }

    /// A finding in one line, with its remedies and its code.
    fn line(&self, found: &Diagnostic) -> String {
        diagnostic::line(found, Calls { ykmap: &self.ykmap(), ..Calls::PLAIN })
    }

    /// A finding with its remedies, in a line that has more in it.
    fn text(&self, found: &Diagnostic) -> String {
        found.text(Calls { ykmap: &self.ykmap(), ..Calls::PLAIN })
    }

    /// A remark.
    fn note(&self, found: &Diagnostic) {
        self.note_behind("", found);
    }

    /// A remark behind a word, such as `warning: `.
    fn note_behind(&self, word: &str, found: &Diagnostic) {
        let ykmap = self.ykmap();
        diagnostic::note(word, found, self.calls(&ykmap));
    }

    /// Shows why the answer is no, which is exit status 1.
    fn refuse(&self, found: &Diagnostic) -> Failure {
        match self.json {
            true => {
                let ykmap = self.ykmap();
                diagnostic::fail("ykmap", found, Calls { ykmap: &ykmap, ..Calls::PLAIN }, true);
            }
            false => self.note(found),
        }
        Failure::No
    }

    fn settings(&self) -> Result<Settings, Failure> {
        Ok(Settings::load(self.config.as_deref(), PartialConfig::default())?)
    }

    /// The settings for deciding about OTPs.
    fn login_settings(&self) -> Result<LoginSettings, Failure> {
        Ok(self.settings()?.resolve_online().map_err(Fault::from)?)
    }

    fn store(&self) -> Result<Store, Failure> {
        Ok(Store::new(&self.settings()?))
    }

    /// The command as it goes on with these settings.
    fn ykmap(&self) -> String {
        failure::call("ykmap", self.config.as_deref())
    }
}

/// The program `ykmap`.
#[must_use]
pub fn main() -> ExitCode {
    match Command::try_parse() {
        Ok(command) => run(command),
        Err(error) => line::not_understood(&error),
    }
}

/// Runs a command, and shows why it fails.
fn run(command: Command) -> ExitCode {
    // The exit status of a decision is that decision, even if the output was lost.
    let decides = matches!(command.verb, Verb::Explain(_) | Verb::Verify(_) | Verb::Test(_));
    let json = command.json;
    let (config, done) = match command.config.map(absolute).transpose() {
        Ok(config) => {
            let context = Context { config, json, is_guided: false };
            // Doctor only looks, and the process that waits does it itself.
            if rustix::process::geteuid().is_root() && command.verb.may_finish() {
                switch::deadline::finish(&context);
            }
            let done = dispatch(&context, command.verb);
            (context.config, done)
        }
        Err(failure) => (None, Err(failure)),
    };
    match done.and_then(|()| if decides { Ok(()) } else { failure::output_is_complete() }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let ykmap = failure::call("ykmap", config.as_deref());
            failure.or_as_root().exit("ykmap", Calls { ykmap: &ykmap, ..Calls::PLAIN }, json)
        }
    }
}

fn dispatch(context: &Context, verb: Verb) -> Done {
    match verb {
        Verb::Setup(args) => setup::run(context, &args),
        Verb::Init(args) => init::run(context, args),
        Verb::Add(args) => add::run(context, &args),
        Verb::Remove(args) => remove::run(context, &args),
        Verb::Apply(args) => apply::run(context, &args),
        Verb::List(args) => list::run(context, &args),
        Verb::Check => check::run(context),
        Verb::Doctor(args) => doctor::run(context, &args),
        Verb::Status(args) => status::run(context, &args),
        Verb::Metrics(args) => metrics::run(context, &args),
        Verb::Enable(args) => enable::run(context, &args),
        Verb::Disable(args) => disable::run(context, &args),
        Verb::Explain(args) => explain::run(context, &args),
        Verb::Verify(args) => verify::run(context, args),
        Verb::Key(verb) => key::run(context, verb),
        Verb::Test(args) => test::run(context, args),
        Verb::Totp(verb) => totp::run(context, &verb),
        Verb::Token(verb) => token::run(context, verb),
        Verb::Log(args) => log::run(context, &args),
        Verb::Report(args) => report::run(context, &args),
        Verb::Series(verb) => series::run(context, &verb),
        Verb::Recovery(verb) => recovery::run(context, &verb),
        Verb::Import(verb) => import::run(context, &verb),
        Verb::Migrate(verb) => migrate::run(context, &verb),
        Verb::Unlock(args) => unlock::run(context, &args),
        Verb::Backup(args) => backup::run(context, args),
        Verb::Restore(args) => restore::run(context, args),
        Verb::Reset(args) => reset::run(context, &args),
        Verb::Own(args) => own::run(context, &args),
        Verb::Modhex(verb) => modhex::run(context, &verb),
        Verb::Otp(args) => otp::run(context, args),
        Verb::ExplainCode(args) => Ok(explain_code::run(&args, context.json)?),
        Verb::Completions(args) => {
            completions::print(&args, &mut Command::command(), "ykmap");
            Ok(())
        }
    }
}

/// Runs a verb for `ykmap setup`, as if it was typed with this configuration file.
fn run_guided(context: &Context, words: &[String]) -> Done {
    let words = ["ykmap"].into_iter().chain(words.iter().map(String::as_str));
    let command = Command::try_parse_from(words).map_err(|why| Failure::input(why.to_string()))?;
    dispatch(&Context { config: context.config.clone(), json: false, is_guided: true }, command.verb)
}

/// Parses a public ID on the command line.
fn parse_token(text: &str) -> Result<TokenId, String> {
    TokenId::parse(text.as_bytes())
        .map_err(|why| format!("{why}; the verb list USER shows the tokens of a user"))
}

fn parse_id(text: &str) -> Result<PublicId, String> {
    PublicId::parse(text.as_bytes())
        .map_err(|why| format!("{why}; the verb list USER shows the public IDs of a user's tokens"))
}
