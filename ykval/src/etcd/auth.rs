//! User and password: a token is asked for with them, which goes with every call, and expires.

use super::call::Call;
use super::connection::{CallFault, Connection};
use super::fault::{EtcdFault, EtcdFaultKind as Kind, Outcome};
use super::hosts::Hosts;
use super::messages::AuthenticateRequest;
use crate::config::EtcdUser;
use crate::file::{self, Audience};
use hyper::header::HeaderValue;
use std::sync::Arc;
use tokio::time::{Instant, timeout_at};
use yubiotp::diagnostic::{Code, Diagnostic};

const MOST_PASSWORD: u64 = 4096;

/// How often a call is tried with a new token.
const RENEWALS: usize = 2;

/// The user of etcd, and its token.
pub(super) struct Auth {
    user: Option<EtcdUser>,
    token: tokio::sync::Mutex<Option<Token>>,
}

/// Whoever has it is the user. hyper leaves it out of what it prints, and of its compression's memory.
#[derive(Clone)]
struct Token(Arc<HeaderValue>);

impl Auth {
    pub(super) fn new(user: Option<EtcdUser>) -> Self {
        Self { user, token: tokio::sync::Mutex::default() }
    }

    /// Sends a call with the token of the user, and again with a new one if etcd refuses the token: then nothing was done.
    pub(super) async fn ask<C: Call>(
        &self,
        hosts: &Hosts,
        connection: &Connection,
        call: &C,
        until: Instant,
    ) -> Result<C::Answer, CallFault> {
        let Some(user) = &self.user else { return hosts.ask(connection, call, None, until).await };
        let mut refused: Option<Token> = None;
        for _ in 0..RENEWALS {
            let token = self.token(user, hosts, connection, refused.as_ref(), until).await;
            let token = token.map_err(CallFault::NotSent)?;
            match hosts.ask(connection, call, Some(&token.0), until).await {
                Err(CallFault::Status(status)) if status.is_token_invalid() => refused = Some(token),
                ended => return ended,
            }
        }
        let token = self.token(user, hosts, connection, refused.as_ref(), until).await;
        hosts.ask(connection, call, Some(&token.map_err(CallFault::NotSent)?.0), until).await
    }

    /// The token: the one that is there, or, if that was refused, a new one. It is asked for at the member that the call
    /// goes to, which therefore knows it.
    async fn token(
        &self,
        user: &EtcdUser,
        hosts: &Hosts,
        connection: &Connection,
        refused: Option<&Token>,
        until: Instant,
    ) -> Result<Token, EtcdFault> {
        let late =
            || not_sent(Kind::Late, Diagnostic::error(Code::DatabaseUnreachable, "gave no token in time"));
        let mut held = timeout_at(until, self.token.lock()).await.map_err(|_| late())?;
        if let Some(token) = held.as_ref()
            && refused.is_none_or(|refused| !Arc::ptr_eq(&refused.0, &token.0))
        {
            return Ok(token.clone());
        }
        let request = request(user)?;
        let answer = hosts.ask(connection, &request, None, until).await;
        // Nothing of the caller's was sent yet.
        let answer = answer.map_err(|why| why.fault().before_sending())?;
        let mut token = HeaderValue::from_str(&answer.token).map_err(|_| {
            not_sent(
                Kind::Answer,
                Diagnostic::error(Code::DatabaseFailed, "gave a token that cannot be used"),
            )
        })?;
        token.set_sensitive(true);
        let token = Token(Arc::new(token));
        *held = Some(token.clone());
        Ok(token)
    }
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
