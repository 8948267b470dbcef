//! The status table of yubikey-val, row by row, over a store on a real disk.

mod sync;

use super::*;
use crate::capacity::Capacity;
use crate::config::StoreAt;
use crate::store::{Client, ClientChange, Distinct, Enrolment, History};
use data_encoding::{BASE64, HEXLOWER};
use sha1::{Digest as _, Sha1};
use std::path::PathBuf;
use tempfile::TempDir;
use yubiotp::key::Credential;
use yubiotp::seal::StoreKey;
use yubiotp::{AesKey, PrivateId};

/// Client 1 of yubikey-val's own examples, and a question of it that it signed.
const CLIENT_KEY: &str = "EHmo8FMxuhumBlTinC4uYL0Mgwg=";
const OTP: &str = "idkfefrdhtrutjduvtcjbfeuvhehdvjjlbchtlenfgku";
const NONCE: &str = "kakakakakakakakakakakaka";
const H: &str = "Ewqt0nZBWlwU+9E5yqzwUYpJ97U=";

/// Yubico's first three vectors, of a token with an id of its own: positions (1, 1), (1, 2) and (0xfff, 1).
const FIRST: &str = "vvccccccccbddvgtiblfkbgturecfllberrvkinnctnn";
const SECOND: &str = "vvccccccccbdrnibcnfhdninbrdebccrndfhjgnhftee";
const LATE: &str = "vvccccccccbdiikkijbdknrrdhfdrjltvgrbkkjblcbh";

const RULES: Rules =
    Rules { require_signature: false, client_rate: 0, token_rate: 0, deadline: Duration::from_secs(4) };

fn store_key() -> StoreKey {
    StoreKey::new([5; 32])
}

fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    HEXLOWER.decode(hex.as_bytes()).unwrap().try_into().unwrap()
}

fn enrolment(id: &str, aes_key: &str, private_id: &str, sealed_under: &StoreKey) -> Enrolment {
    let id = PublicId::parse(id.as_bytes()).unwrap();
    let credential =
        Credential { aes_key: AesKey::new(bytes(aes_key)), private_id: PrivateId::new(bytes(private_id)) };
    let sealed = sealed_under.seal(&credential, &id, [9; 24]);
    Enrolment { id, fingerprint: credential.fingerprint(&id), sealed, history: History::Unknown }
}

fn client(id: ClientId) -> Client {
    let key = ClientKey::parse(CLIENT_KEY.as_bytes()).unwrap();
    Client {
        id,
        name: "a client".to_owned(),
        enabled: true,
        require_signature: None,
        rate: None,
        certificate_name: None,
        sealed_key: store_key().seal_client(&key, id, [9; 24]),
        created: 0,
    }
}

fn id(number: u64) -> ClientId {
    ClientId::new(number).unwrap()
}

/// A server with two tokens and four clients: 1 as all, 2 switched off, 3 that must sign or show its certificate, 4
/// that may ask twice a second.
struct Server {
    folder: TempDir,
    verifier: Verifier,
}

async fn server(rules: Rules) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let at = StoreAt::Sqlite(folder.path().join("ykvald.db"));
    let store = Store::create(&at, store_key().id()).await.unwrap();
    let keys = vec![
        enrolment("idkfefrdhtru", "c68c9df8cbfe7d2f994cb904046c7218", "609963eae7b5", &store_key()),
        enrolment("vvccccccccbd", "000102030405060708090a0b0c0d0e0f", "010203040506", &store_key()),
    ];
    store.enrol(keys, Distinct::default()).await.unwrap();
    let certificate_name = Some("radius.example".to_owned());
    let clients = [
        client(id(1)),
        Client { enabled: false, ..client(id(2)) },
        Client { require_signature: Some(true), certificate_name, ..client(id(3)) },
        Client { rate: Some(2), ..client(id(4)) },
    ];
    for client in clients {
        assert!(store.add_client(Some(client.id), move |_| client.clone()).await.unwrap().is_some());
    }
    Server { folder, verifier: Verifier::new(store, store_key(), None, rules) }
}

impl Server {
    async fn ask(&self, version: Version, parameters: &[(&str, &str)]) -> Answered {
        self.ask_with(version, parameters, &()).await
    }

