//! The dialog of pam-auth-update, for administrators who prefer to choose from a list.

use super::fresh;
use crate::root::Root;
use crate::shipped::debs;
use crate::ways::SOON;
use tests::terminal::Terminal;

/// The profiles, and what each writes.
const PROFILES: [(&str, &str); 3] = [
    ("yubiotp", "auth\trequired\tpam_yubiotp.so"),
    ("yubiotp-rollout", "auth\trequired\tpam_yubiotp.so nullok"),
    ("yubiotp-one-field", "auth\trequired\tpam_yubiotp.so [prompt=Password, then YubiKey: ]"),
];
/// Debian's own, without which nobody logs in.
const UNIX: &str = "Unix authentication";

impl Root {
    /// Chooses those by their numbers.
    fn choose(&self, names: &[&str]) {
        let mut command = self.command("pam-auth-update");
        command.env("DEBIAN_FRONTEND", "teletype");
        let mut dialog = Terminal::spawn(command);
        dialog.wait_for("PAM profiles to enable: ", SOON);
        let list = dialog.transcript();
        let numbers: Vec<_> = names.iter().map(|name| number(&list, name)).collect();
        dialog.type_line(&numbers.join(" "));
        let (code, transcript) = dialog.finish(SOON);
        self.story.did("# pam-auth-update", &transcript);
        assert_eq!(code, Some(0), "{transcript}");
    }
}

/// `  2. Unix authentication` is in the list, alone or beside others.
fn number(list: &str, name: &str) -> String {
    let before = list.split(&format!(". {name}")).next().unwrap();
    assert!(before.len() < list.len(), "{name} is not in the list: {list}");
    let digits = before.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap();
    assert!(!digits.is_empty(), "{name} has no number: {list}");
    digits.to_owned()
}

/// What is chosen is what is written: a name with a comma would be two names, and all below it one number further.
#[test]
fn a_choice_from_the_list_is_what_is_written() {
    let Some((root, _)) = fresh("dialog") else { return };
    root.apt_install(&debs().new).ok();
    let off = root.pam_d();
    for (profile, line) in PROFILES {
        let text = root.read(&format!("/usr/share/pam-configs/{profile}"));
        let name = text.lines().find_map(|line| line.strip_prefix("Name: ")).unwrap();
        root.story.step(name);
        root.choose(&[UNIX, name]);
        let lines = root.lines_of_ours();
        let written: Vec<_> = lines.iter().map(|line| line.trim_end()).collect();
        assert_eq!(written, [format!("/etc/pam.d/common-auth:{line}")], "{name}");
        root.choose(&[UNIX]);
        assert_eq!(root.pam_d(), off, "{name}: choosing Debian's own alone left something");
    }
    root.assert_password_suffices();
}
