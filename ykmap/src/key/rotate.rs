//! `ykmap key rotate-store-key`

use crate::doctor::pam::auth_lines;
use crate::{Context, Done, Failure, event, out, service};
use clap::ValueHint;
use serde_json::json;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use ykcli::store_key::keep_former;
use ykcli::{docs, import};
use ykhost::settings::Settings;
use ykhost::store::{Resealed, Rotation, Store};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program};
use yubiotp::seal::StoreKey;

#[derive(clap::Args)]
#[command(
    after_help = "Exit status: 0 replaced, or --status looked; 1 replaced, without keys that the former key does not open; 2 \
                  not replaced, or not to the end: run it again."
)]
pub(crate) struct Args {
    /// Write the former store key to this new file, for backups and exports made before
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    keep_former: Option<PathBuf>,
    /// Only say whether the store key is being replaced, and how many files are left
    #[arg(long, conflicts_with = "keep_former")]
    status: bool,
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    let settings = context.settings()?;
    let store = Store::new(&settings);
    if args.status {
        return status(context, &store);
    }
    is_of_no_other_store(context, &settings)?;
    let unfinished = store.rotation()?;
    let new = StoreKey::new(*zeroize::Zeroizing::new(ykhost::random::bytes()?));
    let rotation = store
        .begin_rotation(new, |former| match &args.keep_former {
            Some(file) => Ok(keep_former(file, former)?),
            None => Ok(()),
        })
        .map_err(|failure| not_begun(&settings, failure))?;
    if unfinished == Some(rotation) && !context.json {
        out::line(&format!(
            "The replacement of store key {} by {} goes on.",
            rotation.former, rotation.current
        ));
    }
    let bar = import::bar(store.to_reseal(rotation)?.len());
    let resealed = store.reseal(rotation, &|| bar.inc(1));
    bar.finish_and_clear();
    let resealed = resealed.map_err(|fault| {
        let found = fault.diagnostic();
        found.run_when(
            "both store keys are in use now, and logins go on; to finish",
            Program::Ykmap,
            "key rotate-store-key",
        )
    })?;
    let fields = [("former", rotation.former.to_string()), ("store-key", rotation.current.to_string())];
    event::log_host(context, "store-key-rotate", &fields);
    say(context, args, &settings, rotation, &resealed);
    if resealed.unusable.is_empty() { Ok(()) } else { Err(Failure::No) }
}

/// A store key that seals another store, too, cannot be replaced in one of them.
fn is_of_no_other_store(context: &Context, own: &Settings) -> Done {
    for line in auth_lines(&[]) {
        // `ykmap doctor` reports a line that cannot be read.
        let Ok(by) = service::settings(context, &line, "USER") else { continue };
        let theirs = by.service.settings;
        if theirs.store_key == own.store_key && theirs.store != own.store {
            let problem = format!(
                "uses the store {}, which is sealed under the same store key, {}",
                theirs.store.display(),
                own.store_key.display()
            );
            return Err(Diagnostic::error(Code::ServiceDiffers, problem)
                .at(Location::Service(line.service))
                .advise("copy the store key (cp -p), name the copy in store_key of that service's configuration file, and then replace each")
                .into());
        }
    }
    Ok(())
}

/// Nothing was changed: says what to do about a store key that is kept elsewhere.
fn not_begun(settings: &Settings, failure: Failure) -> Failure {
    let is_store_key = |found: &Diagnostic| match &found.location {
        Some(Location::File { path, .. }) => {
            settings.store_key.parent().is_some_and(|folder| Path::new(path).starts_with(folder))
        }
        _ => false,
    };
    match failure {
        // Of the file for the former key, the finding says it all.
        Failure::Fault(found) if found.code != Code::FileExists && is_store_key(&found) => found
            .advise(format!(
                "nothing was changed: {} is replaced by rename, so its folder must be writable, and it must be a file, no link",
                settings.store_key.display()
            ))
            .into(),
        failure => failure,
    }
}

fn status(context: &Context, store: &Store) -> Done {
    let current = store.store_key()?.id();
    let rotation = store.rotation()?;
    let left = match rotation {
        Some(rotation) => store.to_reseal(rotation)?.len(),
        None => 0,
    };
    if context.json {
        out::json(&json!({
            "unfinished": rotation.is_some(),
            "store_key": current.to_string(),
            "former": rotation.map(|it| it.former.to_string()),
            "left": left,
        }));
        return Ok(());
    }
    match rotation {
        None => out::line(&format!("The store key is {current}. It is not being replaced.")),
        Some(Rotation { former, .. }) => {
            let left = out::count(left, "key");
            out::line(&format!("Store key {former} is being replaced by {current}: {left} left to seal."));
            out::line(&format!("To finish: {} key rotate-store-key", context.ykmap()));
        }
    }
    Ok(())
}

fn say(context: &Context, args: &Args, settings: &Settings, rotation: Rotation, resealed: &Resealed) {
    let Rotation { former, current } = rotation;
    if context.json {
        out::json(&json!({
            "former": former.to_string(),
            "store_key": current.to_string(),
            "keys": resealed.keys,
            "offers": resealed.offers,
            "unusable": resealed.unusable,
            "kept": args.keep_former,
        }));
        return;
    }
    for path in &resealed.unusable {
        let what = "does not open under the store key that was replaced: it was not sealed anew";
        let found =
            Diagnostic::error(Code::KeySealedElsewhere, what).at(Location::file(path.as_os_str().as_bytes()));
        context.note(&found.run_when("to see which keys do not open, and why", Program::Ykmap, "check"));
    }
    let keys = out::count(resealed.keys, "key");
    out::line(&format!("The store key was replaced: {current} in place of {former}. {keys} sealed anew."));
    let path = settings.store_key.display();
    out::line(&format!("Next: copy {path} to where you keep it apart from the store."));
    out::line(&match &args.keep_former {
        Some(file) => format!(
            "Backups and exports made before open only under the former key, which is in {}: move it to them, and keep it as long as them.",
            file.display()
        ),
        None => format!(
            "Backups and exports made before open only under the former key: keep your copy of {former} as long as them."
        ),
    });
    out::line(&format!(
        "If somebody has a copy of the former key and of the store, program the YubiKeys anew ({}).",
        docs::page("rotating-keys.md")
    ));
}

/// The finding that the store key is being replaced, or that this was interrupted.
pub(crate) fn unfinished(settings: &Settings, store: &Store) -> Option<Diagnostic> {
    let Rotation { former, current } = store.rotation().ok()??;
    let what = format!(
        "the replacement of store key {former} by {current} is not finished: the former key still opens the store"
    );
    Some(
        Diagnostic::warning(Code::StoreKeyRotationUnfinished, what)
            .at(Location::file(settings.store_key.as_os_str().as_bytes()))
            .run_when("unless it is going on now", Program::Ykmap, "key rotate-store-key"),
    )
}
