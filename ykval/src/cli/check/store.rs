//! The store, its clients and its keys. Nothing is changed: a store of an earlier version is not upgraded here.

use super::{Site, add, restored};
use crate::cli::key::Pages;
use crate::cli::{Done, key_unreadable, out, place};
use std::os::unix::fs::MetadataExt as _;
use ykcli::report::Report;
use ykval::config::StoreAt;
use ykval::file;
use ykval::store::{Looked, Store};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program};
use yubiotp::key::Holders;
use yubiotp::seal::StoreKeys;

pub(super) async fn check(report: &mut Report, site: &Site, key: &StoreKeys) {
    let store = match Store::look(&site.config.store, key.ids()).await {
        Ok(Looked::Current(store)) => store,
        Ok(Looked::Earlier { at, found, known }) => {
            let problem = format!(
                "has schema {found}; this ykvald upgrades it to {known} when it starts, and until then its clients and keys \
                 cannot be checked"
            );
            let earlier = Diagnostic::warning(Code::DatabaseFromEarlierVersion, problem).at(at);
            return report.add("store", earlier.advise("back it up, start the server, and check again"));
        }
        Ok(Looked::Restored { at }) => {
            let problem = "a restore was interrupted when everything was written; the next start finishes it, and until then \
                           its clients and keys cannot be checked";
            let unfinished = Diagnostic::warning(Code::RestoreUnfinished, problem).at(at);
            return report.add("store", unfinished.advise("start the server, and check again"));
        }
        Err(fault) => {
            return report.add("store", place::lost_or_not_moved(&site.config, key, &fault).await);
        }
    };
    if let Some(former) = key.former() {
        let (former, new) = (former.id(), key.id());
        let what = if store.sealed_under() == Some(former) {
            format!(
                "has store key {new}, which is to replace {former}. Every server must have this file before"
            )
        } else {
            format!(
                "still has store key {former}, which {new} replaces: the former key still opens the store"
            )
        };
        let path = super::key_path(site);
        report.add(
            "store key",
            Diagnostic::warning(Code::StoreKeyRotationUnfinished, what).at(file::location(path)).run_when(
                "once every server has this file and was restarted",
                Program::Ykvald,
                "key rotate-store-key finish --distributed",
            ),
        );
    }
    let looked = async {
        itself(report, site, &store).await?;
        clients(report, &store, key).await?;
        keys(report, site, &store, key).await
    };
    let looked = looked.await;
    store.close().await;
    if let Err(failure) = looked {
        add(report, "store", failure);
    }
}

async fn itself(report: &mut Report, site: &Site, store: &Store) -> Done {
    let at = store.location();
    let version = store.version().await?;
    store.seems_fit().await?;
    store.integrity().await?;
    report.ok("store", Some(at.clone()), version);
    for trap in store.traps().await {
        report.add("store", trap);
    }
    restored::check(report, store).await?;
    if let StoreAt::Sqlite(path) = &site.config.store
        && let Ok(now) = std::fs::metadata(path)
        && now.mode() & 0o077 != 0
    {
        let problem = format!("group or others may read it (mode {:04o})", now.mode() & 0o7777);
        let readable = Diagnostic::warning(Code::FileReadableByOthers, problem).at(at);
        report.add("store", readable.run(Program::System, format!("chmod go= {}", file::word(path))));
    }
    Ok(())
}

async fn clients(report: &mut Report, store: &Store, key: &StoreKeys) -> Done {
    let clients = store.clients().await?;
    let enabled = clients.iter().filter(|client| client.enabled).count();
    for client in &clients {
        if key.open_client(&client.sealed_key, client.id).is_err() {
            let id = client.id;
            let problem = format!(
                "the key of client {id} cannot be opened: it is damaged, or sealed under another store key"
            );
            let found = Diagnostic::error(Code::ClientKeyUnreadable, problem);
            report.add(
                "clients",
                found.run_when("to give it a new key", Program::Ykvald, format!("client rotate {id}")),
            );
        }
    }
    if enabled == 0 {
        let none =
            Diagnostic::warning(Code::NoClients, "there is no enabled client, so every request is rejected");
        report.add("clients", none.run(Program::Ykvald, "client add --name NAME"));
    } else {
        report.ok("clients", None, format!("{enabled} of {} enabled", clients.len()));
    }
    Ok(())
}

async fn keys(report: &mut Report, site: &Site, store: &Store, key: &StoreKeys) -> Done {
    let (mut keys, mut disabled) = (0_u64, 0_u64);
    let mut holders = Holders::default();
    let mut pages = Pages::of(store);
    loop {
        let page = pages.next().await?;
        if page.is_empty() {
            break;
        }
        for token in page {
            let Some((_, sealed)) = &token.key else { continue };
            keys = keys.saturating_add(1);
            disabled = disabled.saturating_add(u64::from(!token.enabled));
            let id = token.id;
            match key.open(sealed, &id) {
                Ok(credential) => {
                    if let Some(first) = holders.note(credential.aes_key.digest(), id) {
                        let problem = format!(
                            "has the same AES key as token {first}: an OTP used as one is accepted again as the other"
                        );
                        let same = Diagnostic::error(Code::KeyOfOtherToken, problem)
                            .at(Location::Token(id.to_string()));
                        report.add(
                            "keys",
                            same.run_when(
                                format!("if the YubiKey types {first}"),
                                Program::Ykvald,
                                format!("key remove {id}"),
                            )
                            .run_when(
                                format!("if the YubiKey types {id}"),
                                Program::Ykvald,
                                format!("key remove {first}"),
                            ),
                        );
                    }
                }
                Err(_) => report.add("keys", key_unreadable(&id)),
            }
        }
    }
    if keys == 0 && site.config.ksm.is_none() {
        let none = Diagnostic::warning(Code::NoKeys, "the store has no keys, and there is no [ksm]");
        report.add("keys", none.run(Program::Ykvald, "key import FILE"));
    } else {
        report.ok("keys", None, format!("{}, {disabled} disabled", out::count(keys, "key")));
    }
    Ok(())
}
