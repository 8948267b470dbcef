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

pub(crate) use accounts::{PATIENCE, with_a_login, without_token};
pub(crate) use pam::has_service;
pub(crate) use report::AREAS;
pub(crate) use rights::in_thread as in_time;

use super::list::States;
use super::{Context, Done, Failure, absolute, service, system};
use clap::ValueHint;
use clap::builder::NonEmptyStringValueParser;
use pam::Fails;
use report::{Check, Report};
use serde_json::Value;
use settings::{Case, Found};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use ykhost::online::Failures;
use ykhost::settings::{Mode, Settings};
use yubiotp::diagnostic::Diagnostic;
use yubiotp::protocol::Server;
use yubiotp::shown;

/// The configuration file of sshd.
pub(crate) const SSHD_CONFIG: &str = "/etc/ssh/sshd_config";

/// The folder of passwd and shadow.
pub(crate) const ACCOUNTS: &str = "/etc";

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
    let sources = Sources::new(&args.pam_dirs, args.sshd_config.as_deref(), args.accounts.as_deref())?;
    let by_name = !args.users.is_empty();
    let patience = if by_name { None } else { Some(PATIENCE) };
    let asks_servers = !args.no_servers;
    let examined = examine(context, &sources, &Scope { users: &args.users, patience, asks_servers });
    let Examined { report, services, .. } = examined;
    if context.json {
        report.print_json(who::json(&services))
    } else {
        let names: Vec<_> = services.iter().map(|service| service.name.clone()).collect();
        report.print(&names, by_name, || who::print(&services))
    }
}

/// Where the doctor looks, besides the configuration files that the lines in pam.d name.
pub(crate) struct Sources {
    /// Folders of service files, in place of the usual ones.
    pub(crate) pam_dirs: Vec<PathBuf>,
    sshd_config: PathBuf,
    /// Somebody named that file.
    is_named: bool,
    /// The folder of passwd and shadow.
    accounts: PathBuf,
}

impl Sources {
    /// What options name; `None` for the usual place.
    pub(crate) fn new(
        pam_dirs: &[PathBuf],
        sshd_config: Option<&Path>,
        accounts: Option<&Path>,
    ) -> Result<Self, Failure> {
        if let Some(folder) = accounts.filter(|folder| !folder.is_dir()) {
            let what =
                if folder.exists() { "is a file; give its folder in --accounts" } else { "does not exist" };
            return Err(Failure::input(format!("{}: {what}", folder.display())));
        }
        Ok(Self {
            pam_dirs: service::pam_dirs(pam_dirs)?,
            sshd_config: absolute(sshd_config.unwrap_or(Path::new(SSHD_CONFIG)).to_owned())?,
            is_named: sshd_config.is_some(),
            accounts: absolute(accounts.unwrap_or(Path::new(ACCOUNTS)).to_owned())?,
        })
    }
}

/// How far the doctor looks.
pub(crate) struct Scope<'a> {
    /// The users whose logins it follows.
    pub(crate) users: &'a [String],
    /// To look for accounts that nobody listed: how long that may take for all homes, and for one. `None` not to look.
    pub(crate) patience: Option<[Duration; 2]>,
    /// Whether it asks each validation server once.
    pub(crate) asks_servers: bool,
}

/// What the doctor found.
pub(crate) struct Examined {
    report: Report,
    /// Each service that has lines of the module.
    services: Vec<pam::Looked>,
    /// The settings of these lines, and what was read by each of them.
    cases: Vec<Case>,
    stores: Vec<Option<store::Seen>>,
    /// The accounts that can log in. `None` if nobody looked, or it cannot be read.
    accounts: Option<Vec<String>>,
}

/// A service that asks by some settings.
#[derive(Debug, Default)]
pub(crate) struct Asking {
    pub(crate) name: String,
    /// Its line excuses users who are not listed.
    pub(crate) nullok: bool,
    /// Its logins never name a remote host.
    pub(crate) is_local: bool,
}

impl Asking {
    /// The name, to be shown; `None` for the general rules, which are of no service.
    pub(crate) fn shown(&self) -> Option<String> {
        (!self.name.is_empty()).then(|| shown::text(&self.name).to_string())
    }
}

impl Examined {
    /// The accounts that can log in, as far as anybody looked.
    pub(crate) fn accounts(&self) -> &[String] {
        self.accounts.as_deref().unwrap_or_default()
    }

    /// The services that ask for a second factor.
    pub(crate) fn services(&self) -> Vec<String> {
        let asking = self.services.iter().filter(|service| !service.access.runs_no_auth());
        asking.map(|service| shown::text(&service.name).to_string()).collect()
    }

    /// Who gets in by each service, and with what: as JSON, and in a sentence for services that are alike.
    pub(crate) fn access(&self) -> (Value, Vec<(String, String)>) {
        (who::json(&self.services), who::in_short(&self.services))
    }

