//! The plan, printed: for a person, and for a script.

use super::found::Found;
use super::plan::{Status, Step, Words, is_done, plan as steps_of, text};
use crate::out::{self, Style};
use crate::{Context, Done, Failure};
use serde_json::json;
use ykcli::docs;
use yubiotp::shown;

/// The widest line.
const WIDTH: usize = 79;

/// Prints the plan. Exit status 3 if something is left to do.
pub(super) fn plan(context: &Context, found: &Found) -> Done {
    let steps = steps_of(found);
    if context.json {
        out::json(&json(context, found, &steps));
    } else {
        table(found, &steps);
        for step in steps.iter().filter(|step| step.status == Status::ToDo) {
            out::lines(&format!("\nStep {}: {}", number(&steps, step), step.name.title()));
            step.commands.iter().for_each(|words| out::line(&format!("  {}", command(context, words))));
        }
        out::line("");
        notes(context, found);
    }
    if is_done(&steps) { Ok(()) } else { Err(Failure::Differs) }
}

/// Each step in a line.
pub(super) fn table(found: &Found, steps: &[Step]) {
    let (user, host) = (shown::text(&found.user), crate::totp::host_name());
    heading(&format!("Second factor for logins of {user} on {}", shown::text(&host)));
    for step in steps {
        let begin =
            format!("  {}  {:<9} {:<6}  ", number(steps, step), step.name.title(), step.status.name());
        indented(&begin, &step.detail);
    }
}

/// What is not a step, and worth knowing.
pub(super) fn notes(context: &Context, found: &Found) {
    for old in &found.old {
        paragraph(&format!("{} asks for a second factor by {}.", old.place, old.module));
        match old.migrate {
            Some(name) => {
                let words = ["migrate".to_owned(), name.to_owned()];
                out::lines(&format!("To see what can be moved here:\n  {}\n", command(context, &words)));
            }
            None => paragraph("Its users cannot be moved here: give each of them a token.\n"),
        }
    }
    if let Some(names) = found.without_token.as_deref().filter(|names| !names.is_empty()) {
        paragraph(&format!(
            "These accounts can log in and have no token: {}.",
            crate::account::first_of(names)
        ));
        paragraph(
            "A service that asks for one rejects them, unless the policy excuses them. Give them one first:",
        );
        out::lines(&format!("  {} setup USER\n", context.ykmap()));
    }
    if !found.others.is_empty() {
        paragraph(&format!(
            "ykmap enable does not change these services: {}.",
            crate::account::first_of(&found.others)
        ));
        paragraph(&format!("{} has lines for them.\n", docs::page("pam-stacks.md")));
    }
}

/// A heading.
pub(super) fn heading(text: &str) {
    out::raw(&format!("\n{}\n\n", out::styled(Style::Bold, &shown::line(text).to_string())));
}

/// A sentence or two, in lines that fit.
pub(super) fn paragraph(text: &str) {
    for line in text.split('\n') {
        if line.is_empty() { out::line("") } else { indented("", line) }
    }
}

/// The same behind a beginning, under which the other lines begin.
pub(super) fn indented(begin: &str, text: &str) {
    let rest = " ".repeat(begin.chars().count());
    let width = out::width().unwrap_or(WIDTH).min(WIDTH);
    let text = shown::line(text).to_string();
    out::wrapped(&text, [begin, &rest], width).iter().for_each(|line| out::line(line.trim_end()));
}

/// The whole command line of a verb.
pub(super) fn command(context: &Context, words: &[String]) -> String {
    format!("{} {}", context.ykmap(), text(words))
}

/// The number of a step, from 1.
pub(super) fn number(steps: &[Step], step: &Step) -> usize {
    steps.iter().position(|own| own.name == step.name).map_or(0, |at| at.saturating_add(1))
}

fn json(context: &Context, found: &Found, steps: &[Step]) -> serde_json::Value {
    let commands = |words: &Vec<Words>| words.iter().map(|words| command(context, words)).collect::<Vec<_>>();
    let steps_json: Vec<_> = steps
        .iter()
        .map(|step| {
            json!({
                "step": step.name.id(),
                "status": step.status.id(),
                "detail": step.detail,
                "commands": commands(&step.commands),
            })
        })
        .collect();
    let services: Vec<_> = found
        .services
        .iter()
        .map(|service| {
            json!({
                "service": service.name,
                "files": service.files,
                "asks": service.asks.name(),
                "undone_at": service.undone_at,
            })
        })
        .collect();
    let old: Vec<_> = found
        .old
        .iter()
        .map(|old| json!({ "module": old.module, "place": old.place, "migrate": old.migrate }))
        .collect();
    json!({
        "user": found.user,
        "done": is_done(steps),
        "steps": steps_json,
        "services": services,
        "others_asking": found.others_asking,
        "others": found.others,
        "old": old,
        "without_token": found.without_token,
    })
}
