//! config.toml, the mappings and `enrolled`: what is here counts, unless there is nothing, or the administrator says otherwise.

use super::{Plan, locked, place};
use crate::backup::contents::{Contents, Role};
use crate::{Context, Done, Failure, files, init, out};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use ykhost::enrolled::{self, MAPPING_HEAD};
use ykhost::file::{self, Audience, FileFault};
use ykhost::settings::Settings;
use ykhost::store::Store;
use ykhost::{Fault, clock, mapping};
use yubiotp::diagnostic::{Code, Diagnostic};
use yubiotp::mapping::{Edits, Line, entries};
use yubiotp::{TokenId, shown};
use zeroize::Zeroizing;

/// What the administrator says about files that differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    Open,
    Keep,
    Take,
}

impl Choice {
    pub(super) const fn of(keep: bool, take: bool) -> Self {
        match (keep, take) {
            (_, true) => Self::Take,
            (true, false) => Self::Keep,
            (false, false) => Self::Open,
        }
    }
}

/// A file that is written, and whether a copy of what is there is kept.
pub(crate) struct FileToWrite {
    pub(crate) path: PathBuf,
    text: Zeroizing<Vec<u8>>,
    /// config.toml may hold a secret.
    mode: u32,
    pub(crate) keeps_copy: bool,
    is_enrolled: bool,
    /// What the file of the backup lists and this one does not: tokens that stay removed, each with its user.
    pub(crate) left_out: Vec<(String, TokenId)>,
}

/// The settings that the host has after the restore, and config.toml if it is written.
pub(super) fn config(
    contents: &Contents,
    path: &Path,
    here: Settings,
    choice: Choice,
) -> Result<(Settings, Option<FileToWrite>), Failure> {
    let Some(saved) = contents.of(Role::Config).next() else { return Ok((here, None)) };
    let text = saved.bytes()?;
    let now = match file::read(path, 64 << 10, Audience::Everyone) {
        Err(FileFault::Missing(_)) => None,
        now => Some(Zeroizing::new(now?)),
    };
    let is_default = now.as_ref().is_some_and(|now| init::is_template(now));
    match &now {
        Some(now) if **now == *text => return Ok((here, None)),
        Some(_) if choice == Choice::Keep => return Ok((here, None)),
        Some(_) if choice == Choice::Open && !is_default => {
            let found = Diagnostic::error(
                Code::BackupDiffers,
                "differs from that of the backup: nothing was changed",
            );
            return Err(found
                .at(place(path))
                .advise("to keep what is here, add --keep-config")
                .advise("to take that of the backup, and keep a copy of this one, add --take-config")
                .into());
        }
        _ => {}
    }
    let settings = Settings::of_text(path, &text)?;
    let is_secret = str::from_utf8(&text).is_ok_and(|text| text.contains("api_key"));
    let file = FileToWrite {
        path: path.to_owned(),
        text,
        mode: if is_secret { 0o600 } else { 0o644 },
        keeps_copy: now.is_some() && !is_default,
        is_enrolled: false,
        left_out: Vec::new(),
    };
    Ok((settings, Some(file)))
}

/// The mappings and `enrolled` that are written, without the tokens that are away.
pub(super) fn lists(
    context: &Context,
    contents: &Contents,
    settings: &Settings,
    choice: Choice,
    away: &BTreeSet<TokenId>,
) -> Result<Vec<FileToWrite>, Failure> {
    let mut to_write = Vec::new();
    let per_user = settings.mapping.contains("%u");
    let known = if per_user { files::mappings(settings).unwrap_or_default() } else { Vec::new() };
    for saved in contents.files.iter().filter(|file| matches!(file.role, Role::Mapping | Role::Enrolled)) {
        let is_enrolled = saved.role == Role::Enrolled;
        let path = match (is_enrolled, per_user) {
            (true, _) => enrolled::path(settings),
            // One that is not for any user of these settings would never be read.
            (false, true) => saved.path.clone(),
            (false, false) => PathBuf::from(&settings.mapping),
        };
        let now = match mapping_text(&path) {
            Ok(now) => now,
            Err(Fault::NoEnrolled { .. }) if is_enrolled => None,
            Err(fault) => return Err(fault.into()),
        };
        let (text, left_out) = without(&saved.bytes()?, away);
        let now = now.unwrap_or_default();
        if now == *text || per_user && !is_enrolled && choice == Choice::Keep && known.contains(&path) {
            continue;
        }
        let (here, there) = (listed(&now), listed(&text));
        let differ = !here.is_empty() && here != there;
        match choice {
            _ if here == there && !now.is_empty() && !here.is_empty() => continue,
            Choice::Keep if !here.is_empty() => continue,
            Choice::Open if differ => return Err(differs(context, &path, &here, &there)),
            Choice::Open | Choice::Keep | Choice::Take => {}
        }
        to_write.push(FileToWrite {
            path,
            text,
            mode: 0o644,
            keeps_copy: !here.is_empty(),
            is_enrolled,
            left_out,
        });
    }
    Ok(to_write)
}

