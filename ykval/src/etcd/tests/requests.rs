//! Requests, their answers, and what refusals prove.

use super::*;

fn client_and_prefix() -> Option<(Etcd, String)> {
    let config = shared()?.config();
    Some((client(&config), config.prefix))
}

fn compare_value(key: &str, result: CompareResult, value: &str) -> Compare {
    Compare {
        result: result.into(),
        target: CompareTarget::Value.into(),
        key: key.into(),
        target_union: Some(TargetUnion::Value(value.into())),
        ..Compare::default()
    }
}

/// What the store does with every OTP: one transaction of several nested ones, each with its own comparison.
#[test]
fn a_position_only_grows() {
    let Some((etcd, prefix)) = client_and_prefix() else { return };
    let (a, b) = (format!("{prefix}a"), format!("{prefix}b"));
    let step = |key: &str, to: &str| TxnRequest {
        compare: vec![compare_value(key, CompareResult::Less, to)],
        success: vec![put_op(key, to)],
        failure: vec![RequestOp { request: Some(Request::Range(get(key))) }],
    };
    let nested = |txn| RequestOp { request: Some(Request::Txn(txn)) };
    wait(async {
        let both = [put_op(a.as_str(), "05"), put_op(b.as_str(), "05")];
        etcd.txn(TxnRequest { success: both.into(), ..TxnRequest::default() }).await.unwrap();
        let success = vec![nested(step(&a, "06")), nested(step(&b, "05"))];
        let done = etcd.txn(TxnRequest { success, ..TxnRequest::default() }).await.unwrap();
        let said: Vec<_> = done.responses.iter().map(|said| said.response.clone().unwrap()).collect();
        let [Response::Txn(grown), Response::Txn(refused)] = said.as_slice() else { panic!("{said:?}") };
        assert!(grown.succeeded && !refused.succeeded);
        let Some(Response::Range(stored)) = &refused.responses[0].response else { panic!("{refused:?}") };
        assert_eq!(stored.kvs[0].value, b"05");
        assert_eq!(
            (value(&etcd, &a).await.as_deref(), value(&etcd, &b).await.as_deref()),
            (Some("06"), Some("05"))
        );
    });
}

/// Every field that is read or written: of keys, revisions, ranges and deletions.
#[test]
fn what_is_stored_is_read() {
    let Some((etcd, prefix)) = client_and_prefix() else { return };
    wait(async {
        let puts = ["b", "a", "c"].map(|name| put_op(format!("{prefix}{name}"), name));
        let done = etcd.txn(TxnRequest { success: puts.into(), ..TxnRequest::default() }).await.unwrap();
        let revision = done.header.unwrap().revision;
        let all = RangeRequest {
            key: prefix.clone().into(),
            range_end: format!("{}0", prefix.trim_end_matches('/')).into(),
            sort_order: SortOrder::Descend.into(),
            sort_target: SortTarget::Key.into(),
            limit: 2,
            ..RangeRequest::default()
        };
        let read = etcd.range(all.clone()).await.unwrap();
        let keys: Vec<_> = read.kvs.iter().map(|kv| kv.value.as_slice()).collect();
        assert_eq!((keys, read.more, read.count), (vec![&b"c"[..], b"b"], true, 3));
        let c = &read.kvs[0];
        assert_eq!((c.create_revision, c.mod_revision, c.version), (revision, revision, 1));
        let only = RangeRequest { keys_only: true, limit: 0, ..all.clone() };
        let read = etcd.range(only).await.unwrap();
        assert!(read.kvs.len() == 3 && read.kvs.iter().all(|kv| kv.value.is_empty()));
        let count = RangeRequest { count_only: true, ..all.clone() };
        let read = etcd.range(count).await.unwrap();
        assert_eq!((read.kvs.len(), read.count), (0, 3));

        // Of the past, of one revision, and by revision.
        etcd.txn(put(format!("{prefix}a"), "new")).await.unwrap();
        let old = etcd.range(RangeRequest { revision, ..get(format!("{prefix}a")) }).await.unwrap();
        assert_eq!((old.kvs[0].value.as_slice(), old.kvs[0].version), (&b"a"[..], 1));
        let newer = RangeRequest { min_mod_revision: revision + 1, ..all.clone() };
        assert_eq!(etcd.range(newer).await.unwrap().kvs.len(), 1);

        let compare = |key: &str, target: CompareTarget, union: TargetUnion| Compare {
            result: CompareResult::Equal.into(),
            target: target.into(),
            key: format!("{prefix}{key}").into(),
            target_union: Some(union),
            ..Compare::default()
        };
        let delete = DeleteRangeRequest {
            key: format!("{prefix}a").into(),
            range_end: format!("{prefix}c").into(),
            prev_kv: true,
        };
        let replace =
            PutRequest { key: format!("{prefix}c").into(), value: b"x".into(), prev_kv: true, lease: 0 };
        let ops = [Request::DeleteRange(delete), Request::Put(replace)];
        let txn = TxnRequest {
            compare: vec![
                compare("c", CompareTarget::Mod, TargetUnion::ModRevision(revision)),
                compare("c", CompareTarget::Create, TargetUnion::CreateRevision(revision)),
                compare("a", CompareTarget::Version, TargetUnion::Version(2)),
                compare("missing", CompareTarget::Version, TargetUnion::Version(0)),
                compare("c", CompareTarget::Lease, TargetUnion::Lease(0)),
            ],
            success: ops.map(|op| RequestOp { request: Some(op) }).into(),
            failure: Vec::new(),
        };
        let done = etcd.txn(txn).await.unwrap();
        assert!(done.succeeded);
        let Some(Response::DeleteRange(deleted)) = &done.responses[0].response else { panic!("{done:?}") };
        assert_eq!((deleted.deleted, deleted.prev_kvs[0].value.as_slice()), (2, &b"new"[..]));
        let Some(Response::Put(replaced)) = &done.responses[1].response else { panic!("{done:?}") };
        assert_eq!(replaced.prev_kv.as_ref().unwrap().value, b"c");

        let read = TxnRequest {
            success: vec![RequestOp { request: Some(Request::Range(all)) }],
            ..TxnRequest::default()
        };
        let read = etcd.read(read).await.unwrap();
        let Some(Response::Range(read)) = &read.responses[0].response else { panic!("{read:?}") };
        assert_eq!(read.count, 1);
    });
}

