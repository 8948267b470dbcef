//! The findings of the doctor, and the files that it could not read.

use crate::{Done, out};
use serde_json::Value;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use ykcli::report;
use ykhost::Fault;
use ykhost::file::FileFault;
use yubiotp::diagnostic::{Calls, Code, Diagnostic, Location, Severity, shell_word};

/// The checks, in the order of a login, after what may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    Rights,
    Pam,
    Sshd,
    Module,
    Settings,
    Files,
    Mapping,
    Store,
    Program,
    Servers,
    Clock,
    User,
}

/// The names of the areas of the report, in the order of [`Check`].
pub(crate) const AREAS: [&str; 12] = [
    "rights", "pam.d", "sshd", "module", "settings", "files", "mapping", "store", "program", "servers",
    "clock", "user",
];

impl Check {
    const ALL: [Self; 12] = [
        Self::Rights,
        Self::Pam,
        Self::Sshd,
        Self::Module,
        Self::Settings,
        Self::Files,
        Self::Mapping,
        Self::Store,
        Self::Program,
        Self::Servers,
        Self::Clock,
        Self::User,
    ];

    /// The check of that area.
    pub(super) fn named(area: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|check| check.area() == area)
    }

    pub(super) const fn area(self) -> &'static str {
        let [rights, pam, sshd, module, settings, files, mapping, store, program, servers, clock, user] =
            AREAS;
        match self {
            Self::Rights => rights,
            Self::Pam => pam,
            Self::Sshd => sshd,
            Self::Module => module,
            Self::Settings => settings,
            Self::Files => files,
            Self::Mapping => mapping,
            Self::Store => store,
            Self::Program => program,
            Self::Servers => servers,
            Self::Clock => clock,
            Self::User => user,
        }
    }
}

/// How many services a command names; more are meant by what they have in common.
const MOST_TAGS: usize = 4;

/// How many findings of one code are shown one by one.
const MOST_ALIKE: usize = 10;

/// All findings.
pub(super) struct Report {
    found: report::Report,
    /// Files that only root can read.
    unread: Vec<PathBuf>,
}

impl Report {
    pub(super) fn new() -> Self {
        Self { found: report::Report::new(&AREAS).showing_at_most(MOST_ALIKE), unread: Vec::new() }
    }

    /// From here on, remedies call `ykmap` with this configuration file; `None` for the usual one.
    pub(super) fn calls_with(&mut self, config: Option<&Path>) {
        self.found.calls(Calls { ykmap: &ykmap_with(config), ..Calls::PLAIN });
    }

    /// Adds a finding. The same problem of the same thing is kept once, as it was found first.
    pub(super) fn add(&mut self, check: Check, diagnostic: Diagnostic) {
        self.found.add(check.area(), diagnostic);
    }

    /// Adds that something is in order; shown if nothing of this check is worse than a note.
    pub(super) fn ok(&mut self, check: Check, location: Option<Location>, what: impl Into<String>) {
        self.found.ok(check.area(), location, what);
    }

    /// Adds a fault, unless the file was only not read because it is root's. `otherwise` is the remedy where the fault
    /// has none.
    pub(super) fn fault(&mut self, check: Check, fault: &Fault, otherwise: &str) {
        if !fault.file().is_some_and(|file| self.is_unread(file)) {
            let diagnostic = fault.diagnostic();
            self.add(
                check,
                if diagnostic.remedies.is_empty() { diagnostic.advise(otherwise) } else { diagnostic },
            );
        }
    }

    /// Adds the fault of a file.
    pub(super) fn file_fault(&mut self, check: Check, fault: FileFault, otherwise: &str) {
        self.fault(check, &Fault::File(fault), otherwise);
    }

    /// Whether a file was only not read because it is root's, and nobody knows whether something is wrong with it.
    pub(super) fn is_unread(&mut self, fault: &FileFault) -> bool {
        let denied = fault.is_denied() && !rustix::process::geteuid().is_root();
        if denied && !self.unread.iter().any(|path| path == fault.path()) {
            self.unread.push(fault.path().to_owned());
        }
        denied
    }

    /// Whether a check found an error.
    pub(super) fn has_errors(&self, check: Check) -> bool {
        self.found.has(check.area(), Severity::Error)
    }

    /// Adds what could not be read.
    fn with_unread(mut self) -> Self {
        if let Some(first) = self.unread.first().cloned() {
            let what = match self.unread.len().saturating_sub(1) {
                0 => "was not read: you are not root".to_owned(),
                more => format!("and {} were not read: you are not root", out::count(more, "other file")),
            };
            let diagnostic = Diagnostic::error(Code::NotRoot, what).at(at(&first));
            self.add(Check::Rights, diagnostic.advise("run it in a root shell"));
        }
        self
    }

    /// All of it, for another report: each finding with how `ykmap` is called for it.
    pub(super) fn into_findings(self) -> Vec<(Check, Diagnostic, String)> {
        let report = self.with_unread();
        let all = report.found.findings();
        all.filter_map(|(area, it, calls)| Some((Check::named(area)?, it.clone(), calls.ykmap.to_owned())))
            .collect()
    }

    /// Prints all of it as JSON, with who gets in.
    pub(super) fn print_json(self, access: Value) -> Done {
        let report = self.with_unread();
        let mut json = report.found.json();
        json.insert("access".to_owned(), access);
        out::json(&Value::Object(json));
        report.found.done()
    }

    /// Prints all of it as text. `services` are those whose log may say more, if somebody wants to know. `show_access`
    /// prints who gets in.
    pub(super) fn print(self, services: &[String], asked_about: bool, show_access: impl FnOnce()) -> Done {
        let report = self.with_unread();
        report.found.print();
        show_access();
        if !services.is_empty() && (asked_about || report.found.count(Severity::Error) > 0) {
            let which: String = if services.len() > MOST_TAGS {
                " SYSLOG_FACILITY=10".to_owned() // authpriv
            } else {
                services.iter().map(|name| format!(" -t {}", shell_word(name.as_bytes()))).collect()
            };
            out::line("the log has the reason of each rejected login:");
            out::line(&format!("  journalctl{which} | grep 'pam_yubiotp(' | tail -n 1"));
        }
        out::line(&report.found.summary());
        report.found.done()
    }
}

/// How `ykmap` is called with this configuration file; `None` for the usual one.
pub(super) fn ykmap_with(config: Option<&Path>) -> String {
    match config {
        Some(config) => format!("ykmap --config {}", shell_word(config.as_os_str().as_bytes())),
        None => Calls::PLAIN.ykmap.to_owned(),
    }
}

/// A file or folder, as a finding names it.
pub(super) fn at(path: &Path) -> Location {
    Location::file(path.as_os_str().as_bytes())
}

/// A path in a sentence.
pub(super) fn shown(path: &Path) -> String {
    yubiotp::shown::text(path.as_os_str().as_bytes()).to_string()
}

/// How many names a sentence has; more are counted.
pub(super) const MOST_NAMES: usize = 6;

/// Names in a sentence, the first of them if there are many.
pub(super) fn shortened(names: &[String], of: &str) -> String {
    let first = || names.iter().take(MOST_NAMES).cloned().collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(MOST_NAMES) {
        Some(more @ 1..) => format!("{} and {}", first(), out::count(more, &format!("more {of}"))),
        _ => names.join(", "),
    }
}
