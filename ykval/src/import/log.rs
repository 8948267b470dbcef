//! Reads the log of a server: the position of each token. A restored backup continues from there.

use crate::clock;
use crate::store::Evidence;
use std::io::{self, BufRead};
use yubiotp::{Position, PublicId};

/// Reads logs, the oldest first: as ykvald wrote them, or with the prefix of journald or syslog.
#[derive(Default)]
pub struct LogReader {
    /// Lines of ykvald.
    pub lines: u64,
    /// The time of the first of them.
    begins: Option<i64>,
    /// The time of the last line before which others may be missing.
    gap: Option<i64>,
    /// Whether a file ends before its server stopped.
    is_cut_off: bool,
}

/// The needed fields of a line.
#[derive(Debug, Default, PartialEq, Eq)]
struct LoggedDecision {
    time: Option<i64>,
    event: String,
    token: Option<PublicId>,
    counter: Option<u16>,
    session_use: Option<u8>,
}

impl LogReader {
    /// Reads one file, and notes every position in it: each comes from a genuine OTP, whatever the answer was.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(&mut self, mut file: impl BufRead, evidence: &mut Evidence) -> io::Result<()> {
        let mut bytes = Vec::new();
        let (mut is_running, mut at) = (false, i64::MIN);
        loop {
            bytes.clear();
            if file.read_until(b'\n', &mut bytes)? == 0 {
                self.is_cut_off |= is_running;
                return Ok(());
            }
            let Some(line) = parse(&String::from_utf8_lossy(&bytes)) else { continue };
            // If the clock was set back, a line is still not older than those before it.
            at = at.max(line.time.unwrap_or(i64::MAX));
            self.note(&line, is_running);
            is_running = line.event != "stopped";
            if let (Some(token), Some(counter), Some(session_use)) =
                (line.token, line.counter, line.session_use)
            {
                evidence.note(token, Position::yubikey(counter, session_use), at);
            }
        }
    }

    fn note(&mut self, line: &LoggedDecision, is_running: bool) {
        self.lines = self.lines.saturating_add(1);
        self.begins = match (self.begins, line.time) {
            (Some(begins), Some(time)) => Some(begins.min(time)),
            (begins, time) => begins.or(time),
        };
        // A killed server may have lost its last lines; and lines that were reported as lost are older than that report.
        if line.event == "log" || (line.event == "started" && is_running) {
            self.gap = self.gap.max(line.time);
        }
    }

    /// Since when nothing seems to be missing, in seconds since 1970, for people. It is no proof: a whole file, or
    /// those of another server, may be missing.
    #[must_use]
    pub fn seems_whole_since(&self) -> Option<i64> {
        self.begins.max(self.gap).filter(|_| !self.is_cut_off)
    }
}

/// A line of ykvald, with or without a prefix by another program; `None` for other lines.
fn parse(line: &str) -> Option<LoggedDecision> {
    let line = line.trim_end();
    match line.find("{\"time\":") {
        Some(at) => parse_json(line.get(at..)?),
        None => parse_logfmt(line.get(line.find("time=")?..)?),
    }
}

fn parse_logfmt(line: &str) -> Option<LoggedDecision> {
    let mut found = LoggedDecision::default();
    for (number, field) in line.split(' ').enumerate() {
        let (name, value) = field.split_once('=')?;
        match (number, name) {
            (0, "time") => found.time = clock::read(value),
            (2, "event") => value.clone_into(&mut found.event),
            (0..3, "level") => {}
            (0..3, _) => return None,
            (_, "token") => found.token = PublicId::parse(value.trim_matches('"').as_bytes()).ok(),
            (_, "counter") => found.counter = value.parse().ok(),
            (_, "use") => found.session_use = value.parse().ok(),
            // The fields from here on may contain text of others.
            (_, "peer" | "reason" | "at") => break,
            _ => {}
        }
    }
    (!found.event.is_empty()).then_some(found)
}