/// A list without these tokens. Whoever has no other stays listed, and so rejected.
fn without(text: &[u8], away: &BTreeSet<TokenId>) -> (Zeroizing<Vec<u8>>, Vec<(String, TokenId)>) {
    let (mut edits, mut left_out) = (Edits::new(text), Vec::new());
    for (_, line) in entries(text) {
        let Ok(Line::Entry { user, fields }) = line else { continue };
        for token in fields.tokens().filter(|token| away.contains(token)) {
            if edits.remove(user, Some(&token)).0 > 0 {
                left_out.push((shown::text(user).to_string(), token));
            }
        }
    }
    (Zeroizing::new(edits.text()), left_out)
}

/// A list that is there; a file without a byte lists nobody.
fn mapping_text(path: &Path) -> Result<Option<Vec<u8>>, Fault> {
    match file::read(path, 512 << 20, Audience::Everyone) {
        Err(FileFault::Missing(_)) => Ok(None),
        text => Ok(Some(text?)),
    }
}

/// Who is listed with what. A line that cannot be read counts as it is.
fn listed(text: &[u8]) -> BTreeSet<(String, Option<TokenId>)> {
    let mut all = BTreeSet::new();
    for (number, line) in entries(text) {
        match line {
            Ok(Line::Nothing) => {}
            Ok(Line::Entry { user, fields }) => {
                let user = shown::text(user).to_string();
                let mut tokens = fields.tokens().peekable();
                if tokens.peek().is_none() {
                    all.insert((user.clone(), None));
                }
                all.extend(tokens.map(|token| (user.clone(), Some(token))));
            }
            Err(_) => drop(all.insert((format!("line {number}, which cannot be read"), None))),
        }
    }
    all
}

fn differs(
    context: &Context,
    path: &Path,
    here: &BTreeSet<(String, Option<TokenId>)>,
    there: &BTreeSet<(String, Option<TokenId>)>,
) -> Failure {
    if !context.json {
        for (what, only) in
            [("only here", here.difference(there)), ("only in the backup", there.difference(here))]
        {
            for (user, token) in only {
                let token = token.map_or_else(|| "no token".to_owned(), |token| token.to_string());
                out::note(&format!("{what}: {user}: {token}"));
            }
        }
    }
    Diagnostic::error(
        Code::BackupDiffers,
        "lists other users or tokens than that of the backup: nothing was changed. A token that was taken away since would come back with it",
    )
    .at(place(path))
    .advise("to keep what is here, add --keep-mapping")
    .advise("to take that of the backup, and keep a copy of this one, add --take-mapping")
    .into()
}

/// Writes these files, the configuration last: a restore that was cut off before it begins again with the same settings.
pub(super) fn write(plan: &Plan<'_>) -> Done {
    let store = Store::new(&plan.settings);
    for to_write in &plan.files {
        if let Some(folder) = to_write.path.parent() {
            file::make_folder(folder, 0o755)?;
        }
        let (folder, name) = file::locate(&to_write.path)?;
        let (folder, _changing) = locked(folder)?;
        if to_write.keeps_copy {
            let now = folder.read(&name, 512 << 20, Audience::Everyone)?;
            let copy = format!("{name}.ykmap-{}", clock::unix());
            folder.replace(&copy, &Zeroizing::new(now), rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)?;
        }
        let text: &[u8] = match to_write.text.as_slice() {
            // Without a byte it would be taken for one that was cut off.
            [] if to_write.is_enrolled => enrolled::HEAD.as_bytes(),
            [] => MAPPING_HEAD.as_bytes(),
            text => text,
        };
        folder.replace(&name, text, rustix::fs::Mode::from_raw_mode(to_write.mode))?;
        if to_write.is_enrolled {
            store.note_enrolled()?;
        }
    }
    // So that a note that there is a list never stays without one.
    match mapping::enrolled_text(&plan.settings) {
        Err(Fault::NoEnrolled { path }) => {
            let (folder, name) = file::locate(&path)?;
            folder.replace(&name, enrolled::HEAD.as_bytes(), rustix::fs::Mode::from_raw_mode(0o644))?;
            Ok(())
        }
        _ => Ok(()),
    }
}
