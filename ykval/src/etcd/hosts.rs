//! The members: which are connected to, which of them are good, and which is asked next.
//!
//! A member is good until a call has no answer for a second, or etcd says that its cluster decides nothing, or it gives no
//! token to who logs in. One that is no good is asked only if there is no other. In the background each is connected to, and
//! asked every second whether it is there, so that a caller seldom waits for one that is not. While none is good for longer,
//! callers do not wait at all: the background finds out when one is good again.

use super::call::{Answer as _, Call};
use super::connection::{CallFault, Connection, PATIENCE, garbled};
use super::fault::{EtcdFault, EtcdFaultKind as Kind, Outcome};
use super::grpc::{self, MOST_ANSWER};
use super::host::{Host, ObservedMember, Space};
use super::messages::{
    AuthenticateRequest, AuthenticateResponse, RangeRequest, StatusRequest, StatusResponse,
};
use super::{Headers, auth};
use crate::config::EtcdConfig;
use crate::random;
use hyper::header::HeaderValue;
use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use ykserve::side_by_side::side_by_side;
use yubiotp::diagnostic::{Code, Diagnostic};

/// How long a member has before the next is tried as well.
const HEAD_START: Duration = Duration::from_millis(100);

/// How long connecting to one member may take.
pub(super) const CONNECT: Duration = Duration::from_secs(2);

/// How often members are looked at in the background.
const EVERY: Duration = Duration::from_millis(500);

/// After this time without any answer, another connection is tried.
const HOPELESS: Duration = Duration::from_secs(6);

/// After this time without a good member, callers are not kept waiting for one: longer than it takes to elect a leader.
const GIVEN_UP: Duration = Duration::from_secs(10);

/// How old what a member said about its space may be.
const KNOWN_FOR: Duration = Duration::from_secs(30);

/// The members of one cluster.
pub(super) struct Hosts {
    config: EtcdConfig,
    list: Vec<Host>,
    headers: Arc<dyn Headers>,
    /// The member with which the choice among equals begins: not the same for every server of a site.
    first: usize,
    /// How the last attempt to connect to all of them failed, and when.
    failed: tokio::sync::Mutex<Option<(Instant, EtcdFault)>>,
    keeper: Mutex<Option<JoinHandle<()>>>,
    /// When a member was good, or the background began to look for one.
    last_good: Mutex<Instant>,
}

impl Hosts {
    pub(super) fn new(config: &EtcdConfig, headers: Arc<dyn Headers>) -> Self {
        let list: Vec<_> = config.endpoints.iter().map(|to| Host::new(to.to_string())).collect();
        let chosen = random::bytes::<1>().map_or(0, |[byte]| usize::from(byte));
        let first = chosen.checked_rem(list.len()).unwrap_or(0);
        let (failed, keeper) = (tokio::sync::Mutex::default(), Mutex::default());
        let last_good = Mutex::new(Instant::now());
        Self { config: config.clone(), list, headers, first, failed, keeper, last_good }
    }

    pub(super) const fn config(&self) -> &EtcdConfig {
        &self.config
    }

    pub(super) fn count(&self) -> usize {
        self.list.len()
    }

    pub(super) fn name(&self, at: usize) -> &str {
        self.list.get(at).map_or("", |host| &host.name)
    }

