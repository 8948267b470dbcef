//! One AES key under several public ids.

use super::*;

fn other() -> TokenId {
    TokenId::parse(b"vvcd").unwrap()
}

impl Host {
    fn advance_other(&self, to: u64) -> Result<Advance, Fault> {
        self.store.advance(&other(), key_of(&other(), 7).fingerprint(), at(to))
    }

    /// A key file that came by other ways than import.
    fn bring(&self, id: &TokenId, aes_key: u8) {
        let key = StoreKey::new([1; 32]);
        self.write(&format!("keys/{id}"), key_of(id, aes_key).write(&key, [aes_key; 24]).as_bytes());
    }

    fn enrol_both(&self, tokens: &[TokenKey]) -> Result<(), EnrolError> {
        self.store.change().unwrap().enrol(tokens, &|| {})
    }

    fn files(&self) -> usize {
        [KEYS, POSITIONS].map(|folder| self.store_files(folder)).iter().sum()
    }

    fn store_files(&self, folder: &str) -> usize {
        let files = fs::read_dir(self.path(folder)).unwrap();
        files.filter(|file| file.as_ref().unwrap().file_name() != ".yubiotp.lock").count()
    }
}

fn is_refused(done: Result<impl Sized, EnrolError>, it: TokenId, than: TokenId) -> bool {
    matches!(done, Err(EnrolError::SameKey { token, holder }) if (token, holder) == (it, than))
}

#[test]
fn a_second_id_for_a_key_is_refused() {
    let host = Host::new();
    host.enrol(&token(), 7);
    let would = host.store.change().unwrap().would_enrol(&key_of(&other(), 7));
    assert!(is_refused(would, other(), token()));
    // Another private id does not make another key.
    let same = Credential { private_id: PrivateId::new([9; 6]), aes_key: AesKey::new([7; 16]) };
    assert!(is_refused(
        host.enrol_both(&[TokenKey::YubiKey(other().yubikey().unwrap(), same)]),
        other(),
        token()
    ));
    assert_eq!(host.files(), 2, "something was imported");
    host.enrol(&other(), 8);
}

#[test]
fn two_ids_for_a_key_in_one_import_are_refused() {
    let host = Host::new();
    let both = host.enrol_both(&[key_of(&token(), 7), key_of(&other(), 7)]);
    assert!(is_refused(both, other(), token()));
    assert_eq!(host.files(), 0, "something was imported");
}

#[test]
fn a_key_that_was_brought_is_not_adopted_beside_its_twin() {
    let host = Host::new();
    host.enrol(&token(), 7);
    host.bring(&other(), 7);
    assert!(is_refused(host.store.change().unwrap().adopt(&other()), other(), token()));
}

/// Whichever of the two an administrator removes, an OTP that was used as either stays used.
#[test]
fn removing_one_of_two_leaves_no_used_otp_good() {
    for (used, removed) in [(token(), token()), (token(), other()), (other(), token()), (other(), other())] {
        let host = Host::new();
        // As an earlier version left them.
        host.enrol(&token(), 7);
        host.enrol(&other(), 8);
        fs::remove_file(host.path("positions/vvcd")).unwrap();
        host.bring(&other(), 7);
        let key = key_of(&other(), 7).fingerprint();
        let state = State::new(other(), key);
        host.write("positions/vvcd", &new_file(&state));
        let advance = |id: TokenId, to| {
            if id == token() { host.advance(at(to)) } else { host.advance_other(to) }
        };
        assert!(is_fresh(advance(used, 9)));
        host.store.change().unwrap().remove(&removed).unwrap();
        let kept = if removed == token() { other() } else { token() };
        assert!(!is_fresh(advance(kept, 9)), "used as {used}, and {removed} was removed");
        assert!(is_fresh(advance(kept, 10)));
        // Not back again under the other id.
        host.store.change().unwrap().remove(&kept).unwrap();
        assert!(is_refused(host.enrol_both(&[key_of(&removed, 7)]), removed, kept));
    }
}

