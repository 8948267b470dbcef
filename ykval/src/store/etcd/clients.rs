//! Reads and changes clients.

use super::change::{Change, Tries, must_be_under};
use super::layout::Value as _;
use super::link::Link;
use super::reads::Snapshot;
use super::state::one;
use super::{ops, pages};
use crate::etcd::messages::{KeyValue, RangeRequest, SortOrder, SortTarget};
use crate::store::{Client, ClientChange, StoreFault};
use yubiotp::diagnostic::{Code, Diagnostic};
use yubiotp::protocol::ClientId;
use yubiotp::seal::StoreKeyId;

pub(super) async fn client(link: &Link, id: ClientId) -> Result<Option<Client>, StoreFault> {
    let read = link.range(ops::get(link.keys.client(id))).await?.kvs;
    Ok(one(link, &read, || format!("client {id}"))?.map(|stored| stored.value))
}

pub(super) async fn clients(link: &Link) -> Result<Vec<Client>, StoreFault> {
    let read = pages::all(link, link.keys.clients()).await?;
    read.iter().map(|kv| read_one(link, kv)).collect()
}

fn read_one(link: &Link, kv: &KeyValue) -> Result<Client, StoreFault> {
    Client::read(&kv.value).ok_or_else(|| link.damaged("a client".to_owned()))
}

pub(super) async fn add(
    link: &Link,
    under: Option<StoreKeyId>,
    id: Option<ClientId>,
    make: impl Fn(ClientId) -> Client,
) -> Result<Option<Client>, StoreFault> {
    let last = RangeRequest {
        limit: 1,
        sort_order: SortOrder::Descend.into(),
        sort_target: SortTarget::Key.into(),
        ..ops::span(link.keys.clients())
    };
    let mut tries = Tries::new();
    loop {
        tries.again(link)?;
        let snapshot = Snapshot::read(link, &[]).await?;
        must_be_under(link, &snapshot, under)?;
        let id = match id {
            Some(id) => id,
            None => {
                let last = link.range(last.clone()).await?.kvs;
                let last = last.first().map(|kv| read_one(link, kv)).transpose()?;
                let next = last.map_or(0, |last| last.id.number()).saturating_add(1);
                ClientId::new(next).ok_or_else(|| {
                    let long = "a client ID of more than 10 digits cannot be stored";
                    link.fault(Diagnostic::error(Code::DatabaseFailed, long))
                })?
            }
        };
        let key = link.keys.client(id);
        if !link.range(ops::get(key.clone())).await?.kvs.is_empty() {
            return Ok(None);
        }
        let client = make(id);
        let mut change = Change::begin(link, &snapshot);
        change.unless_changed(key.clone(), 0);
        change.put(key, &client);
        if change.commit().await?.is_some() {
            return Ok(Some(client));
        }
    }
}

pub(super) async fn change(
    link: &Link,
    under: Option<StoreKeyId>,
    id: ClientId,
    to: &ClientChange,
) -> Result<bool, StoreFault> {
    let key = link.keys.client(id);
    let mut tries = Tries::new();
    loop {
        tries.again(link)?;
        let snapshot = Snapshot::read(link, &[]).await?;
        must_be_under(link, &snapshot, under)?;
        let read = link.range(ops::get(key.clone())).await?.kvs;
        let Some(stored) = one::<Client>(link, &read, || format!("client {id}"))? else { return Ok(false) };
        let mut client = stored.value;
        client.enabled = to.enabled.unwrap_or(client.enabled);
        client.sealed_key = to.sealed_key.clone().unwrap_or(client.sealed_key);
        let mut change = Change::begin(link, &snapshot);
        change.unless_changed(key.clone(), stored.revision);
        change.put(key.clone(), &client);
        if change.commit().await?.is_some() {
            return Ok(true);
        }
    }
}
