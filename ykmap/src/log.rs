//! `ykmap log`: reads back what our programs log: the module's decisions, and the changes that commands make.
//!
//! What a log proves: in the journal, `_UID` is the kernel's word, so that only root can write a line of [`Sender::Root`]. A
//! text file proves nothing of its lines. No name, host or terminal that a line holds makes another line or field of it.

mod entry;
mod fields;
mod files;
mod filter;
mod follow;
mod journal;
mod lines;
mod reader;
mod show;
mod tally;

pub(crate) use entry::{Entry, Outcome, Sender};
pub(crate) use reader::{Logs, Period, Reader};
pub(crate) use show::{time, value};
pub(crate) use tally::Span;

use super::{Context, Done, out, when};
use filter::Filter;
use jiff::Timestamp;
use show::Printer;
use std::collections::VecDeque;

#[derive(clap::Args)]
#[command(after_help = "Exit status: 0 shown, also if nothing matches; 2 no log can be read.")]
pub(crate) struct Args {
    #[command(flatten)]
    filter: Filter,
    /// Show only this time and later: 2026-11-30, "2026-11-30 14:05" (UTC), today, 1h, "2 days ago"
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    since: Option<Timestamp>,
    /// Show only what is before this time
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    until: Option<Timestamp>,
    /// Show only the last entries, as many as this
    #[arg(short = 'n', value_name = "COUNT")]
    lines: Option<usize>,
    /// Show the last ten entries, and go on with what is logged from now on
    #[arg(long, conflicts_with = "until")]
    follow: bool,
    #[command(flatten)]
    logs: Logs,
}

/// The entries that `--follow` begins with.
const BEGINNING: usize = 10;

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    let period = Period { since: args.since, until: args.until };
    let mut reader = Reader::open(&args.logs, period)?;
    let mut printer = Printer::new(context.json);
    if args.follow {
        let last = args.lines.or(args.since.is_none().then_some(BEGINNING));
        return follow::run(context, reader.followed_later(), printer, &args.filter, last);
    }
    match args.lines {
        None => {
            let _ =
                reader.by_ref().filter(|entry| args.filter.matches(entry)).all(|entry| printer.print(&entry));
        }
        Some(count) => {
            let _ = last(&mut reader, count, &args.filter).iter().all(|entry| printer.print(entry));
        }
    }
    printer.flush();
    reader.remarks().iter().for_each(|found| context.note(found));
    if printer.count == 0 {
        out::note("nothing in the logs matches");
    } else if printer.has_codes {
        out::note(&format!("what a code means, and what to do: {} explain-code CODE", context.ykmap()));
    }
    Ok(())
}

/// The last entries that match, oldest first.
fn last(reader: &mut Reader, count: usize, filter: &Filter) -> VecDeque<Entry> {
    let mut last = VecDeque::new();
    for entry in reader.filter(|entry| filter.matches(entry)) {
        last.push_back(entry);
        if last.len() > count {
            last.pop_front();
        }
    }
    last
}
