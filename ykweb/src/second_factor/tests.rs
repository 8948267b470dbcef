//! Second factors, decided over a real store, and by validation servers that speak the protocol.

mod asked;
mod site;

use super::*;
use crate::store::{Added, NewApp, NewCodes};
use site::{Does, Site, otp, refused};
use std::time::Duration;
use tempfile::TempDir;
use yubiotp::diagnostic::Code;
use yubiotp::key::OathKey;
use yubiotp::oath::window::Progress;
use yubiotp::oath::{Parameters, Secret};
use yubiotp::seal::StoreKey;
use yubiotp::{Reason, Serial};
use zeroize::Zeroizing;

const NOW: u64 = 1_790_000_010;

fn key() -> StoreKey {
    StoreKey::new([7; 32])
}

fn name(text: &str) -> UserName {
    UserName::parse(text).unwrap()
}

/// Alice has a YubiKey, an authenticator app and recovery codes; bob has nothing.
struct World {
    folder: TempDir,
    runtime: tokio::runtime::Runtime,
    codes: Vec<String>,
}

const SECRET: &[u8] = b"12345678901234567890";

fn app() -> OathKey {
    OathKey { secret: Secret::new(Zeroizing::new(SECRET.to_vec())).unwrap(), parameters: Parameters::APP }
}

/// The code that the app of alice shows so many periods later.
fn code(later: u64) -> String {
    (0..1_000_000)
        .map(|number| format!("{number:06}"))
        .find(|text| {
            let shown = yubiotp::oath::code(&app().secret, Parameters::APP, NOW / 30 + later);
            yubiotp::oath::Code::read(text.as_bytes()).is_some_and(|it| it.matches(&shown))
        })
        .unwrap()
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let store = Store::create(&folder.path().join("ykweb.db"), key().id()).unwrap();
        let alice = name("alice");
        assert!(store.add_user(&alice, 1).unwrap() && store.add_user(&name("bob"), 1).unwrap());
        assert_eq!(store.add_yubikey(&alice, site::token(), "", 1).unwrap(), Added::Added);
        let serial = Serial::new("app-1").unwrap();
        let new = NewApp::seal(serial, &app(), Progress::default(), &key(), [9; 24]);
        assert_eq!(store.add_oath(&alice, &new, "", 1).unwrap(), Added::Added);
        let codes = NewCodes::draw(&key()).unwrap();
        assert!(store.new_recovery_codes(&alice, &codes, 1).unwrap());
        Self { folder, runtime, codes: codes.texts().map(|text| text.to_string()).collect() }
    }

    /// Opened anew, as another process would.
    fn store(&self) -> Store {
        Store::open(&self.folder.path().join("ykweb.db"), key().id().into()).unwrap()
    }

    fn factor(&self, validation: Option<Validation>) -> SecondFactor {
        let keys = Arc::new(key().into());
        SecondFactor::new(self.store(), keys, validation, self.runtime.handle().clone()).unwrap()
    }

    fn site(&self, does: &[Does]) -> Site {
        self.runtime.block_on(Site::start(does))
    }
}

fn reason(factor: &SecondFactor, user: &str, answer: &str) -> (Option<Reason>, Code) {
    let judged = factor.judge(&name(user), answer.as_bytes(), NOW).unwrap();
    assert!(judged.means.is_none());
    let found = judged.finding.unwrap();
    let is_of_a_host = |it: &yubiotp::diagnostic::Remedy| matches!(it, yubiotp::diagnostic::Remedy::Command { command, .. } if command.program != yubiotp::diagnostic::Program::Ykwebd);
    assert!(!found.remedies.iter().any(is_of_a_host), "{found}");
    match judged.verdict {
        Verdict::Rejected(reason) => (Some(reason), found.code),
        Verdict::NotEnrolled => (None, found.code),
        Verdict::Accepted(_) => panic!("{user} {answer}"),
    }
}

