//! Advice that is followed to the letter: it lets nobody else in, and keeps out nobody who should get in.

use super::access::row;
use super::{Host, SUDO, Visit, remedies};
use std::fs;
use std::path::Path;

/// Replaces one line of a service file by others.
fn edit(host: &Host, name: &str, line: &str, by: &str) {
    let text = fs::read_to_string(host.pam(name)).unwrap();
    let is_meant = |own: &str| own.split('#').next().is_some_and(|own| own.starts_with(line));
    assert_eq!(text.lines().filter(|own| is_meant(own)).count(), 1, "{line} in {text}");
    let text: String = text
        .lines()
        .map(|own| if is_meant(own) { by.replace("SAME", own) } else { format!("{own}\n") })
        .collect();
    fs::write(host.pam(name), text).unwrap();
}

fn changes(visit: &Visit) -> Vec<String> {
    let bad = visit.of("warning").into_iter().chain(visit.of("error")).chain(visit.of("note"));
    bad.flat_map(remedies).collect()
}

/// As Debian has them, with lines of ours in what all services include.
fn debian() -> Host {
    let host = Host::new();
    fs::remove_file(host.pam("sudo")).unwrap();
    host.service("common-auth", "auth [success=1 default=ignore] pam_unix.so nullok\nauth requisite pam_deny.so\nauth required pam_permit.so\nauth required pam_yubiotp.so\n");
    host.service("common-account", "account [success=1 new_authtok_reqd=done default=ignore] pam_unix.so\naccount requisite pam_deny.so\naccount required pam_permit.so\naccount required pam_yubiotp.so\n");
    host.raw_service(
        "sshd",
        "@include common-auth\naccount required pam_nologin.so\n@include common-account\n",
    );
    for name in ["su", "chsh"] {
        let lines = "auth sufficient pam_rootok.so\n@include common-auth\n@include common-account\n";
        host.raw_service(name, lines);
    }
    host
}

#[test]
fn root_and_the_account_line_of_all_services() {
    let host = debian();
    let ours = |host: &Host| format!("account required {}", host.place.path("pam_yubiotp.so").display());
    let visit = host.doctor(&[]);
    let found =
        visit.finds("warning", "pam.d", &host.pam("su"), &["exempt-users-refused", "common-account:4"]);
    let change = remedies(found).join("\n");
    let places = ["common-account", "sshd"].map(|name| host.pam(name).display().to_string());
    assert!(places.iter().all(|place| change.contains(place)), "{change}");
    assert!(changes(&visit).iter().all(|it| !it.contains("pam_rootok.so")), "{visit:#?}");
    let before = row(&visit, "sshd", None, "token");
    assert_eq!(before, "password+OTP");
    // As it says.
    let text = fs::read_to_string(host.pam("common-account")).unwrap();
    let line = text.lines().find(|line| line.starts_with(&ours(&host))).unwrap().to_owned();
    edit(&host, "common-account", &ours(&host), "");
    edit(&host, "sshd", "account required pam_nologin", &format!("{line}\nSAME\n"));
    let visit = host.doctor(&[]);
    assert_eq!(visit.of("warning").len() + visit.of("error").len(), 0, "{visit:#?}");
    assert_eq!(row(&visit, "sshd", None, "token"), before);
    assert_eq!(row(&visit, "sshd", None, "no-token not-listed"), "");
    assert_eq!(row(&visit, "su", None, "everybody, if called by root"), "");
    assert_eq!(row(&visit, "su", None, "token, unless called by root"), "password+OTP");
    // What would open ssh: there, everybody is called by root.
    let host = debian();
    edit(&host, "common-account", &ours(&host), "account [success=1 default=ignore] pam_rootok.so\nSAME\n");
    let visit = host.doctor(&[]);
    visit.finds("warning", "pam.d", &host.pam("common-account:4"), &["account-line-bypassed", "sshd"]);
    assert_eq!(row(&visit, "sshd", None, "no-token not-listed"), "ssh key");
}

/// Where the file is `su`'s own, an exemption there is for its callers only.
#[test]
fn root_and_the_account_line_of_su() {
    let host = Host::new();
    let lines = "auth sufficient pam_rootok.so\nauth required pam_unix.so\nauth required pam_yubiotp.so\naccount required pam_yubiotp.so\naccount required pam_unix.so\n";
    host.service("su", lines);
    let jump = "account [success=1 default=ignore] pam_rootok.so";
    host.doctor(&[]).finds("warning", "pam.d", &host.pam("su:1"), &["exempt-users-refused", jump]);
    host.service("su", &lines.replacen("account", &format!("{jump}\naccount"), 1));
    let visit = host.doctor(&[]);
    assert_eq!(visit.of("warning").len() + visit.of("error").len(), 0, "{visit:#?}");
    assert_eq!(row(&visit, "su", None, "token, unless called by root"), "password+OTP");
    // Others include it.
    host.service("su", lines);
    host.raw_service("sshd", "auth include su\naccount include su\n");
    for change in changes(&host.doctor(&[])) {
        assert!(!change.contains("pam_rootok.so"), "{change}");
    }
}

