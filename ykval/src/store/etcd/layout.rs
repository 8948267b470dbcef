//! Keys and values in etcd. All are text, for `etcdctl get --prefix`, and there is one way to write each value: anything
//! else is damaged, and never taken for zero or for nothing.
//!
//! | key | value |
//! |---|---|
//! | `PREFIX/meta` | `1\|store key\|epoch\|cleared\|marks`, and after a move `\|` and lines ([`Meta`]) |
//! | `PREFIX/change` | `1\|number`: each change by an administrator compares and raises it |
//! | `PREFIX/t/HEX` | `1\|e or d\|fingerprint\|sealed\|epoch\|restored` ([`Record`]) |
//! | `PREFIX/p/HEX/FINGERPRINT` | `1\|position\|time\|floor\|nonce` ([`Reached`]) |
//! | `PREFIX/l/HEX` | `1\|position\|timestamp\|at\|pause\|failed`: the last touch of a restored token |
//! | `PREFIX/c/ID` | `1\|` and JSON: a client |
//! | `PREFIX/w/NUMBER` | `1\|revision`: what a server has seen ([`super::witness`]) |
//!
//! HEX is the public ID: in the order of its bytes, which modhex is not. A position has 20 digits, so that etcd's comparison
//! of values, which is bytewise, compares positions.

use super::restored::{Epochs, OwnMark};
use crate::store::moving::MARKED;
use crate::store::{Client, LastTouch, Moves};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use yubiotp::freshness::Touch;
use yubiotp::key::Fingerprint;
use yubiotp::protocol::ClientId;
use yubiotp::seal::{Sealed, StoreKeyId};
use yubiotp::{Position, PublicId};

/// The number of the schema, which `meta` begins with.
pub(super) const KNOWN: i64 = 1;

/// Keys from the first, up to and without the second.
pub(super) type Span = (Vec<u8>, Vec<u8>);

/// The names of the keys of one store.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
}

/// A key that nothing of ours has.
pub(super) struct NotOurs;

impl Keys {
    /// `prefix` ends with a slash.
    pub(super) fn under(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    fn named(&self, rest: &str) -> Vec<u8> {
        format!("{}{rest}", self.prefix).into_bytes()
    }

    pub(super) fn meta(&self) -> Vec<u8> {
        self.named("meta")
    }

    pub(super) fn change(&self) -> Vec<u8> {
        self.named("change")
    }

    pub(super) fn token(&self, id: &PublicId) -> Vec<u8> {
        self.named(&format!("t/{}", hex(id)))
    }

    pub(super) fn position(&self, id: &PublicId, key: Fingerprint) -> Vec<u8> {
        self.named(&format!("p/{}/{}", hex(id), HEXLOWER.encode(&key.0)))
    }

    pub(super) fn touch(&self, id: &PublicId) -> Vec<u8> {
        self.named(&format!("l/{}", hex(id)))
    }

    /// All digits that an ID may have, so that the order of the keys is that of the IDs.
    pub(super) fn client(&self, id: ClientId) -> Vec<u8> {
        self.named(&format!("c/{:010}", id.number()))
    }

    /// Of the server with this number.
    pub(super) fn witness(&self, id: u64) -> Vec<u8> {
        self.named(&format!("w/{id:016x}"))
    }

    /// The positions of a token with all its keys.
    pub(super) fn positions(&self, id: &PublicId) -> Span {
        let of = hex(id);
        // The byte after a slash is a zero.
        (self.named(&format!("p/{of}/")), self.named(&format!("p/{of}0")))
    }

    /// The positions of all tokens from one to another.
    pub(super) fn positions_between(&self, first: &PublicId, last: &PublicId) -> Span {
        (self.positions(first).0, self.positions(last).1)
    }

    pub(super) fn tokens(&self) -> Span {
        (self.named("t/"), self.named("t0"))
    }

    pub(super) fn tokens_after(&self, id: &PublicId) -> Span {
        (after(self.token(id)), self.named("t0"))
    }

    pub(super) fn tokens_between(&self, first: &PublicId, last: &PublicId) -> Span {
        (self.token(first), after(self.token(last)))
    }

    pub(super) fn clients(&self) -> Span {
        (self.named("c/"), self.named("c0"))
    }

    pub(super) fn touches(&self) -> Span {
        (self.named("l/"), self.named("l0"))
    }

    /// Everything of this store.
    #[cfg(test)]
    pub(super) fn all(&self) -> Span {
        let mut end = self.prefix.clone().into_bytes();
        if let Some(last) = end.last_mut() {
            *last = last.saturating_add(1);
        }
        (self.prefix.clone().into_bytes(), end)
    }

    /// The token that a key names.
    pub(super) fn token_of(&self, key: &[u8]) -> Result<PublicId, NotOurs> {
        public_id(self.rest(key, "t/")?)
    }

    /// The token that the key of a last touch names.
    pub(super) fn touch_of(&self, key: &[u8]) -> Result<PublicId, NotOurs> {
        public_id(self.rest(key, "l/")?)
    }

    /// The token and the fingerprint that the key of a position names.
    pub(super) fn position_of(&self, key: &[u8]) -> Result<(PublicId, Fingerprint), NotOurs> {
        let (id, fingerprint) = self.rest(key, "p/")?.split_once('/').ok_or(NotOurs)?;
        Ok((public_id(id)?, unhex(fingerprint).map(Fingerprint).ok_or(NotOurs)?))
    }

    fn rest<'a>(&self, key: &'a [u8], kind: &str) -> Result<&'a str, NotOurs> {
        let key = str::from_utf8(key).map_err(|_| NotOurs)?;
        key.strip_prefix(&self.prefix).and_then(|rest| rest.strip_prefix(kind)).ok_or(NotOurs)
    }
}

