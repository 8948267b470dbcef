//! What `ykmap apply` prints: a line for each difference, or JSON.

use super::plan::Plan;
use crate::{Context, out};
use serde_json::{Value, json};
use ykcli::diagnostic;
use yubiotp::diagnostic::{Calls, Diagnostic};
use yubiotp::shown;

/// What became of a plan.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Run {
    /// It was only made.
    Check,
    /// It has problems: nothing was changed.
    Refused,
    /// It was carried out.
    Applied,
}

/// A difference: its line, and the same for scripts.
struct Difference {
    line: String,
    json: Value,
}

/// Prints a plan, its problems and its warnings.
pub(super) fn plan(context: &Context, plan: &Plan, warnings: &[Diagnostic], run: Run) {
    let differences = differences(plan);
    if context.json {
        let ykmap = context.ykmap();
        let calls = Calls { ykmap: &ykmap, ..Calls::PLAIN };
        let all =
            |found: &[Diagnostic]| found.iter().map(|it| diagnostic::json(it, calls)).collect::<Vec<_>>();
        out::json(&json!({
            "changed": !differences.is_empty() && run != Run::Refused,
            "changes": differences.into_iter().map(|it| it.json).collect::<Vec<_>>(),
            "problems": all(&plan.problems),
            "warnings": all(warnings),
        }));
        return;
    }
    plan.problems.iter().chain(warnings).for_each(|found| context.note(found));
    differences.iter().for_each(|difference| out::line(&difference.line));
    let count = |what| out::count(differences.len(), what);
    let is_refused = !plan.problems.is_empty();
    out::line(&match run {
        _ if is_refused => format!("{}: nothing was changed", out::count(plan.problems.len(), "problem")),
        _ if differences.is_empty() => "as declared: nothing to change".to_owned(),
        Run::Applied => format!("{} made", count("change")),
        Run::Check | Run::Refused => count("difference"),
    });
}

fn differences(plan: &Plan) -> Vec<Difference> {
    let mut all = Vec::new();
    if plan.unfinished {
        let line = "~ store: finish an interrupted change".to_owned();
        all.push(Difference { line, json: json!({ "change": "~", "kind": "finish" }) });
    }
    for user in &plan.users {
        let (name, raw) = (shown::text(&user.name).to_string(), String::from_utf8_lossy(&user.name));
        let mut add = |mark: &str, kind: &str, what: &str, token: Option<String>| {
            let line = format!("{mark} user {name}: {what}");
            let json = json!({ "change": mark, "kind": kind, "user": raw, "token": token });
            all.push(Difference { line, json });
        };
        for id in user.loses() {
            add("-", "unassign", &format!("token {id}"), Some(id.to_string()));
        }
        for id in &user.gets {
            add("+", "assign", &format!("token {id}"), Some(id.to_string()));
        }
        if user.is_new && user.gets.is_empty() {
            add("+", "list", "listed, without a token", None);
        }
        if user.is_listed_no_more() {
            add("-", "unlist", "listed", None);
        }
    }
    for (id, enabled) in &plan.states {
        let [before, after] = if *enabled { ["disabled", "enabled"] } else { ["enabled", "disabled"] };
        all.push(Difference {
            line: format!("~ token {id}: {before} -> {after}"),
            json: json!({ "change": "~", "kind": "state", "token": id.to_string(), "before": before, "after": after }),
        });
    }
    for setting in plan.config.iter().flat_map(|config| &config.settings) {
        let (mark, value) = match (&setting.before, &setting.after) {
            (Some(before), Some(after)) => ("~", format!("{before} -> {after}")),
            (before, after) => (
                if after.is_some() { "+" } else { "-" },
                before.as_ref().or(after.as_ref()).cloned().unwrap_or_default(),
            ),
        };
        all.push(Difference {
            line: format!("{mark} {} {}: {value}", setting.table, setting.name),
            json: json!({
                "change": mark, "kind": "setting", "setting": format!("{} in {}", setting.name, setting.table),
                "before": setting.before, "after": setting.after,
            }),
        });
    }
    all
}
