//! Lines that libpam does not recognize as ours, and files that it cannot read: nobody asks for a YubiKey then, or
//! nobody gets in, and the doctor does not overlook the service.

use super::{Host, SUDO, Visit};
use crate::desk::{chmod, is_root, run};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

/// `sudo` with this as its second line; then one error about that line with these words, and nothing else is wrong.
#[track_caller]
fn second_line(line: &str, words: &[&str]) {
    let host = Host::new();
    host.service("sudo", &SUDO.replace("auth required pam_yubiotp.so", line));
    let place = format!("{}:2", host.pam("sudo").display());
    let visit = host.doctor(&[]);
    visit.finds("error", "pam.d", Path::new(&place), words);
    assert_eq!(visit.of("error").len(), 1, "{visit:#?}");
    assert!(!visit.has("no-service-asks"));
}

#[test]
fn lines_that_were_meant_to_load_it() {
    second_line("ath required pam_yubiotp.so", &["pam-line-misread"]);
    second_line("auth pam_yubiotp.so", &["pam-line-misread", "write auth required"]);
    second_line("auth required required pam_yubiotp.so", &["pam-line-misread", "remove \"required\""]);
    for name in ["\"pam_yubiotp.so\"", "pam-yubiotp.so", "pam_yubiotq.so", "pam_yubiotp.s", "libyubiotp.so"] {
        let host = Host::new();
        host.raw_service("sudo", &SUDO.replace("pam_yubiotp.so", name));
        let place = format!("{}:2", host.pam("sudo").display());
        let words = ["pam-line-misread", "write pam_yubiotp.so"];
        host.doctor(&[]).finds("error", "pam.d", Path::new(&place), &words);
    }
}

/// One mistake is one error, with its consequence.
#[test]
fn a_misspelt_control() {
    second_line("auth requird pam_yubiotp.so", &["pam-line-misread"]);
    let rest = "auth required pam_yubiotp.so\nauth requierd pam_nologin.so";
    let host = Host::new();
    host.service("sudo", &SUDO.replace("auth required pam_yubiotp.so", rest));
    let visit = host.doctor(&[]);
    visit.finds("error", "pam.d", &host.pam("sudo:3"), &["pam-line-misread", "\"requierd\""]);
    assert_eq!(visit.of("error").len(), 1, "{visit:#?}");
}

/// Another module is another module, and what only speaks of ours does not load it.
#[test]
fn lines_about_something_else() {
    let host = Host::new();
    host.raw_service(
        "other",
        "# pam_yubiotp.so\nauth required pam_yubico.so\nauth required pam_succeed_if.so user ingroup yubiotp\n",
    );
    host.doctor(&[]).is_well();
}

#[test]
fn what_is_included_is_gone() {
    let host = Host::new();
    for lines in [format!("@include nothere\n{SUDO}"), "@include nothere\n".to_owned()] {
        host.service("sudo", &lines);
        let place = format!("{}:1", host.pam("sudo").display());
        let words = ["service-file-broken"];
        host.doctor(&[]).finds("error", "pam.d", Path::new(&place), &words);
    }
    // A missing file that may have had our line.
    host.raw_service("sudo", "auth include nothere\naccount required pam_unix.so\n");
    let words = ["pam-line-misread"];
    host.doctor(&[]).finds("error", "pam.d", &host.pam("sudo:1"), &words);
    fs::remove_file(host.pam("sudo")).unwrap();
    symlink("/nothere", host.pam("sudo")).unwrap();
    let words = ["service-file-broken"];
    host.doctor(&[]).finds("error", "pam.d", &host.pam("sudo"), &words);
}

