//! Whether the members that are connected to are of one cluster. An etcd that was started alone is a cluster of its own, and
//! each that was started so, with the same settings, has the same IDs: then two endpoints say that they are one member. Two
//! servers could accept one OTP, each in another cluster.

use super::connection::{CallFault, Connection, Identity};
use super::fault::{EtcdFault, EtcdFaultKind as Kind, Outcome};
use super::hosts::Hosts;
use std::collections::BTreeMap;
use yubiotp::diagnostic::{Code, Diagnostic, Program};

impl Hosts {
    /// Fails if two endpoints that are connected to cannot be members of one cluster, by what each said last.
    pub(super) fn must_be_one_cluster(&self) -> Result<(), EtcdFault> {
        self.connected_with(None).map_or(Ok(()), |found| Err(fault(Outcome::NotStored, found)))
    }

    /// The same with one that has just answered, and may not be kept yet.
    pub(super) fn must_agree_with(&self, answered: &Connection) -> Result<(), CallFault> {
        let found = self.connected_with(Some(answered));
        found.map_or(Ok(()), |found| Err(CallFault::Lost(fault(Outcome::Unknown, found))))
    }

    fn connected_with(&self, answered: Option<&Connection>) -> Option<Diagnostic> {
        if self.count() < 2 {
            return None;
        }
        let identity = |at| {
            let open = self.open(at);
            let kept = open.as_deref().and_then(Connection::identity);
            let new = answered.filter(|one| one.to() == self.name(at)).and_then(Connection::identity);
            Some((self.name(at), new.or(kept)?))
        };
        apart(&(0..self.count()).filter_map(identity).collect::<Vec<_>>())
    }
}

fn fault(outcome: Outcome, found: Diagnostic) -> EtcdFault {
    EtcdFault::new(outcome, Kind::NotOneCluster, found)
}

/// The finding, if these endpoints are not members of one cluster.
fn apart(said: &[(&str, Identity)]) -> Option<Diagnostic> {
    let mut clusters = BTreeMap::new();
    let mut members = BTreeMap::<_, Vec<_>>::new();
    for (name, Identity { cluster, member }) in said {
        clusters.entry(*cluster).or_insert(*name);
        members.entry(*member).or_default().push(*name);
    }
    let (names, why) = if clusters.len() > 1 {
        let ids: Vec<_> = clusters.keys().map(|id| format!("{id:x}")).collect();
        (clusters.into_values().collect(), format!("their cluster IDs are {}", ids.join(" and ")))
    } else {
        let (id, names) = members.into_iter().find(|(_, names)| names.len() > 1)?;
        (names, format!("each says that it is member {id:x}"))
    };
    let problem =
        format!("{} are clusters of their own, not members of one cluster: {why}", names.join(" and "));
    Some(not_one_cluster(&problem).advise("if these names lead to one member, name it only once in store"))
}

/// The finding that members are not of one cluster, and what to do. Used OTPs may be in any of them.
pub(crate) fn not_one_cluster(problem: &str) -> Diagnostic {
    Diagnostic::error(Code::DatabaseMembersNotOneCluster, problem)
        .advise(
            "if they have no store yet: stop etcd on each host, empty its data folder, and start it with the settings \
             of all members (etcdctl member list shows all of them then)",
        )
        .advise(
            "if one of them has a store that servers used: name only that member in store, and add the others to its \
             cluster (etcdctl member add), with empty data folders",
        )
        .run_when(
            "if servers used several, an OTP that was used in one is accepted in another. Keep one as above, and before the \
             servers start again, on each host, with TIME as the time when the first of them started",
            Program::Ykvald,
            "accept-database --lost-since TIME",
        )
}
