//! Reads `[validation]`: who decides about the OTPs of YubiKeys.

use super::{MOST_KEY, OneOrMore, Read, Reader, invalid};
use crate::config::{ConfigFault, Validation};
use crate::file::{self, Audience};
use serde::{Deserialize, Deserializer};
use std::path::PathBuf;
use std::time::Duration;
use ykserve::settings::milliseconds;
use yubiotp::diagnostic::{Code, Diagnostic};
use yubiotp::protocol::{ClientId, ClientKey, Server, SyncLevel};
use yubiotp::shown;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct RawValidation {
    servers: OneOrMore,
    client_id: u64,
    #[serde(default)]
    api_key_file: Option<PathBuf>,
    #[serde(default)]
    sync_level: Option<String>,
    #[serde(default)]
    ca: Option<PathBuf>,
    #[serde(default = "validation_deadline", deserialize_with = "read_validation_deadline")]
    deadline_ms: Duration,
    #[serde(default = "validation_hedge", deserialize_with = "read_validation_hedge")]
    hedge_ms: Duration,
}

const fn validation_deadline() -> Duration {
    Duration::from_secs(5)
}

const fn validation_hedge() -> Duration {
    Duration::from_secs(1)
}

fn read_validation_deadline<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    milliseconds(from, "validation.deadline_ms")
}

fn read_validation_hedge<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    milliseconds(from, "validation.hedge_ms")
}

impl Reader<'_> {
    pub(super) fn validation(&self, raw: RawValidation) -> Read<Validation> {
        let of_url = |text: &String| {
            Server::parse(text).map_err(|why| {
                self.wrong("validation.servers", invalid(format!("{} {why}", shown::quoted(text))))
            })
        };
        let servers = raw.servers.list().iter().map(of_url).collect::<Read<Vec<_>>>()?;
        if servers.is_empty() {
            let none = invalid("names no validation server".to_owned());
            return Err(self.wrong("validation.servers", none.advise("name one, or remove [validation]")));
        }
        let key_file = raw.api_key_file.map(|path| self.beside(&path));
        let key = match &key_file {
            Some(path) => {
                let text = file::read(path, Audience::Group, MOST_KEY).map_err(|fault| {
                    let found = fault.diagnostic();
                    let found = if fault.is_missing() {
                        found.advise("write the key there that the validation server gave out, or correct api_key_file")
                    } else {
                        found
                    };
                    ConfigFault::Invalid(Box::new(found))
                })?;
                let bad = |why: yubiotp::protocol::BadClientKey| {
                    let found = Diagnostic::error(Code::ClientKeyInvalid, why.to_string());
                    ConfigFault::Invalid(Box::new(found.at(file::location(path))))
                };
                Some(ClientKey::parse(&text).map_err(bad)?)
            }
            None => None,
        };
        let open = |server: &&Server| !server.is_loopback() && (key.is_none() || !server.is_https());
        if let Some(server) = servers.iter().find(open) {
            let problem = if key.is_none() {
                format!(
                    "{} is asked without api_key_file, so anybody on the way could say yes",
                    server.address()
                )
            } else {
                format!("{} is asked without TLS, so others can read and use OTPs", server.address())
            };
            return Err(
                self.wrong("validation", invalid(problem).advise("set api_key_file, and write https://"))
            );
        }
        let sync_level = raw.sync_level.as_deref().map(SyncLevel::parse).transpose();
        Ok(Validation {
            servers,
            client_id: ClientId::new(raw.client_id).ok_or_else(|| {
                self.wrong("validation.client_id", invalid(format!("{} is no client id", raw.client_id)))
            })?,
            key,
            key_file,
            sync_level: sync_level
                .map_err(|why| self.wrong("validation.sync_level", invalid(why.to_string())))?,
            ca: raw.ca.as_deref().map(|path| self.beside(path)),
            deadline: raw.deadline_ms,
            hedge: raw.hedge_ms,
        })
    }
}