/// The first key after this one.
pub(super) fn after(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

fn hex(id: &PublicId) -> String {
    HEXLOWER.encode(id.as_bytes())
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
}

fn public_id(hex: &str) -> Result<PublicId, NotOurs> {
    let bytes = HEXLOWER.decode(hex.as_bytes()).map_err(|_| NotOurs)?;
    PublicId::from_bytes(&bytes).ok_or(NotOurs)
}

/// A value as it is stored. `read` fails on anything that `text` does not write.
pub(super) trait Value: Sized {
    fn text(&self) -> String;

    fn parse(text: &str) -> Option<Self>;

    fn read(bytes: &[u8]) -> Option<Self> {
        let text = str::from_utf8(bytes).ok()?;
        Self::parse(text).filter(|value| value.text() == text)
    }
}

/// The parts of a value of this schema; the last one may hold a `|`.
fn parts<const N: usize>(text: &str) -> Option<[&str; N]> {
    let mut parts = text.strip_prefix("1|")?.splitn(N, '|');
    let mut read = [""; N];
    for part in &mut read {
        *part = parts.next()?;
    }
    Some(read)
}

/// A number, or nothing. The outer `None`: neither.
fn optional<T: std::str::FromStr>(text: &str) -> Option<Option<T>> {
    if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) }
}

fn shown<T: ToString>(value: Option<T>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// What a store is tied to, and when tokens became restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meta {
    /// The store key that everything new is sealed under.
    pub(super) store_key: StoreKeyId,
    pub(super) epochs: Epochs,
    /// The moves to and from other stores. If they fence this one, the number of the schema says so, too.
    pub(super) moves: Moves,
}

/// The number of the schema of a `meta`, if it has one: a later version may write it in another way.
pub(super) fn schema(meta: &[u8]) -> Option<i64> {
    str::from_utf8(meta).ok()?.split_once('|')?.0.parse().ok()
}

impl Value for Meta {
    fn text(&self) -> String {
        let Self { store_key, epochs, moves } = self;
        let marks: Vec<_> = epochs.marks.iter().map(|(epoch, since)| format!("{epoch}:{since}")).collect();
        let (now, cleared, marks) = (epochs.now, epochs.cleared, marks.join(","));
        let schema = if moves.is_fenced() { KNOWN.saturating_add(MARKED) } else { KNOWN };
        let moves = Some(moves.to_text()).filter(|text| !text.is_empty());
        let moves = moves.map(|text| format!("|{text}")).unwrap_or_default();
        format!("{schema}|{}|{now}|{cleared}|{marks}{moves}", HEXLOWER.encode(&store_key.0))
    }

