//! Where a user goes next: to the second factor, back to the protected host, or to the account.

use super::{failed, message};
use crate::authorize::{Denial, Errand, ProtectedHost};
use crate::serve::forms::Form;
use crate::serve::log::Said;
use crate::serve::page::{Reply, redirect};
use crate::serve::{Browser, Shared};
use crate::session::{Factor, KeyHash, Requirement, Session};
use hyper::StatusCode;
use yubiotp::diagnostic::Code;

/// The errand of a form.
pub(super) fn errand(form: &Form) -> Errand {
    let text = |name| form.get(name).to_owned();
    Errand { return_to: text("return_to"), browser: text("browser"), need: text("need") }
}

/// The protected host of an errand.
pub(super) fn host_of<'s>(shared: &'s Shared, errand: &Errand) -> Option<&'s ProtectedHost> {
    shared.site.hosts.page(&errand.return_to).map(|(host, _)| host)
}

/// What an errand needs. What stands in a URL can ask for more than the host does, never for less; the host's web server asks
/// again anyway. For the account it is a second factor, for those who have one.
pub(super) fn need(shared: &Shared, errand: &Errand) -> Requirement {
    match host_of(shared, errand) {
        Some(host) => Requirement::parse(&errand.need).unwrap_or(Requirement::LOGIN).and(host.require),
        None => Requirement { factor: Factor::Second, fresh: None },
    }
}

/// Sends a user who is signed in further.
pub(in crate::serve) fn on(shared: &Shared, browser: &Browser, session: &Session, errand: &Errand) -> Reply {
    let Some((host, target)) = shared.site.hosts.page(&errand.return_to) else {
        return redirect(StatusCode::SEE_OTHER, "/account");
    };
    if !host.allows(session) {
        return not_allowed(shared, browser, session, host);
    }
    let now = super::clock_now();
    match session.with_evidence(|shown| need(shared, errand).met_by(shown, now)) {
        Ok(()) => {}
        // Who signed in too long ago does it again.
        Err(lack) if lack.factor == Factor::First => return again(shared, browser, errand),
        Err(_) => return redirect(StatusCode::SEE_OTHER, &errand.page("/verify")),
    }
    let Some(of_browser) = KeyHash::read(&errand.browser) else {
        // Somebody wrote this URL by hand: the protected host makes a right one.
        return redirect(StatusCode::SEE_OTHER, &format!("{}{target}", host.origin));
    };
    match shared.site.way_back(session, host, target, of_browser) {
        Ok(Ok(url)) => redirect(StatusCode::SEE_OTHER, &url),
        Ok(Err(why)) => {
            let found = yubiotp::diagnostic::Diagnostic::error(Code::TicketLimit, why.to_string());
            failed(shared, browser, "ticket", &found)
        }
        Err(why) => failed(shared, browser, "ticket", &why.into()),
    }
}

fn again(shared: &Shared, browser: &Browser, errand: &Errand) -> Reply {
    let problem = crate::serve::page::Problem {
        text: "You signed in too long ago for this page. Sign in again.".to_owned(),
        id: None,
    };
    super::login::login(shared, browser, errand, StatusCode::OK, "", Some(problem))
}

/// The page for a user who may not use a host.
pub(super) fn not_allowed(
    shared: &Shared,
    browser: &Browser,
    session: &Session,
    host: &ProtectedHost,
) -> Reply {
    let denial = Denial::not_allowed(&host.origin, session.user.as_str());
    let id = shared.note_of(Said::denial("ticket", &denial, browser.from()), &session.user);
    not_allowed_page(shared, session, host, id.as_deref())
}

/// The same of a denial that was noted under this number.
pub(super) fn not_allowed_page(
    shared: &Shared,
    session: &Session,
    host: &ProtectedHost,
    id: Option<&str>,
) -> Reply {
    let text = format!("You are signed in as {}, and may not use {}.", session.user, host.origin.host());
    let title_and_text = ("Not allowed", text.as_str());
    message(shared, StatusCode::FORBIDDEN, title_and_text, id, Some(("/account", "Your account")))
}
