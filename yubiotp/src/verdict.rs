//! Yes, no, or not enrolled: the rules of one login put together.

use alloc::format;
use alloc::string::String;

use crate::key::Fingerprint;
use crate::mapping::Enrolment;
use crate::otp::{self, NoOtp, Otp};
use crate::{Advance, Credential, Ledger, Plain, Position, PublicId, Receipt};

/// What was decided about an answer. If the world failed there is no verdict but a fault, which is another type:
/// neither can turn into the other.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// The user pressed a token of theirs, and this OTP can never be accepted again.
    Accepted(Receipt),
    /// A decided no.
    Rejected(Reason),
    /// The mapping, read without fault, does not list the user.
    NotEnrolled,
}

/// Why an answer was rejected. Its text names no secret and goes into the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// There is no OTP in the answer; nothing was looked up.
    #[error("{0}")]
    NoOtp(NoOtp),
    /// The user is listed, without a token.
    #[error(
        "the mapping lists the user without a token, or with none of the length that token_id_length allows"
    )]
    NoTokens,
    /// An OTP, and not by a token of this user; with the public id where it is certain that no part of a password
    /// would be named.
    #[error("the OTP is not from a token of this user{}", named(.0.as_ref()))]
    NotTheirToken(Option<PublicId>),
    /// The block does not decrypt under the token's key, or holds another private id.
    #[error("the OTP is not genuine: mistyped, or the token was programmed anew since its key was imported")]
    NotGenuine(PublicId),
    /// Genuine, but not above what was accepted before.
    #[error("the OTP was used before: {offered} is not above {stored}")]
    Replayed {
        /// The token.
        token: PublicId,
        /// The position of this OTP.
        offered: Position,
        /// What the ledger has.
        stored: Position,
    },
    /// Genuine, but the administrator switched the token off.
    #[error("the token is disabled (ykmap key enable {0})")]
    Disabled(PublicId),
}

impl Reason {
    /// The token that the reason is about, if it is about one.
    #[must_use]
    pub const fn token(&self) -> Option<PublicId> {
        match self {
            Self::NotGenuine(token) | Self::Disabled(token) | Self::Replayed { token, .. } => Some(*token),
            Self::NotTheirToken(token) => *token,
            Self::NoOtp(_) | Self::NoTokens => None,
        }
    }
}

/// A ledger that also knows the secrets of its tokens.
pub trait Vault: Ledger {
    /// The credential of a token.
    ///
    /// # Errors
    /// A fault if the token is not known or its credential cannot be had.
    fn credential(&self, token: &PublicId) -> Result<Credential, Self::Fault>;
}

/// A verdict, and what stood before the OTP.
pub struct Judgement<'a> {
    /// What was decided.
    pub verdict: Verdict,
    /// What precedes the OTP, once it is known where that begins: a password for another module.
    /// `None` as long as it is not known.
    pub password: Option<&'a [u8]>,
    /// The keyboard layout under which the OTP was genuine.
    pub layout: Option<&'static str>,
}

impl Judgement<'_> {
    const fn rejected(reason: Reason) -> Self {
        Self { verdict: Verdict::Rejected(reason), password: None, layout: None }
    }
}

/// Decides about an answer.
///
/// Every way to read it, under every keyboard layout and with every token of the user that fits, is tried until one
/// decrypts to that token's private id; the longest public id first. Only that one touches the ledger.
///
/// # Errors
/// A fault of the vault, if no reading was genuine and one could not be decided.
pub fn judge<'a, V: Vault>(
    answer: &'a [u8],
    enrolment: &Enrolment,
    vault: &V,
) -> Result<Judgement<'a>, V::Fault> {
    let tokens = match enrolment {
        Enrolment::NotListed => {
            return Ok(Judgement { verdict: Verdict::NotEnrolled, password: None, layout: None });
        }
        Enrolment::Listed(tokens) => tokens,
    };
    let readings = match otp::readings(answer) {
        Err(why) => return Ok(Judgement::rejected(Reason::NoOtp(why))),
        Ok(readings) => readings,
    };
    if tokens.is_empty() {
        return Ok(Judgement::rejected(Reason::NoTokens));
    }
    let mut undecided = None;
    let mut closest = Judgement::rejected(Reason::NotTheirToken(otp::lone_id(answer)));
    for reading in readings {
        for (token, otp) in longest_first(tokens).filter_map(|token| Some((token, reading.split(&token)?))) {
            let credential = match vault.credential(&token) {
                Ok(credential) => credential,
                Err(fault) => {
                    undecided.get_or_insert(fault);
                    continue;
                }
            };
            if let Some(plain) = genuine(&otp, &credential) {
                let verdict = advance(&plain, &token, credential.fingerprint(&token), vault)?;
                return Ok(Judgement {
                    verdict,
                    password: Some(otp.password),
                    layout: Some(otp.layout.name),
                });
            }
            closest =
                Judgement { password: Some(otp.password), ..Judgement::rejected(Reason::NotGenuine(token)) };
        }
    }
    undecided.map_or(Ok(closest), Err)
}

