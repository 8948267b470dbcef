//! The text of `positions/ID`: two slots, written alternately in place (`docs/store.md` has the format).
//!
//! A slot is 512 bytes of text at the start of a block of 4 KiB, so that a write torn by a power cut damages one slot
//! and leaves the other, older one.

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use yubiotp::key::Fingerprint;
use yubiotp::{Position, TokenId};

/// Bytes of one slot.
pub(super) const SLOT: usize = 512;
/// Bytes from the start of one slot to the start of the other.
pub(super) const BLOCK: usize = 4096;
/// The sequence of the newer slot of a new file.
const FIRST: u64 = 1;
/// Bytes of the whole file.
pub(super) const FILE: usize = 2 * BLOCK;

/// The contents of a position file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// The token.
    pub token: TokenId,
    /// The credential: another key programmed under the same public ID starts anew.
    pub key: Fingerprint,
    /// Whether the token may be used here.
    pub enabled: bool,
    /// This host was restored from a backup, and the position of this YubiKey may be lower than what was used since. Two
    /// touches have to show where it is; the number is how often that was tried at logins.
    pub restored: Option<u8>,
    /// The last accepted position; `None` before the first. Of an OATH token it is the first step that may still be
    /// accepted.
    pub position: Option<Position>,
    /// How many steps the clock of a TOTP token is ahead of this host's; 0 for other tokens.
    pub drift: i32,
}

impl State {
    /// The state of a key that was never used.
    #[must_use]
    pub const fn new(token: TokenId, key: Fingerprint) -> Self {
        Self { token, key, enabled: true, restored: None, position: None, drift: 0 }
    }

    /// The position of a key of which nobody knows how far it came: above it nothing is fresh.
    #[must_use]
    pub const fn last(token: &TokenId) -> Position {
        match token {
            TokenId::YubiKey(_) => Position::LAST,
            TokenId::Oath(_) | TokenId::RecoverySet(_) | TokenId::RecoveryCode(..) => {
                Position::from_stored(u64::MAX)
            }
        }
    }

    /// The state of a key that goes on from all that is known: at the highest position, and disabled or restored if one is.
    #[must_use]
    pub(super) fn follow(
        token: TokenId,
        key: Fingerprint,
        known: impl IntoIterator<Item = Option<Self>>,
    ) -> Self {
        known.into_iter().flatten().fold(Self::new(token, key), |state, it| {
            let drift = if it.position > state.position { it.drift } else { state.drift };
            let position = state.position.max(it.position);
            let (enabled, restored) = (state.enabled && it.enabled, state.restored.max(it.restored));
            Self { enabled, restored, position, drift, ..state }
        })
    }
}

/// A position file as read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PositionFile {
    /// Its state.
    pub state: State,
    /// How often it was written.
    sequence: u64,
    /// The slot that has it, 0 or 1.
    slot: usize,
    /// The other slot is damaged: a write was cut off, or the disk is failing.
    pub damaged: bool,
}

/// A write to come.
pub(super) struct Next {
    /// The offset in the file.
    pub(super) offset: u64,
    /// The bytes.
    pub(super) slot: [u8; SLOT],
    /// The state of the file afterwards.
    pub(super) slots: PositionFile,
}

/// Why a position file cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSlots {
    /// Not of the length that every position file has.
    #[error("has {0} bytes instead of {FILE}")]
    Length(usize),
    /// Neither slot is whole.
    #[error("both slots are damaged")]
    BothDamaged,
    /// The slots are whole and cannot both be true.
    #[error("the two slots contradict each other")]
    Contradiction,
    /// Made by a later pam_yubiotp.
    #[error("was written by a later version of pam_yubiotp (format {0})")]
    LaterVersion(u32),
    /// It belongs to another token.
    #[error("belongs to token {0}")]
    OtherToken(TokenId),
}

/// A whole new position file.
#[must_use]
pub(super) fn new_file(state: &State) -> Vec<u8> {
    let mut file = Vec::with_capacity(FILE);
    for slot in 0..2_usize {
        file.extend_from_slice(&encode(state, FIRST - slot as u64, slot));
        file.resize((slot + 1) * BLOCK - 1, b' ');
        file.push(b'\n');
    }
    file
}

