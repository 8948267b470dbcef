//! The page: the aims and the results, then the figures.

use std::fmt::Write as _;

/// The aims.
#[derive(Clone, Copy)]
pub(crate) enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

/// One row of the first table.
pub(crate) struct Aim {
    pub what: String,
    pub limit: Limit,
    pub measured: f64,
    /// Behind the figures: `×`, ` ms`.
    pub unit: &'static str,
    /// What keeps it from being better.
    pub bound: String,
}

/// The figures of one matter.
pub(crate) struct Section {
    pub aims: Vec<Aim>,
    /// In Markdown, with its heading.
    pub text: String,
}

/// All of it, behind what is said of it first.
pub(crate) fn page(head: &str, sections: &[Section]) -> String {
    let mut page = format!("{}\n\n", head.trim_end());
    page.push_str("| aim | | measured | | what bounds it |\n|---|---:|---:|---|---|\n");
    for aim in sections.iter().flat_map(|section| &section.aims) {
        let (sign, limit, over) = match aim.limit {
            Limit::AtMost(limit) => ("≤", limit, aim.measured / limit),
            Limit::AtLeast(limit) => ("≥", limit, limit / aim.measured),
        };
        let verdict =
            if over <= 1.0 { "met".to_owned() } else { format!("missed by {:.0} %", (over - 1.0) * 100.0) };
        let (what, unit) = (&aim.what, aim.unit);
        let (limit, measured) = (figure(limit), figure(aim.measured));
        writeln!(page, "| {what} | {sign} {limit}{unit} | {measured}{unit} | {verdict} | {} |", aim.bound)
            .unwrap();
    }
    for section in sections {
        page.push('\n');
        page.push_str(section.text.trim_end());
        page.push('\n');
    }
    page
}

/// As many digits as mean something.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        0.0 => "–".to_owned(),
        small if small < 10.0 => format!("{value:.2}"),
        middle if middle < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// The head of a table.
pub(crate) fn head(columns: &[&str]) -> String {
    format!("| {} |\n|---|{}\n", columns.join(" | "), "---:|".repeat(columns.len() - 1))
}

/// A row of it.
pub(crate) fn row(name: &str, figures: &[f64]) -> String {
    let figures: Vec<String> = figures.iter().map(|value| figure(*value)).collect();
    format!("| {name} | {} |\n", figures.join(" | "))
}
