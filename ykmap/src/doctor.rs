//! `ykmap doctor`: follows a login, from the lines in pam.d to the clock, and reports what is wrong with each thing on
//! the way. It only looks: nothing is written, locked or used up. It starts one program, `yubiotp-ask`, and only where
//! a login would.

mod accounts;
mod clock;
mod elf;
mod enroll;
mod mapping;
mod module;
mod own;
pub(crate) mod pam;
mod policy;
mod program;
mod report;
pub(crate) mod rights;
mod servers;
mod settings;
pub(crate) mod sshd;
mod store;
mod user;
mod who;

use super::{Context, Done, Failure, absolute, service};
use clap::ValueHint;
use clap::builder::NonEmptyStringValueParser;
use pam::Fails;
use report::Report;
use settings::Found;
use std::collections::HashSet;
use std::path::PathBuf;
use ykhost::settings::Mode;

/// The configuration file of sshd.
const SSHD_CONFIG: &str = "/etc/ssh/sshd_config";

/// The folder of passwd and shadow.
const ACCOUNTS: &str = "/etc";

#[derive(clap::Args)]
#[command(
    after_help = "Run it in a root shell: it cannot read everything otherwise. It asks each validation server once about \
                  an OTP that nobody made; no OTP is used up.\n\nExit status: 0 nothing wrong, perhaps notes, 1 \
                  warnings, 2 errors, or it could not check."
)]
pub(crate) struct Args {
    /// Also show why each of these users would be rejected
    #[arg(value_name = "USER", value_parser = NonEmptyStringValueParser::new(), value_hint = ValueHint::Username)]
    users: Vec<String>,
    /// Folder of service files, in place of /etc/pam.d and those of the distribution; may be given several times
    #[arg(long = "pam-dir", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pam_dirs: Vec<PathBuf>,
    /// Configuration file of sshd, checked if the service sshd asks for a YubiKey [default: /etc/ssh/sshd_config]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    sshd_config: Option<PathBuf>,
    /// Folder of passwd and shadow: which accounts can log in, if no USER is given [default: /etc]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    accounts: Option<PathBuf>,
    /// Ask no validation server
    #[arg(long)]
    no_servers: bool,
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    let pam_dirs = service::pam_dirs(&args.pam_dirs)?;
    if let Some(folder) = args.accounts.as_ref().filter(|folder| !folder.is_dir()) {
        let what =
            if folder.exists() { "is a file; give its folder in --accounts" } else { "does not exist" };
        return Err(Failure::input(format!("{}: {what}", folder.display())));
    }
    let mut report = Report::new();
    let sshd_config = absolute(args.sshd_config.clone().unwrap_or_else(|| SSHD_CONFIG.into()))?;
    let (lines, mut looked) = pam::look(&mut report, &pam_dirs, &sshd::fronts(&sshd_config));
    let services: Vec<_> = looked.iter().map(|service| service.name.clone()).collect();
    let unloaded = module::look(&mut report, &lines);
    let (own, lines): (Vec<_>, Vec<_>) = lines.into_iter().partition(own::is_own);
    let mut found = settings::look(&mut report, context.config.as_deref(), lines, !services.is_empty());
    let unix = ykhost::clock::unix();
    policy::obey(&found.cases, &mut looked, unix);
    if let Some(service) = looked.iter().find(|service| service.name == "sshd") {
        let listing = |user: &str| policy::listing(&found.cases, service, user, unix);
        sshd::look(&mut report, &sshd_config, args.sshd_config.is_some(), service, &listing);
    }
    settings::files(&mut report, &mut found.cases);
    program::look(&mut report, &mut found.cases);
    let dead = if args.no_servers { Vec::new() } else { servers::look(&mut report, &found.cases) };
    clock::look(&mut report, &found.cases);
    let asked = !found.cases.is_empty() || !found.lost.is_empty() || !own.is_empty();
    let folder = absolute(args.accounts.clone().unwrap_or_else(|| ACCOUNTS.into()))?;
    let accounts = if args.users.is_empty() { accounts::with_a_login(&folder) } else { None };
    let whom = Whom {
        users: &args.users,
        accounts: &accounts.unwrap_or_default(),
        dead: &dead,
        unloaded: &unloaded,
        pam_dirs: &pam_dirs,
        unix,
    };
    follow(&mut report, &mut found, &whom, &mut looked);
    own::look(&mut report, &own, &looked, &own::Sources { pam_dirs, sshd_config }, &args.users);
    for user in args.users.iter().filter(|_| !asked) {
        user::not_asked(&mut report, user);
    }
    if context.json {
        report.print_json(who::json(&looked))
    } else {
        report.print(&services, !args.users.is_empty(), || who::print(&looked))
    }
}

/// The users whose logins are checked.
struct Whom<'a> {
    /// By name.
    users: &'a [String],
    /// Those who can log in, if nobody was named.
    accounts: &'a [String],
    /// Of each case, whether none of its validation servers can decide.
    dead: &'a [bool],
    /// The lines whose module libpam cannot load.
    unloaded: &'a HashSet<String>,
    /// Folders of service files, in place of the usual ones.
    pam_dirs: &'a [PathBuf],
    /// Now, in seconds since 1970.
    unix: u64,
}

/// Stores, mappings and users by these settings.
fn follow(
    report: &mut Report,
    Found { cases, lost, unusable }: &mut Found,
    whom: &Whom<'_>,
    services: &mut [pam::Looked],
) {
    let mut stores = Vec::new();
    let dead = |at: usize| whom.dead.get(at).copied().unwrap_or_default();
    for (at, case) in cases.iter_mut().enumerate() {
        report.calls_with(case.config.as_deref());
        let seen = store::look(report, &case.settings);
        store::fail(case, seen.as_ref());
        let users = mapping::look(report, case, seen.as_ref().map(|seen| &seen.states));
        mapping::fail(case);
        policy::look(report, case, seen.as_ref(), users.as_ref(), services, (whom.pam_dirs, whom.unix));
        if dead(at) {
            if case.settings.mode == Mode::Online {
                case.fail(Fails::WithToken);
            }
            accounts::without_servers(report, case, users.as_ref(), services);
        }
        enroll::required_of_nobody(report, case, services);
        accounts::not_listed(report, case, users.as_ref(), whom, services);
        stores.push(seen);
    }
    let fails = |place: &str| {
        let is_here = |places: &[String]| places.iter().any(|own| own == place);
        let unloaded = whom.unloaded.contains(place).then_some(Fails::Unloaded);
        let unusable = is_here(unusable).then_some(Fails::Everybody);
        let by_settings = cases.iter().filter(|case| is_here(&case.places)).filter_map(|case| case.fails);
        unloaded.or(unusable).or(by_settings.max())
    };
    services.iter_mut().for_each(|service| service.fail(&fails));
    report.calls_with(None);
    store::across(report, cases, &stores);
    for user in whom.users {
        for (case, seen) in cases.iter().zip(&stores) {
            report.calls_with(case.config.as_deref());
            user::look(report, case, seen.as_ref(), (user, whom.unix), services);
        }
        for why in lost.iter() {
            user::lost(report, user, why);
        }
    }
    report.calls_with(None);
}
