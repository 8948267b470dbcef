//! The portal's pages: sign in, second factor, account, sign out.

mod account;
mod login;
mod logout;
mod negotiate;
mod verify;
mod way;

use super::forms::Form;
use super::log::Said;
use super::page::{MessagePage, Reply, page, redirect};
use super::shared::is_reason_id;
use super::{Browser, Shared};
use crate::clock;
use crate::user::UserName;
pub(super) use account::{account, end_session};
use hyper::StatusCode;
pub(super) use login::{login_form, login_page};
pub(super) use logout::{logout_form, logout_page};
pub(super) use negotiate::{Handed, negotiate};
use std::time::{Duration, Instant};
use tokio::time::sleep_until;
pub(super) use verify::{verify_form, verify_page};
use yubiotp::diagnostic::{Code, Diagnostic};

/// The portal's cookie.
pub(super) const COOKIE: &str = "__Host-ykweb-login";

/// Rejections are answered no earlier: whatever was wrong, it takes the same time.
const REJECTED_AFTER: Duration = Duration::from_millis(700);

const FAILED: &str = "This cannot be checked now. Try again in a moment.";
const NO_WORD: &str = "the form has no word of this server for this browser";
const STALE_FORM: &str = "This page was open for too long. Please try again.";

async fn not_before(begun: Instant) {
    sleep_until((begun + REJECTED_AFTER).into()).await;
}

/// Now, in seconds since 1970.
pub(super) fn clock_now() -> u64 {
    u64::try_from(clock::now()).unwrap_or(0)
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
    let said = Said::fault(event, found, browser.from());
    let id = match shared.session(browser) {
        Some(session) => {
            let user = Some(session.user.to_string());
            shared.note_of(Said { user, ..said }, &session.user)
        }
        None => shared.note_some(said, browser.address),
    };
    not_now(shared, id.as_deref())
}

/// The same of a user who is not signed in yet.
fn failed_of(
    shared: &Shared,
    browser: &Browser,
    (event, user): (&'static str, &UserName),
    found: &Diagnostic,
) -> Reply {
    let said = Said::fault(event, found, browser.from());
    let id = shared.note_some(Said { user: Some(user.to_string()), ..said }, browser.address);
    not_now(shared, id.as_deref())
}

fn not_now(shared: &Shared, id: Option<&str>) -> Reply {
    message(shared, StatusCode::SERVICE_UNAVAILABLE, ("Not now", FAILED), id, Some(("/login", "Try again")))
}
