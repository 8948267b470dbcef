//! Walking the auth and the account lines of a service as libpam does (`pam_dispatch.c`), for one user and what they
//! show: every end that the login can come to.

use super::control::{Answer, Control};
use super::dispatch::Dispatch;
use super::role::{Factors, Fails, Role};
use super::service::Entry;
use std::collections::HashSet;
use ykhost::options::FirstPass;

/// Lines of one kind, and what each does.
#[derive(Debug, Default)]
pub(crate) struct Stack {
    pub(crate) entries: Vec<Entry>,
    pub(crate) roles: Vec<Role>,
}

impl Stack {
    pub(crate) fn ours(&self) -> Option<usize> {
        self.entries.iter().position(Entry::is_ours)
    }

    /// Whether a line leaves somebody out on purpose.
    pub(crate) fn is_deliberate(&self, at: usize) -> bool {
        matches!(self.roles.get(at), Some(Role::Gate { .. }))
    }
}

/// The state of a user in the mapping and the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Listing {
    /// Listed, with a token that can be used.
    Token,
    /// Listed, and none of the tokens can be used.
    NoToken,
    NotListed,
    /// Not listed, and excused by the policy.
    Excused,
    /// Exempt by the policy, whatever tokens they have.
    Exempt,
}

impl Listing {
    /// The name that `--json` uses.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::NoToken => "no-token",
            Self::NotListed => "not-listed",
            Self::Excused => "excused",
            Self::Exempt => "exempt",
        }
    }
}

/// The answer to a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Typed {
    Wrong,
    Password,
    Otp,
    /// The password, and the OTP behind it.
    Both,
}

/// One login.
#[derive(Clone, Copy)]
pub(crate) struct Visit<'a> {
    pub(crate) listing: Listing,
    /// The factors that the user can show.
    pub(crate) has: Factors,
    /// The answer to a deliberate gate that asks this; `None` if that is left open.
    pub(crate) gate: &'a dyn Fn(&str) -> Option<bool>,
    /// The application gives this to every prompt, as sshd does for its method `password`.
    pub(crate) one_answer: Option<Typed>,
    /// The code that our auth lines return, whatever is typed.
    pub(crate) ours: Option<Answer>,
    /// In auth lines, gates that are not deliberate say no; otherwise they say whatever they may.
    pub(crate) strict: bool,
    /// The application asks no auth line.
    pub(crate) skips_auth: bool,
    /// What our lines return to users whom the policy exempts or excuses.
    pub(crate) on_exempt: Answer,
}

/// Where one walk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct End {
    /// The auth lines said yes, or were skipped.
    pub(crate) auth: bool,
    /// So did the account lines: the user is in.
    pub(crate) yes: bool,
    /// Our module was asked in an auth line.
    pub(crate) asked: bool,
    /// It accepted the user wherever it was asked.
    pub(crate) accepted: bool,
    /// `nullok` or the policy excused the user.
    pub(crate) excused: bool,
    /// Which auth line led past the first one of our module, by a jump or an end.
    pub(crate) past: Option<usize>,
    /// The same for account lines.
    pub(crate) account_past: Option<usize>,
    /// Which account line of our module refused the user.
    pub(crate) refused_by: Option<usize>,
    /// Which auth line of our module asked for a second OTP.
    pub(crate) second: Option<usize>,
}

/// More states than any file that somebody wrote by hand comes to.
const MOST_STATES: usize = 1 << 18;

/// The record that our auth lines leave for the account lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Standing {
    Nothing,
    Refused,
    Excused,
    Accepted,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct State {
    /// In the account lines; the auth lines said yes.
    account: bool,
    dispatch: Dispatch,
    standing: Standing,
    /// PAM_AUTHTOK.
    stacked: Option<Typed>,
    /// The one answer that the application gives, or the stacked one, holds an OTP that is used up.
    used: bool,
    prompted: bool,
    end: End,
}

impl State {
    fn at_the_first(account: bool, before: Option<&Self>) -> Self {
        let fresh = Self {
            account,
            dispatch: Dispatch::new(),
            standing: Standing::Nothing,
            stacked: None,
            used: false,
            prompted: false,
            end: End { auth: account, ..End::default() },
        };
        match before {
            Some(before) => {
                Self { standing: before.standing, end: End { auth: true, ..before.end }, ..fresh }
            }
            None => fresh,
        }
    }
}

