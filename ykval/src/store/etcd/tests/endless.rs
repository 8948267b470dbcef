//! What passes for a member, and whose lists do not end.

use super::*;
use crate::etcd::messages::{
    KeyValue, PutRequest, RangeRequest, RangeResponse, Request, RequestOp, Response, ResponseHeader,
    ResponseOp, StatusResponse, TxnRequest, TxnResponse,
};
use crate::store::PAGE;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderValue;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request as Asked, Response as Http};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use yubiotp::diagnostic::Code;

const HEADER: ResponseHeader = ResponseHeader { cluster_id: 1, member_id: 2, revision: 3, raft_term: 4 };

/// More requests than any list here needs.
const ENOUGH: usize = 50;

/// What a member answers to the nth range that it is asked for.
trait Says: Fn(usize, &RangeRequest) -> RangeResponse + Send + Sync + 'static {}

impl<F: Fn(usize, &RangeRequest) -> RangeResponse + Send + Sync + 'static> Says for F {}

/// A member that answers so, and how many ranges it was asked for.
async fn member(says: impl Says) -> (Link, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (asked, says) = (Arc::new(AtomicUsize::new(0)), Arc::new(says));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (count, says) = (Arc::clone(&count), Arc::clone(&says));
            let service = service_fn(move |asked: Asked<Incoming>| {
                let (count, says) = (Arc::clone(&count), Arc::clone(&says));
                async move {
                    let path = asked.uri().path().to_owned();
                    let body = asked.into_body().collect().await.unwrap().to_bytes();
                    let range = |range: &RangeRequest| {
                        let nth = count.fetch_add(1, Ordering::SeqCst);
                        RangeResponse { header: Some(HEADER), ..says(nth, range) }
                    };
                    let answer = match path.rsplit('/').next().unwrap() {
                        "Status" => StatusResponse { header: Some(HEADER), leader: 2, ..Default::default() }
                            .encode_to_vec(),
                        "Range" => range(&RangeRequest::decode(&body[5..]).unwrap()).encode_to_vec(),
                        _ => txn(&TxnRequest::decode(&body[5..]).unwrap(), range).encode_to_vec(),
                    };
                    let length = u32::try_from(answer.len()).unwrap().to_be_bytes();
                    let body = Full::new(Bytes::from([&[0][..], &length, &answer].concat()));
                    let done = HeaderMap::from_iter([(
                        "grpc-status".parse().unwrap(),
                        HeaderValue::from_static("0"),
                    )]);
                    let body = body.with_trailers(async move { Some(Ok::<_, Infallible>(done)) });
                    Http::builder().header("content-type", "application/grpc").body(body)
                }
            });
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(socket), service));
        }
    });
    let endpoints = vec![crate::config::EtcdEndpoint { host: "127.0.0.1".to_owned(), port }];
    let (prefix, deadline) = ("/x/".to_owned(), Duration::from_secs(3));
    let config = EtcdConfig {
        endpoints,
        prefix,
        tls: false,
        ca: None,
        client: None,
        user: None,
        deadline,
        seen: None,
    };
    (Link::new(&config).unwrap(), asked)
}

/// Each read of a transaction by itself.
fn txn(asked: &TxnRequest, range: impl Fn(&RangeRequest) -> RangeResponse) -> TxnResponse {
    let answer = |op: &RequestOp| match &op.request {
        Some(Request::Range(asked)) => ResponseOp { response: Some(Response::Range(range(asked))) },
        other => panic!("{other:?}"),
    };
    let responses = asked.success.iter().map(answer).collect();
    TxnResponse { header: Some(HEADER), succeeded: true, responses }
}

fn keys(names: &[String], value: &str) -> Vec<KeyValue> {
    let key = |name: &String| KeyValue {
        key: format!("/x/{name}").into_bytes(),
        value: value.as_bytes().to_vec(),
        ..KeyValue::default()
    };
    names.iter().map(key).collect()
}

/// So many names that begin with this, from a number on, in hexadecimal.
fn names(begin: &str, first: usize, count: usize) -> Vec<String> {
    (first..first + count).map(|n| format!("{begin}{n:012x}")).collect()
}

/// The fault, which came before the member had to answer for ever.
fn refused<T>(read: impl Future<Output = Result<T, StoreFault>>, asked: &AtomicUsize, what: &str) {
    let read = wait(async { tokio::time::timeout(Duration::from_secs(20), read).await });
    let fault = read.unwrap_or_else(|_| panic!("{what}: does not end")).err();
    let fault = fault.unwrap_or_else(|| panic!("{what}: was taken for a list"));
    let found = fault.diagnostic();
    assert_eq!(found.code, Code::DatabaseFailed, "{what}: {found}");
    assert!(!found.remedies.is_empty(), "{what}");
    assert!(asked.load(Ordering::SeqCst) < ENOUGH, "{what}");
}

