//! Metrics, and `/metrics`.

use super::{DAEMON, Shared};
use crate::etcd::Observed;
use crate::sync::{Pool, Sent};
use crate::verify::{Decision, Received};
use hyper::StatusCode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use ykserve::metrics::{self, Labels, ServerMetrics, Window};
use yubiotp::protocol::Status;

/// The kind of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint {
    Verify,
    Sync,
    Decrypt,
    Health,
    Ready,
    Metrics,
    Status,
    None,
}

impl Endpoint {
    const fn name(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Sync => "sync",
            Self::Decrypt => "decrypt",
            Self::Health => "healthz",
            Self::Ready => "readyz",
            Self::Metrics => "metrics",
            Self::Status => "status",
            Self::None => "none",
        }
    }
}

/// All metrics.
pub(super) struct Metrics {
    registry: Registry,
    /// Those that every server has.
    pub(super) server: ServerMetrics,
    requests: Family<[(&'static str, String); 2], Counter>,
    /// The counter that is used most, without a lookup in the family.
    verified: Counter,
    /// By [`Status::ALL`].
    decisions: Vec<(Status, Counter)>,
    verify_seconds: Histogram,
    advance_seconds: Histogram,
    advanced: Counter,
    replays: Counter,
    pub(super) abandoned: Counter,
    pub(super) over_capacity: Counter,
    pub(super) rate_limited: Counter,
    pub(super) store_forgot: Counter,
    pub(super) positions_raised: Counter,
    sync_received: Family<Labels<1>, Counter>,
    sync_sent: Family<[(&'static str, String); 2], Counter>,
    sync_waiting: Family<[(&'static str, String); 1], Gauge>,
    sync_answered: Family<[(&'static str, String); 1], Gauge>,
    /// If that is the store.
    etcd: Option<EtcdMetrics>,
    in_flight: Gauge,
    ready: Gauge,
    tokens_remembered: Gauge,
    pub(super) window: Window,
}

const STATUSES: [Status; 10] = [
    Status::Ok,
    Status::BadOtp,
    Status::ReplayedOtp,
    Status::ReplayedRequest,
    Status::BadSignature,
    Status::MissingParameter,
    Status::NoSuchClient,
    Status::BackendError,
    Status::OperationNotAllowed,
    Status::NotEnoughAnswers,
];

impl Metrics {
    /// `has_etcd`: the store is a cluster of etcd.
    pub(super) fn new(has_etcd: bool) -> Self {
        let mut registry = metrics::registry(DAEMON);
        let server = ServerMetrics::register(&mut registry);
        let requests = Family::<[(&'static str, String); 2], Counter>::default();
        let verified = requests.get_or_create_owned(&[("endpoint", "verify"), ("code", "200")].map(owned));
        registry.register("requests", "HTTP requests, by endpoint and HTTP status", requests.clone());
        let family = Family::<Labels<1>, Counter>::default();
        registry.register("verifications", "Verifications, by the status of the answer", family.clone());
        let decisions =
            STATUSES.map(|status| (status, family.get_or_create_owned(&[("status", status.name())])));
        let mut counter = |name: &str, help: &str| metrics::counter(&mut registry, name, help);
        let advanced = counter("positions_advanced", "OTPs that were accepted");
        let replays = counter("replays", "Genuine OTPs that were used before");
        let abandoned = counter("abandoned", "Verifications whose client went away before the decision");
        let over_capacity =
            counter("over_capacity", "Verifications refused because limits.in_flight was reached");
        let rate_limited =
            counter("rate_limited", "Verifications refused because a client was above its rate");
        let store_forgot =
            counter("store_forgot", "How often the store was found to have lost accepted OTPs");
        let positions_raised = counter("positions_raised", "Tokens whose position the store had lost");
        let mut gauge = |name: &str, help: &str| metrics::gauge(&mut registry, name, help);
        let in_flight = gauge("in_flight", "Verifications under way");
        let ready = gauge(
            "ready",
            "Whether OTPs can be accepted: the store can be read and written, and lost nothing; the log can be written",
        );
        let tokens_remembered =
            gauge("tokens_remembered", "Tokens whose last accepted OTP this server remembers");
        let sync_received = Family::<Labels<1>, Counter>::default();
        let help = "Messages of peers of YK-VAL, by what became of them";
        registry.register("sync_received", help, sync_received.clone());
        let sync_sent = Family::<[(&'static str, String); 2], Counter>::default();
        registry.register(
            "sync_sent",
            "Messages to peers of YK-VAL, by what became of them",
            sync_sent.clone(),
        );
        let sync_waiting = Family::<[(&'static str, String); 1], Gauge>::default();
        registry.register("sync_waiting", "Messages that wait for a peer of YK-VAL", sync_waiting.clone());
        let sync_answered = Family::<[(&'static str, String); 1], Gauge>::default();
        let help = "When a peer of YK-VAL answered last, in seconds since 1970";
        registry.register_with_unit("sync_answered", help, Unit::Seconds, sync_answered.clone());
        let etcd = has_etcd.then(|| EtcdMetrics::within(&mut registry));
        let mut histogram = |name: &str, help: &str| metrics::seconds(&mut registry, name, help);
        let verify_seconds = histogram("verify", "How long verifications took");
        let advance_seconds = histogram("store_advance", "How long the store took to advance a token");
        Self {
            registry,
            server,
            requests,
            verified,
            decisions: decisions.to_vec(),
            verify_seconds,
            advance_seconds,
            advanced,
            replays,
            abandoned,
            over_capacity,
            rate_limited,
            store_forgot,
            positions_raised,
            sync_received,
            sync_sent,
            sync_waiting,
            sync_answered,
            etcd,
            in_flight,
            ready,
            tokens_remembered,
            window: Window::default(),
        }
    }

    pub(super) fn request(&self, endpoint: Endpoint, code: StatusCode) {
        if endpoint == Endpoint::Verify && code == StatusCode::OK {
            self.verified.inc();
        } else {
            let labels = [("endpoint", endpoint.name().to_owned()), ("code", code.as_str().to_owned())];
            self.requests.get_or_create(&labels).inc();
        }
    }

    pub(super) fn decision(&self, decision: &Decision, took: Duration, advance: Option<Duration>) {
        self.answered(decision.status);
        self.verify_seconds.observe(took.as_secs_f64());
        if let Some(advance) = advance {
            self.advance_seconds.observe(advance.as_secs_f64());
        }
        match decision.status {
            Status::Ok => _ = self.advanced.inc(),
            Status::ReplayedOtp | Status::ReplayedRequest => _ = self.replays.inc(),
            _ => {}
        }
        self.window.add(took);
    }

    /// What is counted about a pool begins at 0.
    pub(super) fn pool(&self, pool: &Pool) {
        for outcome in ["raised", "known", "unproved", "refused", "failed"] {
            drop(self.sync_received.get_or_create(&[("outcome", outcome)]));
        }
        for peer in pool.peers() {
            let labels = [("peer", peer.name().to_owned())];
            drop(self.sync_answered.get_or_create(&labels));
            for outcome in ["confirmed", "used", "disabled", "refused", "failed"] {
                let labels = [("peer", peer.name().to_owned()), ("outcome", outcome.to_owned())];
                drop(self.sync_sent.get_or_create(&labels));
            }
        }
    }

    /// Counts a message of a peer.
    pub(super) fn sync_received(&self, received: &Received) {
        let outcome = match received.status {
            _ if received.raised => "raised",
            Status::Ok if received.position.is_some() => "known",
            Status::Ok => "unproved",
            Status::BackendError => "failed",
            _ => "refused",
        };
        self.sync_received.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// Counts a message to a peer.
    pub(super) fn sync_sent(&self, peer: String, outcome: Sent) {
        let outcome = match outcome {
            Sent::Confirmed => "confirmed",
            Sent::Used => "used",
            Sent::Disabled => "disabled",
            Sent::Refused => "refused",
            Sent::Failed => "failed",
        };
        self.sync_sent.get_or_create(&[("peer", peer), ("outcome", outcome.to_owned())]).inc();
    }

    /// Counts an answer by its status.
    pub(super) fn answered(&self, answer: Status) {
        if let Some((_, counter)) = self.decisions.iter().find(|(status, _)| *status == answer) {
            counter.inc();
        }
    }

    /// How often each status was answered.
    pub(super) fn by_status(&self) -> impl Iterator<Item = (Status, u64)> {
        self.decisions.iter().map(|(status, counter)| (*status, counter.get()))
    }

    /// All metrics in the OpenMetrics format.
    pub(super) fn written(&self, shared: &Shared) -> String {
        let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        shared.server.observe();
        self.in_flight.set(number(shared.capacity.taken()));
        self.ready.set(shared.was_ready().into());
        self.tokens_remembered.set(number(shared.verifier.store().guard().tokens()));
        for peer in shared.verifier.pool().map(|pool| pool.peers()).unwrap_or_default() {
            let labels = [("peer", peer.name().to_owned())];
            self.sync_waiting.get_or_create(&labels).set(number(peer.waiting()));
            if let Some(at) = peer.answered_at() {
                self.sync_answered.get_or_create(&labels).set(at);
            }
        }
        if let (Some(etcd), Some(observed)) = (&self.etcd, shared.verifier.store().observed()) {
            etcd.set(&observed);
        }
        metrics::written(&self.registry)
    }
}

/// Numbers about a cluster of etcd.
struct EtcdMetrics {
    revision: Gauge,
    up: Family<[(&'static str, String); 1], Gauge>,
    requests: Family<[(&'static str, String); 2], Counter>,
    size: Family<[(&'static str, String); 1], Gauge>,
    quota: Family<[(&'static str, String); 1], Gauge>,
}

impl EtcdMetrics {
    fn within(registry: &mut Registry) -> Self {
        let (revision, requests) = (Gauge::default(), Family::default());
        let [up, size, quota] =
            std::array::from_fn(|_| Family::<[(&'static str, String); 1], Gauge>::default());
        registry.register("etcd_revision", "The highest revision of etcd that was seen", revision.clone());
        let help = "Whether a member of etcd is connected to and answered last";
        registry.register("etcd_member_up", help, up.clone());
        let help = "Requests of the store to a member of etcd, by what became of them";
        registry.register("etcd_requests", help, Family::clone(&requests));
        let help = "The size of the database of a member of etcd";
        registry.register_with_unit("etcd_member_size", help, Unit::Bytes, size.clone());
        let help = "The size at which a member of etcd refuses changes, if it says so (etcd 3.6)";
        registry.register_with_unit("etcd_member_quota", help, Unit::Bytes, quota.clone());
        Self { revision, up, requests, size, quota }
    }

    fn set(&self, observed: &Observed) {
        self.revision.set(observed.revision);
        for member in &observed.members {
            let labels = [("member", member.endpoint.clone())];
            self.up.get_or_create(&labels).set(member.is_up.into());
            for (outcome, count) in [("answered", member.answered), ("failed", member.failed)] {
                let labels = [("member", member.endpoint.clone()), ("outcome", outcome.to_owned())];
                self.requests.get_or_create(&labels).inner().store(count, Relaxed);
            }
            for (gauge, bytes) in [(&self.size, member.size), (&self.quota, member.quota)] {
                if let Some(bytes) = bytes {
                    gauge.get_or_create(&labels).set(bytes);
                }
            }
        }
    }
}

fn owned((name, value): (&'static str, &str)) -> (&'static str, String) {
    (name, value.to_owned())
}
