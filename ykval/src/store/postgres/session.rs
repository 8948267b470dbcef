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

/// How long a new connection may take, and how long one waits for another caller's.
pub(super) const WAIT: Duration = Duration::from_secs(3);

/// What holds on every connection, whatever the server's or the role's defaults are:
/// - every name is written with its schema, and nothing else is looked for elsewhere;
/// - statements are READ COMMITTED: what they find locked they wait for, and then judge the newest version of it;
/// - a commit is on the disk before it is answered (each change asks for that itself: `durable`);
/// - rows are found by their index, by a plan that is made once: statistics may be of a time before a large import;
/// - no statement waits for ever; nor does a server for a client that is gone in the middle of a change;
/// - warnings are sent: one of them says that a commit is not what it should be ([`is_doubt`]).
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

/// Where a standby must have each commit, it has it on its disk. Each change looks at what is set here
/// ([`durable`](super::durable)).
const WITH_STANDBY: &str = "SET ykvald.standby = 'required'";

/// What makes a server unfit, beside what [`durable`](super::durable) asks for at each change.
const FIT: &str =
    concat!("SELECT ", unfit!(), ", pg_is_in_recovery(), current_setting('transaction_read_only')::boolean");

/// Prepares a connection before anybody gets it. Gives the [`backend`] that was prepared.
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

/// Fails where this server cannot keep positions. Prepares no statement: behind a pooler, it might be another session's.
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

/// Carries questions and answers until either end has enough.
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

/// Whether the server warns that a commit did not wait for the synchronous standby, because somebody cancelled that
/// (`pg_cancel_backend`). It says *committed* right after, which is then not what the administrator asked for. The
/// warning comes first, and the connection ends with it: the caller learns that nothing is certain.
fn is_doubt(routine: Option<&str>) -> bool {
    routine == Some("SyncRepWaitForLSN")
}
