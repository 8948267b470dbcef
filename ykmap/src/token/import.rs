//! `ykmap token import`

use super::parse_series;
use crate::init::LOST;
use crate::{Context, Done, Failure, codes, files, out, totp};
use clap::{ValueEnum, ValueHint};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use ykcli::import::{self, ProgressBar};
use ykcli::input::{self, Named, SHOWN};
use ykcli::time;
use ykhost::clock;
use ykhost::store::{Change, Enrolled, OathNotes, STEPS, State, Store, TokenKey};
use ykseeds::{Encoding, HashRule, Options, Password, Seeds, TokenSecret, TokenType, Wanted};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program};
use yubiotp::key::OathKey;
use yubiotp::oath::window::{Progress, never_used};
use yubiotp::oath::{Algorithm, Digits, Kind, Period};
use yubiotp::{Position, Series, TokenId, shown};
use zeroize::Zeroizing;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The file; - for standard input
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// The file to read in a zip that holds several
    #[arg(long, value_name = "NAME")]
    member: Option<String>,
    /// How the secrets are written, where that is not clear
    #[arg(long, value_enum, value_name = "HOW")]
    secret: Option<Writing>,
    /// What the tokens count, where the file does not say it
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = Counts::Totp)]
    kind: Counts,
    /// Digits of a code, where the file does not say it
    #[arg(long, default_value = "6", value_name = "NUMBER", value_parser = totp::digits)]
    digits: Digits,
    /// Seconds that a code is shown, where the file does not say it
    #[arg(long, default_value = "30", value_name = "SECONDS", value_parser = totp::period)]
    period: Period,
    /// Hash function, where the file does not say it [default: sha1]
    #[arg(long, value_enum, value_name = "NAME")]
    hash: Option<Hash>,
    /// A file whose first line is the password
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "password_fd")]
    password_file: Option<PathBuf>,
    /// A file descriptor whose first line is the password
    #[arg(long, value_name = "N")]
    password_fd: Option<u32>,
    /// A file whose first line is the pre-shared key of a PSKC file, in hex
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    psk_file: Option<PathBuf>,
    /// A name for these tokens, to list and remove them together
    #[arg(long, value_name = "NAME", value_parser = parse_series)]
    series: Option<Series>,
    /// Read and check everything, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// The tokens were used elsewhere, or here before the store was lost: accept none of their codes that may be used
    ///
    /// TOTP: codes are accepted again after some minutes. HOTP: none is accepted until `ykmap token resync`. Tokens whose
    /// position is still known here continue from it.
    #[arg(long)]
    used: bool,
    /// No code of these tokens was ever used on this host, although its store was lost
    #[arg(long, conflicts_with = "used")]
    never_used: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Writing {
    Hex,
    Base32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Counts {
    Totp,
    Hotp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Hash {
    Sha1,
    Sha256,
    Sha512,
    /// By the length of each secret, as privacyIDEA and LinOTP write their CSV
    ByLength,
}

impl Args {
    fn options(&self) -> Options<'_> {
        Options {
            member: self.member.as_deref(),
            encoding: self.secret.map(|secret| match secret {
                Writing::Hex => Encoding::Hex,
                Writing::Base32 => Encoding::Base32,
            }),
            token_type: match self.kind {
                Counts::Totp => TokenType::Totp,
                Counts::Hotp => TokenType::Hotp,
            },
            digits: self.digits,
            period: self.period,
            hash: self.hash.map(|hash| match hash {
                Hash::Sha1 => HashRule::Is(Algorithm::Sha1),
                Hash::Sha256 => HashRule::Is(Algorithm::Sha256),
                Hash::Sha512 => HashRule::Is(Algorithm::Sha512),
                Hash::ByLength => HashRule::ByLength,
            }),
        }
    }

    /// The password or key that the file needs: from the file or descriptor that was named, else from the terminal.
    fn password(&self, wanted: &Wanted<'_>) -> Result<Option<Password>, Failure> {
        let named =
            |name: Option<&str>| name.map_or_else(String::new, |name| format!(" ({})", shown::text(name)));
        let (file, question) = match wanted {
            Wanted::Zip { member } => {
                (self.password_path(), format!("Password of the zip{}: ", named(Some(member))))
            }
            Wanted::PskcPassword { name } => {
                (self.password_path(), format!("Password of the PSKC file{}: ", named(*name)))
            }
            Wanted::PskcKey { name, bytes } => (
                self.psk_file.clone(),
                format!("Pre-shared key, {} hex digits{}: ", bytes.saturating_mul(2), named(*name)),
            ),
        };
        let typed = match file {
            Some(path) => Some(first_line(&path)?),
            None if std::io::stdin().is_terminal() => Some(typed(&question)?),
            None => None,
        };
        Ok(typed.map(Password::new))
    }

    fn password_path(&self) -> Option<PathBuf> {
        let descriptor = self.password_fd.map(|number| PathBuf::from(format!("/dev/fd/{number}")));
        self.password_file.clone().or(descriptor)
    }
}

/// What is typed at the terminal, which does not show it.
fn typed(question: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let line = files::answer(question, false)?;
    Ok(without_end(line.as_bytes()))
}

fn without_end(line: &[u8]) -> Zeroizing<Vec<u8>> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    Zeroizing::new(line.strip_suffix(b"\r").unwrap_or(line).to_vec())
}

