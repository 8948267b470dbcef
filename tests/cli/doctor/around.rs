//! Ways around the YubiKey that a reader of pam.d overlooks. Each was gone through in the real libpam by hand.

use super::Host;

/// The mistake, the level, the words, and the lines of a service.
type Row = (&'static str, &'static str, &'static [&'static str], &'static str);

const OURS: &str = "auth required pam_yubiotp.so\naccount required pam_yubiotp.so\n";

#[test]
fn ways_around() {
    #[rustfmt::skip] // a table
    let rows: [Row; 11] = [
        ("account: a gate before it", "warning", &["account-line-bypassed"],
         "auth required pam_unix.so\nauth required pam_yubiotp.so\naccount sufficient pam_localuser.so\naccount required pam_yubiotp.so\n"),
        ("account: it does not count", "warning", &["refusal-not-enforced"],
         "auth required pam_unix.so\nauth required pam_yubiotp.so\naccount optional pam_yubiotp.so\naccount required pam_unix.so\n"),
        ("a jump by another answer", "warning", &["otp-bypassed", "authinfo_unavail=1"],
         "auth [success=ok authinfo_unavail=1 default=die] pam_unix.so\nauth required pam_yubiotp.so\nauth required pam_permit.so\naccount required pam_unix.so\n"),
        ("a gate for everybody", "error", &["no-question-asked"],
         "auth sufficient pam_localuser.so\nauth required pam_unix.so\nauth required pam_yubiotp.so\naccount required pam_unix.so\n"),
        ("a gate for some", "note", &["users-exempt"],
         "auth sufficient pam_rootok.so\nauth required pam_unix.so\nauth required pam_yubiotp.so\naccount required pam_unix.so\n"),
        ("nullok alone", "error", &["no-question-asked"],
         "auth required pam_yubiotp.so nullok\nauth required pam_permit.so\naccount required pam_unix.so\n"),
        ("a guard that excuses", "warning", &["otp-bypassed-then-refused"],
         "auth sufficient pam_unix.so\nauth required pam_yubiotp.so nullok\naccount required pam_yubiotp.so nullok\naccount required pam_unix.so\n"),
        ("pam_yubico, too", "note", &["asked-by-pam-yubico", "pam-auth-update --disable yubico"],
         "auth required pam_yubico.so id=1\nauth required pam_yubiotp.so\naccount required pam_unix.so\n"),
        ("asked twice", "warning", &["asked-twice", "sudo:2"],
         "auth required pam_unix.so\nauth required pam_yubiotp.so\nauth required pam_yubiotp.so\naccount required pam_unix.so\n"),
        ("a long line", "error", &["pam-line-too-long", "longer than 1,022 bytes"], "LONG"),
        ("a long comment", "error", &["pam-line-too-long", "longer than 1,022 bytes"], "COMMENT"),
    ];
    for (name, level, words, lines) in rows {
        let lines = match lines {
            "LONG" => OURS.replacen(".so\n", &format!(".so [prompt={}]\n", "x".repeat(1010)), 1),
            "COMMENT" => format!("# {}auth sufficient pam_permit.so\n{OURS}", "x".repeat(1022)),
            lines => lines.to_owned(),
        };
        let host = Host::new();
        // An account line is for whom sshd does not ask.
        let service = if name.starts_with("account") { "sshd" } else { "sudo" };
        host.service(service, &lines);
        let visit = host.doctor(&[]);
        println!("{name}");
        visit.finds(level, "pam.d", &host.pam(service), words);
    }
}

/// A broken `other` is in every service's way.
#[test]
fn a_broken_other() {
    let host = Host::new();
    host.raw_service("other", "@include nothere\n");
    host.doctor(&[]).finds("error", "pam.d", &host.pam("other"), &["service-file-broken"]);
}

/// What another service takes of a file says nothing about that file as a service.
#[test]
fn a_service_that_another_includes_for_its_session() {
    let host = Host::new();
    host.service("sudo", "auth sufficient pam_permit.so\nauth required pam_yubiotp.so\n");
    host.raw_service("su", "auth required pam_deny.so\nsession include sudo\n");
    host.doctor(&[]).finds("error", "pam.d", &host.pam("sudo"), &["no-question-asked"]);
}
