//! How entries are printed.

use super::entry::{Entry, Outcome};
use crate::out::{self, Stream, Style};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use yubiotp::shown;

/// `2026-11-30 14:05:09`, in UTC.
pub(crate) fn time(at: Timestamp) -> String {
    TimeZone::UTC
        .to_datetime(at)
        .round(jiff::Unit::Second)
        .map_or_else(|_| at.to_string(), |at| at.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// Prints entries one after the other.
pub(super) struct Printer {
    to: Stream,
    as_json: bool,
    /// The first entries, until the widths of their columns are known; `None` once they are printed.
    first: Option<Vec<([String; 7], Outcome)>>,
    widths: [usize; 6],
    /// How many were printed.
    pub(super) count: u64,
    /// Whether one of them has a code that needs an explanation.
    pub(super) has_codes: bool,
}

/// The least and the most widths of the columns before the last. Strangers choose the names that they try: a longer value
/// moves the rest of its line.
const LEAST: [usize; 6] = [19, 9, 12, 17, 8, 15];
const MOST: [usize; 6] = [19, 9, 32, 24, 20, 40];
/// How many entries the widths are made of; later ones may widen them.
const FIRST: usize = 200;

impl Printer {
    pub(super) fn new(as_json: bool) -> Self {
        let first = Some(Vec::new());
        Self { to: Stream::new(), as_json, first, widths: LEAST, count: 0, has_codes: false }
    }

    /// Prints an entry. Returns whether there is still a reader.
    pub(super) fn print(&mut self, entry: &Entry) -> bool {
        self.count = self.count.saturating_add(1);
        if self.as_json {
            return self.to.raw(&format!("{}\n", shown::json(&value(entry).to_string())));
        }
        self.has_codes |=
            entry.outcome != Outcome::Event && entry.code.as_deref().is_some_and(|code| code != "accepted");
        let fields = fields(entry);
        widen(&mut self.widths, &fields);
        match &mut self.first {
            Some(first) => {
                first.push((fields, entry.outcome));
                first.len() < FIRST || self.begin()
            }
            None => self.to.raw(&format!("{}\n", columns(&fields, &self.widths, Some(entry.outcome)))),
        }
    }

    /// Prints the head and the first entries.
    fn begin(&mut self) -> bool {
        if self.count == 0 || self.as_json {
            return true;
        }
        let Some(first) = self.first.take() else { return true };
        let head = ["Time (UTC)", "Outcome", "User", "Token", "Service", "From", "Code"].map(str::to_owned);
        self.to.raw(&format!("{}\n", columns(&head, &self.widths, None)))
            && first.iter().all(|(fields, outcome)| {
                self.to.raw(&format!("{}\n", columns(fields, &self.widths, Some(*outcome))))
            })
    }

    /// Writes out what was printed. Returns whether there is still a reader.
    pub(super) fn flush(&mut self) -> bool {
        self.begin() && self.to.flush()
    }
}

fn fields(entry: &Entry) -> [String; 7] {
    let text =
        |value: Option<&[u8]>| value.map_or_else(|| "-".to_owned(), |value| shown::text(value).to_string());
    let tokens = shown::line(&entry.tokens.join(",")).to_string();
    [
        time(entry.time),
        entry.outcome.name().to_owned(),
        text(entry.user.as_deref()),
        if tokens.is_empty() { "-".to_owned() } else { tokens },
        text(entry.service.as_deref()),
        text(entry.rhost.as_deref().or(entry.tty.as_deref())),
        what(entry),
    ]
}

/// The code, or the event and who made it.
fn what(entry: &Entry) -> String {
    let is_said = |code: &&str| *code != "accepted" || entry.outcome == Outcome::Trial;
    let code = entry.code.as_deref().filter(is_said).unwrap_or_default();
    let Some(event) = &entry.event else { return shown::line(code).to_string() };
    let mut text = event.clone();
    if !code.is_empty() {
        text += &format!(" {code}");
    }
    let text = shown::line(&text).to_string();
    match &entry.by {
        Some(by) => format!("{text} by {}", shown::text(by)),
        None => text,
    }
}

/// Makes columns as wide as these values, up to a limit.
fn widen(widths: &mut [usize; 6], fields: &[String; 7]) {
    for ((width, most), field) in widths.iter_mut().zip(MOST).zip(fields) {
        let length = field.chars().count();
        if length <= most {
            *width = length.max(*width);
        }
    }
}

fn columns(fields: &[String; 7], widths: &[usize; 6], outcome: Option<Outcome>) -> String {
    let mut line = String::new();
    for (at, field) in fields.iter().enumerate() {
        let width = widths.get(at).copied().unwrap_or(0);
        let padded = format!("{field:width$}");
        let style = match outcome {
            Some(Outcome::Rejected | Outcome::Fault) if at == 1 => Some(Style::Red),
            Some(Outcome::Abandoned | Outcome::Warning) if at == 1 => Some(Style::Yellow),
            None => Some(Style::Bold),
            Some(_) => None,
        };
        line += &style.map_or_else(|| padded.clone(), |style| out::styled(style, &padded));
        line += "  ";
    }
    line.truncate(line.trim_end().len());
    line
}

/// An entry for scripts.
pub(crate) fn value(entry: &Entry) -> Value {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let maybe = |value: &Option<Vec<u8>>| value.as_deref().map(text);
    let more: serde_json::Map<_, _> =
        entry.more.iter().map(|(name, value)| (name.clone(), json!(text(value)))).collect();
    json!({
        "time": entry.time.to_string(),
        "outcome": entry.outcome.name(),
        "event": entry.event,
        "user": maybe(&entry.user),
        "tokens": entry.tokens,
        "mode": entry.mode,
        "service": maybe(&entry.service),
        "rhost": maybe(&entry.rhost),
        "tty": maybe(&entry.tty),
        "code": entry.code,
        "reason": entry.reason,
        "by": maybe(&entry.by),
        "more": more,
        "host": entry.host,
        "sender": entry.sender.name(),
        "uid": entry.sender.uid(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::entry::tests::parsed;
    use super::*;

    #[test]
    fn lines_are_aligned_and_escaped() {
        let line = |message: &str, program: &str| {
            columns(&fields(&parsed(program, message).unwrap()), &LEAST, Some(Outcome::Accepted))
        };
        assert_eq!(
            line(
                "pam_yubiotp(sshd:auth): refused user=\"a\\u{a}b\" token=vvccccccccbd mode=offline service=sshd \
                 rhost=none tty=\"\\u{1b}[2J\" code=otp-replayed reason=\"\"",
                "sshd"
            ),
            "1970-01-01 00:00:00  rejected   a\\u{a}b       vvccccccccbd       sshd      \\u{1b}[2J        otp-replayed"
        );
        assert_eq!(
            line("event=reset user=alice by=ops tokens=none", "ykmap"),
            "1970-01-01 00:00:00  event      alice         -                  -         -                reset by ops"
        );
    }

    #[test]
    fn columns_are_as_wide_as_their_values() {
        let of_user = |user: &str| ["", "", user, "", "", "", ""].map(str::to_owned);
        let mut widths = LEAST;
        widen(&mut widths, &of_user("bob"));
        assert_eq!(widths, LEAST);
        widen(&mut widths, &of_user("a.user.of.a.directory"));
        assert_eq!(widths[2], 21);
        // Of a stranger.
        widen(&mut widths, &of_user(&"x".repeat(33)));
        assert_eq!(widths[2], 21);
    }
}