    /// Counts how a request of the store to this member ended.
    pub(super) fn count_request<T>(&self, at: usize, ended: &Result<T, CallFault>) {
        let Some(host) = self.list.get(at) else { return };
        let has_failed = match ended {
            Ok(_) => false,
            Err(CallFault::Status(status)) => status.is_trouble(),
            Err(CallFault::NotSent(_) | CallFault::Lost(_)) => true,
        };
        let counter = if has_failed { &host.failed } else { &host.answered };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// What is known of the members without asking them, in the order of the configuration.
    pub(super) fn observed(&self) -> Vec<ObservedMember> {
        let members = self.list.iter().enumerate().map(|(at, host)| {
            let space = *host.space();
            let quota = space.map(|space| space.quota).filter(|quota| *quota > 0);
            ObservedMember {
                endpoint: host.name.clone(),
                is_up: self.is_good(at),
                answered: host.answered.load(Ordering::Relaxed),
                failed: host.failed.load(Ordering::Relaxed),
                size: space.map(|space| space.size),
                quota,
            }
        });
        members.collect()
    }

    /// The versions of the members that are good, without asking them.
    pub(super) fn versions(&self) -> BTreeSet<String> {
        let good = self.list.iter().enumerate().filter(|(at, _)| self.is_good(*at));
        good.filter_map(|(_, host)| host.version().clone()).collect()
    }

    fn is_good(&self, at: usize) -> bool {
        self.open(at).is_some_and(|open| open.is_good())
    }

    /// In the order in which they are to be asked: good ones with few calls first, then those that are no good, then those
    /// that are not connected to.
    pub(super) fn order(&self) -> Vec<usize> {
        let count = self.list.len();
        let mut order: Vec<_> = (0..count).collect();
        order.sort_by_cached_key(|at| {
            let turn = (at + count).saturating_sub(self.first).checked_rem(count).unwrap_or(0);
            match self.open(*at) {
                Some(open) if open.is_good() => (0, open.in_flight(), turn),
                Some(open) => (1, open.in_flight(), turn),
                None => (2, 0, turn),
            }
        });
        order
    }

    /// The open connection to a member.
    pub(super) fn open(&self, at: usize) -> Option<Arc<Connection>> {
        let mut held = self.list.get(at)?.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if held.as_ref().is_some_and(|open| open.is_closed()) {
            *held = None;
        }
        held.clone()
    }

    fn keep(&self, at: usize, connection: &Arc<Connection>) {
        if let Some(host) = self.list.get(at) {
            *host.connection.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(connection));
        }
    }

    /// The best member that is connected to, if it is good.
    fn good(&self) -> Option<(usize, Arc<Connection>)> {
        let best = *self.order().first()?;
        let good = self.open(best).filter(|open| open.is_good())?;
        self.was_good();
        Some((best, good))
    }

