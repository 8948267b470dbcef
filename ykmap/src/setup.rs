//! `ykmap setup`: from an installed package to a protected service, step by step.
//!
//! A survey of the host comes first, a plan follows from it, and each step of the plan is a verb that anybody could type. What
//! was done is seen on the host: nothing remembers it, so a setup that was stopped goes on where it stopped.

mod console;
mod dialogue;
mod found;
mod plan;
mod services;
mod show;
mod steps;
mod survey;

use super::doctor::ACCOUNTS;
use super::{Context, Done, Failure, absolute, account, event, service};
use clap::ValueHint;
use clap::builder::NonEmptyStringValueParser;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use survey::Sources;
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program};

#[derive(clap::Args)]
#[command(
    after_help = "It names each verb that it runs. Ctrl-C stops it at any time; run it again to go on. Without a terminal, \
                  it prints the plan.\n\nExit status: 0 nothing is left to do, 2 something cannot be used, 3 something is \
                  left to do."
)]
pub(crate) struct Args {
    /// The user who gets a token [default: who called sudo, or who logged in]
    #[arg(value_name = "USER", value_parser = NonEmptyStringValueParser::new(), value_hint = ValueHint::Username)]
    user: Option<String>,
    /// Print the plan, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Folder of service files, in place of /etc/pam.d and those of the distribution; may be given several times
    #[arg(long = "pam-dir", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pam_dirs: Vec<PathBuf>,
    /// Configuration file of sshd [default: /etc/ssh/sshd_config]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    sshd_config: Option<PathBuf>,
    /// Module to name in the lines of pam.d [default: pam_yubiotp.so]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    module: Option<PathBuf>,
    /// Program that tries a login [default: /usr/libexec/yubiotp/yubiotp-try]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    try_program: Option<PathBuf>,
    /// Folder of passwd and shadow: which other accounts can log in [default: /etc]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    accounts: Option<PathBuf>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    needs_rights(context)?;
    let pam_dirs = service::pam_dirs(&args.pam_dirs)?;
    let accounts = absolute(args.accounts.clone().unwrap_or_else(|| ACCOUNTS.into()))?;
    if !accounts.is_dir() {
        return Err(Failure::input(format!("{}: is no folder; give it in --accounts", accounts.display())));
    }
    let file = |named: &Option<PathBuf>| named.clone().map(absolute).transpose();
    let (sshd_config, module, try_program) =
        (file(&args.sshd_config)?, file(&args.module)?, file(&args.try_program)?);
    let sources = Sources {
        pam_dirs: &pam_dirs,
        sshd_config: sshd_config.as_deref(),
        accounts: &accounts,
        module: module.as_deref(),
        try_program: try_program.as_deref(),
    };
    let user = args.user.clone().unwrap_or_else(|| event::administrator().to_owned());
    yubiotp::mapping::add(b"", user.as_bytes(), &[]).map_err(|why| Failure::input(why.to_string()))?;
    check_account(&accounts, &user)?;
    let is_person = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    if context.json || args.dry_run || !is_person {
        return show::plan(context, &survey::survey(context, &user, &sources));
    }
    dialogue::run(context, &sources, &user)
}

/// Nobody can log in as a user whom no account names, so nothing that is set up for them could be tried.
fn check_account(accounts: &Path, user: &str) -> Result<(), Failure> {
    if account::exists_in(accounts, user) {
        return Ok(());
    }
    Err(Diagnostic::error(Code::UserUnknown, "this host knows no account of that name")
        .at(Location::user(user.as_bytes()))
        .advise("check the spelling, or create the account first")
        .into())
}

/// Fails where the host's files would be read only in part.
fn needs_rights(context: &Context) -> Result<(), Failure> {
    if context.config.is_some() || rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let found = Diagnostic::error(Code::NotRoot, "only root can read and change the files of this host");
    Err(found.run_when("as root", Program::System, "sudo ykmap setup").into())
}
