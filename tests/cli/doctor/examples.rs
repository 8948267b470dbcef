//! The files of pam.d-examples: nothing is wrong with them, and what they explain is noted.

use super::{Host, Visit, well};
use std::fs;
use std::path::Path;

/// The lines for sshd_config in the example.
fn sshd_config(example: &str) -> String {
    let behind = example.lines().skip_while(|line| !line.ends_with("comes early:")).skip(1);
    let lines: Vec<_> = behind.map_while(|line| line.strip_prefix("#     ")).collect();
    if lines.is_empty() { "UsePAM yes\n".to_owned() } else { lines.join("\n") }
}

/// The factors that let each class in.
fn table(visit: &Visit) -> String {
    let said = visit.said.json();
    let rows = said["access"].as_array().unwrap().iter().flat_map(|table| table["rows"].as_array().unwrap());
    let rows = rows.map(|row| {
        let ways = row["with"].as_array().unwrap().iter().map(|way| {
            let names: Vec<_> = way.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
            if names.is_empty() { "nothing".to_owned() } else { names.join(" + ") }
        });
        let ways: Vec<_> = ways.collect();
        let ways = if ways.is_empty() { "nothing works".to_owned() } else { ways.join(" or ") };
        format!("{}: {ways}", row["who"].as_str().unwrap())
    });
    rows.collect::<Vec<_>>().join(", ")
}

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
        host.place.write("sshd_config", sshd_config(&lines), 0o644);
        let visit = host.doctor(&[]);
        assert_eq!(visit.said.code, Some(well()), "{name}: {visit:#?}");
        let notes: Vec<_> =
            visit.of("note").iter().map(|it| it["what"].as_str().unwrap().to_owned()).collect();
        found.push((name.clone(), notes.join("; "), table(&visit)));
        names.push(name);
    }
    found.sort();
    let usual =
        |ways: &str| format!("has a usable token: {ways}, no usable token, or not listed: nothing works");
    let expected = [
        (
            "console-otp-only",
            "login: auth: the OTP alone lets in: no other line asks for anything",
            usual("OTP"),
        ),
        (
            "exempt-group",
            "sshd: account: [success=1 default=ignore] pam_succeed_if leads past the account line of pam_yubiotp: users it \
             matches need no OTP; Match Group yubiotp-exempt: holds for some users only (see who gets in); Match Group \
             yubiotp-exempt: AuthenticationMethods: publickey is enough: who comes that way is never asked for a YubiKey",
            usual("ssh key + OTP") + ", everybody: ssh key",
        ),
        ("login", "", usual("password + OTP")),
        ("one-field", "", usual("password + OTP")),
        (
            "roll-out",
            "sshd: account: no account line of this module: who comes by an ssh key that sshd takes for enough is not \
             asked; sshd: auth: nullok: users whom the mapping does not list pass this line without a token",
            "has a usable token: ssh key or password + OTP, listed without a usable token: ssh key, not listed: ssh key \
             or password"
                .to_owned(),
        ),
        (
            "roll-out-key-and-otp",
            "sshd: auth: nullok: users whom the mapping does not list pass this line without a token",
            "has a usable token: ssh key + OTP, listed without a usable token: nothing works, not listed: ssh key"
                .to_owned(),
        ),
        (
            "screen-locker",
            "each user has settings of their own (%u in config=), which were not looked at",
            usual("password + OTP"),
        ),
        ("sshd-key-and-otp", "", usual("ssh key + OTP")),
        ("sshd-password-and-otp", "", usual("password + OTP")),
        (
            "su",
            "su: auth: sufficient pam_rootok leads past pam_yubiotp: who it means is not asked for a YubiKey",
            "has a usable token, unless called by root: password + OTP, no usable token, or not listed, unless called by \
             root: nothing works, everybody, if called by root: nothing"
                .to_owned(),
        ),
        ("sudo", "", usual("password + OTP")),
    ];
    let expected = expected.map(|(name, notes, table)| (name.to_owned(), notes.to_owned(), table));
    assert_eq!(found, expected);
}
