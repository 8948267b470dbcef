//! `ykvald key new`

use crate::cli::{Context, Done, Opened, wait};
pub(crate) use ykcli::new_key::Args;
use ykcli::new_key::RANDOM;
use ykval::random;
use ykval::store::{Distinct, Enrolment, History};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program};
use zeroize::Zeroizing;

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    wait(async {
        let Opened { store, key, .. } = context.open().await?;
        let random = Zeroizing::new(random::bytes::<RANDOM>()?);
        let (new, credential) = args.draw(&random)?;
        let id = new.id();
        if store.token(&id).await?.is_some_and(|token| token.key.is_some()) {
            let exists =
                Diagnostic::error(Code::KeyExists, "has a key already").at(Location::Token(id.to_string()));
            return Err(exists
                .run_when("to remove that key", Program::Ykvald, format!("key remove {id}"))
                .into());
        }
        let mut distinct = Distinct::under(&key);
        distinct.comes(id, &credential).map_err(|same| same.diagnostic())?;
        let sealed = key.seal(&credential, &id, random::bytes()?);
        let fingerprint = credential.fingerprint(&id);
        let enrolment = Enrolment { id, fingerprint, sealed, history: History::NeverUsed };
        store.enrol(vec![enrolment], distinct).await?;
        store.close().await;
        new.show(
            context.json,
            Some("ykmap add USER, on each host; ykwebd user add-yubikey NAME, at the web login"),
        );
        Ok(())
    })
}
