//! Bodies of requests that are read whole, within limits of size, time and number.

use crate::peer::Origin;
use crate::places::{Share, Shares};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body, Incoming};
use ipnet::IpNet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use zeroize::Zeroizing;

/// Limits the bodies that are being read: each holds memory while it arrives.
pub struct Bodies {
    places: Semaphore,
    shares: Arc<Shares>,
}

/// The minimum of concurrent bodies.
const LEAST_BODIES: usize = 256;

/// A place for one body. Returned when dropped.
pub struct BodyPlace<'a> {
    _permit: SemaphorePermit<'a>,
    _share: Share,
}

impl Bodies {
    /// For at most so many at the same time, and at least 256; an eighth of them from one host, unless it is
    /// `unlimited_from`.
    #[must_use]
    pub fn new(most: usize, unlimited_from: &[IpNet]) -> Self {
        let most = most.clamp(LEAST_BODIES, Semaphore::MAX_PERMITS);
        Self { places: Semaphore::new(most), shares: Shares::new(most / 8, unlimited_from) }
    }

    /// A place for one more body, unless all are taken, or the host has its share.
    pub fn take(&self, from: Origin) -> Option<BodyPlace<'_>> {
        let share = self.shares.take(from)?;
        Some(BodyPlace { _permit: self.places.try_acquire().ok()?, _share: share })
    }
}

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoForm {
    /// It has too many bytes.
    TooLarge,
    /// It did not arrive in time.
    TooSlow,
    /// The connection broke.
    Broken,
}

/// Reads the body of a request: of at most `most` bytes, within `time`. Wiped on drop.
///
/// # Errors
/// It is too large or too slow, or did not come whole. The connection has to be closed: the rest is not read.
pub async fn read(body: Incoming, most: usize, time: Duration) -> Result<Zeroizing<Vec<u8>>, NoForm> {
    let said = body.size_hint();
    if said.lower() > u64::try_from(most).unwrap_or(u64::MAX) {
        return Err(NoForm::TooLarge);
    }
    let room = said.exact().and_then(|exact| usize::try_from(exact).ok()).unwrap_or(most);
    let mut body = Limited::new(body, most);
    // Enough capacity for all of it, so that the buffer never moves and leaves a copy.
    let mut form = Zeroizing::new(Vec::with_capacity(room));
    let read = async {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|fault| match fault.is::<http_body_util::LengthLimitError>() {
                true => NoForm::TooLarge,
                false => NoForm::Broken,
            })?;
            if let Some(data) = frame.data_ref() {
                form.extend_from_slice(data);
            }
        }
        Ok(())
    };
    tokio::time::timeout(time, read).await.map_err(|_| NoForm::TooSlow)??;
    Ok(form)
}
