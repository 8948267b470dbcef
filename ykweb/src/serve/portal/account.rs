//! The account page: what the user has, where the user is signed in, and what happened.

use super::logout::end;
use super::{COOKIE, clock_now, failed};
use crate::authorize::{Errand, clear_cookie};
use crate::clock;
use crate::serve::forms::{self, Form};
use crate::serve::page::{AccountPage, EventRow, Reply, SessionRow, TokenRow, page, redirect, with_cookie};
use crate::serve::{Browser, Shared};
use crate::session::{Factor, Means, Session};
use crate::store::{StoreFault, StoredEvent};
use hyper::StatusCode;
use std::sync::Arc;
use yubiotp::diagnostic::{Code, Diagnostic};

/// Events that the page shows.
const EVENTS: usize = 20;

fn time(seconds: u64) -> String {
    let text = clock::written(i64::try_from(seconds).unwrap_or(i64::MAX));
    text.replace('T', " ").trim_end_matches('Z').to_owned() + " UTC"
}

/// What users call it.
const fn kind(means: Means) -> &'static str {
    match means {
        Means::YubiKey => "YubiKey",
        Means::Totp => "app",
        Means::Hotp => "token with a counter",
        Means::Recovery => "recovery codes",
        Means::Password | Means::Kerberos | Means::Certificate => "",
    }
}

/// The session, if it may see the account: who has a second factor shows it first.
fn owner(shared: &Shared, browser: &Browser) -> Result<Arc<Session>, Box<Reply>> {
    let Some(session) = shared.session(browser) else {
        return Err(Box::new(redirect(StatusCode::SEE_OTHER, "/login")));
    };
    let has_one = shared.second.methods(&session.user).map(|methods| !methods.is_empty());
    let has_one =
        has_one.map_err(|fault| Box::new(failed(shared, browser, "account", &fault.diagnostic())))?;
    let need = super::way::need(shared, &Errand::default());
    let lack = session.with_evidence(|shown| need.met_by(shown, clock_now()));
    match lack {
        Err(lack) if lack.factor != Factor::First && has_one => {
            Err(Box::new(redirect(StatusCode::SEE_OTHER, "/verify")))
        }
        _ => Ok(session),
    }
}

/// `GET /account`.
pub(in crate::serve) fn account(shared: &Shared, browser: &Browser) -> Reply {
    let session = match owner(shared, browser) {
        Ok(session) => session,
        Err(reply) => return *reply,
    };
    let (word, cookie) = match forms::word(&shared.form_key, &browser.cookies) {
        Ok(word) => word,
        Err(why) => return failed(shared, browser, "account", &why.into()),
    };
    match rows(shared, &session) {
        Ok((tokens, sessions, events)) => {
            let (portal, user) = (shared.site.public_url.host(), session.user.as_str());
            let made = AccountPage { assets: "", portal, word: &word, user, tokens, sessions, events };
            with_cookie(page(StatusCode::OK, &made, &shared.policy), cookie)
        }
        Err(fault) => failed(shared, browser, "account", &fault.diagnostic()),
    }
}