    fn parse(text: &str) -> Option<Self> {
        // That the number fits is found out by writing it again.
        let (_, rest) = text.split_once('|')?;
        let mut parts = rest.splitn(4, '|');
        let (store_key, now, cleared) = (parts.next()?, parts.next()?, parts.next()?);
        let marks = parts.next()?;
        let (marks, moves) = marks.split_once('|').unwrap_or((marks, ""));
        let moves = Moves::parse(moves)?;
        let mark = |mark: &str| {
            let (epoch, since) = mark.split_once(':')?;
            Some((epoch.parse().ok()?, since.parse().ok()?))
        };
        let marks = marks.split(',').filter(|mark| !mark.is_empty()).map(mark).collect::<Option<_>>()?;
        let epochs = Epochs { now: now.parse().ok()?, cleared: cleared.parse().ok()?, marks };
        Some(Self { store_key: StoreKeyId(unhex(store_key)?), epochs, moves })
    }
}

/// A token, without positions.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// `None`: the key is with a key storage module, or was removed.
    pub(super) key: Option<(Fingerprint, Sealed)>,
    pub(super) enabled: bool,
    pub(super) restored: OwnMark,
}

impl Record {
    /// Of its key, or [`Fingerprint::ELSEWHERE`].
    pub(super) fn fingerprint(&self) -> Fingerprint {
        self.key.as_ref().map_or(Fingerprint::ELSEWHERE, |(fingerprint, _)| *fingerprint)
    }
}

impl Value for Record {
    fn text(&self) -> String {
        let sealed = self.key.as_ref().map(|(_, sealed)| HEXLOWER.encode(sealed.as_bytes()));
        let (fingerprint, sealed) = (HEXLOWER.encode(&self.fingerprint().0), sealed.unwrap_or_default());
        let OwnMark { epoch, since } = self.restored;
        let enabled = if self.enabled { "e" } else { "d" };
        format!("1|{enabled}|{fingerprint}|{sealed}|{epoch}|{}", shown(since))
    }

    fn parse(text: &str) -> Option<Self> {
        let [enabled, fingerprint, sealed, epoch, since] = parts(text)?;
        let enabled = match enabled {
            "e" => true,
            "d" => false,
            _ => return None,
        };
        let fingerprint = Fingerprint(unhex(fingerprint)?);
        let key = if sealed.is_empty() {
            None
        } else {
            Some((fingerprint, Sealed::from_bytes(&HEXLOWER.decode(sealed.as_bytes()).ok()?)?))
        };
        // A sealed key has the fingerprint of a key.
        if key.is_some() == (fingerprint == Fingerprint::ELSEWHERE) {
            return None;
        }
        let restored = OwnMark { epoch: epoch.parse().ok()?, since: optional(since)? };
        Some(Self { key, enabled, restored })
    }
}

/// How far a token has come with one key, or without a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reached {
    pub(super) position: Position,
    /// When that was, in seconds since 1970.
    pub(super) at: Option<i64>,
    /// Of the position without a key: what counts for the keys that follow.
    pub(super) floor: Floor,
    /// Of the request that moved it there; empty if it had none.
    pub(super) nonce: String,
}

/// Which part of a position without a key counts for the keys that follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Floor {
    /// All of it: OTPs were accepted without a key.
    Itself,
    /// Nothing, or less: it continues from the positions of removed keys.
    Lower(Option<Position>),
}

/// 20 digits: as many as the largest number has.
fn digits(position: Position) -> String {
    format!("{:020}", position.to_stored())
}

fn position(text: &str) -> Option<Position> {
    (text.len() == 20).then(|| text.parse().ok().map(Position::from_stored))?
}

impl Reached {
    /// A position that counts as it is.
    pub(super) const fn plain(position: Position, nonce: String, at: Option<i64>) -> Self {
        Self { position, at, floor: Floor::Itself, nonce }
    }

    /// What each value of a lower position is less than, and no other is.
    pub(super) fn bound(position: Position) -> Vec<u8> {
        format!("1|{}", digits(position)).into_bytes()
    }

