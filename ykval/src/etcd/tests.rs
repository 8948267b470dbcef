//! Against real members, as Debian has them; and against what is not etcd.

use super::cluster::{Cluster, shared};
use super::messages::*;
use super::*;
use crate::config::{EtcdClientFiles, EtcdEndpoint, EtcdUser};
use rustix::process::Signal;
use std::future::Future;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;
use yubiotp::diagnostic::Code;

mod clocks;
mod hostile;
mod login;
mod members;
mod refusing;
mod requests;

/// Waits for what is asynchronous, from any thread.
fn wait<T>(future: impl Future<Output = T>) -> T {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
    });
    RUNTIME.block_on(future)
}

fn client(config: &EtcdConfig) -> Etcd {
    Etcd::new(config, Arc::new(AnyCluster)).unwrap()
}

/// A put, as a transaction.
fn put(key: impl Into<Vec<u8>>, value: &str) -> TxnRequest {
    TxnRequest { success: vec![put_op(key, value)], ..TxnRequest::default() }
}

fn put_op(key: impl Into<Vec<u8>>, value: &str) -> RequestOp {
    let put = PutRequest { key: key.into(), value: value.into(), ..PutRequest::default() };
    RequestOp { request: Some(Request::Put(put)) }
}

fn get(key: impl Into<Vec<u8>>) -> RangeRequest {
    RangeRequest { key: key.into(), ..RangeRequest::default() }
}

/// The value of a key.
async fn value(etcd: &Etcd, key: &str) -> Option<String> {
    let found = etcd.range(get(key)).await.unwrap();
    found.kvs.first().map(|found| String::from_utf8(found.value.clone()).unwrap())
}
