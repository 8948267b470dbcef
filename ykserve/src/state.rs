//! The state that all connections of a server share, whatever it serves.

use crate::descriptors::Room;
use crate::http::Http;
use crate::log::{Log, LogEvent, LogThrottle};
use crate::metrics::ServerMetrics;
use crate::places::Places;
use crate::settings::ConnectionLimits;
use crate::stop::Stopping;
use crate::{Daemon, ServerEvent};
use std::sync::Arc;

/// The state that all connections share.
pub struct ServerState<E> {
    /// The log.
    pub log: Log<E>,
    pub(crate) daemon: Daemon,
    pub(crate) limits: ConnectionLimits,
    pub(crate) metrics: ServerMetrics,
    pub(crate) room: Room,
    pub(crate) places: Arc<Places>,
    pub(crate) http_tls: Http,
    pub(crate) http_plain: Http,
    pub(crate) handshakes: LogThrottle,
    pub(crate) stopping: Stopping,
}

impl<E: LogEvent + From<ServerEvent>> ServerState<E> {
    /// With these limits, within the room for them. `plain_http2`: whether HTTP/2 is spoken without TLS, too.
    pub fn new(
        daemon: Daemon,
        log: Log<E>,
        metrics: ServerMetrics,
        room: Room,
        limits: ConnectionLimits,
        plain_http2: bool,
    ) -> Self {
        Self {
            log,
            daemon,
            metrics,
            room,
            places: Places::new(room, &limits),
            http_tls: Http::new(&limits, true),
            http_plain: Http::new(&limits, plain_http2),
            limits,
            handshakes: LogThrottle::default(),
            stopping: Stopping::default(),
        }
    }

    /// The number of open connections.
    pub fn open_connections(&self) -> usize {
        self.places.open()
    }

    /// Sets those of [`ServerMetrics`] that are looked up when metrics are written.
    pub fn observe(&self) {
        self.metrics.observe(self.open_connections(), self.log.fault().is_some());
    }

    pub(crate) fn tell(&self, event: ServerEvent) {
        self.log.tell(event.into());
    }
}
