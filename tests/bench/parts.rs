//! What a login is made of, part by part: `cargo bench -p tests --bench parts`. For people who change one of them.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark stops where it cannot measure"
)]

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use std::fs;
use tests::place::Place;
use tests::soft_yubikey::SoftYubiKey;
use ykhost::settings::{PartialConfig, Settings};
use ykhost::store::{PositionFile, Store};
use yubiotp::ledger::Ledger as _;
use yubiotp::mapping::{Check, Search};
use yubiotp::protocol::{ClientKey, Nonce, PendingQuery};
use yubiotp::seal::StoreKey;
use yubiotp::verdict::Vault as _;
use yubiotp::{AesKey, Credential, Position, PrivateId, PublicId, modhex, otp};

/// Published: an OTP, its key, and a signed reply that accepts it.
const OTP: &str = "idkfefrdhtrutjduvtcjbfeuvhehdvjjlbchtlenfgku";
const KEY: [u8; 16] =
    [0xc6, 0x8c, 0x9d, 0xf8, 0xcb, 0xfe, 0x7d, 0x2f, 0x99, 0x4c, 0xb9, 0x04, 0x04, 0x6c, 0x72, 0x18];
const CLIENT_KEY: &[u8] = b"EHmo8FMxuhumBlTinC4uYL0Mgwg=";
const LINES: u32 = 10_000;

fn main() {
    divan::main();
}

fn id() -> PublicId {
    PublicId::parse(OTP.as_bytes().get(..12).unwrap()).unwrap()
}

#[divan::bench]
fn modhex_decode() -> Vec<u8> {
    modhex::decode(black_box(OTP.as_bytes())).unwrap()
}

#[divan::bench]
fn otp_readings() -> usize {
    otp::readings(black_box(OTP.as_bytes())).unwrap().filter(|reading| reading.split(&id()).is_some()).count()
}

#[divan::bench]
fn otp_decrypt(bencher: Bencher<'_, '_>) {
    let reading = otp::readings(OTP.as_bytes()).ok().unwrap().next().unwrap();
    let (otp, key) = (reading.split(&id()).unwrap(), AesKey::new(KEY));
    bencher.bench_local(|| black_box(&otp.block).decrypt(&key).is_ok());
}

#[divan::bench]
fn seal_open(bencher: Bencher<'_, '_>) {
    let credential = Credential { private_id: PrivateId::new([6; 6]), aes_key: AesKey::new(KEY) };
    let key = StoreKey::new([1; 32]);
    let sealed = key.seal(&credential, &id(), [9; 24]);
    bencher.bench_local(|| key.open(black_box(&sealed), &id()).is_ok());
}

#[divan::bench]
fn reply_judge(bencher: Bencher<'_, '_>) {
    let (nonce, key) = (Nonce::from_random([0; 16]), ClientKey::parse(CLIENT_KEY).ok().unwrap());
    let mut fields: Vec<(String, String)> = [
        ("t", "2026-11-22T00:30:01Z0284"),
        ("otp", OTP),
        ("nonce", nonce.as_str()),
        ("sl", "0"),
        ("timestamp", "1019200"),
        ("sessioncounter", "1"),
        ("sessionuse", "0"),
        ("status", "OK"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let client_key = data_encoding::BASE64.decode(CLIENT_KEY).unwrap();
    fields.insert(0, ("h".to_owned(), tests::validation::signature(&client_key, &fields)));
    let body: String = fields.iter().flat_map(|(name, value)| [name, "=", value, "\r\n"]).collect();
    let asked = PendingQuery { otp: OTP, nonce: &nonce, position: None, key: Some(&key) };
    assert!(asked.judge(body.as_bytes()).is_ok(), "{body}");
    bencher.bench_local(|| asked.judge(black_box(body.as_bytes())).is_ok());
}

fn mapping() -> String {
    (0..LINES).map(|number| format!("user{number}:{}\n", SoftYubiKey::numbered(number).public_id())).collect()
}

/// A user who is not listed: every line is searched.
#[divan::bench]
fn mapping_search(bencher: Bencher<'_, '_>) {
    let text = mapping();
    bencher.counter(ItemsCount::new(LINES)).bench_local(|| {
        let mut search = Search::new(b"zoe");
        search.lines(black_box(text.as_bytes()));
        search.finish().is_ok()
    });
}

#[divan::bench]
fn mapping_check(bencher: Bencher<'_, '_>) {
    let text = mapping();
    bencher.counter(ItemsCount::new(LINES)).bench_local(|| {
        let mut check = Check::not_found(b"zoe");
        check.lines(black_box(text.as_bytes()));
        check.finish().is_ok()
    });
}

/// A host with one token, on the disk.
struct Host {
    place: Place,
    store: Store,
    token: PublicId,
}

fn host() -> Host {
    let (place, key) = (Place::new(), SoftYubiKey::numbered(1));
    place.enrol("alice", &key);
    let settings = Settings::load(Some(&place.config()), PartialConfig::default()).ok().unwrap();
    let token = PublicId::parse(key.public_id().as_bytes()).unwrap();
    Host { place, store: Store::new(&settings), token }
}

#[divan::bench]
fn settings_load(bencher: Bencher<'_, '_>) {
    let host = host();
    bencher.bench_local(|| Settings::load(Some(&host.place.config()), PartialConfig::default()).is_ok());
}

#[divan::bench]
fn store_credential(bencher: Bencher<'_, '_>) {
    let host = host();
    bencher.bench_local(|| host.store.credential(black_box(&host.token)).is_ok());
}

#[divan::bench]
fn slots_read(bencher: Bencher<'_, '_>) {
    let host = host();
    let text = fs::read(host.place.path("positions").join(host.token.to_string())).unwrap();
    bencher.bench_local(|| PositionFile::read(black_box(&text), &host.token.into()).is_ok());
}

/// With its durable write.
#[divan::bench]
fn store_advance(bencher: Bencher<'_, '_>) {
    let host = host();
    let key = host.store.credential(&host.token).ok().unwrap().fingerprint(&host.token);
    let mut position = 0;
    bencher.bench_local(|| {
        position += 1;
        host.store.advance(&host.token.into(), key, Position::from_stored(position)).is_ok()
    });
}
