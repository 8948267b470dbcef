//! The findings of `ykmap doctor`, `ykmap check` and `ykvald check`: shown by area, on a terminal in colour and wrapped
//! to its width, or as JSON. `docs/reference/diagnostics.schema.json` describes the JSON.

use crate::diagnostic;
use crate::failure::{Done, Failure};
use crate::out::{self, Style};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use yubiotp::diagnostic::{Calls, Code, Diagnostic, Location, Remedy, Severity};
use yubiotp::shown;

/// The version of the JSON.
const SCHEMA: u32 = 1;

/// The findings of one command.
pub struct Report {
    /// In the order in which they are shown.
    areas: &'static [&'static str],
    findings: Vec<Finding>,
    /// The findings so far, so that none is added twice.
    known: HashSet<(Code, Option<Location>, String)>,
    /// How commands are called, for what is added from here on.
    calls: Rc<[String; 3]>,
    /// How many findings of one code are shown one by one in text.
    most_alike: usize,
}

/// The findings of one area.
struct Finding {
    area: &'static str,
    diagnostic: Diagnostic,
    calls: Rc<[String; 3]>,
}

impl Finding {
    fn calls(&self) -> Calls<'_> {
        let [ykmap, ykvald, ykwebd] = &*self.calls;
        Calls { ykmap, ykvald, ykwebd }
    }
}

fn owned(calls: Calls<'_>) -> Rc<[String; 3]> {
    Rc::new([calls.ykmap, calls.ykvald, calls.ykwebd].map(str::to_owned))
}