    async fn ask_with(
        &self,
        version: Version,
        parameters: &[(&str, &str)],
        certified: &dyn Certified,
    ) -> Answered {
        let parameters: Vec<_> =
            parameters.iter().map(|(name, value)| (Cow::Borrowed(*name), Cow::Borrowed(*value))).collect();
        let capacity = Capacity::new(1, 1);
        let place = capacity.enter(true).unwrap();
        let answered = self.verifier.verify(version, &parameters, certified, &place).await;
        for (_, otp) in parameters.iter().filter(|(name, otp)| name == "otp" && otp.len() >= 32) {
            let block = &otp[otp.len() - 32..];
            assert!(!format!("{:?}", answered.decision).contains(block), "an OTP in what is logged");
        }
        answered
    }

    /// A question of client 1 that is not signed.
    async fn plain(&self, otp: &str, nonce: &str) -> Answered {
        self.ask(Version::Two, &[("id", "1"), ("nonce", nonce), ("otp", otp)]).await
    }

    async fn status(&self, parameters: &[(&str, &str)]) -> Status {
        self.ask(Version::Two, parameters).await.decision.status
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("ykvald.db")
    }
}

/// HMAC-SHA1 as RFC 2104 has it.
fn hmac(key: &[u8], text: &str) -> String {
    let pad = |with: u8| -> Vec<u8> { (0..64).map(|at| key.get(at).copied().unwrap_or(0) ^ with).collect() };
    let inner = Sha1::new().chain_update(pad(0x36)).chain_update(text).finalize();
    BASE64.encode(&Sha1::new().chain_update(pad(0x5c)).chain_update(inner).finalize())
}

fn signature(key: &[u8], fields: &[(&str, &str)]) -> String {
    let mut fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    fields.sort();
    hmac(key, &fields.join("&"))
}

/// Whose key an answer is signed with.
#[derive(Clone, Copy, PartialEq, Debug)]
enum By {
    Client,
    Nobody,
}

/// Byte by byte: `h`, `t`, these fields and an empty line, each ended by CRLF, and the signature over all but itself.
fn assert_body(answered: &Answered, by: By, fields: &[(&str, &str)]) {
    let body = &*answered.body;
    let (h, rest) = body.strip_prefix("h=").unwrap().split_once("\r\n").unwrap();
    let (t, rest) = rest.strip_prefix("t=").unwrap().split_once("\r\n").unwrap();
    let expected: String = fields.iter().map(|(name, value)| format!("{name}={value}\r\n")).collect();
    assert_eq!(rest, format!("{expected}\r\n"));
    assert_eq!(t.len(), "2026-11-22T00:30:01Z0284".len(), "{t}");
    let key = BASE64.decode(CLIENT_KEY.as_bytes()).unwrap();
    let key = if by == By::Client { &key[..] } else { b"" };
    assert_eq!(h, signature(key, &[&[("t", t)], fields].concat()), "signed by {by:?}: {body}");
    let (_, status) = fields.last().unwrap();
    assert_eq!(answered.decision.status.name(), *status);
}

/// Rows 1 to 6 of the table: nothing of it uses up the OTP.
#[tokio::test]
async fn refused_before_the_position_is_asked() {
    let server = server(RULES).await;
    let (id, nonce, otp) = (("id", "1"), ("nonce", NONCE), ("otp", OTP));
    let unknown = ("otp", "vvccccccccbrdvgtiblfkbgturecfllberrvkinnctnn");
    // Of the other token's key.
    let not_genuine = ("otp", "idkfefrdhtrudvgtiblfkbgturecfllberrvkinnctnn");
    let rows = [
        (&[id, otp][..], "MISSING_PARAMETER", By::Nobody),
        (&[id, nonce, otp, ("sl", "-1")], "MISSING_PARAMETER", By::Nobody),
        (&[id, nonce, otp, ("timeout", "soon")], "MISSING_PARAMETER", By::Nobody),
        (&[id, nonce], "BAD_OTP", By::Nobody),
        (&[id, nonce, ("otp", &OTP[13..])], "BAD_OTP", By::Nobody),
        (&[id, nonce, ("otp", "idkfefrdhtruajduvtcjbfeuvhehdvjjlbchtlenfgku")], "BAD_OTP", By::Nobody),
        (&[nonce, otp], "MISSING_PARAMETER", By::Nobody),
        (&[("id", "one"), nonce, otp], "MISSING_PARAMETER", By::Nobody),
        (&[id, ("nonce", "short"), otp], "MISSING_PARAMETER", By::Nobody),
        (&[("id", "99"), nonce, otp], "NO_SUCH_CLIENT", By::Nobody),
        (&[("id", "2"), nonce, otp], "NO_SUCH_CLIENT", By::Nobody),
        (&[id, nonce, otp, ("h", H)], "BAD_SIGNATURE", By::Client),
        (&[("id", "3"), nonce, otp, ("h", "")], "BAD_SIGNATURE", By::Client),
        (&[("id", "3"), nonce, otp], "BAD_SIGNATURE", By::Client),
        (&[id, nonce, unknown], "BAD_OTP", By::Client),
        (&[id, nonce, not_genuine], "BAD_OTP", By::Client),
    ];
    for (parameters, status, by) in rows {
        let answered = server.ask(Version::Two, parameters).await;
        assert_body(&answered, by, &[("status", status)]);
        // The log has whom the question names, whatever else is wrong with it.
        let named = parameters.iter().find(|(name, _)| *name == "id").and_then(|(_, id)| id.parse().ok());
        assert_eq!(answered.decision.client.map(ClientId::number), named, "{parameters:?}");
    }
    assert_eq!(server.plain(OTP, NONCE).await.decision.status, Status::Ok, "a refused OTP was used up");
}

