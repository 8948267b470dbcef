//! What a person and a script see of a plan.

use super::openbsd::Keys;
use super::plan::{Place, Plan};
use super::write::Written;
use crate::service::pam_dir_options;
use crate::{Context, Done, Failure, out};
use serde_json::{Value, json};
use ykcli::input::SHOWN;
use ykhost::settings::Settings;
use yubiotp::diagnostic::{Diagnostic, shell_word};
use yubiotp::{TokenId, shown};

/// Shows a plan. The exit status says whether there is something to do; `writes` is whether it was to be done.
pub(super) fn plan(
    context: &Context,
    settings: &Settings,
    place: &Place<'_>,
    plan: &Plan,
    writes: bool,
) -> Done {
    let diff = diff(plan);
    if context.json {
        out::json(&value(context, plan, false));
    } else {
        for line in &plan.lines {
            let stays = if line.moves() { "" } else { " (stays)" };
            out::line(&format!("{}: {}{stays}", line.place, line.services.join(", ")));
        }
        if !diff.is_empty() {
            // With the tabs of pam.d, and nothing else that a terminal acts on.
            for line in diff.trim_end().split('\n') {
                let parts: Vec<_> = line.split('\t').map(|part| shown::line(part).to_string()).collect();
                out::raw(&format!("{}\n", parts.join("\t")));
            }
        }
        if let Some((path, _)) = &plan.key {
            out::line(&format!("new file {}, mode 0600: the client key", path.display()));
        }
        additions(settings, &plan.additions);
        if let Some(tokens) = &plan.tokens {
            tokens.lines().iter().for_each(|line| out::line(line));
        }
        findings(context, &plan.findings);
    }
    if plan.is_blocked() {
        if !context.json {
            out::note("nothing was written: fix the errors above first");
        }
        return Err(Failure::Bad);
    }
    if plan.is_done() {
        if !context.json {
            let verb = plan.old.module();
            out::line(&match plan.lines.is_empty() {
                true => format!("nothing to do: no service loads {verb}.so"),
                false => "nothing more to do".to_owned(),
            });
        }
        return Ok(());
    }
    if !context.json && !writes {
        if plan.tokens.is_some() {
            out::note(
                "The IDs of new tokens and codes are examples: others are drawn when they are written.",
            );
        }
        out::note("Nothing was written. To do it:");
        let (ykmap, verb) = (context.ykmap(), plan.old.verb());
        out::note(&format!("  {ykmap} migrate {verb} --write{}", options(place)));
    }
    Err(Failure::Differs)
}

/// The options and users of this command, for one that goes on.
fn options(place: &Place<'_>) -> String {
    let users =
        place.named.iter().map(|user| format!(" {}", shell_word(user.as_bytes()))).collect::<String>();
    format!("{}{users}", pam_dir_options(place.folders))
}

/// The diff, without the secrets that lines of pam.d had.
fn diff(plan: &Plan) -> String {
    let mut diff = plan.files.diff();
    for secret in plan.lines.iter().flat_map(|line| &line.secrets) {
        diff = diff.replace(secret, "(not shown)");
    }
    diff
}

fn additions(settings: &Settings, additions: &[(String, bool, Vec<TokenId>)]) {
    if additions.is_empty() {
        return;
    }
    out::line(&format!("{}:", settings.mapping));
    for (user, _, tokens) in additions.iter().take(SHOWN) {
        let tokens: Vec<_> = tokens.iter().map(ToString::to_string).collect();
        out::line(&format!("+{}:{}", shown::text(user), tokens.join(":")));
    }
    if let Some(more) = additions.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        out::line(&format!("and {} more (--json names all)", out::count(more, "user")));
    }
}

fn findings(context: &Context, findings: &[Diagnostic]) {
    for found in findings.iter().take(SHOWN) {
        context.note_behind(&format!("{}: ", found.severity.name()), found);
    }
    if let Some(more) = findings.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        out::note(&format!("and {more} more like these (--json names all)"));
    }
}

