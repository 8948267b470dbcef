//! The identity of a server: which process of which server answers, and the state of the database.

use super::trouble::Trouble;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, SimpleQueryMessage};
use yubiotp::diagnostic::{Code, Diagnostic};

/// A server, its process, and the state of the database.
pub(super) struct Identity {
    /// The process: unique, also over time.
    pub(super) backend: String,
    /// The server and its start.
    pub(super) server: String,
    /// Its timeline; `None`: unknown.
    pub(super) timeline: Option<u32>,
    /// Its system identifier; `None`: unknown.
    pub(super) system: Option<u64>,
}

/// Every role may run it, unless an administrator revoked that. The name of the current WAL file begins with the
/// timeline; `pg_control_checkpoint` may still show the one before a promotion.
const TIMELINE: &str = "SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)";
const SYSTEM: &str = "SELECT system_identifier FROM pg_control_system()";
const SERVER: &str = "SELECT pg_postmaster_start_time()";

impl Identity {
    pub(super) async fn of(client: &Client) -> Result<Self, Trouble> {
        let damaged = |what: &str| {
            let problem = format!("its {what} cannot be read");
            Trouble::Refused(Box::new(Diagnostic::error(Code::DatabaseFailed, problem)))
        };
        let timeline = may_say(text(client, TIMELINE).await)?;
        let timeline = timeline.map(|hex| u32::from_str_radix(&hex, 16)).transpose();
        let system = may_say(text(client, SYSTEM).await)?;
        // A number of 64 bits, which PostgreSQL shows with a sign.
        let system = system.map(|number| number.parse().map(i64::cast_unsigned)).transpose();
        Ok(Self {
            server: text(client, SERVER).await?.unwrap_or_default(),
            timeline: timeline.map_err(|_| damaged("timeline"))?,
            system: system.map_err(|_| damaged("system identifier"))?,
            backend: backend(client).await?,
        })
    }
}

/// The process that answers: unique among all that the server ever had.
pub(super) async fn backend(client: &Client) -> Result<String, Trouble> {
    const BACKEND: &str = "SELECT pid || ' ' || backend_start || ' ' || pg_postmaster_start_time()
        FROM pg_stat_get_activity(pg_backend_pid())";
    Ok(text(client, BACKEND).await?.unwrap_or_default())
}

/// The first column of the first row.
pub(super) async fn text(client: &Client, query: &str) -> Result<Option<String>, Error> {
    let said = client.simple_query(query).await?;
    Ok(said.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }))
}

/// `None` if the role may not ask, or the server does not know.
fn may_say(said: Result<Option<String>, Error>) -> Result<Option<String>, Error> {
    said.or_else(|error| match error.code() {
        Some(
            &(SqlState::INSUFFICIENT_PRIVILEGE
            | SqlState::UNDEFINED_FUNCTION
            | SqlState::FEATURE_NOT_SUPPORTED),
        ) => Ok(None),
        _ => Err(error),
    })
}
