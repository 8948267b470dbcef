//! A YubiKey in software, written from the published format of the one-time password and not from our library, so
//! that the two can disagree.

use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt as _, KeyInit as _};
use std::time::Instant;

const MODHEX: &[u8; 16] = b"cbdefghijklnrtuv";
/// The characters of a US-Dvorak keyboard for the keys of `MODHEX`.
const DVORAK: &[u8; 16] = b"jxe.uidchtnbpygk";
/// Usage counters have 15 bits and stay at the last one.
const LAST_COUNTER: u16 = 0x7fff;
/// In the field of the usage counter: the key was touched with caps lock on.
const CAPS: u16 = 0x8000;

/// One programmed slot of a YubiKey.
#[derive(Clone, Debug)]
pub struct SoftYubiKey {
    public_id: Vec<u8>,
    private_id: [u8; 6],
    aes_key: [u8; 16],
    counter: u16,
    session_use: u8,
    clock: u32,
    /// When the clock began to run as fast as a real one; `None`: it advances only at each touch.
    powered: Option<Instant>,
    noise: u32,
}

impl SoftYubiKey {
    /// A key as it leaves programming: usage counter 1, session counter 0, never touched.
    #[must_use]
    pub fn new(public_id: &[u8], private_id: [u8; 6], aes_key: [u8; 16]) -> Self {
        assert!(public_id.len() <= 16, "a public id has at most 16 bytes");
        let public_id = public_id.to_vec();
        Self {
            public_id,
            private_id,
            aes_key,
            counter: 1,
            session_use: 0,
            clock: 0x00c0_ffee,
            powered: None,
            noise: 0x2545_f491,
        }
    }

    /// The `n`th of as many keys as a test wants. The same `n` is the same key; two have nothing in common.
    /// Public ids have six bytes and begin with ff (`vv`), as those that a site makes itself.
    #[must_use]
    pub fn numbered(n: u32) -> Self {
        let secret = |purpose: u8| {
            let mut block = [purpose; 16];
            block[..4].copy_from_slice(&n.to_be_bytes());
            encrypt(b"numbered test ke", block)
        };
        let mut public_id = vec![0xff, 0x00];
        public_id.extend(n.to_be_bytes());
        let mut private_id = [0; 6];
        private_id.copy_from_slice(&secret(1)[..6]);
        Self::new(&public_id, private_id, secret(2))
    }

    /// The same secrets under another public ID.
    #[must_use]
    pub fn under(&self, public_id: &[u8]) -> Self {
        Self { public_id: public_id.to_vec(), ..self.clone() }
    }

    /// The same key, plugged in now, with a clock that runs by itself, at 8 Hz.
    #[must_use]
    pub fn with_real_clock(self) -> Self {
        Self { powered: Some(Instant::now()), ..self }
    }

    /// Touches the button: the one-time password as typed on a US keyboard, without a newline.
    pub fn press(&mut self) -> String {
        self.press_with(0)
    }

    /// As [`press`](Self::press), on a computer that reads the key as a US-Dvorak keyboard.
    pub fn press_dvorak(&mut self) -> String {
        let typed = self.press();
        let position = |c: char| MODHEX.iter().position(|&m| char::from(m) == c).unwrap();
        typed.chars().map(|c| char::from(DVORAK[position(c)])).collect()
    }

    /// As [`press`](Self::press), with caps lock on: capitals, and the key reports it in bit 15 of the counter.
    pub fn press_caps(&mut self) -> String {
        self.press_with(CAPS).to_uppercase()
    }

    /// So much time passes, in milliseconds: of a key that was plugged in [`with_real_clock`](Self::with_real_clock).
    pub fn wait(&mut self, milliseconds: u64) {
        let ticks = u32::try_from(milliseconds / 125).unwrap();
        self.clock = self.clock.wrapping_add(ticks) & 0x00ff_ffff;
    }

    /// Unplugs the key and plugs it in again: the usage counter grows, the session counter starts at 0.
    pub fn replug(&mut self) {
        self.counter = self.counter.saturating_add(1).min(LAST_COUNTER);
        self.session_use = 0;
        self.clock = self.noise; // each power-up starts the clock somewhere
        self.powered = self.powered.map(|_| Instant::now());
    }

