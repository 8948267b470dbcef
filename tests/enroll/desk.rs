//! A host whose service `otp` offers enrollment, and users who log in there.

use std::fs;
use tests::enrolling::{self, Enrolling};
use tests::libpam::{Code, Item, Pam, SILENT, Script};
use tests::place::Place;
use tests::soft_app::SoftApp;
use tests::soft_yubikey::SoftYubiKey;

/// What sshd says of a user whose key it has accepted.
pub(crate) const KEY: &str = "SSH_AUTH_INFO_0=publickey ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI\n";

pub(crate) struct Desk {
    pub(crate) place: Place,
}

/// A login that was offered enrollment.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) code: Code,
    pub(crate) account: Code,
    pub(crate) shown: Vec<String>,
}

impl Attempt {
    /// The app that was offered.
    pub(crate) fn app(&self) -> SoftApp {
        enrolling::app(&self.shown).unwrap()
    }

    pub(crate) fn recovery_codes(&self) -> Vec<String> {
        enrolling::recovery_codes(&self.shown)
    }
}

impl Desk {
    pub(crate) fn new() -> Self {
        let place = Place::in_memory();
        place.offer_enrollment();
        Self { place }
    }

    /// Puts a module beside ours that says yes, so that PAM_IGNORE of ours does not end the login.
    pub(crate) fn beside_permit(&self) {
        self.place.service(
            "otp",
            "auth required pam_permit.so\nauth required pam_yubiotp.so enroll\n\
             account required pam_permit.so\naccount required pam_yubiotp.so\n",
        );
    }

    /// A login whose first factor is proven.
    pub(crate) fn enroll(&self, user: &str, answers: &[&str]) -> Attempt {
        self.attempt(user, Some(KEY), answers)
    }

    pub(crate) fn attempt(&self, user: &str, variable: Option<&str>, answers: &[&str]) -> Attempt {
        self.attempt_from("192.0.2.1", user, variable, answers)
    }

    /// The same, from another host.
    pub(crate) fn attempt_from(
        &self,
        host: &str,
        user: &str,
        variable: Option<&str>,
        answers: &[&str],
    ) -> Attempt {
        let conversation = Enrolling::new(answers);
        let shown = conversation.shown();
        let mut pam = Pam::start(self.place.confdir(), "otp", Some(user.as_bytes()), Box::new(conversation));
        pam.set_item_str(Item::Tty, "ssh");
        variable.into_iter().for_each(|variable| pam.set_variable(variable));
        pam.set_item_str(Item::Rhost, host);
        let code = pam.authenticate(0);
        let account = pam.acct_mgmt(0);
        drop(pam);
        let shown = shown.borrow().clone();
        Attempt { code, account, shown }
    }

    /// A login of an application that wants no messages, with a proven first factor.
    pub(crate) fn silently(&self, user: &str, answers: &[&str]) -> (Code, Vec<String>) {
        let conversation = Enrolling::new(answers);
        let shown = conversation.shown();
        let mut pam = Pam::start(self.place.confdir(), "otp", Some(user.as_bytes()), Box::new(conversation));
        pam.set_item_str(Item::Tty, "ssh");
        pam.set_variable(KEY);
        let code = pam.authenticate(SILENT);
        drop(pam);
        (code, shown.borrow().clone())
    }

    /// A login with one answer, as it is for everybody who has a token.
    pub(crate) fn login(&self, user: &str, answer: &str) -> Code {
        let conversation = Box::new(Script::new([answer]));
        Pam::start(self.place.confdir(), "otp", Some(user.as_bytes()), conversation).authenticate(0)
    }

    /// Imports the key of a YubiKey, which is nobody's.
    pub(crate) fn import(&self, key: &SoftYubiKey) {
        self.place.write("log.csv", key.traditional_log_line() + "\n", 0o600);
        self.ykmap(&["key", "import", self.place.path("log.csv").to_str().unwrap()]);
    }

    /// Imports a hardware token of this series, which is nobody's.
    pub(crate) fn hardware(&self, serial: &str, series: &str) -> SoftApp {
        let token = SoftApp::numbered(serial.parse().unwrap());
        let line = format!("{serial},{}\n", data_encoding::HEXLOWER.encode(token.secret()));
        self.place.write("tokens.csv", line, 0o600);
        let file = self.place.path("tokens.csv");
        self.ykmap(&["token", "import", "--secret", "hex", "--series", series, file.to_str().unwrap()]);
        token
    }

    pub(crate) fn ykmap(&self, args: &[&str]) -> String {
        let output = self.place.ykmap(args);
        assert!(output.status.success(), "ykmap {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The tokens that `enrolled` lists for a user.
    pub(crate) fn enrolled(&self, user: &str) -> Option<String> {
        let text = fs::read_to_string(self.place.path("enrolled")).unwrap_or_default();
        let begin = format!("{user}:");
        text.lines().find_map(|line| line.strip_prefix(&begin).map(str::to_owned))
    }

    /// The names of files in a folder of the store, but for hidden ones.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let names = fs::read_dir(self.place.path(folder)).into_iter().flatten();
        let mut names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| !name.starts_with('.'));
        names.sort_unstable();
        names
    }
}
