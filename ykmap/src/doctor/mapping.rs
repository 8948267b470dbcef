//! The mapping: what `ykmap check` says of it.

use super::report::{Level, Report, Room};
use crate::list::States;
use crate::{Failure, check, files, out};
use ykhost::Fault;
use ykhost::mapping;
use ykhost::settings::Settings;

pub(super) fn look(report: &mut Report, settings: &Settings, states: Option<&States>) {
    let paths = match files::mappings(settings) {
        Ok(paths) => paths,
        Err(Failure::Fault(why)) if settings.mapping.contains("%u") => {
            let what =
                format!("each user has a mapping of their own, and not all of them can be listed ({why})");
            return report.add(
                Room::Mapping,
                Level::Note,
                &settings.mapping,
                what,
                "ykmap doctor USER looks at one",
            );
        }
        Err(_) => return,
    };
    let (mut lines, mut found, mut read) = (0_usize, Vec::new(), !paths.is_empty());
    for path in &paths {
        let text = match mapping::text(path) {
            Ok(text) => text,
            Err(fault) => {
                report.fault(Room::Mapping, &fault, "put the mapping back in its place");
                read = false;
                continue;
            }
        };
        if text.is_empty() {
            report.fault(Room::Mapping, &Fault::EmptyMapping { path: path.clone() }, "");
            read = false;
            continue;
        }
        lines = lines.saturating_add(check::examine(settings, states, path, &text, &mut found));
    }
    for it in found {
        let level = if it.error { Level::Error } else { Level::Note };
        let (what, change) = match it.what.strip_suffix(')').and_then(|what| what.rsplit_once(" (ykmap ")) {
            Some((what, _)) if what.starts_with("the store cannot use") && report.has_errors(Room::Store) => {
                (what.to_owned(), "see store".to_owned())
            }
            Some((what, verb)) => (what.to_owned(), format!("ykmap {verb}")),
            None if it.error => (it.what, "mend the line (ykmap check)".to_owned()),
            None => (it.what, String::new()),
        };
        report.one_of_many(Room::Mapping, "line", level, (format!("{}:{}", it.path, it.line), what, change));
    }
    if read && lines == 0 && !report.has_errors(Room::Mapping) {
        report.add(Room::Mapping, Level::Note, &settings.mapping, "lists nobody", "ykmap add USER");
    }
    if read {
        let what = format!("{} with a user", out::count(lines, "line"));
        report.good(Room::Mapping, &settings.mapping, what);
    }
}
