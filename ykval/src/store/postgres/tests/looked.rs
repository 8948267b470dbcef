//! A look at a store changes nothing; and a server that has it open sees that a later program has carried it forward.

use super::*;
use crate::compare;
use crate::store::Looked;

/// Every row of the store's tables, with the transaction that wrote or locked it.
const PICTURE: &str = "SELECT string_agg(t::text, ' ') FROM (
    SELECT 'meta', xmin::text, xmax::text, to_json(m)::text FROM ykvald.meta m
    UNION ALL SELECT 'tokens', xmin::text, xmax::text, to_json(t)::text FROM ykvald.tokens t
    UNION ALL SELECT relname, xmin::text, NULL, relkind::text FROM pg_class WHERE relnamespace = 'ykvald'::regnamespace
    ORDER BY 1, 4) t";

#[test]
fn nothing_changes() {
    with_store(async |cluster, store, at| {
        store.enrol(vec![key(1, ONE)], Distinct::default()).await.unwrap();
        let db = cluster.connect(name(&at)).await;
        let picture = async || db.query_one(PICTURE, &[]).await.unwrap().get::<_, String>(0);
        let before = picture().await;
        let Looked::Current(looked) = Postgres::look_at(&at, KEY).await.unwrap() else {
            panic!("of another schema")
        };
        looked.seems_fit().await.unwrap();
        assert_eq!(looked.tokens(None).await.unwrap().len(), 1);
        looked.close().await;
        assert_eq!(picture().await, before);

        db.batch_execute("UPDATE ykvald.meta SET schema_number = 0").await.unwrap();
        let before = picture().await;
        let looked = Postgres::look_at(&at, KEY).await.unwrap();
        assert!(matches!(looked, Looked::Earlier { found: 0, known: schema::KNOWN, .. }));
        assert_eq!(picture().await, before);
    });
}

/// One damaged token is a fault for itself: of the others, what was lost is found and raised.
#[test]
fn one_damaged_row_of_many() {
    with_store(async |cluster, store, at| {
        store.enrol((0..9).map(|name| key(name, ONE)).collect(), Distinct::default()).await.unwrap();
        for name in 0..9 {
            let told = store.advance(step(name, ONE, 7)).await;
            let Ok(Advanced::Fresh(receipt)) = told else { panic!("{told:?}") };
            store.guard().admit(receipt, ONE).unwrap();
        }
        let db = cluster.connect(name(&at)).await;
        db.batch_execute(
            r"ALTER TABLE ykvald.tokens DROP CONSTRAINT tokens_position_check;
            UPDATE ykvald.tokens SET position = -5 WHERE public_id = '\x0005'",
        )
        .await
        .unwrap();
        let store = Store::Postgres(store);
        compare::look(&store).await.unwrap();
        assert!(!store.guard().is_raising(), "damage is nothing lost");
        let lose = r"UPDATE ykvald.tokens SET position = NULL WHERE public_id = '\x0007'";
        db.batch_execute(lose).await.unwrap();
        compare::look(&store).await.unwrap();
        assert!(store.guard().is_raising(), "what was lost was not found");
        let mut raised = 0;
        assert!(compare::raise(&store, &mut raised).await.unwrap());
        let positions = "SELECT position FROM ykvald.tokens ORDER BY public_id";
        let rows = db.query(positions, &[]).await.unwrap();
        let positions: Vec<_> = rows.iter().map(|row| row.get::<_, Option<i64>>(0)).collect();
        let wanted = (0..9).map(|name| Some(if name == 5 { -5 } else { 7 })).collect::<Vec<_>>();
        assert_eq!(positions, wanted, "damage was taken for nothing");
    });
}

#[test]
fn carried_forward_beside_a_server() {
    with_store(async |cluster, store, at| {
        let db = cluster.connect(name(&at)).await;
        let becomes = async |number: i64| {
            db.execute("UPDATE ykvald.meta SET schema_number = $1", &[&number]).await.unwrap();
        };
        store.enrol(vec![key(1, ONE)], Distinct::default()).await.unwrap();
        assert!(fresh(&store, 1, ONE, 1).await);
        becomes(schema::KNOWN + 1).await;
        let is_later =
            |fault: StoreFault| matches!(fault, StoreFault::Later { found, .. } if found > schema::KNOWN);
        assert!(store.advance(step(1, ONE, 2)).await.is_err_and(is_later));
        assert!(store.advance(step(2, Fingerprint::ELSEWHERE, 2)).await.is_err_and(is_later));
        assert!(store.ready().await.is_err_and(is_later));
        becomes(schema::KNOWN).await;
        assert!(fresh(&store, 1, ONE, 2).await);
        assert!(fresh(&store, 2, Fingerprint::ELSEWHERE, 2).await);
    });
}
