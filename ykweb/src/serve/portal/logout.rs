//! Signing out: the session of this browser ends everywhere.

use super::{COOKIE, failed, message};
use crate::authorize::clear_cookie;
use crate::serve::forms::{self, Form};
use crate::serve::log::{Outcome, Said};
use crate::serve::page::{LogoutPage, Reply, page, redirect, with_cookie};
use crate::serve::{Browser, Shared};
use crate::session::Session;
use hyper::StatusCode;
use std::sync::Arc;
use tokio::task::spawn_blocking;
use yubiotp::diagnostic::{Code, Diagnostic};

/// `GET /logout`.
pub(in crate::serve) fn logout_page(shared: &Shared, browser: &Browser) -> Reply {
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
pub(in crate::serve) async fn logout_form(shared: &Arc<Shared>, browser: &Browser, form: &Form) -> Reply {
    let Some(session) = shared.session(browser) else { return signed_out(shared) };
    if !forms::is_ours(&shared.form_key, &shared.site.public_url, &browser.headers, form.get("word")) {
        return redirect(StatusCode::SEE_OTHER, "/logout");
    }
    match end(shared, browser, &session, "the user signed out").await {
        Ok(()) => with_cookie(signed_out(shared), Some(clear_cookie(COOKIE))),
        Err(found) => failed(shared, browser, "logout", &found),
    }
}

pub(super) async fn end(
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
