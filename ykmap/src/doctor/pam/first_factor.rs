//! Whether the first factor of a login is proven where an auth line with `enroll` comes: on every way through the lines
//! above it, whatever their modules answer, a line that checks a password has accepted it, and no line has refused
//! the login.
//!
//! An account without a password has no first factor: a line with `nullok` accepts it without asking. That the module
//! finds a password (PAM_AUTHTOK) tells such a login from others, unless another line may have asked for one.

mod advice;
#[cfg(test)]
mod tests;

use super::control::{Action, Answer};
use super::dispatch::Dispatch;
use super::role;
use super::service::{Entry, Folders, Kind, What};
use std::collections::HashSet;
use std::path::PathBuf;
use yubiotp::diagnostic::{Code, Diagnostic, Location};
use yubiotp::shown;

/// Modules whose refusal protects nothing: they prepare the session, or say the same to everybody.
const HARMLESS: [&str; 22] = [
    "pam_cap",
    "pam_echo",
    "pam_ecryptfs",
    "pam_env",
    "pam_faildelay",
    "pam_fscrypt",
    "pam_gnome_keyring",
    "pam_group",
    "pam_issue",
    "pam_keyinit",
    "pam_kwallet",
    "pam_kwallet5",
    "pam_limits",
    "pam_loginuid",
    "pam_mail",
    "pam_mkhomedir",
    "pam_motd",
    "pam_mount",
    "pam_permit",
    "pam_selinux",
    "pam_umask",
    "pam_warn",
];

/// Gates that may ask for a password all the same, to open a folder or a wallet.
const ASKING_GATES: [&str; 6] =
    ["pam_ecryptfs", "pam_fscrypt", "pam_kwallet", "pam_kwallet5", "pam_mount", "pam_systemd_loadkey"];

/// Modules that set no PAM_AUTHTOK for an account without a password. `pam_systemd_home` asks only for users whose home
/// it manages, and they have one.
const NEVER_ASKING: [&str; 4] = ["pam_deny", "pam_fprintd", "pam_permit", "pam_systemd_home"];

/// More states than any file that somebody wrote by hand comes to.
const MOST_STATES: usize = 1 << 16;

/// Checks the auth lines of the service, as libpam reads them, for whether a login has proven its first factor wherever a
/// line with `enroll` is reached. `folders` stand in for `/etc/pam.d` and those of the distribution; `service` is
/// PAM_SERVICE. What sshd proves before it asks PAM is not looked at.
///
/// # Errors
/// The finding, with its place and what to change, if it is not proven on every way, or if that cannot be known: the
/// service cannot be read, or has no such line.
pub(crate) fn of(folders: &[PathBuf], service: &str) -> Result<(), Diagnostic> {
    let folders = Folders::of(folders);
    // libpam takes the name in lower case.
    let name = service.to_ascii_lowercase();
    let unknown =
        |location: Location, why: String| Diagnostic::error(Code::EnrollWithoutFirstFactor, why).at(location);
    let named = || Location::Service(shown::text(&name).to_string());
    if name.is_empty() || name.starts_with('.') || name.contains('/') {
        return Err(unknown(named(), "is not the name of a service".to_owned()));
    }
    let mut entries = Vec::new();
    for name in [name.as_str(), "other"] {
        if !folders.has(name) {
            continue;
        }
        let service = folders.service(name);
        if let Some(broken) = service.broken {
            return Err(unknown(broken.place, broken.what).advise(broken.change));
        }
        if let Some(fault) = service.unread.into_iter().next() {
            let found = fault.diagnostic();
            return Err(Diagnostic { code: Code::EnrollWithoutFirstFactor, ..found });
        }
        entries = service.entries;
        entries.retain(|entry| entry.kind == Kind::Auth);
        // libpam takes the kinds of lines that a service has none of from the service other.
        if !entries.is_empty() {
            break;
        }
    }
    match check(&entries) {
        Some(verdict) => verdict,
        None => Err(unknown(named(), "has no auth line of pam_yubiotp with enroll".to_owned())),
    }
}