/// Does what the remedies say: `write required in the line of MODULE (FILE:LINE)`, `remove the line of MODULE (FILE:LINE)`.
fn follow(edits: &[String]) {
    for edit in edits {
        let (what, place) = edit.split_once(" (").unwrap_or_else(|| panic!("no edit: {edit}"));
        let (file, line) = place.trim_end_matches(')').rsplit_once(':').unwrap();
        let at = line.parse::<usize>().unwrap() - 1;
        let text = fs::read_to_string(file).unwrap();
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        let (control, rest) = lines[at].split_once(' ').unwrap().1.split_once(' ').unwrap();
        assert!(
            what.ends_with(
                rest.split(' ').next().unwrap().rsplit('/').next().unwrap().trim_end_matches(".so")
            )
        );
        lines[at] = match what.split(' ').next() {
            Some("write") => lines[at].replacen(control, "required", 1),
            // Lines keep their numbers.
            _ => "#".to_owned(),
        };
        fs::write(file, lines.join("\n") + "\n").unwrap();
    }
}

/// Every warning and error that has an edit, all of them followed together.
#[test]
fn lines_whose_no_does_not_count() {
    for lines in [
        "auth sufficient pam_unix.so\nauth sufficient pam_yubiotp.so\nauth required pam_deny.so\n",
        "auth sufficient pam_yubiotp.so\nauth sufficient pam_unix.so\nauth required pam_deny.so\n",
        "auth sufficient pam_yubiotp.so\nauth required pam_unix.so\n",
        "auth required pam_unix.so\nauth required pam_yubiotp.so\nauth required pam_deny.so\n",
        "auth sufficient pam_unix.so\nauth required pam_yubiotp.so\n",
        "auth required pam_unix.so\nauth optional pam_yubiotp.so\n",
        "auth sufficient pam_unix.so\nauth optional pam_yubiotp.so\nauth required pam_permit.so\n",
        "auth required pam_unix.so\nauth [success=ok authinfo_unavail=ignore default=bad] pam_yubiotp.so\n",
    ] {
        let host = Host::new();
        host.service("sudo", &format!("{lines}account required pam_nologin.so\n"));
        let visit = host.doctor(&[]);
        let found = [visit.of("warning"), visit.of("error")].concat();
        assert!(!found.is_empty(), "{lines}: {visit:#?}");
        for it in found {
            let edits = remedies(it);
            println!("{lines}{edits:#?}");
            if !lines.contains("default=bad") {
                follow(&edits);
            } else {
                assert!(edits[0].starts_with("write required in the line of pam_yubiotp ("), "{edits:?}");
                let required = lines.replace("[success=ok authinfo_unavail=ignore default=bad]", "required");
                host.service("sudo", &format!("{required}account required pam_nologin.so\n"));
            }
        }
        let visit = host.doctor(&[]);
        assert_eq!(visit.of("warning").len() + visit.of("error").len(), 0, "{lines}: {visit:#?}");
        assert_eq!(row(&visit, "sudo", None, "token"), "password+OTP", "{lines}");
        assert_eq!(row(&visit, "sudo", None, "no-token not-listed"), "", "{lines}");
    }
}

/// Where no edit does it for everybody, there is none: each line may be for other people, or for other services.
#[test]
fn no_edit_where_none_is_enough() {
    let two = "auth sufficient pam_unix.so\nauth sufficient pam_sss.so\nauth sufficient pam_yubiotp.so\nauth required pam_deny.so\n";
    let other = "auth sufficient pam_google_authenticator.so\nauth sufficient pam_yubiotp.so\nauth required pam_deny.so\n";
    let host = Host::new();
    for lines in [two, other] {
        host.service("sudo", &format!("{lines}account required pam_nologin.so\n"));
        let visit = host.doctor(&[]);
        let bad = [visit.of("warning"), visit.of("error")].concat();
        assert!(!bad.is_empty(), "{visit:#?}");
        for it in bad {
            let change = remedies(it).concat();
            assert!(!change.contains("write required") && change.contains("pam_yubiotp(8)"), "{change}");
        }
    }
    // Fedora's system-auth: other services have it, too.
    host.raw_service("system-auth", "auth sufficient pam_unix.so\nauth required pam_deny.so\n");
    host.service(
        "sudo",
        "auth include system-auth\nauth required pam_yubiotp.so\naccount required pam_nologin.so\n",
    );
    let visit = host.doctor(&[]);
    assert!(changes(&visit).iter().all(|it| !it.contains("write required")), "{visit:#?}");
    visit.finds(
        "warning",
        "pam.d",
        &host.pam("system-auth:1"),
        &["otp-bypassed", "substack in place of include"],
    );
    host.service(
        "sudo",
        "auth substack system-auth\nauth required pam_yubiotp.so\naccount required pam_nologin.so\n",
    );
    let visit = host.doctor(&[]);
    assert_eq!(visit.of("warning").len() + visit.of("error").len(), 0, "{visit:#?}");
    assert_eq!(row(&visit, "sudo", None, "token"), "password+OTP");
}

