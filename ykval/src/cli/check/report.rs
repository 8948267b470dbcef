//! What was found, and how it is told.

use crate::cli::{Done, Failure, out};
use serde_json::json;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// Looked at, and good.
    Ok,
    /// Serves, and may not do what was wanted.
    Warning,
    /// Does not start, or answers nobody.
    Error,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// All remarks, in the order of looking.
#[derive(Default)]
pub(super) struct Report(Vec<(&'static str, Level, String)>);

impl Report {
    /// A remark on something: what is found, and what to change.
    pub(super) fn add(&mut self, about: &'static str, level: Level, what: impl Into<String>) {
        self.0.push((about, level, what.into()));
    }

    pub(super) fn ok(&mut self, about: &'static str, what: impl Into<String>) {
        self.add(about, Level::Ok, what);
    }

    pub(super) fn warning(&mut self, about: &'static str, what: impl Into<String>) {
        self.add(about, Level::Warning, what);
    }

    pub(super) fn error(&mut self, about: &'static str, what: impl Into<String>) {
        self.add(about, Level::Error, what);
    }

    /// Tells all of it. The exit status is that of the worst.
    pub(super) fn tell(self, as_json: bool) -> Done {
        let count = |level| self.0.iter().filter(|(_, is, _)| *is == level).count();
        let (errors, warnings) = (count(Level::Error), count(Level::Warning));
        if as_json {
            let findings = self.0.iter();
            let findings = findings
                .map(|(about, level, what)| json!({ "level": level.name(), "about": about, "what": what }));
            out::json(
                &json!({ "errors": errors, "warnings": warnings, "findings": findings.collect::<Vec<_>>() }),
            );
        } else {
            for (about, level, what) in &self.0 {
                out::line(&format!("{:8} {about}: {what}", level.name()));
            }
            out::line(&format!("{}, {}", out::count(errors, "error"), out::count(warnings, "warning")));
        }
        match (errors, warnings) {
            (0, 0) => Ok(()),
            (0, _) => Err(Failure::No),
            _ => Err(Failure::Bad),
        }
    }
}
