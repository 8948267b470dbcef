//! The portal's pages: sign in, second factor, account, sign out.

mod account;
mod negotiate;
mod way;

use super::callers::restricted;
use super::forms::{self, Form};
use super::log::{Outcome, Said};
use super::page::{
    LoginPage, LogoutPage, MessagePage, Problem, Reply, VerifyPage, page, redirect, with_cookie,
};
use super::shared::is_reason_id;
use super::{Browser, Shared};
use crate::authorize::{Errand, clear_cookie, set_cookie};
use crate::clock;
use crate::first_factor::PasswordVerdict;
use crate::session::{Evidence, Means, Session};
use crate::user::UserName;
pub(super) use account::{account, end_session};
use hyper::StatusCode;
pub(super) use negotiate::{Handed, negotiate};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::spawn_blocking;
use tokio::time::sleep_until;
use yubiotp::diagnostic::{Code, Diagnostic};
use yubiotp::verdict::Verdict;
use zeroize::Zeroizing;

/// The portal's cookie.
pub(super) const COOKIE: &str = "__Host-ykweb-login";

/// Rejections are answered no earlier: whatever was wrong, it takes the same time.
const REJECTED_AFTER: Duration = Duration::from_millis(700);

/// What a page says of a user's name and password that are not accepted, whatever is wrong with them.
const NOT_ACCEPTED: &str = "User name or password is wrong.";
const TOO_MANY: &str = "Too many attempts. Wait a minute, and try again.";
const FAILED: &str = "This cannot be checked now. Try again in a moment.";
const NO_WORD: &str = "the form has no word of this server for this browser";
const STALE_FORM: &str = "This page was open for too long. Please try again.";

async fn not_before(begun: Instant) {
    sleep_until((begun + REJECTED_AFTER).into()).await;
}

/// `GET /login`.
pub(super) fn login_page(shared: &Shared, browser: &Browser, errand: &Errand) -> Reply {
    if let Some(session) = shared.session(browser) {
        return way::on(shared, browser, &session, errand);
    }
    login(shared, browser, errand, StatusCode::OK, "", None)
}

fn login(
    shared: &Shared,
    browser: &Browser,
    errand: &Errand,
    status: StatusCode,
    user: &str,
    problem: Option<Problem>,
) -> Reply {
    let (word, cookie) = match forms::word(&shared.form_key, &browser.cookies) {
        Ok(word) => word,
        Err(why) => return failed(shared, browser, "login", &why.into()),
    };
    let made = page(
        status,
        &LoginPage {
            assets: "",
            portal: shared.site.public_url.host(),
            word: &word,
            errand,
            host: way::host_of(shared, errand).map(|host| host.origin.host()),
            user,
            problem,
            has_passwords: shared.has_passwords,
            has_kerberos: shared.has_identity,
        },
        &shared.policy,
    );
    with_cookie(made, cookie)
}

