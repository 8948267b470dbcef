//! `ykmap token`

use super::touches::{self, Prover};
use super::{Context, Done, files, out};
use serde_json::json;
use ykhost::Fault;
use ykhost::store::Store;
use yubiotp::key::Fingerprint;
use yubiotp::verdict::Vault;
use yubiotp::{PublicId, TokenId};

#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// Set the position of a token on this host, by two touches
    ///
    /// Use it if a token's OTPs are rejected as used although they are new: a validation server named a false position,
    /// the YubiKey was programmed anew, or the position was lost. It asks for the second touch after a pause of 5 to 15
    /// seconds. Both touches together prove that the YubiKey is here now, so no used OTP becomes valid again. If the
    /// token's key is not on this host, validation servers are asked about both.
    Resync(Args),
}

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Public ID
    #[arg(value_name = "ID")]
    id: String,
}

pub(crate) fn run(context: &Context, verb: &Verb) -> Done {
    match verb {
        Verb::Resync(args) => resync(context, &files::public_id(context, &args.id)?),
    }
}

fn resync(context: &Context, id: &PublicId) -> Done {
    let settings = context.settings()?;
    let store = Store::new(&settings);
    let token = &TokenId::YubiKey(*id);
    let has_key = store.holds(id)?;
    let key = if has_key { store.credential(id)?.fingerprint(id) } else { Fingerprint::ELSEWHERE };
    let before = match store.slots(token) {
        Ok(Some(slots)) if slots.state.key == key => slots.state.position,
        Ok(Some(_)) if has_key => {
            let path = store.positions()?.path().join(id.to_string());
            return Err(Fault::OtherKeysPosition { path, token: *token }.into());
        }
        Ok(None) if has_key => {
            let path = store.positions()?.path().join(id.to_string());
            return Err(Fault::NoPosition { path, token: *token }.into());
        }
        // Servers have not accepted it here yet, or its key went by other ways than `ykmap key remove`.
        Ok(Some(_) | None) => None,
        // It is created anew below.
        Err(Fault::Position { .. }) => None,
        Err(fault) => return Err(fault.into()),
    };
    touches::needs_terminal(id)?;
    let position = if has_key {
        touches::prove(id, &Prover::Key(&store.credential(id)?))?
    } else {
        if !settings.mode.asks_servers() {
            store.key_file(token).map_err(|fault| files::if_unknown(&settings, token, fault.diagnostic()))?;
        }
        touches::prove(id, &Prover::Servers(&context.login_settings()?))?
    };
    store.change()?.prove(token, key, position, before)?;
    let enabled = store.slots(token)?.is_some_and(|slots| slots.state.enabled);
    if context.json {
        out::json(&json!({
            "id": id.to_string(),
            "usage_counter": position.usage_counter(),
            "session_use": position.session_use(),
            "enabled": enabled,
        }));
    } else {
        out::line(&format!("{id}: resynchronized: {position}"));
        if !enabled {
            out::note(&format!(
                "token {id} is disabled: it was, or its position file could not be read ({} key enable {id})",
                context.ykmap()
            ));
        }
    }
    Ok(())
}