/// Neither may a key that was here under another public id come as this one, however it went: what was used as the one
/// would be good again as the other.
#[test]
fn a_key_does_not_change_its_id() {
    type Way = fn(&Host);
    let ways: [(&str, Way); 7] = [
        ("removed", |host| {
            host.store.change().unwrap().remove(&token()).unwrap();
        }),
        ("removed, and servers went on", |host| {
            host.store.change().unwrap().remove(&token()).unwrap();
            assert!(is_fresh(host.store.advance(&token(), Fingerprint::ELSEWHERE, at(12))));
        }),
        ("removed after its position was lost", |host| {
            fs::remove_file(host.path("positions/vvcb")).unwrap();
            host.store.change().unwrap().remove(&token()).unwrap();
        }),
        ("its key file is gone", |host| fs::remove_file(host.path("keys/vvcb")).unwrap()),
        ("its key file is damaged", |host| host.write("keys/vvcb", b"# damaged")),
        ("the store key is another", |host| {
            host.write("store.key", write_store_key(&StoreKey::new([2; 32])).as_bytes());
        }),
        ("its key file is another's", |host| host.bring_key(8)),
    ];
    for (way, gone) in ways {
        let host = Host::new();
        host.enrol(&token(), 7);
        assert!(is_fresh(host.advance(at(9))));
        host.store.set_enabled(&token(), false).unwrap();
        host.store.set_enabled(&token(), true).unwrap();
        gone(&host);
        let would = host.store.change().unwrap().would_enrol(&key_of(&other(), 7));
        assert!(is_refused(would, other(), token()), "{way}");
        assert!(is_refused(host.enrol_both(&[key_of(&other(), 7)]), other(), token()), "{way}");
        if !way.starts_with("the store key") {
            host.bring(&other(), 7);
            assert!(is_refused(host.store.change().unwrap().adopt(&other()), other(), token()), "{way}");
        }
    }
}

/// Never used, and disabled: it does not become enabled by another id.
#[test]
fn an_unused_key_does_not_change_its_id() {
    let host = Host::new();
    host.enrol(&token(), 7);
    host.store.set_enabled(&token(), false).unwrap();
    host.store.change().unwrap().remove(&token()).unwrap();
    let both = [key_of(&token(), 8), key_of(&other(), 7)];
    assert!(
        is_refused(host.enrol_both(&both), other(), token()),
        "in one import that gives its id to another"
    );
    host.enrol(&token(), 7);
    assert!(matches!(host.advance(at(1)), Ok(Advance::Disabled)));
}

/// A limit that two touches proved is no position.
#[test]
fn what_was_proved_is_no_position_under_another_id() {
    let host = Host::new();
    let key = key_of(&token(), 7).fingerprint();
    let name = format!("positions/vvcb.{}.proved", data_encoding::HEXLOWER.encode(&key.0));
    host.write(&name, &new_file(&State { position: Some(at(9)), ..State::new(token(), key) }));
    host.enrol(&other(), 7);
}

/// What one change wrote, it knows: a second step of it finds no room for a twin, and a key that it removed keeps its id.
#[test]
fn a_change_knows_what_it_wrote_itself() {
    let host = Host::new();
    let change = host.store.change().unwrap();
    assert!(matches!(change.would_enrol(&key_of(&token(), 7)), Ok(Enrolled::Added)));
    change.enrol(&[key_of(&token(), 7)], &|| {}).unwrap();
    assert!(is_refused(change.would_enrol(&key_of(&other(), 7)), other(), token()));
    assert!(is_refused(change.enrol(&[key_of(&other(), 7)], &|| {}), other(), token()));
    change.remove(&token()).unwrap();
    assert!(is_refused(change.would_enrol(&key_of(&other(), 7)), other(), token()));
    assert!(is_refused(change.enrol(&[key_of(&other(), 7)], &|| {}), other(), token()));
    assert!(matches!(change.would_enrol(&key_of(&token(), 7)), Ok(Enrolled::Added)));
    drop(change);

    // By a restore.
    let backup = Backup { keys: &[key_of(&token(), 7)], positions: &[], unix: 0, brings_back: &|_| true };
    let change = host.store.change().unwrap();
    let restoring = change.plan_restore(&backup).unwrap();
    change.restore(&backup, &restoring, &|| {}).unwrap();
    assert!(is_refused(change.would_enrol(&key_of(&other(), 7)), other(), token()));
}
