//! `ykmap report`: who used which token when, and who changed what, for an auditor.

mod csv;
mod gaps;
mod uses;

use super::log::{self, Entry, Logs, Outcome, Period, Reader, Sender, Span};
use super::out::{self, Field};
use super::{Context, Done, Failure, files, when};
use gaps::Gap;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use uses::{Row, Uses};
use yubiotp::TokenId;
use yubiotp::diagnostic::{Calls, Code, Diagnostic};
use yubiotp::mapping::{Line, entries};
use yubiotp::shown;

#[derive(clap::Args)]
#[command(after_help = "Exit status: 0 reported, also with warnings about the logs; 2 no log can be read.")]
pub(crate) struct Args {
    /// Report about this time and later: 2026-11-01, "2026-11-30 14:05" (UTC), today, "30 days ago"
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    since: Option<Timestamp>,
    /// Report about the time before this
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    until: Option<Timestamp>,
    /// What has a row of its own, beside the user
    #[arg(long, value_enum, default_value = "token")]
    by: By,
    /// Report the changes of users and tokens only
    #[arg(long)]
    changes: bool,
    /// Print CSV
    #[arg(long)]
    csv: bool,
    #[command(flatten)]
    logs: Logs,
}

/// What has a row of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum By {
    /// Each user
    User,
    /// Each token of each user
    Token,
    /// Each user of each service
    Service,
    /// Each user of each host that logins came from
    Host,
}

/// The most changes that are kept.
const MOST_CHANGES: usize = 100_000;

struct Report {
    uses: Uses,
    changes: Vec<Entry>,
    spans: Vec<Span>,
    gaps: Vec<Gap>,
    remarks: Vec<Diagnostic>,
    period: Period,
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    if args.csv && context.json {
        return Err(Failure::input("give --csv or --json, not both"));
    }
    let period = Period { since: args.since, until: args.until };
    let report = read(context, args, period)?;
    if context.json {
        report.json(context);
        return Ok(());
    }
    match (args.csv, args.changes) {
        (true, true) => csv::changes(&report.changes),
        (true, false) => csv::uses(report.uses.rows()),
        (false, changes) => report.text(changes),
    }
    if args.csv {
        report.spans.iter().for_each(|span| out::note(&line_of(span)));
    }
    report.remarks.iter().for_each(|found| context.note(found));
    Ok(())
}

fn read(context: &Context, args: &Args, period: Period) -> Result<Report, Failure> {
    let mut reader = Reader::open(&args.logs, period)?;
    let (mut uses, mut changes, mut left_out) = (Uses::new(args.by), Vec::new(), 0_u64);
    let mut of_files = 0_u64;
    for entry in &mut reader {
        of_files = of_files.saturating_add(u64::from(entry.sender == Sender::File));
        if entry.outcome != Outcome::Event {
            uses.add(&entry);
        } else if changes.len() < MOST_CHANGES {
            changes.push(entry);
        } else {
            left_out = left_out.saturating_add(1);
        }
    }
    let mut remarks = reader.remarks();
    match listed(context) {
        Ok(listed) => uses.complete(&listed),
        Err(failure) => remarks.extend(failure.diagnostic().map(|found| {
            let what = format!("which tokens were not used is unknown: {}", found.problem());
            Diagnostic::warning(found.code, what)
        })),
    }
    if of_files > 0 {
        let what = format!(
            "{} of text files prove nothing: every user of the host can write such a line",
            out::count(of_files, "line")
        );
        remarks
            .push(Diagnostic::note(Code::LogLineUntrusted, what).advise("use the journal if you need proof"));
    }
    let left_out = left_out.saturating_add(uses.left_out);
    if left_out > 0 {
        let what =
            format!("{} left out, because there are too many users or changes", out::count(left_out, "line"));
        remarks.push(Diagnostic::warning(Code::LogGap, what).advise("report about a shorter period"));
    }
    let spans = reader.spans().to_vec();
    let gaps = gaps::find(&spans, period, Timestamp::now());
    remarks.extend(gaps.iter().map(Gap::finding));
    Ok(Report { uses, changes, spans, gaps, remarks, period })
}

/// Users and their tokens, by all lists of this host.
fn listed(context: &Context) -> Result<BTreeSet<(Vec<u8>, TokenId)>, Failure> {
    let mut listed = BTreeSet::new();
    for (_, text) in files::texts(&context.settings()?)? {
        for (_, line) in entries(&text) {
            if let Ok(Line::Entry { user, fields }) = line {
                listed.extend(fields.tokens().map(|token| (user.to_vec(), token)));
            }
        }
    }
    Ok(listed)
}

impl Report {
    fn text(&self, only_changes: bool) {
        out::line(&format!(
            "Period (UTC): {} to {}",
            self.period.since.map_or_else(|| "the beginning of the logs".to_owned(), log::time),
            self.period.until.map_or_else(|| "now".to_owned(), log::time)
        ));
        self.spans.iter().for_each(|span| out::line(&line_of(span)));
        if !only_changes {
            out::line("");
            let rows = self.uses.rows().map(Row::fields);
            table(&Row::HEADS, rows.collect(), "No uses.");
        }
        out::line("");
        let rows = self.changes.iter().map(change);
        table(&CHANGE_HEADS, rows.collect(), "No changes.");
    }

    fn json(&self, context: &Context) {
        let time = |at: &Option<Timestamp>| at.map(|at| at.to_string());
        let ykmap = context.ykmap();
        let calls = Calls { ykmap: &ykmap, ..Calls::PLAIN };
        let span =
            |span: &Span| json!({ "source": span.source, "from": time(&span.from), "to": time(&span.to) });
        out::json(&json!({
            "since": time(&self.period.since),
            "until": time(&self.period.until),
            "logs": self.spans.iter().map(span).collect::<Vec<_>>(),
            "gaps": self.gaps.iter().map(Gap::json).collect::<Vec<_>>(),
            "uses": self.uses.rows().map(Row::json).collect::<Vec<Value>>(),
            "changes": self.changes.iter().map(log::value).collect::<Vec<Value>>(),
            "findings": self.remarks.iter().map(|found| ykcli::diagnostic::json(found, calls)).collect::<Vec<Value>>(),
        }));
    }
}

fn table(heads: &[&str], rows: Vec<Vec<String>>, none: &str) {
    if rows.is_empty() {
        out::line(none);
        return;
    }
    out::table(heads, rows.into_iter().map(|row| row.into_iter().map(Field::Plain).collect()).collect());
}

/// The time that a log covers.
fn line_of(span: &Span) -> String {
    match (span.from, span.to) {
        (Some(from), Some(to)) => format!("Log: {}, {} to {}", span.source, log::time(from), log::time(to)),
        _ => format!("Log: {}, empty", span.source),
    }
}

const CHANGE_HEADS: [&str; 6] = ["Time (UTC)", "Change", "User", "Tokens", "By", "Code"];

/// A change as fields of a table.
fn change(entry: &Entry) -> Vec<String> {
    // A user who changes something by `ykmap self`, or enrolls, does it themselves.
    let by = entry.by.as_ref().map_or_else(|| "the user".to_owned(), |by| shown::text(by).to_string());
    // Every user can write such a line to a file of syslog.
    let safe = |text: &str| shown::text(text).to_string();
    vec![
        log::time(entry.time),
        safe(entry.event.as_deref().unwrap_or_default()),
        entry.user.as_ref().map(|user| shown::text(user).to_string()).unwrap_or_default(),
        safe(&entry.tokens.join(" ")),
        by,
        safe(entry.code.as_deref().unwrap_or_default()),
    ]
}
