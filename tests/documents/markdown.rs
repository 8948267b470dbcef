//! README.md and the pages in docs/, taken apart.

use crate::{root, text_of};
use std::collections::BTreeSet;

/// README.md and every page in docs/ and below, by their paths in the checkout.
pub(crate) fn pages() -> Vec<String> {
    let mut found = vec!["README.md".to_owned(), "CONTRIBUTING.md".to_owned(), "SECURITY.md".to_owned()];
    let mut folders = vec!["docs".to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root().join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{folder}/{}", entry.file_name().into_string().unwrap());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if path.ends_with(".md") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The text below a heading, up to the next one that is no deeper than `## `.
#[track_caller]
fn section(page: &str, heading: &str) -> String {
    let text = text_of(page);
    let (_, below) =
        text.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("{page}: no {heading}"));
    below.split("\n## ").next().unwrap().to_owned()
}

/// The rows of the table below a heading, as cells without backticks; the head of the table is left out.
#[track_caller]
pub(crate) fn table(page: &str, heading: &str) -> Vec<Vec<String>> {
    let section = section(page, heading);
    let rows = section.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().replace('`', "")).collect())
        .collect()
}

/// Blocks of code, with their language, of a whole page or of one section.
pub(crate) fn blocks(page: &str, heading: Option<&str>) -> Vec<(String, String)> {
    let text = heading.map_or_else(|| text_of(page), |heading| section(page, heading));
    let mut found = Vec::new();
    for piece in text.split("\n```").skip(1).step_by(2) {
        let (language, block) = piece.split_once('\n').unwrap();
        found.push((language.to_owned(), block.to_owned()));
    }
    found
}

/// What `(#…)` leads to: the headings as the usual renderers name them.
fn anchors(page: &str) -> BTreeSet<String> {
    let text = text_of(page);
    let headings = text
        .lines()
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')));
    let slug = |heading: &str| {
        let kept = heading.to_lowercase();
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.collect::<String>().replace(' ', "-")
    };
    headings.map(slug).collect()
}

/// Every link within the checkout leads to a file, and to a heading of it if it names one.
#[test]
fn links_lead_somewhere() {
    let mut count = 0;
    for page in pages() {
        let text = text_of(&page);
        let folder = std::path::Path::new(&page).parent().unwrap();
        for piece in text.split("](").skip(1) {
            let Some((link, _)) = piece.split_once(')') else { continue };
            if link.contains("://") {
                continue;
            }
            count += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { root().join(&page) } else { root().join(folder).join(path) };
            assert!(target.exists(), "{page}: {link}");
            if !anchor.is_empty() {
                let target = target.canonicalize().unwrap();
                let target = target.strip_prefix(root().canonicalize().unwrap()).unwrap();
                let known = anchors(target.to_str().unwrap());
                assert!(known.contains(anchor), "{page}: {link}: known are {known:?}");
            }
        }
    }
    assert!(count > 40, "{count}");
}

/// What does not fit belongs into docs/.
#[test]
fn the_readme_is_short() {
    let lines = text_of("README.md").lines().count();
    assert!(lines <= 150, "README.md has {lines} lines");
}
