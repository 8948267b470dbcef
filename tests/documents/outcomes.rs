//! What libpam gets: the table of pam_yubiotp(8) is that of docs/reference/module.md, which pam_yubiotp/src/code.rs holds itself to.

use crate::arguments::REFERENCE;
use crate::page::Page;
use crate::{markdown, same};

#[test]
fn the_manual_has_the_same_table() {
    let rows = markdown::table(REFERENCE, "## What libpam gets");
    let reference = rows.iter().map(|row| format!("{}: {}", row[1], row[0])).collect();
    let Some(page) = Page::read("pam_yubiotp.8") else { return };
    let rows = page.section("OUTCOMES").elements("tr", None);
    let manual = rows.iter().map(|row| {
        let cells = row.elements("td", None);
        format!("{}: {}", cells[0].text(), cells[1].text())
    });
    same((REFERENCE, &reference), ("pam_yubiotp(8)", &manual.collect()));
}

/// Without this, a row that is gone from all three would not be missed.
#[test]
fn every_outcome_of_the_code_has_a_row() {
    let code = crate::text_of("pam_yubiotp/src/code.rs");
    let (_, table) = code.split_once("pub(crate) const fn code(").unwrap();
    let (table, _) = table.split_once("\n    }\n").unwrap();
    let rows = markdown::table(REFERENCE, "## What libpam gets");
    assert_eq!(table.matches("Self::").count(), rows.len(), "{table}");
}