/// The first line of a file, without its end.
fn first_line(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let Named { text, is_open } = input::named(path)?;
    if is_open {
        input::note_open(path, "a password");
    }
    Ok(without_end(text.split(|byte| *byte == b'\n').next().unwrap_or_default()))
}

pub(super) fn run(context: &Context, args: &Args) -> Done {
    let name = args.file.as_os_str().as_bytes();
    let Named { text, is_open } = input::named(&args.file)?;
    if is_open {
        input::note_open(&args.file, "secrets of tokens");
    }
    let mut failed = None;
    let seeds = ykseeds::read(&text, &args.options(), &mut |wanted| {
        args.password(&wanted).unwrap_or_else(|failure| {
            failed = Some(failure);
            None
        })
    });
    drop(text);
    if let Some(failure) = failed {
        return Err(failure);
    }
    let mut seeds = seeds.map_err(|problems| refuse(context, args, &problems.diagnostics(name)))?;
    let settings = context.settings()?;
    let store = Store::new(&settings);
    let change = store.change()?;
    let tokens = std::mem::take(&mut seeds.tokens);
    // A step a token for checking, the others for writing.
    let bar = import::bar(tokens.len().saturating_mul(STEPS.saturating_add(1)));
    let name = match &seeds.member {
        Some(member) => [name, b":", member.as_bytes()].concat(),
        None => name.to_vec(),
    };
    let unix = clock::unix();
    let importing = Importing { name, args, store: &store, change: &change, unix };
    let checked = importing.check(tokens, &bar);
    if !checked.problems.is_empty() {
        bar.finish_and_clear();
        return Err(refuse(context, args, &checked.problems));
    }
    if checked.added > 0 && !args.used && !args.never_used && settings.store.join(LOST).exists() {
        bar.finish_and_clear();
        return Err(was_lost().into());
    }
    let known = |key: &TokenKey| checked.begin.get(&key.id()).copied();
    if !args.dry_run && !checked.new.is_empty() {
        change.enrol_known(&checked.new, known, &|| bar.inc(1))?;
    }
    if !args.dry_run && !checked.raised.is_empty() {
        change.enrol_known(&checked.raised, known, &|| {})?;
    }
    bar.finish_and_clear();
    say(context, args, &seeds, &checked, &store);
    Ok(())
}

fn was_lost() -> Diagnostic {
    Diagnostic::error(
        Code::StoreLost,
        "this host may have had a store that was lost, so nobody knows which codes were used: nothing was imported",
    )
    .run_when("if the tokens were used on this host", Program::Ykmap, "token import --used FILE")
    .run_when("if no code of them ever was, as on a new host", Program::Ykmap, "token import --never-used FILE")
}

#[derive(Default)]
struct Checked {
    /// The keys to write.
    new: Vec<TokenKey>,
    /// Those that are here, with a higher position in the file.
    raised: Vec<TokenKey>,
    /// Where those begin that the file or `--used` says it of.
    begin: BTreeMap<TokenId, (Position, i32)>,
    /// Of these, tokens of which nothing is known here.
    added: usize,
    unchanged: usize,
    returned: usize,
    mended: usize,
    problems: Vec<Diagnostic>,
    /// Those that two successive codes have to show: it is not known how far they came.
    to_resync: Vec<TokenId>,
    /// When the codes of used TOTP tokens are accepted, in seconds since 1970.
    accepted_from: Option<u64>,
}

