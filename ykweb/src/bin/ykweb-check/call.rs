//! How the program was called.
//!
//! By the name `ykweb-check-cosign`, arguments are the caller's, all of them: Cosign passes the name that somebody typed, which
//! must not be taken for an option. By `ykweb-check cosign`, options come first, and the caller's arguments behind `--`.

use crate::protocol::Protocol;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use ykweb::check_api::{Factor, SOCKET};

const HELP: &str = "\
Asks the web login (ykwebd) about an answer, for programs that know nothing of it.

Usage: ykweb-check PROTOCOL [OPTIONS] [-- ARGUMENTS]
   or: ykweb-check-PROTOCOL [ARGUMENTS]      (by a link of this name; without options)

Protocols:
  cosign         a factor of Cosign: answer on standard input, user as the argument or in the line before it
  pipe           mod_authnz_external, method pipe: user and password as lines of standard input
  environment    mod_authnz_external, method environment: variables USER and PASS
  pwauth         like pipe, with the exit statuses of pwauth
  checkpassword  user and password on descriptor 3; runs ARGUMENTS if they are accepted
  json           {\"user\":\"…\",\"answer\":\"…\",\"factor\":\"second|both\"} on standard input

Options:
  --socket PATH   the socket of ykwebd (default: YKWEB_CHECK_SOCKET, or /run/ykweb/check.sock)
  --factor WORD   second: an OTP or a code; both: the password, and behind it an OTP or a code
                  (default: second for cosign and json, both for the others; json can ask for more)
  --service NAME  who asks, for the log (default: the protocol)
  --name WORD     the factor that Cosign is told (default: otp)
  --help, --version
";

/// One call.
pub(crate) struct Call {
    pub(crate) protocol: Protocol,
    pub(crate) socket: PathBuf,
    pub(crate) factor: Factor,
    /// Who asks, for the log.
    pub(crate) service: String,
    /// The factor that Cosign is told.
    pub(crate) name: String,
    /// The arguments of the caller.
    pub(crate) rest: Vec<OsString>,
}

/// What it was called for.
pub(crate) enum Called {
    /// This is to be printed.
    Print(String),
    Check(Call),
}

/// What is wrong with a call, and the protocol that it is of, if that is known.
pub(crate) type Misused = (Option<Protocol>, String);

/// Reads the arguments, of which the first is the name.
pub(crate) fn read(mut arguments: impl Iterator<Item = OsString>) -> Result<Called, Misused> {
    let name = arguments.next().unwrap_or_default();
    let name = Path::new(&name).file_name().unwrap_or_default().as_bytes();
    if let Some(protocol) = name.strip_prefix(b"ykweb-check-") {
        let protocol = str::from_utf8(protocol).ok().and_then(Protocol::named);
        let protocol =
            protocol.ok_or_else(|| (None, "its name ends with no protocol; see --help".to_owned()))?;
        return Ok(Called::Check(Call { rest: arguments.collect(), ..defaults(protocol) }));
    }
    let first = arguments.next().unwrap_or_default();
    match first.to_str() {
        Some("--help") => return Ok(Called::Print(HELP.to_owned())),
        Some("--version") => {
            return Ok(Called::Print(concat!("ykweb-check ", env!("CARGO_PKG_VERSION"), "\n").to_owned()));
        }
        _ => {}
    }
    let protocol = first.to_str().and_then(Protocol::named);
    let protocol =
        protocol.ok_or_else(|| (None, "the first argument is no protocol; see --help".to_owned()))?;
    options(protocol, arguments).map_err(|why| (Some(protocol), why))
}

fn defaults(protocol: Protocol) -> Call {
    let named =
        std::env::vars_os().find(|(name, _)| name == "YKWEB_CHECK_SOCKET").map(|(_, socket)| socket.into());
    Call {
        protocol,
        socket: named.unwrap_or_else(|| SOCKET.into()),
        factor: protocol.factor(),
        service: protocol.name().to_owned(),
        name: "otp".to_owned(),
        rest: Vec::new(),
    }
}

fn options(protocol: Protocol, mut arguments: impl Iterator<Item = OsString>) -> Result<Called, String> {
    let mut call = defaults(protocol);
    while let Some(argument) = arguments.next() {
        let argument = argument.to_str().ok_or("an option is not UTF-8")?;
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(OsString::from(value))),
            None => (argument, None),
        };
        match (name, &value) {
            ("--", None) => {
                call.rest = arguments.collect();
                break;
            }
            ("--help", None) => return Ok(Called::Print(HELP.to_owned())),
            ("--socket" | "--factor" | "--service" | "--name", _) => {}
            _ => return Err(format!("unknown option {argument:?}; arguments of the caller come behind --")),
        }
        let value = value.or_else(|| arguments.next()).filter(|value| !value.is_empty());
        let value = value.ok_or_else(|| format!("{name} needs a value"))?;
        if name == "--socket" {
            call.socket = value.into();
            continue;
        }
        let value = value.into_string().map_err(|_| format!("{name} is not UTF-8"))?;
        match name {
            "--factor" => {
                call.factor = Factor::named(&value).ok_or("--factor is second or both")?;
            }
            "--service" => call.service = value,
            _ => call.name = value,
        }
    }
    Ok(Called::Check(call))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(arguments: &[&str]) -> Result<Call, Option<Protocol>> {
        match read(arguments.iter().map(OsString::from)) {
            Ok(Called::Check(call)) => Ok(call),
            Ok(Called::Print(_)) => panic!("printed"),
            Err((protocol, _)) => Err(protocol),
        }
    }

    #[test]
    fn by_name_there_are_no_options() {
        let call = called(&["/usr/lib/ykweb/ykweb-check-cosign", "--socket=/tmp/evil"]).unwrap();
        assert_eq!((call.protocol, call.factor), (Protocol::Cosign, Factor::Second));
        assert_eq!(
            (call.socket.as_path(), call.rest),
            (Path::new(SOCKET), vec!["--socket=/tmp/evil".into()])
        );
        let call = called(&["ykweb-check-checkpassword", "--help", "x"]).unwrap();
        assert_eq!((call.factor, call.rest.len()), (Factor::Both, 2));
        assert_eq!(called(&["ykweb-check-"]).err(), Some(None));
        assert_eq!(called(&["ykweb-check-radius"]).err(), Some(None));
    }

    #[test]
    fn by_protocol() {
        let call = called(&[
            "ykweb-check",
            "cosign",
            "--factor",
            "both",
            "--socket=/s",
            "--service=web",
            "--name",
            "mtoken",
            "--",
            "--x",
        ]);
        let call = call.unwrap();
        assert_eq!((call.factor, call.socket.as_path()), (Factor::Both, Path::new("/s")));
        assert_eq!((call.service, call.name, call.rest), ("web".into(), "mtoken".into(), vec!["--x".into()]));
        assert_eq!(called(&["ykweb-check"]).err(), Some(None));
        for bad in [
            &["alice"][..],
            &["--factor", "first"],
            &["--factor"],
            &["--socket="],
            &["--verbose"],
            &["--help=x"],
        ] {
            assert_eq!(
                called(&[&["ykweb-check", "pwauth"], bad].concat()).err(),
                Some(Some(Protocol::Pwauth)),
                "{bad:?}"
            );
        }
    }
}
