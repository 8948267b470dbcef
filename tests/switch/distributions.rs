//! Every service file of every distribution: `ykmap enable` makes it ask for both factors, as the doctor and libpam say, or
//! refuses; `ykmap disable` brings back every byte.

use crate::corpus::{Distribution, PASSWORD, code};
use serde_json::Value;

/// What is refused in each: files that others include, services that ask nothing, one field, lockers.
fn check(text: &str, number: u32, refused: &[&str], exempt: &[&str]) {
    let mut host = Distribution::new(text, number);
    let before = host.files();
    let mut tried = 0;
    for service in host.services() {
        let after: &[&[&str]] =
            if service == "sshd" { &[&["--after", "key"], &["--after", "password"]] } else { &[&[]] };
        for options in after {
            let mut arguments = options.to_vec();
            if exempt.contains(&service.as_str()) {
                let output = host.enable(&[&arguments[..], &[&service]].concat());
                assert_eq!(code(&output), "stack-unsuitable", "{service}");
                arguments.push("--with-exemptions");
            }
            arguments.push(&service);
            let dry = host.enable_dry(&arguments);
            let output = host.enable(&arguments);
            if refused.contains(&service.as_str()) {
                assert_eq!((output.status.code(), dry), (Some(2), Some(2)), "{service}: {output:?}");
                let code = code(&output);
                assert!(["stack-unsuitable", "file-generated"].contains(&code.as_str()), "{service}: {code}");
                assert_eq!(host.files(), before, "{service}");
                continue;
            }
            assert!(output.status.success(), "{service}: {output:?}");
            assert_eq!(dry, Some(3), "{service}");
            tried += 1;
            both_are_needed(&mut host, &service, options);
            let again = host.enable(&arguments);
            assert!(
                again.status.success()
                    && host.ykmap(&["disable", "--dry-run", &service]).status.code() == Some(3)
            );
            let output = host.ykmap(&["disable", &service]);
            assert!(output.status.success(), "{service}: {output:?}");
            assert_eq!(host.files(), before, "{service}: {options:?}");
            assert!(host.ykmap(&["disable", &service]).status.success(), "a second time");
        }
    }
    assert!(tried >= 3, "only {tried} services could be enabled");
}

impl Distribution {
    fn enable_dry(&self, arguments: &[&str]) -> Option<i32> {
        let before = self.files();
        let code = self.ykmap(&[&["enable", "--dry-run"], arguments].concat()).status.code();
        assert_eq!(self.files(), before, "--dry-run changes nothing");
        code
    }
}

/// By what the doctor says, and by logins through libpam.
fn both_are_needed(host: &mut Distribution, service: &str, options: &[&str]) {
    for row in host.access(service) {
        let is_gated = row["who"]["conditions"].as_array().unwrap().iter().any(|it| it["holds"] == true);
        for way in row["with"].as_array().unwrap().iter().filter(|_| !is_gated) {
            let way = way.as_array().unwrap();
            assert!(way.contains(&Value::from("OTP")) && way.len() >= 2, "{service}: {row:#}");
        }
    }
    let otp = |host: &mut Distribution| host.key.press();
    let wrong = "vvvvvvcucrlcietctckflvnncdgckubluugerlnr";
    if options.contains(&"key") {
        let right = otp(host);
        assert!(host.login(service, &[&right]), "{service}: the OTP after the key");
        assert!(!host.login(service, &[&right]), "{service}: the same again");
        return assert!(!host.login(service, &[wrong]), "{service}: a wrong OTP");
    }
    let right = otp(host);
    assert!(host.login(service, &[PASSWORD, &right]), "{service}: both");
    assert!(!host.login(service, &[PASSWORD, &right]), "{service}: the same again");
    assert!(!host.login(service, &[PASSWORD, wrong]), "{service}: the password only");
    let right = otp(host);
    assert!(!host.login(service, &["wrong", &right]), "{service}: the OTP only");
}

#[test]
fn debian() {
    let refused = [
        "atd",
        "common-account",
        "common-auth",
        "common-password",
        "common-session",
        "common-session-noninteractive",
        "cron",
        "cups",
        "dovecot",
        "gdm-autologin",
        "i3lock",
        "lightdm-autologin",
        "newusers",
        "other",
        "passwd",
        "proftpd",
        "runuser",
        "swaylock",
        "vsftpd",
        "xrdp-sesman",
        "xscreensaver",
    ];
    check(include_str!("distributions/debian-12.txt"), 1, &refused, &[]);
}

#[test]
fn ubuntu() {
    let refused = [
        "common-account",
        "common-auth",
        "common-password",
        "common-session",
        "common-session-noninteractive",
        "other",
    ];
    check(include_str!("distributions/ubuntu-24.04.txt"), 2, &refused, &[]);
}

#[test]
fn fedora() {
    let refused = ["crond", "other", "password-auth", "postlogin", "runuser", "system-auth", "vlock"];
    check(include_str!("distributions/fedora-41.txt"), 3, &refused, &["gdm-password", "sddm"]);
}

#[test]
fn centos() {
    let refused = ["other", "password-auth", "postlogin", "system-auth", "vsftpd"];
    check(include_str!("distributions/centos-7.txt"), 4, &refused, &[]);
}

#[test]
fn arch() {
    let refused = ["other", "system-auth", "system-local-login", "system-login", "system-remote-login"];
    check(include_str!("distributions/arch.txt"), 5, &refused, &["sddm"]);
}

#[test]
fn opensuse() {
    let refused = [
        "common-account",
        "common-auth",
        "common-password",
        "common-session",
        "common-session-nonlogin",
        "crond",
        "other",
    ];
    check(include_str!("distributions/opensuse-tumbleweed.txt"), 6, &refused, &[]);
}

#[test]
fn gentoo() {
    let refused = ["other", "system-auth", "system-local-login", "system-login", "system-remote-login"];
    check(include_str!("distributions/gentoo.txt"), 7, &refused, &[]);
}
