//! `ykwebd user new-recovery-codes`

use super::{Context, Done, Opened, UserName, ask, none, out};
use serde_json::json;
use std::fmt::Write as _;
use ykweb::clock;
use ykweb::store::NewCodes;
use yubiotp::TokenId;
use zeroize::Zeroizing;

pub(super) fn renew(context: &Context, name: &UserName) -> Done {
    let Opened { store, keys, .. } = context.open()?;
    let before = store.account(name)?.ok_or_else(|| none(name))?.recovery;
    let new = NewCodes::draw(keys.current())?;
    let set = TokenId::RecoverySet(new.set()).to_string();
    if context.json {
        let codes: Vec<_> = new.texts().map(|code| code.as_str().to_owned()).collect();
        ask::show_json(&json!({ "user": name.as_str(), "set": set, "codes": codes }))?;
    } else {
        let mut page = Zeroizing::new(String::with_capacity(1024));
        // Writing to a String does not fail.
        let _ = writeln!(page, "Recovery codes of {name} ({set})\n");
        for code in new.texts() {
            let _ = writeln!(page, "    {}", code.as_str());
        }
        let _ = writeln!(
            page,
            "\nEach code is accepted once, in place of an OTP. They are not shown again: keep them on paper.\n"
        );
        ask::show(&page)?;
    }
    if !store.new_recovery_codes(name, &new, clock::now())? {
        return Err(none(name));
    }
    if !context.json {
        let ended = if before.is_some() { "; the codes from before are invalid" } else { "" };
        out::line(&format!("user {name}: has {} recovery codes now{ended}", new.texts().len()));
    }
    Ok(())
}
