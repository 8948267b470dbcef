//! The log of a server: how far each token came. A backup that is put back goes on from there.

use crate::clock;
use crate::store::Evidence;
use std::io::{self, BufRead};
use yubiotp::{Position, PublicId};

/// Reads logs, the oldest first: as they are, or as journald or syslog wrote them.
#[derive(Default)]
pub struct LogReader {
    /// Lines of ours.
    pub lines: u64,
    /// From when on nothing is missing.
    whole_since: Option<i64>,
    last: Option<i64>,
    /// Between `started` and `stopped`.
    running: bool,
}

/// What a line says, as far as it matters here.
#[derive(Debug, Default, PartialEq, Eq)]
struct Line {
    time: Option<i64>,
    event: String,
    token: Option<PublicId>,
    counter: Option<u16>,
    session_use: Option<u8>,
}

impl LogReader {
    /// Reads one file, and notes every position in it: each is of a genuine OTP, whatever was answered.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(&mut self, mut file: impl BufRead, evidence: &mut Evidence) -> io::Result<()> {
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            if file.read_until(b'\n', &mut bytes)? == 0 {
                return Ok(());
            }
            if let Some(line) = parse(&String::from_utf8_lossy(&bytes)) {
                self.note(&line, evidence);
            }
        }
    }

    fn note(&mut self, line: &Line, evidence: &mut Evidence) {
        self.lines = self.lines.saturating_add(1);
        // A server that was killed may have lost its last lines; and what was lost was lost before the line that says so.
        let is_gap = match line.event.as_str() {
            "started" => self.running,
            "log" => true,
            _ => false,
        };
        if self.whole_since.is_none() || is_gap {
            self.whole_since = line.time;
        }
        self.running = line.event != "stopped";
        self.last = line.time.or(self.last);
        if let (Some(token), Some(counter), Some(session_use)) = (line.token, line.counter, line.session_use)
        {
            evidence.note(token, Position::yubikey(counter, session_use));
        }
    }

    /// Since when the log has everything that was accepted, in seconds since 1970; `None`: it does not say that its
    /// server ended in order, so the last lines may be missing.
    #[must_use]
    pub fn whole_since(&self) -> Option<i64> {
        self.whole_since.filter(|_| !self.running)
    }

    /// When its last line was written, in seconds since 1970.
    #[must_use]
    pub const fn ends(&self) -> Option<i64> {
        self.last
    }
}

/// A line of ours, whatever stands before it; `None` for others.
fn parse(line: &str) -> Option<Line> {
    let line = line.trim_end();
    match line.find("{\"time\":") {
        Some(at) => parse_json(line.get(at..)?),
        None => parse_logfmt(line.get(line.find("time=")?..)?),
    }
}

fn parse_logfmt(line: &str) -> Option<Line> {
    let mut found = Line::default();
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
            // What others said may be in what follows.
            (_, "peer" | "reason" | "at") => break,
            _ => {}
        }
    }
    (!found.event.is_empty()).then_some(found)
}

fn parse_json(line: &str) -> Option<Line> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let text = |name| line.get(name).and_then(serde_json::Value::as_str);
    let number = |name| line.get(name).and_then(serde_json::Value::as_u64);
    Some(Line {
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
        evidence.positions.get(&PublicId::parse(token.as_bytes()).unwrap()).copied()
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
        assert_eq!(evidence.positions.len(), 2);
        assert_eq!(of(&evidence, "vvccccccccbd"), Some(Position::yubikey(18, 3)));
        assert_eq!(of(&evidence, "-"), Some(Position::yubikey(1, 0)));
        assert_eq!(reader.lines, 7);
        assert_eq!(reader.whole_since().map(clock::written).as_deref(), Some("2026-11-22T00:30:00Z"));
        assert_eq!(reader.ends().map(clock::written).as_deref(), Some("2026-11-22T00:30:06Z"));
    }

    #[test]
    fn what_may_be_missing() {
        let line = |second: u32, event: &str| {
            format!("time=2026-11-22T00:30:{second:02}Z level=info event={event}\n")
        };
        let since = |events: &[(u32, &str)]| {
            let text: String = events.iter().map(|(second, event)| line(*second, event)).collect();
            read(&text).0.whole_since().map(|since| since - 1_795_307_400)
        };
        assert_eq!(since(&[]), None);
        assert_eq!(since(&[(1, "started"), (2, "stopped")]), Some(1));
        assert_eq!(since(&[(1, "verify"), (2, "stopped"), (3, "started"), (4, "stopped")]), Some(1));
        // Killed, and started again; or killed.
        assert_eq!(since(&[(1, "started"), (3, "started"), (4, "stopped")]), Some(3));
        assert_eq!(since(&[(1, "started"), (3, "verify")]), None);
        assert_eq!(since(&[(1, "started"), (3, "log lost=7"), (4, "verify"), (5, "stopped")]), Some(3));
    }
}