    /// Sets the usage counter, as if the key had seen that many power-ups. The session counter stays.
    pub fn set_counter(&mut self, counter: u16) {
        assert!(counter <= LAST_COUNTER, "usage counters have 15 bits");
        self.counter = counter;
    }

    /// Usage counter and session counter of the next touch.
    #[must_use]
    pub fn position(&self) -> (u16, u8) {
        (self.counter, self.session_use)
    }

    /// The public ID in modhex: what every one-time password of this key begins with.
    #[must_use]
    pub fn public_id(&self) -> String {
        modhex(&self.public_id)
    }

    /// The private id in hex, 12 digits.
    #[must_use]
    pub fn private_id_hex(&self) -> String {
        hex(&self.private_id)
    }

    /// The AES key in hex, 32 digits.
    #[must_use]
    pub fn aes_key_hex(&self) -> String {
        hex(&self.aes_key)
    }

    /// The line that Yubico's personalization tool logs when it programs this key, format "traditional", no newline.
    #[must_use]
    pub fn traditional_log_line(&self) -> String {
        let (id, private, key) = (self.public_id(), self.private_id_hex(), self.aes_key_hex());
        format!("Yubico OTP,19/02/2016 11:04,1,{id},{private},{key},,,0,0,0,0,0,0,0,0,0,0")
    }

    fn press_with(&mut self, flags: u16) -> String {
        // xorshift: looks random, and is the same in every run
        self.noise ^= self.noise << 13;
        self.noise ^= self.noise >> 17;
        self.noise ^= self.noise << 5;
        let clock = match self.powered {
            Some(since) => self.clock.wrapping_add(u32::try_from(since.elapsed().as_millis() / 125).unwrap()),
            None => {
                self.clock = self.clock.wrapping_add(8 + self.noise % 64) & 0x00ff_ffff; // about 8 ticks a second
                self.clock
            }
        };
        let [low, high, top, _] = clock.to_le_bytes();
        let [random, more_random, ..] = self.noise.to_le_bytes();
        let block = Block {
            private_id: self.private_id,
            counter: self.counter | flags,
            low: u16::from_le_bytes([low, high]),
            high: top,
            session_use: self.session_use,
            random: u16::from_le_bytes([random, more_random]),
        };
        match self.session_use.checked_add(1) {
            Some(next) => self.session_use = next,
            None => self.replug(),
        }
        self.public_id() + &block.seal(&self.aes_key)
    }
}

/// The plain text of the last 32 characters.
struct Block {
    private_id: [u8; 6],
    counter: u16,
    low: u16,
    high: u8,
    session_use: u8,
    random: u16,
}

impl Block {
    fn seal(&self, aes_key: &[u8; 16]) -> String {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&self.private_id);
        bytes[6..8].copy_from_slice(&self.counter.to_le_bytes());
        bytes[8..10].copy_from_slice(&self.low.to_le_bytes());
        bytes[10] = self.high;
        bytes[11] = self.session_use;
        bytes[12..14].copy_from_slice(&self.random.to_le_bytes());
        let check = !crc16(&bytes[..14]); // complemented, so that the whole has the residue f0b8
        bytes[14..].copy_from_slice(&check.to_le_bytes());
        modhex(&encrypt(aes_key, bytes))
    }
}

/// Start ffff, reflected polynomial 8408, no final complement.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xffff, |crc, &byte| {
        (0..8).fold(crc ^ u16::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x8408 } else { crc >> 1 })
    })
}

fn encrypt(key: &[u8; 16], block: [u8; 16]) -> [u8; 16] {
    let mut block = aes::Block::from(block);
    Aes128::new(&aes::cipher::Array::from(*key)).encrypt_block(&mut block);
    block.into()
}

fn digits(bytes: &[u8], alphabet: &[u8; 16]) -> String {
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    nibbles.map(|nibble| char::from(alphabet[usize::from(nibble)])).collect()
}

fn modhex(bytes: &[u8]) -> String {
    digits(bytes, MODHEX)
}

fn hex(bytes: &[u8]) -> String {
    digits(bytes, b"0123456789abcdef")
}

#[cfg(test)]
mod tests;
