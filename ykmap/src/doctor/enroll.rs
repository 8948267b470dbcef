//! Lines with `enroll` whose policy requires a token of nobody.

use super::pam::Looked;
use super::report::{Check, Report};
use super::settings::Case;
use yubiotp::diagnostic::{Code, Diagnostic};
use yubiotp::policy::{Policy, Require, Subject};

/// Reports the lines of a case at which enrollment is never offered, because no service that has them needs a token of
/// anybody.
pub(super) fn required_of_nobody(report: &mut Report, case: &Case, services: &[Looked]) {
    let policy = &case.settings.policy;
    for line in &case.enrolls {
        let place = line.to_string();
        let mut asking = services.iter().filter(|service| service.asks_by(&place)).peekable();
        if asking.peek().is_some() && !asking.any(|service| requires_somebody(policy, &service.name)) {
            let what = "enroll has no effect: the policy requires a token of nobody who has none";
            let found = Diagnostic::warning(Code::EnrollWithoutPolicy, what).at(line.clone());
            let change =
                "name the users who need a token in require, in [policy] of config.toml, or remove enroll";
            report.add(Check::Settings, found.advise(change));
        }
    }
}

/// Whether the policy requires a token of some user of a service, now or later.
fn requires_somebody(policy: &Policy, service: &str) -> bool {
    let own = policy.services.get(service).and_then(|rules| rules.require.as_ref());
    let is_somebody = |subject: &Subject| match subject {
        Subject::User(_) => true,
        Subject::Group(name) => policy.groups.get(name).is_some_and(|users| !users.is_empty()),
    };
    match own.or(policy.general.require.as_ref()) {
        None | Some(Require::All) => true,
        Some(Require::Enrolled) => false,
        Some(Require::These(who)) => who.iter().any(is_somebody),
    }
}
