//! The ID and key of a new client, and the settings for its host.

use crate::cli::{Context, out, running};
use serde_json::json;
use std::net::IpAddr;
use ykval::config::Config;
use yubiotp::protocol::{ClientId, ClientKey};
use yubiotp::shown;
use zeroize::Zeroizing;

/// Prints a client's key, which is shown only once.
pub(crate) fn tell(context: &Context, config: &Config, id: ClientId, name: &str, key: &ClientKey) {
    let key = key.to_base64();
    if context.json {
        out::json(&json!({ "id": id.number(), "name": name, "key": *key, "url": url(config) }));
    } else {
        out::lines(&lines(config, id, name, &key));
    }
}

/// The same, as text.
fn lines(config: &Config, id: ClientId, name: &str, key: &str) -> Zeroizing<String> {
    let url = url(config);
    Zeroizing::new(format!(
        "client {id} ({}) has the key {key}\nThis key is shown only once.\n\n\
         For pam_yubiotp: write the key to /etc/yubiotp/client.key (chmod 600), and this to the end of \
         /etc/yubiotp/config.toml:\n\n  \
         [online]\n  urls = [\"{url}\"]\n  client_id = {id}\n  api_key_file = \"client.key\"\n\n\
         If that file sets mode = \"offline\" (the one of ykmap init --dir does), no server is asked. Change the line to:\n\n  \
         mode = \"online\"\n\n\
         For pam_yubico: write this to a file of /etc/pam.d that only root can read:\n\n  \
         auth required pam_yubico.so id={id} key={key} urllist={url} mode=client",
        shown::text(name),
    ))
}

/// The URL for clients: that of the running server, or of the configuration.
pub(crate) fn url(config: &Config) -> String {
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let host = running::listens_at(&config.path).or(config.listen.first().copied()).map_or_else(
        || "HOST".to_owned(),
        |at| match at.ip() {
            // A name that the certificate holds is for the administrator to know.
            ip if ip.is_unspecified() => format!("HOST:{}", at.port()),
            IpAddr::V4(_) | IpAddr::V6(_) => at.to_string(),
        },
    );
    format!("{scheme}://{host}/wsapi/2.0/verify")
}
