//! Key storage modules (YK-KSM) of a site, with keys that the store does not have.

mod answer;
#[cfg(test)]
mod tests;

use crate::config;
use crate::serve::DAEMON;
use reqwest::{Client, Url};
use std::fmt::{self, Display, Formatter};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use ykserve::upstream::{self, NoBody, plain};
use yubiotp::Position;
use yubiotp::diagnostic::{Code, Diagnostic, Location};

/// No answer is longer.
const MOST_ANSWER: usize = 512;

/// The key storage modules.
#[derive(Clone)]
pub struct Ksm(Arc<Modules>);

struct Modules {
    client: Client,
    /// Each URL with its host and port, which are shown instead: the URL may hold a password.
    list: Vec<(Url, String)>,
    deadline: Duration,
}

/// What a module decided.
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

/// Why no module decided, or why none can be asked. It holds no OTP, and no URL.
#[derive(Debug)]
pub struct KsmFault(Box<Diagnostic>);

impl KsmFault {
    fn new(code: Code, setting: &str, problem: &str) -> Self {
        Self(Box::new(Diagnostic::error(code, problem).at(Location::Setting(setting.to_owned()))))
    }

    /// The finding.
    pub const fn diagnostic(&self) -> &Diagnostic {
        &self.0
    }
}

/// In one line, for logs.
impl Display for KsmFault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for KsmFault {}

impl Ksm {
    /// A client for the modules of the configuration.
    ///
    /// # Errors
    /// A URL or the certificate authorities cannot be used.
    pub fn new(config: &config::KsmConfig) -> Result<Self, KsmFault> {
        let list = config.urls.iter().map(|url| {
            let fault = |why: &str| KsmFault::new(Code::KsmUrlInvalid, "ksm.urls", why);
            let url = Url::parse(url).map_err(|why| fault(&why.to_string()))?;
            let name = upstream::name(&url).ok_or_else(|| fault("names no host"))?;
            Ok((url, name))
        });
        let list = list.collect::<Result<Vec<_>, KsmFault>>()?;
        let urls = list.iter().map(|(url, _)| url);
        let client = upstream::client(DAEMON, "ksm", config.ca.as_deref(), urls, Code::KsmFailed);
        let client = client.map_err(|found| KsmFault(Box::new(found)))?;
        Ok(Self(Arc::new(Modules { client, list, deadline: config.deadline })))
    }

    /// Their hosts and ports, for people.
    #[must_use]
    pub fn names(&self) -> String {
        self.0.list.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Those of them on other hosts that are asked without TLS.
    #[must_use]
    pub fn in_the_clear(&self) -> Vec<&str> {
        let open = self.0.list.iter().filter(|(url, _)| upstream::is_in_the_clear(url));
        open.map(|(_, name)| name.as_str()).collect()
    }

    /// Asks the modules about an OTP in modhex, one after the other, until one decides. If one takes a third of the deadline,
    /// the next is asked as well. The result is `Unknown` only if all say so.
    ///
    /// # Errors
    /// None decided before the deadline.
    pub async fn decrypt(&self, otp: &str) -> Result<KsmVerdict, KsmFault> {
        let Modules { client, list, deadline } = &*self.0;
        let begun = Instant::now();
        let mut asked = JoinSet::new();
        let mut left = list.iter();
        let mut faults = Vec::new();
        // Requests that are not finished are dropped with the set.
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
                    Some(Ok((Err((code, why)), name))) => {
                        faults.push((code, format!("{name}: {why} ({} ms)", begun.elapsed().as_millis())));
                    }
                    Some(Err(_)) => faults.push((Code::InternalError, "a request was aborted".to_owned())),
                }
            }
        };
        match tokio::time::timeout(*deadline, all).await {
            Ok(Some(said)) => return Ok(said),
            Ok(None) if faults.is_empty() => return Ok(KsmVerdict::Unknown),
            Ok(None) => {}
            Err(_) => faults.push((
                Code::KsmTimeout,
                format!("no answer in {} ms (ksm.deadline_ms)", deadline.as_millis()),
            )),
        }
        Err(undecided(&faults))
    }
}

/// Why a module did not decide.
type NoAnswer = (Code, String);

/// The finding about all modules: its code is theirs, if they have the same one.
fn undecided(faults: &[NoAnswer]) -> KsmFault {
    let first = faults.first().map_or(Code::KsmFailed, |(code, _)| *code);
    let code = if faults.iter().all(|(code, _)| *code == first) { first } else { Code::KsmFailed };
    let each: Vec<_> = faults.iter().map(|(_, why)| why.as_str()).collect();
    let problem = format!("no key storage module decided: {}", each.join("; "));
    KsmFault(Box::new(Diagnostic::error(code, problem)))
}

/// Asks one module. The fault does not hold the URL, since the OTP is in it.
async fn ask(client: &Client, url: Url) -> Result<KsmVerdict, NoAnswer> {
    let unreachable = |why| (Code::KsmUnreachable, why);
    let answer = client.get(url).send().await.map_err(|why| unreachable(plain::http(&why)))?;
    if !answer.status().is_success() {
        return Err((Code::KsmHttpStatus, format!("answers HTTP {}", answer.status().as_u16())));
    }
    let body = upstream::body(answer, MOST_ANSWER).await.map_err(|why| match why {
        NoBody::TooLong => {
            (Code::KsmAnswerInvalid, "its answer is too long for a key storage module".to_owned())
        }
        NoBody::Failed(why) => unreachable(why),
    })?;
    answer::read(&body)
}
