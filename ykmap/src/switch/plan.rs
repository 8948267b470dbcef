//! What `ykmap enable SERVICE` would change.

use super::placement::{First, Wanted, is_exempt, place};
pub(crate) use super::sshd::After;
use super::stage::Stage;
use super::{Host, check_name, files_of, sshd, word_of};
use crate::Failure;
use crate::doctor::pam::both::{Asked, Both, asked};
use crate::doctor::pam::service::{Folders, Overlay, read};
use crate::doctor::pam::{Factors, Front, Step};
use crate::doctor::sshd::fronts_with;
use crate::system::{ChangeSet, FileChange};
use std::path::PathBuf;
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program};

/// What is asked for.
pub(crate) struct Request<'a> {
    /// The word on the command line.
    pub(crate) service: &'a str,
    /// Module and arguments, as a line names them.
    pub(crate) module: &'a str,
    pub(crate) after: Option<After>,
    /// Whether users whom a line exempts may stay exempt.
    pub(crate) exempt: bool,
}

/// The change, and what the service asks for then.
pub(crate) struct Plan {
    /// The service file that is tried.
    pub(crate) service: String,
    pub(crate) set: ChangeSet,
    /// The files as they will be.
    pub(crate) overlay: Overlay,
    /// What each of its services asks for.
    pub(crate) asked: Vec<(String, Both)>,
}

impl Plan {
    /// Copies the service files as they will be.
    pub(crate) fn stage(&self, host: &Host, stage: &Stage) -> Result<(), Failure> {
        stage.services(&Folders::changed(&host.dirs, self.overlay.clone()))
    }

    /// Whether sshd takes its new configuration, if that changes.
    pub(crate) fn check_sshd(&self, stage: &Stage) -> Result<(), Failure> {
        let config = self.set.sshd_config.as_deref();
        config.map_or(Ok(()), |config| sshd::check(stage, config, &self.overlay))
    }
}

/// The finding about a name that is no service's.
pub(crate) fn unknown(folders: &Folders, name: &str) -> Diagnostic {
    Diagnostic::error(Code::ServiceUnknown, "pam.d has no such file")
        .at(Location::Service(name.to_owned()))
        .advise(format!("name one of {}", words(folders).join(", ")))
}

/// The words for the services of a host, without those that `ykmap enable` refuses by their name.
fn words(folders: &Folders) -> Vec<String> {
    let names = folders.names().into_iter().filter(|name| check_name(name).is_ok());
    names.map(|name| word_of(&name).to_owned()).collect()
}

/// What would change.
///
/// # Errors
/// The service cannot ask for a first factor and a token by a line that `ykmap` can write, and why.
pub(crate) fn plan(host: &Host, request: &Request<'_>) -> Result<Plan, Failure> {
    let (name, sibling) = files_of(request.service);
    check_name(name)?;
    let folders = Folders::changed(&host.dirs, Overlay::new());
    if !folders.has(name) {
        return Err(unknown(&folders, name).into());
    }
    let set_name = format!("enable-{name}");
    if name == "sshd" {
        return of_sshd(host, request, set_name);
    }
    if request.after.is_some() {
        return Err(Failure::input("--after is for ssh only"));
    }
    let mut plan = Plan {
        service: name.to_owned(),
        set: ChangeSet { name: set_name, files: Vec::new(), sshd_config: None },
        overlay: Overlay::new(),
        asked: Vec::new(),
    };
    let wanted =
        Wanted { module: request.module, first: First::Line, account: false, exempt: request.exempt };
    for name in std::iter::once(name).chain(sibling.filter(|name| folders.has(name))) {
        add(host, &mut plan, name, (&[], &[]), &wanted)?;
    }
    Ok(plan)
}

