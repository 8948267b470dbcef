//! What `ykvald check` finds about PostgreSQL: settings that work now and may fail one day.

use super::hosts::{HostLook, HostRefusal, Hosts, Session};
use super::session::WAIT;
use super::trouble::failed;
use crate::config::Standby;
use crate::store::fault::if_another_is_meant;
use tokio_postgres::Error;
use yubiotp::diagnostic::{Code, Diagnostic, Severity};

/// Finds what the role has the rights to see.
pub(super) async fn of(hosts: &Hosts) -> Vec<Diagnostic> {
    let looked = hosts.look(WAIT).await;
    let is_standby = |refused: &HostRefusal| refused.found.code == Code::DatabaseIsStandby;
    let several =
        looked.iter().any(|one| one.host > 0 || matches!(&one.found, Err(refused) if is_standby(refused)));
    let is_reached = |host| looked.iter().any(|one| one.host == host && one.found.is_ok());
    let mut traps = Vec::new();
    for HostLook { host, name, found } in &looked {
        let Err(refused) = found else { continue };
        let found = Diagnostic::clone(&refused.found);
        let found = Diagnostic { problem: format!("{name}: {}", found.problem()), ..found };
        if found.code == Code::DatabasePooled {
            traps.push(found);
        } else if !is_standby(refused) && !is_reached(*host) {
            let found = found.with_severity(Severity::Warning);
            traps.push(if refused.is_other_database { if_another_is_meant(found) } else { found });
        }
    }
    let mut servers: Vec<(&str, &Session)> = Vec::new();
    for HostLook { name, found, .. } in &looked {
        if let Ok(session) = found
            && !servers.iter().any(|(_, known)| known.server == session.server)
        {
            servers.push((name, session));
        }
    }
    if servers.len() > 1 {
        let names: Vec<_> = servers.iter().map(|(name, _)| *name).collect();
        let problem = format!(
            "{} can be written to at the same time, so two servers may accept one OTP",
            names.join(" and ")
        );
        traps.push(
            Diagnostic::error(Code::DatabaseTwoPrimaries, problem)
                .advise("stop all but the newest primary, and make the others its standbys"),
        );
    }
    let Some((_, session)) = servers.first() else { return traps };
    if session.timeline.is_none() {
        traps.push(
            Diagnostic::warning(
                Code::DatabaseTimelineHidden,
                "does not tell its timeline, so an old primary that comes back is not noticed",
            )
            .advise("let the role execute pg_walfile_name and pg_current_wal_lsn"),
        );
    }
    match replication(session, hosts.standby(), several).await {
        Ok(found) => traps.extend(found),
        Err(error) => {
            traps.push(hidden(&format!("its standbys cannot be examined: {}", failed(&error).problem)))
        }
    }
    traps
}

fn hidden(problem: &str) -> Diagnostic {
    Diagnostic::warning(Code::DatabaseStandbysHidden, problem)
        .advise("GRANT pg_read_all_stats to the role, and check again")
}

/// The names that a commit waits for, how many standbys have one of them, how many others there are, and how many whose
/// state the role may not see.
const REPLICATION: &str = "SELECT current_setting('synchronous_standby_names'),
    count(*) FILTER (WHERE sync_state IN ('sync', 'quorum', 'potential')),
    count(*) FILTER (WHERE sync_state = 'async'),
    count(*) FILTER (WHERE pid IS NOT NULL AND sync_state IS NULL)
    FROM pg_stat_replication";

/// How standbys are made synchronous.
const MAKE_SYNCHRONOUS: &str = "set synchronous_standby_names = 'ANY 1 (a, b)' in PostgreSQL, with the names of the standbys \
                                (Patroni: synchronous_mode and synchronous_mode_strict), and then standby = \"required\" in \
                                [postgres]";

async fn replication(session: &Session, standby: Standby, several: bool) -> Result<Vec<Diagnostic>, Error> {
    let row = session.query_one(REPLICATION, &[]).await?;
    let (names, candidates): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
    let (behind, unseen): (i64, i64) = (row.try_get(2)?, row.try_get(3)?);
    let mut traps = Vec::new();
    if unseen > 0 {
        traps.push(hidden("has standbys whose state its role may not see"));
    }
    if names.is_empty() {
        if behind > 0 || unseen > 0 {
            let problem = "its standbys are asynchronous (synchronous_standby_names is empty): if one takes over, the last OTPs \
                           can be used again";
            traps.push(
                Diagnostic::warning(Code::DatabaseStandbysAsynchronous, problem).advise(MAKE_SYNCHRONOUS),
            );
        } else if several {
            // To require a standby now would lock everybody out.
            let problem = "several hosts are named, and no standby is connected";
            traps.push(
                Diagnostic::warning(Code::DatabaseStandbysAbsent, problem)
                    .advise("set up a standby first")
                    .advise(format!("then {MAKE_SYNCHRONOUS}")),
            );
        }
        return Ok(traps);
    }
    if standby == Standby::Optional {
        let problem = "waits for a standby only while synchronous_standby_names is set, and failover managers empty it when a \
                       standby is lost";
        traps.push(
            Diagnostic::warning(Code::DatabaseStandbyOptional, problem).advise(
                "set standby = \"required\" in [postgres]; without a standby, no OTP is accepted then",
            ),
        );
    }
    let needed = needed(&names);
    // If the state of some is not visible, it is not known how many there are.
    if unseen == 0 && candidates < needed {
        let problem = format!(
            "each commit waits for {needed} of the standbys in synchronous_standby_names, and {candidates} of them are \
             connected: no OTP is accepted"
        );
        traps.push(
            Diagnostic::error(Code::DatabaseStandbysTooFew, problem)
                .advise("start the standbys, or change that setting"),
        );
    } else if unseen == 0 && candidates == needed {
        let problem = format!(
            "each commit waits for {needed} of the standbys in synchronous_standby_names, and no more are connected: if one \
             is lost, no OTP is accepted"
        );
        traps.push(
            Diagnostic::warning(Code::DatabaseStandbysJustEnough, problem).advise(format!(
                "add a standby, and set synchronous_standby_names = 'ANY {needed} (a, b, …)'"
            )),
        );
    }
    Ok(traps)
}

/// For how many standbys a commit waits: `ANY 2 (a, b, c)`, `FIRST 1 (*)`, `2 (a, b)`, or `a, b`, which is for one.
fn needed(names: &str) -> i64 {
    let head = names.split_once('(').map(|(head, _)| head);
    head.and_then(|head| head.split_whitespace().last()).and_then(|number| number.parse().ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_many_standbys_are_waited_for() {
        for (names, count) in [
            ("a", 1),
            ("a, b", 1),
            ("*", 1),
            ("FIRST 1 (*)", 1),
            ("ANY 2 (a, b, c)", 2),
            ("3(a,b,c)", 3),
            ("any 2(a,b)", 2),
        ] {
            assert_eq!(needed(names), count, "{names}");
        }
    }
}
