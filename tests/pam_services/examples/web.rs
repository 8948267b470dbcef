//! The service of the web login, which checks a password and nothing else.

use crate::site::{PASSWORD, Site};
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use tests::built;
use yubiotp::password::{PasswordAnswer, PasswordQuestion, Restriction};

impl Site {
    /// What `ykweb-password` says of a password.
    fn web_password(&self, user: &str, password: &str) -> PasswordAnswer {
        let question = PasswordQuestion {
            user: user.to_owned(),
            password: password.as_bytes().to_vec().into(),
            from: "192.0.2.1".parse().ok(),
        };
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(&question.write().unwrap()).unwrap();
        ours.shutdown(Shutdown::Write).unwrap();
        let mut program = self.host.command(built::program("ykweb-password").to_str().unwrap());
        let ran = program.stdin(OwnedFd::from(theirs)).output().unwrap();
        // It still has the program's end.
        drop(program);
        assert!(ran.status.success(), "{ran:?}");
        let mut answer = Vec::new();
        ours.read_to_end(&mut answer).unwrap();
        PasswordAnswer::read(&answer).unwrap()
    }
}

pub(super) fn ykweb(site: &Site, example: &str) {
    site.pam("ykweb", example);
    assert!(matches!(site.web_password("alice", PASSWORD), PasswordAnswer::Right { .. }));
    for (user, password) in [("alice", "wrong horse"), ("nobody-known", PASSWORD)] {
        assert_eq!(site.web_password(user, password), PasswordAnswer::Wrong, "{user}");
    }
    assert!(site.host.run(&["chage", "-E", "1", "bob"]).status.success());
    let reason = Restriction::AccountExpired;
    assert_eq!(site.web_password("bob", PASSWORD), PasswordAnswer::NotAllowed { reason });
    // The line that it says it must not have.
    site.pam("ykweb", &format!("{example}auth required pam_yubiotp.so\n"));
    assert!(matches!(site.web_password("alice", PASSWORD), PasswordAnswer::Failed { .. }));
}
