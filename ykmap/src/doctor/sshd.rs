//! `sshd_config`: what sshd asks for before the lines in pam.d, and how it runs them.

pub(crate) mod config;
pub(crate) mod include;

use super::pam::service::Overlay;
use super::pam::{Access, Factors, Front, Listing, Looked, Methods, Row, Step};
use super::report::{Check, Report, at, shortened};
use config::{Config, Set, Values};
use std::path::Path;
use ykhost::options::nearest;
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program, Severity};
use yubiotp::shown;

/// The methods with which sshd asks for an OTP after the key.
const KEY_AND_OTP: &str =
    "above the first Match line of sshd_config, write AuthenticationMethods publickey,keyboard-interactive";

/// What to write so that sshd asks for an OTP after the key. `rows` are the ways in now: where users without an ssh key get
/// in with an OTP and something else, that way is kept first.
pub(super) fn otp_after_the_key(rows: &[Row], found: Diagnostic) -> Diagnostic {
    let of_token = rows.iter().filter(|row| row.listing == Listing::Token);
    let mut keyless = of_token
        .flat_map(|row| &row.ways)
        .filter(|way| way.has(Factors::OTP) && !way.has(Factors::SSH_KEY))
        .peekable();
    let keeps = keyless.peek().is_some() && keyless.all(|way| *way != Factors::OTP);
    let found = if keeps {
        found
            .advise(
                "to ask for the OTP after the key, and to let users without an ssh key in as now, write above the first Match line of sshd_config: AuthenticationMethods publickey,keyboard-interactive keyboard-interactive",
            )
            .advise(
                "or, if every user has an ssh key: AuthenticationMethods publickey,keyboard-interactive (users without one are then locked out)",
            )
    } else {
        found.advise(format!("to ask for the OTP after the key, {KEY_AND_OTP}"))
    };
    found.run_when("then", Program::System, "systemctl reload ssh")
}

/// The questions of sshd: first for users whom no `Match` means, then by each `Match` that changes it. The defaults,
/// where the file cannot be read.
pub(super) fn fronts(path: &Path) -> Vec<Front> {
    fronts_with(path, &Overlay::new())
}

/// The same, with some files as they would be after a change.
pub(crate) fn fronts_with(path: &Path, overlay: &Overlay) -> Vec<Front> {
    let Ok(config) = Config::read_with(path, overlay) else {
        return vec![Front { use_pam: true, ..front(None, None, &Values::default()) }];
    };
    let own = config.variants().map(|(block, values)| {
        let place = values.methods.as_ref().map_or(&block.place, |set| &set.place).clone();
        let known = known(&block.condition).map(|text| (text, true));
        Front {
            known: known.into_iter().collect(),
            ..front(Some(block.condition.clone()), Some(place), &values)
        }
    });
    let methods = config.values.methods.as_ref();
    let place = methods.map_or_else(|| at(path), |set| set.place.clone());
    // The rest does not hold for users whom a Match means.
    let meant = config.variants().filter_map(|(block, _)| Some((known(&block.condition)?, false)));
    let base = Front { known: meant.collect(), ..front(None, Some(place), &config.values) };
    std::iter::once(base).chain(own).collect()
}

/// For each way in which sshd of this host runs auth lines that can show prompts, whether it has proven before who the user
/// is.
pub(crate) fn proven_before_prompts() -> Vec<bool> {
    let fronts = fronts(Path::new(super::SSHD_CONFIG));
    let lists = fronts.iter().filter(|front| front.use_pam).flat_map(|front| &front.methods);
    lists.filter(|list| list.steps.contains(&Step::Prompts)).map(|list| list.proven_first).collect()
}

/// The question of a gate that asks the same as a `Match`: only for one group or one user.
fn known(condition: &str) -> Option<String> {
    let (word, name) = condition.split_once(' ')?;
    let plain = !name.contains([' ', ',', '*', '?', '!']);
    match word.to_ascii_lowercase().as_str() {
        "group" if plain => Some(format!("user ingroup {name}")),
        "user" if plain => Some(format!("user = {name}")),
        _ => None,
    }
}

