//! docs/reference/codes.md has an entry for each code, in the order and the groups of the source, and nothing else; and
//! every code is used.

use crate::text_of;
use yubiotp::diagnostic::Code;

const PAGE: &str = "docs/reference/codes.md";
const SOURCE: &str = "yubiotp/src/diagnostic/code.rs";

/// Groups and codes, in the order of the page: `## Group`, `code`.
fn of_page(page: &str) -> Vec<String> {
    let groups = |line: &&str| line.starts_with("## ");
    let heads = page.lines().filter(|line| groups(line) || line.starts_with("### "));
    heads.map(|line| line.strip_prefix("### ").unwrap_or(line).to_owned()).collect()
}

/// The same of the source.
fn of_source(source: &str) -> Vec<String> {
    let (_, catalogue) = source.split_once("\ncodes! {\n").unwrap();
    let (catalogue, _) = catalogue.split_once("\n}\n").unwrap();
    let item = |line: &str| match line.trim().strip_prefix("// ") {
        Some(group) => format!("## {}", group.trim_end_matches('.')),
        None => line.split('"').nth(1).unwrap().to_owned(),
    };
    catalogue.lines().map(item).collect()
}

#[test]
fn the_page_has_every_code_and_no_other() {
    let (page, source) = (of_page(&text_of(PAGE)), of_source(&text_of(SOURCE)));
    assert_eq!(page, source);
    let codes: Vec<_> = page.iter().filter(|item| !item.starts_with('#')).collect();
    assert!(codes.iter().copied().eq(Code::ALL.iter().map(|code| code.name())), "{codes:?}");
}

#[test]
fn every_entry_has_a_cause_and_a_remedy() {
    for entry in text_of(PAGE).split("\n### ").skip(1) {
        let (code, body) = entry.split_once('\n').unwrap();
        let body = body.split("\n## ").next().unwrap();
        let parts: Vec<_> = body.trim().split("\n\n").collect();
        let [cause, remedy] = parts[..] else { panic!("{code}: {parts:?}") };
        assert!(cause.starts_with("**Cause.** ") && remedy.starts_with("**Remedy.** "), "{code}: {body}");
    }
}

/// A code that nothing says is one that nobody can look up.
#[test]
fn every_code_is_used() {
    let packages = crate::source::packages();
    let files = packages.iter().flat_map(|package| crate::source::files(&format!("{package}/src")));
    let shipped = |text: String| text.split("\n#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
    let all: String = files
        .filter(|path| path != SOURCE && !path.ends_with("/tests.rs") && !path.contains("/tests/"))
        .map(|path| shipped(text_of(&path)))
        .collect();
    let names: String = of_variants(&text_of(SOURCE))
        .into_iter()
        .filter(|variant| {
            let mentioned = |at: usize| !all[at..].starts_with(|c: char| c.is_ascii_alphanumeric());
            let needle = format!("Code::{variant}");
            !all.match_indices(&needle).any(|(at, _)| mentioned(at + needle.len()))
        })
        .map(|variant| format!("{variant} "))
        .collect();
    assert_eq!(names, "", "nothing has these codes");
}

fn of_variants(source: &str) -> Vec<String> {
    let (_, catalogue) = source.split_once("\ncodes! {\n").unwrap();
    let (catalogue, _) = catalogue.split_once("\n}\n").unwrap();
    let lines = catalogue.lines().filter(|line| line.contains(" = "));
    lines.map(|line| line.trim().split(' ').next().unwrap().to_owned()).collect()
}
