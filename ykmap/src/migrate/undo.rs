//! `--undo`: the host's files as before, then the users' lists. What was used stays used.

use super::record::Record;
use crate::{Context, Done, Failure, event, files, out, system};
use serde_json::json;
use ykhost::file::{FileFault, locate};
use ykhost::settings::Settings;
use ykhost::store::{Store, TokenKey};
use yubiotp::diagnostic::{Code, Diagnostic, Location};
use yubiotp::mapping::Enrolment;
use yubiotp::oath::Kind;
use yubiotp::{Position, TokenId};

pub(super) fn run(context: &Context, settings: &Settings, name: &str) -> Done {
    let store = Store::new(settings);
    let _changing = store.change()?;
    let Some(record) = Record::read(&settings.store, name)? else {
        match context.json {
            true => out::json(&json!({"undone": false, "files": [], "users": []})),
            false => out::line("nothing to undo: no migration is recorded"),
        }
        return Ok(());
    };
    let mut restored = Vec::new();
    for change in record.changes.iter().rev() {
        match system::undo(&settings.store, change) {
            Ok(undone) => restored.extend(undone.files),
            // It never began, or an earlier undo that was interrupted did it.
            Err(Failure::Fault(found)) if found.code == Code::ChangeUnknown => {}
            Err(other) => return Err(other),
        }
    }
    for (user, (was_listed, tokens)) in &record.users {
        files::edit(settings, user, |lists| {
            for id in tokens {
                lists.mapping.remove(user.as_bytes(), Some(id));
            }
            let has_none = lists.mapping.tokens(user.as_bytes())? == Enrolment::Listed(Vec::new());
            if !was_listed && has_none {
                lists.mapping.remove(user.as_bytes(), None);
            }
            Ok(())
        })?;
    }
    for path in &record.made {
        let (folder, name) = match locate(path) {
            Err(FileFault::Missing(_)) => continue,
            located => located?,
        };
        if folder.has(&name)? {
            folder.remove(&name)?;
            folder.sync()?;
        }
    }
    let findings = counters(&store, &record);
    Record::forget(&settings.store, name)?;
    event::log_host(context, "migrate-undo", &[("change", name.to_owned())]);
    if context.json {
        let calls = context.ykmap();
        let findings = findings.iter().map(|found| ykcli::diagnostic::json(found, context.calls(&calls)));
        out::json(&json!({
            "undone": true, "files": restored, "users": record.users.keys().collect::<Vec<_>>(),
            "findings": findings.collect::<Vec<_>>(),
        }));
        return Ok(());
    }
    for path in &restored {
        out::line(&format!("restored {}", path.display()));
    }
    out::line(&format!("unlisted the tokens of {}", out::count(record.users.len(), "user")));
    findings.iter().for_each(|found| context.note(found));
    Ok(())
}

/// What the old module does not know: which codes were used here meanwhile.
fn counters(store: &Store, record: &Record) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    let mut has_app = false;
    for (user, (_, tokens)) in &record.users {
        for id in tokens {
            let Ok(TokenKey::Oath(_, key, _)) = store.token_key(id) else { continue };
            match key.parameters.kind {
                Kind::Totp { .. } => has_app = true,
                Kind::Hotp => {
                    let next = store.slots(id).ok().flatten().and_then(|slots| slots.state.position);
                    findings.extend(next.map(|next| behind(user, id, next)));
                }
            }
        }
    }
    if has_app {
        let problem = "codes that were used here in the last minutes are not known to the old module, which accepts each of them once more";
        findings.push(
            Diagnostic::warning(Code::OldModuleStays, problem)
                .advise("wait five minutes before you let anyone log in by it"),
        );
    }
    findings
}

fn behind(user: &str, id: &TokenId, next: Position) -> Diagnostic {
    let next = next.to_stored();
    let problem = format!(
        "the next counter of {id} is {next} here; the old module accepts every code that was used here since"
    );
    Diagnostic::warning(Code::OldModuleStays, problem)
        .at(Location::user(user.as_bytes()))
        .advise(format!("before the next login, write HOTP_COUNTER {next} in ~/.google_authenticator"))
        .advise(format!(
            "of pam_oath, write {next} in the fifth field of the users file, and remove what is behind it"
        ))
}