fn front(condition: Option<String>, place: Option<Location>, values: &Values) -> Front {
    let is = |set: &Option<Set<bool>>, usual: bool| set.as_ref().map_or(usual, |set| set.value);
    let use_pam = is(&values.use_pam, false);
    // Each method of sshd, whether it is allowed, what it proves, and how it runs the auth lines.
    let password = if use_pam { (Factors::NONE, Some(Step::OneAnswer)) } else { (Factors::PASSWORD, None) };
    let known = [
        ("publickey", is(&values.public_key, true), (Factors::SSH_KEY, None)),
        ("gssapi-with-mic", is(&values.kerberos, false), (Factors::KERBEROS, None)),
        ("hostbased", is(&values.host_based, false), (Factors::HOST_KEY, None)),
        ("password", is(&values.password, true), password),
        (
            "keyboard-interactive",
            use_pam && is(&values.keyboard_interactive, true),
            (Factors::NONE, Some(Step::Prompts)),
        ),
    ];
    let methods = |written: &str| {
        let (proofs, steps) = (Factors::NONE, Vec::new());
        let mut methods = Methods { written: written.to_owned(), proofs, proven_first: false, steps };
        for name in written.split(',') {
            let name = name.split(':').next().unwrap_or_default();
            let (_, _, (proof, step)) =
                known.iter().find(|(own, allowed, _)| *allowed && own.eq_ignore_ascii_case(name))?;
            methods.proofs = methods.proofs.and(*proof);
            methods.proven_first |= *proof != Factors::NONE && methods.steps.is_empty();
            methods.steps.extend(*step);
        }
        Some(methods)
    };
    let explicit = values.methods.as_ref().filter(|set| set.value.iter().all(|list| list != "any"));
    let lists: Vec<&str> = match explicit {
        Some(set) => set.value.iter().map(String::as_str).collect(),
        None => known.iter().map(|(name, ..)| *name).collect(),
    };
    let names = explicit.into_iter().flat_map(|set| set.value.iter().flat_map(|list| list.split(',')));
    let off = names.map(|name| name.split(':').next().unwrap_or_default()).filter_map(|name| {
        let own = known.iter().find(|(own, ..)| own.eq_ignore_ascii_case(name));
        match own {
            Some((_, allowed, _)) => (!allowed).then(|| format!("the method {} is off", shown::text(name))),
            None => {
                let meant = nearest(name, known.map(|(own, ..)| own));
                let meant = meant.map(|own| format!(" (did you mean {own}?)")).unwrap_or_default();
                Some(format!("sshd has no method {}{meant}", shown::quoted(name)))
            }
        }
    });
    let off = off.collect();
    let methods = lists.into_iter().filter_map(methods).collect();
    Front { condition, place, methods, off, explicit: explicit.is_some(), use_pam, known: Vec::new() }
}

