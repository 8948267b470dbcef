//! pam_oath 2.6 and older.

use super::{Old, Source, Translated, always_ok, parts, unknown};

/// Where pam_oath looks without `usersfile=`.
pub(in crate::migrate) const USERS_FILE: &str = "/etc/users.oath";

pub(super) fn translate(args: &[String]) -> Translated {
    let mut line = Translated::new(Source::Nothing);
    // Its own prompt, in which %u is the user's name.
    line.args.push("prompt=One-time password (OATH) for `%u': ".to_owned());
    let (mut path, mut window) = (USERS_FILE.to_owned(), None);
    for arg in args {
        match parts(arg) {
            ("debug", "") => line.arg(arg),
            ("try_first_pass" | "use_first_pass", "") => line.first_pass(arg),
            ("alwaysok", "") => always_ok(&mut line),
            ("usersfile", value) => value.clone_into(&mut path),
            ("window", value) => match value.parse() {
                Ok(number) => window = Some(number),
                Err(_) => line.note("window: is no number: left out"),
            },
            ("digits", _) => {
                line.note("digits: the module takes as many digits from the end as the token has, and hands on a password in front of them: left out");
            }
            _ => unknown(&mut line, Old::Oath, arg),
        }
    }
    if path.contains("${") {
        line.stay(
            "usersfile: each user has a users file of their own, and only one of all users can be moved",
            "import each of them: ykmap import oath FILE USER; then replace the line",
        );
    }
    line.source = Source::UsersFile { path, window };
    line
}
