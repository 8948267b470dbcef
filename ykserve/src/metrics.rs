//! Metrics in the format of OpenMetrics, and those that every server has.
//!
//! Names begin with the name of the [`Daemon`]: `ykvald_connections_open`.

mod window;

use crate::Daemon;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
pub use window::Window;

/// The content type of [`written`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Names and values of labels that the program knows beforehand.
pub type Labels<const N: usize> = [(&'static str, &'static str); N];

/// A registry for the metrics of a program, with the first of them: its version.
#[must_use]
pub fn registry(daemon: Daemon) -> Registry {
    let mut registry = Registry::with_prefix(daemon.name);
    let build: Labels<1> = [("version", daemon.version)];
    registry.register("build", format!("Version of {}", daemon.name), Info::new(build));
    registry
}

/// A new counter, from 0. Its samples end in `_total`.
pub fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::default();
    registry.register(name, help, counter.clone());
    counter
}

/// A new gauge, at 0.
pub fn gauge(registry: &mut Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::default();
    registry.register(name, help, gauge.clone());
    gauge
}

/// A new histogram of durations in seconds: buckets from 100 µs, each twice the one before. Its name gets `_seconds`.
pub fn seconds(registry: &mut Registry, name: &str, help: &str) -> Histogram {
    let histogram = Histogram::new((0..16_i32).map(|power| 1e-4 * 2_f64.powi(power)));
    registry.register_with_unit(name, help, Unit::Seconds, histogram.clone());
    histogram
}

/// All metrics of a registry, as text.
#[must_use]
pub fn written(registry: &Registry) -> String {
    let mut text = String::with_capacity(16 * 1024);
    // Writing to a string does not fail.
    let _ = encode(&mut text, registry);
    text
}

/// The metrics of connections, certificates and the log. A clone counts the same.
#[derive(Clone)]
pub struct ServerMetrics {
    /// Accepted connections, brief ones too.
    pub connections: Counter,
    /// Excess connections, which got one answer each.
    pub connections_brief: Counter,
    /// Excess connections that got HTTP 503.
    pub connections_refused: Counter,
    /// Connections that were closed because they were idle or slow.
    pub connections_cut: Counter,
    /// Idle connections that were closed to make room for others.
    pub connections_displaced: Counter,
    /// TLS handshakes that failed or took too long.
    pub handshakes_failed: Counter,
    /// Log lines that were lost.
    pub log_lines_lost: Counter,
    certificates: Family<Labels<1>, Gauge>,
    connections_open: Gauge,
    log_failing: Gauge,
}

impl ServerMetrics {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let mut new = |name, help| counter(registry, name, help);
        let connections = new("connections_accepted", "Accepted connections");
        let connections_brief = new("connections_brief", "Excess connections, which got one answer each");
        let connections_refused = new("connections_refused", "Excess connections that got HTTP 503");
        let connections_cut =
            new("connections_cut", "Connections that were closed because they were idle or slow");
        let connections_displaced =
            new("connections_displaced", "Idle connections that were closed to make room for others");
        let handshakes_failed = new("handshakes_failed", "TLS handshakes that failed or took too long");
        let log_lines_lost = new("log_lines_lost", "Log lines that were lost");
        let connections_open = gauge(registry, "connections_open", "Open connections");
        let log_failing = gauge(registry, "log_failing", "Whether the log cannot be written");
        let certificates = Family::default();
        let help = "End of the validity of a listener's certificate, in seconds since 1970";
        registry.register_with_unit("certificate_expiry", help, Unit::Seconds, certificates.clone());
        Self {
            connections,
            connections_brief,
            connections_refused,
            connections_cut,
            connections_displaced,
            handshakes_failed,
            log_lines_lost,
            certificates,
            connections_open,
            log_failing,
        }
    }

    /// Sets the end of a listener's certificate, in seconds since 1970; `None`: it is not known.
    pub fn certificate(&self, listener: &'static str, until: Option<i64>) {
        let labels = [("listener", listener)];
        match until {
            Some(until) => _ = self.certificates.get_or_create(&labels).set(until),
            None => _ = self.certificates.remove(&labels),
        }
    }

    /// Sets what is looked up when metrics are written: open connections, and whether the log cannot be written.
    pub fn observe(&self, connections_open: usize, log_failing: bool) {
        self.connections_open.set(i64::try_from(connections_open).unwrap_or(i64::MAX));
        self.log_failing.set(log_failing.into());
    }
}