/// What is refused of a restored token is a decided no, whatever else is in the way, and uses the OTP up.
#[tokio::test]
async fn a_restored_token() {
    let server = server(RULES).await;
    let store = server.verifier.store();
    store.mark_restored(1_795_307_401).await.unwrap();
    let token = PublicId::parse(b"vvccccccccbd").unwrap();
    let read =
        [("id", "1"), ("nonce", NONCE), ("otp", FIRST)].map(|(name, value)| (name.into(), value.into()));
    let capacity = Capacity::new(1, 1);
    let first = capacity.enter(true);
    let place = capacity.enter(true).unwrap();
    let at_capacity = server.verifier.verify(Version::Two, &read, &(), &place).await.decision;
    drop((first, place));
    assert_eq!((at_capacity.status, at_capacity.overload), (Status::ReplayedOtp, None));
    assert_eq!(store.token(&token).await.unwrap().unwrap().position, None);

    // The same question twice, too: REPLAYED_REQUEST would leave it open.
    for _ in 0..2 {
        let first = server.plain(FIRST, NONCE).await;
        assert_body(&first, By::Client, &[("otp", FIRST), ("nonce", NONCE), ("status", "REPLAYED_OTP")]);
        assert_eq!(first.decision.position, Some(Position::yubikey(1, 1)));
    }
    assert_eq!(store.token(&token).await.unwrap().unwrap().position, Some(Position::yubikey(1, 1)));
    // It has to come later than this.
    let second = server.plain(SECOND, NONCE).await.decision;
    assert_eq!(second.status, Status::ReplayedOtp);
    assert!(second.reason.contains("backup of 2026-11-22T00:30:01Z"), "{}", second.reason);
    assert_eq!(server.plain(SECOND, NONCE).await.decision.status, Status::ReplayedOtp);
    store.prove(&token).await.unwrap();
    assert_eq!(server.plain(SECOND, NONCE).await.decision.status, Status::ReplayedOtp);
    assert_eq!(server.plain(LATE, NONCE).await.decision.status, Status::Ok);
}

/// Rows 7 to 12.
#[tokio::test]
async fn what_the_position_decides() {
    let server = server(RULES).await;
    let token = PublicId::parse(b"idkfefrdhtru").unwrap();
    assert!(server.verifier.store().set_enabled(&token, false).await.unwrap());
    assert_body(&server.plain(OTP, NONCE).await, By::Client, &[("status", "BAD_OTP")]);
    assert!(server.verifier.store().set_enabled(&token, true).await.unwrap());

    let signed = [("timestamp", "1"), ("h", H), ("otp", OTP), ("id", "1"), ("nonce", NONCE)];
    let fresh = server.ask(Version::Two, &signed).await;
    let echo = [("otp", OTP), ("nonce", NONCE)];
    let position = [("timestamp", "1019200"), ("sessioncounter", "1"), ("sessionuse", "0")];
    assert_body(&fresh, By::Client, &[&echo[..], &[("sl", "0")], &position, &[("status", "OK")]].concat());
    let decision = fresh.decision;
    assert_eq!(
        (decision.client, decision.token, decision.position, decision.overload),
        (Some(id(1)), Some(token), Some(Position::yubikey(1, 0)), None)
    );

    let again = server.ask(Version::Two, &signed).await;
    assert_body(&again, By::Client, &[echo[0], echo[1], ("status", "REPLAYED_REQUEST")]);
    let other = "0123456789abcdef";
    let replayed = server.plain(OTP, other).await;
    assert_body(&replayed, By::Client, &[("otp", OTP), ("nonce", other), ("status", "REPLAYED_OTP")]);
    assert_eq!(replayed.decision.position, Some(Position::yubikey(1, 0)));

    // Not asked for, how far the token has come is not told. An older OTP than the last is used up.
    let ok = |otp| [("otp", otp), ("nonce", NONCE), ("sl", "0"), ("status", "OK")];
    assert_body(&server.plain(SECOND, NONCE).await, By::Client, &ok(SECOND));
    assert_eq!(server.plain(FIRST, NONCE).await.decision.status, Status::ReplayedOtp);
    assert_body(&server.plain(LATE, NONCE).await, By::Client, &ok(LATE));
    assert_eq!(server.plain(SECOND, NONCE).await.decision.status, Status::ReplayedOtp);
}

