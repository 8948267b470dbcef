//! Metrics in the format of Prometheus.

use super::DAEMON;
use super::log::{Outcome, Said};
use crate::authorize::Decision;
use hyper::StatusCode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use ykserve::metrics::{Labels, ServerMetrics, gauge, registry};
use yubiotp::diagnostic::Code;

/// What is counted.
pub(super) struct Metrics {
    registry: Registry,
    pub(super) server: ServerMetrics,
    requests: Family<[(&'static str, String); 2], Counter>,
    decisions: Family<Labels<1>, Counter>,
    denials: Family<Labels<1>, Counter>,
    events: Family<Labels<3>, Counter>,
    pub(super) not_stored: Counter,
    sessions: Gauge,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = registry(DAEMON);
        let server = ServerMetrics::register(&mut registry);
        let (requests, decisions, denials, events) = Default::default();
        registry.register("requests", "Requests by path and status", Family::clone(&requests));
        registry.register(
            "decisions",
            "Decisions about requests to protected hosts",
            Family::clone(&decisions),
        );
        registry.register(
            "denials",
            "Requests to protected hosts that were denied, by code",
            Family::clone(&denials),
        );
        registry.register(
            "events",
            "Logins, second factors and checks, by outcome and code",
            Family::clone(&events),
        );
        let not_stored = Counter::default();
        registry.register(
            "events_not_stored",
            "Events that are in the log only: too many came at once, or the store failed for too long",
            not_stored.clone(),
        );
        let sessions = gauge(&mut registry, "sessions", "Sessions that are alive");
        Self { registry, server, requests, decisions, denials, events, not_stored, sessions }
    }

    pub(super) fn request(&self, endpoint: &'static str, status: StatusCode) {
        self.requests
            .get_or_create(&[("path", endpoint.to_owned()), ("status", status.as_u16().to_string())])
            .inc();
    }

    pub(super) fn decided(&self, decision: &Decision) {
        let name = match decision {
            Decision::Pass(_) => "pass",
            Decision::Start { .. } => "start",
            Decision::NotSignedIn(_) => "not_signed_in",
            Decision::Denied(denial) => {
                self.denied(denial.code);
                "denied"
            }
        };
        self.decisions.get_or_create(&[("decision", name)]).inc();
    }

    pub(super) fn denied(&self, code: Code) {
        self.denials.get_or_create(&[("code", code.name())]).inc();
    }

    pub(super) fn said(&self, said: &Said) {
        let labels =
            [("event", said.event), ("outcome", Outcome::name(said.outcome)), ("code", said.code.name())];
        self.events.get_or_create(&labels).inc();
    }

    pub(super) fn written(&self, sessions: usize) -> String {
        self.sessions.set(i64::try_from(sessions).unwrap_or(i64::MAX));
        ykserve::metrics::written(&self.registry)
    }
}
