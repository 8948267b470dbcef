//! Key storage modules (YK-KSM) that a site has already, and that keep the keys which the store does not have.

mod answer;
#[cfg(test)]
mod tests;

use crate::{certificates, config};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use yubiotp::Position;
use yubiotp::authorities::BUNDLES;

/// More than any answer has.
const MOST_ANSWER: usize = 512;

/// The key storage modules.
#[derive(Clone)]
pub struct Ksm(Arc<Modules>);

struct Modules {
    client: Client,
    /// The URL, and host and port of it for people: the URL may hold a password.
    list: Vec<(Url, String)>,
    deadline: Duration,
}

/// What one of them decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KsmVerdict {
    /// The OTP is genuine.
    Genuine {
        /// How far the token has come.
        position: Position,
        /// Its clock, 24 bits.
        timestamp: u32,
    },
    /// `ERR Unknown yubikey`
    Unknown,
    /// `ERR Corrupt OTP`
    NotGenuine,
}

/// None of them decided: which did what, in how many milliseconds. No OTP is in it.
#[derive(Debug, thiserror::Error)]
#[error("no key storage module answered: {0}")]
pub struct KsmFault(pub String);

impl Ksm {
    /// Ready to ask.
    ///
    /// # Errors
    /// A URL or the certificate authorities cannot be used.
    pub fn new(config: &config::KsmConfig) -> Result<Self, KsmFault> {
        let list = config.urls.iter().map(|url| {
            let fault = |why| KsmFault(format!("ksm.urls: {why}"));
            let url = Url::parse(url).map_err(|why| fault(why.to_string()))?;
            let host = url.host_str().ok_or_else(|| fault("names no host".to_owned()))?;
            let name =
                url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
            Ok((url, name))
        });
        let list = list.collect::<Result<Vec<_>, KsmFault>>()?;
        let builder = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .referer(false)
            .user_agent("ykvald")
            .tcp_nodelay(true)
            .pool_max_idle_per_host(64)
            // Less than what servers keep a connection for.
            .pool_idle_timeout(Duration::from_secs(4));
        let secure = list.iter().any(|(url, _)| url.scheme() == "https");
        let tls = client_tls(config.ca.as_deref(), secure)?;
        let client = builder.tls_backend_preconfigured(tls).build();
        let client = client.map_err(|why| KsmFault(chain(why)))?;
        Ok(Self(Arc::new(Modules { client, list, deadline: config.deadline })))
    }

    /// Where they are, for people; without what their URLs hold beside.
    #[must_use]
    pub fn names(&self) -> String {
        self.0.list.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Those of them on other hosts that are asked without TLS.
    #[must_use]
    pub fn in_the_clear(&self) -> Vec<&str> {
        let is_here = |host: &str| {
            let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
            host == "localhost" || address.is_ok_and(|address| address.is_loopback())
        };
        let open = |url: &Url| url.scheme() == "http" && !url.host_str().is_some_and(is_here);
        self.0.list.iter().filter(|(url, _)| open(url)).map(|(_, name)| name.as_str()).collect()
    }

    /// Asks about an OTP in modhex: each module in its turn, until one decides; the next one too where one takes a third
    /// of the time. `Unknown` counts once all say so.
    ///
    /// # Errors
    /// None decided in time.
    pub async fn decrypt(&self, otp: &str) -> Result<KsmVerdict, KsmFault> {
        let Modules { client, list, deadline } = &*self.0;
        let begun = Instant::now();
        let mut asked = JoinSet::new();
        let mut left = list.iter();
        let mut faults = Vec::new();
        // Those that are given up here are dropped with the set.
        let all = async {
            loop {
                if let Some((url, name)) = left.next() {
                    let (client, name) = (client.clone(), name.clone());
                    let mut url = url.clone();
                    url.query_pairs_mut().append_pair("otp", otp);
                    asked.spawn(async move { (ask(&client, url).await, name) });
                }
                let next = if left.len() == 0 {
                    asked.join_next().await
                } else {
                    match tokio::time::timeout(*deadline / 3, asked.join_next()).await {
                        Ok(next) => next,
                        Err(_) => continue,
                    }
                };
                match next {
                    None => return None,
                    Some(Ok((Ok(KsmVerdict::Unknown), _))) => {}
                    Some(Ok((Ok(said), _))) => return Some(said),
                    Some(Ok((Err(why), name))) => {
                        faults.push(format!("{name}: {why} ({} ms)", begun.elapsed().as_millis()));
                    }
                    Some(Err(_)) => faults.push("a question was cut off".to_owned()),
                }
            }
        };
        match tokio::time::timeout(*deadline, all).await {
            Ok(Some(said)) => return Ok(said),
            Ok(None) if faults.is_empty() => return Ok(KsmVerdict::Unknown),
            Ok(None) => {}
            Err(_) => faults.push(format!("no answer in {} ms (ksm.deadline_ms)", deadline.as_millis())),
        }
        Err(KsmFault(faults.join("; ")))
    }
}

/// Asks one. Its fault in words, without the URL: the OTP stands in it.
async fn ask(client: &Client, url: Url) -> Result<KsmVerdict, String> {
    let answer = client.get(url).send().await.map_err(chain)?;
    if !answer.status().is_success() {
        return Err(format!("answers HTTP {}", answer.status().as_u16()));
    }
    answer::read(&body(answer).await?)
}

async fn body(mut answer: Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(chain)? {
        body.extend_from_slice(&part);
        if body.len() > MOST_ANSWER {
            return Err("answers more than a key storage module does".to_owned());
        }
    }
    Ok(body)
}

/// What went wrong, down to its cause.
fn chain(fault: reqwest::Error) -> String {
    let fault = fault.without_url();
    let mut text = fault.to_string();
    let mut cause = std::error::Error::source(&fault);
    while let Some(why) = cause {
        let why_text = why.to_string();
        if !text.ends_with(&why_text) {
            text.push_str(": ");
            text.push_str(&why_text);
        }
        cause = why.source();
    }
    text
}

/// The authorities of the settings, or the system's where one of the modules is asked by TLS.
fn client_tls(ca: Option<&Path>, secure: bool) -> Result<ClientConfig, KsmFault> {
    let fault = |why: String| KsmFault(format!("ksm.ca: {why}"));
    let mut roots = RootCertStore::empty();
    if let Some(ca) = ca {
        for certificate in certificates::read(ca).map_err(|why| fault(why.to_string()))? {
            roots.add(certificate).map_err(|why| fault(format!("{}: {why}", ca.display())))?;
        }
    } else if secure {
        let bundle = BUNDLES.iter().map(Path::new).find(|path| path.exists());
        let bundle =
            bundle.ok_or_else(|| fault("this system has no certificate authorities: name them".into()))?;
        // A bundle may hold some that nobody can use.
        roots.add_parsable_certificates(certificates::read(bundle).map_err(|why| fault(why.to_string()))?);
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|why| fault(why.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
