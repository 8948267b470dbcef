//! The files of pam.d-examples: nothing is wrong with them, and what they explain is noted.

use super::{Host, well};
use std::fs;
use std::path::Path;

#[test]
fn nothing_is_wrong_with_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pam.d-examples");
    let mut names = Vec::new();
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let (name, path) = (entry.as_ref().unwrap().file_name(), entry.as_ref().unwrap().path());
        let name = name.into_string().unwrap();
        let host = Host::new();
        fs::remove_file(host.pam("sudo")).unwrap();
        // Under the name that it is for.
        let service = match name.as_str() {
            "console-otp-only" => "login",
            "exempt-group" | "roll-out" | "roll-out-key-and-otp" => "sshd",
            "sshd-key-and-otp" | "sshd-password-and-otp" => "sshd",
            "one-field" => "vsftpd",
            "screen-locker" => "swaylock",
            name => name,
        };
        let lines = fs::read_to_string(path).unwrap();
        if lines.contains(" config=") {
            let module = host.place.path("pam_yubiotp.so");
            host.raw_service(service, &lines.replace(" pam_yubiotp.so", &format!(" {}", module.display())));
        } else {
            host.service(service, &lines);
        }
        let visit = host.doctor(&[]);
        // The jump before its account line is meant, and warned of.
        let code = if name == "exempt-group" { 1 } else { well() };
        assert_eq!(visit.said.code, Some(code), "{name}: {visit:#?}");
        let notes: Vec<_> =
            visit.of("note").iter().map(|it| it["what"].as_str().unwrap().to_owned()).collect();
        found.push((name.clone(), notes.join("; ")));
        names.push(name);
    }
    found.sort();
    let expected = [
        ("console-otp-only", "login: auth: the OTP alone lets in: no other line asks for anything"),
        ("exempt-group", "sshd: auth: the OTP alone lets in: no other line asks for anything"),
        ("login", ""),
        ("one-field", ""),
        (
            "roll-out",
            "sshd: account: no account line of this module: who comes by an ssh key that sshd takes for enough is not \
             asked; sshd: auth: nullok: users whom the mapping does not list pass this line without a token",
        ),
        (
            "roll-out-key-and-otp",
            "sshd: auth: nullok: users whom the mapping does not list pass this line without a token",
        ),
        ("screen-locker", "each user has settings of their own (%u in config=), which were not looked at"),
        ("sshd-key-and-otp", "sshd: auth: the OTP alone lets in: no other line asks for anything"),
        ("sshd-password-and-otp", ""),
        (
            "su",
            "su: auth: sufficient pam_rootok leads past pam_yubiotp: who it means is not asked for a YubiKey",
        ),
        ("sudo", ""),
    ];
    assert_eq!(found, expected.map(|(name, notes)| (name.to_owned(), notes.to_owned())));
}