#[test]
fn a_list_that_does_not_end() {
    let list = |names: Vec<String>, more: bool, count: usize| RangeResponse {
        header: None,
        kvs: keys(&names, "x"),
        more,
        count: i64::try_from(count).unwrap(),
    };
    let clients = |first, count| names("c/", first, count);
    type Boxed = Box<dyn Fn(usize) -> RangeResponse + Send + Sync>;
    let cases: [(&str, Boxed); 11] = [
        ("the same keys for ever", Box::new(move |_| list(clients(1, PAGE), true, 2 * PAGE))),
        ("no key, and more", Box::new(move |_| list(Vec::new(), true, 2))),
        (
            "no key after the first page",
            Box::new(move |nth| list(clients(1, if nth == 0 { PAGE } else { 0 }), true, 2 * PAGE)),
        ),
        ("new keys for ever", Box::new(move |nth| list(clients(nth * PAGE, PAGE), true, 2 * PAGE))),
        ("backwards", Box::new(move |nth| list(clients((99 - nth) * PAGE, PAGE), true, 2 * PAGE))),
        ("one key twice", Box::new(move |_| list([clients(1, 1), clients(1, 1)].concat(), false, 2))),
        ("keys of others", Box::new(move |_| list(names("d/", 1, 1), false, 1))),
        ("fewer than there are", Box::new(move |_| list(clients(1, 1), false, 2))),
        ("more than there are", Box::new(move |_| list(clients(1, 2), false, 1))),
        ("a page that is not full, and more", Box::new(move |_| list(clients(1, PAGE - 1), true, PAGE))),
        (
            "fewer than there were",
            Box::new(move |nth| list(clients(nth * PAGE, PAGE), nth == 0, PAGE * (3 - 2 * nth.min(1)))),
        ),
    ];
    for (what, says) in cases {
        let (link, asked) = wait(member(move |nth, _: &RangeRequest| says(nth)));
        refused(pages::all(&link, link.keys.clients()), &asked, what);
    }
}

/// A real etcd counts what it was asked for, which is less with each page.
#[test]
fn lists_of_several_pages() {
    let Some(cluster) = shared() else { return };
    let link = Link::new(&cluster.config()).unwrap();
    wait(async {
        for count in [0, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE] {
            let all = names(&format!("{}c/", cluster_prefix(&link)), 0, count);
            for some in all.chunks(100) {
                let put = |key: &String| {
                    let put = PutRequest { key: key.clone().into_bytes(), ..PutRequest::default() };
                    RequestOp { request: Some(Request::Put(put)) }
                };
                let txn = TxnRequest { success: some.iter().map(put).collect(), ..TxnRequest::default() };
                link.client.txn(txn).await.unwrap();
            }
            let read = pages::all(&link, link.keys.clients()).await.unwrap();
            let read: Vec<_> = read.into_iter().map(|kv| String::from_utf8(kv.key).unwrap()).collect();
            assert!(read == all, "{count}: {}", read.len());
        }
    });
}

fn cluster_prefix(link: &Link) -> String {
    let (first, _) = link.keys.clients();
    String::from_utf8(first).unwrap().strip_suffix("c/").unwrap().to_owned()
}

#[test]
fn tokens_that_do_not_end() {
    type Boxed = Box<dyn Fn(&RangeRequest) -> (Vec<String>, usize) + Send + Sync>;
    let one = |n| names("t/", n, 1);
    // The tokens after the one that the last page ended with; those of a page have been named before.
    let next = |asked: &RangeRequest| {
        let last = String::from_utf8_lossy(&asked.key).strip_prefix("/x/t/").map(str::to_owned);
        let first = last.and_then(|id| usize::from_str_radix(id.get(..12)?, 16).ok()).unwrap_or(0);
        names("t/", first + usize::from(asked.keys_only), PAGE)
    };
    let cases: [(&str, Boxed); 9] = [
        ("the same token for ever", Box::new(move |_| (one(1), 1))),
        ("one token twice", Box::new(move |_| ([one(1), one(1)].concat(), 2))),
        ("one that was not named", Box::new(move |asked| (if asked.keys_only { one(1) } else { one(2) }, 1))),
        (
            "none of those that were named",
            Box::new(move |asked| (if asked.keys_only { one(1) } else { Vec::new() }, 1)),
        ),
        (
            "one of two that were named",
            Box::new(move |asked| (if asked.keys_only { names("t/", 1, 2) } else { one(1) }, 2)),
        ),
        ("more than it has", Box::new(move |_| (one(1), 0))),
        ("a page that is not full, and more", Box::new(move |_| (one(1), 2))),
        ("new ones for ever", Box::new(move |asked| (next(asked), 9 * PAGE))),
        ("last ones for ever", Box::new(move |asked| (next(asked), PAGE))),
    ];
    for (what, says) in cases {
        let (link, asked) = wait(member(move |_, asked: &RangeRequest| {
            let meta = |name: &str, value: &str| (keys(&[name.to_owned()], value), 1);
            let (kvs, count) = match &asked.key[..] {
                b"/x/meta" => meta("meta", "1|0707070707070707|0|0|"),
                b"/x/change" => meta("change", "1|1"),
                key if key.starts_with(b"/x/p/") => (Vec::new(), 0),
                _ => {
                    let (names, count) = says(asked);
                    (keys(&names, "1|e|0000000000000000||0|"), count)
                }
            };
            let more = count > kvs.len();
            RangeResponse { count: i64::try_from(count).unwrap(), kvs, more, ..RangeResponse::default() }
        }));
        refused(reads::retired(&link), &asked, what);
    }
}
