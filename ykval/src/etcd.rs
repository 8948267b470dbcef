//! A client of etcd (3.4 and later), for the store: gRPC by hand, over the HTTP/2 that is here.
//!
//! `Etcd::range` and what else only reads may be asked again at another member. `Etcd::txn` is sent **once**: members are
//! chosen and connected to before anything is written, and an answer that was lost is a fault whose [`Outcome`] is `Unknown`.

mod auth;
mod call;
mod clock;
#[cfg(test)]
pub(crate) mod cluster;
mod connection;
mod fault;
mod grpc;
mod host;
mod hosts;
pub(crate) mod messages;
mod one_cluster;
mod overheard;
#[cfg(test)]
mod tests;
mod tls;
mod tls_fault;

pub use fault::{EtcdFault, EtcdFaultKind, Outcome};
pub use host::{Observed, ObservedMember};

use crate::config::EtcdConfig;
use auth::Auth;
use call::Call;
pub(crate) use clock::MemberClock;
use connection::{CallFault, PATIENCE};
use grpc::{MOST_ANSWER, MOST_PAGE, MOST_TOKENS};
use hosts::{CONNECT, Hosts};
use messages::{
    AlarmMember, AlarmRequest, EtcdMember, MemberListRequest, RangeRequest, RangeResponse, ResponseHeader,
    StatusResponse, TxnRequest, TxnResponse,
};
pub(crate) use one_cluster::not_one_cluster;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use ykserve::side_by_side::side_by_side;
use yubiotp::diagnostic::Diagnostic;

/// What the store has to say about the header of every answer.
pub(crate) trait Headers: Send + Sync + 'static {
    /// The highest revision that is known, as a request is sent. It is handed to [`Headers::check`] with the answer.
    fn known(&self) -> i64;

    /// Looks at the header of an answer. `known`: what [`Headers::known`] said before the request was sent, if the answer
    /// has to show at least that revision; `None`: the member answers about itself, and may be behind.
    ///
    /// # Errors
    /// Another cluster, or an older state: the caller does not get the answer.
    fn check(&self, header: &ResponseHeader, known: Option<i64>) -> Result<(), Diagnostic>;
}

/// Takes every header.
#[cfg(test)]
pub(crate) struct AnyCluster;

#[cfg(test)]
impl Headers for AnyCluster {
    fn known(&self) -> i64 {
        0
    }

    fn check(&self, _: &ResponseHeader, _: Option<i64>) -> Result<(), Diagnostic> {
        Ok(())
    }
}

/// A cluster of etcd.
#[derive(Clone)]
pub struct Etcd(Arc<Inner>);

struct Inner {
    at: String,
    hosts: Arc<Hosts>,
    auth: Auth,
}

/// What one member said about itself.
pub(crate) struct MemberStatus {
    /// `HOST:PORT`, as the configuration has it.
    pub(crate) endpoint: String,
    /// Its answer.
    pub(crate) said: Result<StatusResponse, EtcdFault>,
    /// How long the answer took, without connecting.
    pub(crate) latency: Duration,
}

impl Etcd {
    /// A client. Nothing is connected to yet.
    ///
    /// # Errors
    /// A file that the settings name cannot be used.
    pub(crate) fn new(config: &EtcdConfig, headers: Arc<dyn Headers>) -> Result<Self, Diagnostic> {
        // Read again for each connection; but what is wrong from the start is said at the start.
        tls::connector(config, &[])?;
        if let Some(user) = &config.user {
            auth::request(user).map_err(|fault| fault.diagnostic())?;
        }
        let hosts = Arc::new(Hosts::new(config, headers));
        let auth = Auth::new(config.user.clone());
        Ok(Self(Arc::new(Inner { at: config.to_string(), hosts, auth })))
    }

    /// How many members the configuration names.
    pub(crate) fn count(&self) -> usize {
        self.0.hosts.count()
    }

    /// The URL, for people. It holds no password.
    pub(crate) fn at(&self) -> &str {
        &self.0.at
    }

    /// Reads keys, linearizably unless it says otherwise.
    ///
    /// # Errors
    /// No member answered before the deadline.
    pub(crate) async fn range(&self, range: RangeRequest) -> Result<RangeResponse, EtcdFault> {
        let is_one = range.range_end.is_empty() || range.count_only;
        self.any(range, if is_one { MOST_ANSWER } else { MOST_PAGE }).await
    }

    /// A transaction that only reads; it may be asked again.
    ///
    /// # Errors
    /// No member answered before the deadline, or the answer is larger than that about some tokens can be.
    pub(crate) async fn read(&self, txn: TxnRequest) -> Result<TxnResponse, EtcdFault> {
        self.any(txn, MOST_TOKENS).await
    }

    /// The same of a page of tokens.
    ///
    /// # Errors
    /// No member answered before the deadline, or the answer is larger than a page can be.
    pub(crate) async fn read_page(&self, txn: TxnRequest) -> Result<TxnResponse, EtcdFault> {
        self.any(txn, MOST_PAGE).await
    }

