//! By hand, and with an environment.

use crate::asker::{PROGRAM, question, start_as};
use crate::server::Server;
use std::process::{Command, Stdio};
use yubiotp::ask::Event;

#[test]
fn by_hand_it_says_who_runs_it() {
    let out = Command::new(PROGRAM).arg("--version").output().unwrap();
    assert!(out.status.success());
    assert_eq!(
        String::from_utf8_lossy(&out.stdout),
        concat!("yubiotp-ask ", env!("CARGO_PKG_VERSION"), "\n")
    );
    for arguments in [["--help"].as_slice(), &["x"], &["--version", "x"], &[""]] {
        let out = Command::new(PROGRAM).args(arguments).stdin(Stdio::null()).output().unwrap();
        assert_eq!(out.status.code(), Some(2));
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(text.contains("ykmap verify") && text.lines().count() == 2, "{text}");
    }
}

#[test]
fn an_environment_is_refused() {
    let server = Server::replies("x");
    let mut asker =
        start_as(Command::new(PROGRAM).env_clear().env("HTTPS_PROXY", "http://evil/").env("LANG", "C"));
    asker.write(&question(&[server.url()]));
    let events = asker.rest();
    let [Event::Unable { why, .. }] = &events[..] else { panic!("{events:?}") };
    assert!(why.starts_with("the environment is not empty: ") && !why.contains("evil"), "{why}");
    assert_eq!(server.connections(), 0);
}
