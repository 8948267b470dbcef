//! What YK-VAL says: its checks in its order, its replies, its signature.

use super::Request;
use crate::soft_yubikey::SoftYubiKey;
use aes::Aes128;
use aes::cipher::{BlockCipherDecrypt as _, KeyInit as _};
use data_encoding::{BASE64, HEXLOWER};
use hmac::{Hmac, Mac as _};
use sha1::Sha1;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Fields of a reply, in order.
pub type Fields = Vec<(String, String)>;

/// The signature over all of these: HMAC-SHA1 of `name=value`, sorted, joined by `&`, in base64.
#[must_use]
pub fn signature(key: &[u8], fields: &[(String, String)]) -> String {
    BASE64.encode(&hmac(key, fields))
}

/// The same, not encoded.
#[must_use]
pub fn hmac(key: &[u8], fields: &[(String, String)]) -> Vec<u8> {
    let mut lines: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    lines.sort_unstable();
    let mut mac = Hmac::<Sha1>::new_from_slice(key).unwrap();
    mac.update(lines.join("&").as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// The data of a server.
#[derive(Default)]
pub(super) struct Ledger {
    clients: BTreeMap<u64, Vec<u8>>,
    tokens: BTreeMap<String, Token>,
}

struct Token {
    private_id: Vec<u8>,
    aes_key: [u8; 16],
    /// Usage counter, session counter and nonce of the last accepted OTP.
    last: Option<((u16, u8), String)>,
}

/// What one OTP says when it is decrypted.
struct Press {
    position: (u16, u8),
    timestamp: u32,
}

impl Ledger {
    pub(super) fn client(&mut self, id: u64, key: &str) {
        self.clients.insert(id, BASE64.decode(key.as_bytes()).unwrap());
    }

    pub(super) fn token(&mut self, key: &SoftYubiKey) {
        let private_id = HEXLOWER.decode(key.private_id_hex().as_bytes()).unwrap();
        let aes_key = HEXLOWER.decode(key.aes_key_hex().as_bytes()).unwrap().try_into().unwrap();
        self.tokens.insert(key.public_id(), Token { private_id, aes_key, last: None });
    }

    /// The key to sign with and the reply without its signature; counts where it says OK.
    pub(super) fn answer(&mut self, request: &Request) -> (Vec<u8>, Fields) {
        let t = ("t".to_owned(), time(SystemTime::now()));
        let unknown = |status: &str| (Vec::new(), vec![t.clone(), ("status".to_owned(), status.to_owned())]);
        let (id, otp, nonce) = (request.get("id"), request.get("otp"), request.get("nonce"));
        let Some(nonce) = nonce else { return unknown("MISSING_PARAMETER") };
        let Some(otp) = otp.filter(|otp| is_otp(otp)) else { return unknown("BAD_OTP") };
        let Some(id) = id.and_then(|id| id.parse::<u64>().ok()) else { return unknown("MISSING_PARAMETER") };
        if !(16..=40).contains(&nonce.len()) || !nonce.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return unknown("MISSING_PARAMETER");
        }
        let Some(key) = self.clients.get(&id).cloned() else { return unknown("NO_SUCH_CLIENT") };
        let short = |status: &str| (key.clone(), vec![t.clone(), ("status".to_owned(), status.to_owned())]);
        let signed: Vec<_> = request.parameters.iter().filter(|(name, _)| name != "h").cloned().collect();
        if request.get("h").is_some_and(|h| h != signature(&key, &signed)) {
            return short("BAD_SIGNATURE");
        }
        let token = self.tokens.get_mut(&otp[..otp.len() - 32]);
        let Some((token, press)) = token.and_then(|token| token.decrypt(otp).map(|press| (token, press)))
        else {
            return short("BAD_OTP");
        };
        let mut fields = vec![t.clone()];
        let mut say = |name: &str, value: &dyn ToString| fields.push((name.to_owned(), value.to_string()));
        say("otp", &otp);
        say("nonce", &nonce);
        let status = match &token.last {
            Some((last, with)) if *last == press.position && with == nonce => "REPLAYED_REQUEST",
            Some((last, _)) if press.position <= *last => "REPLAYED_OTP",
            _ => "OK",
        };
        if status == "OK" {
            token.last = Some((press.position, nonce.to_owned()));
            say("sl", &0);
            if request.get("timestamp") == Some("1") {
                say("timestamp", &press.timestamp);
                say("sessioncounter", &press.position.0);
                say("sessionuse", &press.position.1);
            }
        }
        say("status", &status);
        (key, fields)
    }
}

impl Token {
    fn decrypt(&self, otp: &str) -> Option<Press> {
        let mut block = aes::Block::from(unmodhex(&otp[otp.len() - 32..]));
        Aes128::new(&aes::cipher::Array::from(self.aes_key)).decrypt_block(&mut block);
        let plain: [u8; 16] = block.into();
        let counter = u16::from_le_bytes([plain[6], plain[7]]) & 0x7fff;
        let timestamp = u32::from_le_bytes([plain[8], plain[9], plain[10], 0]);
        (plain[..6] == self.private_id).then_some(Press { position: (counter, plain[11]), timestamp })
    }
}

const MODHEX: &str = "cbdefghijklnrtuv";

fn is_otp(otp: &str) -> bool {
    (32..=48).contains(&otp.len()) && otp.chars().all(|c| MODHEX.contains(c))
}

fn unmodhex(text: &str) -> [u8; 16] {
    let hex: String =
        text.chars().map(|c| char::from(b"0123456789abcdef"[MODHEX.find(c).unwrap()])).collect();
    HEXLOWER.decode(hex.as_bytes()).unwrap().try_into().unwrap()
}

/// `2026-11-22T00:30:01Z0284`, as YK-VAL writes it.
pub(super) fn time(now: SystemTime) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap();
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let leap = |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let (mut year, mut day) = (1970, days);
    while day >= 365 + u64::from(leap(year)) {
        day -= 365 + u64::from(leap(year));
        year += 1;
    }
    let mut month = 0;
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    while day >= lengths[month] {
        day -= lengths[month];
        month += 1;
    }
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let milliseconds = since.subsec_millis();
    format!("{year}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z0{milliseconds:03}", month + 1, day + 1)
}

/// The time ten years from now.
pub(super) fn far_off() -> String {
    time(SystemTime::now() + Duration::from_secs(3653 * 86_400))
}