/// It has no nonce, so nothing is echoed, and a question that comes twice is a replay.
#[tokio::test]
async fn version_1() {
    let server = server(RULES).await;
    let ask = async |otp| server.ask(Version::One, &[("id", "1"), ("otp", otp)]).await;
    assert_body(&ask(FIRST).await, By::Client, &[("status", "OK")]);
    assert_body(&ask(FIRST).await, By::Client, &[("status", "REPLAYED_OTP")]);
    let with = server.ask(Version::One, &[("id", "1"), ("otp", SECOND), ("timestamp", "1")]).await;
    let position = [("timestamp", "65537"), ("sessioncounter", "1"), ("sessionuse", "2")];
    assert_body(&with, By::Client, &[&position[..], &[("status", "OK")]].concat());
    assert_body(
        &server.ask(Version::One, &[("otp", LATE)]).await,
        By::Nobody,
        &[("status", "MISSING_PARAMETER")],
    );
}

/// What a certificate is for.
struct For(&'static str);

impl Certified for For {
    fn is_for(&self, name: &str) -> bool {
        self.0 == name
    }

    fn address(&self) -> Option<IpAddr> {
        None
    }
}

/// Values are looked at without the blanks around them, and echoed so: no answer has a line that was sent. A signature
/// is over what was sent; one that is empty is none.
#[tokio::test]
async fn blanks_around_values() {
    let server = server(RULES).await;
    let key = BASE64.decode(CLIENT_KEY.as_bytes()).unwrap();
    let (otp, nonce) = (format!("{FIRST}\r\n"), format!(" {NONCE}\n"));
    let asked = [("id", "1\n"), ("nonce", nonce.as_str()), ("otp", otp.as_str())];
    let h = format!("\t{}\n", signature(&key, &asked));
    let stripped = [("id", "1"), ("nonce", NONCE), ("otp", FIRST), ("h", &h)];
    assert_eq!(server.status(&stripped).await, Status::BadSignature);
    let echo = [("otp", FIRST), ("nonce", NONCE)];
    let signed = server.ask(Version::Two, &[&asked[..], &[("h", &h)]].concat()).await;
    assert_body(&signed, By::Client, &[&echo[..], &[("sl", "0"), ("status", "OK")]].concat());
    let again = server.ask(Version::Two, &[&asked[..], &[("h", " ")]].concat()).await;
    assert_body(&again, By::Client, &[&echo[..], &[("status", "REPLAYED_REQUEST")]].concat());
}

#[tokio::test]
async fn who_must_prove_itself() {
    let server = server(RULES).await;
    let key = BASE64.decode(CLIENT_KEY.as_bytes()).unwrap();
    let asked = |otp| [("id", "3"), ("nonce", NONCE), ("otp", otp)];
    let h = signature(&key, &asked(FIRST));
    assert_eq!(server.status(&asked(FIRST)).await, Status::BadSignature);
    assert_eq!(server.status(&[&asked(FIRST)[..], &[("h", &h)]].concat()).await, Status::Ok);
    let with = async |parameters: &[(&str, &str)], name| {
        server.ask_with(Version::Two, parameters, &For(name)).await.decision.status
    };
    assert_eq!(with(&asked(SECOND), "other.example").await, Status::BadSignature);
    assert_eq!(with(&asked(SECOND), "radius.example").await, Status::Ok);
    // A signature that is there counts, whatever certificate is shown; and a certificate is nothing to other clients.
    let wrong = [&asked(LATE)[..], &[("h", &h)]].concat();
    assert_eq!(with(&wrong, "radius.example").await, Status::BadSignature);

    // The settings decide for clients that say nothing.
    let strict = self::server(Rules { require_signature: true, ..RULES }).await;
    let asked = [("id", "1"), ("nonce", NONCE), ("otp", FIRST)];
    let h = signature(&key, &asked);
    assert_eq!(strict.status(&asked).await, Status::BadSignature);
    let shown = strict.ask_with(Version::Two, &asked, &For("radius.example")).await;
    assert_eq!(shown.decision.status, Status::BadSignature);
    assert_eq!(strict.status(&[&asked[..], &[("h", &h)]].concat()).await, Status::Ok);
}

/// The rate counts what the store has to write; used and forged OTPs use up nothing of it.
#[tokio::test]
async fn who_causes_too_much_is_told_so() {
    let server = server(RULES).await;
    let ask =
        async |otp: &str| server.ask(Version::Two, &[("id", "4"), ("nonce", NONCE), ("otp", otp)]).await;
    assert_eq!(ask(FIRST).await.decision.status, Status::Ok);
    for _ in 0..9 {
        assert_eq!(ask(FIRST).await.decision.status, Status::ReplayedRequest);
        assert_eq!(ask(FORGED).await.decision.status, Status::BadOtp);
    }
    assert_eq!(ask(SECOND).await.decision.status, Status::Ok, "the second of two");
    // A slow machine may have to wait for the third to be one too many.
    let answered = ask(LATE).await;
    if answered.decision.status != Status::Ok {
        assert_body(&answered, By::Client, &[("status", "BACKEND_ERROR")]);
        assert_eq!(answered.decision.overload, Some(Overload::Rate));
        assert_eq!(answered.decision.code, Code::ClientRateLimit);
    }
    assert_eq!(server.plain(OTP, NONCE).await.decision.status, Status::Ok, "another client");
}

/// Of the second token's key, with the first one's public id.
const FORGED: &str = "idkfefrdhtrudvgtiblfkbgturecfllberrvkinnctnn";

/// What is wrong with a server that is asked about an OTP which it must not accept.
#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Sound,
    AboveClientRate,
    AboveTokenRate,
    AtCapacity,
    CannotLog,
    CannotWrite,
    WriterIsLate,
    KeyDoesNotOpen,
    CannotRead,
}

