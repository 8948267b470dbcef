//! Showing a second factor.

use super::{COOKIE, NO_WORD, STALE_FORM, clock_now, failed, message, not_before, way};
use crate::authorize::{Errand, clear_cookie, set_cookie};
use crate::serve::forms::{self, Form};
use crate::serve::log::{Outcome, Said};
use crate::serve::page::{Problem, Reply, VerifyPage, page, redirect, with_cookie};
use crate::serve::{Browser, Shared};
use crate::session::{Evidence, Factor, Means, Session};
use hyper::StatusCode;
use std::sync::Arc;
use std::time::Instant;
use tokio::task::spawn_blocking;
use yubiotp::Reason;
use yubiotp::diagnostic::{Code, Diagnostic};
use yubiotp::verdict::Verdict;
use zeroize::Zeroizing;

/// `GET /verify`.
pub(in crate::serve) fn verify_page(shared: &Shared, browser: &Browser, errand: &Errand) -> Reply {
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
    let needs_yubikey = way::need(shared, errand).factor == Factor::YubiKey;
    let Some((asks, label, only_digits)) = asks(&methods, way::need(shared, errand).factor) else {
        // What was typed all the same is noted already.
        let noted = problem.map(|problem| problem.id);
        return without_factor(shared, browser, session, errand, noted);
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
fn asks(methods: &[Means], factor: Factor) -> Option<(&'static str, &'static str, bool)> {
    let has = |means| methods.contains(&means);
    let (has_code, has_recovery) = (has(Means::Totp) || has(Means::Hotp), has(Means::Recovery));
    if factor == Factor::YubiKey {
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

fn without_factor(
    shared: &Shared,
    browser: &Browser,
    session: &Session,
    errand: &Errand,
    noted: Option<Option<String>>,
) -> Reply {
    let need = way::need(shared, errand);
    let reason = format!("{} has no second factor that is enough for {need}", session.user);
    let mut said = Said::new("verify", Outcome::Rejected, Code::UserWithoutToken, browser.from(), reason);
    said.user = Some(session.user.to_string());
    said.host = way::host_of(shared, errand).map(|host| host.origin.host().to_owned());
    let id = noted.unwrap_or_else(|| shared.note_of(said, &session.user));
    let text = if need.factor == Factor::YubiKey {
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
pub(in crate::serve) async fn verify_form(shared: &Arc<Shared>, browser: &Browser, form: &Form) -> Reply {
    let begun = Instant::now();
    let errand = way::errand(form);
    let Some(session) = shared.session(browser) else {
        return redirect(StatusCode::SEE_OTHER, &errand.page("/login"));
    };
    let mut said = Said::new("verify", Outcome::Rejected, Code::FormNotOurs, browser.from(), NO_WORD);
    said.user = Some(session.user.to_string());
    said.host = way::host_of(shared, &errand).map(|host| host.origin.host().to_owned());
    if !forms::is_ours(&shared.form_key, &shared.site.public_url, &browser.headers, form.get("word")) {
        let id = shared.note_of(said, &session.user);
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
        let id = shared.note_of(said, &session.user);
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
            let reason = "the session ended while the answer was checked, which is used up";
            (said.code, said.outcome, said.reason) =
                (Code::SessionNotHere, Outcome::Rejected, reason.to_owned());
            let id = shared.note_of(said, &session.user);
            let words =
                ("Sign in again", "Your session ended while this was checked. The answer is used up.");
            let login = errand.page("/login");
            let link = Some((login.as_str(), "Sign in"));
            with_cookie(
                message(shared, StatusCode::FORBIDDEN, words, id.as_deref(), link),
                Some(clear_cookie(COOKIE)),
            )
        }
        Ok(Err(fault)) => failed(shared, browser, "verify", &fault.into()),
        Err(_) => {
            failed(shared, browser, "verify", &Diagnostic::error(Code::InternalError, "a thread ended"))
        }
    }
}

/// What the page says of an answer that was rejected: it helps its owner, and names no secret.
fn rejection(verdict: &Verdict) -> &'static str {
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
