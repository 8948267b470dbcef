//! The rules, with a ledger in memory and servers whose answers the test sets.

mod codes;

use super::*;
use crate::diagnostic::Code;
use crate::ledger::contract::{Memory, Unknown};
use crate::oath::window::Usual;
use crate::{AesKey, PrivateId, modhex};
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;
use data_encoding::HEXLOWER;

/// A ledger in memory, and tokens that all have the key of Yubico's vectors, but one.
struct Tokens(Memory);

impl Ledger for Tokens {
    type Fault = Unknown;
    type Token = TokenId;
    fn advance(&self, token: &TokenId, key: Fingerprint, to: Position) -> Result<Advance, Unknown> {
        (&self.0).advance(token, key, to)
    }
}

impl Vault for Tokens {
    fn credential(&self, token: &PublicId) -> Result<Credential, Unknown> {
        let key = match token.as_bytes() {
            [0xff, 0xee] => return Err(Unknown((*token).into())),
            [0xff, 0xdd] => "ffffffffffffffffffffffffffffffff",
            _ => "000102030405060708090a0b0c0d0e0f",
        };
        Ok(Credential {
            aes_key: AesKey::new(HEXLOWER.decode(key.as_bytes()).unwrap().try_into().unwrap()),
            private_id: PrivateId::new([1, 2, 3, 4, 5, 6]),
        })
    }

    /// Of those that begin with vvnn the key is elsewhere.
    fn holds(&self, token: &PublicId) -> Result<bool, Unknown> {
        Ok(!token.as_bytes().starts_with(&[0xff, 0xbb]))
    }

    fn is_enabled(&self, token: &PublicId) -> Result<bool, Unknown> {
        Ok(self.0.is_enabled(&(*token).into()))
    }

    /// None of them is restored.
    fn advance_proved(&self, token: &TokenId, key: Fingerprint, proved: Proved) -> Result<Advance, Unknown> {
        self.advance(token, key, proved.position())
    }

    fn oath(&self, token: &Serial) -> Result<OathToken, Unknown> {
        Err(Unknown(TokenId::Oath(*token)))
    }

    fn oath_kind(&self, token: &Serial) -> Result<oath::Kind, Unknown> {
        Err(Unknown(TokenId::Oath(*token)))
    }

    fn advance_oath(
        &self,
        token: &Serial,
        _: Fingerprint,
        _: Option<Progress>,
        _: Progress,
    ) -> Result<Advance, Unknown> {
        Err(Unknown(TokenId::Oath(*token)))
    }

    fn recovery_code(&self, set: &SetId, _: &RecoveryCode) -> Result<Option<Fingerprint>, Unknown> {
        Err(Unknown(TokenId::RecoverySet(*set)))
    }

    fn eight_digits(&self, set: &SetId, _: &oath::Code) -> Result<Option<EightDigits>, Unknown> {
        Err(Unknown(TokenId::RecoverySet(*set)))
    }
}

/// Usage counter 1, session uses 1 and 2.
const FIRST: &str = "dvgtiblfkbgturecfllberrvkinnctnn";
const SECOND: &str = "rnibcnfhdninbrdebccrndfhjgnhftee";

fn id(text: &str) -> PublicId {
    PublicId::parse(text.as_bytes()).unwrap()
}

/// For answers that hold an OTP: nobody takes a try.
const NO_CODES: Codes<'_, NoGuesses> =
    Codes { local: false, unix: 0, usual: Usual::DEFAULT, guesses: &NoGuesses };

struct NoGuesses;

impl Guesses for NoGuesses {
    type Fault = Unknown;
    fn charge(&self) -> Result<Charge, Unknown> {
        panic!("no OTP costs a try")
    }
    fn refund(&self) {
        panic!("no OTP costs a try")
    }
    fn refund_one(&self) {
        panic!("no OTP costs a try")
    }
}

fn named(text: &str) -> TokenId {
    id(text).into()
}

fn tokens(known: &[&str]) -> Tokens {
    let tokens = Tokens(Memory::default());
    for name in known {
        let key = tokens.credential(&id(name)).ok().unwrap().fingerprint(&id(name));
        tokens.0.enrol(&named(name), key);
    }
    tokens
}

fn listed(ids: &[&str]) -> Enrolment {
    Enrolment::Listed(ids.iter().map(|name| named(name)).collect())
}

