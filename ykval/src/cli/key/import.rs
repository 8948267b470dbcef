//! `ykvald key import`, and `ykvald import ykksm`, which is the same for one kind of file.

use super::Pages;
use crate::cli::{Context, Done, Failure, Opened, files, out, wait};
use clap::ValueHint;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use ykval::random;
use ykval::store::{Enrolled, Enrolment, PAGE, Store};
use yubiotp::key::Fingerprint;
use yubiotp::keyfile::{self, Entry, KeyFile, Secret};
use yubiotp::seal::StoreKey;
use yubiotp::{Credential, PublicId};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Yubico's traditional or Yubico-format log, a YK-KSM key file, or what `ykmap key export` or `key export` wrote; -
    /// for standard input
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// Read and check everything, and write nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    let text = files::named(&args.file, Some("AES keys"))?;
    let file = read(&args.file, &text)?;
    drop(text);
    take(context, &args.file, file, args.dry_run)
}

/// The whole of a key file.
pub(crate) fn read(path: &Path, text: &[u8]) -> Result<KeyFile, Failure> {
    keyfile::read(text).map_err(|problems| files::refuse(path, problems.iter().map(ToString::to_string)))
}

/// Takes in all keys of a file, or none.
pub(crate) fn take(context: &Context, path: &Path, mut file: KeyFile, dry_run: bool) -> Done {
    wait(async {
        let Opened { store, key, .. } = context.open().await?;
        let entries = std::mem::take(&mut file.entries);
        let count = entries.len();
        let bar = bar(count);
        let there = Stored::of(&store, &entries).await?;
        let (keys, problems) = check(entries, &key, &there, &bar)?;
        if !problems.is_empty() {
            bar.finish_and_clear();
            return Err(files::refuse(path, problems.into_iter()));
        }
        let disabled: Vec<_> =
            keys.iter().filter(|key| there.is_disabled(&key.id)).map(|key| key.id).collect();
        bar.set_message("writing");
        bar.enable_steady_tick(Duration::from_millis(100));
        let enrolled = if dry_run { there.foreseen(&keys) } else { store.enrol(keys).await? };
        bar.finish_and_clear();
        store.close().await;
        say(context, path, &file, (enrolled, dry_run), &disabled);
        Ok(())
    })
}

/// Drawn on standard error, and only if that is a terminal.
fn bar(count: usize) -> ProgressBar {
    let bar = ProgressBar::new(count as u64);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {percent:>3} % {msg}") {
        bar.set_style(style);
    }
    bar
}

/// What the store has of the tokens that are to come: the fingerprint of the key, and whether they are switched off.
struct Stored(HashMap<PublicId, (Option<Fingerprint>, bool)>);

impl Stored {
    async fn of(store: &Store, entries: &[Entry]) -> Result<Self, Failure> {
        let mut known = HashMap::new();
        let ids: HashMap<_, ()> = entries.iter().map(|entry| (entry.public_id, ())).collect();
        let mut note = |token: ykval::store::Token| {
            known.insert(token.id, (token.key.map(|(fingerprint, _)| fingerprint), token.enabled));
        };
        if entries.len() <= PAGE {
            for entry in entries {
                store.token(&entry.public_id).await?.map(&mut note);
            }
        } else {
            let mut pages = Pages::of(store);
            loop {
                let page = pages.next().await?;
                if page.is_empty() {
                    break;
                }
                page.into_iter().filter(|token| ids.contains_key(&token.id)).for_each(&mut note);
            }
        }
        Ok(Self(known))
    }

    fn is_disabled(&self, id: &PublicId) -> bool {
        self.0.get(id).is_some_and(|(_, enabled)| !enabled)
    }

    /// What enrolling would come to.
    fn foreseen(&self, keys: &[Enrolment]) -> Enrolled {
        let mut enrolled = Enrolled::default();
        for key in keys {
            let of = match self.0.get(&key.id) {
                None => &mut enrolled.added,
                Some((Some(_), _)) => &mut enrolled.unchanged,
                Some((None, _)) => &mut enrolled.changed,
            };
            *of = of.saturating_add(1);
        }
        enrolled
    }
}

fn check(
    entries: Vec<Entry>,
    key: &StoreKey,
    there: &Stored,
    bar: &ProgressBar,
) -> Result<(Vec<Enrolment>, Vec<String>), Failure> {
    let mut keys = Vec::with_capacity(entries.len());
    let mut problems = Vec::new();
    for Entry { line, public_id: id, secret } in entries {
        bar.inc(1);
        let credential = match opened(key, &id, secret) {
            Ok(credential) => credential,
            Err(why) => {
                problems.push(format!("line {line}: {why}"));
                continue;
            }
        };
        let fingerprint = credential.fingerprint(&id);
        if let Some((Some(other), _)) = there.0.get(&id)
            && *other != fingerprint
        {
            problems.push(format!(
                "line {line}: token {id} is in the store with another key: if it was programmed anew, first remove the old \
                 one (ykvald key remove {id})"
            ));
            continue;
        }
        let sealed = key.seal(&credential, &id, random::bytes()?);
        keys.push(Enrolment { id, fingerprint, sealed });
    }
    Ok((keys, problems))
}

fn opened(key: &StoreKey, id: &PublicId, secret: Secret) -> Result<Credential, String> {
    match secret {
        Secret::Plain(credential) => Ok(credential),
        Secret::Sealed { under, .. } if under != key.id() => {
            Err(format!("sealed under store key {under}, and this server's is {}", key.id()))
        }
        Secret::Sealed { sealed, .. } => {
            key.open(&sealed, id).map_err(|_| "does not open under the store key it names".to_owned())
        }
    }
}

fn say(
    context: &Context,
    path: &Path,
    file: &KeyFile,
    (enrolled, dry_run): (Enrolled, bool),
    disabled: &[PublicId],
) {
    if context.json {
        let passed_over =
            file.passed_over.iter().map(|(line, why)| json!({ "line": line, "why": why.to_string() }));
        out::json(&json!({
            "format": file.format.to_string(),
            "dry_run": dry_run,
            "added": enrolled.added,
            "changed": enrolled.changed,
            "unchanged": enrolled.unchanged,
            "disabled": disabled.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "passed_over": passed_over.collect::<Vec<_>>(),
        }));
        return;
    }
    let name = path.display();
    for (line, why) in file.passed_over.iter().take(files::SHOWN) {
        out::note(&format!("{name}: line {line}: passed over: {why}"));
    }
    if let Some(more) = file.passed_over.len().checked_sub(files::SHOWN).filter(|more| *more > 0) {
        out::note(&format!("{name}: {} more passed over", out::count(more, "line")));
    }
    let did = if dry_run { "would import" } else { "imported" };
    let new = enrolled.added.saturating_add(enrolled.changed);
    out::line(&format!("{did} {} ({})", out::count(new, "key"), file.format));
    for (count, what) in [
        (enrolled.unchanged, "in the store already"),
        (enrolled.changed, "of tokens that were known: going on from where these are"),
    ] {
        if count > 0 {
            out::line(&format!("{} {what}", out::count(count, "key")));
        }
    }
    for id in disabled.iter().take(files::SHOWN) {
        out::note(&format!("token {id} is disabled, as it was ({} key enable {id})", context.ykvald()));
    }
    if let Some(more) = disabled.len().checked_sub(files::SHOWN).filter(|more| *more > 0) {
        out::note(&format!("{} more disabled, as they were (ykvald key list)", out::count(more, "token")));
    }
}
