use super::*;
use crate::session::Means;
use std::time::Duration;
use yubiotp::seal::StoreKey;

/// A session that is ended after it was stored and before it is in memory, while the server looks.
#[test]
fn a_session_that_ends_while_it_begins_is_not_alive() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::create(&folder.path().join("ykweb.db"), StoreKey::new([7; 32]).id()).unwrap();
    let limits =
        SessionLimits { idle: Duration::from_secs(600), most: Duration::from_secs(6000), per_user: 5 };
    let sessions = Sessions::read(store.clone(), limits, 1000).unwrap();
    let user = UserName::parse("alice").unwrap();
    let evidence = Evidence { means: Means::Password, at: 1000 };
    let begin = |is_ended: bool| {
        let (key, looked) = (Key::new().unwrap(), sessions.ended.load(SeqCst));
        let new =
            NewSession { user: &user, groups: &[], address: None, agent: "", evidence, key: key.hash() };
        let (number, ended) = store.begin_session(&new, 5).unwrap().unwrap();
        if is_ended {
            assert_eq!(store.end_sessions_of(&user).unwrap(), 2);
            sessions.keep(1000).unwrap();
        }
        let session = Session::new(number, user.clone(), vec![], (1000, 1000), vec![evidence]);
        sessions.remember(&Arc::new(session), key.hash(), ended, looked);
    };
    begin(false);
    sessions.keep(1000).unwrap();
    assert_eq!(sessions.count(), 1);
    begin(true);
    assert_eq!(sessions.count(), 1);
    sessions.keep(1000).unwrap();
    assert_eq!(sessions.count(), 0);
    // As `session end --all` does.
    begin(false);
    begin(false);
    assert_eq!(store.end_all_sessions().unwrap(), 2);
    sessions.keep(1000).unwrap();
    assert_eq!((sessions.count(), store.end_all_sessions().unwrap()), (0, 0));
}
