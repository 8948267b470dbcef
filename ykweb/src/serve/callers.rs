//! What `ykweb-check` asks for programs that know a user and a password at most.

use super::log::{Outcome, Said};
use super::page::{Reply, text};
use super::route::form;
use super::{Connection, Shared};
use crate::check_api::{CheckReply, CheckRequest, Factor, Verdict};
use crate::first_factor::{PasswordVerdict, Restriction};
use crate::user::UserName;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, StatusCode};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::spawn_blocking;
use yubiotp::diagnostic::{Code, Diagnostic};
use zeroize::Zeroizing;

/// Rejections are answered no earlier.
const REJECTED_AFTER: Duration = Duration::from_millis(700);

/// Answers at the check socket.
pub(super) async fn answer(connection: &Connection, request: Request<Incoming>) -> Reply {
    let shared = &connection.service;
    if request.uri().path() != "/check" {
        return text(StatusCode::NOT_FOUND, "not found\n");
    }
    if request.method() != Method::POST {
        return text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
    }
    let body = match form(connection, request.into_body(), connection.peer.from).await {
        Ok(body) => body,
        Err(reply) => return reply,
    };
    let begun = Instant::now();
    let peer = connection.peer.from.to_string();
    let (mut from, mut proved) = (None, None);
    let said = match CheckRequest::read(&body) {
        Ok(asked) => {
            from = asked.from.as_deref().and_then(|from| from.parse::<IpAddr>().ok());
            let mut said = check(shared, &asked, (from, peer), &mut proved).await;
            said.service = Some(asked.service.chars().take(64).collect());
            said
        }
        Err(why) => Said::new("check", Outcome::Failed, Code::CheckRequestInvalid, peer, why),
    };
    if said.outcome == Outcome::Rejected {
        tokio::time::sleep_until((begun + REJECTED_AFTER).into()).await;
    }
    let (verdict, code) = (said.outcome, said.code);
    let said = Said { took: Some(begun.elapsed()), ..said };
    let id = match (verdict, proved) {
        (Outcome::Accepted, _) => shared.note(said),
        (_, Some(user)) => shared.note_of(said, &user),
        (_, None) => shared.note_some(said, from),
    };
    let verdict = match verdict {
        Outcome::Accepted => Verdict::Accepted,
        Outcome::Rejected => Verdict::Rejected,
        Outcome::Failed => Verdict::Failed,
    };
    let reply = CheckReply { verdict, code: code.name().to_owned(), id };
    let mut reply = text(StatusCode::OK, reply.write());
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

/// Sets `proved` to the user once the password is right.
async fn check(
    shared: &Arc<Shared>,
    asked: &CheckRequest,
    (from, peer): (Option<IpAddr>, String),
    proved: &mut Option<UserName>,
) -> Said {
    let peer = from.map_or(peer, |from| from.to_string());
    let rejected = |code, reason: String| Said::new("check", Outcome::Rejected, code, peer.clone(), reason);
    let Ok(user) = UserName::parse(&asked.user) else {
        return rejected(Code::PasswordWrong, "the name is none that a user can have".to_owned());
    };
    let of_user = |said: Said| Said { user: Some(user.to_string()), ..said };
    let failed = |found: &Diagnostic| of_user(Said::fault("check", found, peer.clone()));
    if let Err(found) = shared.may_accept() {
        return failed(&found);
    }
    let needs_password = asked.factor == Factor::Both;
    // The password first: only who knows it may use up a code, or try one.
    let begin = if needs_password {
        if !shared.guesses.take(&user, from) {
            let reason = "too many passwords were tried for this user from this network, or from this host";
            return of_user(rejected(Code::PasswordGuessLimit, reason.to_owned()));
        }
        match begin_of_factor(shared, &user, &asked.answer, from).await {
            Ok(Ok(begin)) => {
                shared.guesses.was_right(&user, from);
                *proved = Some(user.clone());
                begin
            }
            Ok(Err((code, reason))) => return of_user(rejected(code, reason)),
            Err(found) => return failed(&found),
        }
    } else {
        0
    };
    let answer = Zeroizing::new(asked.answer.get(begin..).unwrap_or_default().to_owned());
    match shared.judge(user.clone(), answer, from).await {
        Ok(decided) => {
            let outcome = if decided.means.is_some() { Outcome::Accepted } else { Outcome::Rejected };
            let code = if decided.means.is_some() { Code::Accepted } else { decided.found.code };
            let said = Said::new("check", outcome, code, peer.clone(), decided.found.problem.clone());
            let means = decided.means.map(crate::session::Means::name);
            of_user(Said { means, servers: decided.servers, ..said })
        }
        Err(found) => failed(&found),
    }
}

/// Why an account may not be used although its password is right.
pub(super) fn restricted(reason: Restriction) -> String {
    format!("the password is right, and PAM does not let the account in: {}", reason.name())
}

/// Where the OTP or code begins, behind a password that is right; or why it is none.
async fn begin_of_factor(
    shared: &Arc<Shared>,
    user: &UserName,
    answer: &str,
    from: Option<IpAddr>,
) -> Result<Result<usize, (Code, String)>, Diagnostic> {
    let (second, of, text) = (shared.second.clone(), user.clone(), Zeroizing::new(answer.to_owned()));
    let begins = spawn_blocking(move || second.begins(&of, &text)).await;
    let begins = begins.map_err(|_| Diagnostic::error(Code::InternalError, "a thread ended"))??;
    let mut why = (Code::AnswerWithoutOtp, "no OTP or code is behind the password".to_owned());
    for begin in begins {
        let password = Zeroizing::new(answer.as_bytes().get(..begin).unwrap_or_default().to_vec());
        match shared.first.check(user, &password, from).await? {
            PasswordVerdict::Right { .. } => return Ok(Ok(begin)),
            PasswordVerdict::Wrong => {
                why = (Code::PasswordWrong, "the password is wrong, or there is no such user".to_owned());
            }
            PasswordVerdict::NotAllowed(reason) => {
                return Ok(Err((Code::AccountNotAllowed, restricted(reason))));
            }
        }
    }
    Ok(Err(why))
}
