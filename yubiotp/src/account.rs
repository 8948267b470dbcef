//! The user that `yubiotp-ask` becomes when root starts it, as `/etc/passwd` has it.
//!
//! The file itself is read, without NSS: a look-up by name could ask a directory, and run its modules as root.

/// The name of the user.
pub const USER: &str = "yubiotp-ask";

/// Where it is looked up.
pub const PASSWD: &str = "/etc/passwd";

/// Uid and gid where there is no such user: those of `nobody`, which other programs may have too.
pub const NOBODY: u32 = 65534;

/// A user by numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// Never 0.
    pub uid: u32,
    /// Never 0.
    pub gid: u32,
}

/// Why there is no user of the program's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoAccount {
    /// No line has the name.
    #[error("there is no user yubiotp-ask in /etc/passwd: systemd-sysusers yubiotp-ask.conf makes it")]
    Missing,
    /// More than one line has the name.
    #[error("/etc/passwd has more than one line of yubiotp-ask: remove all but one")]
    Twice,
    /// The line is not one of seven fields with numbers, or it is root's.
    #[error("/etc/passwd: the line of yubiotp-ask cannot be used: 7 fields, and uid and gid other than 0")]
    Malformed,
    /// Another user has the same uid.
    #[error("/etc/passwd: the uid of yubiotp-ask is also that of another user: give it one of its own")]
    Shared,
}

/// Finds the user in the text of `/etc/passwd`.
///
/// # Errors
/// It is not there, or its line or uid cannot be used.
pub fn find(passwd: &[u8]) -> Result<Account, NoAccount> {
    let lines = || passwd.split(|byte| *byte == b'\n');
    let is_ours = |line: &&[u8]| line.split(|byte| *byte == b':').next() == Some(USER.as_bytes());
    let mut ours = lines().filter(is_ours);
    let line = ours.next().ok_or(NoAccount::Missing)?;
    if ours.next().is_some() {
        return Err(NoAccount::Twice);
    }
    let mut fields = line.split(|byte| *byte == b':');
    let (uid, gid) = (fields.nth(2).and_then(number), fields.next().and_then(number));
    let (Some(uid @ 1..), Some(gid @ 1..), 3) = (uid, gid, fields.count()) else {
        return Err(NoAccount::Malformed);
    };
    let uid_of = |line: &[u8]| line.split(|byte| *byte == b':').nth(2).and_then(number);
    if lines().filter(|line| uid_of(line) == Some(uid)).count() > 1 {
        return Err(NoAccount::Shared);
    }
    Ok(Account { uid, gid })
}

/// A decimal number without sign; the last one means "no user".
fn number(field: &[u8]) -> Option<u32> {
    let digits = str::from_utf8(field).ok()?;
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|number| plain && *number < u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    const OTHERS: &str = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n";

    fn of(line: &str) -> Result<Account, NoAccount> {
        find([OTHERS, line, "\nalice:x:1000:1000::/home/alice:/bin/sh\n"].concat().as_bytes())
    }

    #[test]
    fn a_line_is_read_strictly() {
        assert_eq!(of("yubiotp-ask:x:990:989:text:/:/sbin/nologin"), Ok(Account { uid: 990, gid: 989 }));
        assert_eq!(of("yubiotp-ask:!:4294967294:1:::"), Ok(Account { uid: 4294967294, gid: 1 }));
        for (line, why) in [
            ("", NoAccount::Missing),
            ("yubiotp-ask2:x:990:990:::", NoAccount::Missing),
            (" yubiotp-ask:x:990:990:::", NoAccount::Missing),
            ("#yubiotp-ask:x:990:990:::", NoAccount::Missing),
            ("yubiotp-ask", NoAccount::Malformed),
            ("yubiotp-ask:x:990:990::", NoAccount::Malformed),
            ("yubiotp-ask:x:990:990::::", NoAccount::Malformed),
            ("yubiotp-ask:x:0:990:::", NoAccount::Malformed),
            ("yubiotp-ask:x:990:0:::", NoAccount::Malformed),
            ("yubiotp-ask:x:00:990:::", NoAccount::Malformed),
            ("yubiotp-ask:x:-1:990:::", NoAccount::Malformed),
            ("yubiotp-ask:x:+990:990:::", NoAccount::Malformed),
            ("yubiotp-ask:x: 990:990:::", NoAccount::Malformed),
            ("yubiotp-ask:x:4294967295:990:::", NoAccount::Malformed),
            ("yubiotp-ask:x:4294968286:990:::", NoAccount::Malformed),
            ("yubiotp-ask:x::990:::", NoAccount::Malformed),
            ("yubiotp-ask:x:990:990:::\nyubiotp-ask:x:991:991:::", NoAccount::Twice),
            ("yubiotp-ask:x:1000:990:::", NoAccount::Shared),
            ("yubiotp-ask:x:65534:65534:::", NoAccount::Shared),
        ] {
            assert_eq!(of(line), Err(why), "{line:?}");
        }
        assert_eq!(find(b""), Err(NoAccount::Missing));
    }

    proptest! {
        #[test]
        fn is_never_root(text: Vec<u8>, line in "yubiotp-ask:[x:0-9-]{0,20}") {
            let _ = find(&text);
            let text = [&text[..], b"\n", line.as_bytes()].concat();
            prop_assert!(!find(&text).is_ok_and(|it| it.uid == 0 || it.gid == 0));
        }
    }
}
