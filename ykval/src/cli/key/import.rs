//! `ykvald key import`, and `ykvald import ykksm`, which is the same for one kind of file.

use super::Pages;
use crate::cli::{Context, Done, Failure, Opened, files, out, wait};
use clap::ValueHint;
use serde_json::json;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use ykcli::import::{self, ProgressBar};
use ykval::random;
use ykval::store::{Distinct, Enrolled, Enrolment, SameKey, Store};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program};
use yubiotp::key::Fingerprint;
use yubiotp::keyfile::{self, Entry, KeyFile, Secret};
use yubiotp::seal::StoreKey;
use yubiotp::{Credential, PublicId};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Yubico's traditional or Yubico-format log, a YK-KSM key file, or the output of `ykmap key export --in-the-clear` or
    /// `key export`; - for standard input
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// State that no OTP of these keys was ever used, so that they are accepted at once although the store was lost or
    /// restored
    #[arg(long)]
    never_used: bool,
    /// Read and check everything, and write nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    let text = files::named(&args.file, Some("AES keys"))?;
    let file = read(context, &args.file, &text)?;
    drop(text);
    take(context, &args.file, file, (args.dry_run, args.never_used))
}

/// The whole of a key file.
pub(crate) fn read(context: &Context, path: &Path, text: &[u8]) -> Result<KeyFile, Failure> {
    let name = path.as_os_str().as_encoded_bytes();
    keyfile::read(text).map_err(|problems| {
        files::refuse(context, path, problems.iter().map(|problem| problem.diagnostic(name)))
    })
}

/// Takes in all keys of a file, or none.
pub(crate) fn take(
    context: &Context,
    path: &Path,
    mut file: KeyFile,
    (dry_run, never_used): (bool, bool),
) -> Done {
    wait(async {
        let Opened { store, key, .. } = context.open().await?;
        let entries = std::mem::take(&mut file.entries);
        let bar = import::bar(entries.len());
        let mut distinct = Distinct::under(&key);
        let mut problems = Vec::new();
        let coming = open_all(entries, &key, &mut distinct, &mut problems, &bar);
        let there = Stored::of(&store, &coming, &mut distinct, &mut problems).await?;
        let keys = seal_all(coming, (&key, never_used), &there, &mut problems)?;
        if !problems.is_empty() {
            bar.finish_and_clear();
            problems.sort_by_key(|problem| problem.0);
            let name = path.as_os_str().as_encoded_bytes();
            let problems: Vec<_> =
                problems.into_iter().map(|(line, found)| found.at(Location::line(name, line))).collect();
            return Err(files::refuse(context, path, problems.into_iter()));
        }
        let disabled: Vec<_> =
            keys.iter().filter(|key| there.is_disabled(&key.id)).map(|key| key.id).collect();
        bar.set_message("writing");
        bar.enable_steady_tick(Duration::from_millis(100));
        let enrolled = if dry_run { there.foreseen(&keys) } else { store.enrol(keys, distinct).await? };
        let is_restored = !never_used && store.restored_since().await?.is_some();
        bar.finish_and_clear();
        store.close().await;
        say(context, path, &file, (enrolled, dry_run), &disabled);
        let new = enrolled.added.saturating_add(enrolled.changed);
        if is_restored && new > 0 && !context.json {
            context.note(&Diagnostic::note(
                Code::TokensRestored,
                "the imported tokens are restored: the first touch of each is rejected, and the log says when the second has \
                 to come (RESTORED TOKENS in ykvald(8))",
            ));
        }
        Ok(())
    })
}

/// A key of the file, with its line.
struct Coming {
    line: usize,
    id: PublicId,
    credential: Credential,
}

/// Lines that cannot be imported, and why.
type Problems = Vec<(usize, Diagnostic)>;

/// What the store has of the tokens in the file: the fingerprint of the key, and whether they are enabled.
struct Stored(HashMap<PublicId, (Option<Fingerprint>, bool)>);

