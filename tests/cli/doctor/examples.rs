//! The files of pam.d-examples: nothing is wrong with them, and what they explain is reported.

use super::access::class;
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
        format!("{}: {ways}", class(row))
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
        // No line of the module is in it.
        if name == "ykweb" {
            continue;
        }
        let host = Host::new();
        fs::remove_file(host.pam("sudo")).unwrap();
        // Under the name that it is for.
        let service = match name.as_str() {
            "console-otp-only" => "login",
            "exempt-group" | "roll-out" | "roll-out-key-and-otp" => "sshd",
            "sshd-enroll" | "sshd-key-and-otp" | "sshd-password-and-otp" => "sshd",
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
        if name == "sshd-enroll" {
            host.place.install_enroll();
        }
        host.place.write("sshd_config", sshd_config(&lines), 0o644);
        let visit = host.doctor(&[]);
        // While it is rolled out, an ssh key gets in without an OTP, which is a warning.
        let code = if name == "roll-out" { 1 } else { well() };
        assert_eq!(visit.said.code, Some(code), "{name}: {visit:#?}");
        let codes =
            |severity| visit.of(severity).into_iter().map(|it| it["code"].as_str().unwrap().to_owned());
        let rights = |code: &String| code != "files-of-caller";
        let codes: Vec<_> = codes("warning").filter(rights).chain(codes("note")).collect();
        found.push((name.clone(), codes.join(" "), table(&visit)));
        names.push(name);
    }
    found.sort();
    let usual = |ways: &str| format!("token: {ways}, no-token not-listed: nothing works");
    let expected = [
        ("console-otp-only", "otp-enough", usual("OTP")),
        (
            "exempt-group",
            "users-exempt sshd-match users-exempt",
            usual("ssh key + OTP") + ", everybody: ssh key",
        ),
        ("login", "", usual("password + OTP")),
        ("one-field", "", usual("password + OTP")),
        (
            "roll-out",
            "ssh-key-without-otp unlisted-excused",
            "token: ssh key or password + OTP, no-token: ssh key, not-listed: ssh key or password".to_owned(),
        ),
        (
            "roll-out-key-and-otp",
            "unlisted-excused",
            "token: ssh key + OTP, no-token: nothing works, not-listed: ssh key".to_owned(),
        ),
        ("screen-locker", "settings-of-each-user", usual("password + OTP")),
        (
            "sshd-enroll",
            "",
            "token: password + OTP, no-token: nothing works, not-listed: password + enrollment".to_owned(),
        ),
        ("sshd-key-and-otp", "", usual("ssh key + OTP")),
        ("sshd-password-and-otp", "", usual("password + OTP")),
        (
            "su",
            "users-exempt",
            "token, unless called by root: password + OTP, no-token not-listed, unless called by root: nothing works, \
             everybody, if called by root: nothing"
                .to_owned(),
        ),
        ("sudo", "", usual("password + OTP")),
    ];
    let expected = expected.map(|(name, codes, table)| (name.to_owned(), codes.to_owned(), table));
    assert_eq!(found, expected);
}