/// `named` is whether somebody said that this is the file.
/// `listing` is the class of a user at this service, if it can be told.
pub(super) fn look(
    report: &mut Report,
    path: &Path,
    named: bool,
    service: &Looked,
    listing: &dyn Fn(&str) -> Option<Listing>,
) {
    if !path.exists() {
        if named {
            let found = Diagnostic::error(Code::FileMissing, "does not exist").at(at(path));
            report.add(Check::Sshd, found.advise("fix the path in --sshd-config"));
        }
        return;
    }
    let config = match Config::read(path) {
        Ok(config) => config,
        Err((path, why)) => {
            let what = format!("cannot be read, so what sshd asks for is not known: {why}");
            let found = Diagnostic::warning(Code::SshdConfigUnreadable, what).at(at(&path));
            return report.add(Check::Sshd, found.advise("run it in a root shell, or fix the file"));
        }
    };
    let no = |set: &Option<Set<bool>>, usual: bool| match set {
        Some(set) => (!set.value).then(|| set.place.clone()),
        None => (!usual).then(|| at(path)),
    };
    let error = |code, place, what, keyword: &str| {
        let change =
            format!("write {keyword} yes above the first Match line and any other line that sets it");
        let found = Diagnostic::error(code, what).at(place).advise(change);
        found.run_when("then", Program::System, "systemctl reload ssh")
    };
    if let Some(place) = no(&config.values.use_pam, false) {
        let what = "UsePAM is not yes: sshd does not use pam.d";
        report.add(Check::Sshd, error(Code::SshdWithoutPam, place, what, "UsePAM"));
    }
    let by_otp =
        |row: &Row| row.listing == Listing::Token && row.ways.iter().any(|way| way.has(Factors::OTP));
    let base = service.fronts.iter().find(|(front, _)| front.condition.is_none());
    let otp_works = base.is_some_and(|(_, rows)| rows.iter().any(by_otp));
    let prompts = no(&config.values.keyboard_interactive, true);
    if let Some(place) = prompts.clone().filter(|_| !otp_works) {
        let what = "KbdInteractiveAuthentication is no: sshd does not show the prompt for an OTP, so no OTP is ever accepted";
        let found = error(Code::SshdWithoutPrompts, place, what, "KbdInteractiveAuthentication");
        report.add(Check::Sshd, found);
    }
    for (front, rows) in service.fronts.iter().filter(|(front, _)| front.use_pam) {
        if front.condition.is_some() {
            let what = format!("{}applies to some users only (see who gets in)", whom(front));
            let found = about(front, Diagnostic::note(Code::SshdMatch, what));
            let found = found.run_when("to see what applies to one", Program::System, "sshd -T -C user=NAME");
            report.add(Check::Sshd, found);
        }
        enough_without_asking(report, service, front);
        nobody_gets_in(report, &service.access, (front, rows), listing);
    }
    let what = match prompts {
        None => "UsePAM and KbdInteractiveAuthentication are yes",
        Some(_) => "UsePAM is yes, and the method password reaches the lines in pam.d",
    };
    report.ok(Check::Sshd, Some(at(path)), what);
}

fn about(front: &Front, found: Diagnostic) -> Diagnostic {
    Diagnostic { location: front.place.clone(), ..found }
}

/// The users whom the settings are for, to begin a sentence with.
fn whom(front: &Front) -> String {
    front.condition.as_ref().map(|it| format!("Match {}: ", shown::text(it))).unwrap_or_default()
}

/// Methods that somebody wrote, and that ask no auth line.
fn enough_without_asking(report: &mut Report, service: &Looked, front: &Front) {
    for list in front.methods.iter().filter(|list| front.explicit && list.steps.is_empty()) {
        let by_list = |listing: &Listing| {
            let lets_in = |gates: &Vec<bool>| {
                let ways = service.access.ways(*listing, gates, front, std::slice::from_ref(list));
                ways.is_some_and(|ways| !ways.is_empty())
            };
            service.access.assignments_behind(front).iter().any(lets_in)
        };
        let lets_in = match front.condition {
            // It may be for users whom the policy exempts or excuses.
            Some(_) => service.access.policy.listings().iter().any(by_list),
            None => by_list(&Listing::Token),
        };
        let written = shown::text(&list.written);
        let what = format!(
            "{}AuthenticationMethods: {written} is enough: sshd never asks for a YubiKey after it",
            whom(front)
        );
        match (&front.condition, lets_in) {
            // By a Match, it is intended.
            (Some(_), true) => {
                report.add(Check::Sshd, about(front, Diagnostic::note(Code::UsersExempt, what)))
            }
            // That nobody gets in is reported below.
            (Some(_), false) => {}
            (None, lets_in) => {
                let refused =
                    if lets_in { "" } else { ", and the account line of pam_yubiotp rejects these users" };
                let base = service.fronts.iter().find(|(own, _)| own.condition.is_none());
                let rows = base.map(|(_, rows)| rows.as_slice()).unwrap_or_default();
                let found =
                    otp_after_the_key(rows, Diagnostic::warning(Code::SshKeyWithoutOtp, what + refused));
                report.add(Check::Sshd, about(front, found));
            }
        }
    }
}

