//! `ykmap doctor`: walks along a login, from the lines in pam.d to the clock, and says what is wrong with each thing on
//! the way. It only looks: nothing is written, locked or used up. One program is started, `yubiotp-ask`, and only
//! where a login would.

mod clock;
mod elf;
mod mapping;
mod module;
mod own;
mod pam;
mod program;
mod report;
mod servers;
mod settings;
mod sshd;
mod store;
mod user;

use super::{Context, Done, Failure, absolute};
use clap::ValueHint;
use clap::builder::NonEmptyStringValueParser;
use report::Report;
use settings::Found;
use std::path::PathBuf;

/// Where sshd looks.
const SSHD_CONFIG: &str = "/etc/ssh/sshd_config";

#[derive(clap::Args)]
#[command(
    after_help = "Run it in a root shell: what only root can read is not known otherwise. Validation servers are asked, \
                  each once, about an OTP that nobody made; none is used up.\n\nExit status: 0 all is well, or may be \
                  meant so, 1 warnings, 2 errors, or it could not look."
)]
pub(crate) struct Args {
    /// Also why each of these would be refused
    #[arg(value_name = "USER", value_parser = NonEmptyStringValueParser::new(), value_hint = ValueHint::Username)]
    users: Vec<String>,
    /// Folder of service files, in place of /etc/pam.d and those of the distributor; may be given several times
    #[arg(long = "pam-dir", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pam_dirs: Vec<PathBuf>,
    /// Settings of sshd, looked at if the service sshd asks for a YubiKey [default: /etc/ssh/sshd_config]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    sshd_config: Option<PathBuf>,
    /// Ask no validation server
    #[arg(long)]
    no_servers: bool,
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    let pam_dirs = args.pam_dirs.iter().cloned().map(absolute).collect::<Result<Vec<_>, _>>()?;
    for folder in &pam_dirs {
        if !folder.is_dir() {
            let what =
                if folder.exists() { "is a file; --pam-dir takes its folder" } else { "no such folder" };
            return Err(Failure::Fault(format!("{}: {what}", folder.display())));
        }
    }
    let mut report = Report::default();
    let sshd_config = absolute(args.sshd_config.clone().unwrap_or_else(|| SSHD_CONFIG.into()))?;
    let (lines, looked) = pam::look(&mut report, &pam_dirs, &sshd::fronts(&sshd_config));
    if let Some(asked) = own::asked_for() {
        return own::run(context, lines, &looked, &asked);
    }
    if let Some(service) = looked.iter().find(|service| service.name == "sshd") {
        sshd::look(&mut report, &sshd_config, args.sshd_config.is_some(), service);
    }
    let services: Vec<_> = looked.iter().map(|service| service.name.clone()).collect();
    module::look(&mut report, &lines);
    let (own, lines): (Vec<_>, Vec<_>) = lines.into_iter().partition(own::is_own);
    let found = settings::look(&mut report, context.config.as_deref(), lines, !services.is_empty());
    settings::files(&mut report, &found.cases);
    program::look(&mut report, &found.cases);
    if !args.no_servers {
        servers::look(&mut report, &found.cases);
    }
    clock::look(&mut report, &found.cases);
    let asked = !found.cases.is_empty() || !found.lost.is_empty() || !own.is_empty();
    follow(&mut report, found, &args.users, &looked);
    own::look(&mut report, &own, &looked, &pam_dirs, &args.users);
    for user in args.users.iter().filter(|_| !asked) {
        user::not_asked(&mut report, user);
    }
    report.tell(context.json, &services, !args.users.is_empty())
}

/// Stores, mappings and users by these settings.
fn follow(report: &mut Report, Found { cases, lost }: Found, users: &[String], services: &[pam::Looked]) {
    let mut stores = Vec::new();
    for case in &cases {
        report.commands_with(case.config.as_deref());
        let seen = store::look(report, &case.settings);
        mapping::look(report, &case.settings, seen.as_ref().map(|seen| &seen.states));
        stores.push(seen);
    }
    report.commands_with(None);
    store::across(report, &cases, &stores);
    for user in users {
        for (case, seen) in cases.iter().zip(&stores) {
            report.commands_with(case.config.as_deref());
            user::look(report, case, seen.as_ref(), user, services);
        }
        for why in &lost {
            user::lost(report, user, why);
        }
    }
    report.commands_with(None);
}