    /// What each value of a position is greater than.
    pub(super) fn below_all() -> Vec<u8> {
        b"1|00000000000000000000|".to_vec()
    }

    /// Of a position without a key: what counts for the keys that follow.
    pub(super) const fn counts(&self) -> Option<Position> {
        match self.floor {
            Floor::Itself => Some(self.position),
            Floor::Lower(floor) => floor,
        }
    }
}

impl Value for Reached {
    fn text(&self) -> String {
        let floor = match self.floor {
            Floor::Itself => String::new(),
            Floor::Lower(None) => "-".to_owned(),
            Floor::Lower(Some(floor)) => digits(floor),
        };
        format!("1|{}|{}|{floor}|{}", digits(self.position), shown(self.at), self.nonce)
    }

    fn parse(text: &str) -> Option<Self> {
        let [reached, at, floor, nonce] = parts(text)?;
        let floor = match floor {
            "" => Floor::Itself,
            "-" => Floor::Lower(None),
            floor => Floor::Lower(Some(position(floor)?)),
        };
        Some(Self { position: position(reached)?, at: optional(at)?, floor, nonce: nonce.to_owned() })
    }
}

impl Value for LastTouch {
    fn text(&self) -> String {
        let Self { touch: Touch { position, timestamp }, at, pause, failed } = self;
        format!("1|{}|{timestamp}|{at}|{pause}|{failed}", digits(*position))
    }

    fn parse(text: &str) -> Option<Self> {
        let [reached, timestamp, at, pause, failed] = parts(text)?;
        let touch = Touch { position: position(reached)?, timestamp: timestamp.parse().ok()? };
        let (at, pause, failed) = (at.parse().ok()?, pause.parse().ok()?, failed.parse().ok()?);
        Some(Self { touch, at, pause, failed })
    }
}

/// The counter of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChangeNumber(pub(super) u64);

impl Value for ChangeNumber {
    fn text(&self) -> String {
        format!("1|{}", self.0)
    }

    fn parse(text: &str) -> Option<Self> {
        let [number] = parts(text)?;
        number.parse().ok().map(Self)
    }
}

/// The revision that a server has seen. It has 20 digits, as a position has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Witnessed(pub(super) i64);

impl Witnessed {
    /// What each value of a lower revision is less than, and no other is.
    pub(super) fn bound(revision: i64) -> Vec<u8> {
        Self(revision).text().into_bytes()
    }

    /// What each value of this revision, or of a higher one, is greater than, and no other is.
    pub(super) fn below(revision: i64) -> Vec<u8> {
        Self::bound(revision.saturating_sub(1))
    }
}

impl Value for Witnessed {
    fn text(&self) -> String {
        format!("1|{:020}", self.0)
    }

    fn parse(text: &str) -> Option<Self> {
        let [revision] = parts(text)?;
        revision.parse().ok().filter(|revision| *revision >= 0).map(Self)
    }
}

/// [`Client`] as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientText {
    id: u64,
    name: String,
    enabled: bool,
    require_signature: Option<bool>,
    rate: Option<u32>,
    certificate_name: Option<String>,
    sealed_key: String,
    created: i64,
}

impl Value for Client {
    fn text(&self) -> String {
        let text = ClientText {
            id: self.id.number(),
            name: self.name.clone(),
            enabled: self.enabled,
            require_signature: self.require_signature,
            rate: self.rate,
            certificate_name: self.certificate_name.clone(),
            sealed_key: HEXLOWER.encode(&self.sealed_key),
            created: self.created,
        };
        // A struct of text and numbers has a form in JSON.
        format!("1|{}", serde_json::to_string(&text).unwrap_or_default())
    }

    fn parse(text: &str) -> Option<Self> {
        let [json] = parts(text)?;
        let read: ClientText = serde_json::from_str(json).ok()?;
        Some(Self {
            id: ClientId::new(read.id)?,
            name: read.name,
            enabled: read.enabled,
            require_signature: read.require_signature,
            rate: read.rate,
            certificate_name: read.certificate_name,
            sealed_key: HEXLOWER.decode(read.sealed_key.as_bytes()).ok()?,
            created: read.created,
        })
    }
}

#[cfg(test)]
mod tests;
