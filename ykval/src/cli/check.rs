//! `ykvald check`: a list of small checks, each of which adds what it finds to one report.

mod files;
mod ksm;
mod listening;
mod restored;
mod settings;
mod store;
mod sync;
mod times;
mod tls;

use super::{Context, Done, Failure, out, place, wait};
use serde_json::Value;
use std::path::Path;
use ykcli::report::Report;
use ykserve::installation::ServerUser;
use ykval::config::{Config, StoreAt};
use ykval::file;
use yubiotp::diagnostic::{Calls, Severity};
use yubiotp::seal::StoreKeys;

/// What is checked.
struct Site {
    config: Config,
    /// The user who runs the server, if it is not the user who runs this.
    server: Option<ServerUser>,
}

/// The areas of the report, in its order.
const AREAS: &[&str] = &[
    "configuration",
    "limits",
    "listen",
    "tls",
    "decrypt",
    "ksm",
    "sync",
    "log",
    "store key",
    "store",
    "clients",
    "keys",
];

/// The most findings of one kind that are shown as text.
const MOST_ALIKE: usize = 20;

/// The checks that need neither the store nor its key.
const CHECKS: [fn(&mut Report, &Site); 7] =
    [settings::check, times::check, listening::check, tls::check, ksm::check, sync::check, files::check];

pub(crate) fn run(context: &Context) -> Done {
    let mut report = Report::new(AREAS).showing_at_most(MOST_ALIKE);
    report.calls(Calls { ykvald: &context.ykvald(), ..Calls::PLAIN });
    all(context, &mut report)?;
    if context.json {
        out::json(&Value::Object(report.json()));
    } else {
        report.print();
        out::line(&report.summary());
    }
    report.done()
}

fn all(context: &Context, report: &mut Report) -> Done {
    let config = match context.settings(&[]) {
        Ok(config) => config,
        Err(failure) => {
            add(report, "configuration", failure);
            return Ok(());
        }
    };
    let store = match &config.store {
        StoreAt::Sqlite(path) => Some(path.as_path()),
        database => database.seen(),
    };
    let server = ServerUser::of(&place::INSTALLED, &config.path, store);
    if let Some(server) = &server {
        // The server may read its own files.
        file::trust(server.uid);
    }
    let site = Site { config, server };
    for check in CHECKS {
        check(report, &site);
    }
    if let Some(key) = store_key(report, &site) {
        wait(async {
            store::check(report, &site, &key).await;
            Ok(())
        })?;
    }
    Ok(())
}

/// Adds why something could not be checked.
pub(super) fn add(report: &mut Report, area: &'static str, failure: Failure) {
    if let Some(found) = failure.or_as_root().diagnostic() {
        report.add(area, found.with_severity(Severity::Error));
    }
}

/// The store key that systemd passes to the server.
fn passed(site: &Site) -> Option<&Path> {
    site.server.as_ref().and_then(|server| server.credential.as_deref())
}

/// Where the store key is that the server uses.
fn key_path(site: &Site) -> &Path {
    passed(site).unwrap_or(&site.config.store_key)
}

/// The key that the server uses: systemd may pass another one than the configuration names.
fn store_key(report: &mut Report, site: &Site) -> Option<StoreKeys> {
    let path = key_path(site);
    let key = match passed(site) {
        Some(path) => place::read_key(path),
        None => place::store_key(&site.config),
    };
    match key {
        Ok(key) => {
            report.ok("store key", Some(file::location(path)), format!("is store key {}", key.id()));
            Some(key)
        }
        Err(failure) => {
            add(report, "store key", failure);
            None
        }
    }
}
