//! `ykmap backup`

pub(crate) mod contents;
pub(crate) mod file;
pub(crate) mod last;

use crate::{Context, Done, Failure, absolute, out};
use clap::ValueHint;
use contents::{Contents, Role};
use file::{Header, SealedBackup};
use last::LastBackup;
use serde_json::json;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use ykcli::time;
use ykhost::Fault;
use ykhost::file::{FileFault, locate, read_untrusted};
use ykhost::store::Store;
use ykhost::{clock, random};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program};
use yubiotp::shown;
use zeroize::Zeroizing;

#[derive(clap::Args)]
#[command(
    after_help = "Exit status: 0 written, or --check opened it; 1 written, without keys that the store key does not open; 2 \
                  not written, or it does not open."
)]
pub(crate) struct Args {
    /// Write nothing: say what a backup has, and whether this host's store key opens it and each key in it
    #[arg(long, conflicts_with = "quiet")]
    check: bool,
    /// Print only what needs attention, for a timer
    #[arg(long)]
    quiet: bool,
    /// The file. An earlier backup of that name is replaced, anything else is not
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,
}

pub(crate) fn run(context: &Context, args: Args) -> Done {
    if args.file == Path::new("-") {
        let found =
            Diagnostic::error(Code::InputInvalid, "a backup is written to a file, which is durable then")
                .at(Location::Argument("-".to_owned()));
        return Err(found.advise("name a file, and copy it from there").into());
    }
    let path = absolute(args.file)?;
    if args.check { check(context, &path) } else { write(context, &path, args.quiet) }
}

/// The name of this host.
pub(crate) fn host() -> String {
    let name = rustix::system::uname();
    shown::text(name.nodename().to_bytes()).to_string()
}

fn write(context: &Context, path: &Path, quiet: bool) -> Done {
    let settings = context.settings()?;
    let store = Store::new(&settings);
    let (folder, name) = locate(path)?;
    match read_untrusted(path, file::LONGEST) {
        Err(FileFault::Missing(_)) => {}
        Ok(text) if file::is_backup(&text) => {}
        Ok(_) => {
            let found = Diagnostic::error(Code::BackupNotOverwritten, "exists, and is no backup of ykmap");
            return Err(found.at(place(path)).advise("name another file").into());
        }
        Err(fault) => return Err(fault.into()),
    }
    let key = store.store_key()?;
    let header = Header { host: host(), made: clock::unix(), store_key: key.id() };
    let gathered = contents::gather(context, &settings, &store)?;
    // Keys under two store keys, or read before and after, open under none.
    let ids = store.store_key()?.ids();
    if ids.former.is_some() || ids != key.ids() {
        let what = "is being replaced, and a backup of now would open under neither store key";
        let found = Diagnostic::error(Code::StoreKeyRotationUnfinished, what).at(place(&settings.store_key));
        return Err(found
            .run_when("to finish that, before you try again", Program::Ykmap, "key rotate-store-key")
            .into());
    }
    let text = file::write(&header, &gathered.contents, &key, random::bytes()?)?;
    let before = LastBackup::of(&settings);
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    folder.replace(&name, text.as_bytes(), mode)?;
    LastBackup::note(header.made, path, &settings)?;
    let contents = &gathered.contents;
    if context.json {
        let unopened: Vec<_> = gathered.unopened.iter().map(ToString::to_string).collect();
        let mut said = said(path, &header, contents);
        if let Some(said) = said.as_object_mut() {
            said.insert("bytes".to_owned(), json!(text.len()));
            said.insert("made_before".to_owned(), json!(before.map(|before| before.made)));
            said.insert("keys_not_opened".to_owned(), json!(unopened));
        }
        out::json(&said);
    } else if !quiet {
        out::line(&format!(
            "{}: {}, as of {} UTC",
            path.display(),
            in_words(contents),
            time::utc(header.made)
        ));
        out::note(&format!(
            "It opens only with store key {}, which is in {} and not in the backup. Keep a copy of that file elsewhere: without \
             it, the backup is useless.",
            header.store_key,
            settings.store_key.display()
        ));
    }
    for token in &gathered.unopened {
        let found = Diagnostic::warning(
            Code::KeySealedElsewhere,
            format!(
                "the store key does not open the key of token {token}, so a restore cannot bring it back"
            ),
        );
        context.note(&found.run_when("for details", Program::Ykmap, format!("key show {token}")));
    }
    if gathered.unopened.is_empty() { Ok(()) } else { Err(Failure::No) }
}