/// Checks auth lines. `None` if none of them has `enroll`.
pub(super) fn check(auth: &[Entry]) -> Option<Result<(), Diagnostic>> {
    let line = auth.iter().find(|entry| role::enrolls(entry))?;
    let gap = match search(auth) {
        Search::Proven => return Some(Ok(())),
        Search::Gap(gap) => gap,
    };
    let about = |line: &Entry, what: String| {
        Diagnostic::error(Code::EnrollWithoutFirstFactor, what).at(line.place.location())
    };
    let found = match gap {
        Gap::TooComplex => {
            about(line, "enroll: there are too many ways through the lines above to check them".to_owned())
                .advise("use fewer jumps")
        }
        Gap::NotReached => about(line, "enroll: this line is never reached".to_owned())
            .advise("put it below the line of the password"),
        Gap::Way(way) => {
            let line = auth.get(way.line).unwrap_or(line);
            let found = about(line, format!("enroll: {}", way.in_words(auth)));
            way.remedies(auth).into_iter().fold(found, Diagnostic::advise)
        }
    };
    Some(Err(found))
}

/// The proof that a login has given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Proof {
    Nothing,
    /// By a line with `nullok`: perhaps the account has no password.
    UnlessEmpty,
    Password,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    dispatch: Dispatch,
    proof: Proof,
    /// Another line than the one that is the proof may have set PAM_AUTHTOK.
    asked: bool,
    /// A line that protects something has said no, so that the login fails in the end.
    refused: bool,
}

impl State {
    fn is_proven(&self) -> bool {
        let proof = if self.asked { Proof::Password } else { Proof::UnlessEmpty };
        self.proof >= proof && !self.refused
    }
}

/// What a search came to.
enum Search {
    Proven,
    Gap(Gap),
}

enum Gap {
    TooComplex,
    NotReached,
    Way(Way),
}

/// A way to a line with `enroll` that proves nothing.
struct Way {
    /// The line with `enroll`.
    line: usize,
    /// The lines that answered, in their order, each with its answer.
    steps: Vec<Step>,
    end: State,
}

/// A line that answered, and its answer.
type Step = (usize, Answer);

/// A state that a walk came to.
struct Node {
    state: State,
    /// The node before it, and the step from there.
    from: Option<(usize, Step)>,
}

/// Walks every way to the lines with `enroll`, the shortest first.
fn search(auth: &[Entry]) -> Search {
    let state = State { dispatch: Dispatch::new(), proof: Proof::Nothing, asked: false, refused: false };
    let mut nodes = vec![Node { state, from: None }];
    let (mut seen, mut reached) = (HashSet::new(), false);
    let mut index = 0;
    while let Some(Node { state, .. }) = nodes.get(index) {
        let (at, mut state) = (state.dispatch.at, state.clone());
        let here = index;
        index = index.saturating_add(1);
        let Some(entry) = auth.get(at) else { continue };
        if !seen.insert(state.clone()) {
            continue;
        }
        if seen.len() > MOST_STATES {
            return Search::Gap(Gap::TooComplex);
        }
        if role::enrolls(entry) {
            reached = true;
            if !state.is_proven() {
                return Search::Gap(Gap::Way(Way { line: at, steps: steps(&nodes, here), end: state }));
            }
        }
        state.dispatch.enter(entry);
        let node = |state, answer| Node { state, from: Some((here, (at, answer))) };
        if entry.is_substack() {
            nodes.push(node(state, Answer::IGNORE));
            continue;
        }
        for answer in answers(entry) {
            nodes.push(node(after(&state, auth, entry, answer), answer));
        }
    }
    if reached { Search::Proven } else { Search::Gap(Gap::NotReached) }
}

/// How a node was come to.
fn steps(nodes: &[Node], mut index: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    while let Some(Node { from: Some((before, step)), .. }) = nodes.get(index) {
        steps.push(*step);
        index = *before;
    }
    steps.reverse();
    steps
}

