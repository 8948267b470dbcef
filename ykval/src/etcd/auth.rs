//! User and password: a token is asked for with them, which goes with every call, and expires.

use super::call::Call;
use super::connection::{CallFault, Connection, PATIENCE};
use super::fault::{EtcdFault, EtcdFaultKind as Kind, Outcome};
use super::hosts::Hosts;
use super::messages::AuthenticateRequest;
use crate::config::EtcdUser;
use crate::file::{self, Audience};
use hyper::header::HeaderValue;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::{Instant, timeout, timeout_at};
use yubiotp::diagnostic::{Code, Diagnostic};

const MOST_PASSWORD: u64 = 4096;

/// How often a call is tried with a new token.
const RENEWALS: usize = 2;

const LATE: &str = "gave no token in time";

/// The user of etcd, and its token.
pub(super) struct Auth {
    user: Option<EtcdUser>,
    token: Arc<Mutex<Option<Token>>>,
}

/// Whoever has it is the user. hyper leaves it out of what it prints, and of its compression's memory.
#[derive(Clone)]
struct Token(Arc<HeaderValue>);

impl Auth {
    pub(super) fn new(user: Option<EtcdUser>) -> Self {
        Self { user, token: Arc::default() }
    }

    /// Sends a call with the token of the user, and again with a new one if etcd refuses the token: then nothing was done.
    pub(super) async fn ask<C: Call>(
        &self,
        hosts: &Arc<Hosts>,
        connection: &Arc<Connection>,
        call: &C,
        until: Instant,
        most: usize,
    ) -> Result<C::Answer, CallFault> {
        let Some(user) = &self.user else { return hosts.ask(connection, call, None, until, most).await };
        let mut refused: Option<Token> = None;
        for _ in 0..RENEWALS {
            let token = self.token(user, hosts, connection, refused, until).await;
            let token = token.map_err(CallFault::NotSent)?;
            match hosts.ask(connection, call, Some(&token.0), until, most).await {
                Err(CallFault::Status(status)) if status.is_token_invalid() => refused = Some(token),
                ended => return ended,
            }
        }
        let token = self.token(user, hosts, connection, refused, until).await;
        hosts.ask(connection, call, Some(&token.map_err(CallFault::NotSent)?.0), until, most).await
    }

    /// The token: the one that is there, or, if that was refused, a new one. It is asked for at the member that the call
    /// goes to, which therefore knows it. Only while no other member is good, that may take longer than a second.
    async fn token(
        &self,
        user: &EtcdUser,
        hosts: &Arc<Hosts>,
        connection: &Arc<Connection>,
        refused: Option<Token>,
        until: Instant,
    ) -> Result<Token, EtcdFault> {
        if let Some(token) = other_than(&self.token, refused.as_ref()) {
            return Ok(token);
        }
        let request = request(user)?;
        let (hosts, connection, held) = (Arc::clone(hosts), Arc::clone(connection), Arc::clone(&self.token));
        let asked = (Arc::clone(&hosts), Arc::clone(&connection));
        // It goes on although nobody waits: then the next one has the token.
        let mut renewal = tokio::spawn(async move {
            let (hosts, connection) = asked;
            let late = |_| not_sent(Kind::Late, Diagnostic::error(Code::DatabaseUnreachable, LATE));
            let _one = timeout_at(until, connection.login.lock()).await.map_err(late)?;
            match other_than(&held, refused.as_ref()) {
                Some(token) => Ok(token),
                None => renewed(&held, &hosts, &connection, &request, until).await,
            }
        });
        let renewed = match timeout(PATIENCE, &mut renewal).await {
            Ok(renewed) => renewed,
            Err(_) => {
                connection.note_login(false);
                if hosts.has_good_beside(&connection) {
                    return Err(not_sent(Kind::Late, Diagnostic::error(Code::DatabaseUnreachable, LATE)));
                }
                renewal.await
            }
        };
        renewed.unwrap_or_else(|_| Err(not_sent(Kind::Other, Diagnostic::error(Code::DatabaseFailed, LATE))))
    }
}

/// The token that is there, unless it is the refused one. Nobody waits for the network with the lock.
fn other_than(held: &Mutex<Option<Token>>, refused: Option<&Token>) -> Option<Token> {
    let held = held.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
    refused.is_none_or(|refused| !Arc::ptr_eq(&refused.0, &held.0)).then_some(held)
}

async fn renewed(
    held: &Mutex<Option<Token>>,
    hosts: &Hosts,
    connection: &Connection,
    request: &AuthenticateRequest,
    until: Instant,
) -> Result<Token, EtcdFault> {
    let answer = hosts.login(connection, request, until).await;
    // Nothing of the caller's was sent yet.
    let answer = answer.map_err(|why| why.fault().before_sending())?;
    let mut token = HeaderValue::from_str(&answer.token).map_err(|_| {
        not_sent(Kind::Answer, Diagnostic::error(Code::DatabaseFailed, "gave a token that cannot be used"))
    })?;
    token.set_sensitive(true);
    let token = Token(Arc::new(token));
    *held.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
    Ok(token)
}

/// Reads the password, each time: it may have been changed.
pub(super) fn request(user: &EtcdUser) -> Result<AuthenticateRequest, EtcdFault> {
    let told = |found| not_sent(Kind::Login, found);
    let password = file::read(&user.password_file, Audience::Group, MOST_PASSWORD)
        .map_err(|fault| told(fault.diagnostic()))?;
    let password = str::from_utf8(password.trim_ascii_end()).map_err(|_| {
        told(
            Diagnostic::error(Code::DatabaseLoginRefused, "is not UTF-8")
                .at(file::location(&user.password_file)),
        )
    })?;
    Ok(AuthenticateRequest { name: user.name.clone(), password: password.to_owned() })
}

fn not_sent(kind: Kind, found: Diagnostic) -> EtcdFault {
    EtcdFault::new(Outcome::NotStored, kind, found)
}
