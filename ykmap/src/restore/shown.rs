//! What a restore did, or would do.

use super::Plan;
use crate::{Context, out};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use ykcli::time;
use ykhost::store::{Fate, Planned, Restoring};
use yubiotp::TokenId;

/// The name of a fate in `--json`, a heading for the tokens that have it, and what an administrator should know of them.
const fn words(fate: Fate) -> (&'static str, &'static str, &'static str) {
    match fate {
        Fate::GoesOn => ("goes-on", "Go on", "This host's own record of them is whole."),
        Fate::Restored => (
            "restored",
            "Restored YubiKeys",
            "The next login with each asks for three more touches, with two pauses of up to 30 seconds.",
        ),
        Fate::From(_) => (
            "waits",
            "Authenticator apps and TOTP tokens",
            "Their codes are accepted again in an hour, if they last 30 seconds.",
        ),
        Fate::NeedsResync => (
            "needs-resync",
            "Tokens that count (HOTP)",
            "No code is accepted until you type two of them at a terminal: ykmap token resync ID.",
        ),
        Fate::Spent => (
            "spent",
            "Recovery codes that may have been used",
            "They are not accepted. Make new ones: ykmap recovery new USER.",
        ),
        Fate::StaysRemoved => (
            "stays-removed",
            "Removed from this host since",
            "They stay away, and a mapping of the backup is written without them. To bring one back, add --bring-back ID.",
        ),
        Fate::HasOtherKey => ("has-other-key", "Have another key here now", "That key stays."),
        Fate::PositionOnly => {
            ("position-only", "Have no key here", "Their positions are kept, so that used OTPs stay invalid.")
        }
    }
}

/// The fate of each token once: that of its key, if there is one.
fn by_token(restoring: &Restoring) -> BTreeMap<TokenId, Fate> {
    let mut all = BTreeMap::new();
    for Planned { token, fate, state, .. } in &restoring.planned {
        let fate = match fate {
            // An earlier run marked it.
            Fate::GoesOn if state.restored.is_some() => Fate::Restored,
            fate => *fate,
        };
        let before = all.entry(*token).or_insert(fate);
        if *before == Fate::PositionOnly {
            *before = fate;
        }
    }
    all
}

pub(super) fn plan(context: &Context, plan: &Plan<'_>, restoring: &Restoring, is_dry: bool, made: u64) {
    let tokens = by_token(restoring);
    let changes = restoring.changes() || !plan.files.is_empty();
    if context.json {
        let tokens: Vec<_> = tokens
            .iter()
            .map(|(token, fate)| json!({ "id": token.to_string(), "fate": words(*fate).0 }))
            .collect();
        let files: Vec<_> = plan.files.iter().map(|file| &file.path).collect();
        let left_out = plan.files.iter().flat_map(|file| &file.left_out);
        let left_out: Vec<_> =
            left_out.map(|(user, token)| json!({ "user": user, "token": token.to_string() })).collect();
        out::json(&json!({
            "made": made,
            "changed": changes,
            "dry_run": is_dry,
            "keys": restoring.keys(),
            "files": files,
            "left_out": left_out,
            "tokens": tokens,
        }));
        return;
    }
    let keys = out::count(restoring.keys(), "key");
    out::line(&match (changes, is_dry) {
        (false, _) => format!("nothing to do: this host has all of the backup of {} UTC", time::utc(made)),
        (true, false) => format!("restored {keys}, as of {} UTC", time::utc(made)),
        (true, true) => format!("would restore {keys}, as of {} UTC; nothing was changed", time::utc(made)),
    });
    for file in &plan.files {
        let copy = if file.keeps_copy { ", with a copy of what is there" } else { "" };
        out::line(&format!("{} {}{copy}", if is_dry { "would write" } else { "wrote" }, file.path.display()));
        for (user, token) in &file.left_out {
            out::line(&format!("  without {token} of {user}, which stays removed"));
        }
    }
    let mut groups: BTreeMap<&str, (BTreeSet<TokenId>, &str)> = BTreeMap::new();
    for (token, fate) in tokens {
        let (_, heading, text) = words(fate);
        // A set of recovery codes is one thing to an administrator.
        let token = match token {
            TokenId::RecoveryCode(set, _) => TokenId::RecoverySet(set),
            token => token,
        };
        groups.entry(heading).or_insert_with(|| (BTreeSet::new(), text)).0.insert(token);
    }
    for (heading, (ids, text)) in groups {
        const SHOWN: usize = 8;
        let mut named: Vec<_> = ids.iter().take(SHOWN).map(ToString::to_string).collect();
        if ids.len() > SHOWN {
            named.push(format!("and {} more", ids.len().saturating_sub(SHOWN)));
        }
        out::lines(&format!("{heading}: {}\n  {text}", named.join(", ")));
    }
    if changes && !is_dry {
        out::note(
            "Tokens that were removed or disabled after the backup was made, and whose removal was lost with the store, are \
             back as they were. Compare: ykmap list. To keep a stolen one out: ykmap key disable ID.",
        );
    }
}

/// A host without a store: everything of the backup comes.
pub(super) fn empty_host(context: &Context, plan: &Plan<'_>, backup: &ykhost::store::Backup<'_>) {
    let files: Vec<_> = plan.files.iter().map(|file| &file.path).collect();
    if context.json {
        out::json(&json!({
            "changed": true,
            "dry_run": true,
            "keys": backup.keys.len(),
            "files": files,
            "tokens": null,
        }));
        return;
    }
    out::line(&format!(
        "there is no store here: would restore all of the backup, with {}; nothing was changed",
        out::count(backup.keys.len(), "key")
    ));
}
