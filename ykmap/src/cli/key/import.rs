//! `ykmap key import`

use crate::cli::{Context, Done, Failure, files, out};
use indicatif::ProgressBar;
use serde_json::json;
use std::path::PathBuf;
use ykmap::Fault;
use ykmap::store::{Enrolled, Store};
use yubiotp::keyfile::{self, Entry, Secret};
use yubiotp::{Credential, PublicId};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Yubico's traditional or Yubico-format log, a YK-KSM key file, or what `ykmap key export` wrote; - for standard
    /// input
    file: PathBuf,
    /// Read and check everything, and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// Problems shown before it is said how many more there are.
const SHOWN: usize = 20;

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    let name = args.file.display();
    let text = files::named(&args.file)?;
    let file = keyfile::read(&text).map_err(|problems| {
        report(&name.to_string(), problems.iter().map(ToString::to_string));
        Failure::Fault(format!("{name}: nothing was imported"))
    })?;
    let store = context.store()?;
    let checked = check(&store, file.entries);
    if !checked.problems.is_empty() {
        report(&name.to_string(), checked.problems.into_iter());
        return Err(Failure::Fault(format!("{name}: nothing was imported")));
    }
    if !args.dry_run && !checked.new.is_empty() {
        // Drawn on standard error, and only if that is a terminal.
        let bar = ProgressBar::new(checked.new.len() as u64);
        store.enrol(&checked.new, &|done| bar.set_position(done))?;
        bar.finish_and_clear();
    }
    if context.json {
        let passed_over: Vec<_> = file
            .passed_over
            .iter()
            .map(|(line, why)| json!({ "line": line, "why": why.to_string() }))
            .collect();
        out::json(&json!({
            "format": file.format.to_string(),
            "dry_run": args.dry_run,
            "imported": checked.new.iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>(),
            "unchanged": checked.unchanged,
            "returned": checked.returned,
            "passed_over": passed_over,
        }));
        return Ok(());
    }
    for (line, why) in file.passed_over.iter().take(SHOWN) {
        out::note(&format!("{name}: line {line}: passed over: {why}"));
    }
    if let Some(more) = file.passed_over.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        out::note(&format!("{name}: {} more passed over", out::count(more, "line")));
    }
    let did = if args.dry_run { "would import" } else { "imported" };
    out::line(&format!("{did} {} ({})", out::count(checked.new.len(), "key"), file.format));
    if checked.unchanged > 0 {
        out::line(&format!("{} in the store already", out::count(checked.unchanged, "key")));
    }
    if checked.returned > 0 {
        out::line(&format!("{} came back and went on where it was", out::count(checked.returned, "key")));
    }
    Ok(())
}

fn report(name: &str, problems: impl ExactSizeIterator<Item = String>) {
    let count = problems.len();
    for problem in problems.take(SHOWN) {
        out::note(&format!("{name}: {problem}"));
    }
    if let Some(more) = count.checked_sub(SHOWN).filter(|more| *more > 0) {
        out::note(&format!("{name}: {more} more like these"));
    }
}

#[derive(Default)]
struct Checked {
    new: Vec<(PublicId, Credential)>,
    unchanged: usize,
    returned: usize,
    problems: Vec<String>,
}

fn check(store: &Store, entries: Vec<Entry>) -> Checked {
    let mut checked = Checked { new: Vec::with_capacity(entries.len()), ..Checked::default() };
    for Entry { line, public_id, secret } in entries {
        let found = credential(store, &public_id, secret).and_then(|credential| {
            let enrolled = store.would_enrol(&public_id, &credential).map_err(|error| error.to_string())?;
            Ok((credential, enrolled))
        });
        match found {
            Err(why) => checked.problems.push(format!("line {line}: {why}")),
            Ok((_, Enrolled::Unchanged)) => checked.unchanged = checked.unchanged.saturating_add(1),
            Ok((credential, enrolled)) => {
                if enrolled == Enrolled::Returned {
                    checked.returned = checked.returned.saturating_add(1);
                }
                checked.new.push((public_id, credential));
            }
        }
    }
    checked
}

fn credential(store: &Store, id: &PublicId, secret: Secret) -> Result<Credential, String> {
    match secret {
        Secret::Plain(credential) => Ok(credential),
        Secret::Sealed { under, sealed } => {
            let key = store.store_key().map_err(|fault: Fault| fault.to_string())?;
            if under != key.id() {
                return Err(format!("sealed under store key {under}, and this host's is {}", key.id()));
            }
            key.open(&sealed, id).map_err(|_| "does not open under the store key it names".to_owned())
        }
    }
}