/// `POST /login`.
pub(super) async fn login_form(shared: &Arc<Shared>, browser: &Browser, form: &Form) -> Reply {
    let begun = Instant::now();
    let errand = way::errand(form);
    let typed = form.get("user").trim();
    let page = |text: &str, id| {
        let problem = Problem { text: text.to_owned(), id };
        login(shared, browser, &errand, StatusCode::FORBIDDEN, typed, Some(problem))
    };
    // What costs the sender nothing must not fill the store and the log.
    let free = |code: Code, reason: &str, user: Option<&UserName>| {
        let mut said = Said::new("login", Outcome::Rejected, code, browser.from(), reason);
        said.user = user.map(ToString::to_string);
        shared.note_some(said, browser.address)
    };
    if !forms::is_ours(&shared.form_key, &shared.site.public_url, &browser.headers, form.get("word")) {
        return page(STALE_FORM, free(Code::FormNotOurs, NO_WORD, None));
    }
    let Ok(user) = UserName::parse(typed) else {
        let id = free(Code::PasswordWrong, "the name is none that a user can have", None);
        not_before(begun).await;
        return page(NOT_ACCEPTED, id);
    };
    let password = Zeroizing::new(form.get("password").as_bytes().to_vec());
    let (of, from) = (Arc::clone(shared), (browser.address, browser.from()));
    // A task of its own: a browser that goes away before the answer is logged all the same.
    let checked = tokio::spawn(check_password(of, user.clone(), password, from, begun)).await;
    let groups = match checked.unwrap_or_else(|_| Err(Diagnostic::error(Code::InternalError, "a task ended")))
    {
        Ok(Checked::Right(groups)) => groups,
        Ok(Checked::Refused(text, id)) => {
            not_before(begun).await;
            return page(text, id);
        }
        Err(found) => return failed_of(shared, browser, ("login", Some(&user)), &found),
    };
    let shown = (Means::Password, groups, begun);
    match sign_in(shared, browser, user.clone(), shown).await {
        Ok(Some((session, cookie))) => {
            shared.guesses.was_right(&user, browser.address);
            with_cookie(way::on(shared, browser, &session, &errand), Some(cookie))
        }
        Ok(None) => {
            let reason = "an administrator disabled the user";
            let mut said = Said::new("login", Outcome::Rejected, Code::UserDisabled, browser.from(), reason);
            said.user = Some(user.to_string());
            let id = shared.note(said);
            not_before(begun).await;
            page(NOT_ACCEPTED, id)
        }
        Err(found) => failed_of(shared, browser, ("login", Some(&user)), &found),
    }
}

