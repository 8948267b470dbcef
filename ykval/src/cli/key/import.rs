//! `ykvald key import`, and `ykvald import ykksm`, which is the same for one kind of file.

use super::Pages;
use crate::cli::{Context, Done, Failure, Opened, evidence, files, out, wait};
use clap::ValueHint;
use serde_json::json;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;
use ykcli::import::{self, ProgressBar};
use ykval::random;
use ykval::store::{Distinct, Enrolled, Enrolment, History, ImportedPosition, SameKey, Store};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program};
use yubiotp::key::Fingerprint;
use yubiotp::keyfile::{self, Entry, Format, KeyFile, Secret};
use yubiotp::seal::StoreKeys;
use yubiotp::{Credential, Position, PublicId};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Yubico's traditional or Yubico-format log, a YK-KSM key file, or the output of `ykmap key export --in-the-clear` or
    /// `key export`; - for standard input
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// State that no OTP of these keys was ever used: their tokens do not begin as restored
    #[arg(long)]
    never_used: bool,
    /// State that these keys were used on a host or another server: their tokens begin as restored
    ///
    /// This is the default for the output of `key export`. Keys in other files count as never used.
    #[arg(long, conflicts_with = "never_used")]
    used: bool,
    /// Positions where the tokens were used, as printed by `ykmap key list --json` on a host or `ykvald key list --json` on
    /// a server; repeat it for each. These tokens do not begin as restored
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "never_used")]
    positions: Vec<PathBuf>,
    /// Read and check everything, and write nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    let text = files::named(&args.file, Some("AES keys"))?;
    let file = read(context, &args.file, &text)?;
    drop(text);
    let past = if args.never_used {
        Past::NeverUsed
    } else if args.used || !args.positions.is_empty() || file.format == Format::Export {
        Past::Used(known_positions(&args.positions)?)
    } else {
        Past::New
    };
    take(context, &args.file, file, args.dry_run, &past)
}

/// What the administrator says of the OTPs of the keys in a file.
pub(crate) enum Past {
    /// None was ever used.
    NeverUsed,
    /// Nothing: the keys count as new.
    New,
    /// They were used elsewhere. Of these tokens the position there is known.
    Used(HashMap<PublicId, Position>),
    /// Nothing: a command of its own imports their positions.
    ImportedApart,
}

/// The positions in lists of hosts and servers. The highest position there is stands for one that is not known: after
/// `ykmap key import --used`.
fn known_positions(lists: &[PathBuf]) -> Result<HashMap<PublicId, Position>, Failure> {
    let (evidence, unknown) = evidence::positions_in(lists)?;
    let is_proved =
        |(id, position): &(PublicId, Position)| *position != Position::LAST && !unknown.contains(id);
    Ok(evidence.positions(None).filter(is_proved).collect())
}

impl Past {
    const fn history(&self) -> History {
        match self {
            Self::NeverUsed => History::NeverUsed,
            // Where the position is known, until it is stored.
            Self::Used(_) => History::UsedElsewhere,
            Self::New | Self::ImportedApart => History::Unknown,
        }
    }

    fn position(&self, id: &PublicId) -> Option<Position> {
        match self {
            Self::Used(known) => known.get(id).copied(),
            Self::NeverUsed | Self::New | Self::ImportedApart => None,
        }
    }
}

/// The whole of a key file.
pub(crate) fn read(context: &Context, path: &Path, text: &[u8]) -> Result<KeyFile, Failure> {
    let name = path.as_os_str().as_encoded_bytes();
    keyfile::read(text).map_err(|problems| {
        files::refuse(context, path, problems.iter().map(|problem| problem.diagnostic(name)))
    })
}

