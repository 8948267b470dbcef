//! Asks validation servers about the OTPs of YubiKeys, as `yubiotp-ask` does for a host: the first one; after the hedge, or
//! where it says nothing that decides, the others. The first decisive answer wins.

use crate::DAEMON;
use crate::config::Validation;
use crate::random;
use reqwest::{Client, Url};
use std::time::Instant;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use ykserve::upstream::{self, NoBody, plain};
use yubiotp::ask::{Event, FailureKind, MAX_REPLY, MAX_SERVERS};
use yubiotp::diagnostic::{Code, Diagnostic, Location};
use yubiotp::protocol::{Nonce, PendingQuery, Request, ServerPoll, Step};
use yubiotp::verdict::{Answer, Servers};
use yubiotp::{Position, PublicId};
use zeroize::Zeroizing;

const SERVERS: &str = "validation.servers";

/// The validation servers of the configuration, and a client for them.
pub(super) struct ValidationServers {
    pub(super) validation: Validation,
    pub(super) client: Client,
}

impl ValidationServers {
    /// Refuses servers that cannot be asked safely.
    pub(super) fn new(validation: Validation) -> Result<Self, Diagnostic> {
        let error = |code, problem: String| {
            Diagnostic::error(code, problem).at(Location::Setting(SERVERS.to_owned()))
        };
        let count = validation.servers.len();
        if count == 0 || count > MAX_SERVERS {
            let problem = format!("names {count} servers; 1 to {MAX_SERVERS} can be asked");
            return Err(error(Code::NoServers, problem));
        }
        for server in validation.servers.iter().filter(|server| !server.is_loopback()) {
            if !server.is_https() {
                let problem =
                    format!("asks {server} without TLS: others on the network could read every OTP");
                return Err(error(Code::PlainHttp, problem).advise("use an https URL"));
            }
            if validation.key.is_none() {
                let problem = format!("asks {server} without a key: its answers are not signed");
                return Err(error(Code::UnprovenAnswers, problem)
                    .advise("set validation.api_key_file to the file with the key of client_id"));
            }
        }
        let urls = validation.servers.iter().map(|server| Url::parse(&server.address()));
        let urls: Vec<_> = urls
            .collect::<Result<_, _>>()
            .map_err(|why| error(Code::SettingInvalid, format!("a URL cannot be used: {why}")))?;
        let ca = validation.ca.as_deref();
        let client = upstream::client(DAEMON, "validation", ca, urls.iter(), Code::CannotAsk)?;
        Ok(Self { validation, client })
    }

    async fn poll(&self, otp: &str, position: Option<Position>) -> Result<Answer, Diagnostic> {
        let Validation { servers, client_id, key, sync_level, deadline, hedge, .. } = &self.validation;
        let (key, nonce) = (key.as_ref(), Nonce::from_random(random::bytes()?));
        let request =
            Request { client_id: *client_id, otp, nonce: &nonce, sync_level: *sync_level, timeout: None };
        let mut poll = ServerPoll::new(servers, PendingQuery { otp, nonce: &nonce, position, key });
        let begun = Instant::now();
        let [until, hedged] = [deadline, hedge].map(|time| tokio::time::Instant::now() + *time);
        let mut left = servers.iter().enumerate();
        // Requests that are not finished are dropped with the set.
        let mut asked = JoinSet::new();
        let mut may_ask = 1;
        loop {
            for (server, it) in left.by_ref().take(may_ask) {
                poll.take(Event::Asked { server });
                asked.spawn(ask(self.client.clone(), server, it.url(&request, key)));
            }
            let patience = if left.len() > 0 { hedged.min(until) } else { until };
            may_ask = match tokio::time::timeout_at(patience, asked.join_next()).await {
                Ok(Some(Ok(event))) => match poll.take(event) {
                    Step::Decided(said) => {
                        return Ok(Answer::Decided { said, trail: poll.asked_so_far(since(begun)) });
                    }
                    Step::Wait | Step::Next => 1,
                    Step::Unable(_, why) => return Err(Diagnostic::error(Code::CannotAsk, why)),
                    Step::Nonsense => {
                        let problem = "a validation server was heard that was not asked";
                        return Err(Diagnostic::error(Code::InternalError, problem));
                    }
                },
                // A request panicked.
                Ok(Some(Err(_))) => 1,
                Err(_) if left.len() > 0 && tokio::time::Instant::now() < until => left.len(),
                Ok(None) if left.len() > 0 => 1,
                Ok(None) | Err(_) => {
                    let (answered, trail) = (poll.any_answered(), poll.all_servers(since(begun)));
                    return Ok(Answer::Undecided { answered, trail });
                }
            };
        }
    }
}

pub(super) fn since(begun: Instant) -> u32 {
    u32::try_from(begun.elapsed().as_millis()).unwrap_or(u32::MAX)
}

/// Asks one server. Nothing of the event holds the URL, since the OTP is in it.
async fn ask(client: Client, server: usize, url: Zeroizing<String>) -> Event {
    let begun = Instant::now();
    match exchange(&client, &url).await {
        Ok(body) => Event::Reply { server, ms: since(begun), body },
        Err((kind, why)) => Event::Failed { server, kind, ms: since(begun), why },
    }
}

/// The body of the answer to one request, or why there is none.
pub(super) async fn exchange(
    client: &Client,
    url: &str,
) -> Result<Zeroizing<Vec<u8>>, (FailureKind, String)> {
    let url = Url::parse(url).map_err(|why| (FailureKind::Other, why.to_string()))?;
    let answer = client.get(url).send().await.map_err(|why| (plain::kind(&why), plain::http(&why)))?;
    if answer.status().as_u16() != 200 {
        return Err((FailureKind::Http, format!("answers HTTP {}", answer.status().as_u16())));
    }
    let body = upstream::body(answer, MAX_REPLY).await.map_err(|why| match why {
        NoBody::TooLong => "its answer is too long for a validation server".to_owned(),
        NoBody::Failed(why) => why,
    });
    body.map(Zeroizing::new).map_err(|why| (FailureKind::Http, why))
}

/// The servers of one decision.
pub(super) struct Asked<'s> {
    /// `None`: the configuration has none.
    pub(super) servers: Option<&'s ValidationServers>,
    pub(super) runtime: &'s Handle,
}

impl Servers for Asked<'_> {
    type Fault = Diagnostic;

    fn ask(&self, otp: &str, position: Option<Position>) -> Result<Answer, Diagnostic> {
        let Some(servers) = self.servers else {
            let problem = "the OTPs of YubiKeys cannot be checked: no validation server is configured";
            let none = Diagnostic::error(Code::NoServers, problem);
            return Err(none.at(Location::Setting(SERVERS.to_owned())).advise(
                "set servers, client_id and api_key_file in the table [validation], and restart ykwebd",
            ));
        };
        self.runtime.block_on(servers.poll(otp, position))
    }

    fn undecided(&self, token: &PublicId, _: bool, trail: String) -> Diagnostic {
        let found = Diagnostic::error(Code::Undecided, format!("no validation server decided: {trail}"));
        found.at(Location::Token(token.to_string()))
    }

    /// No key is here, so there is nothing to accept without them.
    fn accept_replays(&self) -> bool {
        false
    }
}
