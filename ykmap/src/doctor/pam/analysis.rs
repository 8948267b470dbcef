//! One service under analysis, and where its findings go.

use super::super::report::{Check, MOST_NAMES, Report, shortened};
use super::access::{Access, Front, Row};
use super::service::{Kind, Place, Service};
use yubiotp::diagnostic::{Diagnostic, Location, Remedy, Severity};

/// Findings about lines in pam.d.
#[derive(Default)]
pub(super) struct Findings(Vec<Finding>);

/// One finding, and for which services it holds.
struct Finding {
    kind: Kind,
    diagnostic: Diagnostic,
    services: Vec<String>,
}

impl Findings {
    /// Adds a finding about a service. One about a line that several services include is one finding, and so is a note
    /// that says the same of lines in files of a few services.
    fn add(&mut self, service: &str, kind: Kind, diagnostic: Diagnostic) {
        let same = |own: &Finding| {
            let one = Diagnostic { location: None, ..own.diagnostic.clone() };
            let other = Diagnostic { location: None, ..diagnostic.clone() };
            let is_note =
                diagnostic.severity == Severity::Note && !own.services.iter().any(|name| name == service);
            let is_short = own.services.len() < MOST_NAMES;
            own.kind == kind && (own.diagnostic == diagnostic || is_note && is_short && one == other)
        };
        match self.0.iter_mut().find(|own| same(own)) {
            Some(own) if own.services.iter().any(|name| name == service) => {}
            Some(own) => own.services.push(service.to_owned()),
            None => self.0.push(Finding { kind, diagnostic, services: vec![service.to_owned()] }),
        }
    }

    /// Adds all of them to the report, by kind and place.
    pub(super) fn report(mut self, report: &mut Report) {
        let place = |it: &Finding| it.diagnostic.location.as_ref().map(ToString::to_string);
        self.0.sort_by_cached_key(|it| (it.kind.name(), place(it)));
        for Finding { kind, mut diagnostic, services } in self.0 {
            let services: Vec<_> =
                services.iter().map(|name| yubiotp::shown::text(name).to_string()).collect();
            let services = shortened(&services, "service");
            diagnostic.problem = format!("{services}: {}: {}", kind.name(), diagnostic.problem);
            report.add(Check::Pam, diagnostic);
        }
    }
}

/// One service, and who can get in by it with what.
pub(super) struct StackAnalysis<'a> {
    pub(super) service: &'a Service,
    /// All services of the host.
    pub(super) services: &'a [Service],
    pub(super) access: &'a Access,
    /// The questions before the lines, for whom they are, and the classes of users.
    pub(super) fronts: &'a [(Front, Vec<Row>)],
    /// A line that libpam does not understand keeps everybody out.
    pub(super) always_fails: bool,
    /// `nullok` lets nobody in: said already.
    pub(super) nullok_is_idle: bool,
    pub(super) findings: &'a mut Findings,
}

impl StackAnalysis<'_> {
    /// Adds a finding about a line.
    pub(super) fn say(&mut self, kind: Kind, place: &Place, found: Diagnostic, remedies: Vec<Remedy>) {
        self.say_at(kind, place.location(), found, remedies);
    }

    pub(super) fn say_at(&mut self, kind: Kind, place: Location, found: Diagnostic, remedies: Vec<Remedy>) {
        let mut found = found.at(place);
        found.remedies.extend(remedies);
        self.findings.add(&self.service.name, kind, found);
    }
}