/// The table in the documentation of this module: no limit, no haste and no fault of the store that leaves it readable
/// makes anything else of what one read decides; and whatever is said is an answer of the protocol, signed for the
/// client, which no host takes for silence.
#[tokio::test]
async fn what_is_known_of_an_otp_is_said() {
    use State::*;
    for state in [
        Sound,
        AboveClientRate,
        AboveTokenRate,
        AtCapacity,
        CannotLog,
        CannotWrite,
        WriterIsLate,
        KeyDoesNotOpen,
        CannotRead,
    ] {
        let rules = match state {
            AboveClientRate => Rules { client_rate: 2, ..RULES },
            AboveTokenRate => Rules { token_rate: 1, ..RULES },
            WriterIsLate => Rules { deadline: Duration::from_millis(300), ..RULES },
            _ => RULES,
        };
        let server = server(rules).await;
        let store = server.verifier.store();
        let begun = Instant::now();
        for used in [FIRST, OTP] {
            assert_eq!(server.plain(used, NONCE).await.decision.status, Status::Ok);
        }
        let disabled = PublicId::parse(b"vvcccccccccb").unwrap();
        let key = ("000102030405060708090a0b0c0d0e0f", "010203040506");
        store
            .enrol(vec![enrolment("vvcccccccccb", key.0, key.1, &store_key())], Distinct::default())
            .await
            .unwrap();
        assert!(store.set_enabled(&disabled, false).await.unwrap());
        let capacity = Capacity::new(1, 1);
        let first = (state == AtCapacity).then(|| capacity.enter(true));
        let place = capacity.enter(state != CannotLog).unwrap();
        let mut other_process = rusqlite::Connection::open(server.database()).unwrap();
        match state {
            // Those two were all that this client may cause in a second.
            Sound | AboveClientRate => {}
            AboveTokenRate => {
                for _ in 0..9 {
                    drop(server.plain(OTP, NONCE).await);
                }
            }
            AtCapacity | CannotLog => {}
            CannotWrite => std::fs::remove_file(server.folder.path().join("ykvald.db-wal")).unwrap(),
            WriterIsLate => other_process.execute_batch("BEGIN IMMEDIATE").unwrap(),
            KeyDoesNotOpen => {
                let other = StoreKey::new([6; 32]);
                for (id, key) in [("vvccccccccbd", key), ("vvcccccccccb", key), ("idkfefrdhtru", IDK)] {
                    let sealed = enrolment(id, key.0, key.1, &other).sealed;
                    let change = other_process.transaction().unwrap();
                    let id = PublicId::parse(id.as_bytes()).unwrap();
                    let set = "UPDATE tokens SET sealed = ?2 WHERE public_id = ?1";
                    let row = (id.as_bytes(), sealed.as_bytes().as_slice());
                    assert_eq!(change.execute(set, row).unwrap(), 1);
                    change.commit().unwrap();
                }
            }
            CannotRead => store.close().await,
        }

        let other = "0123456789abcdef";
        let off = format!("vvcccccccccb{}", &FIRST[12..]);
        let rows = [
            ("used", FIRST, other, Status::ReplayedOtp),
            ("used, asked again", FIRST, NONCE, Status::ReplayedRequest),
            ("forged", FORGED, other, Status::BadOtp),
            (
                "forged, of a token that nobody knows",
                "vvvvvvvvvvvvdvgtiblfkbgturecfllberrvkinnctnn",
                other,
                Status::BadOtp,
            ),
            ("disabled", &off, other, Status::BadOtp),
        ];
        for (what, otp, nonce, status) in rows {
            let parameters = [("id", "1"), ("nonce", nonce), ("otp", otp)]
                .map(|(name, value)| (name.into(), value.into()));
            let answered = server.verifier.verify(Version::Two, &parameters, &(), &place).await;
            let said = answered.decision.status;
            // The first table of the module's documentation.
            let expected = match state {
                KeyDoesNotOpen if what != "disabled" && !what.contains("nobody") => Status::BackendError,
                CannotRead => Status::BackendError,
                _ => status,
            };
            assert_eq!(said, expected, "{state:?}, {what}: {}", answered.decision.reason);
            let echo = matches!(said, Status::ReplayedOtp | Status::ReplayedRequest);
            let echo: &[_] = if echo { &[("otp", otp), ("nonce", nonce)] } else { &[] };
            assert_body(&answered, By::Client, &[echo, &[("status", said.name())]].concat());
            assert_eq!(answered.advance, None, "{state:?}, {what}: the store was to write");
            assert_eq!(answered.decision.overload, None, "{state:?}, {what}");
        }
        // What is not known is not said: a fresh OTP is not accepted, nor refused, by a server that cannot write it down.
        let fresh =
            [("id", "1"), ("nonce", NONCE), ("otp", LATE)].map(|(name, value)| (name.into(), value.into()));
        let fresh = server.verifier.verify(Version::Two, &fresh, &(), &place).await.decision;
        let expected = match state {
            Sound | AboveTokenRate => (Status::Ok, None),
            AtCapacity => (Status::BackendError, Some(Overload::Capacity)),
            AboveClientRate if begun.elapsed() > Duration::from_millis(400) => continue,
            AboveClientRate => (Status::BackendError, Some(Overload::Rate)),
            _ => (Status::BackendError, None),
        };
        assert_eq!((fresh.status, fresh.overload), expected, "{state:?}: {}", fresh.reason);
        drop(first);
    }
}