impl Report {
    /// An empty report, shown in this order of areas; others follow in the order in which they were found.
    #[must_use]
    pub fn new(areas: &'static [&'static str]) -> Self {
        Self {
            areas,
            findings: Vec::new(),
            known: HashSet::new(),
            calls: owned(Calls::PLAIN),
            most_alike: usize::MAX,
        }
    }

    /// In text, shows this many findings of one code, area and severity, and says how many more there are.
    #[must_use]
    pub const fn showing_at_most(mut self, most_alike: usize) -> Self {
        self.most_alike = most_alike;
        self
    }

    /// From here on, remedies call the commands like this.
    pub fn calls(&mut self, calls: Calls<'_>) {
        self.calls = owned(calls);
    }

    /// Adds a finding. The same problem of the same thing is kept once, as it was found first.
    pub fn add(&mut self, area: &'static str, diagnostic: Diagnostic) {
        let key = (diagnostic.code, diagnostic.location.clone(), diagnostic.problem.clone());
        if self.known.insert(key) {
            self.findings.push(Finding { area, diagnostic, calls: Rc::clone(&self.calls) });
        }
    }

    /// Adds that something was checked and is in order. This is shown only if the area has no warning and no error.
    pub fn ok(&mut self, area: &'static str, location: Option<Location>, what: impl Into<String>) {
        let diagnostic = Diagnostic::new(Code::Checked, Severity::Ok, what);
        self.add(area, Diagnostic { location, ..diagnostic });
    }

    /// All findings as they were added, each with its area and how commands are called for it.
    pub fn findings(&self) -> impl Iterator<Item = (&'static str, &Diagnostic, Calls<'_>)> {
        self.findings.iter().map(|it| (it.area, &it.diagnostic, it.calls()))
    }

    /// Whether an area has findings of that severity.
    #[must_use]
    pub fn has(&self, area: &str, severity: Severity) -> bool {
        self.findings.iter().any(|it| it.area == area && it.diagnostic.severity == severity)
    }

    /// How many findings of that severity there are.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|it| it.diagnostic.severity == severity).count()
    }

    /// The exit status: 0 without warnings and errors, 1 with warnings, 2 with errors.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self.findings.iter().map(|it| it.diagnostic.severity).max() {
            Some(Severity::Error) => 2,
            Some(Severity::Warning) => 1,
            _ => 0,
        }
    }

    /// How a verb ends that has shown the report: with [`exit_status`](Self::exit_status).
    ///
    /// # Errors
    /// There are warnings or errors.
    pub fn done(&self) -> Done {
        match self.exit_status() {
            0 => Ok(()),
            1 => Err(Failure::No),
            _ => Err(Failure::Bad),
        }
    }

    /// `1 error, 2 warnings`
    #[must_use]
    pub fn summary(&self) -> String {
        let count = |severity: Severity| out::count(self.count(severity), severity.name());
        format!("{}, {}", count(Severity::Error), count(Severity::Warning))
    }

    /// All of it as JSON: `schema`, `errors`, `warnings`, `findings`. Callers add what only they have.
    #[must_use]
    pub fn json(&self) -> Map<String, Value> {
        let finding = |it: &Finding| {
            let Value::Object(fields) = diagnostic::json(&it.diagnostic, it.calls()) else {
                return Value::Null;
            };
            let area = ("area".to_owned(), it.area.into());
            Value::Object(std::iter::once(area).chain(fields).collect())
        };
        let findings: Vec<_> = self.by_area().into_values().flatten().map(finding).collect();
        let fields: [(&str, Value); 4] = [
            ("schema", SCHEMA.into()),
            ("errors", self.count(Severity::Error).into()),
            ("warnings", self.count(Severity::Warning).into()),
            ("findings", findings.into()),
        ];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Prints all findings as text, without the [summary](Self::summary).
    pub fn print(&self) {
        let (width, mut text) = (out::width(), String::new());
        for findings in self.by_area().into_values() {
            let mut shown: HashMap<(Severity, Code), usize> = HashMap::new();
            let Some(area) = findings.first().map(|it| it.area) else { continue };
            text += &out::styled(Style::Bold, area);
            text.push('\n');
            for it in findings {
                let count = shown.entry((it.diagnostic.severity, it.diagnostic.code)).or_default();
                *count = count.saturating_add(1);
                if *count <= self.most_alike {
                    lines(&mut text, &it.diagnostic, it.calls(), width);
                }
            }
            for ((severity, code), count) in shown {
                if let Some(more) = count.checked_sub(self.most_alike).filter(|more| *more > 0) {
                    let more = Diagnostic::new(code, severity, format!("and {more} more like these"));
                    lines(&mut text, &more, Calls::PLAIN, width);
                }
            }
        }
        out::raw(&text);
    }

    /// The findings to show: area by area, the worst first, otherwise as found. That something is in order is left out
    /// of an area that has warnings or errors.
    fn by_area(&self) -> BTreeMap<usize, Vec<&Finding>> {
        let mut areas = self.areas.to_vec();
        let mut all = BTreeMap::<_, Vec<_>>::new();
        for it in &self.findings {
            let place = areas.iter().position(|area| *area == it.area);
            let place = place.unwrap_or_else(|| {
                areas.push(it.area);
                areas.len().saturating_sub(1)
            });
            all.entry(place).or_default().push(it);
        }
        for findings in all.values_mut() {
            if findings.iter().any(|it| it.diagnostic.severity > Severity::Note) {
                findings.retain(|it| it.diagnostic.code != Code::Checked);
            }
            findings.sort_by_key(|it| std::cmp::Reverse(it.diagnostic.severity));
        }
        all
    }
}

/// Columns before the severity, the text, a remedy and a command.
const INDENTS: [&str; 4] = ["  ", "           ", "             ", "               "];

/// One finding: what is wrong, and below it what to do; a command is on a line of its own, which is never broken.
fn lines(text: &mut String, diagnostic: &Diagnostic, calls: Calls<'_>, width: Option<usize>) {
    let [margin, hanging, of_remedy, of_command] = INDENTS;
    let style = match diagnostic.severity {
        Severity::Ok => Style::Green,
        Severity::Note => Style::Cyan,
        Severity::Warning => Style::Yellow,
        Severity::Error => Style::Red,
    };
    let severity = out::styled(style, &format!("{:8}", diagnostic.severity.name()));
    let code = match diagnostic.severity {
        Severity::Ok => String::new(),
        _ => format!("  {}", out::styled(Style::Dim, &format!("[{}]", diagnostic.code))),
    };
    let problem = format!("{severity} {}{code}", shown::line(&diagnostic.problem()));
    wrapped(text, &problem, margin, hanging, width);
    for remedy in &diagnostic.remedies {
        match remedy {
            Remedy::Text(_) => {
                wrapped(text, &shown::line(&remedy.text(calls)).to_string(), of_remedy, of_remedy, width);
            }
            Remedy::Command { when, command } => {
                if let Some(when) = when {
                    let when = Remedy::Text(format!("{when}:")).text(calls);
                    wrapped(text, &shown::line(&when).to_string(), of_remedy, of_remedy, width);
                }
                let command = shown::line(&command.line(calls)).to_string();
                *text += &format!("{of_command}{}\n", out::styled(Style::Bold, &command));
            }
        }
    }
}