/// The users whom a condition names, if it names each: `User backup,deploy`.
fn users_of(condition: &str) -> Option<Vec<&str>> {
    let mut words = condition.split_whitespace();
    words.find(|word| word.eq_ignore_ascii_case("user"))?;
    let names: Vec<_> = words.next()?.split(',').collect();
    let is_plain = |name: &&str| !name.is_empty() && !name.contains(['*', '?', '!', '"']);
    names.iter().all(is_plain).then_some(names)
}

/// Those who do not get in by these methods, in words; `None` if nobody is known to be kept out. Users with a token are, and
/// perhaps others get in.
fn kept_out(front: &Front, rows: &[Row], listing: &dyn Fn(&str) -> Option<Listing>) -> Option<String> {
    let is_open = |listing| rows.iter().any(|row| row.listing == listing && !row.ways.is_empty());
    if rows.iter().all(|row| row.ways.is_empty()) {
        return Some("nobody gets in".to_owned());
    }
    let Some(users) = front.condition.as_deref().and_then(users_of) else {
        return Some("users with a token do not get in, unless the policy exempts them".to_owned());
    };
    let out = users.into_iter().filter(|user| !listing(user).is_some_and(is_open));
    let out: Vec<_> = out.map(|user| shown::text(user).to_string()).collect();
    let verb = if out.len() == 1 { "does" } else { "do" };
    (!out.is_empty()).then(|| format!("{} {verb} not get in", shortened(&out, "user")))
}

/// Methods by which users with a token do not get in, not even with everything that the lines in pam.d ask for.
fn nobody_gets_in(
    report: &mut Report,
    access: &Access,
    (front, rows): (&Front, &[Row]),
    listing: &dyn Fn(&str) -> Option<Listing>,
) {
    if rows.iter().any(|row| row.listing == Listing::Token && !row.ways.is_empty()) {
        return;
    }
    let Some(who) = kept_out(front, rows, listing) else { return };
    let prompts = |methods: &Methods| {
        let steps = methods.steps.iter().map(|_| Step::Prompts).collect();
        Methods { steps, ..methods.clone() }
    };
    let prompted: Vec<_> = front.methods.iter().map(prompts).collect();
    let works = |methods: &[Methods]| {
        let any = |gates: &Vec<bool>| {
            access.ways(Listing::Token, gates, front, methods).is_some_and(|ways| !ways.is_empty())
        };
        access.assignments_behind(front).iter().any(any)
    };
    let stack_works = works(&Front::plain().methods);
    let off = front.off.join(", ");
    let (code, why, change) = if works(&prompted) {
        (
            Code::SshdWithoutPrompts,
            "sshd's method password gives one answer to every prompt, and the lines in pam.d have more than one",
            "write keyboard-interactive in place of password (with KbdInteractiveAuthentication yes)",
        )
    } else if !front.methods.is_empty() && front.methods.iter().all(|list| list.steps.is_empty()) {
        (
            Code::ExemptUsersRefused,
            "sshd skips the auth lines, and the account lines reject users who were not asked",
            "name these users in exempt, in [policy] of config.toml (they then need no YubiKey), or ask them: AuthenticationMethods publickey,keyboard-interactive",
        )
    } else if stack_works && !off.is_empty() {
        (Code::NobodyGetsIn, off.as_str(), "see pam_yubiotp(8), EXAMPLES, for the lines of sshd_config")
    } else if stack_works {
        (
            Code::NobodyGetsIn,
            "these methods are off in sshd_config, or cannot answer the lines in pam.d",
            KEY_AND_OTP,
        )
    } else {
        // Reported with the lines in pam.d.
        return;
    };
    let some_get_in = rows.iter().any(|row| !row.ways.is_empty());
    let severity = match &front.condition {
        // Whether it means only users whom the policy exempts is not known.
        Some(condition) if some_get_in && users_of(condition).is_none() => Severity::Note,
        Some(_) => Severity::Warning,
        None => Severity::Error,
    };
    let found = Diagnostic::new(code, severity, format!("{}{who}: {why}", whom(front)));
    report.add(Check::Sshd, about(front, found.advise(change)));
}
