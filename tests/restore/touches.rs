//! The touches of a restored YubiKey, with the real pauses.

use crate::host::Host;
use std::thread;
use std::time::Duration;
use tests::libpam::{Code, Conversation, Prompt, Reply};
use tests::soft_yubikey::SoftYubiKey;

/// Half a minute less than what the clock counts until it wraps, in milliseconds: as if it went back by that.
const BACKWARDS: u64 = (0x0100_0000 - 240) * 125;

/// A user with a YubiKey who touches it whenever they are asked.
struct Touching {
    key: SoftYubiKey,
    /// Before which prompt the clock counts so many milliseconds too much; of a key whose clock lies.
    lie: Option<(usize, u64)>,
    asked: usize,
}

impl Conversation for Touching {
    fn answer(&mut self, prompts: &[Prompt]) -> Reply {
        assert_eq!(prompts.len(), 1, "{prompts:?}");
        self.asked += 1;
        match self.asked {
            2 => {
                assert!(prompts[0].text.contains("restored from a backup"), "{prompts:?}");
                assert!(prompts[0].text.contains("wait for two more prompts"), "{prompts:?}");
            }
            // A person is no machine.
            3 | 4 => thread::sleep(Duration::from_millis(700)),
            _ => {}
        }
        if let Some((at, lie)) = self.lie
            && at == self.asked
        {
            self.key.wait(lie);
        }
        Reply::Answers(vec![Some(self.key.press().into_bytes())])
    }
}

fn restored() -> Host {
    let host = Host::new();
    let file = host.backup();
    host.loses_its_store();
    host.ykmap(&["restore", &file]).exits(0);
    host
}

fn login(host: &Host, key: SoftYubiKey, lie: Option<(usize, u64)>) -> Code {
    host.login("alice", Box::new(Touching { key, lie, asked: 0 }))
}

/// Two hosts at once: each login waits its pause.
#[test]
fn a_real_clock_is_accepted_and_a_lying_one_is_not() {
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut host = restored();
            let id = host.yubikey.public_id();
            assert_eq!(host.state(&id)["restored"], true);
            host.yubikey = host.yubikey.clone().with_real_clock();
            assert_eq!(login(&host, host.yubikey.clone(), None), Code::SUCCESS);
            let state = host.state(&id);
            assert_eq!((&state["restored"], &state["session_use"]), (&false.into(), &3.into()));
            // The four OTPs are used up, and the next one is accepted as always.
            for _ in 0..4 {
                let used = host.yubikey.press();
                assert_ne!(host.answers("alice", &[&used]), Code::SUCCESS);
            }
            let next = host.yubikey.press();
            assert_eq!(host.answers("alice", &[&next]), Code::SUCCESS);
        });
        // A clock that goes backwards; one that jumps so far that it fits no pause; one that lies about the last pause.
        for (is_real, lie, uses) in
            [(false, (3, BACKWARDS), 2), (false, (3, 90_000), 2), (true, (4, 40_000), 3)]
        {
            scope.spawn(move || {
                let host = restored();
                let id = host.yubikey.public_id();
                let key = if is_real { host.yubikey.clone().with_real_clock() } else { host.yubikey.clone() };
                assert_eq!(login(&host, key, Some(lie)), Code::AUTH_ERR);
                let state = host.state(&id);
                assert_eq!(
                    (&state["restored"], &state["session_use"]),
                    (&true.into(), &uses.into()),
                    "{state}"
                );
                let shown = host.ykmap(&["key", "show", &id]).exits(0).out;
                assert!(shown.contains("failed; ykmap"), "{shown}");
            });
        }
        // A recording of touches a minute apart, which fits no pause (the odds of others: `freshness`), sent as fast as the prompts come.
        scope.spawn(|| {
            let mut host = restored();
            let recorded: Vec<_> = (0..9)
                .map(|_| {
                    host.yubikey.wait(60_000);
                    host.yubikey.press()
                })
                .collect();
            let first: Vec<_> = recorded.iter().take(4).map(String::as_str).collect();
            assert_eq!(host.answers("alice", &first), Code::AUTH_ERR);
            for otp in recorded.iter().rev() {
                assert_ne!(host.answers("alice", &[otp]), Code::SUCCESS);
            }
        });
    });
}