struct Importing<'i> {
    /// The file, and the one in the zip.
    name: Vec<u8>,
    args: &'i Args,
    store: &'i Store,
    change: &'i Change<'i>,
    unix: u64,
}

impl Importing<'_> {
    fn check(&self, tokens: Vec<TokenSecret>, bar: &ProgressBar) -> Checked {
        let mut checked = Checked { new: Vec::with_capacity(tokens.len()), ..Checked::default() };
        for token in tokens {
            let place = token.place.clone();
            if let Err(found) = self.check_one(token, &mut checked) {
                let name = self.name.as_slice();
                let at = place.line.map_or_else(|| Location::file(name), |line| Location::line(name, line));
                // The token is what is wrong with the line that led to it.
                let found = Diagnostic { problem: found.problem(), location: None, ..found };
                checked.problems.push(found.at(at));
            }
            bar.inc(1);
        }
        checked
    }

    fn check_one(&self, token: TokenSecret, checked: &mut Checked) -> Result<(), Diagnostic> {
        let TokenSecret { serial, secret, parameters, progress, .. } = token;
        codes::check_counter(progress)?;
        let serial = codes::serial(&serial).map_err(|why| Diagnostic::error(Code::InputInvalid, why))?;
        let notes = OathNotes { window: None, series: self.args.series };
        let mut key = TokenKey::Oath(serial, OathKey { secret, parameters }, notes);
        let id = key.id();
        let enrolled = self.change.would_enrol(&key).map_err(|error| error.diagnostic())?;
        let position = || self.store.slots(&id).ok().flatten().and_then(|slots| slots.state.position);
        let is_unused = match enrolled {
            Enrolled::Added => true,
            // Imported before without --used.
            Enrolled::Unchanged => {
                if let (Some(stored), TokenKey::Oath(.., notes)) = (is_the_same(self.store, &key)?, &mut key)
                {
                    *notes = stored;
                }
                self.args.used && position().is_none()
            }
            Enrolled::Returned | Enrolled::Mended => false,
        };
        match enrolled {
            Enrolled::Unchanged if !is_unused => {
                checked.unchanged = checked.unchanged.saturating_add(1);
                // It was used elsewhere meanwhile.
                if let Some(next) = progress.next.filter(|next| Some(*next) > position()) {
                    checked.begin.insert(id, (next, progress.drift));
                    checked.raised.push(key);
                }
                return Ok(());
            }
            Enrolled::Added | Enrolled::Unchanged => checked.added = checked.added.saturating_add(1),
            Enrolled::Returned => checked.returned = checked.returned.saturating_add(1),
            Enrolled::Mended => checked.mended = checked.mended.saturating_add(1),
        }
        if self.args.used && is_unused {
            match parameters.kind {
                Kind::Totp { period } => {
                    let next = never_used(period, self.unix);
                    let from = next.to_stored().saturating_mul(period.seconds());
                    checked.accepted_from = checked.accepted_from.max(Some(from));
                    checked.begin.insert(id, (next, progress.drift));
                }
                Kind::Hotp => {
                    checked.to_resync.push(id);
                    checked.begin.insert(id, (State::last(&id), 0));
                }
            }
        } else if progress != Progress::default() {
            let next = progress.next.unwrap_or(Position::from_stored(0));
            checked.begin.insert(id, (next, progress.drift));
        }
        checked.new.push(key);
        Ok(())
    }
}

/// What the store notes of a token that it has. Fails if it has the token with another hash function or number of digits.
pub(crate) fn is_the_same(store: &Store, coming: &TokenKey) -> Result<Option<OathNotes>, Diagnostic> {
    let id = coming.id();
    match (store.token_key(&id), coming) {
        (Ok(TokenKey::Oath(_, stored, _)), TokenKey::Oath(_, coming, _))
            if stored.parameters != coming.parameters =>
        {
            let stored = codes::words(stored.parameters);
            Err(Diagnostic::error(Code::TokenHasOtherKey, format!("is in the store as {stored}"))
                .at(Location::Token(id.to_string()))
                .run_when(
                    "if the file is right, remove it first",
                    Program::Ykmap,
                    format!("token remove {id}"),
                ))
        }
        (Ok(TokenKey::Oath(_, _, notes)), _) => Ok(Some(notes)),
        _ => Ok(None),
    }
}

