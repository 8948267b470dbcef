//! A restore that is killed at each of its changes: at no moment is a used OTP accepted, and the same command finishes.

use crate::host::Host;
use std::process::Command;
use tests::CHANGING_CALLS;
use tests::libpam::Code;

fn is_killed(host: &Host, (call, n): (&str, usize), arguments: &[&str]) -> bool {
    let command = tests::scratch::command("ykmap");
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-f", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    strace.args(["-e", &format!("inject={call}:signal=KILL:when={n}")]);
    strace.arg(command.get_program()).arg("--config").arg(host.place.config()).args(arguments);
    let code = strace.output().unwrap().status.code();
    assert!(matches!(code, None | Some(0 | 137)), "{code:?}");
    code != Some(0)
}

#[test]
fn at_each_call() {
    let mut host = Host::new();
    let file = host.backup();
    let used = [host.yubikey.press(), host.yubikey.press()];
    for otp in &used {
        assert_eq!(host.answers("alice", &[otp]), Code::SUCCESS);
    }
    let spent = host.codes[0].clone();
    assert_eq!(host.answers("bob", &[&spent]), Code::SUCCESS);
    let none_is_accepted = |what: &str| {
        for (user, otp) in [("alice", &used[0]), ("alice", &used[1]), ("bob", &spent)] {
            // Nothing is used up by it.
            let said = host.ykmap(&["--json", "test", user, otp]);
            assert_ne!(said.code, Some(0), "{what}: {said:?}");
        }
    };
    let id = host.yubikey.public_id();
    let mut killed = 0;
    for call in CHANGING_CALLS {
        for n in 1.. {
            host.loses_its_store();
            if !is_killed(&host, (call, n), &["restore", &file]) {
                break;
            }
            killed += 1;
            none_is_accepted(&format!("{call} {n}"));
            // No key is there without its position.
            for key in std::fs::read_dir(host.place.path("keys")).into_iter().flatten() {
                let name = key.unwrap().file_name();
                let is_token = !name.to_str().unwrap().starts_with('.');
                assert!(
                    !is_token || host.place.path("positions").join(&name).exists(),
                    "{call} {n}: {name:?}"
                );
            }
            host.ykmap(&["restore", &file]).exits(0);
            none_is_accepted(&format!("{call} {n}, finished"));
            assert_eq!(host.state(&id)["restored"], true, "{call} {n}");
        }
    }
    assert!(killed > 20, "{killed}");
}