/// The first token's key.
const IDK: (&str, &str) = ("c68c9df8cbfe7d2f994cb904046c7218", "609963eae7b5");

/// Above the rate of refusals they are answered as ever, and counted in the log, of this client and this token.
#[tokio::test]
async fn many_refusals_are_one_of_many() {
    let server = server(Rules { token_rate: 1, ..RULES }).await;
    assert_eq!(server.plain(FIRST, NONCE).await.decision.status, Status::Ok);
    let mut many = 0;
    for _ in 0..20 {
        let decision = server.plain(FIRST, NONCE).await.decision;
        assert_eq!(decision.status, Status::ReplayedRequest);
        many += usize::from(decision.is_one_of_many);
    }
    assert!((1..20).contains(&many), "{many}");
    let fresh = server.plain(SECOND, NONCE).await.decision;
    assert_eq!((fresh.status, fresh.is_one_of_many), (Status::Ok, false));
    let another = server.ask(Version::Two, &[("id", "4"), ("nonce", NONCE), ("otp", FIRST)]).await.decision;
    assert_eq!((another.status, another.is_one_of_many), (Status::ReplayedOtp, false), "of another client");
}

/// A token without a public id, pressed twice: the first OTP would be the id of the second, and may still be good.
#[tokio::test]
async fn no_otp_stands_in_the_log_as_an_id() {
    let server = server(RULES).await;
    let pressed_twice =
        format!("{}{}", "dvgtiblfkbgturecfllberrvkinnctnn", "rnibcnfhdninbrdebccrndfhjgnhftee");
    let answered = server.plain(&pressed_twice, NONCE).await;
    assert_eq!((answered.decision.status, answered.decision.token), (Status::BadOtp, None));
    let usual = server.plain("vvvvvvvvvvvvdvgtiblfkbgturecfllberrvkinnctnn", NONCE).await;
    assert_eq!(usual.decision.token.map(|token| token.to_string()).as_deref(), Some("vvvvvvvvvvvv"));
}

