//! `[codes]`: how this host decides about codes of OATH tokens.

use super::within;
use serde::Deserializer;
use yubiotp::oath::window::{Usual, Window};

/// The settings in `[codes]`.
pub(super) const NAMES: [&str; 3] = ["local", "window", "look_ahead"];

/// The settings in `[codes]`, or in place of it.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PartialCodes {
    /// `local`
    pub local: Option<bool>,
    /// `window`, in seconds
    #[serde(deserialize_with = "window")]
    pub window: Option<u16>,
    /// `look_ahead`, in codes
    #[serde(deserialize_with = "look_ahead")]
    pub look_ahead: Option<u16>,
}

/// How this host decides about codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeSettings {
    /// Whether it decides although `mode` is `online`.
    pub local: bool,
    /// Where it looks for codes of tokens without a window of their own.
    pub usual: Usual,
}

impl PartialCodes {
    /// The values given here, else those of `other`.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            local: self.local.or(other.local),
            window: self.window.or(other.window),
            look_ahead: self.look_ahead.or(other.look_ahead),
        }
    }

    pub(super) fn resolve(&self) -> CodeSettings {
        CodeSettings {
            local: self.local.unwrap_or(false),
            usual: Usual {
                seconds: self.window.unwrap_or(Usual::DEFAULT.seconds),
                ahead: self.look_ahead.unwrap_or(Usual::DEFAULT.ahead),
            },
        }
    }
}

fn window<'de, D: Deserializer<'de>>(number: D) -> Result<Option<u16>, D::Error> {
    within(number, check_window)
}

fn look_ahead<'de, D: Deserializer<'de>>(number: D) -> Result<Option<u16>, D::Error> {
    within(number, check_look_ahead)
}

/// A window in each direction, in seconds: 1 to 600.
///
/// # Errors
/// Says which are.
pub fn check_window(seconds: i64) -> Result<u16, String> {
    let seconds = u16::try_from(seconds).ok().filter(|seconds| (1..=600).contains(seconds));
    seconds.ok_or_else(|| "window must be a number of seconds from 1 to 600".to_owned())
}

/// How many codes of a HOTP token may have been made and not typed.
///
/// # Errors
/// Says which are.
pub fn check_look_ahead(codes: i64) -> Result<u16, String> {
    let codes = u16::try_from(codes).ok().filter(|codes| *codes <= Window::MOST);
    codes.ok_or_else(|| format!("look_ahead must be a number of codes from 0 to {}", Window::MOST))
}