fn parse_json(line: &str) -> Option<LoggedDecision> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let text = |name| line.get(name).and_then(serde_json::Value::as_str);
    let number = |name| line.get(name).and_then(serde_json::Value::as_u64);
    Some(LoggedDecision {
        time: text("time").and_then(clock::read),
        event: text("event")?.to_owned(),
        token: text("token").and_then(|token| PublicId::parse(token.as_bytes()).ok()),
        counter: number("counter").and_then(|number| number.try_into().ok()),
        session_use: number("use").and_then(|number| number.try_into().ok()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (LogReader, Evidence) {
        let (mut reader, mut evidence) = (LogReader::default(), Evidence::default());
        reader.read(text.as_bytes(), &mut evidence).unwrap();
        (reader, evidence)
    }

    fn of(evidence: &Evidence, token: &str) -> Option<Position> {
        let token = PublicId::parse(token.as_bytes()).unwrap();
        evidence.positions(None).find(|(id, _)| *id == token).map(|(_, position)| position)
    }

    #[test]
    fn as_servers_journald_and_syslog_write_it() {
        let text = "\
            time=2026-11-22T00:30:00.284Z level=info event=started version=0.1.0 at=127.0.0.1:8000\n\
            Nov 22 01:30:01 host ykvald[7]: time=2026-11-22T00:30:01.284Z level=info event=verify status=OK client=1 \
            token=vvccccccccbd counter=18 use=3 peer=192.0.2.1 ms=0.4 reason=fresh\n\
            something else\n\
            {\"time\":\"2026-11-22T00:30:02.284Z\",\"level\":\"warning\",\"event\":\"verify\",\"status\":\"REPLAYED_OTP\",\
            \"token\":\"vvccccccccbd\",\"counter\":17,\"use\":9}\n\
            time=2026-11-22T00:30:03.000Z level=error event=verify status=BACKEND_ERROR token=- counter=1 use=0 peer=::1 \
            reason=\"x event=log counter=99\"\n\
            time=2026-11-22T00:30:04.000Z level=warning event=verify status=BAD_OTP client=1 token=vvccccccccbf peer=x\n\
            time=2026-11-22T00:30:05.000Z level=info event=stopping\n\
            time=2026-11-22T00:30:06.000Z level=info event=stopped unfinished=0\n";
        let (reader, evidence) = read(text);
        assert_eq!(evidence.positions(None).count(), 2);
        assert_eq!(of(&evidence, "vvccccccccbd"), Some(Position::yubikey(18, 3)));
        assert_eq!(of(&evidence, "-"), Some(Position::yubikey(1, 0)));
        assert_eq!(reader.lines, 7);
        assert_eq!(reader.seems_whole_since().map(clock::written).as_deref(), Some("2026-11-22T00:30:00Z"));
    }

    #[test]
    fn what_may_be_missing() {
        let line = |second: u32, event: &str| {
            format!("time=2026-11-22T00:30:{second:02}Z level=info event={event}\n")
        };
        let since = |events: &[(u32, &str)]| {
            let text: String = events.iter().map(|(second, event)| line(*second, event)).collect();
            read(&text).0.seems_whole_since().map(|since| since - 1_795_307_400)
        };
        assert_eq!(since(&[]), None);
        assert_eq!(since(&[(1, "started"), (2, "stopped")]), Some(1));
        assert_eq!(since(&[(1, "verify"), (2, "stopped"), (3, "started"), (4, "stopped")]), Some(1));
        // Killed, and started again; or killed.
        assert_eq!(since(&[(1, "started"), (3, "started"), (4, "stopped")]), Some(3));
        assert_eq!(since(&[(1, "started"), (3, "verify")]), None);
        assert_eq!(since(&[(1, "started"), (3, "log lost=7"), (4, "verify"), (5, "stopped")]), Some(3));
    }

    #[test]
    fn each_of_several_files_ends_with_its_server() {
        let seems_whole = |files: &[&str]| {
            let (mut reader, mut evidence) = (LogReader::default(), Evidence::default());
            for file in files {
                reader.read(file.as_bytes(), &mut evidence).unwrap();
            }
            reader.seems_whole_since().is_some()
        };
        let whole = "time=2026-11-22T00:30:01Z level=info event=started\ntime=2026-11-22T00:30:02Z level=info event=stopped\n";
        let cut = "time=2026-11-22T00:30:03Z level=info event=started\ntime=2026-11-22T00:30:04Z level=info event=verify\n";
        assert!(seems_whole(&[whole]) && seems_whole(&[whole, whole]));
        for files in [&[cut, whole][..], &[whole, cut], &[cut]] {
            assert!(!seems_whole(files));
        }
    }

    /// A clock that was set back in between: it is later than the backup all the same.
    #[test]
    fn a_clock_that_was_set_back() {
        let line = |time: &str, counter: u16| {
            format!(
                "time={time} level=info event=verify status=OK client=1 token=vvccccccccbd counter={counter} use=0\n"
            )
        };
        let (_, evidence) = read(&(line("2026-11-22T00:30:01Z", 1) + &line("2026-11-22T00:10:00Z", 2)));
        let since = clock::read("2026-11-22T00:30:00Z");
        let positions: Vec<_> = evidence.positions(since).map(|(_, position)| position).collect();
        assert_eq!(positions, [Position::yubikey(2, 0)]);
    }
}
