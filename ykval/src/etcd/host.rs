//! One member: its connection, and what is known of it without asking.

use super::connection::Connection;
use super::fault::EtcdFault;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// What is known of a cluster without asking it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The highest revision that was seen.
    pub revision: i64,
    /// The members, in the order of the configuration.
    pub members: Vec<ObservedMember>,
}

/// What is known of a member without asking it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedMember {
    /// `HOST:PORT`, as the configuration has it.
    pub endpoint: String,
    /// Whether it is connected to, and answered last, its cluster decided, and it gave a token if it was asked for one.
    pub is_up: bool,
    /// How many requests of the store it answered.
    pub answered: u64,
    /// How many it did not answer, or could not carry out.
    pub failed: u64,
    /// The size of its database in bytes, of the last half minute that it answered in.
    pub size: Option<i64>,
    /// The size that it may have; `None`: it does not say, as etcd before 3.6.
    pub quota: Option<i64>,
}

/// A member, and what is known of it.
pub(super) struct Host {
    /// `HOST:PORT`
    pub(super) name: String,
    pub(super) connection: Mutex<Option<Arc<Connection>>>,
    /// Whether the background is busy with it.
    pub(super) is_looked_at: AtomicBool,
    pub(super) answered: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) space: Mutex<Option<Space>>,
    /// Its version, as it said when it was connected to, or later. A new one needs a new connection.
    pub(super) version: Mutex<Option<String>>,
    /// Why it could not be connected to, if the last attempt failed.
    pub(super) why: Mutex<Option<EtcdFault>>,
}

/// What a member said about its database.
#[derive(Clone, Copy)]
pub(super) struct Space {
    pub(super) at: Instant,
    pub(super) size: i64,
    pub(super) quota: i64,
}

impl Host {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            connection: Mutex::default(),
            is_looked_at: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            space: Mutex::default(),
            version: Mutex::default(),
            why: Mutex::default(),
        }
    }

    pub(super) fn space(&self) -> MutexGuard<'_, Option<Space>> {
        self.space.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn version(&self) -> MutexGuard<'_, Option<String>> {
        self.version.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn why(&self) -> MutexGuard<'_, Option<EtcdFault>> {
        self.why.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
