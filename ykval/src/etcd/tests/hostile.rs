//! What is not etcd, and a network that loses answers.

use super::*;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::header::HeaderValue;
use hyper::service::service_fn;
use hyper::{HeaderMap, Response as Http};
use hyper_util::rt::{TokioExecutor, TokioIo};
use proptest::prelude::*;
use prost::Message as _;
use std::sync::atomic::AtomicBool;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

fn at(port: u16) -> EtcdConfig {
    EtcdConfig {
        endpoints: vec![EtcdEndpoint { host: "127.0.0.1".to_owned(), port }],
        prefix: "/x/".to_owned(),
        tls: false,
        ca: None,
        client: None,
        user: None,
        deadline: Duration::from_secs(3),
        seen: None,
    }
}

/// Answers every call with this body and these trailers.
async fn answering(body: Vec<u8>, trailers: &'static [(&'static str, &'static str)]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let Ok((socket, _)) = listener.accept().await else { return };
            let body = body.clone();
            let service = service_fn(move |_| {
                let body = Bytes::from(body.clone());
                async move {
                    let pairs = trailers
                        .iter()
                        .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
                    let trailers: HeaderMap = pairs.collect();
                    let body = Full::new(body)
                        .with_trailers(async move { Some(Ok::<_, std::convert::Infallible>(trailers)) });
                    Http::builder().header("content-type", "application/grpc").body(body)
                }
            });
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(socket), service));
        }
    });
    port
}

/// A status as a member of another cluster says it, with something wrong around it.
#[test]
fn answers_that_are_not_etcds() {
    let header = ResponseHeader { cluster_id: 1, member_id: 2, revision: 3, raft_term: 4 };
    let status = StatusResponse { header: Some(header), leader: 2, ..StatusResponse::default() };
    let framed =
        |message: Vec<u8>| [vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap()], message].concat();
    let good = framed(status.encode_to_vec());
    let without = framed(StatusResponse { header: None, ..status }.encode_to_vec());
    wait(async {
        for (what, body, trailers) in [
            ("no status", good.clone(), &[][..]),
            ("not a number", good.clone(), &[("grpc-status", "zero")]),
            ("unknown", good.clone(), &[("grpc-status", "99")]),
            ("empty", Vec::new(), &[("grpc-status", "0")]),
            ("short", good[..3].to_vec(), &[("grpc-status", "0")]),
            ("cut off", good[..good.len() - 1].to_vec(), &[("grpc-status", "0")]),
            ("two", [good.clone(), good.clone()].concat(), &[("grpc-status", "0")]),
            ("compressed", [&[1], &good[1..]].concat(), &[("grpc-status", "0")]),
            ("no header", without, &[("grpc-status", "0")]),
            ("no message", framed(vec![0xff; 20]), &[("grpc-status", "0")]),
        ] {
            let port = answering(body, trailers).await;
            let fault = client(&at(port)).txn(put("/a", "1")).await.unwrap_err();
            // The member is looked at before the transaction is sent.
            assert_eq!(fault.outcome, Outcome::NotStored, "{what}: {fault}");
        }
        // It passes for a member, and its answer to the transaction is that of a status: which decides nothing.
        let port = answering(good, &[("grpc-status", "0")]).await;
        let answer = client(&at(port)).txn(put("/a", "1")).await;
        assert!(answer.is_err() || answer.is_ok_and(|answer| !answer.succeeded));
    });
}

/// Servers that speak something else, or nothing.
#[test]
fn servers_that_are_not_etcd() {
    wait(async {
        for said in [&b""[..], b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", &[0xff; 4096]] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            tokio::spawn(async move {
                let mut kept = Vec::new();
                while let Ok((mut socket, _)) = listener.accept().await {
                    let _ = socket.write_all(said).await;
                    kept.push(socket);
                }
            });
            let fault = client(&at(port)).txn(put("/a", "1")).await.unwrap_err();
            assert_eq!(fault.outcome, Outcome::NotStored, "{fault}");
            assert_eq!(fault.diagnostic().code, Code::DatabaseUnreachable, "{fault}");
        }
    });
}

/// Passes everything on to a member; but once `cut` is set, nothing that the member answers, and ends the connection.
async fn relay(to: u16, cut: Arc<AtomicBool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
            let (mut near_read, mut near_write) = near.into_split();
            let (mut far_read, mut far_write) = far.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut near_read, &mut far_write).await });
            let cut = Arc::clone(&cut);
            tokio::spawn(async move {
                let mut buffer = vec![0; 65536];
                while let Ok(count @ 1..) = far_read.read(&mut buffer).await {
                    if cut.load(Ordering::SeqCst) || near_write.write_all(&buffer[..count]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

/// The transaction reached etcd, its answer reached nobody: that is told as unknown, and it is not sent again.
#[test]
fn a_lost_answer_is_unknown() {
    let Some(cluster) = shared() else { return };
    let config = cluster.config();
    let key = format!("{}a", config.prefix);
    wait(async {
        let cut = Arc::new(AtomicBool::new(false));
        let port = relay(config.endpoints[0].port, Arc::clone(&cut)).await;
        let behind = EtcdConfig { prefix: config.prefix.clone(), ..at(port) };
        let etcd = client(&behind);
        etcd.txn(put(key.as_str(), "1")).await.unwrap();
        cut.store(true, Ordering::SeqCst);
        let fault = etcd.txn(put(key.as_str(), "2")).await.unwrap_err();
        assert_eq!(fault.outcome, Outcome::Unknown, "{fault}");
        let direct = client(&config);
        let stored = direct.range(get(key.as_str())).await.unwrap().kvs.remove(0);
        assert_eq!((stored.value.as_slice(), stored.version), (&b"2"[..], 2));
        // And it goes on.
        cut.store(false, Ordering::SeqCst);
        etcd.txn(put(key.as_str(), "3")).await.unwrap();
    });
}

proptest! {
    /// Whatever comes instead of an answer, it is read or refused, and what is read can be written again.
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(read) = grpc::message::<TxnResponse>(&bytes) {
            let again = grpc::frame(&read).unwrap();
            prop_assert_eq!(grpc::message::<TxnResponse>(&again).unwrap(), read);
        }
        let _ = grpc::message::<RangeResponse>(&bytes);
        let _ = grpc::message::<StatusResponse>(&bytes);
    }

    /// The text of a status may be anything.
    #[test]
    fn any_status(code in 0_u32..20, text in "[ -~]{0,40}") {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-status", HeaderValue::from(code));
        headers.insert("grpc-message", HeaderValue::from_str(&text).unwrap());
        let fault = grpc::Status::of(&headers).unwrap().fault();
        prop_assert!(!fault.to_string().is_empty());
    }
}
