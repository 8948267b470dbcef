//! The policy for one login of this host.

use crate::Fault;
use crate::settings::Settings;
use yubiotp::policy::{Login, RemoteHost, Ruling};

/// A PAM_RHOST that is in no network: for those who decide without knowing where a login is from.
pub const UNKNOWN_HOST: &[u8] = b"unknown";

/// What holds for a login of `user`, at this time in seconds since 1970. `service` and `rhost` are PAM_SERVICE and
/// PAM_RHOST, if these are set.
///
/// # Errors
/// A rule may mean the user in another spelling.
pub fn ruling<'s>(
    settings: &'s Settings,
    user: &[u8],
    service: Option<&[u8]>,
    rhost: Option<&[u8]>,
    unix: u64,
) -> Result<Ruling<'s>, Fault> {
    let from = RemoteHost::read(rhost);
    let login = Login { user, service: service.unwrap_or_default(), from, unix };
    settings.policy.ruling(&login).map_err(|doubt| Fault::Policy { path: settings.config.clone(), doubt })
}