/// Servers that say one thing, or nothing, or cannot be asked, and note what they were asked.
struct Told {
    says: Option<ServerVerdict>,
    can_be_asked: bool,
    /// Whether one that decides nothing answers, and whether the site accepts replays then.
    answers: bool,
    accepts_replays: bool,
    asked: RefCell<Vec<(String, Option<Position>)>>,
}

impl Told {
    fn says(said: ServerVerdict) -> Self {
        Self { says: Some(said), ..Self::nothing() }
    }

    fn nothing() -> Self {
        Self {
            says: None,
            can_be_asked: true,
            answers: false,
            accepts_replays: false,
            asked: RefCell::default(),
        }
    }

    fn out_of_reach() -> Self {
        Self { can_be_asked: false, ..Self::nothing() }
    }
}

impl Servers for Told {
    type Fault = Unknown;
    fn ask(&self, otp: &str, position: Option<Position>) -> Result<Answer, Unknown> {
        self.asked.borrow_mut().push((otp.into(), position));
        if !self.can_be_asked {
            return Err(Unknown(named("nnnn")));
        }
        let trail = "https://a: told".into();
        Ok(match self.says {
            Some(said) => Answer::Decided { said, trail },
            None => Answer::Undecided { answered: self.answers, trail: String::new() },
        })
    }

    fn undecided(&self, _: &PublicId, withheld: bool, _: String) -> Unknown {
        Unknown(named(if withheld { "vvvv" } else { "nnnn" }))
    }

    fn accept_replays(&self) -> bool {
        self.accepts_replays
    }
}

/// Offline, where servers have no say.
fn offline<'a>(
    answer: &'a [u8],
    enrolment: &Enrolment,
    vault: &impl Vault<Fault = Unknown>,
) -> Result<Judgement<'a>, Unknown> {
    let servers = Told::says(ServerVerdict::Ok(Position::yubikey(9, 9)));
    let judged = judge(answer, enrolment, Mode::Offline, Methods::ALL, vault, &servers, &NO_CODES);
    assert!(servers.asked.borrow().is_empty(), "offline asks nobody");
    judged
}

