//! The store, its clients and its keys. Nothing of it is changed: what an earlier ykvald left is not carried forward here.

use super::Site;
use super::report::{Level, Report};
use super::restored;
use crate::cli::key::Pages;
use crate::cli::{Done, out, place};
use std::os::unix::fs::MetadataExt as _;
use ykval::config::StoreAt;
use ykval::store::{Looked, Store};
use yubiotp::key::Holders;
use yubiotp::seal::StoreKey;

pub(super) async fn look(report: &mut Report, site: &Site<'_>, key: &StoreKey) {
    let store = match Store::look(&site.config.store, key.id()).await {
        Ok(Looked::Current(store)) => store,
        Ok(Looked::Earlier { at, found, known }) => {
            return report.warning(
                "store",
                format!(
                    "{at}: schema {found}: this ykvald carries it to {known} at its next start; before that its clients \
                     and keys cannot be looked at"
                ),
            );
        }
        Ok(Looked::Restored { at }) => {
            return report.warning(
                "store",
                format!(
                    "{at}: a restore was cut off when all was written: the next start finishes it; before that its clients \
                     and keys cannot be looked at"
                ),
            );
        }
        Err(fault) => {
            let why = place::why_not_there(site.context, &site.config, &fault);
            return report.error("store", why);
        }
    };
    let looked = async {
        itself(report, site, &store).await?;
        clients(report, site, &store, key).await?;
        keys(report, site, &store, key).await
    };
    let looked = looked.await;
    store.close().await;
    if let Some(why) = looked.err().and_then(|failure| failure.told(&site.context.ykvald())) {
        report.error("store", why);
    }
}

async fn itself(report: &mut Report, site: &Site<'_>, store: &Store) -> Done {
    let at = store.at();
    let version = store.version().await?;
    store.seems_fit().await?;
    store.integrity().await?;
    report.ok("store", format!("{at}: {version}"));
    let ykvald = site.context.ykvald();
    for trap in store.traps().await {
        let level = if trap.is_error { Level::Error } else { Level::Warning };
        report.add("store", level, format!("{at}: {}", trap.told(&ykvald)));
    }
    restored::look(report, site.context, store).await?;
    if let StoreAt::Sqlite(path) = &site.config.store
        && let Ok(now) = std::fs::metadata(path)
        && now.mode() & 0o077 != 0
    {
        report.warning(
            "store",
            format!("{at}: others may read it (mode {:04o}): chmod go= it", now.mode() & 0o7777),
        );
    }
    Ok(())
}

async fn clients(report: &mut Report, site: &Site<'_>, store: &Store, key: &StoreKey) -> Done {
    let ykvald = site.context.ykvald();
    let clients = store.clients().await?;
    let enabled = clients.iter().filter(|client| client.enabled).count();
    for client in &clients {
        if key.open_client(&client.sealed_key, client.id).is_err() {
            let id = client.id;
            report.error(
                "clients",
                format!(
                    "client {id}: its key cannot be opened: {ykvald} client rotate {id} gives it a new one"
                ),
            );
        }
    }
    if enabled == 0 {
        report.warning("clients", format!("nobody may ask: {ykvald} client add --name NAME"));
    } else {
        report.ok("clients", format!("{enabled} of {} enabled", clients.len()));
    }
    Ok(())
}

async fn keys(report: &mut Report, site: &Site<'_>, store: &Store, key: &StoreKey) -> Done {
    let ykvald = site.context.ykvald();
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
                        report.error(
                            "keys",
                            format!(
                                "token {id}: has the same AES key as token {first}: an OTP used as one is good again as the \
                                 other: remove the one whose id the YubiKey does not type: {ykvald} key remove {id}, or \
                                 {ykvald} key remove {first}"
                            ),
                        );
                    }
                }
                Err(_) => report.error(
                    "keys",
                    format!("token {id}: its key cannot be opened: remove it, and import it again"),
                ),
            }
        }
    }
    if keys == 0 && site.config.ksm.is_none() {
        report.warning("keys", format!("none, and no [ksm]: {ykvald} key import FILE"));
    } else {
        report.ok("keys", format!("{}, {disabled} disabled", out::count(keys, "key")));
    }
    Ok(())
}
