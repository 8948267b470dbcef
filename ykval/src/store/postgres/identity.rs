//! What a server says of itself: which process of which server answers, and in which state the database is.

use super::trouble::Trouble;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, SimpleQueryMessage};
use yubiotp::diagnostic::{Code, Diagnostic};

/// Which server, which process of it, and which state of the database.
pub(super) struct Identity {
    /// The process, unlike any other.
    pub(super) backend: String,
    /// The server, since it started.
    pub(super) server: String,
    /// Its timeline; `None`: it does not say.
    pub(super) timeline: Option<u32>,
    /// Its system identifier; `None`: it does not say.
    pub(super) system: Option<u64>,
}

/// Everybody may ask, unless an administrator has revoked it. The file of the log that is written now begins with the
/// timeline; what `pg_control_checkpoint` says may be of before a promotion.
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

/// Which process of the server answers, unlike any other that it ever had.
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

/// Not what the role may not ask, or the server does not know.
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
