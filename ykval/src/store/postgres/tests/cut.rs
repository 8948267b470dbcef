//! A commit that is not what the count of rows said: it comes after that.

use super::super::cluster::settings;
use super::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

#[test]
fn a_commit_that_fails_is_no_yes() {
    with_store(async |cluster, store, at| {
        let keys = many().chain([1]).map(|name| key(name, ONE)).collect();
        store.enrol(keys, Distinct::default()).await.unwrap();
        let client = cluster.connect(name(&at)).await;
        // Changes one row, says so, and fails when it is committed.
        let trigger = "CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN RAISE EXCEPTION 'the commit fails'; END $$;
            CREATE CONSTRAINT TRIGGER fail AFTER INSERT OR UPDATE ON ykvald.tokens
                DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.fail()";
        client.batch_execute(trigger).await.unwrap();
        for (name, key) in [(1, ONE), (2, Fingerprint::ELSEWHERE)] {
            let told = store.advance(step(name, key, 5)).await;
            assert!(told.is_err_and(|fault| fault.to_string().contains("the commit fails")));
        }
        // Of many in one statement, too.
        for told in at_once(&store, 5).await {
            assert!(told.is_err_and(|fault| fault.to_string().contains("the commit fails")));
        }
        client.batch_execute("DROP TRIGGER fail ON ykvald.tokens").await.unwrap();
        assert!(fresh(&store, 1, ONE, 5).await);
        assert!(fresh(&store, 2, Fingerprint::ELSEWHERE, 5).await);
        for told in at_once(&store, 5).await {
            assert!(matches!(told, Ok(Advanced::Fresh(_))), "{told:?}");
        }
    });
}

const MANY: u16 = 40;

fn many() -> impl Iterator<Item = u16> {
    100..100 + MANY
}

/// A step of each of [`many`] tokens, at the same time.
async fn at_once(store: &Postgres, to: u64) -> Vec<Result<Advanced, StoreFault>> {
    let asked = many().map(|name| {
        let store = store.clone();
        tokio::spawn(async move { store.advance(step(name, ONE, to)).await })
    });
    let mut told = Vec::new();
    for asked in asked.collect::<Vec<_>>() {
        told.push(asked.await.unwrap());
    }
    told
}

/// Between PostgreSQL and the store: passes on that rows were changed, and is cut off before what comes after it.
async fn cut_off(listener: TcpListener, server: u16) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
        let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
            (client.into_split(), server.into_split());
        let up = tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
        loop {
            let mut head = [0; 5];
            if from_server.read_exact(&mut head).await.is_err() {
                break;
            }
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
            let mut body = vec![0; usize::try_from(length).unwrap() - 4];
            from_server.read_exact(&mut body).await.unwrap();
            to_client.write_all(&[&head[..], &body].concat()).await.unwrap();
            if head[0] == b'C' && body.starts_with(b"UPDATE ") && body != b"UPDATE 0\0" {
                // The server commits, and nobody hears of it.
                from_server.read_u8().await.unwrap();
                break;
            }
        }
        up.abort();
    }
}

#[test]
fn a_connection_lost_before_the_end_is_no_yes() {
    with_store(async |cluster, store, at| {
        let keys = many().chain([1]).map(|name| key(name, ONE)).collect();
        store.enrol(keys, Distinct::default()).await.unwrap();
        let database = name(&at);
        let owner = cluster.connect(database).await;
        let user = format!("cut_{database}");
        let role = format!("CREATE ROLE {user} SUPERUSER LOGIN PASSWORD 'secret'");
        owner.batch_execute(&role).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let between = tokio::spawn(cut_off(listener, cluster.port()));
        let url = format!("postgres://{user}:secret@127.0.0.1:{port}/{database}");
        let through = Postgres::open(&settings(url), KEY).await.unwrap();
        assert!(fresh(&store, 1, ONE, 4).await);
        assert!(!fresh(&through, 1, ONE, 4).await, "nothing was changed, and so nothing cut off");
        let told = through.advance(step(1, ONE, 5)).await;
        assert!(matches!(told, Err(StoreFault::Database(_))), "{told:?}");
        assert!(!fresh(&store, 1, ONE, 5).await, "the test is to cut off what was committed");
        assert!(!fresh(&through, 1, ONE, 5).await, "it heals");
        // All of a statement share its fate, and each of them hears of it.
        for told in at_once(&through, 5).await {
            assert!(matches!(told, Err(StoreFault::Database(_))), "{told:?}");
        }
        for name in many() {
            assert!(!fresh(&store, name, ONE, 5).await, "{name} was not sent");
        }
        between.abort();
    });
}
