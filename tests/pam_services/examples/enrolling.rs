//! The example in which users enroll: alice enrolls an app with her password, and needs it from then on.

use super::{Site, sshd_config};
use crate::codes::code;
use crate::enrollment::{CHOICE, CODE, PROMPT, after_password, recovery_code, set_program, shown};
use crate::ways::{SOON, TALKATIVE};

pub(super) fn sshd_enroll(site: &Site, example: &str) {
    site.pam("sshd", example);
    set_program(site, "");
    let sshd = site.host.sshd(&[TALKATIVE, &sshd_config(example)].concat());

    // Without the password she is offered nothing, and nobody learns whether she has a token.
    let mut terminal = site.ssh(&sshd, "alice", &[]);
    site.answer(&mut terminal, "Password: ", &["wrong horse"]);
    let shown_to_stranger = site.assert_out(terminal);
    assert!(!shown_to_stranger.contains(CHOICE), "{shown_to_stranger}");

    let mut terminal = after_password(site, &sshd);
    terminal.wait_for(CHOICE, SOON);
    terminal.type_line("1");
    terminal.wait_for(CODE, SOON);
    let secret = shown(&terminal.transcript(), "secret ").replace(' ', "");
    let first = code(&secret, 0);
    terminal.type_line(&first);
    recovery_code(&mut terminal);
    site.assert_in(terminal, "alice");

    for (answer, is_in) in [(&first, false), (&code(&secret, 1), true)] {
        let mut terminal = after_password(site, &sshd);
        site.answer(&mut terminal, PROMPT, &[answer]);
        if is_in {
            site.assert_in(terminal, "alice");
        } else {
            site.assert_out(terminal);
        }
    }
}
