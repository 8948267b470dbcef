//! The arguments of the module: what it reads, the table of docs/reference/module.md and pam_yubiotp(8) are one list.

use crate::page::Page;
use crate::{markdown, same, text_of};
use std::collections::BTreeSet;
use ykhost::options;

/// The page with the tables.
pub(crate) const REFERENCE: &str = "docs/reference/module.md";

fn in_code() -> BTreeSet<String> {
    options::NAMES.iter().map(ToString::to_string).collect()
}

#[test]
fn the_reference_has_every_argument_and_no_other() {
    let rows = markdown::table(REFERENCE, "## Arguments in pam.d");
    let names = rows.iter().flat_map(|row| row[0].split(", ")).map(str::to_owned).collect();
    same(("options::NAMES", &in_code()), (REFERENCE, &names));
}

#[test]
fn pam_yubiotp_8_has_every_argument_and_no_other() {
    let Some(page) = Page::read("pam_yubiotp.8") else { return };
    let heads = page.section("Arguments").heads();
    // `mapping={}, authfile={}`: what takes a value has its `=`.
    let names = heads
        .iter()
        .flat_map(|head| head.template().split(", ").map(|name| name.replace("{}", "")).collect::<Vec<_>>());
    same(("options::NAMES", &in_code()), ("pam_yubiotp(8)", &names.collect()));
}

/// The lines that pam_yubiotp(8) and docs/ show are in the files of pam.d-examples, which a test logs in through.
#[test]
fn lines_of_pam_d_are_those_of_the_examples() {
    let words = |line: &str| line.trim_start_matches('#').split_whitespace().collect::<Vec<_>>().join(" ");
    let mut known = BTreeSet::new();
    for entry in std::fs::read_dir(crate::root().join("pam.d-examples")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        known.extend(text_of(&format!("pam.d-examples/{name}")).lines().map(words));
    }
    let Some(page) = Page::read("pam_yubiotp.8") else { return };
    let mut displays = page.displays();
    for page in markdown::pages() {
        displays.extend(markdown::blocks(&page, None).into_iter().map(|(_, block)| block));
    }
    let is_of_pam = |line: &&str| line.starts_with("auth ") || line.starts_with("account ");
    let shown: Vec<_> = displays.iter().flat_map(|display| display.lines()).filter(is_of_pam).collect();
    assert!(shown.len() > 5, "{shown:?}");
    for line in shown {
        assert!(known.contains(&words(line)), "no file of pam.d-examples has: {line}");
    }
}
