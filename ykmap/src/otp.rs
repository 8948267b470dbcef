//! `ykmap otp`

use super::{Context, Done, Failure, files, out};
use serde_json::json;
use ykhost::store::Store;
use yubiotp::verdict::Vault;
use yubiotp::{Plain, PublicId, otp};
use zeroize::Zeroizing;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What the YubiKey typed [default: ask]
    otp: Option<String>,
}

/// The contents of an OTP by one reading.
struct Decoded {
    id: PublicId,
    layout: &'static str,
    /// Decrypted, if the store has the key and it fits; else why not.
    plain: Result<Plain, String>,
    private_id_matches: bool,
}

pub(crate) fn run(context: &Context, args: Args) -> Done {
    let answer = match args.otp {
        Some(otp) => Zeroizing::new(otp),
        None => files::input_line("OTP: ")?,
    };
    let answer = answer.trim();
    let store = context.store()?;
    let readings = otp::readings(answer.as_bytes()).map_err(|why| Failure::from(why.diagnostic()))?;
    let mut decoded: Vec<_> = readings
        .filter_map(|reading| {
            let id = reading.whole_id()?;
            Some(decode(context, &store, id, &reading.split(&id)?))
        })
        .collect();
    // The key proves the layout; without it, the one that modhex was made for comes first.
    decoded.sort_by_key(|it| it.plain.is_err());
    let Some(decoded) = decoded.first() else {
        return Err(Failure::input("more was typed than one OTP"));
    };
    let position = decoded.plain.as_ref().ok().map(Plain::position);
    let stored = store.slots(&decoded.id.into()).ok().flatten().and_then(|slots| slots.state.position);
    if context.json {
        out::json(&json!({
            "public_id": decoded.id.to_string(),
            "serial": decoded.id.serial(),
            "layout": decoded.layout,
            "undecrypted": decoded.plain.as_ref().err(),
            "private_id_matches": decoded.private_id_matches,
            "usage_counter": decoded.plain.as_ref().ok().map(|plain| plain.usage_counter),
            "session_use": decoded.plain.as_ref().ok().map(|plain| plain.session_use),
            "timestamp": decoded.plain.as_ref().ok().map(|plain| plain.timestamp),
            "caps_lock": decoded.plain.as_ref().ok().map(|plain| plain.caps_lock),
            "random": decoded.plain.as_ref().ok().map(|plain| plain.random),
            "used_before": position.map(|position| stored.is_some_and(|stored| stored >= position)),
        }));
        return Ok(());
    }
    out::line(&format!("public ID       {}", decoded.id));
    if let Some(serial) = decoded.id.serial() {
        out::line(&format!("serial          {serial}, if the id was made by the factory"));
    }
    out::line(&format!("keyboard        {}", decoded.layout));
    match &decoded.plain {
        Err(why) => out::line(&format!("block           not decrypted: {why}")),
        Ok(plain) => {
            let private =
                if decoded.private_id_matches { "as in the store" } else { "NOT that of the store" };
            let used = match stored {
                Some(stored) if stored >= plain.position() => format!("yes: the store has {stored}"),
                Some(stored) => format!("no: the store has {stored}"),
                None => "no: the token was not used here yet".to_owned(),
            };
            out::line(&format!("private ID      {private}"));
            out::line(&format!("usage counter   {}", plain.usage_counter));
            out::line(&format!("session counter {}", plain.session_use));
            out::line(&format!("timestamp       {} (about 8 a second since power-up)", plain.timestamp));
            out::line(&format!("caps lock       {}", if plain.caps_lock { "on" } else { "off" }));
            out::line(&format!("random          {:04x}", plain.random));
            out::line(&format!("used before     {used}"));
        }
    }
    Ok(())
}

fn decode(context: &Context, store: &Store, id: PublicId, otp: &otp::Otp<'_>) -> Decoded {
    let layout = otp.layout.name;
    let undecrypted = |why| Decoded { id, layout, plain: Err(why), private_id_matches: false };
    let credential = match store.credential(&id) {
        Ok(credential) => credential,
        Err(fault) => return undecrypted(context.text(&fault.diagnostic())),
    };
    match otp.block.decrypt(&credential.aes_key) {
        Err(_) => undecrypted("mistyped, or made under another key than the store has".to_owned()),
        Ok(plain) => {
            let private_id_matches = plain.private_id.matches(&credential.private_id);
            Decoded { id, layout, plain: Ok(plain), private_id_matches }
        }
    }
}