impl Stored {
    /// Reads the whole store: each key that it has or had is compared with those that are to come.
    async fn of(
        store: &Store,
        coming: &[Coming],
        distinct: &mut Distinct,
        problems: &mut Problems,
    ) -> Result<Self, Failure> {
        let lines: HashMap<_, _> = coming.iter().map(|it| (it.id, it.line)).collect();
        let mut refuse = |same: &SameKey| {
            let line = lines.get(&same.token()).copied().unwrap_or_default();
            problems.push((line, same.diagnostic()));
        };
        let mut known = HashMap::new();
        let mut pages = Pages::of(store);
        loop {
            let page = pages.next().await?;
            if page.is_empty() {
                break;
            }
            for token in page {
                if let Err(same) = distinct.is_here(&token) {
                    refuse(&same);
                }
                if lines.contains_key(&token.id) {
                    known.insert(token.id, (token.key.map(|(fingerprint, _)| fingerprint), token.enabled));
                }
            }
        }
        distinct.were_here(&store.retired().await?).iter().for_each(&mut refuse);
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

/// The keys of the file, no two of them the same.
fn open_all(
    entries: Vec<Entry>,
    key: &StoreKey,
    distinct: &mut Distinct,
    problems: &mut Problems,
    bar: &ProgressBar,
) -> Vec<Coming> {
    // Room for all at once: a vector that grows leaves copies of the secrets behind.
    let mut coming = Vec::with_capacity(entries.len());
    for Entry { line, public_id: id, secret } in entries {
        bar.inc(1);
        match opened(key, &id, secret) {
            Ok(credential) => {
                if let Err(same) = distinct.comes(id, &credential) {
                    let problem = format!("{same}; both are in this file");
                    problems.push((
                        line,
                        Diagnostic::error(Code::KeyOfOtherToken, problem)
                            .advise("keep only the line of the public ID that the YubiKey types"),
                    ));
                }
                coming.push(Coming { line, id, credential });
            }
            Err(why) => problems.push((line, why)),
        }
    }
    coming
}

fn seal_all(
    coming: Vec<Coming>,
    (key, never_used): (&StoreKey, bool),
    there: &Stored,
    problems: &mut Problems,
) -> Result<Vec<Enrolment>, Failure> {
    let mut keys = Vec::with_capacity(coming.len());
    for Coming { line, id, credential } in coming {
        let fingerprint = credential.fingerprint(&id);
        if let Some((Some(other), _)) = there.0.get(&id)
            && *other != fingerprint
        {
            problems.push((
                line,
                Diagnostic::error(Code::TokenHasOtherKey, format!("the store has another key of token {id}"))
                    .run_when(
                        "if it was programmed anew, remove the old key first",
                        Program::Ykvald,
                        format!("key remove {id}"),
                    ),
            ));
            continue;
        }
        let sealed = key.seal(&credential, &id, random::bytes()?);
        keys.push(Enrolment { id, fingerprint, sealed, never_used });
    }
    Ok(keys)
}

fn opened(key: &StoreKey, id: &PublicId, secret: Secret) -> Result<Credential, Diagnostic> {
    match secret {
        Secret::Plain(credential) => Ok(credential),
        Secret::Sealed { under, .. } if under != key.id() => {
            let problem =
                format!("is sealed under store key {under}, and this server has store key {}", key.id());
            Err(Diagnostic::error(Code::KeySealedElsewhere, problem)
                .run_when(
                    "if the file is from a host, export it there",
                    Program::Ykmap,
                    "key export --in-the-clear",
                )
                .run_when("if it is from another server", Program::Ykvald, "key export --in-the-clear"))
        }
        Secret::Sealed { sealed, .. } => {
            let broken = "does not open under the store key that it names: the line is damaged";
            key.open(&sealed, id).map_err(|_| Diagnostic::error(Code::KeySealBroken, broken))
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
        out::json(&json!({
            "format": file.format.to_string(),
            "dry_run": dry_run,
            "added": enrolled.added,
            "changed": enrolled.changed,
            "unchanged": enrolled.unchanged,
            "disabled": disabled.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "passed_over": import::passed_over(file),
        }));
        return;
    }
    import::note_passed_over(path, file);
    let new = enrolled.added.saturating_add(enrolled.changed);
    let others = [
        (enrolled.unchanged, "in the store already"),
        (enrolled.changed, "of known tokens, which keep their positions"),
    ];
    import::say(file, dry_run, new, &others);
    for id in disabled.iter().take(files::SHOWN) {
        context.note(
            &Diagnostic::note(Code::TokenDisabled, format!("token {id} is still disabled"))
                .run(Program::Ykvald, format!("key enable {id}")),
        );
    }
    if let Some(more) = disabled.len().checked_sub(files::SHOWN).filter(|more| *more > 0) {
        out::note(&format!("{} more still disabled (ykvald key list)", out::count(more, "token")));
    }
}
