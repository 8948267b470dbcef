//! Messages of peers, true and forged: what raises a token, and what is answered.

use super::*;
use yubiotp::protocol::sync::{SyncReply, SyncState};

const TOKEN: &str = "vvccccccccbd";
const OTHER_TOKEN: &str = "idkfefrdhtru";
const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// A message of yubikey-val, with these values in it.
struct Message<'a> {
    otp: &'a str,
    token: &'a str,
    counter: &'a str,
    session_use: &'a str,
    nonce: &'a str,
    modified: &'a str,
}

/// What a peer that accepted [`FIRST`] sends.
const TRUE: Message<'static> = Message {
    otp: FIRST,
    token: TOKEN,
    counter: "1",
    session_use: "1",
    nonce: NONCE,
    modified: "1796027733",
};

fn at(counter: u16, session_use: u8) -> Option<Position> {
    Some(Position::yubikey(counter, session_use))
}

impl Server {
    async fn receive(&self, message: Message<'_>) -> Received {
        let Message { otp, token, counter, session_use, nonce, modified } = message;
        let parameters = [
            ("otp", otp),
            ("modified", modified),
            ("yk_publicname", token),
            ("yk_counter", counter),
            ("yk_use", session_use),
            ("yk_high", "1"),
            ("yk_low", "1"),
            ("nonce", nonce),
        ];
        let parameters: Vec<_> =
            parameters.iter().map(|(name, value)| (Cow::Borrowed(*name), Cow::Borrowed(*value))).collect();
        let received = self.verifier.receive(&parameters, PEER).await;
        let block = otp.get(otp.len().saturating_sub(32)..).filter(|block| block.len() == 32);
        assert!(!block.is_some_and(|block| received.reason.contains(block)), "an OTP in what is logged");
        received
    }

    async fn stored(&self, token: &str) -> Option<Position> {
        let token = PublicId::parse(token.as_bytes()).unwrap();
        self.verifier.store().token(&token).await.unwrap().and_then(|token| token.position)
    }
}