/// The echo is what was sent.
#[tokio::test]
async fn typed_on_other_keyboards() {
    let server = server(RULES).await;
    let dvorak = |otp: &str| -> String {
        let typed = |letter| "jxe.uidchtnbpygk".as_bytes()["cbdefghijklnrtuv".find(letter).unwrap()];
        otp.chars().map(|letter| char::from(typed(letter))).collect()
    };
    for otp in [dvorak(FIRST), SECOND.to_uppercase(), dvorak(LATE).to_uppercase()] {
        let ok = [("otp", otp.as_str()), ("nonce", NONCE), ("sl", "0"), ("status", "OK")];
        assert_body(&server.plain(&otp, NONCE).await, By::Client, &ok);
    }
    assert_eq!(server.plain(FIRST, NONCE).await.decision.status, Status::ReplayedOtp);
}

/// Clients know whose OTP it is by its first letters: what a Colemak keyboard makes of another token's is not this one's.
#[tokio::test]
async fn an_otp_is_of_the_token_that_its_letters_name() {
    let server = server(RULES).await;
    let colemak = |otp: &str| -> String {
        let typed = |letter| "cbsftdhuneikpglv".as_bytes()["cbdefghijklnrtuv".find(letter).unwrap()];
        otp.chars().map(|letter| char::from(typed(letter))).collect()
    };
    let key = ("000102030405060708090a0b0c0d0e0f", "010203040506");
    let of = enrolment("vvccccccccce", key.0, key.1, &store_key());
    server.verifier.store().enrol(vec![of], Distinct::default()).await.unwrap();
    let otp = format!("vvccccccccce{}", "dvgtiblfkbgturecfllberrvkinnctnn");
    assert!(colemak(&otp).starts_with("vvcccccccccf"));
    assert_eq!(server.plain(&colemak(&otp), NONCE).await.decision.status, Status::BadOtp);
    assert_eq!(server.plain(&otp, NONCE).await.decision.status, Status::Ok);
}

/// Whatever the world does wrong, it is never BAD_OTP, and never OK.
#[tokio::test]
async fn what_the_world_does_wrong_is_backend_error() {
    // A key that does not open.
    let sealed_elsewhere = server(RULES).await;
    let other = StoreKey::new([6; 32]);
    let it = enrolment("vvcccccccccb", "000102030405060708090a0b0c0d0e0f", "010203040506", &other);
    sealed_elsewhere.verifier.store().enrol(vec![it], Distinct::default()).await.unwrap();
    let answered = sealed_elsewhere.plain("vvcccccccccbdvgtiblfkbgturecfllberrvkinnctnn", NONCE).await;
    assert_body(&answered, By::Client, &[("status", "BACKEND_ERROR")]);
    let other_client = ClientChange { sealed_key: Some(vec![1; 60]), ..ClientChange::default() };
    assert!(sealed_elsewhere.verifier.store().change_client(id(3), other_client).await.unwrap());
    let answered = sealed_elsewhere.ask(Version::Two, &[("id", "3"), ("nonce", NONCE), ("otp", FIRST)]).await;
    assert_body(&answered, By::Nobody, &[("status", "BACKEND_ERROR")]);

    // What can be read and not written.
    let no_log = server(RULES).await;
    assert_eq!(no_log.plain(FIRST, NONCE).await.decision.status, Status::Ok);
    std::fs::remove_file(no_log.folder.path().join("ykvald.db-wal")).unwrap();
    let answered = no_log.plain(SECOND, NONCE).await;
    assert_body(&answered, By::Client, &[("status", "BACKEND_ERROR")]);
    assert_eq!(answered.decision.token, PublicId::parse(b"vvccccccccbd").ok());

    // What cannot be read: of a client that is known, and of one that is not.
    let closed = server(RULES).await;
    assert_eq!(closed.plain(FIRST, NONCE).await.decision.status, Status::Ok);
    closed.verifier.store().close().await;
    assert_body(&closed.plain(SECOND, NONCE).await, By::Client, &[("status", "BACKEND_ERROR")]);
    let answered = closed.ask(Version::Two, &[("id", "4"), ("nonce", NONCE), ("otp", SECOND)]).await;
    assert_body(&answered, By::Nobody, &[("status", "BACKEND_ERROR")]);
    assert_eq!(answered.decision.overload, None);
}