impl PositionFile {
    /// Reads a whole position file of `token`.
    ///
    /// # Errors
    /// It cannot be trusted to say how far the token has come.
    pub fn read(file: &[u8], token: &TokenId) -> Result<Self, BadSlots> {
        if file.len() != FILE {
            return Err(BadSlots::Length(file.len()));
        }
        let slots = [0, 1]
            .map(|slot| file.get(slot * BLOCK..).and_then(|block| block.get(..SLOT)).unwrap_or_default());
        for slot in slots {
            if let Some(version) = version(slot).filter(|version| *version > last_version(token)) {
                return Err(BadSlots::LaterVersion(version));
            }
        }
        let [first, second] = [decode(slots[0], 0), decode(slots[1], 1)];
        let (newest, older) = match (first, second) {
            (None, None) => return Err(BadSlots::BothDamaged),
            (Some(whole), None) | (None, Some(whole)) => (whole, None),
            (Some(a), Some(b)) if a.sequence > b.sequence => (a, Some(b)),
            (Some(a), Some(b)) if a.sequence < b.sequence => (b, Some(a)),
            (Some(_), Some(_)) => return Err(BadSlots::Contradiction),
        };
        if newest.state.token != *token {
            return Err(BadSlots::OtherToken(newest.state.token));
        }
        if let Some(older) = older {
            let same = older.state.token == newest.state.token && older.state.key == newest.state.key;
            if !same || older.state.position > newest.state.position {
                return Err(BadSlots::Contradiction);
            }
        }
        Ok(Self { damaged: older.is_none(), ..newest })
    }

    /// Nothing was written since the file was made.
    #[must_use]
    pub(super) const fn are_new(&self) -> bool {
        self.sequence <= FIRST
    }

    /// The bytes to write, and where, so that the file has `state` next. The slot that is valid now is not touched.
    #[must_use]
    pub(super) fn next(&self, state: &State) -> Next {
        let (slot, sequence) = (1 - self.slot, self.sequence.saturating_add(1));
        Next {
            offset: (slot * BLOCK) as u64,
            slot: encode(state, sequence, slot),
            slots: Self { state: *state, sequence, slot, damaged: false },
        }
    }
}

/// The version of a slot: the first for YubiKeys, but for those that are restored.
const fn version_of(state: &State) -> u32 {
    match state.token {
        TokenId::YubiKey(_) if state.restored.is_some() => RESTORED,
        TokenId::YubiKey(_) => 1,
        TokenId::Oath(_) | TokenId::RecoverySet(_) | TokenId::RecoveryCode(..) => 2,
    }
}

/// The version of the slot of a YubiKey that is restored. Earlier programs fail on it.
const RESTORED: u32 = 3;

/// The last version that this program knows for a token.
const fn last_version(token: &TokenId) -> u32 {
    match token {
        TokenId::YubiKey(_) => RESTORED,
        TokenId::Oath(_) | TokenId::RecoverySet(_) | TokenId::RecoveryCode(..) => 2,
    }
}

fn version(slot: &[u8]) -> Option<u32> {
    let text = str::from_utf8(slot).ok()?.strip_prefix("# pam_yubiotp position, version ")?;
    text.split_once([',', '.'])?.0.parse().ok()
}

/// A position as the format says it in brackets.
fn counters(position: Position) -> String {
    format!("usage counter {}, session use {}", position.usage_counter(), position.session_use())
}

fn encode(state: &State, sequence: u64, slot: usize) -> [u8; SLOT] {
    let mut text = String::with_capacity(SLOT);
    let position =
        state.position.map_or_else(|| "none".to_owned(), |position| position.to_stored().to_string());
    let means = match (state.token, state.position) {
        (_, None) => "not used yet".to_owned(),
        (TokenId::YubiKey(_), Some(position)) => counters(position),
        (TokenId::Oath(_), Some(_)) => "the next step".to_owned(),
        (TokenId::RecoverySet(_) | TokenId::RecoveryCode(..), Some(_)) => "used".to_owned(),
    };
    let version = version_of(state);
    let drift = if version == 2 { format!("drift: {}\n", state.drift) } else { String::new() };
    let restored = state.restored.filter(|_| version == RESTORED);
    let tries = restored.map_or_else(String::new, |tries| format!("tries: {tries}\n"));
    // Writing to a String does not fail.
    let _ = write!(
        text,
        "# pam_yubiotp position, version {version}, slot {} of 2. Belongs to this host alone: do not copy, do not edit.\n\
         token: {}\nkey: {}\nsequence: {sequence}\nstate: {}\n{tries}position: {position} ({means})\n{drift}",
        slot + 1,
        state.token,
        HEXLOWER.encode(&state.key.0),
        match (state.enabled, restored) {
            (true, None) => "enabled",
            (false, None) => "disabled",
            (true, Some(_)) => "restored",
            (false, Some(_)) => "disabled, restored",
        },
    );
    let sum = HEXLOWER.encode(&Sha256::digest(text.as_bytes()));
    let _ = writeln!(text, "sum: {sum}");
    let mut bytes = [b' '; SLOT];
    for (to, from) in bytes.iter_mut().zip(text.bytes()) {
        *to = from;
    }
    if let Some(last) = bytes.last_mut() {
        *last = b'\n';
    }
    bytes
}

