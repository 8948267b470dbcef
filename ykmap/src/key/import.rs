//! `ykmap key import`

use crate::init::LOST;
use crate::{Context, Done, Failure, out};
use clap::ValueHint;
use serde_json::json;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use ykcli::import::{self, ProgressBar};
use ykcli::input::{self, Named, SHOWN};
use ykhost::Fault;
use ykhost::store::{Change, Enrolled, STEPS, Store, TokenKey};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program, shell_word};
use yubiotp::key::Holders;
use yubiotp::keyfile::{self, Entry, Format, KeyFile, Secret};
use yubiotp::{Credential, Position, PublicId, TokenId};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Yubico's traditional or Yubico-format log, a YK-KSM key file, or the output of `ykmap key export`; - for
    /// standard input
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// Read and check everything, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// The tokens were used elsewhere, or here before the store was lost: accept none of their OTPs until `ykmap token resync`
    ///
    /// Tokens whose position is still known here continue from it.
    #[arg(long)]
    used: bool,
    /// No OTP of these tokens was ever used on this host, although its store was lost
    #[arg(long, conflicts_with = "used")]
    never_used: bool,
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    let name = args.file.as_os_str().as_bytes();
    let Named { text, is_open } = input::named(&args.file)?;
    let mut file = keyfile::read(&text)
        .map_err(|problems| refuse(context, args, problems.iter().map(|it| it.diagnostic(name))))?;
    if is_open {
        input::note_open(&args.file, "AES keys");
    }
    let store = context.store()?;
    let change = store.change()?;
    let entries = std::mem::take(&mut file.entries);
    // A step a token for checking, the others for writing.
    let bar = import::bar(entries.len() * (STEPS + 1));
    let checked = check(&store, &change, name, entries, args.used, &bar);
    if !checked.problems.is_empty() {
        bar.finish_and_clear();
        return Err(refuse(context, args, checked.problems.into_iter()));
    }
    if checked.added > 0 && !args.used && !args.never_used && context.settings()?.store.join(LOST).exists() {
        bar.finish_and_clear();
        return Err(was_lost().into());
    }
    if !args.dry_run && !checked.new.is_empty() {
        match args.used {
            true => change.enrol_used(&checked.new, &|| bar.inc(1))?,
            false => change.enrol(&checked.new, &|| bar.inc(1))?,
        }
    }
    bar.finish_and_clear();
    say(context, args, &file, &checked, &store);
    Ok(())
}

fn was_lost() -> Diagnostic {
    Diagnostic::error(
        Code::StoreLost,
        "this host may have had a store that was lost, so nobody knows which OTPs were used: nothing was imported",
    )
    .run_when("if the tokens were used on this host", Program::Ykmap, "key import --used FILE")
    .run_when(
        "if no OTP of them ever was, as on a new host",
        Program::Ykmap,
        "key import --never-used FILE",
    )
}

#[derive(Default)]
struct Checked {
    /// The keys to write.
    new: Vec<TokenKey>,
    /// Of these, tokens of which nothing is known here.
    added: usize,
    unchanged: usize,
    returned: usize,
    mended: usize,
    problems: Vec<Diagnostic>,
    /// Those of the new ones that two touches have to show: it is not known how far they came.
    to_resync: Vec<TokenId>,
}

fn check(
    store: &Store,
    change: &Change<'_>,
    name: &[u8],
    entries: Vec<Entry>,
    used: bool,
    bar: &ProgressBar,
) -> Checked {
    let mut checked = Checked { new: Vec::with_capacity(entries.len()), ..Checked::default() };
    let mut holders = Holders::default();
    for Entry { line, public_id, secret } in entries {
        let found = credential(store, &public_id, secret).and_then(|credential| {
            if let Some(holder) = holders.note(credential.aes_key.digest(), public_id) {
                let problem = format!("token {public_id} has the same AES key as token {holder} in this file: an OTP used as one would be accepted again as the other");
                return Err(Diagnostic::error(Code::KeyOfOtherToken, problem)
                    .advise("keep only the line of the public ID that the YubiKey types"));
            }
            let key = TokenKey::YubiKey(public_id, credential);
            let enrolled = change.would_enrol(&key).map_err(|error| in_line(&error.diagnostic()))?;
            Ok((key, enrolled))
        });
        bar.inc(1);
        let (key, enrolled) = match found {
            Ok(found) => found,
            Err(why) => {
                checked.problems.push(why.at(Location::line(name, line)));
                continue;
            }
        };
        let position = || store.slots(&key.id()).ok().flatten().and_then(|slots| slots.state.position);
        match enrolled {
            Enrolled::Added if used => checked.to_resync.push(key.id()),
            // Imported before without --used.
            Enrolled::Unchanged if used && position().is_none() => checked.to_resync.push(key.id()),
            Enrolled::Unchanged => {
                checked.unchanged += 1;
                continue;
            }
            Enrolled::Added => checked.added += 1,
            Enrolled::Returned => checked.returned += 1,
            Enrolled::Mended => checked.mended += 1,
        }
        checked.new.push(key);
    }
    checked
}

