//! `ykmap key new`

use crate::{Context, Done};
pub(crate) use ykcli::new_key::Args;
use ykcli::new_key::RANDOM;
use ykhost::random;
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program};
use zeroize::Zeroizing;

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    let store = context.store()?;
    let change = store.change()?;
    let random = Zeroizing::new(random::bytes::<RANDOM>()?);
    let (new, credential) = args.draw(&random)?;
    let id = new.id();
    if store.keys()?.has(&id.to_string())? {
        let found = Diagnostic::error(Code::KeyExists, "has a key already")
            .at(Location::Token(id.to_string()))
            .run_when("to forget that key", Program::Ykmap, format!("key remove {id}"));
        return Err(found.into());
    }
    change.enrol(&[(id, credential)], &|| {})?;
    new.show(context.json, &format!("{} add USER", context.ykmap()))?;
    Ok(())
}
