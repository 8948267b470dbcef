//! A user whom a web server authenticated, handed over at the identity socket.

use super::login::sign_in;
use super::{failed_of, message, way};
use crate::serve::forms::{self, Form};
use crate::serve::log::{Outcome, Said};
use crate::serve::page::{Reply, text, with_cookie};
use crate::serve::{Browser, Shared};
use crate::session::Means;
use crate::user::UserName;
use hyper::StatusCode;
use std::sync::Arc;
use std::time::Instant;
use yubiotp::diagnostic::Code;

/// What the web server says.
pub(in crate::serve) struct Handed<'a> {
    /// `X-Ykweb-User`: a user, or a Kerberos principal.
    pub(in crate::serve) user: Option<&'a str>,
    /// `X-Ykweb-Means`.
    pub(in crate::serve) means: Option<&'a str>,
}

/// The user and the means, or why there is none.
fn read(handed: &Handed<'_>, realm: Option<&str>) -> Result<(UserName, Means), String> {
    let sent = handed.user.ok_or("the web server named no user (X-Ykweb-User)")?;
    let means = match handed.means.and_then(Means::named) {
        Some(means @ (Means::Kerberos | Means::Certificate)) => means,
        _ => return Err("the web server did not say kerberos or certificate (X-Ykweb-Means)".to_owned()),
    };
    let name = match (sent.split_once('@'), realm) {
        (Some((name, of)), Some(realm)) if of == realm => name,
        (Some(_), Some(realm)) => {
            return Err(format!("the user is of another realm than {realm} (identity.realm)"));
        }
        (Some(_), None) => return Err("the user has a realm, and identity.realm is not set".to_owned()),
        (None, _) => sent,
    };
    UserName::parse(name).map(|user| (user, means)).map_err(|why| format!("the name {why}"))
}

/// `POST /login/negotiate`, at the identity socket only. A script gets 200 or 403, a form the next page.
pub(in crate::serve) async fn negotiate(
    shared: &Arc<Shared>,
    browser: &Browser,
    handed: &Handed<'_>,
    form: &Form,
) -> Reply {
    let begun = Instant::now();
    let (errand, is_page) = (way::errand(form), form.get("page") == "1");
    let refuse = |code: Code, reason: String| {
        let said = Said::new("login", Outcome::Rejected, code, browser.from(), reason);
        let id = shared.note_some(said, browser.address);
        if !is_page {
            return text(StatusCode::FORBIDDEN, format!("{}\n", code.name()));
        }
        let words = (
            "Not signed in",
            "The ticket of this computer is not accepted here. Sign in with your password.",
        );
        message(shared, StatusCode::FORBIDDEN, words, id.as_deref(), Some(("/login?quiet", "Sign in")))
    };
    if !forms::is_ours(&shared.form_key, &shared.site.public_url, &browser.headers, form.get("word")) {
        return refuse(Code::FormNotOurs, "the form has no word of this server for this browser".to_owned());
    }
    let (user, means) = match read(handed, shared.realm.as_deref()) {
        Ok(read) => read,
        Err(reason) => return refuse(Code::IdentityInvalid, reason),
    };
    match sign_in(shared, browser, user.clone(), (means, Vec::new(), begun)).await {
        Ok(Some((session, cookie))) => {
            let next = if is_page {
                way::on(shared, browser, &session, &errand)
            } else {
                text(StatusCode::OK, "signed in\n")
            };
            with_cookie(next, Some(cookie))
        }
        Ok(None) => refuse(Code::UserDisabled, "an administrator disabled the user".to_owned()),
        Err(found) if is_page => failed_of(shared, browser, ("login", &user), &found),
        Err(found) => {
            let said = Said::fault("login", &found, browser.from());
            shared.note_some(Said { user: Some(user.to_string()), ..said }, browser.address);
            text(StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", found.code.name()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_web_servers() {
        let of = |user, means, realm| {
            let read = read(&Handed { user, means }, realm).ok();
            read.map(|(user, means)| format!("{user} {}", means.name()))
        };
        let kerberos = Some("kerberos");
        for (user, means, realm, read) in [
            (Some("alice@SITE.TEST"), kerberos, Some("SITE.TEST"), Some("alice kerberos")),
            (Some("alice"), kerberos, Some("SITE.TEST"), Some("alice kerberos")),
            (Some("alice"), Some("certificate"), None, Some("alice certificate")),
            (Some("alice@OTHER"), kerberos, Some("SITE.TEST"), None),
            (Some("alice@SITE.TEST"), kerberos, None, None),
            (Some("alice@site.test"), kerberos, Some("SITE.TEST"), None),
            (Some("host/a.example@SITE.TEST"), kerberos, Some("SITE.TEST"), None),
            (Some("alice"), Some("password"), None, None),
            (Some("alice"), Some("yubikey"), None, None),
            (Some("alice"), None, None, None),
            (Some(""), kerberos, None, None),
            (Some("(null)"), kerberos, None, None),
            (None, kerberos, None, None),
        ] {
            assert_eq!(of(user, means, realm).as_deref(), read, "{user:?} {means:?} {realm:?}");
        }
    }
}
