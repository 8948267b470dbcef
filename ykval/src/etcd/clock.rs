//! The clock of a member, by the `Date` of its answers over HTTP: those over gRPC have none.

use super::connection::connect;
use super::tls;
use crate::clock;
use crate::config::{EtcdConfig, EtcdEndpoint};
use http_body_util::Empty;
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, DATE, HOST};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite};

/// The clock of one member.
pub(crate) struct MemberClock {
    /// `HOST:PORT`, as the configuration has it.
    pub(crate) endpoint: String,
    /// How much it is ahead of this host's; `None`: it did not say the time.
    pub(crate) ahead: Option<Ahead>,
}

/// How much another clock is ahead, as far as that can be known, in milliseconds; below 0 it is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ahead {
    at_least: i64,
    at_most: i64,
}

impl Ahead {
    /// By a clock that was read at some time between `before` and `after` and showed this second; all by this host's clock,
    /// in milliseconds.
    fn read(second: i64, before: i64, after: i64) -> Self {
        let shown = second.saturating_mul(1000);
        Self {
            at_least: shown.saturating_sub(after),
            at_most: shown.saturating_add(999).saturating_sub(before),
        }
    }

    /// The difference in seconds, if it is certain to be more than this many.
    pub(crate) fn beyond(self, seconds: i64) -> Option<i64> {
        let most = seconds.saturating_mul(1000);
        let is_beyond = self.at_least > most || self.at_most < most.saturating_neg();
        let middle = self.at_least.midpoint(self.at_most);
        let rounded = middle.saturating_abs().saturating_add(500) / 1000;
        is_beyond.then(|| rounded.saturating_mul(middle.signum()))
    }
}

/// Asks a member for its version, which it tells everybody who may connect. `None`: it did not answer, or said no time; etcd
/// 3.6 can be told to answer over HTTP on another port only.
pub(super) async fn ahead(config: &EtcdConfig, to: &EtcdEndpoint) -> Option<Ahead> {
    let tcp = connect(to).await.ok()?;
    match tls::connector(config, &[]).ok()? {
        None => over(tcp, to).await,
        Some(connector) => {
            let name = ServerName::try_from(to.host.clone()).ok()?;
            over(connector.connect(name, tcp).await.ok()?, to).await
        }
    }
}

async fn over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    to: &EtcdEndpoint,
) -> Option<Ahead> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    // It ends with the answer.
    tokio::spawn(connection);
    let request = Request::get("/version").header(HOST, to.to_string()).header(CONNECTION, "close");
    let request = request.body(Empty::<Bytes>::new()).ok()?;
    let (before, begun) = (clock::now_in_milliseconds(), Instant::now());
    let answer = sender.send_request(request).await.ok()?;
    let took = i64::try_from(begun.elapsed().as_millis()).ok()?;
    let second = clock::read_http(answer.headers().get(DATE)?.to_str().ok()?)?;
    Some(Ahead::read(second, before, before.saturating_add(took).saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Neither the time that the answer took nor the part of a second that is not shown is a difference.
    #[test]
    fn only_what_is_certain() {
        for (second, before, after, beyond) in [
            (100, 100_000, 100_001, None),
            (100, 100_999, 100_999, None),
            // Slow: it may have been read at any time in between.
            (100, 90_000, 100_500, None),
            (100, 100_000, 110_000, None),
            (102, 100_000, 100_000, None),
            (103, 100_999, 101_000, None),
            (103, 100_000, 100_999, Some(3)),
            (96, 100_000, 100_000, Some(-4)),
            (97, 99_999, 99_999, None),
            (97, 100_000, 100_000, Some(-3)),
            (160, 100_000, 100_004, Some(60)),
            (40, 100_000, 100_004, Some(-60)),
        ] {
            assert_eq!(Ahead::read(second, before, after).beyond(2), beyond, "{second} {before} {after}");
        }
        assert!(Ahead::read(i64::MAX, 0, 0).beyond(2).is_some_and(|ahead| ahead > 0));
    }
}