/// What a browser that calls itself so is: `Firefox, Windows`.
fn browser_and_system(agent: &str) -> String {
    // Each also claims to be those behind it.
    let browsers = [
        ("Firefox/", "Firefox"),
        ("Edg/", "Edge"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
        ("curl/", "curl"),
    ];
    let systems = [
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Windows", "Windows"),
        ("Mac OS", "macOS"),
        ("Linux", "Linux"),
    ];
    let of = |known: &[(&str, &'static str)]| {
        known.iter().find(|(part, _)| agent.contains(part)).map(|(_, name)| *name)
    };
    let found: Vec<_> = [of(&browsers), of(&systems)].into_iter().flatten().collect();
    if found.is_empty() { agent.chars().take(40).collect() } else { found.join(", ") }
}

/// What happened, for the user.
fn what(event: &StoredEvent) -> String {
    let what = match event.event.as_str() {
        "login" => "Signing in",
        "verify" => "Second factor",
        "check" => "A program asked",
        "logout" => "Signing out",
        "ticket" | "authorize" => "A site",
        other => other,
    };
    let is_good =
        [Code::Accepted, Code::SignedIn, Code::SignedOut].iter().any(|code| code.name() == event.code);
    if is_good { what.to_owned() } else { format!("{what}, {}", refusal(&event.code)) }
}

/// Why, in words of users: reasons name servers and settings.
fn refusal(code: &str) -> &'static str {
    match code.parse::<Code>() {
        Ok(Code::PasswordWrong) => "refused: the password was wrong",
        Ok(Code::PasswordGuessLimit) => "refused: too many attempts",
        Ok(Code::AccountNotAllowed) => "refused: the account may not be used now",
        Ok(Code::OtpReplayed | Code::ServerSaysReplayed) => "refused: the one-time password was used already",
        Ok(Code::CodeUsed | Code::RecoveryCodeUsed) => "refused: the code was used already",
        Ok(Code::CodeWrong | Code::RecoveryCodeWrong) => "refused: the code was wrong",
        Ok(Code::TokenDisabled) => "refused: the token is disabled",
        Ok(Code::UserWithoutToken) => "refused: a second factor was needed, and there was none",
        Ok(Code::UserNotAllowedHere) => "refused: you may not use this site",
        Ok(Code::ServerUnreachable) => "not decided: it could not be checked",
        _ => "refused",
    }
}

type Rows = (Vec<TokenRow>, Vec<SessionRow>, Vec<EventRow>);

fn rows(shared: &Shared, session: &Session) -> Result<Rows, StoreFault> {
    let user = &session.user;
    let account = shared.store.account(user)?;
    let (owned, recovery) =
        account.map_or_else(Default::default, |account| (account.tokens, account.recovery));
    let tokens = owned.into_iter().map(|token| TokenRow {
        name: if token.label.is_empty() { token.id.to_string() } else { token.label },
        kind: kind(token.means),
        is_enabled: token.is_enabled,
        last_used: token
            .last_used
            .map_or_else(|| "never".to_owned(), |at| time(u64::try_from(at).unwrap_or(0))),
        last_from: token.last_from.unwrap_or_default(),
    });
    let codes = recovery.map(|set| TokenRow {
        name: format!("{} left", set.left),
        kind: kind(Means::Recovery),
        is_enabled: true,
        last_used: String::new(),
        last_from: String::new(),
    });
    let tokens = tokens.chain(codes);
    let sessions = shared.store.sessions(Some(user))?.into_iter().map(|stored| SessionRow {
        number: stored.number,
        begun: time(stored.begun),
        seen: time(stored.seen),
        address: stored.address.unwrap_or_default(),
        agent: browser_and_system(&stored.agent),
        is_this: stored.number == session.number,
    });
    let events = shared.store.last_events(Some(user.as_str()), EVENTS)?.into_iter().map(|event| EventRow {
        at: time(event.at),
        what: what(&event),
        peer: event.peer.unwrap_or_default(),
        id: event.id,
    });
    Ok((tokens.collect(), sessions.collect(), events.collect()))
}

/// `POST /account/end-session`.
pub(in crate::serve) async fn end_session(shared: &Arc<Shared>, browser: &Browser, form: &Form) -> Reply {
    let session = match owner(shared, browser) {
        Ok(session) => session,
        Err(reply) => return *reply,
    };
    if !forms::is_ours(&shared.form_key, &shared.site.public_url, &browser.headers, form.get("word")) {
        return redirect(StatusCode::SEE_OTHER, "/account");
    }
    let own = shared.site.sessions.of_user(&session.user, clock_now());
    let chosen = form.get("session").parse().ok();
    let Some(chosen) = own.iter().find(|own| Some(own.number) == chosen) else {
        return redirect(StatusCode::SEE_OTHER, "/account");
    };
    match end(shared, browser, chosen, "the user ended the session on the account page").await {
        Ok(()) if chosen.number == session.number => {
            with_cookie(redirect(StatusCode::SEE_OTHER, "/login"), Some(clear_cookie(COOKIE)))
        }
        Ok(()) => redirect(StatusCode::SEE_OTHER, "/account"),
        Err(found) => failed(shared, browser, "account", &Diagnostic::clone(&found)),
    }
}