/// What came of a password.
enum Checked {
    /// It is right: the user's groups.
    Right(Vec<String>),
    /// It is not accepted: what the page says, and the number in log and store.
    Refused(&'static str, Option<String>),
}

async fn check_password(
    shared: Arc<Shared>,
    user: UserName,
    password: Zeroizing<Vec<u8>>,
    (address, peer): (Option<std::net::IpAddr>, String),
    begun: Instant,
) -> Result<Checked, Diagnostic> {
    let said = |code: Code, reason: String| {
        let mut said = Said::new("login", Outcome::Rejected, code, peer.clone(), reason);
        said.user = Some(user.to_string());
        said.took = Some(begun.elapsed());
        said
    };
    if !shared.guesses.take(&user, address) {
        let reason = "too many passwords were tried for this user from this network, or from this host";
        let said = said(Code::PasswordGuessLimit, reason.to_owned());
        return Ok(Checked::Refused(TOO_MANY, shared.note_some(said, address)));
    }
    let (code, reason) = match shared.first.check(&user, &password, address).await? {
        PasswordVerdict::Right { groups } => return Ok(Checked::Right(groups)),
        PasswordVerdict::Wrong => {
            (Code::PasswordWrong, "the password is wrong, or there is no such user".to_owned())
        }
        PasswordVerdict::NotAllowed(reason) => (Code::AccountNotAllowed, restricted(reason)),
    };
    Ok(Checked::Refused(NOT_ACCEPTED, shared.note(said(code, reason))))
}

/// Begins the session of a user who showed a first factor. `None`: an administrator disabled the user.
async fn sign_in(
    shared: &Arc<Shared>,
    browser: &Browser,
    user: UserName,
    (means, groups, begun): (Means, Vec<String>, Instant),
) -> Result<Option<(Arc<Session>, String)>, Diagnostic> {
    shared.may_accept()?;
    let (groups, left_out) = shared.site.hosts.of_session(groups);
    let evidence = Evidence { means, at: clock_now() };
    let (address, agent, of) =
        (browser.address.map(|at| at.to_string()), browser.agent(), Arc::clone(shared));
    let before = shared.session(browser).map(|session| session.number);
    let begin = spawn_blocking(move || {
        // A browser has one session: whoever signs in anew is not joined to what was there.
        if let Some(before) = before {
            of.site.sessions.end(&[before])?;
        }
        of.site.sessions.begin(&user, groups, evidence, (address, &agent)).map(|begun| (begun, user))
    });
    let (began, user) =
        begin.await.map_err(|_| Diagnostic::error(Code::InternalError, "a thread ended"))??;
    let Some((key, session)) = began else { return Ok(None) };
    let mut reason = "the first factor is right".to_owned();
    if left_out > 0 {
        let _ = write!(
            reason,
            "; {left_out} groups are too many to hand over, and left out: no allow names them"
        );
    }
    let mut said = Said::new("login", Outcome::Accepted, Code::SignedIn, browser.from(), reason);
    said.user = Some(user.to_string());
    said.means = Some(means.name());
    said.took = Some(begun.elapsed());
    shared.note(said);
    Ok(Some((session, set_cookie(COOKIE, &key))))
}

/// Now, in seconds since 1970.
pub(super) fn clock_now() -> u64 {
    u64::try_from(clock::now()).unwrap_or(0)
}

/// `GET /verify`.
pub(super) fn verify_page(shared: &Shared, browser: &Browser, errand: &Errand) -> Reply {
    match shared.session(browser) {
        None => redirect(StatusCode::SEE_OTHER, &errand.page("/login")),
        Some(session) => verify(shared, browser, &session, errand, StatusCode::OK, None),
    }
}

fn verify(
    shared: &Shared,
    browser: &Browser,
    session: &Session,
    errand: &Errand,
    status: StatusCode,
    problem: Option<Problem>,
) -> Reply {
    let methods = match shared.second.methods(&session.user) {
        Ok(methods) => methods,
        Err(fault) => return failed(shared, browser, "verify", &fault.diagnostic()),
    };
    let host = way::host_of(shared, errand);
    let needs_yubikey = way::need(shared, errand).factor == crate::session::Factor::YubiKey;
    let Some((asks, label, only_digits)) = asks(&methods, way::need(shared, errand).factor) else {
        return without_factor(shared, browser, session, errand);
    };
    let (word, cookie) = match forms::word(&shared.form_key, &browser.cookies) {
        Ok(word) => word,
        Err(why) => return failed(shared, browser, "verify", &why.into()),
    };
    let made = page(
        status,
        &VerifyPage {
            assets: "",
            portal: shared.site.public_url.host(),
            word: &word,
            errand,
            host: host.map(|host| host.origin.host()),
            user: session.user.as_str(),
            problem,
            asks,
            has_recovery: methods.contains(&Means::Recovery) && methods.len() > 1 && !needs_yubikey,
            label,
            only_digits,
        },
        &shared.policy,
    );
    with_cookie(made, cookie)
}

/// What to do with what a user has; `None`: nothing that would be enough.
fn asks(methods: &[Means], factor: crate::session::Factor) -> Option<(&'static str, &'static str, bool)> {
    let has = |means| methods.contains(&means);
    let (has_code, has_recovery) = (has(Means::Totp) || has(Means::Hotp), has(Means::Recovery));
    if factor == crate::session::Factor::YubiKey {
        return has(Means::YubiKey).then_some(("Touch your YubiKey.", "One-time password", false));
    }
    match (has(Means::YubiKey), has_code, has_recovery) {
        (true, true, _) => Some(("Touch your YubiKey, or type a code.", "One-time password or code", false)),
        (true, false, _) => Some(("Touch your YubiKey.", "One-time password", false)),
        (false, true, false) => Some(("Type the code that your app or token shows.", "Code", true)),
        (false, true, true) => Some(("Type the code that your app or token shows.", "Code", false)),
        (false, false, true) => Some(("Type one of your recovery codes.", "Recovery code", false)),
        (false, false, false) => None,
    }
}

fn without_factor(shared: &Shared, browser: &Browser, session: &Session, errand: &Errand) -> Reply {
    let need = way::need(shared, errand);
    let reason = format!("{} has no second factor that is enough for {need}", session.user);
    let mut said = Said::new("verify", Outcome::Rejected, Code::UserWithoutToken, browser.from(), reason);
    said.user = Some(session.user.to_string());
    said.host = way::host_of(shared, errand).map(|host| host.origin.host().to_owned());
    let id = shared.note_some(said, browser.address);
    let text = if need.factor == crate::session::Factor::YubiKey {
        "This site asks for a YubiKey, and you have none. Ask the help desk for one."
    } else {
        "This site asks for a second factor, and you have none. Ask the help desk for one."
    };
    message(
        shared,
        StatusCode::FORBIDDEN,
        ("No second factor", text),
        id.as_deref(),
        Some(("/account", "Your account")),
    )
}

/// `POST /verify`.
pub(super) async fn verify_form(shared: &Arc<Shared>, browser: &Browser, form: &Form) -> Reply {
    let begun = Instant::now();
    let errand = way::errand(form);
    let Some(session) = shared.session(browser) else {
        return redirect(StatusCode::SEE_OTHER, &errand.page("/login"));
    };
    let mut said = Said::new("verify", Outcome::Rejected, Code::FormNotOurs, browser.from(), NO_WORD);
    said.user = Some(session.user.to_string());
    said.host = way::host_of(shared, &errand).map(|host| host.origin.host().to_owned());
    if !forms::is_ours(&shared.form_key, &shared.site.public_url, &browser.headers, form.get("word")) {
        let id = shared.note_some(said, browser.address);
        let problem = Problem { text: STALE_FORM.to_owned(), id };
        return verify(shared, browser, &session, &errand, StatusCode::FORBIDDEN, Some(problem));
    }
    if let Err(found) = shared.may_accept() {
        return failed(shared, browser, "verify", &found);
    }
    let answer = Zeroizing::new(form.get("answer").trim().to_owned());
    let decided = shared.judge(session.user.clone(), answer, browser.address).await;
    let decided = match decided {
        Ok(decided) => decided,
        Err(found) => return failed(shared, browser, "verify", &found),
    };
    said.took = Some(begun.elapsed());
    said.servers = decided.servers;
    let Some(means) = decided.means else {
        (said.code, said.reason) = (decided.found.code, decided.found.problem.clone());
        let text = rejection(&decided.verdict);
        let id = shared.note(said);
        not_before(begun).await;
        let problem = Problem { text: text.to_owned(), id };
        return verify(shared, browser, &session, &errand, StatusCode::FORBIDDEN, Some(problem));
    };
    (said.code, said.outcome, said.means) = (Code::Accepted, Outcome::Accepted, Some(means.name()));
    said.reason.clone_from(&decided.found.problem);
    let (evidence, number, of) = (Evidence { means, at: clock_now() }, session.number, Arc::clone(shared));
    let shown = spawn_blocking(move || of.site.sessions.show(number, evidence)).await;
    match shown {
        Ok(Ok(Some((key, session)))) => {
            shared.note(said);
            with_cookie(way::on(shared, browser, &session, &errand), Some(set_cookie(COOKIE, &key)))
        }
        Ok(Ok(None)) => {
            with_cookie(redirect(StatusCode::SEE_OTHER, &errand.page("/login")), Some(clear_cookie(COOKIE)))
        }
        Ok(Err(fault)) => failed(shared, browser, "verify", &fault.into()),
        Err(_) => {
            failed(shared, browser, "verify", &Diagnostic::error(Code::InternalError, "a thread ended"))
        }
    }
}

/// What the page says of an answer that was rejected: it helps its owner, and names no secret.
fn rejection(verdict: &Verdict) -> &'static str {
    use yubiotp::Reason;
    match verdict {
        Verdict::Rejected(
            Reason::Replayed { .. } | Reason::ReplayedSaysServer(_) | Reason::Behind { .. },
        ) => "This one-time password was used already. Touch the YubiKey again.",
        Verdict::Rejected(Reason::CodeUsed { .. }) => "This code was used already. Wait for the next one.",
        Verdict::Rejected(Reason::RecoveryCodeUsed(..)) => {
            "This recovery code was used already. Take another one."
        }
        Verdict::Rejected(Reason::TwoCodesNeeded) => {
            "After many wrong codes, one is not enough: type the code, wait for the next one, and type it behind the first."
        }
        Verdict::Rejected(Reason::Disabled(_)) => "This token is disabled. Ask the help desk.",
        _ => "This is not accepted. Try again.",
    }
}