/// The account line that is advised excuses whom the auth line excuses.
#[test]
fn an_account_line_for_a_roll_out() {
    let host = Host::new();
    fs::remove_file(host.pam("sudo")).unwrap();
    let lines =
        "auth required pam_unix.so\nauth required pam_yubiotp.so nullok\naccount required pam_unix.so\n";
    host.service("sshd", lines);
    host.place.write("sshd_config", "UsePAM yes\nPasswordAuthentication no\n", 0o644);
    let visit = host.doctor(&[]);
    let found = visit.finds("warning", "pam.d", &host.pam("sshd:2"), &["ssh-key-without-otp"]);
    let remedies = remedies(found);
    let line = remedies
        .iter()
        .find_map(|it| Some(it.split_once(": ").filter(|(_, line)| line.starts_with("account "))?.1));
    edit(&host, "sshd", "account", &format!("{}\nSAME\n", line.unwrap()));
    let visit = host.doctor(&[]);
    assert_eq!(visit.of("warning").len() + visit.of("error").len(), 0, "{visit:#?}");
    assert_eq!(row(&visit, "sshd", None, "token"), "password+OTP");
    assert_eq!(row(&visit, "sshd", None, "not-listed"), "ssh key password");
}

/// cron, at and systemd's user manager run no auth line, and sudo none where it asks nothing: an account line of ours
/// refuses them, and an auth line changes nothing about it.
#[test]
fn account_lines_where_nobody_is_asked() {
    let host = debian();
    let account = "account required pam_nologin.so\n@include common-account\n";
    for name in ["sudo", "cron", "systemd-user"] {
        host.raw_service(name, &format!("@include common-auth\n{account}"));
    }
    host.raw_service("atd", account);
    let visit = host.doctor(&["bob"]);
    let line = host.pam("common-account:4");
    for name in ["atd", "cron", "systemd-user"] {
        let words = ["account-line-refuses-unasked", name];
        let found = visit.finds("error", "pam.d", &line, &words);
        assert_eq!(found["code"], "account-line-refuses-unasked", "{found}");
        assert_eq!(row(&visit, name, None, "everybody"), "");
    }
    let found = visit.finds("warning", "pam.d", &line, &["account-line-refuses-unasked"]);
    assert!(remedies(found).concat().contains("account line of pam_yubiotp into"), "{found}");
    // As it says.
    let text = fs::read_to_string(host.pam("common-account")).unwrap();
    let ours = text.lines().last().unwrap().to_owned();
    edit(&host, "common-account", &ours, "");
    edit(&host, "sshd", "account required pam_nologin", &format!("{ours}\nSAME\n"));
    let visit = host.doctor(&["bob"]);
    assert_eq!(visit.of("warning").len() + visit.of("error").len(), 0, "{visit:#?}");
    let names: String = visit.findings.iter().map(ToString::to_string).collect();
    assert!(!names.contains("YubiKey: atd") && !names.contains("cron"), "not asked: {visit:#?}");
    // One way, with nothing: they are not asked.
    let said = visit.said.json();
    let cron =
        said["access"].as_array().unwrap().iter().find(|it| it["services"].to_string().contains("cron"));
    assert_eq!(cron.unwrap()["rows"][0]["with"], serde_json::json!([[]]), "{said}");
    visit.finds("note", "user", Path::new(""), &["user-not-listed"]);
    // In their own files.
    let host = Host::new();
    host.service("cron", "account required pam_yubiotp.so\naccount required pam_unix.so\n");
    host.service("sudo", &(SUDO.to_owned() + "account required pam_yubiotp.so\n"));
    let visit = host.doctor(&[]);
    visit.finds("error", "pam.d", &host.pam("cron:1"), &["account-line-refuses-unasked", "remove this line"]);
    visit.finds(
        "warning",
        "pam.d",
        &host.pam("sudo:4"),
        &["account-line-refuses-unasked", "remove this line"],
    );
    // Without it, somebody would get in, or nobody.
    host.service("cron", "account required pam_yubiotp.so\n");
    host.service("sudo", "auth sufficient pam_localuser.so\nauth required pam_unix.so\nauth required pam_yubiotp.so\naccount required pam_yubiotp.so\n");
    let visit = host.doctor(&[]);
    assert!(changes(&visit).iter().all(|it| !it.contains("remove this line")), "{visit:#?}");
    // Members of a group are exempt, and root is.
    host.service("sudo", SUDO);
    host.service("cron", "account [success=1 default=ignore] pam_rootok.so\naccount required pam_yubiotp.so\naccount required pam_unix.so\n");
    host.doctor(&[]).is_well();
}

