use super::look;
use crate::store::{Advanced, Distinct, Enrolment, History, ImportedPosition, Step, Store};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::cell::Cell;
use std::sync::LazyLock;
use tokio::runtime::Runtime;
use yubiotp::key::Fingerprint;
use yubiotp::seal::Sealed;
use yubiotp::{Position, PublicId};

const ELSEWHERE: Fingerprint = Fingerprint::ELSEWHERE;

fn token(number: u32) -> PublicId {
    PublicId::from_bytes(&[&[0xff, 0x00][..], &number.to_be_bytes()].concat()).unwrap()
}

/// What administrators and their users do.
#[derive(Debug, Clone)]
enum Act {
    /// An OTP, this far beyond the last of its key.
    Press(u64),
    Import(u8),
    Remove,
    Enable(bool),
    /// What another server knows: this far from the last.
    Raise(i64),
    /// The positions that were accepted last are told again.
    Remind,
}

fn act() -> impl Strategy<Value = (u32, Act)> {
    let act = prop_oneof![
        4 => (1_u64..4).prop_map(Act::Press),
        2 => (1_u8..4).prop_map(Act::Import),
        1 => Just(Act::Remove),
        1 => any::<bool>().prop_map(Act::Enable),
        1 => (-5_i64..5).prop_map(Act::Raise),
        1 => Just(Act::Remind),
    ];
    (0_u32..2, act)
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    static RUNTIME: LazyLock<Runtime> =
        LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap());
    RUNTIME.block_on(future)
}

async fn do_and_look(store: &Store, number: u32, act: Act) {
    let id = token(number);
    let here = store.token(&id).await.unwrap();
    let last = here.as_ref().and_then(|token| token.position).map_or(0, Position::to_stored);
    match act {
        Act::Press(further) => {
            let key = here.and_then(|token| token.key).map_or(ELSEWHERE, |(key, _)| key);
            let to = Position::from_stored(last + further);
            assert!(store.guard().known(&id, key) < Some(to), "a fresh OTP is held for a used one");
            let step = Step { token: id, key, to, nonce: String::new(), at: 0, as_restored: false };
            if let Advanced::Fresh(receipt) = store.advance(step).await.unwrap() {
                store.guard().admit(receipt, key).unwrap();
            }
        }
        Act::Import(key) => {
            let (fingerprint, sealed) = (Fingerprint([key; 8]), Sealed::from_bytes(&[key; 63]).unwrap());
            let key = Enrolment { id, fingerprint, sealed, history: History::Unknown };
            store.enrol(vec![key], Distinct::default()).await.unwrap();
        }
        Act::Remove => _ = store.remove_key(&id).await.unwrap(),
        Act::Enable(enabled) => _ = store.set_enabled(&id, enabled).await.unwrap(),
        Act::Raise(from) => {
            let position = Some(Position::from_stored(last.saturating_add_signed(from)));
            let known =
                ImportedPosition { id, position, nonce: String::new(), enabled: true, modified: Some(0) };
            store.raise(vec![known]).await.unwrap();
        }
        Act::Remind => {
            let before = store.token(&id).await.unwrap().and_then(|token| token.position);
            store.raise_accepted(store.guard().newest()).await.unwrap();
            let after = store.token(&id).await.unwrap().and_then(|token| token.position);
            assert_eq!(before, after, "it had forgotten nothing");
        }
    }
    let known: Vec<_> = store.guard().parts().flatten().collect();
    assert_eq!(store.forgotten(known).await.unwrap(), [], "a false alarm");
    look(store).await.unwrap();
    assert_eq!(store.guard().obstacle(), None);
}

/// Whatever an administrator does, in whatever order, no OTP looks forgotten, and no fresh one used.
pub(crate) fn no_false_alarm(store: &Store) {
    let first = Cell::new(0);
    let mut runner =
        TestRunner::new(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() });
    let each = |acts: Vec<(u32, Act)>| {
        // Tokens that no case had before.
        let first = first.replace(first.get() + 2);
        wait(async {
            for (number, act) in acts {
                do_and_look(store, first + number, act).await;
            }
        });
        Ok(())
    };
    runner.run(&prop::collection::vec(act(), 1..40), each).unwrap();
}