/// Adds a sentence, on as many lines as the width takes.
fn wrapped(text: &mut String, sentence: &str, first: &str, rest: &str, width: Option<usize>) {
    let Some(width) = width else {
        *text += &format!("{first}{sentence}\n");
        return;
    };
    for line in out::wrapped(sentence, [first, rest], width) {
        *text += &line;
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use yubiotp::diagnostic::Program;

    fn found(code: Code, severity: Severity, problem: &str) -> Diagnostic {
        Diagnostic::new(code, severity, problem)
    }

    #[test]
    fn areas_are_in_order_and_the_worst_is_first() {
        let mut report = Report::new(&["first", "second"]);
        report.ok("second", None, "all is well");
        report.add("late", found(Code::FileMissing, Severity::Note, "a note"));
        report.add("first", found(Code::FileMissing, Severity::Warning, "a warning"));
        report.ok("first", None, "not shown beside a warning");
        report.add("first", found(Code::FileIsLink, Severity::Error, "an error"));
        report.add("first", found(Code::FileIsLink, Severity::Error, "an error"));
        let json = Value::Object(report.json());
        let findings = json["findings"].as_array().unwrap();
        let shown: Vec<_> = findings.iter().map(|it| (&it["area"], &it["severity"])).collect();
        assert_eq!(
            serde_json::json!(shown),
            serde_json::json!([["first", "error"], ["first", "warning"], ["second", "ok"], ["late", "note"]])
        );
        assert_eq!((&json["schema"], &json["errors"], &json["warnings"]), (&1.into(), &1.into(), &1.into()));
        assert_eq!((report.exit_status(), report.summary()), (2, "1 error, 1 warning".to_owned()));
        assert!(report.has("first", Severity::Error) && !report.has("second", Severity::Error));
        assert_eq!(Report::new(&[]).exit_status(), 0);
    }

    #[test]
    fn remedies_call_the_command_as_it_was_called() {
        let mut report = Report::new(&[]);
        let add = |at: &[u8]| {
            Diagnostic::error(Code::KeyMissing, "is not here")
                .at(Location::user(at))
                .run(Program::Ykmap, "add bob")
        };
        report.calls(Calls { ykmap: "ykmap --config /x", ..Calls::PLAIN });
        report.add("user", add(b"bob"));
        report.calls(Calls::PLAIN);
        report.add("user", add(b"carol"));
        let json = Value::Object(report.json());
        let command = |at: usize| json["findings"][at]["remedies"][0]["command"].clone();
        assert_eq!((command(0), command(1)), ("ykmap --config /x add bob".into(), "ykmap add bob".into()));
    }

    #[test]
    fn text_is_wrapped_and_commands_are_not() {
        let long = "/etc/pam.d/a-very-long-name-with-hyphens";
        let diagnostic =
            Diagnostic::error(Code::FileMissing, "is not there, and this sentence goes on for long")
                .at(Location::file(long.as_bytes()))
                .advise("put it back, from the copy that you made")
                .run_when(
                    "if there is none",
                    Program::Ykmap,
                    "init --dir /srv/with/a/path/that/is/far/too/long/for/the/line",
                );
        let mut text = String::new();
        lines(&mut text, &diagnostic, Calls::PLAIN, Some(60));
        let expected = "  error    /etc/pam.d/a-very-long-name-with-hyphens: is not
           there, and this sentence goes on for long
           [file-missing]
             Put it back, from the copy that you made
             If there is none:
               ykmap init --dir /srv/with/a/path/that/is/far/too/long/for/the/line
";
        assert_eq!(text, expected);
        text.clear();
        lines(&mut text, &diagnostic, Calls::PLAIN, None);
        assert_eq!(text.lines().count(), 4);
        assert!(text.lines().next().unwrap().ends_with(" goes on for long  [file-missing]"), "{text}");
    }
}