/// What etcd refuses before it proposes it is told apart from what may be stored.
#[test]
fn refusals_that_prove_that_nothing_was_stored() {
    let Some(cluster) = Cluster::start(1, &["--max-request-bytes=65536", "--max-txn-ops=8"]) else { return };
    let etcd = client(&cluster.config());
    let txn = |success| TxnRequest { success, ..TxnRequest::default() };
    wait(async {
        let many = (0..9).map(|at| put_op(format!("/many/{at}"), "x")).collect();
        let twice = vec![put_op("/twice", "x"), put_op("/twice", "y")];
        for (refused, key) in [
            (txn(many), "/many/0"),
            (txn(twice), "/twice"),
            (put("/large", &"x".repeat(100_000)), "/large"),
            (put("", "x"), "/none"),
        ] {
            let fault = etcd.txn(refused).await.unwrap_err();
            assert_eq!((fault.outcome, fault.kind), (Outcome::NotStored, EtcdFaultKind::Request), "{fault}");
            assert_eq!(value(&etcd, key).await, None);
        }
        let revision = etcd.txn(put("/a", "1")).await.unwrap().header.unwrap().revision;
        etcd.txn(put("/a", "2")).await.unwrap();
        cluster.etcdctl(&["compact", &(revision + 1).to_string()]);
        let old = etcd.range(RangeRequest { revision, ..get("/a") }).await.unwrap_err();
        assert_eq!(old.kind, EtcdFaultKind::Compacted, "{old}");
    });
}

/// A full quota is a fault of which nobody can say whether the request was stored; and reading goes on.
#[test]
fn a_database_that_is_full() {
    let Some(cluster) = Cluster::start(1, &["--quota-backend-bytes=200000"]) else { return };
    let etcd = client(&cluster.config());
    wait(async {
        let mut fault = None;
        // etcd looks at the size of what it has written, ten times a second.
        for at in 0..2000 {
            if let Err(why) = etcd.txn(put(format!("/full/{at}"), &"x".repeat(20_000))).await {
                fault = Some(why);
                break;
            }
        }
        let fault = fault.expect("etcd has no quota");
        assert_eq!((fault.outcome, fault.kind), (Outcome::Unknown, EtcdFaultKind::NoSpace), "{fault}");
        assert_eq!(fault.diagnostic().code, Code::DatabaseFull);
        assert!(value(&etcd, "/full/0").await.is_some());
        let alarms = etcd.alarms().await.unwrap();
        assert_eq!(alarms[0].alarm(), AlarmType::NoSpace);
        let status = etcd.status().await;
        assert!(!status[0].said.as_ref().unwrap().errors.is_empty());
    });
}

