//! Connects to a host of the URL that is fit. Hosts are tried concurrently, so that a silent one causes no delay.

use super::accepted;
use super::identity::Identity;
use super::place::{Host, Target};
use super::seen::Seen;
use super::session::{self, WAIT};
use super::tls::MakeRustlsConnect;
use super::trouble::{Trouble, Unfit, failed, no_answer};
use crate::config::Standby;
use crate::guard::Guard;
use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use deadpool_postgres::ClientWrapper;
use std::collections::HashSet;
use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_postgres::Config;
use tokio_postgres::config::Host as Named;
use ykserve::side_by_side::side_by_side;
use yubiotp::diagnostic::{Code, Diagnostic, cause};

/// How long a host has before the next is tried as well.
const HEAD_START: Duration = Duration::from_millis(250);

/// All are tried within this time, however many there are, so that the last one still has a second of [`WAIT`].
const ALL_BEGUN: Duration = Duration::from_secs(2);

/// How long looking at all hosts may take while callers wait.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// The hosts of one database and their state.
#[derive(Clone)]
pub(super) struct Hosts(Arc<Inner>);

struct Inner {
    hosts: Vec<Host>,
    tls: MakeRustlsConnect,
    standby: Standby,
    seen: Seen,
    guard: Arc<Guard>,
    backends: Backends,
    /// The host that was fit last, which is tried first. The others are tried in the order of the URL.
    first: AtomicUsize,
}

/// A connection to a host that is fit.
pub(super) struct Session {
    client: ClientWrapper,
    /// `None`: the server does not say.
    pub(super) timeline: Option<u32>,
    pub(super) server: String,
    _backend: Registered,
}

/// Why there is no connection to a host, or to any host.
#[derive(Debug)]
pub(super) struct HostRefusal {
    pub(super) found: Box<Diagnostic>,
    /// This host, or one of several, has another database than the one that was used.
    pub(super) is_other_database: bool,
}

impl From<Diagnostic> for HostRefusal {
    fn from(found: Diagnostic) -> Self {
        Self { found: Box::new(found), is_other_database: false }
    }
}

impl HostRefusal {
    /// Joins the refusals of several hosts or addresses, each with its name. The code is that of a pooler or of another
    /// database if one of them has it, since neither goes away by itself; otherwise the one that all of them share.
    fn by_all(each: Vec<(String, Self)>, between: &str) -> Self {
        let is_other_database = each.iter().any(|(_, said)| said.is_other_database);
        let several = each.len() > 1;
        let codes = || each.iter().map(|(_, said)| said.found.code);
        let first = codes().next().unwrap_or(Code::DatabaseUnreachable);
        let shared = if codes().all(|code| code == first) { first } else { Code::DatabaseUnreachable };
        let other = each.iter().find(|(_, said)| said.is_other_database).map(|(_, said)| said.found.code);
        let pooled = codes().find(|code| *code == Code::DatabasePooled);
        let code = pooled.or(other).unwrap_or(shared);
        let (mut problems, mut remedies) = (Vec::new(), Vec::new());
        for (name, said) in each {
            let problem = said.found.problem();
            problems.push(if several { format!("{name}: {problem}") } else { problem });
            for remedy in said.found.remedies {
                if !remedies.contains(&remedy) {
                    remedies.push(remedy);
                }
            }
        }
        let found = Diagnostic { remedies, ..Diagnostic::error(code, problems.join(between)) };
        Self { found: Box::new(found), is_other_database }
    }
}

/// The result of looking at one address of one host.
pub(super) struct HostLook {
    /// The index of the host in the URL.
    pub(super) host: usize,
    /// For people.
    pub(super) name: String,
    pub(super) found: Result<Session, HostRefusal>,
}

impl Deref for Session {
    type Target = ClientWrapper;

    fn deref(&self) -> &ClientWrapper {
        &self.client
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut ClientWrapper {
        &mut self.client
    }
}

impl From<Trouble> for HostRefusal {
    fn from(trouble: Trouble) -> Self {
        let is_other_database = matches!(trouble, Trouble::OtherDatabase(_));
        let found = match trouble {
            Trouble::Database(error) => Box::new(failed(&error)),
            Trouble::Unfit(why) => Box::new(why.diagnostic()),
            Trouble::Cannot(found) | Trouble::Refused(found) | Trouble::OtherDatabase(found) => found,
            Trouble::Damaged(what) => {
                Box::new(Diagnostic::error(Code::DatabaseRowDamaged, format!("{what} is damaged")))
            }
            Trouble::Told(fault) => Box::new(fault.diagnostic()),
            Trouble::Later(found) => {
                let problem = format!("has schema {found}, of a later ykvald");
                Box::new(Diagnostic::error(Code::DatabaseFromLaterVersion, problem))
            }
            Trouble::Moved(mark) => Box::new(mark.diagnostic()),
        };
        Self { found, is_other_database }
    }
}

impl Hosts {
    pub(super) fn new(place: Target, standby: Standby, seen: Seen, guard: Arc<Guard>) -> Self {
        let Target { hosts, tls, .. } = place;
        Self(Arc::new(Inner {
            hosts,
            tls,
            standby,
            seen,
            guard,
            backends: Backends::default(),
            first: AtomicUsize::new(0),
        }))
    }