/// Adds the change of one service file, if it asks for nothing yet. `fronts` are the questions of sshd after the change, and now.
fn add(
    host: &Host,
    plan: &mut Plan,
    name: &str,
    fronts: (&[Front], &[Front]),
    wanted: &Wanted<'_>,
) -> Result<(), Failure> {
    let folders = Folders::changed(&host.dirs, plan.overlay.clone());
    let both = match asked(&folders, name, fronts.0, None) {
        Asked::Both(both) if !wanted.exempt && !both.exempt.is_empty() => {
            return Err(is_exempt(name, &both).into());
        }
        Asked::Both(both) => both,
        Asked::Else(found) => {
            let found =
                found.run_when("to see who gets in by the lines that are there", Program::Ykmap, "doctor");
            return Err(found.into());
        }
        Asked::Nothing => {
            let target = host.own_dir().join(name);
            let text = match folders.find(name) {
                Some(source) if source != target => read(&source)?,
                _ => crate::system::current(&target)?.unwrap_or_default(),
            };
            let (new, both) = place(&folders, (name, &target, &text), fronts, wanted)?;
            plan.set.files.push(FileChange::of(&target, Some(new.clone()))?);
            plan.overlay.insert(target, new);
            both
        }
    };
    plan.asked.push((name.to_owned(), both));
    Ok(())
}

/// sshd: the part of sshd_config first, so that a password is asked for by prompts before there are two of them.
fn of_sshd(host: &Host, request: &Request<'_>, set_name: String) -> Result<Plan, Failure> {
    let mut why = None;
    let now = fronts_with(&host.sshd_config, &Overlay::new());
    for change in sshd::candidates(&host.sshd_config, request.after)? {
        let mut overlay = Overlay::new();
        let mut files = Vec::new();
        if let Some(change) = change {
            overlay.extend(change.after.clone().map(|text| (change.path.clone(), text)));
            files.push(change);
        }
        let fronts = fronts_with(&host.sshd_config, &overlay);
        let firsts = match request.after {
            Some(After::Key) => vec![First::Key],
            Some(After::Password) => vec![First::Line],
            None if is_key_first(&fronts) => vec![First::Key, First::Line],
            None if has_keys(&fronts) => {
                let what = "ssh keys would no longer be accepted, or be enough without an OTP";
                why.get_or_insert(
                    Diagnostic::error(Code::StackUnsuitable, what).at(Location::Service("sshd".to_owned())),
                );
                continue;
            }
            None => vec![First::Line],
        };
        let changed: Vec<PathBuf> = files.iter().map(|file| file.path.clone()).collect();
        // Without the account line only where it would refuse users who are exempt.
        let accounts = if request.exempt { vec![true, false] } else { vec![true] };
        let ways = firsts.iter().flat_map(|first| accounts.iter().map(|account| (*first, *account)));
        for (first, account) in ways {
            let mut plan = Plan {
                service: "sshd".to_owned(),
                set: ChangeSet {
                    name: set_name.clone(),
                    files: files.clone(),
                    sshd_config: (!changed.is_empty()).then(|| host.sshd_config.clone()),
                },
                overlay: overlay.clone(),
                asked: Vec::new(),
            };
            let wanted = Wanted { module: request.module, first, account, exempt: request.exempt };
            match add(host, &mut plan, "sshd", (&fronts, &now), &wanted) {
                Ok(()) => return Ok(plan),
                Err(Failure::Fault(found)) if found.code == Code::StackUnsuitable => {
                    why.get_or_insert(*found);
                }
                Err(other) => return Err(other),
            }
        }
    }
    let found = why.unwrap_or_else(|| {
        Diagnostic::error(Code::StackUnsuitable, "sshd_config cannot be changed")
            .at(Location::Service("sshd".to_owned()))
    });
    Err(match request.after {
        None => {
            let call = |after: &str| format!("enable{} --after {after} ssh", host.options());
            Diagnostic { remedies: Vec::new(), ..found }
                .advise("say what users show before the OTP")
                .run_when("if it is an ssh key, which everybody then needs", Program::Ykmap, call("key"))
                .run_when("if it is a password; ssh keys are then refused", Program::Ykmap, call("password"))
        }
        Some(_) => found,
    }
    .into())
}

/// Whether somebody gets to the lines in pam.d, or in, by an ssh key.
fn has_keys(fronts: &[Front]) -> bool {
    fronts.iter().flat_map(|front| &front.methods).any(|list| list.proofs.has(Factors::SSH_KEY))
}

/// Whether sshd wants an ssh key before it runs any auth line, for everybody.
fn is_key_first(fronts: &[Front]) -> bool {
    let mut lists = fronts.iter().flat_map(|front| &front.methods).peekable();
    lists.peek().is_some() && lists.all(|list| list.proven_first && list.steps.contains(&Step::Prompts))
}