/// A user whom a jump exempts and no line accepts.
#[test]
fn exempt_with_no_way_in() {
    let host = Host::new();
    let auth = "auth [success=2 default=ignore] pam_access.so accessfile=/etc/exempt\nauth required pam_unix.so\nauth required pam_yubiotp.so\n";
    host.service("sudo", &format!("{auth}account required pam_unix.so\n"));
    host.doctor(&[]).finds("warning", "pam.d", &host.pam("sudo:1"), &["exempt-users-refused"]);
    let one = auth.replace("success=2", "success=1").replacen("pam_unix", "pam_XX", 1);
    let one = one.replace("pam_yubiotp", "pam_unix").replace("pam_XX", "pam_yubiotp");
    host.service("sudo", &format!("{one}account required pam_unix.so\n"));
    assert_eq!(host.doctor(&[]).of("warning").len(), 0);
}

/// The findings about a user agree with the table.
#[test]
fn users_and_the_table() {
    let host = Host::new();
    let auth = "auth required pam_unix.so\nauth required pam_yubiotp.so nullok\n";
    host.service("sudo", &format!("{auth}account required pam_yubiotp.so\naccount required pam_unix.so\n"));
    let visit = host.doctor(&["dave"]);
    visit.finds("error", "user", Path::new(""), &["user-not-listed", "add dave"]);
    assert!(!visit.has("user-excused"), "{visit:#?}");
    // Behind a no: others get in.
    host.service("sudo", "auth sufficient pam_fprintd.so\nauth sufficient pam_unix.so\nauth required pam_deny.so\nauth required pam_yubiotp.so\naccount required pam_unix.so\n");
    host.doctor(&[]).finds("error", "pam.d", &host.pam("sudo:4"), &["nobody-gets-in", "pam_deny", "sudo:3"]);
    // An exemption that the account lines do not know.
    host.service("sudo", "auth [success=1 default=ignore] pam_succeed_if.so quiet user ingroup robots\nauth required pam_yubiotp.so\nauth required pam_unix.so\naccount required pam_yubiotp.so\naccount required pam_unix.so\n");
    host.doctor(&["dave"]).finds("error", "user", Path::new(""), &["user-not-listed"]);
}

/// Ways around an account line that other services read as well: one more line in sshd's own file.
#[test]
fn ways_around_the_account_line() {
    for account in [
        "account sufficient pam_localuser.so\naccount required pam_yubiotp.so\n",
        "account [success=1 default=ignore] pam_localuser.so\naccount required pam_yubiotp.so\naccount required pam_unix.so\n",
        "account [success=1 default=ignore] pam_rootok.so\naccount required pam_yubiotp.so\naccount required pam_unix.so\n",
        "account optional pam_yubiotp.so\naccount required pam_unix.so\n",
    ] {
        let host = Host::new();
        fs::remove_file(host.pam("sudo")).unwrap();
        host.service("common-account", account);
        let sshd = "auth required pam_unix.so\nauth required pam_yubiotp.so\n@include common-account\n";
        host.service("sshd", sshd);
        let visit = host.doctor(&[]);
        let file = host.pam("sshd").display().to_string();
        let code =
            if account.contains("optional") { "refusal-not-enforced" } else { "account-line-bypassed" };
        visit.finds("warning", "pam.d", &host.pam("common-account"), &[code, &file]);
        host.service("sshd", &sshd.replace("@include", "account required pam_yubiotp.so\n@include"));
        let visit = host.doctor(&[]);
        assert_eq!(visit.of("warning").len() + visit.of("error").len(), 0, "{account}: {visit:#?}");
        assert_eq!(row(&visit, "sshd", None, "token"), "password+OTP", "{account}");
        assert_eq!(row(&visit, "sshd", None, "no-token not-listed"), "", "{account}");
    }
}
