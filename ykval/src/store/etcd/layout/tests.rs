use super::*;
use crate::store::{Mark, MoveId, RunId, Stage};
use proptest::collection::vec;
use proptest::prelude::*;

fn id() -> impl Strategy<Value = PublicId> {
    vec(any::<u8>(), 0..=16).prop_map(|bytes| PublicId::from_bytes(&bytes).unwrap())
}

fn any_position() -> impl Strategy<Value = Position> {
    prop_oneof![any::<u64>(), 0..100_u64].prop_map(Position::from_stored)
}

fn reached() -> impl Strategy<Value = Reached> {
    let floor = prop_oneof![
        Just(Floor::Itself),
        Just(Floor::Lower(None)),
        any_position().prop_map(|floor| Floor::Lower(Some(floor)))
    ];
    (any_position(), any::<Option<i64>>(), floor, "[a-z0-9|]{0,40}")
        .prop_map(|(position, at, floor, nonce)| Reached { position, at, floor, nonce })
}

fn written<V: Value>(value: &V) -> Option<V> {
    V::read(value.text().as_bytes())
}

proptest! {
    /// Keys are in the order of the IDs, and each span has its own keys only.
    #[test]
    fn keys_are_in_the_order_of_the_ids(one in id(), other in id(), key in any::<[u8; 8]>()) {
        let (keys, key) = (Keys::under("/a/b/"), Fingerprint(key));
        prop_assert_eq!(one.cmp(&other), keys.token(&one).cmp(&keys.token(&other)));
        prop_assert_eq!(keys.token_of(&keys.token(&one)).ok(), Some(one));
        let position = keys.position(&one, key);
        prop_assert_eq!(keys.position_of(&position).ok(), Some((one, key)));
        let within = |(from, to): Span, key: &[u8]| from.as_slice() <= key && key < to.as_slice();
        prop_assert_eq!(within(keys.positions(&other), &position), one == other);
        prop_assert_eq!(within(keys.tokens_after(&other), &keys.token(&one)), one > other);
        let (first, last) = (one.min(other), one.max(other));
        prop_assert!(within(keys.positions_between(&first, &last), &position));
        prop_assert!(within(keys.tokens_between(&first, &last), &keys.token(&other)));
        prop_assert!(within(keys.tokens(), &keys.token(&one)));
        for key in [keys.token(&one), position, keys.meta(), keys.change(), keys.touch(&one)] {
            prop_assert!(within(keys.all(), &key));
        }
    }

    /// As etcd compares: bytewise. Exactly the lower positions are below the bound, whatever is beside them.
    #[test]
    fn values_compare_as_positions(stored in reached(), to in any_position()) {
        let text = stored.text().into_bytes();
        prop_assert_eq!(text < Reached::bound(to), stored.position < to);
        prop_assert!(text > Reached::below_all());
        prop_assert_eq!(written(&stored), Some(stored));
    }

    #[test]
    fn what_is_written_is_read(
        store_key in any::<[u8; 8]>(),
        (now, cleared) in any::<(u64, u64)>(),
        marks in vec(any::<(u64, i64)>(), 0..5),
        since in any::<Option<i64>>(),
        enabled in any::<bool>(),
        key in proptest::option::of(any::<([u8; 8], [u8; 32])>()),
    ) {
        let epochs = Epochs { now, cleared, marks };
        let meta = Meta { store_key: StoreKeyId(store_key), epochs, moves: Moves::default() };
        prop_assert_eq!(schema(meta.text().as_bytes()), Some(KNOWN));
        let (id, run) = (MoveId([1; 16]), RunId(MoveId([3; 16])));
        let mark = Mark { stage: Stage::Moved, id, run, since: 1, other: "etcd://a|b".to_owned() };
        let moved = Meta { moves: Moves { mark: Some(mark), complete: vec![MoveId([2; 16])] }, ..meta.clone() };
        prop_assert_eq!(schema(moved.text().as_bytes()), Some(KNOWN + MARKED));
        prop_assert_eq!(written(&moved), Some(moved));
        prop_assert_eq!(written(&meta), Some(meta));
        let key = key.filter(|(key, _)| *key != [0; 8]).map(|(key, sealed)| {
            (Fingerprint(key), Sealed::from_bytes(&[&sealed[..], &sealed[1..]].concat()).unwrap())
        });
        let record = Record { key, enabled, restored: OwnMark { epoch: now, since } };
        prop_assert!(written(&record) == Some(record));
    }

    /// Nothing that is cut off, or longer, is read as something else.
    #[test]
    fn what_is_cut_off_is_damaged(stored in reached(), cut in 0..30_usize) {
        let text = stored.text();
        let cut = text.get(..cut).unwrap_or_default();
        prop_assert!(cut.len() >= 25 || Reached::read(cut.as_bytes()).is_none(), "{}", cut);
    }
}

#[test]
fn an_unknown_value_is_damaged() {
    let whole = "1|00000000000000000005|7||nonce";
    assert!(Reached::read(whole.as_bytes()).is_some());
    for text in [
        "",
        "0",
        "5",
        "2|00000000000000000005|7||nonce",
        "1|5|7||nonce",
        "1|0000000000000000005|7||nonce",
        "1|00000000000000000005|07||nonce",
        "1|+0000000000000000005|7||nonce",
        "1|00000000000000000005|7|5|nonce",
        "1|99999999999999999999|7||nonce",
        "1|00000000000000000005|7|",
        " 1|00000000000000000005|7||nonce",
    ] {
        assert!(Reached::read(text.as_bytes()).is_none(), "{text}");
    }
    assert!(Reached::read(b"1|00000000000000000005|7||\xff").is_none());
    for text in [
        "",
        "1|e|0000000000000000||0",
        "1|x|0000000000000000||0|",
        "1|e|0000000000000001||0|",
        "1|e|0000000000000000|00|0|",
    ] {
        assert!(Record::read(text.as_bytes()).is_none(), "{text}");
    }
    assert!(Record::read(b"1|e|0000000000000000||0|").is_some());
    for text in
        ["", "1|", "1||0|0|", "1|0707070707070707|0|0", "1|0707070707070707|0|0|1", "2|0707070707070707|0|0|"]
    {
        assert!(Meta::read(text.as_bytes()).is_none(), "{text}");
    }
    assert_eq!(schema(b"2|anything"), Some(2));
    assert_eq!(schema(b"anything"), None);
    for text in ["", "1|{}", "1|{\"id\":1}", "1|[]"] {
        assert!(Client::read(text.as_bytes()).is_none(), "{text}");
    }
}
