//! `ykmap key new`

use crate::{Context, Done, Failure, out, parse_id};
use clap::ValueHint;
use data_encoding::HEXLOWER;
use serde_json::json;
use ykhost::random;
use yubiotp::{AesKey, Credential, PrivateId, PublicId};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Its public ID [default: vv and ten random characters]
    #[arg(long, value_name = "ID", value_parser = parse_id, value_hint = ValueHint::Other)]
    id: Option<PublicId>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    let store = context.store()?;
    let change = store.change()?;
    let id = match args.id {
        Some(id) => id,
        // Ids that begin with hex ff are the ones that no factory makes.
        None => {
            let [a, b, c, d, e] = random::bytes()?;
            PublicId::from_bytes(&[0xff, a, b, c, d, e]).ok_or_else(|| Failure::Fault("no id".to_owned()))?
        }
    };
    if store.keys()?.has(&id.to_string())? {
        return Err(Failure::Fault(format!("token {id} has a key already (ykmap key remove {id})")));
    }
    let credential =
        Credential { private_id: PrivateId::new(random::bytes()?), aes_key: AesKey::new(random::bytes()?) };
    let private_id = zeroize::Zeroizing::new(HEXLOWER.encode(credential.private_id.expose()));
    let aes_key = zeroize::Zeroizing::new(HEXLOWER.encode(credential.aes_key.expose()));
    change.enrol(&[(id, credential)], &|| {})?;
    if context.json {
        out::json(&json!({ "id": id.to_string(), "private_id": *private_id, "aes_key": *aes_key }));
        return Ok(());
    }
    // ykman has no way to say "no id".
    let (public, ykman) = if id.as_bytes().is_empty() {
        (String::new(), String::new())
    } else {
        let (id, private_id, aes_key) = (id.to_string(), &*private_id, &*aes_key);
        let ykman =
            format!("  ykman otp yubiotp --public-id {id} --private-id {private_id} --key {aes_key} 2\n\n");
        (id, ykman)
    };
    let ykman = zeroize::Zeroizing::new(ykman);
    let by = if ykman.is_empty() { "by this. It holds" } else { "by one of these. They hold" };
    out::lines(&format!(
        "made a key for token {id}, and stored it\n\n\
         Program it into slot 2 of the YubiKey, {by} its secrets: clear the screen afterwards.\n\n{ykman}  \
         ykpersonalize -2 -ofixed={public} -ouid={private_id} -a{aes_key} \\\n    \
         -o-static-ticket -o-strong-pw1 -o-strong-pw2 -o-man-update -oappend-cr\n\n\
         Slot 2 types at a long touch; slot 1 keeps what the factory made. To have it the other way round, and keep both:\n\n  \
         ykman otp swap              or: ykpersonalize -x\n\n\
         Then: {ykmap} add USER",
        ykman = *ykman,
        ykmap = context.ykmap(),
        private_id = *private_id,
        aes_key = *aes_key,
    ));
    Ok(())
}