/// `GET /logout`.
pub(super) fn logout_page(shared: &Shared, browser: &Browser) -> Reply {
    let Some(session) = shared.session(browser) else { return signed_out(shared) };
    let (word, cookie) = match forms::word(&shared.form_key, &browser.cookies) {
        Ok(word) => word,
        Err(why) => return failed(shared, browser, "logout", &why.into()),
    };
    let portal = shared.site.public_url.host();
    let made = LogoutPage { assets: "", portal, word: &word, user: session.user.as_str() };
    with_cookie(page(StatusCode::OK, &made, &shared.policy), cookie)
}

/// `POST /logout`.
pub(super) async fn logout_form(shared: &Arc<Shared>, browser: &Browser, form: &Form) -> Reply {
    let Some(session) = shared.session(browser) else { return signed_out(shared) };
    if !forms::is_ours(&shared.form_key, &shared.site.public_url, &browser.headers, form.get("word")) {
        return redirect(StatusCode::SEE_OTHER, "/logout");
    }
    match end(shared, browser, &session, "the user signed out").await {
        Ok(()) => with_cookie(signed_out(shared), Some(clear_cookie(COOKIE))),
        Err(found) => failed(shared, browser, "logout", &found),
    }
}

async fn end(
    shared: &Arc<Shared>,
    browser: &Browser,
    session: &Session,
    why: &str,
) -> Result<(), Diagnostic> {
    let (number, of) = (session.number, Arc::clone(shared));
    let ended = spawn_blocking(move || of.site.sessions.end(&[number])).await;
    ended.map_err(|_| Diagnostic::error(Code::InternalError, "a thread ended"))??;
    let mut said = Said::new("logout", Outcome::Accepted, Code::SignedOut, browser.from(), why);
    said.user = Some(session.user.to_string());
    shared.note(said);
    Ok(())
}