/// An answer larger than what was asked for can be is a fault, and the connection is of use for the next call.
#[test]
fn an_answer_that_is_too_large() {
    let Some((etcd, prefix)) = client_and_prefix() else { return };
    wait(async {
        for at in 0..9 {
            etcd.txn(put(format!("{prefix}{at}"), &"x".repeat(1_200_000))).await.unwrap();
        }
        let all = RangeRequest {
            range_end: format!("{}0", prefix.trim_end_matches('/')).into(),
            ..get(prefix.as_str())
        };
        let too_large = |fault: EtcdFault| assert_eq!(fault.kind, EtcdFaultKind::Answer, "{fault}");
        let some = |limit| RangeRequest { limit, ..all.clone() };
        let txn = |limit| {
            let request = Some(Request::Range(some(limit)));
            TxnRequest { success: vec![RequestOp { request }], ..TxnRequest::default() }
        };
        too_large(etcd.range(all.clone()).await.map(drop).unwrap_err());
        assert_eq!(etcd.range(some(6)).await.unwrap().kvs.len(), 6);
        // One key.
        too_large(etcd.range(get(format!("{prefix}0"))).await.map(drop).unwrap_err());
        // Some tokens.
        too_large(etcd.read(txn(4)).await.map(drop).unwrap_err());
        assert!(etcd.read(txn(3)).await.is_ok());
        // What changes something.
        too_large(etcd.txn(txn(1)).await.map(drop).unwrap_err());
        assert!(etcd.txn(put(format!("{prefix}0"), "x")).await.is_ok());
    });
}

/// The store sees the header of every answer, and may refuse it.
#[test]
fn another_cluster_is_refused() {
    struct Only {
        cluster: u64,
        seen: AtomicI64,
    }
    impl Headers for Only {
        fn known(&self) -> i64 {
            self.seen.load(Ordering::SeqCst)
        }

        fn check(&self, header: &ResponseHeader, known: Option<i64>) -> Result<(), Diagnostic> {
            if header.cluster_id != self.cluster || known.is_some_and(|known| header.revision < known) {
                return Err(Diagnostic::error(Code::DatabaseIsOther, "is another cluster"));
            }
            self.seen.fetch_max(header.revision, Ordering::SeqCst);
            Ok(())
        }
    }
    let Some(cluster) = shared() else { return };
    let config = cluster.config();
    wait(async {
        let own = client(&config).range(get("/x")).await.unwrap().header.unwrap().cluster_id;
        let only = |cluster, seen| Arc::new(Only { cluster, seen: AtomicI64::new(seen) });
        let same = only(own, 0);
        let etcd = Etcd::new(&config, Arc::clone(&same) as Arc<dyn Headers>).unwrap();
        let revision =
            etcd.txn(put(format!("{}a", config.prefix), "x")).await.unwrap().header.unwrap().revision;
        assert!(same.known() >= revision);
        let ahead = Etcd::new(&config, only(own, revision + 1_000_000)).unwrap();
        let fault = ahead.range(get("/x")).await.unwrap_err();
        assert_eq!(fault.kind, EtcdFaultKind::OtherCluster, "{fault}");
        // Noticed before the transaction is sent.
        let key = format!("{}b", config.prefix);
        let other = Etcd::new(&config, only(own ^ 1, 0)).unwrap();
        let fault = other.txn(put(key.as_str(), "x")).await.unwrap_err();
        assert_eq!((fault.outcome, fault.kind), (Outcome::NotStored, EtcdFaultKind::OtherCluster), "{fault}");
        assert_eq!(value(&etcd, &key).await, None);

        // What several members say alike is said once.
        let mut several = config.clone();
        let twin = EtcdEndpoint { host: "localhost".to_owned(), ..several.endpoints[0].clone() };
        several.endpoints = vec![several.endpoints[0].clone(), twin];
        let names: Vec<_> = several.endpoints.iter().map(ToString::to_string).collect();
        let other = Etcd::new(&several, only(own ^ 1, 0)).unwrap();
        let said = other.range(get("/x")).await.unwrap_err().diagnostic().problem();
        assert_eq!(said, format!("{}: is another cluster", names.join(", ")));
    });
}
