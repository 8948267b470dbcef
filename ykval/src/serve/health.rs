//! Whether the store can be used, asked often by nobody but us; and what was refused last.

use super::Shared;
use super::log::{Decided, Event};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use yubiotp::protocol::Status;

/// How long an answer of the store is good for.
const FRESH: Duration = Duration::from_secs(1);

/// How long the store may take to answer: longer than a connection to PostgreSQL, which then says what is wrong.
const PATIENCE: Duration = Duration::from_secs(4);

/// What the store said last.
#[derive(Default)]
pub(super) struct Health {
    /// One asks at a time, the others wait for what it hears.
    asked: tokio::sync::Mutex<Option<Instant>>,
    said: Mutex<Option<Result<(), Arc<str>>>>,
}

impl Health {
    /// Whether OTPs can be accepted: the store can be read and written, and has not forgotten any. Else why not.
    pub(super) async fn ready(&self, shared: &Shared) -> Result<(), Arc<str>> {
        self.store(shared).await?;
        let obstacle = shared.verifier.store().guard().obstacle();
        obstacle.map_or(Ok(()), |obstacle| Err(obstacle.to_string().into()))
    }

    async fn store(&self, shared: &Shared) -> Result<(), Arc<str>> {
        let mut asked = self.asked.lock().await;
        if let (Some(asked), Some(said)) = (*asked, self.said())
            && asked.elapsed() < FRESH
        {
            return said;
        }
        let ready = tokio::time::timeout(PATIENCE, shared.verifier.store().ready()).await;
        let now: Result<(), Arc<str>> = match ready {
            Ok(Ok(())) => Ok(()),
            Ok(Err(fault)) => Err(fault.to_string().into()),
            Err(_) => Err("the store does not answer".into()),
        };
        *asked = Some(Instant::now());
        let before = self.said.lock().unwrap_or_else(PoisonError::into_inner).replace(now.clone());
        match (&now, before) {
            (Ok(()), Some(Err(_))) => shared.log.tell(Event::StoreUp),
            (Err(why), None | Some(Ok(()))) => shared.log.tell(Event::StoreDown { why: Arc::clone(why) }),
            _ => {}
        }
        now
    }

    fn said(&self) -> Option<Result<(), Arc<str>>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was said last, without asking.
    pub(super) fn was_ready(&self, shared: &Shared) -> bool {
        self.said().is_some_and(|said| said.is_ok()) && shared.verifier.store().guard().obstacle().is_none()
    }
}

/// The last that were not OK, for people to look at.
#[derive(Default)]
pub(super) struct Recent(Mutex<VecDeque<Decided>>);

impl Recent {
    const MOST: usize = 20;

    pub(super) fn remember(&self, decided: &Decided) {
        if decided.decision.status == Status::Ok {
            return;
        }
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recent.truncate(Self::MOST - 1);
        recent.push_front(decided.clone());
    }

    /// The newest first.
    pub(super) fn list(&self) -> Vec<Decided> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}
