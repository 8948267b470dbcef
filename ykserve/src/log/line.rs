//! One line of the log. No value can leave its quotes, or its line.

use super::LogLevel;
use crate::clock;
use crate::settings::LogFormat;
use std::fmt::{Display, Write as _};
use std::time::Duration;
use yubiotp::diagnostic::{Calls, Code, Diagnostic};
use yubiotp::shown;

/// A line that is being written. Names of fields are the server's own; values are escaped, whoever wrote them.
pub struct LogLine {
    format: LogFormat,
    text: String,
}

impl LogLevel {
    const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl LogLine {
    /// Begins a line about an event at this time, in milliseconds since 1970.
    #[must_use]
    pub fn new(format: LogFormat, at: i64, level: LogLevel, event: &str) -> Self {
        let mut line = Self { format, text: String::with_capacity(256) };
        line.display("time", clock::written_in_milliseconds(at));
        line.text("level", level.name());
        line.text("event", event);
        line
    }

    fn name(&mut self, name: &'static str) {
        let (first, before, after) = match self.format {
            LogFormat::Logfmt => ("", " ", "="),
            LogFormat::Json => ("{\"", ",\"", "\":"),
        };
        self.text.push_str(if self.text.is_empty() { first } else { before });
        self.text.push_str(name);
        self.text.push_str(after);
    }

    /// Adds a number.
    pub fn number(&mut self, name: &'static str, number: u64) {
        self.name(name);
        // Writing to a string does not fail.
        let _ = write!(self.text, "{number}");
    }

    /// Adds a duration, in milliseconds with three decimals.
    pub fn milliseconds(&mut self, name: &'static str, time: Duration) {
        self.name(name);
        let microseconds = time.as_micros();
        let _ = write!(self.text, "{}.{:03}", microseconds / 1000, microseconds % 1000);
    }

    /// Adds a value as it is displayed.
    pub fn display(&mut self, name: &'static str, value: impl Display) {
        self.text(name, &value.to_string());
    }

    /// Adds text.
    pub fn text(&mut self, name: &'static str, value: &str) {
        self.name(name);
        match self.format {
            LogFormat::Logfmt => {
                let _ = write!(self.text, "{}", shown::field(value));
            }
            LogFormat::Json => {
                let json = serde_json::Value::from(value).to_string();
                let _ = write!(self.text, "{}", shown::json(&json));
            }
        }
    }

    /// Adds why: a code that is stable from version to version, and words that are not.
    pub fn reason(&mut self, code: Code, reason: &str) {
        self.code(code);
        self.text("reason", reason);
    }

    /// Adds the code and the words of a finding.
    pub fn finding(&mut self, found: &Diagnostic) {
        self.reason(found.code, &found.log_text(Calls::PLAIN));
    }

    /// Adds a code.
    pub fn code(&mut self, code: Code) {
        self.text("code", code.name());
    }

    /// The line, without a newline.
    #[must_use]
    pub fn end(mut self) -> String {
        if self.format == LogFormat::Json {
            self.text.push('}');
        }
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(format: LogFormat, reason: &str) -> String {
        let mut line = LogLine::new(format, 1_795_307_401_284, LogLevel::Info, "verify");
        line.number("client", 1);
        line.milliseconds("ms", Duration::from_micros(1_002_030));
        line.text("reason", reason);
        line.end()
    }

    #[test]
    fn as_it_is_read() {
        assert_eq!(
            line(LogFormat::Logfmt, "fresh"),
            "time=2026-11-22T00:30:01.284Z level=info event=verify client=1 ms=1002.030 reason=fresh"
        );
        assert_eq!(
            line(LogFormat::Json, "isn't above \"7\""),
            r#"{"time":"2026-11-22T00:30:01.284Z","level":"info","event":"verify","client":1,"ms":1002.030,"reason":"isn't above \"7\""}"#
        );
    }

    /// A value cannot add a line or a field.
    #[test]
    fn nothing_leaves_its_quotes() {
        let evil = "x\" status=OK\r\ntime=0 level=info\u{1b}[2J\u{202e}\\ isn't\u{0}";
        let logfmt = line(LogFormat::Logfmt, evil);
        assert!(
            logfmt.ends_with(
                r#" reason="x\" status=OK\u{d}\u{a}time=0 level=info\u{1b}[2J\u{202e}\\ isn't\u{0}""#
            ),
            "{logfmt}"
        );
        for empty in ["", " ", "a=b", "=", "\\"] {
            assert!(line(LogFormat::Logfmt, empty).ends_with('"'), "{empty:?}");
        }
        let json = line(LogFormat::Json, evil);
        assert!(json.chars().all(shown::is_printable), "{json}");
        let read: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read["reason"], evil);
    }
}