fn signed_out(shared: &Shared) -> Reply {
    let text = "You are signed out here, and on all sites that you reached through this portal.";
    message(shared, StatusCode::OK, ("Signed out", text), None, Some(("/login", "Sign in again")))
}

/// `GET /denied`: where nginx sends a browser whose request was denied.
pub(super) fn denied_page(shared: &Shared, browser: &Browser, query: &str) -> Reply {
    let asked = Form::read(query.as_bytes());
    let host = shared.site.hosts.named(asked.get("host"));
    // Any other code is of the configuration, and comes again with each request.
    let code = asked.get("code").parse::<Code>().ok();
    // The protected host noted it.
    let id = Some(asked.get("id")).filter(|id| is_reason_id(id));
    let (Some(host), Some(session), Some(Code::UserNotAllowedHere)) = (host, shared.session(browser), code)
    else {
        let text = format!(
            "The administrator of this site has to look at its configuration: {}.",
            code.map_or("unknown", Code::name)
        );
        let link = Some(("/account", "Your account"));
        return message(shared, StatusCode::FORBIDDEN, ("Not here", &text), id, link);
    };
    if host.allows(&session) {
        return redirect(StatusCode::SEE_OTHER, &format!("{}/", host.origin));
    }
    match id {
        Some(id) => way::not_allowed_page(shared, &session, host, Some(id)),
        None => way::not_allowed(shared, browser, &session, host),
    }
}

fn message(
    shared: &Shared,
    status: StatusCode,
    (title, text): (&str, &str),
    id: Option<&str>,
    link: Option<(&str, &str)>,
) -> Reply {
    let portal = shared.site.public_url.host();
    let is_problem = status.is_client_error() || status.is_server_error();
    page(status, &MessagePage { assets: "", portal, title, text, is_problem, id, link }, &shared.policy)
}

/// The page for a fault: nothing was decided.
fn failed(shared: &Shared, browser: &Browser, event: &'static str, found: &Diagnostic) -> Reply {
    let session = shared.session(browser);
    failed_of(shared, browser, (event, session.as_ref().map(|session| &session.user)), found)
}

/// The same, of this user.
fn failed_of(
    shared: &Shared,
    browser: &Browser,
    (event, user): (&'static str, Option<&UserName>),
    found: &Diagnostic,
) -> Reply {
    let mut said = Said::fault(event, found, browser.from());
    said.user = user.map(ToString::to_string);
    let id = shared.note_some(said, browser.address);
    message(
        shared,
        StatusCode::SERVICE_UNAVAILABLE,
        ("Not now", FAILED),
        id.as_deref(),
        Some(("/login", "Try again")),
    )
}
