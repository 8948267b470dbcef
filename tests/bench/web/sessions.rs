//! Sessions as many as a site has, stored as `ykwebd` stores them.

use std::fs;
use std::path::Path;
use std::time::SystemTime;
use ykweb::session::{Evidence, Key, Means};
use ykweb::store::{NewSession, Store};
use ykweb::user::UserName;
use yubiotp::record::read_store_key;

/// Adds so many sessions with a password and a second factor, each with a key for this host. The cookie of the last one.
pub(crate) fn add(folder: &Path, number: usize, host: &str) -> String {
    let keys = read_store_key(&fs::read(folder.join("store.key")).unwrap()).ok().unwrap();
    let store = Store::open(&folder.join("ykweb.db"), keys.ids()).unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let mut cookie = String::new();
    for left in (0..number).rev() {
        // Nobody has so many.
        let user = if left == 0 { "alice".to_owned() } else { format!("user{left}") };
        let user = UserName::parse(&user).unwrap();
        let [first, second, third] = [(); 3].map(|()| Key::new().unwrap());
        let evidence = Evidence { means: Means::Password, at: now };
        let new = NewSession {
            user: &user,
            groups: &["staff".to_owned()],
            address: None,
            agent: "",
            evidence,
            key: first.hash(),
        };
        let (session, _) = store.begin_session(&new, usize::MAX).unwrap().unwrap();
        let evidence = Evidence { means: Means::Totp, at: now };
        assert!(store.add_evidence(session, evidence, second.hash()).unwrap());
        assert!(store.add_host_key(session, third.hash(), host).unwrap());
        cookie = format!("__Host-ykweb={}", *third.write());
    }
    cookie
}
