//! `ykmap migrate u2f-notice`: keys of pam_u2f stay in the YubiKey, and cannot come here.

use crate::doctor::pam::{Folders, What};
use crate::homes::{self, Account};
use crate::{Context, Done, Failure, out};
use serde_json::json;
use std::path::PathBuf;
use ykhost::file::read_untrusted;
use yubiotp::diagnostic::{Code, Diagnostic};

/// The file in a home, and the most that is read of one.
const NAME: &str = ".config/Yubico/u2f_keys";
const LONGEST: usize = 1 << 20;

/// Names the lines and the users of pam_u2f, and says what to do instead.
pub(super) fn run(context: &Context, folders: &[PathBuf], accounts: &[Account]) -> Done {
    let folders = Folders::of(folders);
    let (mut lines, mut users) = (Vec::new(), Vec::new());
    for name in folders.names() {
        for entry in folders.service(&name).entries {
            let What::Module { args, .. } = &entry.what else { continue };
            if entry.module() != "pam_u2f" || lines.iter().any(|(_, place)| *place == entry.place) {
                continue;
            }
            let authfile = args.iter().find_map(|arg| arg.to_str().ok()?.strip_prefix("authfile="));
            let text = authfile.and_then(|path| read_untrusted(path.as_ref(), 64 << 20).ok());
            users.extend(text.iter().flat_map(|text| users_of(text)));
            lines.push((name.clone(), entry.place.clone()));
        }
    }
    let has_file =
        |account: &&Account| homes::file_of(account, NAME, LONGEST).is_ok_and(|found| found.is_some());
    users.extend(accounts.iter().filter(has_file).map(|account| account.name.clone()));
    users.sort_unstable();
    users.dedup();
    let found = Diagnostic::warning(
        Code::KeysNotMovable,
        "keys of pam_u2f never leave the YubiKey, and this module asks for OTPs and codes: nothing can be moved",
    )
    .advise(
        "keep the lines of pam_u2f, or give each user a token of their own kind: the same YubiKey can also type Yubico OTP, from another slot",
    )
    .run_when("for each YubiKey, to program a slot with a new key", yubiotp::diagnostic::Program::Ykmap, "key new")
    .run_when("for each user, by a touch", yubiotp::diagnostic::Program::Ykmap, "add USER")
    .advise("when every user has a token, replace pam_u2f.so in the lines: pam_yubiotp(8), EXAMPLES");
    if context.json {
        let lines =
            lines.iter().map(|(service, place)| json!({"service": service, "place": place.to_string()}));
        out::json(&json!({
            "from": "u2f-notice", "lines": lines.collect::<Vec<_>>(), "users": users,
            "findings": [ykcli::diagnostic::json(&found, context.calls(&context.ykmap()))],
        }));
        return Err(Failure::No);
    }
    for (service, place) in &lines {
        out::line(&format!("{place}: {service} asks pam_u2f"));
    }
    out::line(&format!("{} with keys of pam_u2f: {}", out::count(users.len(), "user"), users.join(", ")));
    context.note(&found);
    Err(Failure::No)
}

/// The users of a file of pam_u2f: `USER:KEYHANDLE,KEY,…:…`
fn users_of(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let names = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(':'));
    names.map(|(name, _)| name.to_owned()).collect()
}