    fn was_good(&self) {
        *self.last_good.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Fails if no member was good for so long that nobody is to wait for one.
    fn must_not_be_given_up(&self) -> Result<(), EtcdFault> {
        let last = *self.last_good.lock().unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() < GIVEN_UP {
            return Ok(());
        }
        let why = |at: usize| match self.open(at) {
            Some(open) => no_good(&open),
            None => self.list.get(at).and_then(|host| host.why().clone()).unwrap_or_else(none_in_time),
        };
        Err(self.together((0..self.list.len()).map(|at| (at, why(at))).collect()))
    }

    /// Whether another member is connected to, and good.
    pub(super) fn has_good_beside(&self, connection: &Arc<Connection>) -> bool {
        let mut open = (0..self.list.len()).filter_map(|at| self.open(at));
        open.any(|open| open.is_good() && !Arc::ptr_eq(&open, connection))
    }

    /// A connection to the best member, opened if there is none. Nothing was asked of it yet.
    pub(super) async fn best(
        self: &Arc<Self>,
        until: Instant,
    ) -> Result<(usize, Arc<Connection>), EtcdFault> {
        self.look_after();
        self.must_be_one_cluster()?;
        if let Some(good) = self.good() {
            return Ok(good);
        }
        self.must_not_be_given_up()?;
        let asked = Instant::now();
        let Ok(mut failed) = timeout_at(until, self.failed.lock()).await else { return Err(none_in_time()) };
        if let Some(good) = self.good() {
            return Ok(good);
        }
        // Others waited for the same.
        let tried = failed.as_ref().filter(|(at, _)| *at > asked).map(|(_, why)| why.clone());
        let why = match tried {
            Some(why) => why,
            None => match self.connect_any(until).await {
                Ok(connected) => return Ok(connected),
                Err(why) => {
                    *failed = Some((Instant::now(), why.clone()));
                    why
                }
            },
        };
        let any = self.order().into_iter().find_map(|at| Some((at, self.open(at)?)));
        any.ok_or(why)
    }

    /// Connects to the members that are not connected to, until one is good.
    async fn connect_any(self: &Arc<Self>, until: Instant) -> Result<(usize, Arc<Connection>), EtcdFault> {
        let order: Vec<_> = self.order().into_iter().filter(|at| self.open(*at).is_none()).collect();
        let attempts = order.iter().map(|&at| {
            let hosts = Arc::clone(self);
            async move {
                let connection = hosts.connect(at).await?;
                if connection.is_good() { Ok((at, connection)) } else { Err(without_leader()) }
            }
        });
        side_by_side(attempts.collect(), HEAD_START, until).await.map_err(|said| {
            let said = order.iter().zip(said);
            let mut said: Vec<_> = said.map(|(&at, said)| (at, said.unwrap_or_else(none_in_time))).collect();
            said.sort_unstable_by_key(|(at, _)| *at);
            self.together(said)
        })
    }

    /// One member, opened if it is not.
    pub(super) async fn one(&self, at: usize) -> Result<Arc<Connection>, EtcdFault> {
        match self.open(at) {
            Some(open) => Ok(open),
            None => self.connect(at).await,
        }
    }

    /// Opens a connection, and asks the member which cluster it is of and whether that has a leader.
    async fn connect(&self, at: usize) -> Result<Arc<Connection>, EtcdFault> {
        let connected = self.try_to_connect(at).await;
        if let Some(host) = self.list.get(at) {
            *host.why() = connected.as_ref().err().cloned();
        }
        connected
    }

    async fn try_to_connect(&self, at: usize) -> Result<Arc<Connection>, EtcdFault> {
        let until = Instant::now() + CONNECT;
        let to = self.config.endpoints.get(at).ok_or_else(none_in_time)?;
        let opened = timeout_at(until, Connection::open(&self.config, to)).await;
        let connection = Arc::new(opened.unwrap_or_else(|_| Err(none_in_time()))?);
        let status = match self.status(at, &connection, until).await.map_err(EtcdFault::before_sending) {
            Ok(status) => status,
            Err(why) => {
                // Nothing is decided while both are connected.
                if why.kind == Kind::NotOneCluster {
                    self.keep(at, &connection);
                }
                if why.kind != Kind::Unreachable {
                    return Err(why);
                }
                let known = timeout_at(until, connection.why_never_answered(&self.config, to)).await;
                return Err(known.ok().flatten().unwrap_or(why));
            }
        };
        if status.is_learner {
            let found =
                Diagnostic::error(Code::DatabaseIsStandby, "is a learner, which takes no part in decisions");
            let found = found.advise("promote it (etcdctl member promote), or do not name it in store");
            return Err(EtcdFault::new(Outcome::NotStored, Kind::Other, found));
        }
        self.keep(at, &connection);
        Ok(connection)
    }

    /// Sends one call to a member, reads its answer of at most `most` bytes, and shows its header to [`Headers`].
    pub(super) async fn ask<C: Call>(
        &self,
        connection: &Connection,
        call: &C,
        token: Option<&HeaderValue>,
        until: Instant,
        most: usize,
    ) -> Result<C::Answer, CallFault> {
        let frame = grpc::frame(call).map_err(CallFault::NotSent)?;
        let known = call.is_linearizable().then(|| self.headers.known());
        let body = connection.call(C::PATH, call.is_linearizable(), token, frame, until, most).await?;
        let answer: C::Answer = grpc::message(&body).map_err(garbled)?;
        if let Some(header) = answer.header() {
            connection.identify(header);
        }
        match answer.header() {
            Some(header) => self.headers.check(header, known).map_err(|found| {
                CallFault::Lost(EtcdFault::new(Outcome::Unknown, Kind::OtherCluster, found))
            })?,
            None if C::may_lack_header() => {}
            None => return Err(garbled("an answer has no header")),
        }
        self.must_agree_with(connection)?;
        Ok(answer)
    }

    /// Asks a member for a token. One that does not answer is no good until it does.
    pub(super) async fn login(
        &self,
        connection: &Connection,
        request: &AuthenticateRequest,
        until: Instant,
    ) -> Result<AuthenticateResponse, CallFault> {
        let mut asking = pin!(self.ask(connection, request, None, until, MOST_ANSWER));
        let answer = match timeout(PATIENCE, &mut asking).await {
            Ok(answer) => answer,
            Err(_) => {
                connection.note_login(false);
                asking.await
            }
        };
        connection.note_login(match &answer {
            Ok(_) => true,
            Err(CallFault::Status(status)) => !status.is_trouble(),
            Err(CallFault::NotSent(_) | CallFault::Lost(_)) => false,
        });
        answer
    }

    /// What a member says about itself. Without a leader it is no good.
    pub(super) async fn status(
        &self,
        at: usize,
        connection: &Connection,
        until: Instant,
    ) -> Result<StatusResponse, EtcdFault> {
        let said = self
            .ask(connection, &StatusRequest {}, None, until, MOST_ANSWER)
            .await
            .map_err(CallFault::fault)?;
        if said.leader == 0 {
            connection.is_no_good();
        }
        if let Some(host) = self.list.get(at) {
            let StatusResponse { db_size: size, db_size_quota: quota, .. } = said;
            *host.space() = Some(Space { at: Instant::now(), size, quota });
            *host.version() = Some(said.version.clone());
        }
        Ok(said)
    }

    /// What all members said, each with its name. Another cluster comes first, since it does not go away by itself.
    pub(super) fn together(&self, mut said: Vec<(usize, EtcdFault)>) -> EtcdFault {
        if said.len() == 1
            && let Some((at, only)) = said.pop()
        {
            return only.at_member(self.name(at), self.list.len() > 1);
        }
        let is_unknown = said.iter().any(|(_, why)| why.outcome == Outcome::Unknown);
        let outcome = if is_unknown { Outcome::Unknown } else { Outcome::NotStored };
        if let Some((_, apart)) = said.iter().find(|(_, why)| why.kind == Kind::NotOneCluster) {
            return EtcdFault::new(outcome, apart.kind, apart.diagnostic());
        }
        let first = said.first().map(|(_, why)| (why.kind, why.diagnostic().code));
        let is_shared =
            |(kind, code)| said.iter().all(|(_, why)| (why.kind, why.diagnostic().code) == (kind, code));
        let other = said.iter().find(|(_, why)| why.kind == Kind::OtherCluster);
        let (kind, code) = match (other, first) {
            (Some((_, other)), _) => (other.kind, other.diagnostic().code),
            (None, Some(first)) if is_shared(first) => first,
            (None, _) => (Kind::Unreachable, Code::DatabaseUnreachable),
        };
        let (mut problems, mut remedies) = (Vec::<(String, Vec<&str>)>::new(), Vec::new());
        for (at, why) in said {
            let found = why.diagnostic();
            let problem = found.problem();
            match problems.iter_mut().find(|(same, _)| *same == problem) {
                Some((_, names)) => names.push(self.name(at)),
                None => problems.push((problem, vec![self.name(at)])),
            }
            for remedy in found.remedies {
                if !remedies.contains(&remedy) {
                    remedies.push(remedy);
                }
            }
        }
        let problems: Vec<_> =
            problems.iter().map(|(problem, names)| format!("{}: {problem}", names.join(", "))).collect();
        let found = Diagnostic { remedies, ..Diagnostic::error(code, problems.join("; ")) };
        EtcdFault::new(outcome, kind, found)
    }

    /// Looks after the members in the background, as long as this exists.
    fn look_after(self: &Arc<Self>) {
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        // The runtime of the last one may be gone.
        if keeper.as_ref().is_none_or(JoinHandle::is_finished) {
            self.was_good();
            *keeper = Some(tokio::spawn(look_after(Arc::downgrade(self))));
        }
    }

    /// Connects to a member, or asks it whether it is still there.
    async fn look_at(&self, at: usize) {
        let Some(open) = self.open(at) else {
            let _ = timeout(CONNECT, self.connect(at)).await;
            return;
        };
        let silent = open.last_answer().elapsed();
        let known = self.list.get(at).and_then(|host| *host.space());
        let is_known = known.is_some_and(|space| space.at.elapsed() < KNOWN_FOR);
        match open.bad_since() {
            // Its calls keep their connection.
            Some(_) if silent > HOPELESS => drop(timeout(CONNECT, self.connect(at)).await),
            // What a member says about itself does not show that its cluster decides anything; a linearizable read does,
            // even one that is refused for want of a token.
            Some(_) => {
                let key = self.config.prefix.clone().into_bytes();
                let read = RangeRequest { key, keys_only: true, limit: 1, ..RangeRequest::default() };
                let _ = self.ask(&open, &read, None, Instant::now() + PATIENCE, MOST_ANSWER).await;
            }
            // Nothing else shows that it gives tokens.
            None if open.gives_no_token() => {
                let request = self.config.user.as_ref().and_then(|user| auth::request(user).ok());
                if let (Some(request), Ok(_one)) = (request, open.login.try_lock()) {
                    let _ = self.login(&open, &request, Instant::now() + PATIENCE).await;
                }
            }
            None if silent >= PATIENCE || !is_known => {
                // Silence for this long makes it bad, in `call`.
                let until = Instant::now() + PATIENCE + Duration::from_millis(1);
                let _ = self.status(at, &open, until).await;
            }
            None => {}
        }
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            keeper.abort();
        }
    }
}