fn refuse(context: &Context, args: &Args, problems: &[Diagnostic]) -> Failure {
    let problems = problems.iter().map(|found| context.line(found));
    input::refuse(&args.file, problems).into()
}

fn say(context: &Context, args: &Args, seeds: &Seeds, checked: &Checked, store: &Store) {
    let is_disabled =
        |id: &TokenId| store.slots(id).is_ok_and(|slots| slots.is_some_and(|slots| !slots.state.enabled));
    let ids: Vec<_> = checked.new.iter().map(TokenKey::id).collect();
    let disabled: Vec<_> = ids.iter().filter(|id| is_disabled(id)).map(ToString::to_string).collect();
    if context.json {
        let places =
            |place: &ykseeds::Place, why: String| json!({ "line": place.line, "key": place.key, "why": why });
        out::json(&json!({
            "format": seeds.format.to_string(),
            "member": seeds.member,
            "secret": seeds.encoding.map(Encoding::name),
            "series": args.series.map(|series| series.to_string()),
            "dry_run": args.dry_run,
            "imported": ids.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "unchanged": checked.unchanged,
            "raised": checked.raised.iter().map(|key| key.id().to_string()).collect::<Vec<_>>(),
            "returned": checked.returned,
            "mended": checked.mended,
            "disabled": disabled,
            "to_resync": checked.to_resync.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "accepted_from": checked.accepted_from.map(time::utc),
            "passed_over": seeds.passed_over.iter().map(|(place, why)| places(place, why.to_string())).collect::<Vec<_>>(),
            "notes": seeds.notes.iter().map(|(place, note)| places(place, note.to_string())).collect::<Vec<_>>(),
        }));
        return;
    }
    let name = shown::text(args.file.as_os_str().as_bytes()).to_string();
    note_first(seeds.passed_over.iter().map(|(place, why)| format!("{name}: {place}: skipped: {why}")));
    note_first(seeds.notes.iter().map(|(place, note)| format!("{name}: {place}: {note}")));
    let did = if args.dry_run { "would import" } else { "imported" };
    let secrets =
        seeds.encoding.map_or_else(String::new, |encoding| format!(", secrets in {}", encoding.name()));
    out::line(&format!("{did} {} ({}{secrets})", out::count(ids.len(), "token"), seeds.format));
    for (count, what) in [
        (checked.unchanged, "in the store already"),
        (checked.raised.len(), "of them used elsewhere meanwhile: going on from there"),
        (checked.returned, "used here before: going on from there"),
        (checked.mended, "that could not be opened: written anew"),
    ] {
        if count > 0 {
            out::line(&format!("{} {what}", out::count(count, "token")));
        }
    }
    if let Some(from) = checked.accepted_from {
        out::note(&format!(
            "codes that may be used are refused: TOTP codes are accepted from {} UTC on",
            time::utc(from)
        ));
    }
    let ykmap = context.ykmap();
    note_first(
        checked
            .to_resync
            .iter()
            .map(|id| format!("token {id}: no code is accepted yet. Next: {ykmap} token resync {id}")),
    );
    note_first(
        disabled.iter().map(|id| format!("token {id} is disabled, as it was ({ykmap} token enable {id})")),
    );
    if !args.dry_run && !ids.is_empty() {
        out::note(&format!(
            "to give them to their owners: {ykmap} token assign SERIAL USER, or {ykmap} token claim USER"
        ));
    }
}

/// Notes the first [`SHOWN`], and how many more there are.
fn note_first(notes: impl ExactSizeIterator<Item = String>) {
    let count = notes.len();
    notes.take(SHOWN).for_each(|note| out::note(&note));
    if let Some(more) = count.checked_sub(SHOWN).filter(|more| *more > 0) {
        out::note(&format!("and {more} more like these"));
    }
}