/// And what is too late uses nothing up.
#[tokio::test]
async fn a_store_that_takes_too_long_is_backend_error() {
    let server = server(Rules { deadline: Duration::from_millis(200), ..RULES }).await;
    let other_process = rusqlite::Connection::open(server.database()).unwrap();
    other_process.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answered = server.plain(FIRST, NONCE).await;
    assert_eq!(answered.decision.status, Status::BackendError);
    other_process.execute_batch("ROLLBACK").unwrap();
    assert_eq!(server.plain(FIRST, NONCE).await.decision.status, Status::Ok, "it was used up in the end");
}

#[tokio::test]
async fn a_client_that_is_switched_off_is_refused_within_a_second() {
    let server = server(RULES).await;
    assert_eq!(server.plain(FIRST, NONCE).await.decision.status, Status::Ok);
    let off = ClientChange { enabled: Some(false), ..ClientChange::default() };
    assert!(server.verifier.store().change_client(id(1), off).await.unwrap());
    tokio::time::sleep(Duration::from_millis(1050)).await;
    assert_body(&server.plain(SECOND, NONCE).await, By::Nobody, &[("status", "NO_SUCH_CLIENT")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_with_one_otp_one_is_told_ok() {
    let server = Arc::new(server(RULES).await);
    for otp in [OTP, FIRST, SECOND, LATE] {
        let asking: Vec<_> = (0..64)
            .map(|caller| {
                let server = Arc::clone(&server);
                tokio::spawn(
                    async move { server.plain(otp, &format!("nonce{caller:011}")).await.decision.status },
                )
            })
            .collect();
        let mut told = Vec::new();
        for asked in asking {
            told.push(asked.await.unwrap());
        }
        assert_eq!(told.iter().filter(|status| **status == Status::Ok).count(), 1);
        assert_eq!(told.iter().filter(|status| **status == Status::ReplayedOtp).count(), 63);
    }
}

/// Rows are set back while the server runs. It has what it accepted in memory, and accepts nothing more before the store
/// has it, too: what the store says of other tokens may be old as well.
#[tokio::test]
async fn a_store_that_forgot() {
    let server = server(RULES).await;
    assert_eq!(server.plain(FIRST, NONCE).await.decision.status, Status::Ok);
    let other_process = rusqlite::Connection::open(server.database()).unwrap();
    other_process.execute("UPDATE tokens SET position = NULL, nonce = ''", []).unwrap();
    for _ in 0..3 {
        assert_eq!(server.plain(FIRST, NONCE).await.decision.status, Status::ReplayedOtp);
    }
    for fresh in [SECOND, OTP] {
        let decision = server.plain(fresh, NONCE).await.decision;
        assert_eq!(decision.status, Status::BackendError, "{}", decision.reason);
    }
    let store = server.verifier.store();
    let forgotten = store.guard().untold().unwrap();
    let known = forgotten.accepted.position;
    assert_eq!((known.usage_counter(), known.session_use(), forgotten.stored), (1, 1, None));
    let mut raised = 0;
    assert!(crate::compare::raise(store, &mut raised).await.unwrap());
    assert_eq!(raised, 1);
    assert_eq!(server.plain(SECOND, NONCE).await.decision.status, Status::BackendError);
    tokio::time::sleep(crate::guard::SETTLE).await;
    assert_eq!(server.plain(FIRST, NONCE).await.decision.status, Status::ReplayedOtp);
    for fresh in [SECOND, OTP] {
        assert_eq!(server.plain(fresh, NONCE).await.decision.status, Status::Ok, "it was not used up");
    }
}

/// The database was restarted, or is another one: other servers may find that it forgot what they accepted.
#[tokio::test]
async fn a_database_that_changed() {
    let server = server(RULES).await;
    let guard = server.verifier.store().guard();
    guard.met("one".to_owned());
    assert_eq!(server.plain(FIRST, NONCE).await.decision.status, Status::Ok);
    guard.met("another".to_owned());
    assert_eq!(server.plain(SECOND, NONCE).await.decision.status, Status::BackendError);
    assert_eq!(server.plain(FIRST, NONCE).await.decision.status, Status::ReplayedRequest);
    tokio::time::sleep(crate::guard::SETTLE).await;
    assert_eq!(server.plain(SECOND, NONCE).await.decision.status, Status::Ok, "it was not used up");
}
