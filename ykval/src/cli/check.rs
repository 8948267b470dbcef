//! `ykvald check`: a list of small looks, each of which adds what it finds to one report.

mod files;
mod ksm;
mod listening;
mod report;
mod restored;
mod server;
mod settings;
mod store;
mod times;
mod tls;

use super::{Context, Done, place, wait};
use report::Report;
use server::Server;
use ykval::config::Config;
use ykval::file;
use yubiotp::seal::StoreKey;

/// What is looked at.
struct Site<'a> {
    context: &'a Context,
    config: Config,
    /// Who runs the server, where that is not who runs this.
    server: Option<Server>,
}

/// What needs neither the store nor its key, in the order of the report.
const LOOKS: [fn(&mut Report, &Site<'_>); 6] =
    [settings::look, times::look, listening::look, tls::look, ksm::look, files::look];

pub(crate) fn run(context: &Context) -> Done {
    let mut report = Report::default();
    let config = match context.settings(&[]) {
        Ok(config) => config,
        Err(failure) => {
            if let Some(why) = failure.told(&context.ykvald()) {
                report.error("settings", why);
            }
            return report.tell(context.json);
        }
    };
    let server = Server::of(&config);
    if let Some(server) = &server {
        // It may read what is its own.
        file::trust(server.uid);
    }
    let site = Site { context, config, server };
    for look in LOOKS {
        look(&mut report, &site);
    }
    let key = store_key(&mut report, &site);
    if let Some(key) = key {
        wait(async {
            store::look(&mut report, &site, &key).await;
            Ok(())
        })?;
    }
    report.tell(context.json)
}

/// The key that the server takes: systemd may hand it another one than the settings name.
fn store_key(report: &mut Report, site: &Site<'_>) -> Option<StoreKey> {
    let handed = site.server.as_ref().and_then(|server| server.credential.as_deref());
    let (path, key) = match handed {
        Some(path) => (path, place::read_key(path)),
        None => (site.config.store_key.as_path(), place::store_key(&site.config)),
    };
    match key {
        Ok(key) => {
            report.ok("store key", format!("{}, which is {}", path.display(), key.id()));
            Some(key)
        }
        Err(failure) => {
            if let Some(why) = failure.told(&site.context.ykvald()) {
                report.error("store key", why);
            }
            None
        }
    }
}