fn named(token: Option<&PublicId>) -> String {
    token.map_or_else(String::new, |token| format!(": it begins with the public id {token}"))
}

fn longest_first(tokens: &[PublicId]) -> impl Iterator<Item = PublicId> {
    (0..=PublicId::MAX)
        .rev()
        .flat_map(|length| tokens.iter().copied().filter(move |token| token.as_bytes().len() == length))
}

fn genuine(otp: &Otp<'_>, credential: &Credential) -> Option<Plain> {
    let plain = otp.block.decrypt(&credential.aes_key).ok()?;
    plain.private_id.matches(&credential.private_id).then_some(plain)
}

fn advance<V: Vault>(
    plain: &Plain,
    token: &PublicId,
    key: Fingerprint,
    vault: &V,
) -> Result<Verdict, V::Fault> {
    let (token, offered) = (*token, plain.position());
    Ok(match vault.advance(&token, key, offered)? {
        Advance::Fresh(receipt) => Verdict::Accepted(receipt),
        Advance::Replayed { stored } => Verdict::Rejected(Reason::Replayed { token, offered, stored }),
        Advance::Disabled => Verdict::Rejected(Reason::Disabled(token)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::contract::{Memory, Unknown};
    use crate::{AesKey, PrivateId, modhex};
    use alloc::vec;
    use alloc::vec::Vec;
    use data_encoding::HEXLOWER;

    /// A ledger in memory, and tokens that all have the key of Yubico's vectors, but one.
    struct Tokens(Memory);

    impl Ledger for Tokens {
        type Fault = Unknown;
        fn advance(&self, token: &PublicId, key: Fingerprint, to: Position) -> Result<Advance, Unknown> {
            (&self.0).advance(token, key, to)
        }
    }

    impl Vault for Tokens {
        fn credential(&self, token: &PublicId) -> Result<Credential, Unknown> {
            let key = match token.as_bytes() {
                [0xff, 0xee] => return Err(Unknown(*token)),
                [0xff, 0xdd] => "ffffffffffffffffffffffffffffffff",
                _ => "000102030405060708090a0b0c0d0e0f",
            };
            Ok(Credential {
                aes_key: AesKey::new(HEXLOWER.decode(key.as_bytes()).unwrap().try_into().unwrap()),
                private_id: PrivateId::new([1, 2, 3, 4, 5, 6]),
            })
        }
    }

    /// Usage counter 1, session uses 1 and 2.
    const FIRST: &str = "dvgtiblfkbgturecfllberrvkinnctnn";
    const SECOND: &str = "rnibcnfhdninbrdebccrndfhjgnhftee";

    fn id(text: &str) -> PublicId {
        PublicId::parse(text.as_bytes()).unwrap()
    }

    fn tokens(known: &[&str]) -> Tokens {
        let tokens = Tokens(Memory::default());
        for name in known {
            let key = tokens.credential(&id(name)).ok().unwrap().fingerprint(&id(name));
            tokens.0.enrol(&id(name), key);
        }
        tokens
    }

    fn listed(ids: &[&str]) -> Enrolment {
        Enrolment::Listed(ids.iter().map(|name| id(name)).collect())
    }

    fn why(vault: &Tokens, mapping: &[&str], answer: &str) -> Result<Result<PublicId, Reason>, Unknown> {
        Ok(match judge(answer.as_bytes(), &listed(mapping), vault)?.verdict {
            Verdict::Accepted(receipt) => Ok(receipt.token()),
            Verdict::Rejected(reason) => Err(reason),
            Verdict::NotEnrolled => panic!("a listed user is enrolled"),
        })
    }

    #[test]
    fn accepted_once_and_in_order() {
        let vault = tokens(&["vvcb"]);
        let mapping = &["vvcb"];
        let (first, second) = (["vvcb", FIRST].concat(), ["vvcb", SECOND].concat());
        assert_eq!(why(&vault, mapping, &second), Ok(Ok(id("vvcb"))));
        let [one, two] = [Position::yubikey(1, 1), Position::yubikey(1, 2)];
        for (otp, offered) in [(&first, one), (&second, two)] {
            let replayed = Reason::Replayed { token: id("vvcb"), offered, stored: two };
            assert_eq!(why(&vault, mapping, otp), Ok(Err(replayed)));
        }
    }

    #[test]
    fn each_no_has_its_own_reason() {
        let vault = tokens(&["vvcb", "vvtt"]);
        let otp = ["vvcb", FIRST].concat();
        assert_eq!(why(&vault, &[], &otp), Ok(Err(Reason::NoTokens)));
        assert_eq!(why(&vault, &["vvcd"], &otp), Ok(Err(Reason::NotTheirToken(None))));
        let stranger = ["vvcbcbcbcbcb", FIRST].concat();
        let named = Reason::NotTheirToken(Some(id("vvcbcbcbcbcb")));
        assert_eq!(why(&vault, &["vvcd"], &stranger), Ok(Err(named)));
        assert_eq!(
            why(&vault, &["vvcd"], &["secret", &stranger].concat()),
            Ok(Err(Reason::NotTheirToken(None)))
        );
        assert_eq!(why(&vault, &["vvcb"], "secret"), Ok(Err(Reason::NoOtp(NoOtp::TooShort))));
        let other_key = ["vvtt", FIRST].concat();
        assert_eq!(why(&vault, &["vvtt"], &other_key), Ok(Err(Reason::NotGenuine(id("vvtt")))));
        vault.0.set_enabled(&id("vvcb"), false);
        assert_eq!(why(&vault, &["vvcb"], &otp), Ok(Err(Reason::Disabled(id("vvcb")))));
        let unlisted = judge(otp.as_bytes(), &Enrolment::NotListed, &vault).ok().unwrap();
        assert_eq!(unlisted.verdict, Verdict::NotEnrolled);
    }

    #[test]
    fn a_private_id_of_another_is_not_genuine() {
        struct OtherPrivateId(Tokens);
        impl Ledger for OtherPrivateId {
            type Fault = Unknown;
            fn advance(&self, _: &PublicId, _: Fingerprint, _: Position) -> Result<Advance, Unknown> {
                panic!("what is not genuine must not touch the ledger")
            }
        }
        impl Vault for OtherPrivateId {
            fn credential(&self, token: &PublicId) -> Result<Credential, Unknown> {
                Ok(Credential { private_id: PrivateId::new([1, 2, 3, 4, 5, 7]), ..self.0.credential(token)? })
            }
        }
        let vault = OtherPrivateId(tokens(&["vvcb"]));
        let otp = ["vvcb", FIRST].concat();
        let judged = judge(otp.as_bytes(), &listed(&["vvcb"]), &vault).ok().unwrap();
        assert_eq!(judged.verdict, Verdict::Rejected(Reason::NotGenuine(id("vvcb"))));
    }

    #[test]
    fn a_fault_is_neither_yes_nor_no() {
        let vault = tokens(&["-"]);
        // No credential for the token: undecided, unless another token of the user proves the OTP.
        let otp = ["vvuu", FIRST].concat();
        assert_eq!(why(&vault, &["vvuu"], &otp), Err(Unknown(id("vvuu"))));
        assert_eq!(why(&vault, &["vvuu", "-"], &otp), Ok(Ok(id("-"))));
        // A credential, but the ledger does not know the token.
        assert_eq!(why(&vault, &["vvcb"], &["vvcb", FIRST].concat()), Err(Unknown(id("vvcb"))));
    }

    #[test]
    fn decryption_decides_among_ids_and_layouts() {
        // "cb" and "cbcb" both end what stands before the block; the longest id comes first.
        let vault = tokens(&["cb", "cbcb", "-"]);
        let mapping = &["-", "cb", "cbcb"];
        let otp = ["cbcb", FIRST].concat();
        assert_eq!(why(&vault, mapping, &otp), Ok(Ok(id("cbcb"))));
        let dvorak: String = ["cb", SECOND]
            .concat()
            .bytes()
            .map(|letter| crate::layout::LAYOUTS[1].typed(modhex::nibble(letter).unwrap()))
            .collect();
        for typed in [dvorak.clone(), dvorak.to_uppercase(), ["p4ss ", &dvorak, "\r\n"].concat()] {
            let vault = tokens(&["cb"]);
            assert_eq!(why(&vault, &["cb"], &typed), Ok(Ok(id("cb"))), "{typed}");
            let enrolment = listed(&["cb"]);
            let judged = judge(typed.as_bytes(), &enrolment, &vault).ok().unwrap();
            assert_eq!(judged.layout, Some("Dvorak"));
        }
    }

    #[test]
    fn the_password_is_what_stands_before() {
        let vault = tokens(&["vvcb"]);
        let answers: Vec<_> =
            vec![("hunter2", "hunter2"), ("", ""), ("  ", ""), ("cb", "cb"), ("pass word ", "pass word ")];
        for (typed, password) in answers {
            let answer = [typed, "vvcb", FIRST, " "].concat();
            let judged = judge(answer.as_bytes(), &listed(&["vvcb"]), &vault).ok().unwrap();
            assert_eq!(judged.password, Some(password.as_bytes()), "{typed:?}");
        }
    }
}