/// Takes in all keys of a file, or none.
pub(crate) fn take(context: &Context, path: &Path, mut file: KeyFile, dry_run: bool, past: &Past) -> Done {
    wait(async {
        let Opened { store, key, .. } = context.open().await?;
        let entries = std::mem::take(&mut file.entries);
        let bar = import::bar(entries.len());
        let mut distinct = Distinct::under(&key);
        let mut problems = Vec::new();
        let coming = open_all(entries, &key, &mut distinct, &mut problems, &bar);
        let there = Stored::of(&store, &coming, &mut distinct, &mut problems).await?;
        let keys = seal_all(coming, (&key, past), &there, &mut problems)?;
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
        let known: Vec<_> = keys.iter().filter_map(|key| Some((key.id, past.position(&key.id)?))).collect();
        let is_restored = store.restored_since().await?.is_some();
        let restored = there.restored(&keys, is_restored, &known);
        let left_behind = there.left_behind(&keys, &known);
        bar.set_message("writing");
        bar.enable_steady_tick(Duration::from_millis(100));
        let enrolled = if dry_run {
            there.foreseen(&keys)
        } else {
            let enrolled = store.enrol(keys, distinct).await?;
            advance(&store, &known, is_restored).await?;
            enrolled
        };
        bar.finish_and_clear();
        store.close().await;
        say(context, path, &file, (enrolled, dry_run, restored), &disabled);
        if !context.json {
            for id in left_behind.iter().take(files::SHOWN) {
                context.note(&still_here(id));
            }
            note_the_past(context, past, (enrolled, restored, is_restored));
        }
        Ok(())
    })
}

/// Stores the positions from elsewhere. Then the tokens that are restored only because they were used there no longer are;
/// if it is interrupted before, they have to prove their positions.
async fn advance(store: &Store, known: &[(PublicId, Position)], is_restored: bool) -> Result<(), Failure> {
    if known.is_empty() {
        return Ok(());
    }
    let positions = known.iter().map(|(id, position)| ImportedPosition {
        id: *id,
        position: Some(*position),
        nonce: String::new(),
        enabled: true,
        modified: None,
    });
    store.raise(positions.collect()).await?;
    for (id, _) in known {
        // In a store that is restored, other OTPs may have been used here.
        if !is_restored && store.token(id).await?.is_some_and(|token| token.restored == Some(0)) {
            store.prove(id).await?;
        }
    }
    Ok(())
}

/// A key that is in the store already, although it was used elsewhere.
fn still_here(id: &PublicId) -> Diagnostic {
    let what = format!(
        "token {id} is in the store already and stays as it is: OTPs of it that were used only elsewhere are valid here"
    );
    Diagnostic::warning(Code::KeyExists, what)
        .run_when("unless all of them were used here", Program::Ykvald, format!("key remove {id}"))
        .run_when("then", Program::Ykvald, "key import --used FILE")
}

/// What to do about keys whose OTPs may have been used before.
fn note_the_past(context: &Context, past: &Past, (enrolled, restored, is_restored): (Enrolled, u64, bool)) {
    if restored > 0 {
        let are = if restored == 1 { "is" } else { "are" };
        let mut found = Diagnostic::note(
            Code::TokensRestored,
            format!(
                "{} {are} restored, because the server does not know which OTPs were used: the first touch of each is \
                 rejected, and the log says when the second has to come (RESTORED TOKENS in ykvald(8))",
                out::count(restored, "imported token")
            ),
        );
        if !is_restored {
            found = found.run_when(
                "if you have the output of `key list --json` from where they were used",
                Program::Ykvald,
                "key import --positions LIST FILE",
            );
        }
        context.note(&found);
    } else if matches!(past, Past::New) && enrolled.added > 0 {
        out::note(
            "If a token was used before, on a host or at another server, its used OTPs are valid here: remove its key, and \
             import it again with --used.",
        );
    }
}

/// A key of the file, with its line.
struct Coming {
    line: usize,
    id: PublicId,
    credential: Credential,
}

/// Lines that cannot be imported, and why.
type Problems = Vec<(usize, Diagnostic)>;

