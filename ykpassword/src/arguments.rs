//! The command line.

use nix::unistd::{Uid, User};
use std::ffi::OsString;

/// The PAM service, unless another is named.
const SERVICE: &str = "ykweb";

/// The user who may ask, unless another is named.
const ASKER: &str = "ykweb";

const HELP: &str = "\
Asks PAM about one password, for ykwebd. systemd runs it: it is not for use by hand.

Usage: ykweb-password [--for USER] [--service NAME]

  --for USER      who may ask beside root, by name or uid (default: ykweb)
  --service NAME  the PAM service (default: ykweb)
  --help          print this
  --version       print the version

";

/// How it is run.
pub(crate) struct Arguments {
    /// Who may ask, beside root; `None`: there is no such user.
    pub(crate) asker: Option<Uid>,
    /// The PAM service: a file name in /etc/pam.d.
    pub(crate) service: String,
}

/// What it was called for.
pub(crate) enum Called {
    /// This is to be printed.
    Print(String),
    Run(Arguments),
}

/// Reads the arguments, without the program's name.
pub(crate) fn read(mut arguments: impl Iterator<Item = OsString>) -> Result<Called, String> {
    let (mut asker, mut service) = (ASKER.to_owned(), SERVICE.to_owned());
    while let Some(argument) = arguments.next() {
        let argument = argument.to_str().ok_or("an argument is not UTF-8")?;
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (argument, None),
        };
        match (name, &value) {
            ("--help", None) => return Ok(Called::Print(HELP.to_owned())),
            ("--version", None) => {
                return Ok(Called::Print(
                    concat!("ykweb-password ", env!("CARGO_PKG_VERSION"), "\n").to_owned(),
                ));
            }
            ("--for" | "--service", _) => {}
            _ => return Err(format!("unknown argument {argument:?}; --help lists all")),
        }
        let value = value.or_else(|| arguments.next()?.into_string().ok());
        let value = value.filter(|value| !value.is_empty()).ok_or_else(|| format!("{name} needs a value"))?;
        match name {
            "--for" => asker = value,
            _ => service = value,
        }
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if service.len() > 64 || service.starts_with('.') || !service.bytes().all(is_name) {
        return Err(format!("{service:?} is not the name of a PAM service"));
    }
    Ok(Called::Run(Arguments { asker: uid(&asker)?, service }))
}

fn uid(name: &str) -> Result<Option<Uid>, String> {
    if let Ok(uid) = name.parse() {
        return Ok(Some(Uid::from_raw(uid)));
    }
    let user =
        User::from_name(name).map_err(|why| format!("cannot look up the user {name:?}: {}", why.desc()))?;
    Ok(user.map(|user| user.uid))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(arguments: &[&str]) -> Result<(Option<u32>, String), String> {
        match read(arguments.iter().map(OsString::from))? {
            Called::Print(text) => Err(text),
            Called::Run(run) => Ok((run.asker.map(Uid::as_raw), run.service)),
        }
    }

    #[test]
    fn arguments() {
        assert_eq!(run(&["--for", "33"]), Ok((Some(33), "ykweb".into())));
        assert_eq!(run(&["--for=root", "--service=web-test"]), Ok((Some(0), "web-test".into())));
        assert_eq!(run(&["--for", "no-such-user-here"]), Ok((None, "ykweb".into())));
        assert!(run(&["--help"]).unwrap_err().contains("--service NAME"));
        for bad in [
            &["--for"][..],
            &["--for="],
            &["--service", "../x"],
            &["--service", "a/b"],
            &["--help=x"],
            &["alice"],
            &["--verbose"],
        ] {
            assert!(run(bad).is_err(), "{bad:?}");
        }
    }
}