/// The state in a slot; `None` if one byte of it is not as it was written.
fn decode(bytes: &[u8], slot: usize) -> Option<PositionFile> {
    let text = str::from_utf8(bytes).ok()?;
    let mut lines = text.lines().skip(1);
    let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(": ");
    let token = TokenId::of_file(field("token")?)?;
    let key = HEXLOWER.decode(field("key")?.as_bytes()).ok()?;
    let sequence = field("sequence")?.parse().ok()?;
    let (enabled, is_restored) = match field("state")? {
        "restored" => (true, true),
        "disabled, restored" => (false, true),
        state => (state == "enabled", false),
    };
    let restored = if is_restored { Some(field("tries")?.parse().ok()?) } else { None };
    let position = match field("position")?.split_once(' ')?.0 {
        "none" => None,
        number => Some(Position::from_stored(number.parse().ok()?)),
    };
    let drift = match token {
        TokenId::YubiKey(_) => 0,
        _ => field("drift")?.parse().ok()?,
    };
    let state = State { token, key: Fingerprint(key.try_into().ok()?), enabled, restored, position, drift };
    // There is one way to write a slot, checksum included: anything else is damage.
    (encode(&state, sequence, slot) == bytes).then_some(PositionFile {
        state,
        sequence,
        slot,
        damaged: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use yubiotp::{PublicId, Serial, SetId};

    fn state(position: Option<u64>) -> State {
        State {
            drift: 0,
            token: yubikey(&[0xff; 16]),
            key: Fingerprint([0xab; 8]),
            enabled: true,
            restored: None,
            position: position.map(Position::from_stored),
        }
    }

    fn yubikey(id: &[u8]) -> TokenId {
        PublicId::from_bytes(id).unwrap().into()
    }

    fn written(file: &mut [u8], state: &State) {
        let next = PositionFile::read(file, &state.token).unwrap().next(state);
        file[next.offset as usize..][..SLOT].copy_from_slice(&next.slot);
        assert_eq!(PositionFile::read(file, &state.token).unwrap(), next.slots);
    }

    #[test]
    fn the_longest_text_fits() {
        let oath = TokenId::Oath(Serial::new(&"x".repeat(32)).unwrap());
        let code = TokenId::RecoveryCode(SetId::new(&"x".repeat(32)).unwrap(), 9);
        for token in [state(None).token, oath, code] {
            let state = State { token, drift: i32::MIN, ..state(Some(u64::MAX)) };
            let text = String::from_utf8(encode(&state, u64::MAX, 1).to_vec()).unwrap();
            assert!(text.trim_end().len() < SLOT, "{}", text.trim_end().len());
            assert!(text.contains("sum: "));
        }
        let restored = State { enabled: false, restored: Some(u8::MAX), ..state(Some(u64::MAX)) };
        let text = String::from_utf8(encode(&restored, u64::MAX, 1).to_vec()).unwrap();
        assert!(text.trim_end().len() < SLOT && text.contains("sum: "), "{text}");
    }

    #[test]
    fn the_file_as_documented() {
        let token = TokenId::of_file("vvccccccccbd").unwrap();
        let file = new_file(&State { token, ..state(Some(0x1203)) });
        let text = String::from_utf8(file).unwrap();
        let slot =
            text.trim_end().lines().take(7).map(|line| line.trim_end().to_owned() + "\n").collect::<String>();
        assert_eq!(
            slot,
            "# pam_yubiotp position, version 1, slot 1 of 2. Belongs to this host alone: do not copy, do not edit.\n\
             token: vvccccccccbd\nkey: abababababababab\nsequence: 1\nstate: enabled\n\
             position: 4611 (usage counter 18, session use 3)\n\
             sum: 8153fb7973ba63c5967c2963898ee7f0386fb6113512697712862a9b102ca1a3\n"
        );
    }

    #[test]
    fn what_cannot_be_trusted_is_named() {
        let token = state(None).token;
        let other = yubikey(&[1]);
        let file = new_file(&state(Some(5)));
        assert_eq!(PositionFile::read(&[], &token), Err(BadSlots::Length(0)));
        assert_eq!(PositionFile::read(&vec![0; FILE], &token), Err(BadSlots::BothDamaged));
        assert_eq!(PositionFile::read(&file, &other), Err(BadSlots::OtherToken(token)));
        let mut twice = file.clone();
        twice[BLOCK..][..SLOT].copy_from_slice(&encode(&state(Some(5)), 1, 1));
        assert_eq!(PositionFile::read(&twice, &token), Err(BadSlots::Contradiction));
        let mut backwards = file.clone();
        backwards[..SLOT].copy_from_slice(&encode(&state(Some(4)), 7, 0));
        assert_eq!(PositionFile::read(&backwards, &token), Err(BadSlots::Contradiction));
        let mut later = file;
        let at = later.windows(9).position(|text| text == b"version 1").unwrap();
        for (version, why) in [(b'2', Err(BadSlots::BothDamaged)), (b'4', Err(BadSlots::LaterVersion(4)))] {
            later[at + 8] = version;
            later[BLOCK + at + 8] = version;
            assert_eq!(PositionFile::read(&later, &token), why);
        }
    }

    /// As `docs/store.md` has it. What a program of version 1 says of it.
    #[test]
    fn a_restored_token() {
        let token = TokenId::of_file("vvccccccccbd").unwrap();
        for (enabled, word) in [(true, "restored"), (false, "disabled, restored")] {
            let state = State { token, enabled, restored: Some(2), ..state(Some(0x1203)) };
            let file = new_file(&state);
            assert_eq!(PositionFile::read(&file, &token).unwrap().state, state);
            let text = String::from_utf8(file.clone()).unwrap();
            assert!(
                text.starts_with("# pam_yubiotp position, version 3, slot 1 of 2.")
                    && text.contains(&format!("\nstate: {word}\ntries: 2\nposition: 4611 (")),
                "{text}"
            );
            // It is no state of other tokens.
            let oath = TokenId::Oath(Serial::new("1").unwrap());
            let of_oath = State { token: oath, ..state };
            assert_eq!(PositionFile::read(&new_file(&of_oath), &oath).unwrap().state.restored, None);
            // Healed: the next two writes leave nothing that an earlier version cannot read.
            let mut healed = file;
            let after = State { restored: None, ..state };
            written(&mut healed, &after);
            assert!(String::from_utf8_lossy(&healed).contains("version 3"));
            written(&mut healed, &after);
            assert!(!String::from_utf8_lossy(&healed).contains("version 3"));
        }
    }

    proptest! {
        #[test]
        fn round_trip(id in proptest::collection::vec(any::<u8>(), 0..=16), is_oath: bool, key: [u8; 8], enabled: bool, restored: Option<u8>, position: Option<u64>, drift: i32) {
            let (enabled, position) = (enabled, position.map(Position::from_stored));
            let oath = TokenId::Oath(Serial::new("1-2_c").unwrap());
            let state = if is_oath {
                State { token: oath, key: Fingerprint(key), enabled, restored: None, position, drift }
            } else {
                State { token: yubikey(&id), key: Fingerprint(key), enabled, restored, position, drift: 0 }
            };
            let file = new_file(&state);
            prop_assert_eq!(file.len(), FILE);
            prop_assert!(str::from_utf8(&file).is_ok());
            prop_assert_eq!(PositionFile::read(&file, &state.token).unwrap().state, state);
        }

        /// However a write is cut off, the file says what it said before, or what was being written.
        #[test]
        fn a_torn_write_leaves_the_old_or_the_new(
            steps in proptest::collection::vec(0u64..50, 1..8), sector in 0usize..=SLOT, reversed: bool,
        ) {
            let mut file = new_file(&state(None));
            let mut highest = 0;
            let mut before = state(None);
            for step in steps {
                highest += step;
                let after = state(Some(highest));
                let Next { offset, slot, .. } = PositionFile::read(&file, &after.token).unwrap().next(&after);
                let mut torn = file.clone();
                let range = if reversed { sector..SLOT } else { 0..sector };
                torn[offset as usize..][range.clone()].copy_from_slice(&slot[range]);
                let read = PositionFile::read(&torn, &after.token).unwrap().state;
                prop_assert!(read == before || read == after);
                written(&mut file, &after);
                prop_assert_eq!(PositionFile::read(&file, &after.token).unwrap().state, after);
                before = after;
            }
        }

        /// One changed byte in the newest slot is noticed: the older slot speaks.
        #[test]
        fn damage_is_noticed(at in 0usize..SLOT, bit in 0u8..7) {
            let mut file = new_file(&state(None));
            written(&mut file, &state(Some(9)));
            file[BLOCK + at] ^= 1 << bit;
            match PositionFile::read(&file, &state(None).token) {
                Ok(read) => prop_assert!(read.damaged && read.state.position.is_none()),
                Err(why) => prop_assert!(matches!(why, BadSlots::LaterVersion(_))),
            }
        }
    }
}
