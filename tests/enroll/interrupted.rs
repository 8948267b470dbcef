//! Broken off at every question, and resumed; two at once.

use crate::desk::{Desk, KEY};
use std::sync::{Arc, Barrier};
use std::thread;
use tests::enrolling::{self, Enrolling};
use tests::libpam::{Code, Conversation, Item, Pam, Prompt, Reply};
use tests::soft_app::now;

/// The host is as before but for the offer, or the user is enrolled; and the secret is the same for an hour.
#[test]
fn broken_off_and_resumed() {
    let desk = Desk::new();
    let answers = ["1", "q", "a", "000000", "", "1", "@0", ""];
    let mut secret = None;
    for length in 0..answers.len() - 1 {
        let broken = desk.enroll("alice", &answers[..length]);
        assert_eq!((broken.code, broken.account), (Code::CONV_ERR, Code::AUTH_ERR), "{length}: {broken:?}");
        assert_eq!(desk.enrolled("alice"), None, "{length}");
        assert!(desk.names("keys").is_empty() && desk.names("guesses").is_empty(), "{length}");
        if length > 0 {
            let known = *secret.get_or_insert(*broken.app().secret());
            assert_eq!(&known, broken.app().secret(), "{length}: another secret");
            assert_eq!(desk.names("pending"), ["alice"]);
        }
    }
    // At the last question the user is enrolled already, and the login did not succeed.
    let last = desk.enroll("alice", &answers[..answers.len() - 1]);
    assert_eq!((last.code, last.account), (Code::CONV_ERR, Code::AUTH_ERR), "{last:?}");
    assert_eq!(last.app().secret(), &secret.unwrap());
    assert!(desk.names("pending").is_empty());
    assert_eq!(desk.login("alice", &last.app().code(now() + 1)), Code::SUCCESS);
    assert_eq!(desk.login("alice", &last.recovery_codes()[8]), Code::SUCCESS);
}

/// An offer that is too old is not made again, and goes, whoever logs in.
#[test]
fn an_offer_ends_after_an_hour() {
    let desk = Desk::new();
    let first = desk.enroll("alice", &["1"]);
    let file = desk.place.path("pending/alice");
    let text = std::fs::read_to_string(&file).unwrap();
    let made: u64 = text.lines().find_map(|line| line.strip_prefix("made: ")).unwrap().parse().unwrap();
    // Nobody can make it younger or older: the time is sealed with the secret.
    let change =
        |by: u64| std::fs::write(&file, text.replace(&made.to_string(), &(made - by).to_string())).unwrap();
    change(10);
    let second = desk.enroll("alice", &["1"]);
    assert_ne!(first.app().secret(), second.app().secret());
    // Ten minutes more, for a dialogue that shows it.
    change(3601);
    let _ = desk.enroll("bob", &[]);
    assert_eq!(desk.names("pending"), ["alice"]);
    change(4200);
    let _ = desk.enroll("bob", &[]);
    assert!(desk.names("pending").is_empty());
}

/// An administrator ends the enrollment of somebody who is not listed: what was shown is of no use any more.
#[test]
fn a_reset_ends_an_offer() {
    let desk = Desk::new();
    let seen = desk.enroll("alice", &["1"]);
    let reset = || desk.place.ykmap(&["reset", "--yes", "alice"]).status.code();
    assert_eq!(reset(), Some(0));
    assert!(desk.names("pending").is_empty());
    assert_ne!(reset(), Some(0), "nobody is listed, and nothing is offered");
    assert_ne!(desk.enroll("alice", &["1"]).app().secret(), seen.app().secret());
}

/// Somebody with the first factor looks at the offer, breaks off, and has no copy of what the user enrolls from elsewhere.
#[test]
fn nobody_has_a_copy() {
    let desk = Desk::new();
    let seen = desk.attempt_from("203.0.113.66", "alice", Some(KEY), &["1"]);
    let own = desk.enroll("alice", &["1", "@0", ""]);
    assert_eq!(own.code, Code::SUCCESS, "{own:?}");
    assert_ne!(seen.app().secret(), own.app().secret());
    assert!(own.shown.concat().contains("UTC from 203.0.113.66 (otp) and did not finish"), "{own:?}");
    assert_eq!(desk.login("alice", &seen.app().code(now() + 1)), Code::AUTH_ERR);
    assert_eq!(desk.login("alice", &own.app().code(now() + 1)), Code::SUCCESS);
}

/// Waits at the question for the code until the other is there, too.
struct Together(Enrolling, Arc<Barrier>);

impl Conversation for Together {
    fn answer(&mut self, prompts: &[Prompt]) -> Reply {
        if prompts.iter().any(|prompt| prompt.text.contains("Type the code")) {
            self.1.wait();
        }
        self.0.answer(prompts)
    }
}

/// One wins, and the other changes nothing.
#[test]
fn two_at_once() {
    for _ in 0..4 {
        let desk = Desk::new();
        let barrier = Arc::new(Barrier::new(2));
        let codes: Vec<_> = thread::scope(|scope| {
            let logins: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        let conversation = Enrolling::new(["1", "@0", ""]);
                        let shown = conversation.shown();
                        let conversation = Box::new(Together(conversation, Arc::clone(&barrier)));
                        let mut pam = Pam::start(desk.place.confdir(), "otp", Some(b"alice"), conversation);
                        pam.set_item_str(Item::Tty, "ssh");
                        pam.set_variable(KEY);
                        let code = pam.authenticate(0);
                        let shown = shown.borrow();
                        (code, *enrolling::app(&shown).unwrap().secret(), enrolling::recovery_codes(&shown))
                    })
                })
                .collect();
            logins.into_iter().map(|login| login.join().unwrap()).collect()
        });
        let [won, lost] = match &codes[..] {
            [one, two] if one.0 == Code::SUCCESS => [one, two],
            [one, two] => [two, one],
            _ => panic!("{codes:?}"),
        };
        assert_eq!((won.0, lost.0), (Code::SUCCESS, Code::USER_UNKNOWN), "{codes:?}");
        assert_eq!(won.1, lost.1, "both were offered the same app");
        assert!(won.2.len() == 9 && lost.2.is_empty(), "{codes:?}");
        assert_eq!(desk.enrolled("alice").unwrap().matches(':').count(), 1);
        // Nothing but the winner's is in the store.
        assert_eq!(desk.names("keys").len(), 10, "{:?}", desk.names("keys"));
        assert_eq!(desk.login("alice", &won.2[0]), Code::SUCCESS);
    }
}