    /// The services that ask by these settings.
    pub(crate) fn asking_by(&self, settings: &Settings) -> Vec<Asking> {
        let Some((case, _)) = self.case_of(settings) else { return Vec::new() };
        let asking = self.services.iter().filter(|it| policy::is_of(case, it) && !it.access.runs_no_auth());
        asking
            .map(|service| Asking {
                name: service.name.clone(),
                nullok: case.lines.iter().any(|(line, nullok)| *nullok && service.asks_by(line)),
                is_local: policy::is_from_here(&service.name),
            })
            .collect()
    }

    /// What was read of the store of these settings. An error is that nobody looked.
    pub(crate) fn states(&self, settings: &Settings) -> Result<Option<&States>, NotLooked> {
        let (_, seen) = self.case_of(settings).ok_or(NotLooked)?;
        Ok(seen.map(|seen| &seen.states))
    }

    /// The validation servers of these settings, and the failures of those that logins ask last now.
    pub(crate) fn servers(&self, settings: &Settings, now: u64) -> Vec<(Server, Option<Failures>)> {
        self.case_of(settings).map(|(case, _)| servers::in_order(case, now)).unwrap_or_default()
    }

    fn case_of(&self, settings: &Settings) -> Option<(&Case, Option<&store::Seen>)> {
        let key = |of: &Settings| (of.mapping.clone(), of.store.clone(), of.store_key.clone(), of.mode);
        let mut all = self.cases.iter().zip(&self.stores);
        all.find(|(case, _)| key(&case.settings) == key(settings)).map(|(case, seen)| (case, seen.as_ref()))
    }

    /// All findings, each with its area and how `ykmap` is called for it.
    pub(crate) fn into_findings(self) -> Vec<(&'static str, Diagnostic, String)> {
        let all = self.report.into_findings().into_iter();
        all.map(|(check, found, ykmap)| (check.area(), found, ykmap)).collect()
    }
}

/// No line in pam.d has these settings, and they are not those that this command uses.
pub(crate) struct NotLooked;

/// Follows a login through everything that decides about it. Nothing is written, locked or used up.
pub(crate) fn examine(context: &Context, sources: &Sources, scope: &Scope<'_>) -> Examined {
    let Sources { pam_dirs, sshd_config, is_named, accounts: folder } = sources;
    let mut report = Report::new();
    let (lines, mut looked) = pam::look(&mut report, pam_dirs, &sshd::fronts(sshd_config));
    let unloaded = module::look(&mut report, &lines);
    let (own, lines): (Vec<_>, Vec<_>) = lines.into_iter().partition(own::is_own);
    let mut found = settings::look(&mut report, context.config.as_deref(), lines, !looked.is_empty());
    let unix = ykhost::clock::unix();
    policy::obey(&found.cases, &mut looked, unix);
    if let Some(service) = looked.iter().find(|service| service.name == "sshd") {
        let listing = |user: &str| policy::listing(&found.cases, service, user, unix);
        sshd::look(&mut report, sshd_config, *is_named, service, &listing);
    }
    settings::files(&mut report, &mut found.cases);
    program::look(&mut report, &mut found.cases);
    let dead = if scope.asks_servers { servers::look(&mut report, &found.cases) } else { Vec::new() };
    servers::asked_last(&mut report, &found.cases, scope.asks_servers, unix);
    clock::look(&mut report, &found.cases);
    let asked = !found.cases.is_empty() || !found.lost.is_empty() || !own.is_empty();
    let accounts = scope.patience.and_then(|patience| with_a_login(folder, patience));
    let whom = Whom {
        users: scope.users,
        accounts: accounts.as_deref().unwrap_or_default(),
        dead: &dead,
        unloaded: &unloaded,
        pam_dirs,
        unix,
    };
    let stores = follow(&mut report, &mut found, &whom, &mut looked);
    let of_each = own::Sources { pam_dirs: pam_dirs.clone(), sshd_config: sshd_config.clone() };
    own::look(&mut report, &own, &looked, &of_each, scope.users);
    if let Ok(settings) = context.settings() {
        system::damaged(&settings.store).into_iter().for_each(|it| report.add(Check::Store, it));
    }
    for user in scope.users.iter().filter(|_| !asked) {
        user::not_asked(&mut report, user);
    }
    Examined { report, services: looked, cases: found.cases, stores, accounts }
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

/// Stores, mappings and users by these settings. Gives the store of each case; `None` of one that cannot be used.
fn follow(
    report: &mut Report,
    Found { cases, lost, unusable }: &mut Found,
    whom: &Whom<'_>,
    services: &mut [pam::Looked],
) -> Vec<Option<store::Seen>> {
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
    stores
}
