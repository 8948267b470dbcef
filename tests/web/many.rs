//! As many sessions as a university has.

use std::process::Command;
use tests::skip;
use tests::web::browser::program;
use tests::web::front::Kind;
use tests::web::visitor::Visitor;
use tests::web::ykwebd::Site;

const SESSIONS: usize = 100_000;

/// Sessions of others, each with a second factor, a key for the portal and one for a host: with SQLite's own tool.
const OTHERS: &str = "BEGIN;
CREATE TEMP TABLE news AS WITH RECURSIVE news (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM news WHERE n < 100000) SELECT n FROM news;
INSERT INTO sessions (user, groups, begun, seen, address, agent)
    SELECT 'user' || n, 'staff' || char(10), unixepoch(), unixepoch(), NULL, '' FROM news;
INSERT INTO session_keys SELECT randomblob(32), number, NULL FROM sessions WHERE user LIKE 'user%';
INSERT INTO session_keys SELECT randomblob(32), number, 'wiki.site.test' FROM sessions WHERE user LIKE 'user%';
INSERT INTO evidence SELECT number, 'password', unixepoch() FROM sessions WHERE user LIKE 'user%';
INSERT INTO evidence SELECT number, 'totp', unixepoch() FROM sessions WHERE user LIKE 'user%';
COMMIT;
SELECT count(*) FROM sessions;";

#[test]
fn a_hundred_thousand_sessions() {
    let (mut site, front) = match (Site::behind(Kind::Nginx), program("sqlite3")) {
        (Ok(both), Some(_)) => both,
        (Err(why), _) => return skip(&why),
        (_, None) => return skip("needs sqlite3"),
    };
    let mut key = site.yubikey(1);
    let names = site.names(&[&front]);
    let admin = Kind::Nginx.page("/admin/page");
    let mut alice = Visitor::new(&names);
    assert_eq!(alice.sign_in_with(&admin, &key.press()).url, admin);

    site.ykwebd.kill();
    let made = Command::new("sqlite3").arg(site.path().join("ykweb.db")).arg(OTHERS).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    assert_eq!(String::from_utf8_lossy(&made.stdout).trim(), (SESSIONS + 1).to_string());
    site.restart();
    // All are there, and alice's is not lost among them.
    let sessions: serde_json::Value =
        serde_json::from_str(&site.must(&["--json", "session", "list"])).unwrap();
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), SESSIONS + 1);
    assert_eq!(alice.get(&admin).reply.status, 200);

    // One user's sessions end, and no others.
    site.must(&["session", "end", "--user", "alice"]);
    let mut alice = Visitor::new(&names);
    assert_eq!(alice.sign_in_with(&admin, &key.press()).url, admin);
    let sessions: serde_json::Value =
        serde_json::from_str(&site.must(&["--json", "session", "list"])).unwrap();
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), SESSIONS + 1);
}
