//! The touch after a pause, of a restored token: with the one before it, it shows that the token is in somebody's hand now.

use super::{Deciders, Found, Judgement, Mode, Proved, Reason, Servers, Vault, by_readings};
use crate::freshness::{self, Stale, Touch};
use crate::key::Fingerprint;
use crate::{Advance, Position, PublicId, TokenId, otp};
use core::time::Duration;

/// A second touch that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecondTouch {
    /// The token.
    pub token: PublicId,
    /// Its key.
    pub key: Fingerprint,
    /// The first touch, which is used up.
    pub first: Touch,
    /// The time from the first answer to this one.
    pub elapsed: Duration,
    /// The time from the first answer to the prompt for this one.
    pub pause: Duration,
    /// Whether it is the last that was asked for. After another one, the token stays restored.
    pub is_last: bool,
}

/// Decides about the answer to the prompt for a second touch. Its OTP is used up, whatever it shows.
///
/// # Errors
/// As [`judge`](super::judge).
pub fn judge_second<'a, V: Vault>(
    answer: &'a [u8],
    second: &SecondTouch,
    mode: Mode,
    vault: &V,
    servers: &impl Servers<Fault = V::Fault>,
) -> Result<Judgement<'a>, V::Fault> {
    let tokens = [TokenId::YubiKey(second.token)];
    match otp::readings(answer) {
        Err(why) => Ok(Judgement::rejected(Reason::NoOtp(why))),
        Ok(readings) => {
            by_readings(answer, readings, &tokens, &Deciders { mode, vault, servers, second: Some(second) })
        }
    }
}

impl<V: Vault, S: Servers<Fault = V::Fault>> Deciders<'_, V, S> {
    /// Compares and stores. `is_ok`: a validation server says that it has not seen the OTP, nor a later one. Also gives why
    /// two touches show nothing.
    pub(super) fn advance(
        &self,
        found: &Found<'_>,
        position: Position,
        is_ok: bool,
    ) -> Result<(Advance, Option<Stale>), V::Fault> {
        let token = TokenId::YubiKey(found.token);
        // Of a token whose key is here, this host may have accepted OTPs without a server, whatever the mode is now.
        if is_ok && self.mode == Mode::Online && found.touch.is_none() {
            return Ok((self.vault.advance_proved(&token, found.key, Proved::ByServer(position))?, None));
        }
        let proved = match (self.second, found.touch) {
            (Some(asked), Some(touch)) if asked.token == found.token && asked.key == found.key => {
                freshness::decide_at_a_login(asked.first, touch, asked.elapsed, asked.pause)
            }
            _ => return Ok((self.vault.advance(&token, found.key, position)?, None)),
        };
        Ok(match proved {
            Ok(_) if self.second.is_some_and(|asked| !asked.is_last) => {
                (self.vault.advance(&token, found.key, position)?, None)
            }
            Ok(proof) => (self.vault.advance_proved(&token, found.key, Proved::ByTouches(proof))?, None),
            Err(stale) => (self.vault.advance(&token, found.key, position)?, Some(stale)),
        })
    }
}
