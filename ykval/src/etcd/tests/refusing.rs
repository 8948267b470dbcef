//! A member that refuses tokens, and gives none.

use super::*;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::service::service_fn;
use hyper::{Request as Ask, Response as Http};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use tokio::net::{TcpListener, TcpStream};

/// Passes everything on to a member. While `ill`, it hangs as it is asked for a token, and passes on another token than it was
/// given: which the member refuses.
async fn beside(to: u16, ill: Arc<AtomicBool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
            let far = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(far));
            let (sender, connection) = far.await.unwrap();
            tokio::spawn(connection);
            let ill = Arc::clone(&ill);
            let service = service_fn(move |asked: Ask<Incoming>| {
                let (mut sender, ill) = (sender.clone(), Arc::clone(&ill));
                async move {
                    let (mut head, body) = asked.into_parts();
                    if ill.load(Ordering::SeqCst) {
                        if head.uri.path().ends_with("/Authenticate") {
                            std::future::pending::<()>().await;
                        }
                        if let Some(token) = head.headers.get_mut("token") {
                            *token = HeaderValue::from_static("another.1");
                        }
                    }
                    let body = body.collect().await?.to_bytes();
                    let (head, body) =
                        sender.send_request(Ask::from_parts(head, Full::new(body))).await?.into_parts();
                    let body = body.collect().await?;
                    let trailers = body.trailers().cloned();
                    let body = Full::new(body.to_bytes());
                    let body =
                        body.with_trailers(async move { trailers.map(Ok::<_, std::convert::Infallible>) });
                    Ok::<Http<_>, hyper::Error>(Http::from_parts(head, body))
                }
            });
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(near), service));
        }
    });
    port
}

/// The others decide, nobody waits for it again and again, and nothing is stored twice. When it is well, it is used.
#[test]
fn a_member_that_gives_no_token() {
    let Some(cluster) = Cluster::start(2, &[]) else { return };
    cluster.enable_users();
    let mut config = login::with_user(&cluster, "ykvald", login::password(&cluster, "pw", "pw"));
    wait(async {
        let ill = Arc::new(AtomicBool::new(false));
        let port = beside(config.endpoints[0].port, Arc::clone(&ill)).await;
        config.endpoints[0].port = port;
        let etcd = client(&config);
        let is_up = |up: [bool; 2]| {
            let observed = etcd.observed();
            observed.iter().map(|member| member.is_up).eq(up)
        };
        let until = async |up: [bool; 2]| {
            let begun = Instant::now();
            while !is_up(up) {
                assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", etcd.observed());
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        etcd.txn(put("/mine/first", "1")).await.unwrap();
        until([true, true]).await;
        ill.store(true, Ordering::SeqCst);
        // So many at the same time that some go to each.
        let all = (0..12).map(|n| {
            let etcd = etcd.clone();
            tokio::spawn(async move { etcd.txn(put(format!("/mine/{n}"), "1")).await.map(drop) })
        });
        for done in all.collect::<Vec<_>>() {
            done.await.unwrap().unwrap();
        }
        for n in 0..12 {
            assert_eq!(etcd.range(get(format!("/mine/{n}"))).await.unwrap().kvs[0].version, 1);
        }
        // Meanwhile the member answers what it is asked in the background.
        for _ in 0..30 {
            assert!(is_up([false, true]), "{:?}", etcd.observed());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        ill.store(false, Ordering::SeqCst);
        until([true, true]).await;
    });
}