/// A backup that was read and opened.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    match read_untrusted(path, file::LONGEST) {
        Err(fault @ FileFault::Missing(_)) => {
            let found = Failure::from(fault).diagnostic();
            Err(found
                .map_or(Failure::Bad, |found| found.advise("name a file that ykmap backup wrote").into()))
        }
        read => Ok(Zeroizing::new(read?)),
    }
}

fn check(context: &Context, path: &Path) -> Done {
    let settings = context.settings()?;
    let text = read(path)?;
    let sealed = SealedBackup::read(&text, path)?;
    let header = &sealed.header;
    let key = match Store::new(&settings).store_key() {
        Ok(key) => key,
        Err(Fault::NoStoreKey { .. }) => return Err(not_opened(context, path, header, &settings.store_key)),
        Err(fault) => return Err(fault.into()),
    };
    let contents = sealed.open(&key, path, &settings.store_key)?;
    contents.states()?;
    let unopened: Vec<_> =
        contents.open_keys(&key).into_iter().filter_map(|(id, key)| key.is_none().then_some(id)).collect();
    if context.json {
        let mut said = said(path, header, &contents);
        if let Some(said) = said.as_object_mut() {
            said.insert("opened".to_owned(), json!(true));
            said.insert("keys_not_opened".to_owned(), json!(unopened));
        }
        out::json(&said);
    } else {
        let opened = contents.keys.len().saturating_sub(unopened.len());
        out::line(&format!("{}: {}", path.display(), in_words(&contents)));
        say_header(header, "which this host has");
        out::line(&format!("opened         {opened} of {}", out::count(contents.keys.len(), "key")));
        for file in contents.files.iter().filter(|file| matches!(file.role, Role::Config | Role::Mapping)) {
            out::line(&format!("file           {}", file.path.display()));
        }
    }
    for token in &unopened {
        let what = "the store key does not open its key, so a restore cannot bring it back";
        let found =
            Diagnostic::warning(Code::KeySealedElsewhere, what).at(Location::Token((*token).to_owned()));
        context.note(&found.advise("import the key again from where you keep it, then make a new backup"));
    }
    if unopened.is_empty() { Ok(()) } else { Err(Failure::No) }
}

/// What can be said of a backup without its store key: what is in plain text, and that nothing was opened.
fn not_opened(context: &Context, path: &Path, header: &Header, store_key: &Path) -> Failure {
    if context.json {
        out::json(&json!({
            "file": path, "host": header.host, "made": header.made, "store_key": header.store_key.to_string(),
            "opened": false,
        }));
    } else {
        out::line(&format!("{}: not opened", path.display()));
        say_header(header, "which is needed to open it");
    }
    let what = "there is no store key, so neither the backup nor a key in it was opened: it may be damaged";
    let found = Diagnostic::warning(Code::StoreKeyMissing, what).at(place(store_key));
    context.note(&found.advise(format!(
        "run this where store key {} is, or copy the one that you kept apart there (owner root, mode 0600)",
        header.store_key
    )));
    Failure::No
}

fn say_header(header: &Header, store_key: &str) {
    out::line(&format!("host           {}", header.host));
    out::line(&format!("made           {} UTC", time::utc(header.made)));
    out::line(&format!("store key      {}, {store_key}", header.store_key));
}

fn said(path: &Path, header: &Header, contents: &Contents) -> serde_json::Value {
    json!({
        "file": path,
        "host": header.host,
        "made": header.made,
        "store_key": header.store_key.to_string(),
        "keys": contents.keys.len(),
        "positions": contents.positions.len(),
        "files": contents.files.iter().map(|file| json!({ "role": file.role, "path": file.path })).collect::<Vec<_>>(),
    })
}

fn in_words(contents: &Contents) -> String {
    format!(
        "{}, {}, {}",
        out::count(contents.keys.len(), "key"),
        out::count(contents.positions.len(), "position"),
        out::count(contents.files.len(), "file")
    )
}

fn place(path: &Path) -> Location {
    Location::file(path.as_os_str().as_bytes())
}
