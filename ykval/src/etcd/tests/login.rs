//! TLS, client certificates, users and their tokens.

use super::*;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

#[test]
fn tls_both_ways() {
    let Some(cluster) = Cluster::with_tls() else { return };
    let good = cluster.config();
    wait(async {
        client(&good).txn(put("/a", "1")).await.unwrap();
        assert_eq!(value(&client(&good), "/a").await.as_deref(), Some("1"));

        let with = |certificate: &str, key: &str| {
            let client = EtcdClientFiles { certificate: cluster.file(certificate), key: cluster.file(key) };
            EtcdConfig { client: Some(client), ..good.clone() }
        };
        let other_ca = EtcdConfig { ca: Some(cluster.file("other.pem")), ..good.clone() };
        let without = EtcdConfig { client: None, ..good.clone() };
        let plain = EtcdConfig { tls: false, ..good.clone() };
        let mut named = good.clone();
        named.endpoints[0].host = "localhost".to_owned();
        for (what, config, names) in [
            ("ca", other_ca, "other.pem (ca in [etcd])"),
            ("none", without, "certificate and key in [etcd]"),
            ("strange", with("strange.crt", "strange.key"), "--trusted-ca-file"),
            ("expired", with("expired.crt", "expired.key"), "which expired on 2020-01-01"),
            ("plain", plain, "etcds:// in store"),
            ("name", named, "with localhost among its names"),
        ] {
            // The member's last word may be lost with the connection: what to do is said nevertheless.
            for _ in 0..10 {
                let fault = client(&config).txn(put("/b", "1")).await.unwrap_err();
                assert_eq!(fault.outcome, Outcome::NotStored, "{what}: {fault}");
                assert_eq!(fault.diagnostic().code, Code::DatabaseTlsFailed, "{what}: {fault}");
                assert!(fault.to_string().contains(names), "{what}: {fault}");
            }
        }
        assert_eq!(value(&client(&good), "/b").await, None);
        let gone = EtcdConfig { ca: Some(cluster.file("gone.pem")), ..good.clone() };
        let found = Etcd::new(&gone, Arc::new(AnyCluster)).err().unwrap();
        assert_eq!(found.code, Code::FileMissing);
        let pair = |certificate: &str, key: &str| Etcd::new(&with(certificate, key), Arc::new(AnyCluster));
        assert_eq!(pair("client.crt", "other.key").err().unwrap().code, Code::CertificateKeyMismatch);
        assert_eq!(pair("client.crt", "empty.key").err().unwrap().code, Code::CertificateInvalid);
    });
}

/// TLS where the member does not speak it.
#[test]
fn tls_at_a_plain_port() {
    let Some(plain) = shared() else { return };
    let Some(with_tls) = Cluster::with_tls() else { return };
    let config = EtcdConfig { endpoints: plain.config().endpoints, ..with_tls.config() };
    let fault = wait(client(&config).range(get("/b"))).unwrap_err();
    assert_eq!(fault.diagnostic().code, Code::DatabaseTlsFailed, "{fault}");
    assert!(fault.to_string().contains("--cert-file"), "{fault}");
}

/// Several members, of which each has a reason of its own.
#[test]
fn each_member_has_its_reason() {
    let Some(cluster) = Cluster::with_tls() else { return };
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut config = EtcdConfig { ca: Some(cluster.file("other.pem")), ..cluster.config() };
    config.endpoints.push(EtcdEndpoint { host: "127.0.0.1".to_owned(), port: closed.port() });
    let fault = wait(client(&config).range(get("/b"))).unwrap_err();
    assert_eq!(fault.diagnostic().code, Code::DatabaseUnreachable, "{fault}");
    for endpoint in &config.endpoints {
        assert!(fault.diagnostic().problem.contains(&format!("{endpoint}: ")), "{fault}");
    }
    assert!(fault.to_string().contains("other.pem (ca in [etcd])"), "{fault}");
}

/// A file that only its owner may read.
pub(super) fn password(cluster: &Cluster, name: &str, password: &str) -> PathBuf {
    let path = cluster.folder(0).join(name);
    std::fs::write(&path, password).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

pub(super) fn with_user(cluster: &Cluster, name: &str, password_file: PathBuf) -> EtcdConfig {
    EtcdConfig { user: Some(EtcdUser { name: name.to_owned(), password_file }), ..cluster.config() }
}

/// A token that expired, or that the member forgot, is replaced without anybody noticing.
#[test]
fn users_and_tokens() {
    let Some(mut cluster) = Cluster::start(1, &["--auth-token-ttl=1"]) else { return };
    let good = password(&cluster, "pw", "pw\n");
    let own = with_user(&cluster, "ykvald", good.clone());
    wait(async {
        let early = client(&own).txn(put("/mine/a", "0")).await.unwrap_err();
        assert_eq!((early.outcome, early.kind), (Outcome::NotStored, EtcdFaultKind::Login), "{early}");
        cluster.enable_users();

        let etcd = client(&own);
        etcd.txn(put("/mine/a", "1")).await.unwrap();
        let fault = etcd.txn(put("/theirs/a", "1")).await.unwrap_err();
        assert_eq!((fault.outcome, fault.kind), (Outcome::NotStored, EtcdFaultKind::Rights), "{fault}");
        assert_eq!(fault.diagnostic().code, Code::DatabaseRightsMissing);
        assert_eq!(etcd.range(get("/theirs/a")).await.unwrap_err().kind, EtcdFaultKind::Rights);
        assert!(etcd.status().await[0].said.is_ok());

        // Expired: etcd looks once a second.
        tokio::time::sleep(Duration::from_millis(2500)).await;
        etcd.txn(put("/mine/a", "2")).await.unwrap();
        // Forgotten.
        cluster.stop(0, Signal::TERM);
        cluster.again(0, true);
        etcd.txn(put("/mine/a", "3")).await.unwrap();
        // Older than a change of rights.
        cluster.etcdctl(&["--user=root:root", "user", "add", "another:x"]);
        etcd.txn(put("/mine/a", "4")).await.unwrap();
        assert_eq!(value(&etcd, "/mine/a").await.as_deref(), Some("4"));
        // The password was changed, and then its file.
        cluster.etcdctl(&["--user=root:root", "user", "delete", "ykvald"]);
        let deleted = etcd.txn(put("/mine/a", "5")).await.unwrap_err();
        assert_eq!(deleted.outcome, Outcome::NotStored, "{deleted}");
        cluster.etcdctl(&["--user=root:root", "user", "add", "ykvald:new"]);
        cluster.etcdctl(&["--user=root:root", "user", "grant-role", "ykvald", "ykvald"]);
        let old = etcd.txn(put("/mine/a", "5")).await.unwrap_err();
        assert_eq!((old.outcome, old.kind), (Outcome::NotStored, EtcdFaultKind::Login), "{old}");
        assert_eq!(old.diagnostic().code, Code::DatabaseLoginRefused);
        password(&cluster, "pw", "new");
        etcd.txn(put("/mine/a", "5")).await.unwrap();

        let nobody = EtcdConfig { user: None, ..own.clone() };
        let fault = client(&nobody).txn(put("/mine/a", "6")).await.unwrap_err();
        assert_eq!((fault.outcome, fault.kind), (Outcome::NotStored, EtcdFaultKind::Login), "{fault}");
        assert_eq!(value(&etcd, "/mine/a").await.as_deref(), Some("5"));
    });
}