async fn look_after(hosts: Weak<Hosts>) {
    loop {
        tokio::time::sleep(EVERY).await;
        let Some(all) = hosts.upgrade() else { return };
        let _ = all.good();
        for (at, host) in all.list.iter().enumerate() {
            if host.is_looked_at.swap(true, Ordering::Relaxed) {
                continue;
            }
            let all = Arc::clone(&all);
            tokio::spawn(async move {
                all.look_at(at).await;
                if let Some(host) = all.list.get(at) {
                    host.is_looked_at.store(false, Ordering::Relaxed);
                }
            });
        }
    }
}

/// What to do if the cluster cannot decide.
const MAJORITY: &str = "start the members of etcd that do not answer: more than half of all have to run";

/// No member answered while there was time.
pub(super) fn none_in_time() -> EtcdFault {
    let found = Diagnostic::error(Code::DatabaseUnreachable, "gave no answer in time");
    EtcdFault::new(Outcome::NotStored, Kind::Late, found.advise(MAJORITY))
}

/// A member that is connected to, and no good.
fn no_good(connection: &Connection) -> EtcdFault {
    let what = if connection.gives_no_token() { "given no token" } else { "decided nothing" };
    let problem = format!("has {what} for more than {} seconds", GIVEN_UP.as_secs());
    let found = Diagnostic::error(Code::DatabaseUnreachable, problem);
    EtcdFault::new(Outcome::NotStored, Kind::NoLeader, found.advise(MAJORITY))
}

fn without_leader() -> EtcdFault {
    let problem = "its cluster has no leader: less than half of the members reach each other";
    let found = Diagnostic::error(Code::DatabaseUnreachable, problem);
    EtcdFault::new(Outcome::NotStored, Kind::NoLeader, found.advise(MAJORITY))
}
