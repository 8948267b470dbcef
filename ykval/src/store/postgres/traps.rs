//! What `ykvald check` names of PostgreSQL: what works now and goes wrong one day.

use super::hosts::{HostLook, Hosts, Session};
use super::session::WAIT;
use super::trouble::words;
use crate::config::Standby;
use crate::store::Trap;
use tokio_postgres::Error;

/// All that can be seen with the rights that the role has.
pub(super) async fn of(hosts: &Hosts) -> Vec<Trap> {
    let looked = hosts.look(WAIT).await;
    let mut traps = Vec::new();
    let several =
        looked.iter().any(|one| one.host > 0 || matches!(&one.found, Err(refused) if refused.is_standby));
    let is_reached = |host| looked.iter().any(|one| one.host == host && one.found.is_ok());
    for HostLook { host, name, found } in &looked {
        let Err(refused) = found else { continue };
        if refused.is_pooled {
            traps.push(Trap::error(format!("{name}: {}", refused.why)));
        } else if !refused.is_standby && !is_reached(*host) {
            let is_other_database = refused.is_other_database;
            traps.push(Trap { is_other_database, ..Trap::warning(format!("{name}: {}", refused.why)) });
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
        traps.push(Trap::error(format!(
            "{} can be written to at the same time: two servers may accept one OTP. Only the newest primary may run: stop the \
             others, and make them its standbys",
            names.join(" and ")
        )));
    }
    let Some((_, session)) = servers.first() else { return traps };
    if session.timeline.is_none() {
        traps.push(Trap::warning(
            "does not say on which timeline it is (pg_walfile_name, pg_current_wal_lsn): an old primary that comes back is not \
             noticed",
        ));
    }
    match replication(session, hosts.standby(), several).await {
        Ok(found) => traps.extend(found),
        Err(error) => {
            traps.push(Trap::warning(format!("its standbys cannot be looked at: {}", words(&error))))
        }
    }
    traps
}

/// What is waited for at a commit, how many standbys that is, and how many there are, as far as this role may know.
const REPLICATION: &str = "SELECT current_setting('synchronous_standby_names'),
    count(*) FILTER (WHERE sync_state IN ('sync', 'quorum', 'potential')),
    count(*) FILTER (WHERE sync_state = 'async'),
    count(*) FILTER (WHERE pid IS NOT NULL AND sync_state IS NULL)
    FROM pg_stat_replication";

async fn replication(session: &Session, standby: Standby, several: bool) -> Result<Vec<Trap>, Error> {
    let row = session.query_one(REPLICATION, &[]).await?;
    let (names, candidates): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
    let (behind, hidden): (i64, i64) = (row.try_get(2)?, row.try_get(3)?);
    let mut traps = Vec::new();
    if hidden > 0 {
        traps.push(Trap::warning(
            "it has standbys whose state this role may not see: GRANT pg_read_all_stats to it, and run this again",
        ));
    }
    if names.is_empty() {
        if behind > 0 || hidden > 0 {
            let why = "its standbys are asynchronous (synchronous_standby_names is empty): one that takes over has forgotten the \
                       last OTPs, which are good again. Set synchronous_standby_names = 'ANY 1 (a, b)' in PostgreSQL, with the \
                       names of the standbys (Patroni: synchronous_mode and synchronous_mode_strict), and then \
                       standby = \"required\" in [postgres]";
            traps.push(Trap::warning(why));
        } else if several {
            // To demand one now would lock everybody out.
            let why = "several hosts are named, and no standby is connected: set one up first. Then set \
                       synchronous_standby_names = 'ANY 1 (a, b)' in PostgreSQL, with the names of the standbys (Patroni: \
                       synchronous_mode and synchronous_mode_strict), and then standby = \"required\" in [postgres]";
            traps.push(Trap::warning(why));
        }
    } else {
        if standby == Standby::Optional {
            traps.push(Trap::warning(
                "waits for a standby only as long as synchronous_standby_names is set, which failover managers empty when a \
                 standby is lost: standby = \"required\" in [postgres] then refuses",
            ));
        }
        let needed = needed(&names);
        if hidden > 0 {
            // Then it is not known how many there are.
        } else if candidates < needed {
            traps.push(Trap::error(format!(
                "{candidates} standbys are connected of {needed} that each commit waits for (synchronous_standby_names): no OTP \
                 is accepted"
            )));
        } else if candidates == needed {
            traps.push(Trap::warning(format!(
                "each commit waits for {needed} synchronous standby, and no more are connected: if one is lost, no OTP is \
                 accepted. Have one more: synchronous_standby_names = 'ANY {needed} (a, b, …)'"
            )));
        }
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
