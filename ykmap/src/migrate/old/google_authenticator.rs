//! pam_google_authenticator 1.09 and older.

use super::{Old, Source, Translated, parts, unknown};

pub(super) fn translate(args: &[String]) -> Translated {
    let mut line = Translated::new(Source::Nothing);
    line.prompt("Verification code: ");
    let (mut path, mut owner, mut any_owner) = (None, None, false);
    for arg in args {
        match parts(arg) {
            ("debug" | "nullok", "") => line.arg(arg),
            ("echo_verification_code", "") => line.arg("echo"),
            ("try_first_pass" | "use_first_pass", "") => line.first_pass(arg),
            ("forward_pass", "") => {
                line.args.retain(|old| !old.ends_with("_first_pass"));
                if line.args.iter().any(|arg| arg == "prompt=Verification code: ") {
                    line.prompt("Password & verification code: ");
                }
            }
            ("authtok_prompt", prompt) => line.prompt(prompt),
            ("secret", template) => path = Some(template.to_owned()),
            ("user", name) => owner = Some(name.to_owned()),
            ("no_strict_owner", "") => any_owner = true,
            ("allowed_perm", _) => {
                line.note("allowed_perm: secrets are sealed in the store, whatever the mode of the old files: left out");
            }
            ("noskewadj", "") => {
                line.note("noskewadj: this module learns how far a clock is off, one step a login at most: left out");
            }
            ("no_increment_hotp", "") => {
                line.note("no_increment_hotp: a wrong code never moves a counter here: left out");
            }
            ("grace_period", _) => {
                line.warn("grace_period: this module asks at each login: left out", "");
            }
            _ => unknown(&mut line, Old::GoogleAuthenticator, arg),
        }
    }
    line.source = Source::Secrets { path, owner, any_owner };
    line
}
