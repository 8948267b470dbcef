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
    let packages: Vec<_> = packages.iter().map(String::as_str).collect();
    let all = shipped(&packages);
    let names: String = of_variants(&text_of(SOURCE))
        .into_iter()
        .filter(|(variant, _)| !mentions(&all, variant))
        .map(|(variant, _)| format!("{variant} "))
        .collect();
    assert_eq!(names, "", "nothing has these codes");
}

/// Whoever runs the web login finds its own commands and settings, wherever an entry has those of a host.
#[test]
fn entries_are_true_for_the_web_login() {
    let (all, page) = (shipped(&["ykweb", "ykserve"]), text_of(PAGE));
    let mut count = 0;
    for (variant, code) in of_variants(&text_of(SOURCE)) {
        if !mentions(&all, &variant) {
            continue;
        }
        count += 1;
        let (_, entry) = page.split_once(&format!("\n### {code}\n")).unwrap();
        let entry = entry.split("\n#").next().unwrap();
        let of_a_host = ["ykmap", "the mapping", "pam.d", "[online]", "/etc/yubiotp", "yubiotp-ask"];
        let is_of_the_web = ["web login", "ykweb"].iter().any(|name| entry.contains(name));
        assert!(is_of_the_web || !of_a_host.iter().any(|name| entry.contains(name)), "{code}: {entry}");
    }
    assert!(count > 80, "{count}");
}

/// What these packages ship, without tests.
fn shipped(packages: &[&str]) -> String {
    let files = packages.iter().flat_map(|package| crate::source::files(&format!("{package}/src")));
    let shipped = |text: String| text.split("\n#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
    files
        .filter(|path| path != SOURCE && !path.ends_with("/tests.rs") && !path.contains("/tests/"))
        .map(|path| shipped(text_of(&path)))
        .collect()
}

fn mentions(all: &str, variant: &str) -> bool {
    let needle = format!("Code::{variant}");
    let is_whole = |at: usize| !all[at..].starts_with(|c: char| c.is_ascii_alphanumeric());
    all.match_indices(&needle).any(|(at, _)| is_whole(at + needle.len()))
}

/// The variants of the source, and their codes.
fn of_variants(source: &str) -> Vec<(String, String)> {
    let (_, catalogue) = source.split_once("\ncodes! {\n").unwrap();
    let (catalogue, _) = catalogue.split_once("\n}\n").unwrap();
    let lines = catalogue.lines().filter(|line| line.contains(" = "));
    let of = |line: &str| {
        let variant = line.trim().split(' ').next().unwrap();
        (variant.to_owned(), line.split('"').nth(1).unwrap().to_owned())
    };
    lines.map(of).collect()
}
