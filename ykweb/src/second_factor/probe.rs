//! Asks each validation server whether it answers us, before any user needs it.

use super::servers::{ValidationServers, exchange, since};
use crate::config::Validation;
use crate::random;
use std::time::Instant;
use tokio::task::JoinSet;
use yubiotp::ask::FailureKind;
use yubiotp::diagnostic::{Code, Diagnostic};
use yubiotp::protocol::{Nonce, PendingQuery, Probed, Request, Server, nobodys_otp};

/// Asks every server by itself, all at once, about an OTP that no token makes. It takes [`Validation::deadline`] at most, and
/// uses nothing up. The answers come in the order of the servers.
///
/// # Errors
/// The servers cannot be asked as they are set: see [`super::SecondFactor::new`].
pub async fn probe(validation: Validation) -> Result<Vec<(Server, Probed)>, Diagnostic> {
    let ValidationServers { validation, client } = ValidationServers::new(validation)?;
    let Validation { servers, client_id, key, sync_level, deadline, .. } = validation;
    let (otp, nonce) = (nobodys_otp(&random::bytes()?), Nonce::from_random(random::bytes()?));
    let request = Request { client_id, otp: &otp, nonce: &nonce, sync_level, timeout: None };
    let mut asked = JoinSet::new();
    for (at, server) in servers.iter().enumerate() {
        let (client, url) = (client.clone(), server.url(&request, key.as_ref()));
        asked.spawn(async move {
            let begun = Instant::now();
            let silent = || (FailureKind::Silence, "no answer".to_owned());
            let answer = tokio::time::timeout(deadline, exchange(&client, &url)).await;
            (at, since(begun), answer.unwrap_or_else(|_| Err(silent())))
        });
    }
    let mut answers = Vec::new();
    while let Some(done) = asked.join_next().await {
        answers.extend(done);
    }
    answers.sort_by_key(|(at, ..)| *at);
    if answers.len() != servers.len() {
        return Err(Diagnostic::error(Code::InternalError, "a validation server was not asked"));
    }
    let query = PendingQuery { otp: &otp, nonce: &nonce, position: None, key: key.as_ref() };
    let probed = answers.into_iter().map(|(_, ms, answer)| match answer {
        Ok(body) => Probed::reply(&query, ms, &body),
        Err((kind, why)) => Probed::Failed { kind, ms, why },
    });
    Ok(servers.into_iter().zip(probed).collect())
}
