//! Where an offer is made: at which login, or by `ykmap self`.

use sha2::{Digest as _, Sha256};
use std::fmt::{self, Display, Formatter, Write as _};

/// The most of a name that is kept as it is.
const MOST: usize = 200;
const OWN: &str = "self";
const LOGIN: &str = "login ";

/// Where an offer is made, as the file of the offer has it: `login SERVICE`, `login SERVICE HOST`, or `self`. Printable ASCII.
/// Shown, it is what a person reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// A login by this PAM service, from PAM_RHOST. An empty one is none, as for the policy.
    #[must_use]
    pub fn login(service: &[u8], rhost: Option<&[u8]>) -> Self {
        let mut text = format!("{LOGIN}{}", word(service));
        if let Some(rhost) = rhost.filter(|rhost| !rhost.is_empty()) {
            text.push(' ');
            text += &word(rhost);
        }
        Self(text)
    }

    /// `ykmap self`.
    #[must_use]
    pub fn own() -> Self {
        Self(OWN.to_owned())
    }

    /// As a file has it, whose seal says whether it is genuine.
    pub(super) fn read(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// As the file has it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Display for Origin {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some(login) = self.0.strip_prefix(LOGIN) else { return f.write_str("ykmap self") };
        match login.split_once(' ') {
            Some((service, host)) => write!(f, "{host} ({service})"),
            None => write!(f, "this host ({login})"),
        }
    }
}

/// A name without a blank, `%` and two hexadecimal digits in place of each byte that is not printable ASCII. No two names have
/// the same one.
fn word(name: &[u8]) -> String {
    let mut word = String::new();
    for byte in name.iter().take(MOST) {
        if byte.is_ascii_graphic() && *byte != b'%' {
            word.push(char::from(*byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(word, "%{byte:02x}");
        }
    }
    if name.len() > MOST {
        let _ = write!(word, "%{}", data_encoding::HEXLOWER.encode(&Sha256::digest(name)));
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Service and PAM_RHOST → the text, and what is shown.
    type Row = (&'static [u8], Option<&'static [u8]>, &'static str, &'static str);

    #[test]
    fn each_place_has_its_own_text() {
        let rows: &[Row] = &[
            (b"sshd", Some(b"192.0.2.1"), "login sshd 192.0.2.1", "192.0.2.1 (sshd)"),
            (b"sshd", Some(b"2001:db8::1"), "login sshd 2001:db8::1", "2001:db8::1 (sshd)"),
            (b"su", None, "login su", "this host (su)"),
            (b"su", Some(b""), "login su", "this host (su)"),
            (b"self", None, "login self", "this host (self)"),
            (b"a b", Some(b"x\ny%\xff"), "login a%20b x%0ay%25%ff", "x%0ay%25%ff (a%20b)"),
        ];
        for (service, rhost, text, shown) in rows {
            let origin = Origin::login(service, *rhost);
            assert_eq!((origin.as_str(), origin.to_string().as_str()), (*text, *shown));
            assert_ne!(origin, Origin::own());
        }
        assert_eq!((Origin::own().as_str(), Origin::own().to_string().as_str()), ("self", "ykmap self"));
        let long = |last: u8| Origin::login(b"sshd", Some(&[&[b'a'; 300][..], &[last]].concat()));
        assert!(long(1) != long(2) && long(1) == long(1) && long(1).as_str().len() < 1000);
    }
}
