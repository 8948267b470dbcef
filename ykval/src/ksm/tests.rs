//! Asked over real connections: who answers what, and what that comes to.

use super::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use yubiotp::diagnostic::Code;

const OTP: &str = "idkfefrdhtrutjduvtcjbfeuvhehdvjjlbchtlenfgku";
const GENUINE: &str = "OK counter=0001 low=8d40 high=0f use=00\n";

/// What a module does.
#[derive(Clone, Copy)]
enum Does {
    Says(&'static str),
    /// After so many milliseconds.
    Late(u64, &'static str),
    /// This, whatever it is.
    Writes(&'static str),
    /// Begins an answer that has no end.
    Pours,
    Nothing,
}

/// A module, by its URL.
async fn module(does: Does) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://user:hunter2@{}/wsapi/decrypt", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut io, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut asked = [0; 4096];
                let count = io.read(&mut asked).await.unwrap();
                let asked = str::from_utf8(&asked[..count]).unwrap();
                assert!(asked.starts_with(&format!("GET /wsapi/decrypt?otp={OTP} HTTP/1.1\r\n")), "{asked}");
                let ok =
                    |text: &str| format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
                let answer = match does {
                    Does::Says(text) => ok(text),
                    Does::Late(time, text) => {
                        tokio::time::sleep(Duration::from_millis(time)).await;
                        ok(text)
                    }
                    Does::Writes(text) => text.to_owned(),
                    Does::Pours => {
                        io.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                        while io.write_all(&[b'x'; 1000]).await.is_ok() {}
                        return;
                    }
                    Does::Nothing => return std::future::pending().await,
                };
                let _ = io.write_all(answer.as_bytes()).await;
            });
        }
    });
    url
}

async fn asked(modules: &[Does], deadline: u64) -> Result<KsmVerdict, KsmFault> {
    let mut urls = Vec::new();
    for does in modules {
        urls.push(module(*does).await);
    }
    let config =
        config::KsmConfig { urls, deadline: Duration::from_millis(deadline), in_flight: 256, ca: None };
    Ksm::new(&config).unwrap().decrypt(OTP).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_they_say_together() {
    use Does::{Late, Nothing, Pours, Says, Writes};
    let genuine = KsmVerdict::Genuine { position: Position::yubikey(1, 0), timestamp: 0x000f_8d40 };
    let (unknown, corrupt) = (Says("ERR Unknown yubikey\n"), Says("ERR Corrupt OTP\n"));
    let broken = Writes("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n");
    for (number, (modules, said)) in [
        (&[Says(GENUINE)][..], Ok(genuine)),
        (&[unknown, Says(GENUINE)], Ok(genuine)),
        (&[broken, Says(GENUINE)], Ok(genuine)),
        (&[Nothing, Says(GENUINE)], Ok(genuine)),
        (&[Nothing, Nothing, Says(GENUINE)], Ok(genuine)),
        // Slower than its third, and yet in time.
        (&[Late(500, GENUINE), Nothing], Ok(genuine)),
        (&[unknown], Ok(KsmVerdict::Unknown)),
        (&[unknown, unknown], Ok(KsmVerdict::Unknown)),
        (&[corrupt], Ok(KsmVerdict::NotGenuine)),
        (&[unknown, corrupt], Ok(KsmVerdict::NotGenuine)),
        (&[unknown, broken], Err(Code::KsmHttpStatus)),
        (&[broken, unknown], Err(Code::KsmHttpStatus)),
        (&[unknown, Nothing], Err(Code::KsmTimeout)),
        (&[Says("ERR Database error\n")], Err(Code::KsmDatabaseFailed)),
        (
            &[Writes("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n")],
            Err(Code::KsmHttpStatus),
        ),
        (&[Writes("nonsense")], Err(Code::KsmUnreachable)),
        (&[Pours], Err(Code::KsmAnswerInvalid)),
    ]
    .into_iter()
    .enumerate()
    {
        match (asked(modules, 900).await, said) {
            (Ok(got), Ok(said)) => assert_eq!(got, said, "{number}"),
            (Err(got), Err(code)) => {
                assert_eq!(got.diagnostic().code, code, "{number}: {got}");
                let got = got.to_string();
                for secret in [OTP, &OTP[12..], "hunter2", "otp="] {
                    assert!(!got.contains(secret), "{number}: {got}");
                }
            }
            (got, said) => panic!("{number}: {got:?}, not {said:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_there() {
    let config = config::KsmConfig {
        urls: vec!["http://127.0.0.1:1/wsapi/decrypt".to_owned()],
        deadline: Duration::from_secs(2),
        in_flight: 256,
        ca: None,
    };
    let fault = Ksm::new(&config).unwrap().decrypt(OTP).await.unwrap_err();
    assert_eq!(fault.diagnostic().code, Code::KsmUnreachable);
    let why = fault.to_string();
    assert!(why.contains("127.0.0.1:1: ") && !why.contains("os error"), "{why}");
    assert!(!why.contains(OTP) && !why.contains("http://"), "{why}");
    let config = config::KsmConfig { urls: vec!["http://[::1/".to_owned()], ..config };
    assert!(Ksm::new(&config).is_err());
}
