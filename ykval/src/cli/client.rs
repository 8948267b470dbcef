//! `ykvald client`

mod add;
pub(crate) mod lines;

use super::out::Field;
use super::{Context, Done, Failure, Opened, out, wait};
use serde_json::json;
use std::sync::Arc;
use ykval::store::{Client, ClientChange, Store};
use ykval::{clock, random};
use yubiotp::diagnostic::{Code, Diagnostic, Program};
use yubiotp::protocol::{ClientId, ClientKey};
use yubiotp::seal::StoreKey;
use zeroize::Zeroizing;

pub(crate) use add::parse_name;

#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// Create a client with an ID and a key. The key is shown only once
    Add(add::Args),
    /// List the clients
    List,
    /// Reject a client's requests until it is enabled again. Takes effect within a second
    Disable(One),
    /// Answer a client's requests again
    Enable(One),
    /// Give a client a new key, shown only once. The old key stops working within a second
    Rotate(One),
}

#[derive(clap::Args)]
pub(crate) struct One {
    /// The client's ID
    #[arg(value_name = "ID", value_parser = parse_client)]
    id: ClientId,
}

/// Parses a client ID.
fn parse_client(text: &str) -> Result<ClientId, String> {
    let id = text.parse().ok().filter(|id| *id > 0).and_then(ClientId::new);
    id.ok_or_else(|| "not a client ID, which is a number above 0 of at most 10 digits".to_owned())
}

pub(crate) fn run(context: &Context, verb: Verb) -> Done {
    match verb {
        Verb::Add(args) => add::run(context, args),
        Verb::List => list(context),
        Verb::Disable(One { id }) => set_enabled(context, id, false),
        Verb::Enable(One { id }) => set_enabled(context, id, true),
        Verb::Rotate(One { id }) => rotate(context, id),
    }
}

/// A new key, to be sealed for the client that gets it.
pub(crate) struct NewKey {
    pub(crate) key: Arc<ClientKey>,
    nonce: [u8; 24],
    store_key: StoreKey,
}

impl NewKey {
    /// A random key.
    pub(crate) fn random(store_key: &StoreKey) -> Result<Self, Failure> {
        Self::of(ClientKey::from_random(Zeroizing::new(random::bytes()?)), store_key)
    }

    /// A key that the client has already.
    pub(crate) fn of(key: ClientKey, store_key: &StoreKey) -> Result<Self, Failure> {
        let store_key = StoreKey::new(*store_key.expose());
        Ok(Self { key: Arc::new(key), nonce: random::bytes()?, store_key })
    }

    /// The key, sealed for this ID. Of several that are tried, one is stored: the others were taken.
    pub(crate) fn sealed_for(&self, id: ClientId) -> Vec<u8> {
        self.store_key.seal_client(&self.key, id, self.nonce)
    }
}

/// Stores a client as `described`, with a key and an ID; `None` if the ID is taken.
pub(crate) async fn store(
    store: &Store,
    id: Option<ClientId>,
    key: NewKey,
    described: Client,
) -> Result<Option<Client>, Failure> {
    let make = move |id| Client { id, sealed_key: key.sealed_for(id), ..described.clone() };
    Ok(store.add_client(id, make).await?)
}

/// A client with defaults. ID and key are set when it is stored.
pub(crate) fn plain(name: String) -> Result<Client, Failure> {
    let id = ClientId::new(0).ok_or_else(|| Failure::input("not a client ID"))?;
    Ok(Client {
        id,
        name,
        enabled: true,
        require_signature: None,
        rate: None,
        certificate_name: None,
        sealed_key: Vec::new(),
        created: clock::now(),
    })
}

fn none(id: ClientId) -> Failure {
    Diagnostic::error(Code::ClientUnknown, format!("there is no client {id}"))
        .run_when("to see which clients there are", Program::Ykvald, "client list")
        .into()
}

fn list(context: &Context) -> Done {
    let clients = wait(async {
        let Opened { store, .. } = context.open().await?;
        let clients = store.clients().await?;
        store.close().await;
        Ok(clients)
    })?;
    if context.json {
        let clients: Vec<_> = clients
            .iter()
            .map(|client| {
                json!({
                    "id": client.id.number(),
                    "name": client.name,
                    "enabled": client.enabled,
                    "require_signature": client.require_signature,
                    "rate": client.rate,
                    "certificate_name": client.certificate_name,
                    "created": clock::written(client.created),
                })
            })
            .collect();
        out::json(&json!(clients));
        return Ok(());
    }
    if clients.is_empty() {
        context.note(
            &Diagnostic::note(Code::NoClients, "there are no clients")
                .run(Program::Ykvald, "client add --name NAME"),
        );
        return Ok(());
    }
    let rows = clients.into_iter().map(|client| {
        let or_dash = |value: Option<String>| Field::Plain(value.unwrap_or_else(|| "-".to_owned()));
        let signed = client.require_signature.map(|must| if must { "required" } else { "not required" });
        vec![
            Field::Plain(client.id.to_string()),
            Field::Plain(client.name),
            if client.enabled { Field::Plain("enabled".into()) } else { Field::Loud("disabled".into()) },
            or_dash(signed.map(str::to_owned)),
            or_dash(client.rate.map(|rate| rate.to_string())),
            or_dash(client.certificate_name),
            Field::Plain(clock::written(client.created)),
        ]
    });
    out::table(&["Id", "Name", "State", "Signature", "Rate", "Certificate", "Created"], rows.collect());
    Ok(())
}

fn set_enabled(context: &Context, id: ClientId, enabled: bool) -> Done {
    wait(async {
        let Opened { store, .. } = context.open().await?;
        let change = ClientChange { enabled: Some(enabled), ..ClientChange::default() };
        let there = store.change_client(id, change).await?;
        store.close().await;
        if there { Ok(()) } else { Err(none(id)) }
    })?;
    let done = if enabled { "enabled" } else { "disabled" };
    if context.json {
        out::json(&json!({ "id": id.number(), "done": done }));
    } else {
        out::line(&format!("client {id}: {done}"));
    }
    Ok(())
}

fn rotate(context: &Context, id: ClientId) -> Done {
    wait(async {
        let Opened { config, store, key } = context.open().await?;
        let client = store.client(id).await?.ok_or_else(|| none(id))?;
        let new = NewKey::random(&key)?;
        let change = ClientChange { sealed_key: Some(new.sealed_for(id)), ..ClientChange::default() };
        let there = store.change_client(id, change).await?;
        store.close().await;
        if !there {
            return Err(none(id));
        }
        if !client.enabled {
            context.note(
                &Diagnostic::note(Code::ClientDisabled, format!("client {id} is still disabled"))
                    .run(Program::Ykvald, format!("client enable {id}")),
            );
        }
        lines::tell(context, &config, id, &client.name, &new.key);
        Ok(())
    })
}
