//! pam_oath's users file as its module leaves it after logins.

use crate::{begin_of_step, has, log_in, module, now, oathtool};
use std::path::PathBuf;
use tests::libpam::Services;
use ykseeds::usersfile::{Pin, Token, read};
use yubiotp::Position;
use yubiotp::oath::window::Found;

const SECRET: &str = "3132333435363738393031323334353637383930";
const OTHER: &str = "3132333435363738393031323334353637383931";
const THIRD: &str = "3132333435363738393031323334353637383932";

/// A host with pam_oath.
struct Host(tempfile::TempDir);

impl Host {
    fn new(users: &str) -> Option<Self> {
        if !has(&["oathtool"]) {
            return None;
        }
        let module = module("pam_oath.so")?;
        let host = Self(tempfile::tempdir().unwrap());
        std::fs::write(host.file(), users).unwrap();
        let line = format!(
            "auth required {} usersfile={} window=20 digits=6\n",
            module.display(),
            host.file().display()
        );
        Services::new(&host.confdir()).write("otp", &line);
        Some(host)
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("users.oath")
    }

    fn confdir(&self) -> PathBuf {
        self.0.path().join("pam.d")
    }

    fn tokens(&self) -> Vec<Token> {
        read(&std::fs::read(self.file()).unwrap(), now()).unwrap_or_else(|problems| panic!("{problems:?}"))
    }

    /// Logs a user in with the code of a step, behind a PIN.
    fn logs_in(&self, user: &str, pin: &str, step: u64) -> bool {
        let tokens = self.tokens();
        let token = tokens.iter().find(|token| token.users[0].name == user).unwrap();
        let code = oathtool(&token.secret, token.parameters, step);
        log_in(&self.confdir(), user, &format!("{pin}{code}"))
    }
}

/// What a code of a step would come to here.
fn found(token: &Token, step: u64) -> Found {
    crate::found(&token.secret, token.parameters, token.progress, step)
}

#[test]
fn codes_that_were_used_there_are_used_here() {
    let users =
        format!("# users\nHOTP alice - {SECRET}\nHOTP/T30 bob 1234 {OTHER}\nHOTP/T60/6 carol - {THIRD}\n");
    let Some(host) = Host::new(&users) else { return };
    assert!(host.tokens().iter().all(|token| token.progress.next.is_none()));
    // HOTP, with codes that were left out.
    for counter in [0, 5] {
        assert!(host.logs_in("alice", "", counter));
        let alice = &host.tokens()[0];
        assert_eq!(alice.progress.next.map(Position::to_stored), Some(counter + 1));
        assert_eq!(found(alice, counter), Found::Used { step: counter });
        assert!(matches!(found(alice, counter + 1), Found::Fresh(_)));
        // As pam_oath decides.
        assert!(!host.logs_in("alice", "", counter));
    }
    // TOTP, of now and of a token that is fast.
    let step = begin_of_step(30);
    for at in [step, step + 4] {
        assert!(host.logs_in("bob", "1234", at));
        let bob = &host.tokens()[1];
        assert_eq!(bob.users[0].pin, Pin::Stored);
        assert_eq!(bob.progress.next.map(Position::to_stored), Some(at + 1));
        assert_eq!(found(bob, at), Found::Used { step: at });
        assert!(matches!(found(bob, at + 1), Found::Fresh(_)));
    }
    let step = begin_of_step(60);
    assert!(host.logs_in("carol", "", step - 2));
    let carol = &host.tokens()[2];
    assert_eq!(carol.progress.next.map(Position::to_stored), Some(step + 1));
    assert_eq!(found(carol, step - 2), Found::Used { step: step - 2 });
}

/// A counter without a last one-time password is the next that pam_oath accepts.
#[test]
fn a_counter_without_a_code() {
    let Some(host) = Host::new(&format!("HOTP alice - {SECRET} 7\n")) else { return };
    assert_eq!(host.tokens()[0].progress.next.map(Position::to_stored), Some(7));
    assert!(host.logs_in("alice", "", 7));
    assert_eq!(host.tokens()[0].progress.next.map(Position::to_stored), Some(8));
}
