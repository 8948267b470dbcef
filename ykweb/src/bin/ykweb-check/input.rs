//! Reads user and answer, as the callers give them.

use crate::call::Call;
use crate::protocol::Protocol;
use rustix::fs::{Mode, OFlags, open};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt as _;
use ykweb::check_api::{CheckRequest, Factor, MOST_REQUEST};
use zeroize::Zeroizing;

/// The most bytes that a caller writes, but for JSON.
const MOST: usize = 4096;

/// The most bytes of checkpassword: its interface says 512, and a password may have 1,024 here.
const MOST_OF_CHECKPASSWORD: usize = 2048;

/// What the caller asks.
///
/// # Errors
/// It is not of this protocol. Why; no answer is in it.
pub(crate) fn read(call: &Call) -> Result<CheckRequest, String> {
    let (user, answer) = match call.protocol {
        Protocol::Json => {
            let mut request = CheckRequest::read(&all(io::stdin(), MOST_REQUEST)?)?;
            // The option is the least that is asked.
            if call.factor == Factor::Both {
                request.factor = Factor::Both;
            }
            if request.service.is_empty() {
                request.service.clone_from(&call.service);
            }
            return Ok(request);
        }
        Protocol::Cosign => cosign(&all(io::stdin(), MOST)?, call.rest.first())?,
        Protocol::Pipe | Protocol::Pwauth => pipe(&all(io::stdin(), MOST)?)?,
        Protocol::Environment => environment()?,
        Protocol::Checkpassword => {
            // The descriptor itself cannot be taken without unsafe code; this is another one of the same pipe.
            let three = open("/proc/self/fd/3", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
            let three = three.map_err(|why| format!("cannot read descriptor 3: {why}"))?;
            checkpassword(&all(File::from(three), MOST_OF_CHECKPASSWORD)?)?
        }
    };
    let from = match call.protocol {
        Protocol::Pipe | Protocol::Environment | Protocol::Pwauth => variable("IP"),
        _ => None,
    };
    let from = from.and_then(|from| from.into_string().ok()).filter(|from| !from.is_empty());
    Ok(CheckRequest { user, answer, factor: call.factor, service: call.service.clone(), from })
}

fn variable(name: &str) -> Option<OsString> {
    std::env::vars_os().find(|(other, _)| other == name).map(|(_, value)| value)
}

/// Everything until the end.
fn all(mut from: impl Read, most: usize) -> Result<Zeroizing<Vec<u8>>, String> {
    // Room for all of it, so that no part stays behind in memory that was too small.
    let mut text = Zeroizing::new(vec![0; most.saturating_add(1)]);
    let mut length = 0;
    loop {
        let room = text.get_mut(length..).filter(|room| !room.is_empty());
        match from.read(room.ok_or("standard input is too long")?) {
            Ok(0) => break,
            Ok(read) => length = length.saturating_add(read),
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return Err(format!("cannot read: {why}")),
        }
    }
    text.truncate(length);
    Ok(text)
}

type Asked = (String, Zeroizing<String>);

fn asked(user: &[u8], answer: &[u8]) -> Result<Asked, String> {
    let text = |bytes: &[u8]| {
        str::from_utf8(bytes).map(str::to_owned).map_err(|_| "the input is not UTF-8".to_owned())
    };
    Ok((text(user)?, Zeroizing::new(text(answer)?)))
}

/// The lines, each with an end. A line more than the caller writes is a line end that somebody typed.
fn lines(text: &[u8]) -> Result<Vec<&[u8]>, String> {
    let text = text.strip_suffix(b"\n").ok_or("the last line of standard input has no end")?;
    Ok(text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect())
}

/// Cosign writes the form fields of its configuration, each on a line, and passes the user whom it knows already as the
/// argument: nobody else may be named in the form then.
fn cosign(text: &[u8], user: Option<&OsString>) -> Result<Asked, String> {
    let user = user.map(|user| user.clone().into_vec()).filter(|user| !user.is_empty());
    match (&lines(text)?[..], &user) {
        ([answer], Some(user)) => asked(user, answer),
        ([first, answer], Some(user)) if first.is_empty() || first == user => asked(user, answer),
        ([_, _], Some(_)) => Err("the form names another user than Cosign does".to_owned()),
        ([user, answer], None) => asked(user, answer),
        ([_], None) => Err("neither an argument nor a line names the user".to_owned()),
        _ => Err("more lines than login and answer: name these two fields in cosign.conf".to_owned()),
    }
}

fn pipe(text: &[u8]) -> Result<Asked, String> {
    match lines(text)?[..] {
        [user, password] => asked(user, password),
        _ => Err("standard input is not a line with the user and one with the password".to_owned()),
    }
}

fn environment() -> Result<Asked, String> {
    match (variable("USER"), variable("PASS")) {
        (Some(user), Some(password)) => asked(&user.into_vec(), &Zeroizing::new(password.into_vec())),
        _ => Err("the environment has no USER and PASS".to_owned()),
    }
}

/// User, password and a time stamp, each with a NUL behind it.
fn checkpassword(text: &[u8]) -> Result<Asked, String> {
    let mut fields = text.split(|byte| *byte == 0);
    match (fields.next(), fields.next(), fields.next()) {
        (Some(user), Some(password), Some(_)) => asked(user, password),
        _ => Err("descriptor 3 has no user and password with a NUL behind each".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(of: Result<Asked, String>) -> Option<(String, String)> {
        of.ok().map(|(user, answer)| (user, answer.to_string()))
    }

    fn some(user: &str, answer: &str) -> Option<(String, String)> {
        Some((user.into(), answer.into()))
    }

    #[test]
    fn of_cosign() {
        let alice = OsString::from("alice");
        let empty = OsString::new();
        for (text, user, is) in [
            ("alice\n123456\n", None, some("alice", "123456")),
            ("alice\n123456\n", Some(&alice), some("alice", "123456")),
            ("\n123456\n", Some(&alice), some("alice", "123456")),
            ("123456\n", Some(&alice), some("alice", "123456")),
            ("alice\r\n\n", Some(&empty), some("alice", "")),
            ("123456\n", None, None),
            ("root\n123456\n", Some(&alice), None),
            // Somebody typed a line end.
            ("alice\n123456\n\n", None, None),
            ("alice\nroot\n123456\n", Some(&alice), None),
            ("alice\n123456", None, None),
            ("", Some(&alice), None),
        ] {
            assert_eq!(read(cosign(text.as_bytes(), user)), is, "{text:?} {user:?}");
        }
        assert!(cosign(b"\xff\n", Some(&alice)).is_err());
    }

    #[test]
    fn of_the_others() {
        for (text, is) in [
            ("alice\np w\n", some("alice", "p w")),
            ("alice\n\n", some("alice", "")),
            ("alice\n", None),
            ("alice\np\nw\n", None),
            ("alice\npw", None),
            ("", None),
        ] {
            assert_eq!(read(pipe(text.as_bytes())), is, "{text:?}");
        }
        for (text, is) in [
            ("alice\0p\nw\0Y123456\0", some("alice", "p\nw")),
            ("alice\0pw\0", some("alice", "pw")),
            ("alice\0pw", None),
            ("alice", None),
            ("", None),
        ] {
            assert_eq!(read(checkpassword(text.as_bytes())), is, "{text:?}");
        }
        assert_eq!(all(&b"12345"[..], 5).unwrap().len(), 5);
        assert!(all(&b"123456"[..], 5).is_err());
    }
}
