//! The paths, metrics and log of the web login: the code, the running server and ykwebd(8) have the same lists.

use crate::page::Page;
use crate::source::literals;
use crate::{root, same, text_of};
use std::collections::BTreeSet;

/// Heads of a part of the page; a line with several heads is split.
fn heads(section: &str) -> Option<BTreeSet<String>> {
    let page = Page::read("ykwebd.8")?;
    let heads = page.section(section).heads();
    Some(
        heads
            .iter()
            .flat_map(|head| head.text().split(", ").map(str::to_owned).collect::<Vec<_>>())
            .collect(),
    )
}

/// The code without its tests.
fn code_of(path: &str) -> String {
    text_of(path).split("\n#[cfg(test)]\nmod tests {").next().unwrap().to_owned()
}

#[test]
fn paths() {
    let Some(manual) = heads("Paths") else { return };
    let manual = manual.iter().map(|path| path.split('?').next().unwrap().to_owned()).collect();
    let route = code_of("ykweb/src/serve/route.rs");
    let (_, route) = route.split_once("async fn portal").unwrap();
    let mut answered: BTreeSet<_> = literals(route).into_iter().map(|(_, text)| text).collect();
    for path in ["ykweb/src/serve/authorizer.rs", "ykweb/src/authorize/pages.rs"] {
        let code = code_of(path);
        let paths = literals(&code).into_iter().map(|(_, text)| text);
        answered.extend(paths.filter(|text| text.starts_with("/authorize/") || text.starts_with("/_ykweb/")));
    }
    // What the others begin with, and files of ours.
    answered.retain(|text| text.starts_with('/') && !text.ends_with('/') || text == "/");
    same(("the code", &answered), ("ykwebd(8)", &manual));
}

/// What is counted: the names that are registered, and those that every server has.
#[test]
fn metrics() {
    let Some(manual) = heads("METRICS") else { return };
    let mut counted = BTreeSet::new();
    for path in ["ykweb/src/serve/metrics.rs", "ykserve/src/metrics.rs"] {
        for (before, name) in literals(&code_of(path)) {
            let ends = |ends: &[&str]| ends.iter().any(|end| before.ends_with(end));
            let end = match name.as_str() {
                "build" => "_info",
                "certificate_expiry" => "_seconds",
                _ if ends(&["gauge(&mut registry,", "gauge(registry,"]) => "",
                _ => "_total",
            };
            if ends(&["register(", "register_with_unit(", "gauge(&mut registry,", "gauge(registry,", "new("])
            {
                counted.insert(format!("ykwebd_{name}{end}"));
            }
        }
    }
    same(("the code", &counted), ("ykwebd(8)", &manual));
}

/// Every name and every event of a log line.
#[test]
fn fields_and_events_of_the_log() {
    let (Some(fields), Some(events)) = (heads("Fields"), heads("Events")) else { return };
    let (mut written, mut told) = (BTreeSet::new(), BTreeSet::new());
    let files =
        ["ykweb/src/serve/log.rs", "ykserve/src/event.rs", "ykserve/src/log.rs", "ykserve/src/log/line.rs"];
    for path in files {
        for (before, text) in literals(&code_of(path)) {
            let ends = |ends: &[&str]| ends.iter().any(|end| before.ends_with(end));
            let value = ["text(", "number(", "display(", "milliseconds("].map(|kind| format!(".{kind}"));
            let is_name = value.iter().any(|begin| before.ends_with(begin)) || ends(&["&[(", "), ("]);
            // `("user", said.user…)`, one of a list.
            let of_list =
                before.strip_suffix('(').is_some_and(|before| before.trim_end().ends_with([',', '[']));
            let is_name = is_name || of_list && path == "ykweb/src/serve/log.rs";
            if is_name {
                written.insert(text);
            } else if ends(&["level,", "Info,", "Warning,", "Error,", "Warning },"]) {
                told.insert(text);
            }
        }
    }
    // What a decision was about.
    let portal = std::fs::read_dir(root().join("ykweb/src/serve/portal")).unwrap();
    let mut decisions: Vec<_> = portal
        .map(|file| format!("ykweb/src/serve/portal/{}", file.unwrap().file_name().to_str().unwrap()))
        .collect();
    decisions.extend(["portal", "callers", "authorizer"].map(|name| format!("ykweb/src/serve/{name}.rs")));
    for path in &decisions {
        for (before, text) in literals(&code_of(path)) {
            let ends = |ends: &[&str]| ends.iter().any(|end| before.ends_with(end));
            if ends(&["Said::new(", "Said::denial(", "Said::fault(", "failed(shared, browser,"]) {
                told.insert(text);
            }
        }
    }
    same(("the log", &written), ("ykwebd(8)", &fields));
    same(("the log", &told), ("ykwebd(8)", &events));
}
