//! What `ykvald check` finds about etcd: settings that work now and may fail one day.

use super::link::Link;
use super::ops;
use crate::etcd::messages::{AlarmMember, AlarmType, EtcdMember, RangeRequest, StatusResponse};
use crate::etcd::{EtcdFaultKind, MemberStatus, not_one_cluster};
use crate::store::{Member, StoreFault};
use std::collections::BTreeSet;
use std::time::Duration;
use yubiotp::diagnostic::{Code, Diagnostic, Severity};

/// An answer that takes longer delays every OTP.
const SLOW: Duration = Duration::from_millis(100);

/// `--quota-backend-bytes`, if it is not set; before 3.6 a member does not say.
const QUOTA: i64 = 2 << 30;

/// Changes after which a cluster that compacts by itself has done so: at a change each second, more than a week.
const MANY: i64 = 1_000_000;

/// The versions of the members that answer. One that is silent is not waited for.
pub(super) async fn version(link: &Link) -> Result<String, StoreFault> {
    // Connects, if nothing is connected to.
    super::meta::read(link).await?;
    let versions = link.client.versions().into_iter().collect::<Vec<_>>().join(" and ");
    Ok(format!("etcd {versions}").trim_end().to_owned())
}

/// Fails if the cluster has an alarm, with which it refuses changes. The question goes through its log, so it also shows that
/// a majority writes.
pub(super) async fn must_be_writable(link: &Link) -> Result<(), StoreFault> {
    let alarms = match link.client.alarms().await {
        Ok(alarms) => alarms,
        // A user without that right.
        Err(fault) if fault.kind == EtcdFaultKind::Rights => return Ok(()),
        Err(fault) => return Err(link.told(&fault)),
    };
    alarms.first().map_or(Ok(()), |alarm| Err(link.fault(alarmed(alarm))))
}

fn alarmed(alarm: &AlarmMember) -> Diagnostic {
    let member = format!("{:x}", alarm.member_id);
    if alarm.alarm == i32::from(AlarmType::NoSpace) {
        let problem = format!(
            "has the alarm NOSPACE (member {member}): its quota is used up. OTPs are still accepted, until \
             its disk is full, but keys and clients cannot be changed"
        );
        return Diagnostic::error(Code::DatabaseFull, problem).advise(
            "compact and defragment each member, or raise --quota-backend-bytes; then: etcdctl alarm disarm",
        );
    }
    let problem = format!("has the alarm CORRUPT (member {member}): its members do not have the same data");
    Diagnostic::error(Code::DatabaseDamaged, problem)
        .advise("replace that member, and then: etcdctl alarm disarm")
}

/// What one member says.
pub(super) fn member(MemberStatus { endpoint, said, latency }: MemberStatus) -> Member {
    match said {
        Ok(status) => {
            let header = status.header.unwrap_or_default();
            let leads = status.leader != 0 && status.leader == header.member_id;
            let part = match (leads, status.is_learner, status.leader) {
                (true, ..) => "leader",
                (_, true, _) => "learner",
                (_, _, 0) => "without a leader",
                _ => "follower",
            };
            let state = format!(
                "{part}, version {}, term {}, revision {}, {} KiB, {} ms",
                status.version,
                status.raft_term,
                header.revision,
                status.db_size >> 10,
                latency.as_millis()
            );
            Member { at: endpoint, state, leads }
        }
        Err(fault) => Member { at: endpoint, state: fault.diagnostic().problem().to_string(), leads: false },
    }
}