    pub(super) fn seen(&self) -> &Seen {
        &self.0.seen
    }

    /// Whether there may be more than one server.
    pub(super) fn several(&self) -> bool {
        let named = |host: &Host| match host.config.get_hosts() {
            [Named::Tcp(name)] if host.config.get_hostaddrs().is_empty() => {
                name != "localhost" && name.trim_matches(['[', ']']).parse::<IpAddr>().is_err()
            }
            _ => false,
        };
        self.0.hosts.len() > 1 || self.0.hosts.iter().any(named)
    }

    pub(super) fn standby(&self) -> Standby {
        self.0.standby
    }

    /// A connection to the first host that is fit.
    async fn connect(&self) -> Result<Session, HostRefusal> {
        let until = Instant::now() + WAIT;
        let count = self.0.hosts.len();
        let first = self.0.first.load(Ordering::Relaxed);
        let order: Vec<_> =
            (0..count).filter(|at| *at == first).chain((0..count).filter(|at| *at != first)).collect();
        let attempts = order.iter().map(|&at| {
            let inner = Arc::clone(&self.0);
            async move { inner.one(at, until).await.map(|session| (at, session)) }
        });
        match side_by_side(attempts.collect(), head_start(count, ALL_BEGUN), until).await {
            Ok((at, session)) => {
                self.0.first.store(at, Ordering::Relaxed);
                Ok(session)
            }
            Err(said) => {
                let said = order.iter().zip(said);
                let mut said: Vec<_> =
                    said.map(|(&at, said)| (at, said.unwrap_or_else(|| no_answer(WAIT).into()))).collect();
                said.sort_unstable_by_key(|(at, _)| *at);
                let name =
                    |at: usize| self.0.hosts.get(at).map_or_else(String::new, |host| host.name.clone());
                let each = said.into_iter().map(|(at, said)| (name(at), said));
                Err(HostRefusal::by_all(each.collect(), "; "))
            }
        }
    }

    /// Checks that this is the database that was used before, and that it has the accepted OTPs.
    async fn compare(&self, session: &Session) -> Result<(), Diagnostic> {
        match timeout(WAIT, accepted::compare(session, &self.0.guard)).await {
            Ok(compared) => compared.map_err(|error| failed(&error)),
            Err(_) => Err(no_answer(WAIT)),
        }
    }

    /// Looks at every address of every host concurrently, for at most `limit`, and records the states that it sees.
    pub(super) async fn look(&self, limit: Duration) -> Vec<HostLook> {
        let until = Instant::now() + limit;
        let mut looks = JoinSet::new();
        for at in 0..self.0.hosts.len() {
            let inner = Arc::clone(&self.0);
            looks.spawn(async move { (at, inner.look(at, until, limit).await) });
        }
        let mut looked: Vec<_> = looks.join_all().await;
        looked.sort_unstable_by_key(|(at, _)| *at);
        looked.into_iter().flat_map(|(_, looked)| looked).collect()
    }
}

impl Manager for Hosts {
    type Type = Session;
    type Error = HostRefusal;

    async fn create(&self) -> Result<Session, HostRefusal> {
        let session = self.connect().await?;
        self.compare(&session).await?;
        Ok(session)
    }

    async fn recycle(&self, session: &mut Session, metrics: &Metrics) -> RecycleResult<HostRefusal> {
        if session.client.is_closed() {
            return Err(RecycleError::message("is closed"));
        }
        if self.0.seen.is_past(session.timeline) {
            return Err(RecycleError::Backend(Unfit::OldPrimary.diagnostic().into()));
        }
        if metrics.last_used() > accepted::IDLE {
            self.compare(session).await.map_err(|why| RecycleError::Backend(why.into()))?;
        }
        Ok(())
    }
}

impl Inner {
    /// Connects to one host, at the first of its addresses that is fit.
    async fn one(self: Arc<Self>, at: usize, until: Instant) -> Result<Session, HostRefusal> {
        let addresses = self.addresses(at).await?;
        let names: Vec<_> = addresses.iter().map(|(address, _)| shown(*address)).collect();
        let head_start = head_start(names.len(), ALL_BEGUN / 2);
        let attempts = addresses.into_iter().map(|(_, config)| {
            let inner = Arc::clone(&self);
            async move { inner.open(&config).await }
        });
        side_by_side(attempts.collect(), head_start, until).await.map_err(|said| {
            let said = said.into_iter().map(|said| said.unwrap_or_else(|| no_answer(WAIT).into()));
            HostRefusal::by_all(names.into_iter().zip(said).collect(), ", ")
        })
    }