/// A file that was not read yields no finding, good or bad.
#[test]
fn service_files_of_root_alone() {
    if !is_root() {
        return tests::skip("needs root, to be somebody else");
    }
    let host = Host::new();
    let ykmap = host.shown_to_others();
    host.service("common-auth", "auth required pam_unix.so\nauth required pam_yubiotp.so\n");
    for (name, lines) in
        [("sudo", SUDO), ("common-auth", "@include common-auth\naccount required pam_unix.so\n")]
    {
        host.service("sudo", lines);
        chmod(&host.pam(name), 0o600);
        let mut command = Command::new("setpriv");
        command.args(["--reuid=12345", "--regid=12345", "--clear-groups", "--"]).arg(&ykmap);
        command.args(host.command().get_args()).arg("--json").current_dir("/");
        let visit = Visit::new(&mut command);
        visit.finds("error", "rights", &host.pam(name), &["not-root"]);
        assert_eq!(visit.of("error").len(), 1, "{visit:#?}");
        chmod(&host.pam(name), 0o644);
    }
}

/// Debian's jump counts lines: ours behind it is jumped over, and `required` in place of it would keep everybody out.
#[test]
fn jumps() {
    let host = Host::new();
    let common = |first: &str, last: &str| {
        format!(
            "auth [success=1 default=ignore] pam_unix.so\n{first}auth requisite pam_deny.so\nauth required pam_permit.so\n{last}account required pam_unix.so\n"
        )
    };
    let ours = "auth required pam_yubiotp.so\n";
    let place = format!("{}:1", host.pam("sudo").display());
    host.service("sudo", &common(ours, ""));
    let jump = "[success=1 default=ignore] pam_unix jumps over pam_yubiotp (line 2) onto pam_deny (line 3)";
    host.doctor(&[]).finds(
        "error",
        "pam.d",
        Path::new(&place),
        &["nobody-gets-in", jump, "below pam_permit"],
    );
    host.service("sudo", &common("", ours));
    host.doctor(&[]).is_well();
    host.service("sudo", &common(ours, "").replace("success=1", "success=2"));
    let past = "[success=2 default=ignore] pam_unix";
    let visit = host.doctor(&[]);
    let found =
        visit.finds("warning", "pam.d", Path::new(&place), &["otp-bypassed", past, "below pam_permit"]);
    assert!(!super::remedies(found).concat().contains("write required"), "{found}");
}

/// An argument that may have said where the settings are keeps others from being judged in place of them.
#[test]
fn settings_that_nobody_can_tell() {
    for argument in ["confg=/etc/x.toml", "config=x.toml", "stor=/srv/store", "mapping"] {
        let host = Host::new();
        host.raw_service(
            "sudo",
            &SUDO.replace(
                "pam_yubiotp.so",
                &format!("{} {argument}", host.place.path("pam_yubiotp.so").display()),
            ),
        );
        let visit = host.doctor(&["alice"]);
        let place = host.pam("sudo:2");
        visit.finds("note", "settings", &place, &["not-checked"]);
        visit.finds("error", "user", Path::new(""), &["user-refused"]);
        assert_eq!(visit.of("error").len(), 2, "the line and who is refused by it: {visit:#?}");
    }
}

/// With no line, nobody is asked, and nobody is refused.
#[test]
fn no_line_at_all() {
    if Path::new("/etc/yubiotp").exists() || Path::new("/var/lib/yubiotp").exists() {
        return tests::skip("needs a host where nothing of it is set up");
    }
    let host = Host::new();
    fs::remove_file(host.pam("sudo")).unwrap();
    let visit = host.doctor(&["alice"]);
    visit.finds("note", "pam.d", Path::new(""), &["no-service-asks"]);
    visit.finds("note", "settings", Path::new(""), &["nothing-set-up", "ykmap init"]);
    visit.finds("note", "user", Path::new(""), &["user-not-asked"]);
    visit.said.exits(0);
}

#[test]
fn no_folder_of_services() {
    let host = Host::new();
    for (path, why) in [("nothere", "does not exist"), ("config.toml", "is a file")] {
        let mut command = Command::new(host.command().get_program());
        run(command.arg("doctor").arg("--pam-dir").arg(host.place.path(path))).exits(2).notes(why);
    }
}
