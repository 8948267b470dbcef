//! The store in PostgreSQL.

use super::*;

/// A store in PostgreSQL.
#[derive(Clone)]
pub struct Postgres;

#[expect(missing_docs, clippy::unused_async, reason = "stands in until it is written")]
impl Postgres {
    pub async fn create(_at: &crate::config::Postgres, _key: StoreKeyId) -> Result<Self, StoreFault> {
        Err(none())
    }
    pub async fn open(_at: &crate::config::Postgres, _key: StoreKeyId) -> Result<Self, StoreFault> {
        Err(none())
    }
    #[must_use]
    pub fn at(&self) -> &str {
        ""
    }
    pub async fn version(&self) -> Result<String, StoreFault> {
        Err(none())
    }
    pub async fn client(&self, _id: ClientId) -> Result<Option<Client>, StoreFault> {
        Err(none())
    }
    pub async fn token(&self, _id: PublicId) -> Result<Option<Token>, StoreFault> {
        Err(none())
    }
    pub async fn advance(&self, _step: Step) -> Result<Advanced, StoreFault> {
        Err(none())
    }
    pub async fn ready(&self) -> Result<(), StoreFault> {
        Err(none())
    }
    pub async fn add_client(
        &self,
        _id: Option<ClientId>,
        _make: impl Fn(ClientId) -> Client + Send + 'static,
    ) -> Result<Option<Client>, StoreFault> {
        Err(none())
    }
    pub async fn clients(&self) -> Result<Vec<Client>, StoreFault> {
        Err(none())
    }
    pub async fn change_client(&self, _id: ClientId, _change: ClientChange) -> Result<bool, StoreFault> {
        Err(none())
    }
    pub async fn enrol(&self, _keys: Vec<Enrolment>) -> Result<Enrolled, StoreFault> {
        Err(none())
    }
    pub async fn remove_key(&self, _id: PublicId) -> Result<bool, StoreFault> {
        Err(none())
    }
    pub async fn set_enabled(&self, _id: PublicId, _enabled: bool) -> Result<bool, StoreFault> {
        Err(none())
    }
    pub async fn raise(&self, _known: Vec<Known>) -> Result<Raised, StoreFault> {
        Err(none())
    }
    pub async fn tokens(&self, _after: Option<PublicId>) -> Result<Vec<Token>, StoreFault> {
        Err(none())
    }
    pub async fn count(&self) -> Result<Count, StoreFault> {
        Err(none())
    }
    pub async fn close(&self) {}
}

fn none() -> StoreFault {
    StoreFault::Missing("postgres".to_owned())
}