/// Every end that a login can come to. `None` if there are too many ways.
pub(crate) fn ends(auth: &Stack, account: &Stack, visit: &Visit<'_>) -> Option<HashSet<End>> {
    let (mut seen, mut ends) = (HashSet::new(), HashSet::new());
    let mut to_do = vec![State::at_the_first(visit.skips_auth, None)];
    while let Some(state) = to_do.pop() {
        let stack = if state.account { account } else { auth };
        let (Some(entry), Some(role)) =
            (stack.entries.get(state.dispatch.at), stack.roles.get(state.dispatch.at))
        else {
            let yes = state.dispatch.is_yes();
            match state.account {
                true => drop(ends.insert(End { yes, ..state.end })),
                false if yes => to_do.push(State::at_the_first(true, Some(&state))),
                false => drop(ends.insert(state.end)),
            }
            continue;
        };
        if !seen.insert(state.clone()) {
            continue;
        }
        if seen.len() > MOST_STATES {
            return None;
        }
        let mut entering = state.clone();
        entering.dispatch.enter(entry);
        if entry.is_substack() {
            to_do.push(entering);
            continue;
        }
        let first = stack.ours();
        for (answer, mut next) in answers(role, &entry.control, visit, &entering) {
            next.dispatch.take(&stack.entries, entry, answer);
            let at = state.dispatch.at;
            if first.is_some_and(|first| at < first && next.dispatch.at > first) {
                let past = if state.account { &mut next.end.account_past } else { &mut next.end.past };
                *past = Some(at);
            }
            to_do.push(next);
        }
    }
    Some(ends)
}

/// An answer that a line may give now, and the state after it.
fn answers(role: &Role, control: &Control, visit: &Visit<'_>, state: &State) -> Vec<(Answer, State)> {
    let plain = |answers: &[Answer]| {
        distinct(control, answers).into_iter().map(|answer| (answer, state.clone())).collect::<Vec<_>>()
    };
    let any = || Answer::all().collect::<Vec<_>>();
    match role {
        Role::Ours { .. } if state.account => ours_in_account(role, visit, state),
        Role::Ours { .. } => ours(role, visit, state),
        Role::Permit => plain(&[Answer::SUCCESS]),
        Role::Deny => plain(&[Answer::AUTH_ERR]),
        Role::MustFail | Role::Substack => plain(&[Answer::PERM_DENIED]),
        Role::Gate { question, yes, no } => match (visit.gate)(&question.text) {
            Some(is_so) => plain(&[if is_so != question.reversed { *yes } else { *no }]),
            None => plain(&any()),
        },
        Role::Incidental if visit.strict && !state.account => plain(&[Answer::AUTH_ERR]),
        Role::Incidental => plain(&any()),
        Role::Other { factor, .. } if visit.has.has(*factor) => plain(&any()),
        Role::Other { nullok: true, .. } => plain(&[Answer::AUTH_ERR, Answer::IGNORE]),
        Role::Other { .. } => plain(&[Answer::AUTH_ERR]),
        Role::Password { only_stacked } => {
            let mut found = Vec::new();
            let known = match state.stacked {
                Some(typed) => vec![typed],
                None if *only_stacked => vec![],
                None => typed(visit),
            };
            if known.is_empty() {
                return plain(&[Answer::AUTH_ERR]);
            }
            for typed in known {
                let right = typed == Typed::Password;
                let answers = if right { any() } else { vec![Answer::AUTH_ERR] };
                let next = State { stacked: Some(typed), ..state.clone() };
                found.extend(distinct(control, &answers).into_iter().map(|answer| (answer, next.clone())));
            }
            found
        }
    }
}

/// The answers that the user may type at a prompt.
fn typed(visit: &Visit<'_>) -> Vec<Typed> {
    if let Some(typed) = visit.one_answer {
        return vec![typed];
    }
    let (password, otp) = (visit.has.has(Factors::PASSWORD), visit.has.has(Factors::OTP));
    let all = [
        (Typed::Wrong, true),
        (Typed::Password, password),
        (Typed::Otp, otp),
        (Typed::Both, password && otp),
    ];
    all.into_iter().filter(|(_, can)| *can).map(|(typed, _)| typed).collect()
}

