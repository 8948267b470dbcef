//! Notifications to systemd, if it started the server. A notification that fails changes nothing.

use sd_notify::NotifyState;
use std::net::SocketAddr;

pub(crate) fn ready(addresses: &[SocketAddr]) {
    let at: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    let status = format!("Answering on {}", at.join(", "));
    let _ = sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

pub(crate) fn reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        let _ = sd_notify::notify(&[NotifyState::Reloading, now]);
    }
}

pub(crate) fn stopping() {
    let status = NotifyState::Status("Finishing what was begun");
    let _ = sd_notify::notify(&[NotifyState::Stopping, status]);
}

/// Sends the watchdog notification as often as systemd wants it, from the runtime that answers requests: if that hangs,
/// so do the notifications.
pub(crate) async fn watchdog() {
    let Some(within) = sd_notify::watchdog_enabled() else { return };
    let mut every = tokio::time::interval((within / 2).max(std::time::Duration::from_millis(100)));
    loop {
        every.tick().await;
        let _ = sd_notify::notify(&[NotifyState::Watchdog]);
    }
}
