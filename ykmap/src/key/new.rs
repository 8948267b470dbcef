//! `ykmap key new`

use super::program;
use crate::{Context, Done};
use ykcli::new_key::{self, RANDOM};
use ykhost::random;
use ykhost::store::TokenKey;
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program};
use zeroize::Zeroizing;

#[derive(clap::Args)]
// Not the name of the flattened one.
#[group(id = "new")]
pub(crate) struct Args {
    #[command(flatten)]
    key: new_key::Args,
    /// Program slot 2 of the YubiKey that is plugged in, with ykman, and print no secrets. The slot must be empty
    #[arg(long, conflicts_with = "file")]
    program: bool,
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    let store = context.store()?;
    let change = store.change()?;
    let random = Zeroizing::new(random::bytes::<RANDOM>()?);
    let (new, credential) = args.key.draw(&random)?;
    let id = new.id();
    if store.keys()?.has(&id.to_string())? {
        let found = Diagnostic::error(Code::KeyExists, "has a key already")
            .at(Location::Token(id.to_string()))
            .run_when("to forget that key", Program::Ykmap, format!("key remove {id}"));
        return Err(found.into());
    }
    // First the YubiKey: of a key that no YubiKey has, nothing is stored.
    if args.program {
        program::check(&id)?;
        program::program(&id, &credential)?;
    }
    change.enrol(&[TokenKey::YubiKey(id, credential)], &|| {}).map_err(|error| {
        let found = error.diagnostic();
        if args.program {
            found.run_when(
                "slot 2 of the YubiKey has the new key now; to erase it",
                Program::System,
                program::FREE_SLOT,
            )
        } else {
            found
        }
    })?;
    let then = (!context.is_guided).then(|| format!("{} add USER", context.ykmap()));
    if args.program {
        new.show_programmed(context.json, then.as_deref());
    } else {
        new.show(context.json, then.as_deref());
    }
    Ok(())
}
