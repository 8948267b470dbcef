//! Key storage modules (YK-KSM) that a site has already, and that keep the keys which the store does not have.

use crate::config;
use std::sync::Arc;
use yubiotp::Position;

/// The key storage modules.
#[derive(Clone)]
pub struct Ksm(Arc<config::Ksm>);

/// What one of them decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// The OTP is genuine.
    Genuine {
        /// How far the token has come.
        position: Position,
        /// Its clock, 24 bits.
        timestamp: u32,
    },
    /// `ERR Unknown yubikey`
    Unknown,
    /// `ERR Corrupt OTP`
    NotGenuine,
}

/// None of them decided: which did what, in how many milliseconds. No OTP is in it.
#[derive(Debug, thiserror::Error)]
#[error("no key storage module answered: {0}")]
pub struct KsmFault(pub String);

impl Ksm {
    /// Ready to ask.
    ///
    /// # Errors
    /// Its certificate authorities cannot be used.
    pub fn new(config: &config::Ksm) -> Result<Self, KsmFault> {
        Ok(Self(Arc::new(config.clone())))
    }

    /// Asks about an OTP in modhex: each module in its turn, until one decides. `Unknown` counts once all that can be
    /// reached say so.
    ///
    /// # Errors
    /// None decided in time.
    pub async fn decrypt(&self, otp: &str) -> Result<Said, KsmFault> {
        let _ = (otp, &self.0);
        Err(KsmFault("not written yet".to_owned()))
    }
}