    /// A transaction, which is sent once.
    ///
    /// # Errors
    /// The outcome says whether it may have been carried out.
    pub(crate) async fn txn(&self, txn: TxnRequest) -> Result<TxnResponse, EtcdFault> {
        let Inner { hosts, auth, .. } = &*self.0;
        let until = self.until();
        let mut unsent = Vec::new();
        loop {
            let (at, connection) = match hosts.best(until).await {
                Ok(best) => best,
                Err(why) if unsent.is_empty() => return Err(why),
                Err(_) => return Err(hosts.together(unsent)),
            };
            let ended = auth.ask(hosts, &connection, &txn, until, MOST_ANSWER).await;
            hosts.count_request(at, &ended);
            match ended {
                Ok(answer) => return Ok(answer),
                // The connection had ended, so another is tried, but not for ever.
                Err(CallFault::NotSent(why)) => {
                    unsent.push((at, why));
                    if unsent.len() > hosts.count() || Instant::now() >= until {
                        return Err(hosts.together(unsent));
                    }
                }
                Err(ended) => {
                    return Err(ended.fault().at_member(hosts.name(at), hosts.count() > 1).of_change());
                }
            }
        }
    }

    /// The members, as the cluster has them.
    ///
    /// # Errors
    /// No member answered before the deadline.
    pub(crate) async fn members(&self) -> Result<Vec<EtcdMember>, EtcdFault> {
        Ok(self.any(MemberListRequest {}, MOST_ANSWER).await?.members)
    }

    /// The alarms that are set.
    ///
    /// # Errors
    /// No member answered before the deadline.
    pub(crate) async fn alarms(&self) -> Result<Vec<AlarmMember>, EtcdFault> {
        Ok(self.any(AlarmRequest::default(), MOST_ANSWER).await?.alarms)
    }

    /// What each member of the configuration says about itself, in its order. All are asked at once; each has a second to
    /// answer, and two to be connected to.
    pub(crate) async fn status(&self) -> Vec<MemberStatus> {
        let mut asked = JoinSet::new();
        for at in 0..self.0.hosts.count() {
            let hosts = Arc::clone(&self.0.hosts);
            asked.spawn(async move {
                let mut begun = Instant::now();
                let ask = async {
                    let connection = hosts.one(at).await?;
                    begun = Instant::now();
                    hosts.status(at, &connection, begun + PATIENCE).await
                };
                let said = ask.await;
                (at, MemberStatus { endpoint: hosts.name(at).to_owned(), said, latency: begun.elapsed() })
            });
        }
        let mut said = asked.join_all().await;
        said.sort_unstable_by_key(|(at, _)| *at);
        said.into_iter().map(|(_, said)| said).collect()
    }

    /// Connects to all members of the configuration, for at most `within`, and compares what those say that answer.
    ///
    /// # Errors
    /// They are not members of one cluster.
    pub(crate) async fn must_be_one_cluster(&self, within: Duration) -> Result<(), EtcdFault> {
        if self.0.hosts.count() > 1 {
            let _ = timeout(within, self.status()).await;
        }
        self.0.hosts.must_be_one_cluster()
    }

    /// What is known of the members without asking them, in the order of the configuration.
    pub(crate) fn observed(&self) -> Vec<ObservedMember> {
        self.0.hosts.observed()
    }

    /// The versions of the members that are connected to and answered last, without asking them.
    pub(crate) fn versions(&self) -> BTreeSet<String> {
        self.0.hosts.versions()
    }

    /// The clocks of the members of the configuration, in its order. All are asked at once, and each has as long as
    /// connecting to it may take.
    pub(crate) async fn clocks(&self) -> Vec<MemberClock> {
        let hosts = &self.0.hosts;
        let mut asked = JoinSet::new();
        for (at, to) in hosts.config().endpoints.iter().cloned().enumerate() {
            let hosts = Arc::clone(hosts);
            asked.spawn(async move {
                let ahead = timeout(CONNECT, clock::ahead(hosts.config(), &to)).await;
                (at, MemberClock { endpoint: to.to_string(), ahead: ahead.ok().flatten() })
            });
        }
        let mut clocks = asked.join_all().await;
        clocks.sort_unstable_by_key(|(at, _)| *at);
        clocks.into_iter().map(|(_, clock)| clock).collect()
    }

    fn until(&self) -> Instant {
        Instant::now() + self.0.hosts.config().deadline
    }

    /// Asks what may be asked of several members: each gets a second before the next is asked as well.
    async fn any<C: Call + Clone + 'static>(&self, call: C, most: usize) -> Result<C::Answer, EtcdFault> {
        let hosts = &self.0.hosts;
        let until = self.until();
        // Connects, if nothing is connected to.
        let (first, _) = hosts.best(until).await?;
        let others = hosts.order().into_iter().filter(|at| *at != first);
        let order: Vec<_> = std::iter::once(first).chain(others).collect();
        let attempts = order.iter().map(|&at| {
            let (etcd, call) = (self.clone(), call.clone());
            async move {
                let Inner { hosts, auth, .. } = &*etcd.0;
                let ended = match hosts.one(at).await {
                    Ok(connection) => auth.ask(hosts, &connection, &call, until, most).await,
                    Err(why) => Err(CallFault::NotSent(why)),
                };
                hosts.count_request(at, &ended);
                ended.map_err(CallFault::fault)
            }
        });
        side_by_side(attempts.collect(), PATIENCE, until).await.map_err(|said| {
            let said = order.iter().zip(said);
            let mut said: Vec<_> =
                said.map(|(&at, said)| (at, said.unwrap_or_else(hosts::none_in_time))).collect();
            said.sort_unstable_by_key(|(at, _)| *at);
            hosts.together(said)
        })
    }
}
