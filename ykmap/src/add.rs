//! `ykmap add`

use super::{Context, Done, Failure, files, out};
use clap::ValueHint;
use serde_json::json;
use ykhost::decide;
use ykhost::settings::Settings;
use ykhost::store::{Store, plainly};
use yubiotp::mapping::{self, Enrolment, Line};
use yubiotp::otp;
use yubiotp::verdict::Verdict;
use yubiotp::{PublicId, Reason, shown};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The user
    #[arg(value_hint = ValueHint::Username)]
    user: String,
    /// OTPs, which are checked as at a login and used up, or public IDs, which are not checked [default: ask for a
    /// touch]
    #[arg(value_name = "OTP|ID")]
    tokens: Vec<String>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    let mut settings = context.settings()?;
    let store = Store::new(&settings);
    // Before anybody presses anything for nothing.
    mapping::add(b"", args.user.as_bytes(), &[])
        .map_err(|why| Failure::Fault(format!("{}: {why}", shown::quoted(&args.user))))?;
    let path = ykhost::mapping::path_of(&settings.mapping, &args.user)?;
    files::tokens_in(&settings, &files::text_of(&path)?, &args.user)?;
    let mut ids = Vec::new();
    if args.tokens.is_empty() {
        // A fault here must not cost the user a touch.
        settings.prepare()?;
        let touch = files::input_line(&format!("Touch the YubiKey of {}: ", shown::text(&args.user)))?;
        ids.push(pressed(&settings, &store, touch.trim())?);
    }
    for token in &args.tokens {
        let id = match PublicId::parse(token.as_bytes()) {
            // 32 modhex characters are the longest ID, or an OTP of a token without one. An OTP is more likely.
            Ok(id) if token.len() < 32 => id,
            Err(why) if token.trim().len() < 32 => {
                return Err(Failure::Fault(format!("{}: {why}", shown::quoted(token))));
            }
            _ => {
                settings.prepare()?;
                pressed(&settings, &store, token)?
            }
        };
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    if let Some(id) = ids.iter().find(|id| !settings.allows(id)) {
        return Err(Failure::Fault(format!("{id}: token_id_length in the settings rules it out")));
    }
    let other_spelling = files::other_spelling(&settings, &args.user);
    let (new, others) = files::edit(&settings, &args.user, |text| {
        let known = match files::tokens_in(&settings, text, &args.user)? {
            Enrolment::Listed(known) => known,
            Enrolment::NotListed => Vec::new(),
        };
        let new: Vec<_> = ids.iter().copied().filter(|id| !known.contains(id)).collect();
        let others = owned_by_others(text, &args.user, &new);
        let text = mapping::add(text, args.user.as_bytes(), &new)
            .map_err(|why| Failure::Fault(format!("{}: {why}", shown::quoted(&args.user))))?;
        Ok((text, (new, others)))
    })?;
    if context.json {
        let names = |ids: &[PublicId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
        out::json(&json!({ "user": args.user, "tokens": names(&ids), "added": names(&new) }));
    } else {
        for id in &ids {
            let did = if new.contains(id) { "now has" } else { "already has" };
            out::line(&format!("{} {did} token {id}", shown::text(&args.user)));
        }
    }
    for note in others.into_iter().chain(other_spelling) {
        out::note(&note);
    }
    for id in &ids {
        if !settings.mode.asks_servers() && !store.keys()?.has(&id.to_string())? {
            out::note(&format!(
                "no key for {id} in the store yet: until it is imported, its OTPs are refused"
            ));
        }
    }
    Ok(())
}

/// A note for each of these IDs that another user has, too.
fn owned_by_others(text: &[u8], user: &str, ids: &[PublicId]) -> Vec<String> {
    let mut notes = Vec::new();
    for (_, line) in mapping::entries(text) {
        if let Ok(Line::Entry { user: owner, fields }) = line
            && owner != user.as_bytes()
        {
            let owner = shown::text(owner);
            let shared = fields.ids().filter(|id| ids.contains(id));
            notes.extend(shared.map(|id| format!("token {id} is {owner}'s, too")));
        }
    }
    notes
}

/// The token that made this OTP, which is decided and used up as at a login.
fn pressed(settings: &Settings, store: &Store, typed: &str) -> Result<PublicId, Failure> {
    let readings = otp::readings(typed.as_bytes())
        .map_err(|why| Failure::Fault(format!("neither an OTP nor a public id: {why}")))?;
    let keys = store.keys()?;
    let mut candidates: Vec<PublicId> = readings.filter_map(|reading| reading.whole_id()).collect();
    candidates.dedup();
    let Some(first) = candidates.first().copied() else {
        return Err(Failure::Fault("more was typed than one OTP".to_owned()));
    };
    let mut known = Vec::new();
    for id in candidates {
        if settings.mode.asks_servers() || keys.has(&id.to_string())? {
            known.push(id);
        }
    }
    if known.is_empty() {
        return Err(Failure::Fault(format!(
            "no key for token {first} in the store: import it first (ykmap key import FILE; with --used if the store was lost); or, to go without the check, \
             give the id alone"
        )));
    }
    match decide::judge(settings, typed.as_bytes(), &Enrolment::Listed(known), plainly)?.verdict {
        Verdict::Accepted(receipt) => Ok(receipt.token()),
        Verdict::Rejected(reason @ Reason::Replayed { .. }) => {
            Err(Failure::Fault(format!("{reason}: press again")))
        }
        Verdict::Rejected(reason) => Err(Failure::Fault(reason.to_string())),
        Verdict::NotEnrolled => Err(Failure::Fault("not decided".to_owned())),
    }
}
