//! By TLS and passwords.

use super::super::cluster::settings;
use super::*;
use std::os::unix::fs::PermissionsExt as _;
use yubiotp::diagnostic::Code;

#[test]
fn by_tls_to_whom_the_authority_vouches_for() {
    let Some(cluster) = shared() else { return };
    wait(async {
        cluster
            .run("CREATE ROLE with_tls LOGIN PASSWORD 'hunter2'; CREATE DATABASE by_tls OWNER with_tls")
            .await;
        let port = cluster.port();
        let with = |user: &str, host: &str, mode: &str, ca: &str| config::PostgresConfig {
            ca: Some(cluster.file(ca)),
            ..settings(format!("postgres://{user}@{host}:{port}/by_tls?sslmode={mode}"))
        };
        let told = async |at: config::PostgresConfig| {
            let told = Postgres::create(&at, KEY).await.map(|_| ()).unwrap_err().to_string();
            assert!(!told.contains("hunter2"), "{told}");
            told
        };
        let right = "with_tls:hunter2";
        let store = Postgres::create(&with(right, "localhost", "require", "ca.pem"), KEY).await.unwrap();
        assert_eq!(store.at(), format!("postgres://localhost:{port}/by_tls"));
        assert!(fresh(&store, 1, Fingerprint::ELSEWHERE, 1).await);
        let by_tls = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl AND usename = 'with_tls'";
        let by_tls: i64 = cluster.connect("postgres").await.query_one(by_tls, &[]).await.unwrap().get(0);
        assert!(by_tls >= 1, "it was reached without TLS");

        let unknown = told(with(right, "localhost", "verify-full", "other.pem")).await;
        assert!(unknown.contains("UnknownIssuer"), "{unknown}");
        let name = told(with(right, "127.0.0.1", "require", "ca.pem")).await;
        assert!(name.contains("not valid for name"), "{name}");
        let plain = told(with(right, "localhost", "disable", "ca.pem")).await;
        assert!(plain.contains("pg_hba.conf rejects"), "{plain}");
        let refused = told(with("with_tls:hunter2x", "localhost", "require", "ca.pem")).await;
        assert!(refused.contains("password authentication failed"), "{refused}");
        assert!(told(with(right, "localhost", "require", "none.pem")).await.contains("none.pem"));

        // The password in a file, which others may not read.
        let file = cluster.file("password");
        file::create(&file, b"hunter2\n", 0o600).unwrap();
        let in_file = config::PostgresConfig {
            password_file: Some(file.clone()),
            ..with("with_tls", "localhost", "require", "ca.pem")
        };
        Postgres::open(&in_file, KEY).await.unwrap().ready().await.unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        let readable = told(in_file.clone()).await;
        assert!(readable.contains("(mode 0644)"), "{readable}");
        let twice =
            config::PostgresConfig { url: with(right, "localhost", "require", "ca.pem").url, ..in_file };
        let twice = Postgres::create(&twice, KEY).await.map(|_| ()).unwrap_err();
        assert_eq!(twice.diagnostic().code, Code::DatabasePasswordTwice, "{twice}");
    });
}

#[test]
fn a_role_that_owns_the_schema_alone() {
    let Some(cluster) = shared() else { return };
    wait(async {
        cluster.run("CREATE ROLE tenant LOGIN").await;
        let at = cluster.database("tenant").await;
        // Without a right to make schemas, as administrators give databases out.
        let refused = Postgres::create(&at, KEY).await.map(|_| ()).unwrap_err().to_string();
        assert!(refused.contains("permission denied for database"), "{refused}");
        let owner = cluster.connect(name(&at)).await;
        owner.batch_execute("CREATE SCHEMA ykvald AUTHORIZATION tenant").await.unwrap();
        let store = Postgres::create(&at, KEY).await.unwrap();
        assert!(fresh(&store, 1, Fingerprint::ELSEWHERE, 1).await);
    });
}

#[test]
fn nobody_there() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let at = settings(format!("postgres://u:hunter2@127.0.0.1:{port}/d"));
    let told = wait(Postgres::open(&at, KEY)).map(|_| ()).unwrap_err().to_string();
    assert!(told.contains(&format!("postgres://127.0.0.1:{port}/d: ")), "{told}");
    assert!(told.contains("refused") && !told.contains("hunter2"), "{told}");
}
