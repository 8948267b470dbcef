//! The summary of an import of keys.

use crate::input::SHOWN;
use crate::out;
pub use indicatif::ProgressBar;
use indicatif::ProgressStyle;
use serde_json::{Value, json};
use std::path::Path;
use yubiotp::keyfile::KeyFile;

/// A progress bar of so many steps: drawn on standard error, and only if that is a terminal.
#[must_use]
pub fn bar(steps: usize) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(steps).unwrap_or(u64::MAX));
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {percent:>3} % {msg}") {
        bar.set_style(style);
    }
    bar
}

/// Notes the lines of a file that were passed over, the first [`SHOWN`] of them.
pub fn note_passed_over(path: &Path, file: &KeyFile) {
    let name = path.display();
    for (line, why) in file.passed_over.iter().take(SHOWN) {
        out::note(&format!("{name}: line {line}: skipped: {why}"));
    }
    if let Some(more) = file.passed_over.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        out::note(&format!("{name}: {} more skipped", out::count(more, "line")));
    }
}

/// The same for scripts: a list of objects with `line` and `why`.
#[must_use]
pub fn passed_over(file: &KeyFile) -> Value {
    file.passed_over.iter().map(|(line, why)| json!({ "line": line, "why": why.to_string() })).collect()
}

/// Says how many keys were imported, and how many of them were special: `others`, where they are any.
pub fn say<N: TryInto<u64> + Copy>(file: &KeyFile, dry_run: bool, new: N, others: &[(N, &str)]) {
    let did = if dry_run { "would import" } else { "imported" };
    out::line(&format!("{did} {} ({})", out::count(new, "key"), file.format));
    for (count, what) in others {
        let count = (*count).try_into().unwrap_or(u64::MAX);
        if count > 0 {
            out::line(&format!("{} {what}", out::count(count, "key")));
        }
    }
}
