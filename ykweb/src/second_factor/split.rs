//! Where the OTP or code begins in an answer that has a password in front: for callers that know one field only.
//!
//! The password is checked first, so that only who knows it may try a code or use one up. Hence this looks at shapes, and
//! decides nothing.

use super::SecondFactor;
use crate::store::StoreFault;
use crate::user::UserName;
use std::collections::BTreeSet;
use yubiotp::oath::Digits;
use yubiotp::oath::typed::Typed;
use yubiotp::{otp, recovery};

/// The usual length of an OTP: six bytes of public ID, and the block.
const OTP: usize = 44;

impl SecondFactor {
    /// The places where the OTP or code of this user can begin in an answer, the likeliest first; of a user without tokens those
    /// that are usual, so that nothing shows who has some.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn begins(&self, user: &UserName, answer: &str) -> Result<Vec<usize>, StoreFault> {
        let account = self.0.store.account(user)?;
        let tokens = account.map(|account| account.tokens).unwrap_or_default();
        let bytes = answer.as_bytes();
        if let Ok(readings) = otp::readings(bytes) {
            let mut ids: Vec<_> = tokens.iter().filter_map(|token| token.id.yubikey()).collect();
            ids.sort_by_key(|id| std::cmp::Reverse(id.as_bytes().len()));
            for reading in readings {
                if let Some(otp) = ids.iter().find_map(|id| reading.split(id)) {
                    return Ok(vec![otp.password.len()]);
                }
            }
            return Ok(answer.trim_ascii_end().len().checked_sub(OTP).into_iter().collect());
        }
        if let Some((before, _)) = recovery::typed(bytes) {
            return Ok(vec![before.len()]);
        }
        let Some(typed) = Typed::read(bytes) else { return Ok(Vec::new()) };
        let mut digits = BTreeSet::new();
        for serial in tokens.iter().filter_map(|token| token.id.oath()) {
            digits.extend(self.0.store.oath(&serial)?.map(|record| record.parameters.digits));
        }
        if digits.is_empty() {
            digits.insert(Digits::SIX);
        }
        Ok(digits
            .into_iter()
            .filter_map(|digits| typed.one(digits))
            .map(|(before, _)| before.len())
            .collect())
    }
}