fn accepted(factor: &SecondFactor, answer: &str) -> (Means, Vec<u8>) {
    let judged = factor.judge(&name("alice"), answer.as_bytes(), NOW).unwrap();
    assert!(matches!(judged.verdict, Verdict::Accepted(_)), "{answer}: {:?}", judged.finding);
    (judged.means.unwrap(), judged.password.unwrap().to_vec())
}

#[test]
fn each_means_is_accepted_once_in_any_process() {
    let world = World::new();
    let site = world.site(&[Does::Answer]);
    let first = world.factor(Some(site.validation()));
    let other = world.factor(Some(site.validation()));
    for (answer, means) in
        [(otp(0), Means::YubiKey), (code(0), Means::Totp), (world.codes[2].clone(), Means::Recovery)]
    {
        assert_eq!(accepted(&first, &format!("secret{answer}")), (means, b"secret".to_vec()));
        for factor in [&first, &other] {
            let (reason, code) = reason(factor, "alice", &answer);
            assert!(
                matches!(
                    (reason, means),
                    (Some(Reason::ReplayedSaysServer(_)), Means::YubiKey)
                        | (Some(Reason::CodeUsed { .. }), Means::Totp)
                        | (Some(Reason::RecoveryCodeUsed(_, 3)), Means::Recovery)
                ),
                "{reason:?} {code}"
            );
        }
    }
    // What is above it is not.
    assert_eq!(accepted(&other, &otp(1)), (Means::YubiKey, Vec::new()));
    assert_eq!(accepted(&other, &code(1)), (Means::Totp, Vec::new()));
    assert_eq!(accepted(&other, &world.codes[0]), (Means::Recovery, Vec::new()));
    assert_eq!(world.store().account(&name("alice")).unwrap().unwrap().recovery.unwrap().left, 2);
}

/// A server that forgot, or one that is another's, says OK twice.
#[test]
fn what_a_server_accepts_twice_is_accepted_once() {
    let world = World::new();
    let site = world.site(&[Does::Forget]);
    let factor = world.factor(Some(site.validation()));
    assert_eq!(accepted(&factor, &otp(1)).0, Means::YubiKey);
    assert!(matches!(reason(&factor, "alice", &otp(1)).0, Some(Reason::Replayed { .. })));
    assert_eq!(reason(&factor, "alice", &otp(0)).1, Code::OtpBehind);
}

#[test]
fn of_many_at_once_one_is_accepted() {
    let world = World::new();
    // Servers that say OK to each of them.
    let site = world.site(&[Does::Forget]);
    for answer in [otp(0), code(0), world.codes[1].clone()] {
        let start = std::sync::Barrier::new(12);
        let yes = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..12)
                .map(|_| {
                    let (factor, start, answer) = (world.factor(Some(site.validation())), &start, &answer);
                    scope.spawn(move || {
                        start.wait();
                        let judged = factor.judge(&name("alice"), answer.as_bytes(), NOW).unwrap();
                        matches!(judged.verdict, Verdict::Accepted(_))
                    })
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).filter(|yes| *yes).count()
        });
        assert_eq!(yes, 1, "{answer}");
    }
}

#[test]
fn who_is_not_known_or_not_enabled_is_told_so_and_nothing_is_used_up() {
    let world = World::new();
    let site = world.site(&[Does::Answer]);
    let factor = world.factor(Some(site.validation()));
    for answer in [otp(0), code(0), world.codes[0].clone(), "hunter2".to_owned()] {
        assert_eq!(reason(&factor, "carol", &answer), (None, Code::UserNotListed));
    }
    assert_eq!(reason(&factor, "bob", &otp(0)), (Some(Reason::NoTokens), Code::UserWithoutToken));
    let store = world.store();
    assert!(store.set_user_enabled(&name("alice"), false).unwrap());
    for answer in [otp(0), code(0), world.codes[0].clone(), "hunter2".to_owned()] {
        assert_eq!(reason(&factor, "alice", &answer).1, Code::UserDisabled);
    }
    assert!(factor.methods(&name("alice")).unwrap().is_empty());
    assert_eq!(site.asked(), 0, "a server was asked about a user who may not sign in");
    assert!(store.set_user_enabled(&name("alice"), true).unwrap());
    let all = [Means::YubiKey, Means::Totp, Means::Recovery];
    assert_eq!(factor.methods(&name("alice")).unwrap(), all);
    // The code was right, so it was no guess, and one try was taken and given back or not: it is not used up.
    for answer in [otp(0), code(0), world.codes[0].clone()] {
        accepted(&factor, &answer);
    }
}

