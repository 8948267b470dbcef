//! One connection: how it is opened, what is asked of the server before it is used, and when it is given up.

use super::durable::{self, commits, unfit};
use super::identity::backend;
use super::tls::MakeRustlsConnect;
use super::trouble::{Trouble, Unfit};
use crate::config::Standby;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{AsyncMessage, Client, Connection, SimpleQueryMessage, Socket};

/// How long opening a connection, or waiting for a free one, may take.
pub(super) const WAIT: Duration = Duration::from_secs(3);

/// Set on every connection, whatever the defaults of the server or the role are:
/// - nothing is found by a search_path: every statement names its schema;
/// - statements are READ COMMITTED: they wait for locked rows, and then judge the newest version;
/// - a commit is on the disk before it is answered (each change sets that itself: `durable`);
/// - rows are found by their index, with a plan that is made once: statistics may be older than a large import;
/// - no statement waits for ever, and no server waits for ever for a client that vanished during a change;
/// - warnings are sent: one of them says that a commit did not wait for its standby ([`is_doubt`]).
const SESSION: &str = "
    SET search_path = '';
    SET default_transaction_isolation = 'read committed';
    SET plan_cache_mode = 'force_generic_plan';
    SET enable_seqscan = off;
    SET enable_hashjoin = off;
    SET enable_mergejoin = off;
    SET jit = off;
    SET statement_timeout = '3s';
    SET lock_timeout = '2s';
    SET idle_in_transaction_session_timeout = '30s';
    SET client_min_messages = 'warning';";

const DURABLE: &str = concat!("SELECT ", commits!("false"));

/// Set if a standby must have each commit on its disk. Each change checks it ([`durable`](super::durable)).
const WITH_STANDBY: &str = "SET ykvald.standby = 'required'";

/// What makes a server unfit, in addition to what [`durable`](super::durable) checks at each change.
const FIT: &str =
    concat!("SELECT ", unfit!(), ", pg_is_in_recovery(), current_setting('transaction_read_only')::boolean");

/// Prepares a new connection. Returns its [`backend`].
pub(super) async fn settle(client: &Client, standby: Standby) -> Result<String, Trouble> {
    client.batch_execute(SESSION).await?;
    let backend = backend(client).await?;
    client.batch_execute(DURABLE).await?;
    if standby == Standby::Required {
        client.batch_execute(WITH_STANDBY).await?;
    }
    must_be_fit(client).await?;
    Ok(backend)
}

/// Fails if this server cannot keep positions. Prepares no statement: behind a pooler, it might belong to another
/// session.
pub(super) async fn must_be_fit(client: &Client) -> Result<(), Trouble> {
    let said = client.simple_query(FIT).await?;
    let row = said.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let Some(row) = row else { return Err(Trouble::Unfit(Unfit::Silent)) };
    if row.get(1) != Some("f") {
        return Err(Trouble::Unfit(Unfit::Standby));
    }
    if row.get(2) != Some("f") {
        return Err(Trouble::Unfit(Unfit::ReadOnly));
    }
    durable::judge(row.get(0))
}

type Tls = <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect;
type Stream = <Tls as TlsConnect<Socket>>::Stream;

/// Transfers questions and answers until either side closes the connection.
pub(super) async fn carry(mut connection: Connection<Socket, Stream>) {
    poll_fn(|cx| {
        loop {
            match std::task::ready!(connection.poll_message(cx)) {
                Some(Ok(AsyncMessage::Notice(notice))) if is_doubt(notice.routine()) => {
                    return Poll::Ready(());
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(()),
            }
        }
    })
    .await;
}

/// Whether the server warns that a commit did not wait for the synchronous standby, because somebody cancelled the wait
/// (`pg_cancel_backend`). PostgreSQL reports the commit as successful right after this warning. So the warning ends the
/// connection, and the caller gets a fault: the result is unknown.
fn is_doubt(routine: Option<&str>) -> bool {
    routine == Some("SyncRepWaitForLSN")
}