fn why(vault: &Tokens, mapping: &[&str], answer: &str) -> Result<Result<TokenId, Reason>, Unknown> {
    Ok(match offline(answer.as_bytes(), &listed(mapping), vault)?.verdict {
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
    assert_eq!(why(&vault, mapping, &second), Ok(Ok(named("vvcb"))));
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
    let theirs = Reason::NotTheirToken(Some(id("vvcbcbcbcbcb")));
    assert_eq!(why(&vault, &["vvcd"], &stranger), Ok(Err(theirs)));
    assert_eq!(why(&vault, &["vvcd"], &["secret", &stranger].concat()), Ok(Err(Reason::NotTheirToken(None))));
    assert_eq!(why(&vault, &["vvcb"], "secret"), Ok(Err(Reason::NoOtp(NoOtp::TooShort))));
    let other_key = ["vvtt", FIRST].concat();
    assert_eq!(why(&vault, &["vvtt"], &other_key), Ok(Err(Reason::NotGenuine(id("vvtt")))));
    vault.0.set_enabled(&named("vvcb"), false);
    assert_eq!(why(&vault, &["vvcb"], &otp), Ok(Err(Reason::Disabled(named("vvcb")))));
    let unlisted = offline(otp.as_bytes(), &Enrolment::NotListed, &vault).ok().unwrap();
    assert_eq!(unlisted.verdict, Verdict::NotEnrolled);
}

#[test]
fn a_private_id_of_another_is_not_genuine() {
    struct OtherPrivateId(Tokens);
    impl Ledger for OtherPrivateId {
        type Fault = Unknown;
        type Token = TokenId;
        fn advance(&self, _: &TokenId, _: Fingerprint, _: Position) -> Result<Advance, Unknown> {
            panic!("what is not genuine must not touch the ledger")
        }
    }
    impl Vault for OtherPrivateId {
        fn credential(&self, token: &PublicId) -> Result<Credential, Unknown> {
            Ok(Credential { private_id: PrivateId::new([1, 2, 3, 4, 5, 7]), ..self.0.credential(token)? })
        }
        fn holds(&self, token: &PublicId) -> Result<bool, Unknown> {
            self.0.holds(token)
        }
        fn is_enabled(&self, token: &PublicId) -> Result<bool, Unknown> {
            self.0.is_enabled(token)
        }

        fn advance_proved(&self, _: &TokenId, _: Fingerprint, _: Proved) -> Result<Advance, Unknown> {
            panic!("what is not genuine must not touch the ledger")
        }

        fn oath(&self, token: &Serial) -> Result<OathToken, Unknown> {
            Err(Unknown(TokenId::Oath(*token)))
        }

        fn oath_kind(&self, token: &Serial) -> Result<oath::Kind, Unknown> {
            Err(Unknown(TokenId::Oath(*token)))
        }

        fn advance_oath(
            &self,
            token: &Serial,
            _: Fingerprint,
            _: Option<Progress>,
            _: Progress,
        ) -> Result<Advance, Unknown> {
            Err(Unknown(TokenId::Oath(*token)))
        }

        fn recovery_code(&self, set: &SetId, _: &RecoveryCode) -> Result<Option<Fingerprint>, Unknown> {
            Err(Unknown(TokenId::RecoverySet(*set)))
        }

        fn eight_digits(&self, set: &SetId, _: &oath::Code) -> Result<Option<EightDigits>, Unknown> {
            Err(Unknown(TokenId::RecoverySet(*set)))
        }
    }
    let vault = OtherPrivateId(tokens(&["vvcb"]));
    let otp = ["vvcb", FIRST].concat();
    let judged = offline(otp.as_bytes(), &listed(&["vvcb"]), &vault).ok().unwrap();
    assert_eq!(judged.verdict, Verdict::Rejected(Reason::NotGenuine(id("vvcb"))));
}

#[test]
fn a_fault_is_neither_yes_nor_no() {
    let vault = tokens(&["-"]);
    // No credential for the token: undecided, unless another token of the user proves the OTP.
    let otp = ["vvuu", FIRST].concat();
    assert_eq!(why(&vault, &["vvuu"], &otp), Err(Unknown(named("vvuu"))));
    assert_eq!(why(&vault, &["vvuu", "-"], &otp), Ok(Ok(named("-"))));
    // A credential, but the ledger does not know the token.
    assert_eq!(why(&vault, &["vvcb"], &["vvcb", FIRST].concat()), Err(Unknown(named("vvcb"))));
}

#[test]
fn decryption_decides_among_ids_and_layouts() {
    // "cb" and "cbcb" both end the text before the block; the longest ID comes first.
    let vault = tokens(&["cb", "cbcb", "-"]);
    let mapping = &["-", "cb", "cbcb"];
    let otp = ["cbcb", FIRST].concat();
    assert_eq!(why(&vault, mapping, &otp), Ok(Ok(named("cbcb"))));
    let dvorak: String = ["cb", SECOND]
        .concat()
        .bytes()
        .map(|letter| crate::layout::LAYOUTS[1].typed(modhex::nibble(letter).unwrap()))
        .collect();
    for typed in [dvorak.clone(), dvorak.to_uppercase(), ["p4ss ", &dvorak, "\r\n"].concat()] {
        let vault = tokens(&["cb"]);
        assert_eq!(why(&vault, &["cb"], &typed), Ok(Ok(named("cb"))), "{typed}");
        let enrolment = listed(&["cb"]);
        let judged = offline(typed.as_bytes(), &enrolment, &vault).ok().unwrap();
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
        let judged = offline(answer.as_bytes(), &listed(&["vvcb"]), &vault).ok().unwrap();
        assert_eq!(judged.password, Some(password.as_bytes()), "{typed:?}");
    }
}

const OK: ServerVerdict = ServerVerdict::Ok(Position::yubikey(1, 1));

/// The result, the number of questions that it took, and the trail.
fn by(
    mode: Mode,
    vault: &Tokens,
    token: &str,
    servers: &Told,
) -> (Result<Verdict, Unknown>, usize, Option<String>) {
    let otp = [token, FIRST].concat();
    servers.asked.borrow_mut().clear();
    let enrolment = listed(&[token]);
    let judged = judge(otp.as_bytes(), &enrolment, mode, Methods::ALL, vault, servers, &NO_CODES);
    let asked = servers.asked.borrow().len();
    match judged {
        Ok(judged) => (Ok(judged.verdict), asked, judged.trail),
        Err(fault) => (Err(fault), asked, None),
    }
}

/// Mode, whether the key is here, what servers say → outcome, questions.
#[test]
fn who_decides_in_each_mode() {
    use Mode::*;
    #[derive(Debug, PartialEq, Clone, Copy)]
    enum Outcome {
        Yes,
        No,
        Fault,
    }
    use Outcome::*;
    let (here, elsewhere) = ("vvcb", "vvnn");
    for (mode, token, says, expected, questions) in [
        (Offline, here, None, Yes, 0),
        (Offline, here, Some(ServerVerdict::BadOtp), Yes, 0),
        (Online, here, Some(OK), Yes, 1),
        (Online, here, Some(ServerVerdict::BadOtp), No, 1),
        (Online, here, Some(ServerVerdict::ReplayedOtp), No, 1),
        (Online, here, None, Fault, 1),
        (Online, elsewhere, Some(OK), Yes, 1),
        (Online, elsewhere, Some(ServerVerdict::BadOtp), No, 1),
        (Online, elsewhere, Some(ServerVerdict::ReplayedOtp), No, 1),
        (Online, elsewhere, None, Fault, 1),
        (OnlineThenOffline, here, Some(OK), Yes, 1),
        (OnlineThenOffline, here, Some(ServerVerdict::BadOtp), No, 1),
        (OnlineThenOffline, here, Some(ServerVerdict::ReplayedOtp), No, 1),
        (OnlineThenOffline, here, None, Yes, 1),
        (OnlineThenOffline, elsewhere, Some(OK), Yes, 1),
        (OnlineThenOffline, elsewhere, Some(ServerVerdict::ReplayedOtp), No, 1),
        (OnlineThenOffline, elsewhere, None, Fault, 1),
        (OfflineThenOnline, here, Some(ServerVerdict::BadOtp), Yes, 0),
        (OfflineThenOnline, here, None, Yes, 0),
        (OfflineThenOnline, elsewhere, Some(OK), Yes, 1),
        (OfflineThenOnline, elsewhere, Some(ServerVerdict::BadOtp), No, 1),
        (OfflineThenOnline, elsewhere, None, Fault, 1),
    ] {
        let vault = tokens(&[here]);
        vault.0.enrol(&named(elsewhere), Fingerprint::ELSEWHERE);
        let servers = says.map_or_else(Told::nothing, Told::says);
        let outcome = |verdict: &Result<Verdict, Unknown>| match verdict {
            Ok(Verdict::Accepted(_)) => Yes,
            Ok(Verdict::Rejected(_)) => No,
            Ok(Verdict::NotEnrolled) => panic!("a listed user is enrolled"),
            Err(_) => Fault,
        };
        let row = format!("{} {token} {says:?}", mode.name());
        let (verdict, asked, trail) = by(mode, &vault, token, &servers);
        assert_eq!((outcome(&verdict), asked), (expected, questions), "{row}");
        assert_eq!(trail.is_some(), asked > 0 && expected != Fault, "{row}: {trail:?}");
        // Whether host or servers accepted it: never again here, whatever the servers say.
        for mode in Mode::ALL {
            for servers in [Told::says(OK), Told::nothing()] {
                let again = outcome(&by(mode, &vault, token, &servers).0);
                assert!(expected != Yes || again != Yes, "{row}, then {}", mode.name());
            }
        }
    }
}

/// A server that answers is alive, and may know of a replay; only a site that says so has this host decide then.
#[test]
fn answers_that_decide_nothing_are_not_left_to_this_host() {
    for mode in Mode::ALL {
        for (answers, accepts_replays, decides) in
            [(false, false, true), (false, true, true), (true, false, false), (true, true, true)]
        {
            let vault = tokens(&["vvcb"]);
            let servers = Told { answers, accepts_replays, ..Told::nothing() };
            let otp = ["vvcb", FIRST].concat();
            let judged =
                judge(otp.as_bytes(), &listed(&["vvcb"]), mode, Methods::ALL, &vault, &servers, &NO_CODES);
            let judged = judged.map(|it| (matches!(it.verdict, Verdict::Accepted(_)), it.despite_answers));
            let expected = match mode {
                Mode::Offline | Mode::OfflineThenOnline => Ok((true, false)),
                Mode::Online => Err(Unknown(named("nnnn"))),
                Mode::OnlineThenOffline if decides => Ok((true, answers)),
                Mode::OnlineThenOffline => Err(Unknown(named("vvvv"))),
            };
            assert_eq!(judged, expected, "{}, {answers}, {accepts_replays}", mode.name());
        }
    }
}

#[test]
fn servers_are_asked_in_modhex_and_told_nothing_else() {
    let vault = tokens(&["vvcb"]);
    vault.0.enrol(&named("vvnn"), Fingerprint::ELSEWHERE);
    for (token, position) in [("vvcb", Some(Position::yubikey(1, 1))), ("vvnn", None)] {
        let servers = Told::says(OK);
        let otp = [token, FIRST].concat();
        let typed = ["hunter2", &otp.to_uppercase(), "\r\n"].concat();
        let enrolment = listed(&["vvcb", "vvnn"]);
        let judged =
            judge(typed.as_bytes(), &enrolment, Mode::Online, Methods::ALL, &vault, &servers, &NO_CODES)
                .ok()
                .unwrap();
        assert!(matches!(judged.verdict, Verdict::Accepted(_)));
        assert_eq!(judged.password, Some(&b"hunter2"[..]));
        assert_eq!(*servers.asked.borrow(), [(otp, position)]);
    }
}

/// Neither what is not theirs, nor what the key that is here proves wrong, nor what cannot be decided by it.
#[test]
fn servers_are_not_asked_in_vain() {
    let vault = tokens(&["vvcb", "vvtt"]);
    for (mapping, answer) in [
        (&["vvcb"][..], ["vvdd", FIRST].concat()),
        (&["vvtt"], ["vvtt", FIRST].concat()),
        (&["vvuu"], ["vvuu", FIRST].concat()),
        (&[], ["vvcb", FIRST].concat()),
        (&["vvcb"], "a password".into()),
    ] {
        for mode in Mode::ALL {
            let servers = Told::says(OK);
            let judged =
                judge(answer.as_bytes(), &listed(mapping), mode, Methods::ALL, &vault, &servers, &NO_CODES);
            assert!(!matches!(judged, Ok(Judgement { verdict: Verdict::Accepted(_), .. })), "{answer}");
            assert!(servers.asked.borrow().is_empty(), "{answer} in {}", mode.name());
        }
    }
}

#[test]
fn a_disabled_token_stays_out_whoever_says_ok() {
    let vault = tokens(&["vvcb"]);
    vault.0.enrol(&named("vvnn"), Fingerprint::ELSEWHERE);
    for token in ["vvcb", "vvnn"] {
        vault.0.set_enabled(&named(token), false);
        for mode in [Mode::Online, Mode::OnlineThenOffline, Mode::OfflineThenOnline] {
            let (verdict, ..) = by(mode, &vault, token, &Told::says(OK));
            assert_eq!(
                verdict,
                Ok(Verdict::Rejected(Reason::Disabled(named(token)))),
                "{token} {}",
                mode.name()
            );
        }
    }
}

/// A caller who starts sudo with limits that no program can run in must not choose who decides.
#[test]
fn servers_that_could_not_be_asked_leave_nobody_else_to_decide() {
    for mode in [Mode::Online, Mode::OnlineThenOffline] {
        let vault = tokens(&["vvcb"]);
        let (verdict, ..) = by(mode, &vault, "vvcb", &Told::out_of_reach());
        assert!(verdict.is_err(), "{}: {verdict:?}", mode.name());
        let (verdict, ..) = by(Mode::OnlineThenOffline, &vault, "vvcb", &Told::nothing());
        assert!(matches!(verdict, Ok(Verdict::Accepted(_))), "it was not used up: {verdict:?}");
    }
}

/// The last position means that nobody knows which OTPs were used: the OTP need not have been.
#[test]
fn an_unknown_position_is_not_called_a_replay() {
    let (low, near, last) = (Position::yubikey(1, 0), Position::yubikey(0x7fff, 0xfe), Position::LAST);
    let token = id("vvcb");
    let code = |offered, stored| {
        [Reason::Replayed { token, offered, stored }, Reason::Behind { token, offered, stored }]
            .map(|reason| reason.diagnostic().code)
    };
    assert_eq!(code(low, last), [Code::TokenNeedsResync; 2]);
    assert_eq!(code(near, last), [Code::TokenNeedsResync; 2]);
    assert_eq!(code(low, near), [Code::OtpReplayed, Code::OtpBehind]);
    assert_eq!(code(last, last), [Code::OtpReplayed, Code::OtpBehind]);
}