/// Every answer that a line may give: of those about which libpam and this check do the same, one.
fn answers(entry: &Entry) -> Vec<Answer> {
    let mut all: Vec<Answer> = match (&entry.what, entry.module()) {
        (What::MustFail(_) | What::Substack, _) => vec![Answer::PERM_DENIED],
        // A module that cannot be loaded answers, too.
        (_, "pam_permit") => vec![Answer::SUCCESS, Answer::MODULE_UNKNOWN],
        (_, "pam_deny") => vec![Answer::AUTH_ERR, Answer::MODULE_UNKNOWN],
        _ => [Answer::AUTH_ERR].into_iter().chain(Answer::all()).collect(),
    };
    if role::proves_password(entry) && !may_ignore(entry) {
        all.retain(|answer| *answer != Answer::IGNORE);
    }
    let sort = |answer: Answer| {
        (entry.control.action(answer), answer == Answer::SUCCESS, answer == Answer::IGNORE, accepts(answer))
    };
    let mut kept: Vec<Answer> = Vec::new();
    for answer in all {
        if kept.iter().all(|other| sort(*other) != sort(answer)) {
            kept.push(answer);
        }
    }
    kept
}

/// Whether a line that checks passwords has found it right; perhaps it has expired.
fn accepts(answer: Answer) -> bool {
    matches!(answer, Answer::SUCCESS | Answer::NEW_AUTHTOK_REQD)
}

/// Whether a line refuses the login by this answer, and that protects something.
fn refuses(entry: &Entry, answer: Answer) -> bool {
    let says_no = match entry.control.action(answer) {
        Action::Bad | Action::Die => true,
        // The login does not succeed with another status than PAM_SUCCESS.
        Action::Ok | Action::Done => !accepts(answer),
        Action::Ignore | Action::Reset | Action::Jump(_) => false,
    };
    says_no && !HARMLESS.contains(&entry.module())
}

fn arguments(entry: &Entry) -> Vec<std::borrow::Cow<'_, str>> {
    let What::Module { args, .. } = &entry.what else { return Vec::new() };
    args.iter().map(|arg| arg.to_string_lossy()).collect()
}

/// Whether the line may answer `ignore`, after which `requisite` goes on.
fn may_ignore(entry: &Entry) -> bool {
    let has = |names: &[&str]| {
        arguments(entry).iter().any(|arg| names.contains(&arg.split('=').next().unwrap_or_default()))
    };
    match entry.module() {
        "pam_unix" => false,
        "pam_sss" | "pam_ldap" => has(&["ignore_unknown_user", "ignore_authinfo_unavail", "minimum_uid"]),
        "pam_krb5" => has(&[
            "ignore_root",
            "ignore_unknown_principals",
            "ignore_unknown_spn",
            "ignore_unknown_upn",
            "minimum_uid",
        ]),
        "pam_winbind" => has(&["unknown_ok"]),
        _ => true,
    }
}

fn has_nullok(entry: &Entry) -> bool {
    arguments(entry).iter().any(|arg| arg.starts_with("nullok"))
}

/// The state after an answer.
fn after(state: &State, auth: &[Entry], entry: &Entry, answer: Answer) -> State {
    let mut next = state.clone();
    let was_no = next.dispatch.is_no();
    next.dispatch.take(auth, entry, answer);
    if !next.dispatch.is_no() {
        next.refused = false;
    } else if refuses(entry, answer) || (!was_no && matches!(entry.control.action(answer), Action::Jump(_))) {
        // Also by a jump over more lines than there are.
        next.refused = true;
    }
    let name = entry.module();
    if role::proves_password(entry) && accepts(answer) {
        let proof = if has_nullok(entry) { Proof::UnlessEmpty } else { Proof::Password };
        next.proof = next.proof.max(proof);
    } else if !NEVER_ASKING.contains(&name) && (!role::is_gate(entry) || ASKING_GATES.contains(&name)) {
        next.asked = true;
    }
    next
}
