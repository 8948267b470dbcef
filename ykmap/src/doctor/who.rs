//! The users who get in, and the factors that they need: a table by services that are alike, for people and as JSON.

use super::pam::{Class, Looked, in_words};
use super::report::shortened;
use crate::out::{self, Style};
use serde_json::{Value, json};
use yubiotp::shown;

/// Classes of users and their ways in, for services of which the same holds.
struct Table {
    services: Vec<String>,
    /// Of the users of sshd, whom a `Match` means.
    condition: Option<String>,
    rows: Vec<Class>,
}

fn tables(looked: &[Looked]) -> Vec<Table> {
    let mut tables = Vec::<Table>::new();
    for service in looked {
        for (front, rows) in &service.really {
            let rows = service.access.classes(rows);
            let name = shown::text(&service.name).to_string();
            let condition = front.condition.as_ref().map(|it| shown::text(it).to_string());
            match tables.iter_mut().find(|table| table.condition == condition && table.rows == rows) {
                Some(table) => table.services.push(name),
                None => tables.push(Table { services: vec![name], condition, rows }),
            }
        }
    }
    tables
}

/// As JSON: for each group of services the classes of users, each with its ways in.
pub(super) fn json(looked: &[Looked]) -> Value {
    let tables = tables(looked).into_iter().map(|Table { services, condition, rows }| {
        let rows: Vec<_> = rows
            .iter()
            .map(|row| {
                let conditions: Vec<_> = row
                    .conditions
                    .iter()
                    .map(|(test, holds)| json!({ "test": test, "holds": holds }))
                    .collect();
                let classes: Vec<_> = row.listings.iter().map(|listing| listing.name()).collect();
                json!({ "who": { "class": classes, "conditions": conditions }, "with": row.ways })
            })
            .collect();
        json!({ "services": services, "match": condition, "rows": rows })
    });
    tables.collect()
}

/// For services that are alike, who gets in with what, in a sentence.
pub(super) fn in_short(looked: &[Looked]) -> Vec<(String, String)> {
    let tables = tables(looked).into_iter().map(|Table { services, condition, rows }| {
        let condition = condition.map(|it| format!(" (Match {it})")).unwrap_or_default();
        let rows = rows.iter().map(|row| format!("{}: {}", row.in_words(), in_words(&row.ways)));
        (format!("{}{condition}", shortened(&services, "service")), rows.collect::<Vec<_>>().join("; "))
    });
    tables.collect()
}

/// Prints the table.
pub(super) fn print(looked: &[Looked]) {
    let tables = tables(looked);
    if tables.is_empty() {
        return;
    }
    out::raw(&format!("{}\n", out::styled(Style::Bold, "who gets in, and with what")));
    for Table { services, condition, rows } in &tables {
        let condition = condition.as_ref().map(|it| format!(" (Match {it})")).unwrap_or_default();
        out::line(&format!("  {}{condition}", shortened(services, "service")));
        let longest = rows.iter().map(|row| row.listed_as.chars().count()).max().unwrap_or_default();
        let mut heading = String::new();
        for row in rows {
            let condition = row.condition_in_words();
            if condition != heading {
                heading.clone_from(&condition);
                out::line(&format!("    {condition}:"));
            }
            let indent = if condition.is_empty() { "    " } else { "      " };
            out::line(&format!("{indent}{:longest$}  {}", row.listed_as, in_words(&row.ways)));
        }
    }
}