    async fn look(self: Arc<Self>, at: usize, until: Instant, limit: Duration) -> Vec<HostLook> {
        let name = self.hosts.get(at).map_or("", |host| &host.name).to_owned();
        let silent = || Err(no_answer(limit).into());
        let addresses = match timeout_at(until, self.addresses(at)).await {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(found)) => return vec![HostLook { host: at, name, found: Err(found.into()) }],
            Err(_) => return vec![HostLook { host: at, name, found: silent() }],
        };
        let several = addresses.len() > 1;
        let mut looks = JoinSet::new();
        for (address, config) in addresses {
            let name = if several { format!("{name} ({})", shown(address)) } else { name.clone() };
            let inner = Arc::clone(&self);
            looks.spawn(async move {
                let found = timeout_at(until, inner.open(&config)).await;
                (name, found)
            });
        }
        let looked = looks.join_all().await.into_iter();
        let found = |(name, found): (_, Result<_, _>)| (name, found.unwrap_or_else(|_| silent()));
        looked.map(found).map(|(name, found)| HostLook { host: at, name, found }).collect()
    }

    /// The addresses of one host: each that its name resolves to, or the host as it is written.
    async fn addresses(&self, at: usize) -> Result<Vec<(Option<IpAddr>, Config)>, Diagnostic> {
        let unreachable = |problem: &str| Diagnostic::error(Code::DatabaseUnreachable, problem);
        let Some(Host { config, .. }) = self.hosts.get(at) else { return Err(unreachable("is not a host")) };
        let ([Named::Tcp(name)], []) = (config.get_hosts(), config.get_hostaddrs()) else {
            return Ok(vec![(None, config.clone())]);
        };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let found = tokio::net::lookup_host((name.trim_matches(['[', ']']), port)).await;
        let mut addresses: Vec<IpAddr> = Vec::new();
        for found in
            found.map_err(|why| unreachable(&format!("its address cannot be found: {}", cause(&why))))?
        {
            if !addresses.contains(&found.ip()) {
                addresses.push(found.ip());
            }
        }
        if addresses.is_empty() {
            return Err(unreachable("its name has no address"));
        }
        let with = |address: IpAddr| {
            let mut config = config.clone();
            config.hostaddr(address);
            (Some(address), config)
        };
        Ok(addresses.into_iter().map(with).collect())
    }

    /// Opens a connection, and checks that the server is fit. Otherwise the connection is closed.
    async fn open(&self, config: &Config) -> Result<Session, HostRefusal> {
        let opened = config.connect(self.tls.clone()).await;
        let (client, connection) = opened.map_err(Trouble::Database)?;
        let client = ClientWrapper::new(client, tokio::spawn(session::carry(connection)));
        let before = session::settle(&client, self.standby).await?;
        let Identity { backend, server, timeline, system } = Identity::of(&client).await?;
        let registered = self.backends.register(backend).filter(|registered| *registered.name == before);
        let registered = registered.ok_or(Trouble::Unfit(Unfit::Pooled))?;
        self.seen.accept(timeline, system).map_err(Trouble::from)?;
        Ok(Session { client, timeline, server, _backend: registered })
    }
}

/// The server processes of the open connections. Without a pooler, no two connections share one.
#[derive(Default)]
struct Backends(Arc<Mutex<HashSet<String>>>);

struct Registered {
    name: String,
    of: Arc<Mutex<HashSet<String>>>,
}

impl Backends {
    /// `None`: another connection has this process.
    fn register(&self, name: String) -> Option<Registered> {
        let is_new = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone());
        is_new.then(|| Registered { name, of: Arc::clone(&self.0) })
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.of.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

/// How long each of so many has before the next is tried as well.
fn head_start(count: usize, all_begun: Duration) -> Duration {
    HEAD_START.min(all_begun / u32::try_from(count).unwrap_or(u32::MAX).max(1))
}

fn shown(address: Option<IpAddr>) -> String {
    address.map(|address| address.to_string()).unwrap_or_default()
}
