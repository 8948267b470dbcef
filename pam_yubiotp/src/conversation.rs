//! Getting answers, and handing on the password that stood before an OTP.

use crate::handle::{Answer, Handle, Item};
use pam::constants::PamResultCode;
use ykmap::settings::Settings;

/// Where an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The user was asked here.
    Asked,
    /// A module before this one had asked, and left it in PAM_AUTHTOK.
    Stacked,
}

/// Asks once, with all there is to say in one prompt: text before it would be shown late, or never. An answer counts
/// only while the login is still this user's.
pub(crate) fn ask(host: &impl Handle, settings: &Settings, user: &[u8]) -> Result<Answer, PamResultCode> {
    let shown: String =
        String::from_utf8_lossy(user).chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    let prompt = settings.prompt.replace("%u", &shown);
    let answer = match host.ask(&prompt, settings.echo) {
        // That code has a meaning of its own below.
        Ok(None) | Err(PamResultCode::PAM_BAD_ITEM) => return Err(PamResultCode::PAM_CONV_ERR),
        Ok(Some(answer)) => answer,
        Err(code) => return Err(code),
    };
    // An application may set another user while it asks, and would log that one in by this one's token.
    let still = host.item(Item::User).is_some_and(|now| now == user);
    if still { Ok(answer) } else { Err(PamResultCode::PAM_BAD_ITEM) }
}

/// Leaves the password to the modules behind.
///
/// From an answer to our own question nothing is left if there was no password: what a module before us left is not
/// ours to take away. Of a stacked answer the OTP is always taken away.
pub(crate) fn hand_on(host: &mut impl Handle, source: Source, password: &[u8]) -> Result<(), PamResultCode> {
    match (source, password.is_empty()) {
        (Source::Asked, true) => Ok(()),
        (Source::Stacked, true) => host.hand_on(None),
        (Source::Asked | Source::Stacked, false) => host.hand_on(Some(password)),
    }
}
