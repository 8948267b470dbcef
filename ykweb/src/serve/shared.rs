//! The state that all connections share.

use super::log::{Event, Said};
use super::metrics::Metrics;
use super::page::policy_here;
use super::portal::COOKIE;
use super::recorder::EventRecorder;
use super::repeated::{Counted, Kind, Repeated};
use super::{Browser, DAEMON, Role, guesses, health, route};
use crate::authorize::{Denial, Hosts, key_in};
use crate::config::Config;
use crate::first_factor::FirstFactor;
use crate::random;
use crate::second_factor::SecondFactor;
use crate::session::{Key, Means, Place, Session, Sessions};
use crate::site::Site;
use crate::store::{Store, StoredEvent};
use crate::user::UserName;
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use ipnet::IpNet;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::task::spawn_blocking;
use ykserve::body::Bodies;
use ykserve::descriptors::Room;
use ykserve::log::{Log, LogThrottle, Sink};
use ykserve::peer::Origin;
use ykserve::settings::ConnectionLimits;
use ykserve::{PendingRequest, ServeFault, ServerState, Service};
use yubiotp::diagnostic::{Code, Diagnostic};
use yubiotp::verdict::Verdict;
use zeroize::Zeroizing;

/// Forms that are read at the same time.
const FORMS: usize = 512;

/// What the state is made of.
pub(super) struct Parts {
    pub(super) config: Config,
    pub(super) store: Store,
    pub(super) sessions: Sessions,
    pub(super) first: FirstFactor,
    pub(super) second: SecondFactor,
    pub(super) has_passwords: bool,
    pub(super) room: Room,
}

/// The state that all connections share.
pub(super) struct Shared {
    pub(super) server: ServerState<Event>,
    pub(super) site: Site,
    pub(super) store: Store,
    pub(super) first: FirstFactor,
    pub(super) second: SecondFactor,
    /// What the words in forms are made with. New in every process.
    pub(super) form_key: Key,
    pub(super) guesses: guesses::PasswordGuesses,
    /// Whether the portal's listener shows pages of protected hosts.
    pub(super) demo_pages: bool,
    pub(super) has_passwords: bool,
    pub(super) has_identity: bool,
    /// The users of web servers that may hand over somebody.
    pub(super) believed: Vec<u32>,
    pub(super) realm: Option<String>,
    pub(super) proxies: Vec<IpNet>,
    status_from: Vec<IpNet>,
    pub(super) limits: ConnectionLimits,
    pub(super) bodies: Bodies,
    /// What pages of the portal may load.
    pub(super) policy: HeaderValue,
    log_is_required: bool,
    pub(super) metrics: Metrics,
    pub(super) health: health::Health,
    repeated: Repeated,
    recorder: EventRecorder,
    pub(super) fastcgi: LogThrottle,
}

/// The decision about a second factor.
pub(super) struct Decided {
    pub(super) verdict: Verdict,
    /// By what, if it is accepted.
    pub(super) means: Option<Means>,
    /// Why, as a finding.
    pub(super) found: Diagnostic,
    /// What validation servers answered.
    pub(super) servers: Option<String>,
}

impl Shared {
    pub(super) fn new(parts: Parts, sink: Sink) -> Result<Self, ServeFault> {
        let Parts { config, store, sessions, first, second, has_passwords, room } = parts;
        let metrics = Metrics::new();
        let log = Log::start(DAEMON, config.log, sink, metrics.server.log_lines_lost.clone());
        let log = log.map_err(|why| ServeFault::log(&why))?;
        let recorder =
            EventRecorder::start(store.clone(), metrics.not_stored.clone()).map_err(ServeFault::new)?;
        let server =
            ServerState::new(DAEMON, log, metrics.server.clone(), room, config.limits.clone(), false);
        let (believed, realm) = match &config.identity {
            Some(identity) => (identity.uids.clone(), identity.realm.clone()),
            None => (Vec::new(), None),
        };
        let hosts = Hosts::new(config.hosts);
        let policy = policy_here(hosts.iter().map(|host| host.origin.to_string()));
        Ok(Self {
            server,
            site: Site { public_url: config.public_url, hosts, sessions, tickets: Default::default() },
            store,
            first,
            second,
            form_key: Key::new().map_err(|why| ServeFault::new(why.into()))?,
            guesses: guesses::PasswordGuesses::new(),
            demo_pages: config.demo_pages,
            has_passwords,
            has_identity: config.identity.is_some(),
            believed,
            realm,
            proxies: config.proxies,
            status_from: config.status_from,
            bodies: Bodies::new(FORMS, &config.limits.unlimited_from),
            limits: config.limits,
            policy,
            log_is_required: config.log.required,
            metrics,
            health: health::Health::default(),
            repeated: Repeated::default(),
            recorder,
            fastcgi: LogThrottle::default(),
        })
    }

    /// Whether this peer may see the state of the server.
    pub(super) fn may_look(&self, from: Origin) -> bool {
        from.address().is_none_or(|address| self.status_from.iter().any(|net| net.contains(&address)))
    }

    /// Whether somebody who is let in could be logged, or need not be.
    pub(super) fn may_accept(&self) -> Result<(), Diagnostic> {
        match self.server.log.fault() {
            Some(found) if self.log_is_required => Err(Diagnostic::clone(&found)),
            _ => Ok(()),
        }
    }

    /// The session of a browser at the portal.
    pub(super) fn session(&self, browser: &Browser) -> Option<Arc<Session>> {
        let key = key_in(&browser.cookies, COOKIE)?;
        self.site.sessions.find(key.hash(), |place| *place == Place::Portal, super::portal::clock_now())
    }