/// The state in an answer of OK.
fn state(received: &Received) -> SyncState {
    let token = received.body.lines().find_map(|line| line.strip_prefix("yk_publicname=")).unwrap();
    let token = PublicId::parse(token.as_bytes()).unwrap();
    match SyncReply::read(received.body.as_bytes(), &token) {
        Ok(SyncReply::State(state)) => state,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_a_peer_accepted_is_not_accepted_here() {
    let server = server(RULES).await;
    let received = server.receive(TRUE).await;
    assert_eq!((received.status, received.code, received.raised), (Status::Ok, Code::SyncRaised, true));
    assert_eq!((state(&received).position, state(&received).modified), (None, None), "the state before");
    assert_eq!(server.stored(TOKEN).await, at(1, 1));
    // A client that asks two servers the same question learns that one of them has answered it.
    assert_eq!(server.plain(FIRST, NONCE).await.decision.status, Status::ReplayedRequest);
    assert_eq!(server.plain(FIRST, "0123456789abcdef").await.decision.status, Status::ReplayedOtp);
    assert_eq!(server.plain(SECOND, NONCE).await.decision.status, Status::Ok);
}

/// Of two servers that got one OTP, each learns that the other has it, if the requests were different.
#[tokio::test]
async fn what_was_accepted_here_is_told() {
    let server = server(RULES).await;
    assert_eq!(server.plain(FIRST, NONCE).await.decision.status, Status::Ok);
    for (otp, session_use) in [(FIRST, "1"), (SECOND, "2")] {
        let received = server.receive(Message { otp, session_use, ..TRUE }).await;
        let state = state(&received);
        assert_eq!((state.position, state.nonce.as_str()), (at(1, 1), NONCE));
        assert!((state.modified.unwrap() - clock::now()).abs() < 60);
    }
    let received = server.receive(TRUE).await;
    assert_eq!(
        (received.code, state(&received).position),
        (Code::SyncKnown, at(1, 2)),
        "an old one lowers nothing"
    );
    assert_eq!(server.stored(TOKEN).await, at(1, 2));
    let again = server.receive(Message { otp: SECOND, session_use: "2", ..TRUE }).await;
    assert_eq!((again.code, again.raised), (Code::SyncKnown, false), "a queue sends it twice");
}

/// CVE-2020-10185: the numbers beside the OTP are never believed, whatever they say.
#[tokio::test]
async fn forged_numbers_beside_an_otp() {
    let numbers =
        [("32767", "255"), ("2", "1"), ("0", "0"), ("-1", "-1"), ("99999999999999999999", "1"), ("1", "999")];
    for (counter, session_use) in numbers {
        let server = server(RULES).await;
        let received = server.receive(Message { counter, session_use, ..TRUE }).await;
        assert_eq!((received.status, received.code), (Status::Ok, Code::SyncContradictsOtp), "{counter}");
        assert_eq!(received.position, at(1, 1));
        assert_eq!(server.stored(TOKEN).await, at(1, 1), "what the OTP holds, {counter}");
        assert_eq!(server.plain(SECOND, NONCE).await.decision.status, Status::Ok, "{counter}");
        assert_eq!(server.plain(FIRST, NONCE).await.decision.status, Status::ReplayedOtp, "{counter}");
    }
}

/// None of these raises anything: not the named token, and not the one that made the OTP.
#[tokio::test]
async fn messages_without_proof() {
    let invented = TOKEN.to_owned() + &"c".repeat(32);
    let forged = FIRST[..FIRST.len() - 1].to_owned() + "b";
    let server = server(RULES).await;
    let tokens = server.verifier.store().count().await.unwrap().tokens;
    for (message, code) in [
        (Message { token: OTHER_TOKEN, ..TRUE }, Code::SyncContradictsOtp),
        (
            Message { otp: &(OTHER_TOKEN.to_owned() + &FIRST[12..]), token: OTHER_TOKEN, ..TRUE },
            Code::OtpNotGenuine,
        ),
        (Message { otp: &forged, ..TRUE }, Code::OtpNotGenuine),
        (Message { otp: &invented, counter: "32767", ..TRUE }, Code::SyncWithoutOtp),
        (
            Message { otp: &("vvcccccccccb".to_owned() + &FIRST[12..]), token: "vvcccccccccb", ..TRUE },
            Code::TokenUnknown,
        ),
        (Message { otp: &FIRST[12..], ..TRUE }, Code::SyncContradictsOtp),
    ] {
        let named = message.token;
        let received = server.receive(message).await;
        assert_eq!((received.status, received.code, received.raised), (Status::Ok, code, false));
        assert_eq!((received.position, state(&received).position), (None, None), "answered as YK-VAL does");
        assert_eq!(state(&received).token.to_string(), named);
    }
    for message in [
        Message { otp: "x", ..TRUE },
        Message { nonce: "short", ..TRUE },
        Message { counter: "1 OR 1=1", ..TRUE },
        Message { token: "%", ..TRUE },
        Message { modified: "-1", ..TRUE },
    ] {
        let received = server.receive(message).await;
        assert_eq!(received.status, Status::MissingParameter);
    }
    assert_eq!((server.stored(TOKEN).await, server.stored(OTHER_TOKEN).await), (None, None));
    assert_eq!(server.verifier.store().count().await.unwrap().tokens, tokens, "a token was made of it");
    assert_eq!(server.plain(FIRST, NONCE).await.decision.status, Status::Ok);
}

#[tokio::test]
async fn a_message_from_the_future() {
    let server = server(RULES).await;
    let _ = server.receive(Message { modified: "99999999999999999999", ..TRUE }).await;
    let token =
        server.verifier.store().token(&PublicId::parse(TOKEN.as_bytes()).unwrap()).await.unwrap().unwrap();
    assert!((token.modified.unwrap() - clock::now()).abs() < 60);
}

/// A token that is disabled here, and not there: it is raised, so that its OTPs are used when it is enabled again.
#[tokio::test]
async fn a_disabled_token() {
    let server = server(RULES).await;
    let token = PublicId::parse(TOKEN.as_bytes()).unwrap();
    assert!(server.verifier.store().set_enabled(&token, false).await.unwrap());
    for raised in [true, false] {
        let received = server.receive(TRUE).await;
        assert_eq!((received.status, received.code), (Status::BadOtp, Code::TokenDisabled));
        assert_eq!(received.raised, raised);
        assert!(!received.body.contains("yk_"), "{}", received.body);
    }
    assert!(server.verifier.store().set_enabled(&token, true).await.unwrap());
    assert_eq!(server.plain(FIRST, NONCE).await.decision.status, Status::ReplayedOtp);
}

/// A server that does not know which OTPs were used confirms none. It learns from the message all the same.
#[tokio::test]
async fn a_restored_token() {
    let server = server(RULES).await;
    server.verifier.store().mark_restored(1).await.unwrap();
    let received = server.receive(TRUE).await;
    assert_eq!(
        (received.status, received.code, received.raised),
        (Status::BackendError, Code::TokenRestored, true)
    );
    assert_eq!(server.stored(TOKEN).await, at(1, 1));
    let received = server.receive(TRUE).await;
    assert_eq!((received.status, state(&received).position), (Status::Ok, at(1, 1)), "the peer's queue ends");
    assert_eq!(server.plain(SECOND, NONCE).await.decision.status, Status::ReplayedOtp, "it has to be proved");
}

/// What was accepted here is told from memory.
#[tokio::test]
async fn a_store_that_forgot_confirms_nothing() {
    let server = server(RULES).await;
    assert_eq!(server.plain(SECOND, NONCE).await.decision.status, Status::Ok);
    let other_process = rusqlite::Connection::open(server.database()).unwrap();
    other_process.execute("UPDATE tokens SET position = NULL, nonce = ''", []).unwrap();
    let received = server.receive(TRUE).await;
    assert_eq!((received.status, state(&received).position), (Status::Ok, at(1, 2)));
    let received = server.receive(Message { otp: LATE, counter: "4095", ..TRUE }).await;
    assert_eq!(received.status, Status::BackendError, "until the store is raised");
}

/// A store that cannot be written: the peer keeps the message.
#[tokio::test]
async fn what_cannot_be_stored_is_not_confirmed() {
    let server = server(RULES).await;
    server.verifier.store().close().await;
    let received = server.receive(TRUE).await;
    assert_eq!((received.status, received.raised), (Status::BackendError, false));
}

/// Messages and verifications of one OTP at the same time: it is accepted here once at most, and if the peer is told that
/// it was not used here, it is not accepted here.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_message_and_verifications_at_the_same_time() {
    for round in 0..20 {
        let server = Arc::new(server(RULES).await);
        let verifying: Vec<_> = (0..4)
            .map(|caller| {
                let server = Arc::clone(&server);
                let nonce = format!("nonce{caller:011}");
                tokio::spawn(async move { server.plain(FIRST, &nonce).await.decision.status })
            })
            .collect();
        let received = server.receive(TRUE).await;
        let mut accepted = 0;
        for verifying in verifying {
            accepted += usize::from(verifying.await.unwrap() == Status::Ok);
        }
        let confirmed = state(&received).position.is_none();
        assert_eq!(accepted, usize::from(!confirmed), "round {round}");
    }
}

#[tokio::test]
async fn a_flood_is_logged_seldom() {
    let server = server(Rules { token_rate: 2, ..RULES }).await;
    let mut many = 0;
    for _ in 0..9 {
        many += usize::from(server.receive(Message { token: OTHER_TOKEN, ..TRUE }).await.is_one_of_many);
    }
    assert!(many >= 5, "{many}");
    assert!(!server.receive(TRUE).await.is_one_of_many, "what raises a position is always logged");
}
