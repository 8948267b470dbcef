//! Asks the servers of a site how they are, for `ykvald cluster status`.

use crate::clock;
use crate::config::ClusterConfig;
use crate::serve::DAEMON;
pub use crate::serve::ServerStatus;
use reqwest::{Client, StatusCode, Url};
use std::time::{Duration, Instant};
use ykserve::upstream::plain;
use ykserve::upstream::{self, NoBody};
use yubiotp::diagnostic::{Code, Diagnostic, Location};

/// How long a server may take. It takes up to four seconds itself to find out that its store does not answer.
const PATIENCE: Duration = Duration::from_secs(6);

/// Maximum length of an answer.
const MOST: usize = 64 << 10;

/// The answer of one server.
#[derive(Debug)]
pub struct Asked {
    /// Its URL.
    pub url: String,
    /// What it said; `Err`: why nothing.
    pub said: Result<Said, Box<Diagnostic>>,
}

/// What a server said.
#[derive(Debug)]
pub struct Said {
    /// Its status.
    pub status: ServerStatus,
    /// How much its clock is ahead of ours, in milliseconds.
    pub ahead_ms: i64,
    /// How long the answer took: the difference of the clocks is known to half of that.
    pub took: Duration,
}

/// Asks all servers at the same time.
///
/// # Errors
/// The certificate authorities cannot be used.
pub async fn ask_all(config: &ClusterConfig) -> Result<Vec<Asked>, Diagnostic> {
    let urls: Vec<_> = config.servers.iter().filter_map(|url| Url::parse(url).ok()).collect();
    let client = upstream::client(
        DAEMON,
        "cluster",
        config.ca.as_deref(),
        urls.iter(),
        Code::ClusterServerUnreachable,
    )?;
    let mut asked = tokio::task::JoinSet::new();
    for (at, url) in config.servers.iter().cloned().enumerate() {
        let client = client.clone();
        asked.spawn(async move {
            let said = ask(&client, &url).await;
            let said = said.map_err(|found| Box::new(found.at(Location::Url(url.clone()))));
            (at, Asked { url, said })
        });
    }
    let mut all = asked.join_all().await;
    all.sort_by_key(|(at, _)| *at);
    Ok(all.into_iter().map(|(_, asked)| asked).collect())
}

async fn ask(client: &Client, url: &str) -> Result<Said, Diagnostic> {
    let cannot = |problem: String| Diagnostic::error(Code::ClusterServerUnreachable, problem);
    let (begun, before) = (Instant::now(), clock::now_in_milliseconds());
    let answer = client.get(format!("{}/status", url.trim_end_matches('/'))).timeout(PATIENCE).send().await;
    let answer = answer.map_err(|why| {
        cannot(plain::http(&why)).advise(
            "start it, or correct its URL in [cluster] servers; if your own authority signed its certificate, name that in \
             [cluster] ca",
        )
    })?;
    let (took, after) = (begun.elapsed(), clock::now_in_milliseconds());
    if answer.status() == StatusCode::NOT_FOUND {
        let problem = "does not tell its status to this host, or is of an earlier version";
        return Err(
            cannot(problem.to_owned()).advise("name the address of this host in its setting status_from")
        );
    }
    if answer.status() != StatusCode::OK {
        return Err(cannot(format!("answers HTTP {}", answer.status().as_u16())));
    }
    let body = upstream::body(answer, MOST).await.map_err(|why| match why {
        NoBody::TooLong => cannot("its answer is too long for a ykvald".to_owned()),
        NoBody::Failed(why) => cannot(why),
    })?;
    let status: ServerStatus = serde_json::from_slice(&body)
        .map_err(|_| cannot("is no ykvald: its status cannot be read".to_owned()))?;
    // It read its clock between the two.
    let ahead_ms = status.now_ms.saturating_sub(before.midpoint(after));
    Ok(Said { status, ahead_ms, took })
}
