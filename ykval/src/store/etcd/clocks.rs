//! What `ykvald check` finds about the clocks of the members and of this host.

use super::link::Link;
use crate::etcd::MemberClock;
use yubiotp::diagnostic::{Code, Diagnostic};

/// How many seconds clocks may differ: the same as between servers.
const SECONDS: i64 = 2;

/// Compares the clocks of the members with that of this host. A member that does not say the time is passed over: if it does
/// not answer at all, that is a finding of its own.
pub(super) async fn of(link: &Link) -> Vec<Diagnostic> {
    compare(link.client.clocks().await)
}

fn compare(clocks: Vec<MemberClock>) -> Vec<Diagnostic> {
    let known = clocks.into_iter().filter_map(|MemberClock { endpoint, ahead }| Some((endpoint, ahead?)));
    let known: Vec<_> = known.map(|(endpoint, ahead)| (endpoint, ahead.beyond(SECONDS))).collect();
    let apart: Vec<_> = known.iter().filter_map(|(endpoint, by)| Some((endpoint, (*by)?))).collect();
    let all_one_way = |is: fn(i64) -> bool| known.len() > 1 && known.iter().all(|(_, by)| by.is_some_and(is));
    if all_one_way(i64::is_positive) || all_one_way(i64::is_negative) {
        let which: Vec<_> = apart.iter().map(|(endpoint, by)| format!("{endpoint} {by:+} s")).collect();
        let problem = format!(
            "the clock of this host differs from those of all members ({}): OTPs are decided all the same, but touches that \
             prove a restored token and valid certificates may be refused, and recorded times are wrong",
            which.join(", ")
        );
        return vec![warning(
            problem,
            "let this host get its time by NTP: timedatectl shows whether it does",
        )];
    }
    let one = |(endpoint, by): (&String, i64)| {
        let way = if by > 0 { "ahead of" } else { "behind" };
        let problem = format!(
            "the clock of member {endpoint} is {} s {way} that of this host: OTPs are decided all the same, but valid \
             certificates may be refused, and times in logs cannot be compared",
            by.unsigned_abs()
        );
        warning(problem, "let both hosts get their time by NTP: timedatectl shows on each whether it does")
    };
    apart.into_iter().map(one).collect()
}

fn warning(problem: String, remedy: &str) -> Diagnostic {
    Diagnostic::warning(Code::DatabaseMemberClockDiffers, problem).advise(remedy)
}