#[test]
fn a_disabled_token_is_not_accepted_and_another_users_is_not_theirs() {
    let world = World::new();
    let site = world.site(&[Does::Answer]);
    let (factor, store) = (world.factor(Some(site.validation())), world.store());
    let (alice, yubikey) = (name("alice"), TokenId::YubiKey(site::token()));
    assert!(store.set_token_enabled(&alice, &yubikey, false).unwrap());
    assert_eq!(reason(&factor, "alice", &otp(0)).1, Code::TokenDisabled);
    assert_eq!(factor.methods(&alice).unwrap(), [Means::Totp, Means::Recovery]);
    assert!(store.remove_token(&alice, &yubikey).unwrap());
    assert_eq!(store.add_yubikey(&name("bob"), site::token(), "", 1).unwrap(), Added::Added);
    assert_eq!(reason(&factor, "alice", &otp(0)).1, Code::OtherUsersToken);
    assert_eq!(site.asked(), 0);
    assert_eq!(reason(&factor, "bob", &code(0)).1, Code::AnswerTooShort, "bob has no app");
}

/// Ten wrong codes, of whichever process; then one code is not enough, and two are.
#[test]
fn guesses_are_counted() {
    let world = World::new();
    let (one, other) = (world.factor(None), world.factor(None));
    // None of these is shown within the window.
    let near: Vec<_> = (0..3).map(code).collect();
    let wrong: Vec<_> =
        (0..30).map(|number| format!("{number:06}")).filter(|text| !near.contains(text)).take(11).collect();
    for (at, text) in wrong.iter().enumerate() {
        let factor = if at % 2 == 0 { &one } else { &other };
        let expected = if at < 10 { Code::CodeWrong } else { Code::CodesNeeded };
        assert_eq!(reason(factor, "alice", text).1, expected, "{at}");
    }
    assert_eq!(reason(&one, "alice", &code(0)).1, Code::CodesNeeded);
    // It was not used up: with the next one it is accepted.
    assert_eq!(accepted(&other, &format!("{} {}", code(0), code(1))).0, Means::Totp);
}

/// Afterwards single codes are accepted again, and used ones are not.
#[test]
fn guesses_are_given_back() {
    let world = World::new();
    let (factor, store, alice) = (world.factor(None), world.store(), name("alice"));
    assert_eq!(accepted(&factor, &code(0)).0, Means::Totp);
    let near: Vec<_> = (0..3).map(code).collect();
    let wrong = (0..30).map(|number| format!("{number:06}")).filter(|text| !near.contains(text));
    for text in wrong.take(10) {
        assert_eq!(reason(&factor, "alice", &text).1, Code::CodeWrong);
    }
    assert_eq!(reason(&factor, "alice", &code(1)).1, Code::CodesNeeded);
    assert_eq!(give_back_guesses(&store, &alice, NOW).unwrap(), 0);
    assert_eq!(give_back_guesses(&store, &alice, NOW).unwrap(), yubiotp::guesses::CAPACITY);
    assert_eq!(reason(&factor, "alice", &code(0)).1, Code::CodeUsed);
    assert_eq!(accepted(&factor, &code(1)).0, Means::Totp);
}