fn value(context: &Context, plan: &Plan, written: bool) -> Value {
    let ykmap = context.ykmap();
    let lines = plan.lines.iter().map(|line| {
        json!({"place": line.place.to_string(), "services": line.services, "moves": line.moves(), "arguments": line.new.args})
    });
    let users = plan.additions.iter().map(|(user, _, tokens)| {
        json!({"user": user, "tokens": tokens.iter().map(ToString::to_string).collect::<Vec<_>>()})
    });
    let findings = plan.findings.iter().map(|found| ykcli::diagnostic::json(found, context.calls(&ykmap)));
    json!({
        "from": plan.old.verb(),
        "written": written,
        "to_do": !written && !plan.is_done(),
        "blocked": plan.is_blocked(),
        "lines": lines.collect::<Vec<_>>(),
        "diff": diff(plan),
        "client_key_file": plan.key.as_ref().map(|(path, _)| path),
        "mapping": users.collect::<Vec<_>>(),
        "tokens": plan.tokens.as_ref().map(|tokens| tokens.json(&|_| json!([]))).unwrap_or_default(),
        "findings": findings.collect::<Vec<_>>(),
    })
}

/// Says what was done, and what is next.
pub(super) fn done(context: &Context, place: &Place<'_>, written: &Written) {
    let Written { plan, backups } = written;
    if context.json {
        let mut value = value(context, plan, true);
        if let Some(object) = value.as_object_mut() {
            object.insert("backups".to_owned(), json!(backups));
        }
        out::json(&value);
        return;
    }
    for line in plan.lines.iter().filter(|line| line.moves()) {
        out::line(&format!("{}: {}: asks pam_yubiotp now", line.place, line.services.join(", ")));
    }
    for backup in backups {
        out::line(&format!("backup {}", backup.display()));
    }
    out::line(&format!("listed tokens of {}", out::count(plan.additions.len(), "user")));
    if let Some(tokens) = &plan.tokens {
        tokens.lines().iter().for_each(|line| out::line(line));
    }
    findings(context, &plan.findings);
    let verb = place.old.verb();
    let ykmap = context.ykmap();
    out::note("Nothing undoes this by itself. Keep this shell open, and log in from a second terminal.");
    out::note("If that does not work, undo everything:");
    out::note(&format!("  {ykmap} migrate {verb} --undo{}", options(place)));
    let files: Vec<_> = plan
        .old_files
        .iter()
        .take(SHOWN)
        .map(|path| shown::text(&path.to_string_lossy().into_owned()).to_string())
        .collect();
    if !files.is_empty() {
        out::note(&format!(
            "when logins work, remove the secrets in the clear. No other service or host may use them: {}{}",
            files.join(" "),
            if plan.old_files.len() > SHOWN { " and the others" } else { "" }
        ));
    }
}

/// The keys of login_yubikey.
pub(super) fn keys(context: &Context, keys: &Keys, written: bool) -> Done {
    let ykmap = context.ykmap();
    if context.json {
        let tokens = keys.tokens.iter().map(|(user, id)| {
            let position = keys
                .known
                .get(id)
                .map(|it| json!({"usage_counter": it.usage_counter(), "session_counter": it.session_use()}));
            json!({"user": user, "token": id.to_string(), "position": position})
        });
        let findings =
            keys.findings.iter().map(|found| ykcli::diagnostic::json(found, context.calls(&ykmap)));
        out::json(&json!({
            "from": "login_yubikey", "written": written, "to_do": !written && !keys.is_done(), "blocked": keys.is_blocked(),
            "tokens": tokens.collect::<Vec<_>>(), "findings": findings.collect::<Vec<_>>(),
        }));
    } else {
        for (user, id) in &keys.tokens {
            let position = keys.known.get(id).map_or_else(String::new, |at| format!(", used up to {at}"));
            out::line(&format!("{}: {id}{position}", shown::text(user)));
        }
        findings(context, &keys.findings);
    }
    match (keys.is_blocked(), keys.is_done() || written) {
        (true, _) => Err(Failure::Bad),
        (false, true) => {
            if !context.json {
                let what = if written { "imported" } else { "nothing to do:" };
                out::line(&format!("{what} {}", out::count(keys.tokens.len(), "key")));
            }
            Ok(())
        }
        (false, false) => {
            if !context.json {
                out::note("Nothing was written. To do it:");
                out::note(&format!("  {ykmap} migrate login_yubikey --from DIR --write"));
            }
            Err(Failure::Differs)
        }
    }
}