/// A finding about a token or a file of the store, as what is wrong with the line of the key file that led to it.
fn in_line(found: &Diagnostic) -> Diagnostic {
    Diagnostic { problem: found.problem(), location: None, ..found.clone() }
}

fn credential(store: &Store, id: &PublicId, secret: Secret) -> Result<Credential, Diagnostic> {
    match secret {
        Secret::Plain(credential) => Ok(credential),
        Secret::Sealed { under, sealed } => {
            let key = store.store_key().map_err(|fault: Fault| in_line(&fault.diagnostic()))?;
            let Some(key) = key.with_id(under) else {
                let problem =
                    format!("is sealed under store key {under}, and this host has store key {}", key.id());
                return Err(Diagnostic::error(Code::KeySealedElsewhere, problem).run_when(
                    "on the host that the file is from",
                    Program::Ykmap,
                    "key export --in-the-clear",
                ));
            };
            key.open(&sealed, id).map_err(|_| {
                Diagnostic::error(Code::KeySealBroken, "does not open under the store key that it names")
            })
        }
    }
}

fn refuse(context: &Context, args: &Args, problems: impl ExactSizeIterator<Item = Diagnostic>) -> Failure {
    let problems = problems.map(|found| context.line(&found));
    input::refuse(&args.file, problems).into()
}

fn say(context: &Context, args: &Args, file: &KeyFile, checked: &Checked, store: &Store) {
    let is_disabled =
        |id: &TokenId| store.slots(id).is_ok_and(|slots| slots.is_some_and(|slots| !slots.state.enabled));
    let servers_word = |id: &TokenId| {
        let slots = store.slots(id).ok().flatten();
        slots.is_some_and(|slots| store.is_servers_word(&slots.state).unwrap_or_default())
    };
    let is_lost = |id: &TokenId| {
        let slots = store.slots(id).ok().flatten();
        slots.is_some_and(|slots| slots.state.position == Some(Position::LAST))
            && !checked.to_resync.contains(id)
    };
    let (lost, known): (Vec<_>, Vec<_>) = checked.new.iter().map(TokenKey::id).partition(is_lost);
    let lost: Vec<_> = lost.into_iter().map(|id| id.to_string()).collect();
    let named: Vec<_> = known.into_iter().filter(servers_word).map(|id| id.to_string()).collect();
    let disabled: Vec<_> =
        checked.new.iter().map(TokenKey::id).filter(is_disabled).map(|id| id.to_string()).collect();
    if context.json {
        out::json(&json!({
            "format": file.format.to_string(),
            "dry_run": args.dry_run,
            "imported": checked.new.iter().map(|key| key.id().to_string()).collect::<Vec<_>>(),
            "unchanged": checked.unchanged,
            "returned": checked.returned,
            "mended": checked.mended,
            "disabled": disabled,
            "to_resync": checked.to_resync.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "named_by_servers": named,
            "lost": lost,
            "passed_over": import::passed_over(file),
        }));
        return;
    }
    import::note_passed_over(&args.file, file);
    let others = [
        (checked.unchanged, "in the store already"),
        (checked.returned, "used here before: going on from there"),
        (checked.mended, "that could not be opened: written anew"),
    ];
    import::say(file, args.dry_run, checked.new.len(), &others);
    if file.format == Format::Export && checked.added > 0 && !args.never_used {
        out::note(&format!(
            "An export has no positions: an OTP that was used elsewhere is accepted here, once. If these tokens were used: {} \
             key import --used {}",
            context.ykmap(),
            shell_word(args.file.as_os_str().as_bytes())
        ));
    }
    for id in lost.iter().take(SHOWN) {
        out::note(&format!(
            "token {id}: its position was lost or damaged, so its OTPs are rejected until two touches show how far it has come: {} token resync {id}",
            context.ykmap()
        ));
    }
    for id in named.iter().take(SHOWN) {
        out::note(&format!(
            "token {id} goes on from where a validation server said it is; if its OTPs are rejected as below that: {} token resync {id}",
            context.ykmap()
        ));
    }
    for id in checked.to_resync.iter().take(SHOWN) {
        out::note(&format!(
            "token {id}: no OTP is accepted yet. Next: {} token resync {id}",
            context.ykmap()
        ));
    }
    if let Some(more) = checked.to_resync.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        out::note(&format!("and {} more like that", out::count(more, "token")));
    }
    for id in disabled {
        out::note(&format!(
            "token {id} is disabled, as it was, or its position was damaged ({} key enable {id})",
            context.ykmap()
        ));
    }
}