/// Our auth line, as `pam_sm_authenticate` decides.
fn ours(role: &Role, visit: &Visit<'_>, state: &State) -> Vec<(Answer, State)> {
    let Role::Ours { nullok, first_pass, always_prompt, enroll, broken, fails } = role else {
        return Vec::new();
    };
    if *fails == Some(Fails::Unloaded) {
        return vec![(Answer::MODULE_UNKNOWN, state.clone())];
    }
    let fault = (*fails == Some(Fails::Everybody)).then_some(Answer::AUTHINFO_UNAVAIL);
    let mut state = State { standing: Standing::Refused, ..state.clone() };
    let accepted_before = state.end.accepted || !state.end.asked;
    state.end.asked = true;
    state.end.accepted = false;
    state.end.excused = false;
    if let Some(answer) = visit.ours.or(broken.then_some(Answer::SERVICE_ERR)).or(fault) {
        return vec![(answer, state)];
    }
    let enrolls =
        *enroll && fails.is_none() && matches!(visit.listing, Listing::NotListed | Listing::Excused);
    // Where there is one answer for all prompts, nothing can be shown or asked.
    let can_ask = *first_pass != FirstPass::Use && visit.one_answer.is_none();
    if enrolls && !*nullok && can_ask && visit.has.has(Factors::ENROLLMENT) {
        state.standing = Standing::Accepted;
        state.end.accepted = accepted_before;
        return vec![(Answer::SUCCESS, state)];
    }
    let by_policy = matches!(visit.listing, Listing::Exempt | Listing::Excused);
    if by_policy || *nullok && visit.listing == Listing::NotListed {
        let answer = if by_policy { visit.on_exempt } else { Answer::IGNORE };
        state.standing = Standing::Excused;
        state.end.excused = true;
        return if *always_prompt && *first_pass != FirstPass::Use {
            let stacked = |typed| state.stacked.or(Some(typed));
            let next = |typed| (answer, State { stacked: stacked(typed), ..state.clone() });
            typed(visit).into_iter().map(next).collect()
        } else {
            vec![(answer, state)]
        };
    }
    let holds_otp = |typed: Typed| matches!(typed, Typed::Otp | Typed::Both);
    let from_before = state.stacked.filter(|typed| *first_pass == FirstPass::Use || holds_otp(*typed));
    let (answers, asked) = match (first_pass, from_before) {
        (FirstPass::Use, None) => return vec![(Answer::AUTH_ERR, state)],
        (FirstPass::Use | FirstPass::Try, Some(typed)) => (vec![typed], false),
        _ => (typed(visit), true),
    };
    let mut found = Vec::new();
    for typed in answers {
        let mut next = state.clone();
        let again = next.used && (!asked || visit.one_answer.is_some());
        let accepted = holds_otp(typed) && visit.listing == Listing::Token && !again;
        // What an earlier module obtained is not replaced, but for the OTP in it.
        match (asked, typed) {
            (true, Typed::Both) if next.stacked.is_none() => next.stacked = Some(Typed::Password),
            (false, Typed::Both) => next.stacked = Some(Typed::Password),
            (false, Typed::Otp) => next.stacked = None,
            _ => {}
        }
        next.used |= holds_otp(typed);
        if asked && next.prompted {
            next.end.second = Some(next.dispatch.at);
        }
        next.prompted |= asked;
        let answer = if accepted && fails.is_some() {
            Answer::AUTHINFO_UNAVAIL
        } else if accepted {
            next.standing = Standing::Accepted;
            next.end.accepted = accepted_before;
            Answer::SUCCESS
        } else if visit.listing == Listing::NotListed {
            Answer::USER_UNKNOWN
        } else {
            Answer::AUTH_ERR
        };
        found.push((answer, next));
    }
    found
}

/// Our account line, as `pam_sm_acct_mgmt` decides.
fn ours_in_account(role: &Role, visit: &Visit<'_>, state: &State) -> Vec<(Answer, State)> {
    let Role::Ours { nullok, broken, fails, .. } = role else { return Vec::new() };
    let answer = match state.standing {
        _ if *fails == Some(Fails::Unloaded) => Answer::MODULE_UNKNOWN,
        _ if *broken => Answer::SERVICE_ERR,
        Standing::Accepted => Answer::SUCCESS,
        _ if *fails == Some(Fails::Everybody) => Answer::AUTHINFO_UNAVAIL,
        _ if matches!(visit.listing, Listing::Exempt | Listing::Excused) => visit.on_exempt,
        _ if *nullok && visit.listing == Listing::NotListed => Answer::IGNORE,
        _ => Answer::AUTH_ERR,
    };
    let mut next = state.clone();
    if !matches!(answer, Answer::SUCCESS | Answer::IGNORE) {
        next.end.refused_by = Some(state.dispatch.at);
    }
    vec![(answer, next)]
}

/// One of each sort: of answers about which libpam does the same, only a yes, a no and none are told apart by what
/// follows, so that fewer ways have to be walked.
fn distinct(control: &Control, answers: &[Answer]) -> Vec<Answer> {
    let sort = |answer: Answer| (control.action(answer), answer == Answer::SUCCESS, answer == Answer::IGNORE);
    let mut kept: Vec<Answer> = Vec::new();
    for answer in answers {
        if kept.iter().all(|other| sort(*other) != sort(*answer)) {
            kept.push(*answer);
        }
    }
    kept
}
