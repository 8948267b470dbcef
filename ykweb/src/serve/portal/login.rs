//! Signing in with a password, and the session that begins.

use super::{COOKIE, NO_WORD, STALE_FORM, clock_now, failed, failed_of, not_before, way};
use crate::authorize::{Errand, set_cookie};
use crate::first_factor::PasswordVerdict;
use crate::serve::callers::restricted;
use crate::serve::forms::{self, Form};
use crate::serve::log::{Outcome, Said};
use crate::serve::page::{LoginPage, Problem, Reply, page, with_cookie};
use crate::serve::{Browser, Shared};
use crate::session::{Evidence, Means, Session};
use crate::user::UserName;
use hyper::StatusCode;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;
use tokio::task::spawn_blocking;
use yubiotp::diagnostic::{Code, Diagnostic};
use zeroize::Zeroizing;

/// What a page says of a user's name and password that are not accepted, whatever is wrong with them.
const NOT_ACCEPTED: &str = "User name or password is wrong.";
const TOO_MANY: &str = "Too many attempts. Wait a minute, and try again.";

/// `GET /login`.
pub(in crate::serve) fn login_page(shared: &Shared, browser: &Browser, errand: &Errand) -> Reply {
    if let Some(session) = shared.session(browser) {
        return way::on(shared, browser, &session, errand);
    }
    login(shared, browser, errand, StatusCode::OK, "", None)
}

pub(super) fn login(
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
pub(in crate::serve) async fn login_form(shared: &Arc<Shared>, browser: &Browser, form: &Form) -> Reply {
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
        Err(found) => return failed_of(shared, browser, ("login", &user), &found),
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
        Err(found) => failed_of(shared, browser, ("login", &user), &found),
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
    (address, peer): (Option<IpAddr>, String),
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
pub(super) async fn sign_in(
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