/// What the store has of one token.
struct StoredToken {
    key: Option<Fingerprint>,
    enabled: bool,
    restored: bool,
}

/// What the store has of the tokens in the file.
struct Stored(HashMap<PublicId, StoredToken>);

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
                    let key = token.key.map(|(fingerprint, _)| fingerprint);
                    let (enabled, restored) = (token.enabled, token.restored.is_some());
                    known.insert(token.id, StoredToken { key, enabled, restored });
                }
            }
        }
        distinct.were_here(&store.retired().await?).iter().for_each(&mut refuse);
        Ok(Self(known))
    }

    fn is_disabled(&self, id: &PublicId) -> bool {
        self.0.get(id).is_some_and(|token| !token.enabled)
    }

    fn has_key(&self, id: &PublicId) -> bool {
        self.0.get(id).is_some_and(|token| token.key.is_some())
    }

    /// The tokens that were used elsewhere, and that an import leaves as they are: without their position from there.
    fn left_behind(&self, keys: &[Enrolment], known: &[(PublicId, Position)]) -> Vec<PublicId> {
        let is_left = |key: &&Enrolment| {
            key.history == History::UsedElsewhere
                && self.0.get(&key.id).is_some_and(|token| token.key.is_some() && !token.restored)
                && !known.iter().any(|(id, _)| *id == key.id)
        };
        keys.iter().filter(is_left).map(|key| key.id).collect()
    }

    /// How many of these tokens will be new and restored.
    fn restored(&self, keys: &[Enrolment], is_restored: bool, known: &[(PublicId, Position)]) -> u64 {
        let is_new = |key: &&Enrolment| !self.has_key(&key.id);
        let known: HashSet<_> = known.iter().map(|(id, _)| *id).collect();
        let is = |key: &&Enrolment| match key.history {
            History::NeverUsed => false,
            History::Unknown => is_restored,
            History::UsedElsewhere => is_restored || !known.contains(&key.id),
        };
        u64::try_from(keys.iter().filter(is_new).filter(is).count()).unwrap_or(u64::MAX)
    }

    /// What enrolling would come to.
    fn foreseen(&self, keys: &[Enrolment]) -> Enrolled {
        let mut enrolled = Enrolled::default();
        for key in keys {
            let of = match self.0.get(&key.id) {
                None => &mut enrolled.added,
                Some(StoredToken { key: Some(_), .. }) => &mut enrolled.unchanged,
                Some(StoredToken { key: None, .. }) => &mut enrolled.changed,
            };
            *of = of.saturating_add(1);
        }
        enrolled
    }
}

/// The keys of the file, no two of them the same.
fn open_all(
    entries: Vec<Entry>,
    key: &StoreKeys,
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
    (key, past): (&StoreKeys, &Past),
    there: &Stored,
    problems: &mut Problems,
) -> Result<Vec<Enrolment>, Failure> {
    let mut keys = Vec::with_capacity(coming.len());
    for Coming { line, id, credential } in coming {
        let fingerprint = credential.fingerprint(&id);
        if let Some(StoredToken { key: Some(other), .. }) = there.0.get(&id)
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
        keys.push(Enrolment { id, fingerprint, sealed, history: past.history() });
    }
    Ok(keys)
}

fn opened(key: &StoreKeys, id: &PublicId, secret: Secret) -> Result<Credential, Diagnostic> {
    match secret {
        Secret::Plain(credential) => Ok(credential),
        Secret::Sealed { under, .. } if !key.ids().has(under) => {
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
    (enrolled, dry_run, restored): (Enrolled, bool, u64),
    disabled: &[PublicId],
) {
    if context.json {
        out::json(&json!({
            "format": file.format.to_string(),
            "dry_run": dry_run,
            "added": enrolled.added,
            "changed": enrolled.changed,
            "unchanged": enrolled.unchanged,
            "restored": restored,
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
