//! The time to the next prompt, which must not show who is listed.

use std::cell::RefCell;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};
use tests::libpam::{Code, Conversation, Pam, Prompt, Reply};
use tests::place::Place;
use tests::soft_yubikey::SoftYubiKey;

/// Gives one answer again and again, and notes when it was asked for.
struct Patient(String, Rc<RefCell<Vec<Instant>>>);

impl Conversation for Patient {
    fn answer(&mut self, prompts: &[Prompt]) -> Reply {
        self.1.borrow_mut().push(Instant::now());
        Reply::Answers(vec![Some(self.0.clone().into_bytes()); prompts.len()])
    }
}

/// How long each prompt but the first took to come, and what it came to.
fn waits(place: &Place, user: &str, answer: &str) -> (Code, Vec<Duration>) {
    let asked = Rc::default();
    let conversation = Patient(answer.to_owned(), Rc::clone(&asked));
    let mut pam = Pam::start(place.confdir(), "waits", Some(user.as_bytes()), Box::new(conversation));
    let code = pam.authenticate(0);
    let asked = asked.borrow();
    (code, asked.iter().zip(asked.iter().skip(1)).map(|(one, next)| *next - *one).collect())
}

#[test]
fn the_second_prompt_comes_as_late_for_everybody() {
    let (place, mut key) = (Place::new(), SoftYubiKey::numbered(21));
    place.enrol("alice", &key);
    place.service("waits", "auth required pam_yubiotp.so tries=2\n");
    let (used, fresh) = (key.press(), key.press());
    assert_eq!(waits(&place, "alice", &used), (Code::SUCCESS, vec![]), "who is accepted does not wait");
    // Of a line that cannot be read, everybody hears.
    let broken = Place::new();
    broken.write("authorized_yubikeys", "alice cccc\n", 0o644);
    broken.service("waits", "auth required pam_yubiotp.so tries=2\n");
    let kinds = [
        (&place, "alice", "guess", Code::MAXTRIES),
        (&place, "alice", used.as_str(), Code::MAXTRIES),
        (&place, "bob", "guess", Code::MAXTRIES),
        (&place, "bob", fresh.as_str(), Code::MAXTRIES),
        (&broken, "alice", fresh.as_str(), Code::AUTHINFO_UNAVAIL),
        (&broken, "bob", "guess", Code::AUTHINFO_UNAVAIL),
    ];
    thread::scope(|scope| {
        for (place, user, answer, expected) in kinds {
            scope.spawn(move || {
                let (code, waited) = waits(place, user, answer);
                let [waited] = waited[..] else { panic!("{user}, {answer}: {waited:?}") };
                assert_eq!(code, expected, "{user}, {answer}");
                // Two seconds, varied by half, and what a busy machine adds.
                assert!(
                    (Duration::from_secs(1)..Duration::from_secs(6)).contains(&waited),
                    "{user}, {answer}: {waited:?}"
                );
            });
        }
    });
}
