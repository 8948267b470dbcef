//! One connection: how it is opened, what is asked of the server before it is used, and when it is given up.

use deadpool_postgres::{ClientWrapper, Connect, Hook, HookError};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Error, SimpleQueryMessage, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How long a new connection may take, and how long one waits for another caller's.
pub(super) const WAIT: Duration = Duration::from_secs(3);

/// What holds on every connection, whatever the server's or the role's defaults are:
/// - every name is written with its schema, and nothing else is looked for elsewhere;
/// - statements are READ COMMITTED: what they find locked they wait for, and then judge the newest version of it;
/// - a commit is on the server's disk before it is answered. `on`, `remote_apply` and `remote_write` all wait for that,
///   and differ in what they wait for on a synchronous standby (`remote_write`: written there but not synced, lost if
///   that machine's power fails too), which is for the administrator to choose. `local` does not wait for the standby
///   that was configured, and `off` for nothing: both become `on`;
/// - no statement waits for ever; nor does a server for a client that is gone in the middle of a change;
/// - warnings are sent: one of them says that a commit is not what it should be ([`is_doubt`]).
const SESSION: &str = "
    SET search_path = '';
    SET default_transaction_isolation = 'read committed';
    SET statement_timeout = '3s';
    SET lock_timeout = '2s';
    SET idle_in_transaction_session_timeout = '30s';
    SET client_min_messages = 'warning';";

const DURABLE: &str = "SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') IN ('off', 'local')";

/// What makes a server unfit.
const FIT: &str = "SELECT pg_is_in_recovery(), current_setting('transaction_read_only')::boolean,
    current_setting('fsync')::boolean, current_setting('full_page_writes')::boolean";

const UNFIT: [&str; 4] = [
    "is a standby, which cannot be written to: name the primary",
    "is read-only (default_transaction_read_only or transaction_read_only is on)",
    "runs with fsync = off: after a crash it may forget which OTPs were used. Set it to on",
    "runs with full_page_writes = off: after a crash it may forget which OTPs were used. Set it to on",
];

/// Prepares every connection before anybody gets it.
pub(super) fn prepare() -> Hook {
    Hook::async_fn(|client: &mut ClientWrapper, _| {
        Box::pin(async move {
            let settled = async {
                client.batch_execute(SESSION).await?;
                client.batch_execute(DURABLE).await?;
                unfit(client).await
            };
            let told = |why: &'static str| Err(HookError::message(why));
            match timeout(WAIT, settled).await {
                Ok(Ok(None)) => Ok(()),
                Ok(Ok(Some(why))) => told(why),
                Ok(Err(error)) => Err(HookError::Backend(error)),
                Err(_) => told("gave no answer on a new connection"),
            }
        })
    })
}

/// Why this server cannot keep positions; `None` if it can.
pub(super) async fn unfit(client: &Client) -> Result<Option<&'static str>, Error> {
    let said = client.simple_query(FIT).await?;
    let row = said.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let Some(row) = row else { return Ok(Some("gave no answer")) };
    let is = ["t", "t", "f", "f"];
    let wrong = is.iter().enumerate().position(|(at, bad)| row.get(at) == Some(*bad));
    Ok(wrong.and_then(|at| UNFIT.get(at)).copied())
}

/// Opens connections.
pub(super) struct Opener(pub(super) MakeRustlsConnect);

type Opened = Result<(Client, JoinHandle<()>), Error>;

impl Connect for Opener {
    fn connect(&self, config: &Config) -> Pin<Box<dyn Future<Output = Opened> + Send + '_>> {
        let (tls, config) = (self.0.clone(), config.clone());
        Box::pin(async move {
            let (client, connection) = config.connect(tls).await?;
            Ok((client, tokio::spawn(carry(connection))))
        })
    }
}

type Tls = <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect;
type Stream = <Tls as TlsConnect<Socket>>::Stream;

/// Carries questions and answers until either end has enough.
async fn carry(mut connection: Connection<Socket, Stream>) {
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
