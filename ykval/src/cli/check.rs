//! `ykvald check`

mod report;
mod tls;

use super::key::Pages;
use super::{Context, Done, Failure, out, place, wait};
use report::Report;
use std::os::unix::fs::MetadataExt as _;
use ykval::config::{Config, DecryptAt, StoreAt};
use ykval::ksm::Ksm;
use ykval::serve::{LOWERED, Room};
use ykval::store::Store;
use yubiotp::key::Holders;
use yubiotp::seal::StoreKey;

pub(crate) fn run(context: &Context) -> Done {
    let mut report = Report::default();
    let config = match context.settings(&[]) {
        Ok(config) => config,
        Err(Failure::Fault(why)) => {
            report.error("settings", why);
            return report.tell(context.json);
        }
        Err(other) => return Err(other),
    };
    settings(&mut report, &config);
    if let Some(files) = &config.tls {
        tls::look(&mut report, "tls", files);
    }
    if let Some(decrypt) = &config.decrypt {
        match &decrypt.listen {
            DecryptAt::Unix(path) => match path.parent().filter(|folder| folder.is_dir()) {
                Some(_) => report.ok("decrypt", path.display().to_string()),
                None => report.error("decrypt", format!("{}: its folder is not there", path.display())),
            },
            DecryptAt::Tls(_, files) => tls::look(&mut report, "decrypt", files),
        }
    }
    let key = match place::store_key(&config) {
        Ok(key) => {
            report.ok("store key", format!("{}, which is {}", config.store_key.display(), key.id()));
            Some(key)
        }
        Err(Failure::Fault(why)) => {
            report.error("store key", why);
            None
        }
        Err(other) => return Err(other),
    };
    wait(async {
        // Its client of HTTP needs a runtime.
        if let Some(settings) = &config.ksm {
            match Ksm::new(settings) {
                Ok(ksm) => report.ok("ksm", ksm.names()),
                Err(fault) => report.error("ksm", fault.to_string()),
            }
        }
        if let Some(key) = &key {
            match Store::open(&config.store, key.id()).await {
                Ok(store) => {
                    let looked = look(&mut report, context, &config, &store, key).await;
                    store.close().await;
                    if let Err(Failure::Fault(why)) = looked {
                        report.error("store", why);
                    }
                }
                Err(fault) => report.error("store", fault.to_string()),
            }
        }
        Ok(())
    })?;
    report.tell(context.json)
}

fn settings(report: &mut Report, config: &Config) {
    let at: Vec<_> = config.listen.iter().map(ToString::to_string).collect();
    let at = at.join(", ");
    let path = config.path.display();
    let open = config.listen.iter().any(|at| !at.ip().is_loopback());
    if open && config.tls.is_none() {
        report.warning(
            "settings",
            format!("{path}: plain_http, and listens on {at}: whoever is on the way reads every OTP, unless all of it is \
                     yours"),
        );
    } else {
        report.ok("settings", format!("{path}: listens on {at}"));
    }
    if open && !config.require_signature {
        report.warning(
            "settings",
            format!("{path}: others than this host may ask without a signature: require_signature = true, or by client"),
        );
    }
    let room = Room::foreseen(config);
    if let Some(open_files) = room.open_files.filter(|_| room.is_lowered) {
        report.warning(
            "limits",
            format!(
                "{path}: with {open_files} open files, as here, {} of {} connections fit: {LOWERED}",
                room.connections, config.limits.connections
            ),
        );
    }
}

async fn look(
    report: &mut Report,
    context: &Context,
    config: &Config,
    store: &Store,
    key: &StoreKey,
) -> Done {
    let at = store.at();
    let version = store.version().await?;
    store.ready().await?;
    report.ok("store", format!("{at}: {version}"));
    if let StoreAt::Sqlite(path) = &config.store
        && let Ok(now) = std::fs::metadata(path)
        && now.mode() & 0o077 != 0
    {
        report.warning(
            "store",
            format!("{at}: others may read it (mode {:04o}): chmod go= it", now.mode() & 0o7777),
        );
    }

    let ykvald = context.ykvald();
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
    if keys == 0 && config.ksm.is_none() {
        report.warning("keys", format!("none, and no [ksm]: {ykvald} key import FILE"));
    } else {
        report.ok("keys", format!("{}, {disabled} disabled", out::count(keys, "key")));
    }
    Ok(())
}
