//! The ID and key of a new client, and the settings for its host.

use crate::cli::{Context, out, running};
use serde_json::{Value, json};
use std::net::IpAddr;
use ykval::config::Config;
use yubiotp::protocol::{ClientId, ClientKey};
use yubiotp::shown;
use zeroize::Zeroizing;

const VERIFY: &str = "/wsapi/2.0/verify";

/// Prints a client's key, which is shown only once.
pub(crate) fn tell(context: &Context, config: &Config, id: ClientId, name: &str, key: &ClientKey) {
    let key = key.to_base64();
    if context.json {
        out::json(&to_json(config, id, name, &key));
    } else {
        out::lines(&lines(config, id, name, &key));
    }
}

/// The same, as JSON. `url` is the first of `urls`.
pub(crate) fn to_json(config: &Config, id: ClientId, name: &str, key: &str) -> Value {
    let urls = urls(config);
    json!({ "id": id.number(), "name": name, "key": key, "url": urls.first(), "urls": urls })
}

/// The same, as text.
fn lines(config: &Config, id: ClientId, name: &str, key: &str) -> Zeroizing<String> {
    let urls = urls(config);
    let list = urls.iter().map(|url| format!("\"{url}\"")).collect::<Vec<_>>().join(", ");
    let urllist = urls.join(";");
    Zeroizing::new(format!(
        "client {id} ({}) has the key {key}\nThis key is shown only once.\n\n\
         For pam_yubiotp: write the key to /etc/yubiotp/client.key (chmod 600), and this to the end of \
         /etc/yubiotp/config.toml:\n\n  \
         [online]\n  urls = [{list}]\n  client_id = {id}\n  api_key_file = \"client.key\"\n\n\
         If that file sets mode = \"offline\" (the one of ykmap init --dir does), no server is asked. Change the line to:\n\n  \
         mode = \"online\"\n\n\
         For the web login: write the key to /etc/ykweb/client.key (chown root:ykweb, chmod 640), and this to the end of \
         /etc/ykweb/config.toml:\n\n  \
         [validation]\n  servers = [{list}]\n  client_id = {id}\n  api_key_file = \"client.key\"\n\n\
         For pam_yubico: write this to a file of /etc/pam.d that only root can read:\n\n  \
         auth required pam_yubico.so id={id} key={key} urllist={urllist} mode=client",
        shown::text(name),
    ))
}

/// The URLs for clients: those of the servers of the site; if none are named, that of the server that runs here, or of the
/// configuration.
fn urls(config: &Config) -> Vec<String> {
    let servers = &config.cluster.servers;
    if !servers.is_empty() {
        return servers.iter().map(|url| format!("{}{VERIFY}", url.trim_end_matches('/'))).collect();
    }
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let host = running::listens_at(&config.path).or(config.listen.first().copied()).map_or_else(
        || "HOST".to_owned(),
        |at| match at.ip() {
            // A name that the certificate holds is for the administrator to know.
            ip if ip.is_unspecified() => format!("HOST:{}", at.port()),
            IpAddr::V4(_) | IpAddr::V6(_) => at.to_string(),
        },
    );
    vec![format!("{scheme}://{host}{VERIFY}")]
}