/// Finds what the members say.
pub(super) async fn of(link: &Link) -> Vec<Diagnostic> {
    let (said, clocks) = tokio::join!(link.client.status(), super::clocks::of(link));
    let mut traps = Vec::new();
    match link.client.members().await {
        Ok(members) => {
            of_members(&members, &said, &mut traps);
            if let Some(problem) = link.fewer_members(members.len()) {
                let found = not_one_cluster(&format!("{problem}: right only while a member is replaced"));
                traps.push(found.with_severity(Severity::Warning));
            }
        }
        // To ask it anything else has failed as well.
        Err(fault) => traps.push(fault.diagnostic()),
    }
    if let Ok(alarms) = link.client.alarms().await {
        traps.extend(alarms.iter().map(alarmed));
    }
    let mut versions = BTreeSet::new();
    for MemberStatus { endpoint, said, latency } in &said {
        match said {
            Ok(status) => {
                versions.insert(status.version.as_str());
                if *latency > SLOW {
                    let problem = format!("member {endpoint} took {} ms to answer", latency.as_millis());
                    traps.push(Diagnostic::warning(Code::DatabaseMemberSlow, problem));
                }
                traps.extend(nearly_full(endpoint, status));
            }
            Err(fault) => {
                let found = fault.diagnostic();
                let problem = format!("member {endpoint}: {}", found.problem());
                let is_away = matches!(fault.kind, EtcdFaultKind::Unreachable | EtcdFaultKind::Late);
                let code = if is_away { Code::DatabaseMemberUnreachable } else { found.code };
                let found = Diagnostic { code, problem, ..found }.with_severity(Severity::Warning);
                traps.push(if is_away { found.advise("start that member, or replace it") } else { found });
            }
        }
    }
    if versions.len() > 1 {
        let problem = format!(
            "its members have different versions: {}",
            versions.into_iter().collect::<Vec<_>>().join(", ")
        );
        traps.push(
            Diagnostic::warning(Code::DatabaseVersionsDiffer, problem)
                .advise("finish the upgrade of all members"),
        );
    }
    traps.extend(clocks);
    traps.extend(not_compacted(link).await);
    traps.extend(link.is_open_to_others.then(|| {
        let problem = "is used without TLS: others on the network can read and change what is stored";
        Diagnostic::warning(Code::DatabaseWithoutTls, problem)
            .advise("write etcds:// in store, and set ca in [etcd]")
    }));
    traps
}

fn of_members(members: &[EtcdMember], said: &[MemberStatus], traps: &mut Vec<Diagnostic>) {
    let voters = members.iter().filter(|member| !member.is_learner).count();
    if voters < 3 {
        let members = if voters == 1 { "1 member".to_owned() } else { format!("{voters} members") };
        let problem = format!("the cluster has {members}: if one is lost, no OTP is accepted");
        traps.push(
            Diagnostic::warning(Code::DatabaseMembersTooFew, problem)
                .advise("run three members, or five, on hosts of their own"),
        );
    }
    // A name that leads to several members shows up as one.
    let known: BTreeSet<_> =
        said.iter().filter_map(|one| Some(one.said.as_ref().ok()?.header?.member_id)).collect();
    let is_whole = said.iter().all(|one| one.said.is_ok());
    for member in members.iter().filter(|member| is_whole && !known.contains(&member.id)) {
        let name = if member.name.is_empty() { format!("{:x}", member.id) } else { member.name.clone() };
        let problem = format!("member {name} ({}) is not in store", member.client_urls.join(", "));
        // Then ykvald stops with that member, although the cluster goes on.
        let is_only = said.len() == 1;
        let severity = if is_only { Severity::Warning } else { Severity::Note };
        traps.push(
            Diagnostic::note(Code::DatabaseMemberNotListed, problem)
                .with_severity(severity)
                .advise("name every member in store, so that ykvald goes on whichever is lost"),
        );
    }
}

fn nearly_full(endpoint: &str, status: &StatusResponse) -> Option<Diagnostic> {
    let (quota, unless) = match status.db_size_quota {
        0 => (QUOTA, ", unless --quota-backend-bytes is higher"),
        quota => (quota, ""),
    };
    if status.db_size < quota / 10 * 8 {
        return None;
    }
    let (size, quota) = (status.db_size >> 20, quota >> 20);
    let problem = format!(
        "member {endpoint} has {size} MiB of its {quota} MiB{unless}: when they are full, keys and clients cannot be changed, and \
         servers are not ready"
    );
    let found = Diagnostic::warning(Code::DatabaseNearlyFull, problem);
    Some(found.advise("set --auto-compaction-retention, and defragment each member: etcdctl defrag"))
}

/// A cluster that was never compacted keeps each change of a position, until it is full.
async fn not_compacted(link: &Link) -> Option<Diagnostic> {
    let newest = link.range(ops::get(link.keys.meta())).await.ok()?.header?.revision;
    if newest < MANY {
        return None;
    }
    // An old revision is asked for only to learn that it is gone.
    let old = RangeRequest {
        revision: newest.saturating_sub(MANY).max(1),
        count_only: true,
        ..ops::get(link.keys.meta())
    };
    link.client.range(old).await.ok()?;
    let problem =
        format!("has kept its last {MANY} changes: without compaction it grows until its quota is used up");
    let found = Diagnostic::warning(Code::DatabaseNotCompacted, problem);
    Some(
        found.advise("start each member with --auto-compaction-mode=periodic --auto-compaction-retention=1h"),
    )
}
