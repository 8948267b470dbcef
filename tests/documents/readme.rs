//! README.md, taken apart.

use crate::text_of;

/// The rows of the table below a heading, as cells without backticks; the head of the table is left out.
#[track_caller]
pub(crate) fn table(heading: &str) -> Vec<Vec<String>> {
    let text = text_of("README.md");
    let (_, section) = text.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().replace('`', "")).collect())
        .collect()
}

/// Blocks of code, with their language, of all of it or of one section.
pub(crate) fn blocks(heading: Option<&str>) -> Vec<(String, String)> {
    let mut text = text_of("README.md");
    if let Some(heading) = heading {
        let behind = text.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading}")).1;
        text = behind.split("\n## ").next().unwrap().to_owned();
    }
    let mut found = Vec::new();
    for piece in text.split("\n```").skip(1).step_by(2) {
        let (language, block) = piece.split_once('\n').unwrap();
        found.push((language.to_owned(), block.to_owned()));
    }
    found
}