    /// Logs a decision, counts it, and stores it under a number, which is returned.
    pub(super) fn note(&self, said: Said) -> Option<String> {
        let said = Said { id: new_reason_id(), ..said };
        self.metrics.said(&said);
        self.keep(said)
    }

    /// The same of a rejection or a fault that costs the sender nothing. Beyond some of each host, those of one kind are one a
    /// minute, without the user, and have that number meanwhile.
    pub(super) fn note_some(&self, said: Said, from: Option<IpAddr>) -> Option<String> {
        if self.guesses.may_note(from) {
            self.note(said)
        } else {
            self.note_again(Said { user: None, ..said })
        }
    }

    /// The same of what a user causes who signed in.
    pub(super) fn note_of(&self, said: Said, user: &UserName) -> Option<String> {
        if self.guesses.may_note_of(user) { self.note(said) } else { self.note_again(said) }
    }

    /// The same of what comes again and again: one a minute of each kind.
    pub(super) fn note_again(&self, said: Said) -> Option<String> {
        self.metrics.said(&said);
        let (host, user) = (said.host.clone(), said.user.clone());
        let Counted { id, log } =
            self.repeated.count(Kind { event: said.event, code: said.code, host, user }, new_reason_id);
        if log.is_some() {
            self.keep(Said { id: id.clone(), times: log, ..said });
        }
        id
    }

    /// The same of a denied request to a protected host.
    pub(super) fn note_denial(&self, denial: &Denial) -> Option<String> {
        self.note_again(Said::denial("authorize", denial, "-".to_owned()))
    }

    fn keep(&self, said: Said) -> Option<String> {
        if let Some(id) = said.id.clone() {
            let event = StoredEvent {
                id,
                at: super::portal::clock_now(),
                event: said.event.to_owned(),
                code: said.code.name().to_owned(),
                user: said.user.clone(),
                host: said.host.clone(),
                peer: Some(said.peer.clone()).filter(|peer| peer != "-"),
                reason: said.reason.clone(),
            };
            self.recorder.record(event);
        }
        let id = said.id.clone();
        self.server.log.tell(Event::Said(Box::new(said)));
        id
    }

    /// Forgets what limits do not need any more.
    pub(super) fn evict_idle(&self) {
        self.guesses.evict_idle();
        self.repeated.evict_old();
    }

    /// Decides about a second factor of a user. Nothing may be in front of it.
    pub(super) async fn judge(
        self: &Arc<Self>,
        user: UserName,
        answer: Zeroizing<String>,
        from: Option<IpAddr>,
    ) -> Result<Decided, Diagnostic> {
        let (second, store, now) = (self.second.clone(), self.store.clone(), super::portal::clock_now());
        let judged = spawn_blocking(move || {
            let judged = second.judge(&user, answer.as_bytes(), now)?;
            let is_alone = judged.password.is_none_or(<[u8]>::is_empty);
            let found = judged.finding.unwrap_or_else(|| accepted(&judged.verdict));
            let (means, found) = match (judged.means, is_alone) {
                // The answer is used up, and something was in front of it: a password, in the wrong field.
                (Some(_), false) => {
                    let more = "something else is in front of the OTP or code, which is used up now";
                    (None, Diagnostic::error(Code::AnswerHasMore, more))
                }
                (means, _) => (means, found),
            };
            if let (Some(_), Verdict::Accepted(receipt)) = (means, &judged.verdict) {
                // A fault here changes nothing about the decision.
                let _ = store.note_use(
                    &receipt.token(),
                    from.map(|from| from.to_string()).as_deref(),
                    i64::try_from(now).unwrap_or(i64::MAX),
                );
            }
            Ok(Decided { means, found, servers: judged.trail, verdict: judged.verdict })
        });
        judged.await.map_err(|_| Diagnostic::error(Code::InternalError, "a thread ended"))?
    }

    pub(super) fn written_metrics(&self) -> String {
        self.server.observe();
        self.metrics.written(self.site.sessions.count())
    }
}

/// What was used up.
fn accepted(verdict: &Verdict) -> Diagnostic {
    let what = match verdict {
        Verdict::Accepted(receipt) => receipt.to_string(),
        Verdict::Rejected(_) | Verdict::NotEnrolled => "nothing".to_owned(),
    };
    Diagnostic::note(Code::Accepted, what)
}

/// Crockford's alphabet, which has no letters that look alike.
const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Whether this may be a number in log and store.
pub(super) fn is_reason_id(text: &str) -> bool {
    let letters = text.strip_prefix("R-").unwrap_or_default();
    letters.len() == 8 && letters.bytes().all(|letter| LETTERS.contains(&letter))
}

/// `None`: the system has no random source.
fn new_reason_id() -> Option<String> {
    random::bytes::<5>().ok().map(|bytes| reason_id(&bytes))
}

/// `R-7K2M9QXA`.
fn reason_id(random: &[u8; 5]) -> String {
    let number = random.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let letter = |at: u32| {
        let at = usize::try_from(number >> (5 * at) & 31).unwrap_or(0);
        char::from(LETTERS.get(at).copied().unwrap_or(b'0'))
    };
    ["R-".to_owned(), (0..8).map(letter).collect()].concat()
}

impl Service for Shared {
    type Role = Role;
    type Event = Event;
    type Body = super::page::Body;

    fn server(&self) -> &ServerState<Event> {
        &self.server
    }

    fn is_watching(&self, from: Origin) -> bool {
        self.may_look(from)
    }

    fn answer(
        pending: PendingRequest<Self>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<super::page::Reply, Infallible>> + Send + 'static {
        route::answer(pending, request)
    }
}
