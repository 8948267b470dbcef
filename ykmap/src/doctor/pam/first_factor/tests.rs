//! Stacks with their verdict, and the search against another simulation of libpam.

mod random;

use super::*;
use yubiotp::diagnostic::Remedy;

/// The line that everything is about.
const OURS: &str = "auth required pam_yubiotp.so enroll";

/// Debian's common-auth, as pam-auth-update writes it.
const DEBIAN: &str = "auth [success=1 default=ignore] pam_unix.so nullok
auth requisite pam_deny.so
auth required pam_permit.so
auth optional pam_cap.so";

/// The same with sssd.
const DEBIAN_SSSD: &str = "auth [success=2 default=ignore] pam_unix.so nullok
auth [success=1 default=ignore] pam_sss.so use_first_pass
auth requisite pam_deny.so
auth required pam_permit.so
auth optional pam_cap.so";

/// Debian's common-auth with the profiles of sssd, winbind and Kerberos, and a keyring.
const DEBIAN_MANY: &str = "auth [success=4 default=ignore] pam_krb5.so minimum_uid=1000
auth [success=3 default=ignore] pam_unix.so try_first_pass
auth [success=2 default=ignore] pam_sss.so use_first_pass
auth [success=1 default=ignore] pam_winbind.so krb5_auth krb5_ccache_type=FILE cached_login try_first_pass
auth requisite pam_deny.so
auth required pam_permit.so
auth optional pam_mount.so
auth optional pam_cap.so";

/// Debian's login of trixie.
const DEBIAN_LOGIN: &str = "auth optional pam_faildelay.so delay=3000000
auth requisite pam_nologin.so
@include common-auth
auth optional pam_group.so
OURS
session required pam_loginuid.so";

/// Debian's common-auth with pam_faillock.
const DEBIAN_FAILLOCK: &str = "auth requisite pam_faillock.so preauth
auth [success=1 default=ignore] pam_unix.so nullok
auth [default=die] pam_faillock.so authfail
auth requisite pam_faillock.so authsucc
auth required pam_permit.so
auth optional pam_cap.so";

/// Fedora's system-auth by authselect, profile local.
const FEDORA: &str = "auth required pam_env.so
auth required pam_faildelay.so delay=2000000
auth sufficient pam_fprintd.so
auth sufficient pam_unix.so nullok
auth required pam_deny.so";

/// Fedora's system-auth by authselect, profile sssd with faillock.
const FEDORA_SSSD: &str = "auth required pam_env.so
auth required pam_faildelay.so delay=2000000
auth required pam_faillock.so preauth silent
auth [default=1 ignore=ignore success=ok] pam_usertype.so isregular
auth [default=1 ignore=ignore success=ok] pam_localuser.so
auth sufficient pam_unix.so nullok
auth [default=1 ignore=ignore success=ok] pam_usertype.so isregular
auth sufficient pam_sss.so forward_pass
auth required pam_faillock.so authfail
auth required pam_deny.so";

/// Arch's system-auth.
const ARCH: &str = "auth PREAUTH pam_faillock.so preauth
-auth [success=2 default=ignore] pam_systemd_home.so
auth [success=1 default=bad] pam_unix.so try_first_pass nullok
auth [default=die] pam_faillock.so authfail
auth optional pam_permit.so
auth required pam_env.so
auth AUTHSUCC pam_faillock.so authsucc";

/// openSUSE's common-auth.
const OPENSUSE: &str = "auth required pam_env.so
auth optional pam_gnome_keyring.so
auth required pam_unix.so try_first_pass";

/// Whether the first factor of service `x` is proven. The files are separated by `== NAME`; the first one is that of `x`.
fn verdict(text: &str) -> Result<(), Diagnostic> {
    let folder = tempfile::tempdir().unwrap();
    for (at, file) in text.replace("OURS", OURS).split("== ").enumerate() {
        let (name, text) = if at == 0 { ("x", file) } else { file.split_once('\n').unwrap() };
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    of(&[folder.path().to_owned()], "x")
}

fn with(text: &str, included: &str) -> String {
    format!("{text}\n== common-auth\n{included}\n")
}

#[test]
fn stacks_that_prove_the_first_factor() {
    for lines in [
        "auth requisite pam_unix.so\nOURS",
        "auth requisite pam_unix.so nullok\nOURS",
        "auth requisite /usr/lib64/security/pam_unix.so\nOURS",
        "-auth requisite pam_unix.so\nOURS",
        "auth requisite pam_sss.so forward_pass\nOURS",
        "auth requisite pam_krb5.so\nOURS",
        "auth [success=ok default=die] pam_pwdfile.so pwdfile=/etc/p\nOURS",
        "auth [success=ok default=die] pam_tcb.so\nOURS",
        "auth [default=die success=ok] pam_unix.so\nOURS",
        "auth [default=die success=ignore] pam_unix.so\nOURS",
        "auth [success=ok new_authtok_reqd=ok ignore=ignore default=die] pam_unix.so\nOURS",
        "auth requisite pam_unix.so\nauth required pam_permit.so\nOURS",
        "auth optional pam_unix.so\nauth requisite pam_unix.so\nOURS",
        "auth requisite pam_unix.so\nauth sufficient pam_unix.so\nOURS",
        // Others answer first: they end, or the password comes after them.
        "auth sufficient pam_rootok.so\nauth requisite pam_unix.so\nOURS",
        "auth sufficient pam_fprintd.so\nauth requisite pam_unix.so\nOURS",
        "auth required pam_env.so\nauth requisite pam_unix.so\nOURS",
        "auth requisite pam_nologin.so\nauth requisite pam_unix.so\nauth optional pam_group.so\nOURS",
        "auth requisite pam_faillock.so preauth\nauth requisite pam_unix.so\nOURS",
        "auth [success=2 default=ignore] pam_succeed_if.so user ingroup x\nauth requisite pam_unix.so\nOURS\nauth required pam_permit.so",
        // A jump that ends in both cases behind a password.
        "auth [success=2 default=ignore] pam_localuser.so
         auth [success=2 default=die] pam_sss.so
         auth required pam_permit.so
         auth requisite pam_unix.so
         OURS",
        "AUTH Requisite pam_unix.so\nOURS",
        // A second line of ours, behind one that ends the stack.
        "auth requisite pam_unix.so\nauth requisite pam_yubiotp.so enroll\nOURS",
        // All of it below a substack: only our line's own level counts.
        "auth substack own\n== own\nauth requisite pam_unix.so\nOURS",
    ] {
        assert_eq!(verdict(lines), Ok(()), "{lines}");
    }
}

#[test]
fn stacks_of_distributions_that_prove_it() {
    for common in [DEBIAN, DEBIAN_SSSD, DEBIAN_MANY, DEBIAN_FAILLOCK] {
        let profile = common.replace("auth optional pam_cap.so", "OURS\nauth optional pam_cap.so");
        for lines in [
            with("@include common-auth\nOURS", common),
            with("auth include common-auth\nOURS", common),
            with(DEBIAN_LOGIN, common),
            // By pam-auth-update, in the file that all services include.
            with("@include common-auth", &profile),
            with("auth sufficient pam_rootok.so\n@include common-auth", &profile),
        ] {
            assert_eq!(verdict(&lines), Ok(()), "{lines}");
        }
    }
    let arch = ARCH.replace("PREAUTH", "requisite").replace("AUTHSUCC", "requisite");
    assert_eq!(verdict(&with("auth include common-auth\nOURS", &arch)), Ok(()));
    let opensuse = OPENSUSE.replace("required pam_unix", "requisite pam_unix");
    assert_eq!(verdict(&with("auth include common-auth\nOURS", &opensuse)), Ok(()));
}

#[test]
fn stacks_that_prove_nothing() {
    for lines in [
        "OURS",
        "OURS\nauth requisite pam_unix.so",
        "auth required pam_unix.so\nOURS",
        "auth sufficient pam_unix.so\nOURS",
        "auth optional pam_unix.so\nOURS",
        "auth [success=ok default=ignore] pam_unix.so\nOURS",
        "auth [success=ok default=bad] pam_unix.so\nOURS",
        "auth [success=ok user_unknown=ignore default=die] pam_unix.so\nOURS",
        "auth [success=ok module_unknown=ignore default=die] pam_unix.so\nOURS",
        "auth [success=ok authinfo_unavail=reset default=die] pam_unix.so\nOURS",
        "-auth sufficient pam_unix.so\nOURS",
        "-auth [success=ok default=ignore] pam_sss.so\nOURS",
        "auth required pam_permit.so\nOURS",
        "auth required pam_env.so\nOURS",
        "auth requisite pam_permit.so\nauth required pam_env.so\nOURS",
        "auth requisite pam_exec.so /bin/true\nOURS",
        "auth requisite pam_oath.so\nOURS",
        "auth [success=1 default=ignore] pam_succeed_if.so user ingroup x\nauth requisite pam_unix.so\nOURS",
        "auth [success=ignore default=1] pam_localuser.so\nauth requisite pam_unix.so\nOURS",
        "auth [default=1] pam_permit.so\nauth requisite pam_unix.so\nOURS",
        // `done` does not end the stack after another refusal.
        "auth required pam_access.so\nauth sufficient pam_rootok.so\nOURS",
        // What jumps lands behind the deny, whatever was said.
        "auth [default=1] pam_unix.so\nauth requisite pam_deny.so\nOURS",
        "auth [success=1 default=ignore] pam_unix.so\nauth required pam_deny.so\nOURS",
        "auth [success=1 default=ignore] pam_unix.so\nauth optional pam_deny.so\nOURS",
        "auth [success=2 default=ignore] pam_unix.so\nauth [success=1 default=ignore] pam_oath.so
         auth requisite pam_deny.so\nOURS",
        // ignore is passed over by requisite.
        "auth requisite pam_sss.so ignore_unknown_user\nOURS",
        "auth requisite pam_winbind.so unknown_ok\nOURS",
        "auth requisite pam_krb5.so ignore_root\nOURS",
        // A ticket that is there already is no password.
        "auth requisite pam_krb5.so existing_ticket\nOURS",
        "auth requisite pam_tcb.so\nOURS",
        "auth requisite pam_unknown.so\nOURS",
        // Somebody was refused before.
        "auth required pam_faillock.so preauth\nauth requisite pam_unix.so\nOURS",
        "auth required pam_oath.so\nauth requisite pam_unix.so\nOURS",
        "auth requisite pam_unix.so\nauth required pam_access.so\nOURS",
        "auth [success=bad default=ignore] pam_unix.so\nOURS",
        "auth [success=ok user_unknown=ok default=die] pam_access.so\nauth requisite pam_unix.so\nOURS",
        "auth requisite pam_unix.so\nauth substack own\nOURS\n== own\nauth [default=7] pam_access.so",
        // An account without a password, and another line that asks for one.
        "auth [success=1 default=ignore] pam_sss.so\nauth requisite pam_unix.so nullok\nOURS",
        "auth requisite pam_unix.so nullok\nauth optional pam_mount.so\nOURS",
        "auth requisite pam_unix.so nullok\nauth optional pam_ldap.so\nOURS",
        // A substack never ends the stack.
        "auth substack own\nOURS\n== own\nauth requisite pam_unix.so",
        "auth substack own\nOURS\n== own\nauth [success=1 default=ignore] pam_unix.so\nauth requisite pam_deny.so",
        // The second line has nothing above it.
        "auth [success=2 default=ignore] pam_localuser.so\nauth requisite pam_unix.so\nOURS\nOURS",
        // libpam does not understand these.
        "auth requird pam_unix.so\nOURS",
        "auth requisite\nauth required pam_unix.so\nOURS",
        "auth include missing\nOURS",
        // Nothing to check.
        "auth requisite pam_unix.so\nauth required pam_yubiotp.so",
        "auth requisite pam_unix.so\naccount required pam_yubiotp.so enroll",
        "auth requisite pam_unix.so\nauth required pam_yubiotp.so enroll blue",
        // The second line is reached after the first one has refused the login.
        "auth requisite pam_unix.so\nOURS\nOURS",
        // The first of two lines may have set a password that nobody checked.
        "auth requisite pam_unix.so nullok\nauth requisite pam_yubiotp.so\nOURS",
        // Never reached.
        "auth [default=die] pam_deny.so\nauth requisite pam_unix.so\nOURS",
    ] {
        let found = verdict(lines).expect_err(lines);
        assert_eq!(found.code, Code::EnrollWithoutFirstFactor, "{lines}");
        assert!(found.location.is_some(), "{lines}");
    }
}

#[test]
fn stacks_of_distributions_that_prove_nothing() {
    let arch = ARCH.replace("PREAUTH", "required").replace("AUTHSUCC", "required");
    for lines in [
        with("auth substack common-auth\nOURS", FEDORA),
        with("auth substack common-auth\nOURS", FEDORA_SSSD),
        with("auth substack common-auth\nOURS", DEBIAN),
        with("auth include common-auth\nOURS", FEDORA),
        with("auth include common-auth\nOURS", &arch),
        with("auth include common-auth\nOURS", OPENSUSE),
        with("OURS\n@include common-auth", DEBIAN),
    ] {
        assert_eq!(verdict(&lines).expect_err(&lines).code, Code::EnrollWithoutFirstFactor);
    }
}

/// Each remedy of single lines is enough by itself, and names the lines that it is about.
#[test]
fn what_to_change() {
    let arch = ARCH.replace("PREAUTH", "required").replace("AUTHSUCC", "required");
    for (lines, changes) in [
        ("auth required pam_unix.so\nOURS".to_owned(), &[("requisite", "x:1")][..]),
        ("auth sufficient pam_unix.so\nOURS".to_owned(), &[("requisite", "x:1")]),
        ("auth optional pam_unix.so\nOURS".to_owned(), &[("requisite", "x:1")]),
        ("auth [success=ok default=bad] pam_unix.so\nOURS".to_owned(), &[("die", "x:1")]),
        ("auth requisite pam_tcb.so\nOURS".to_owned(), &[("default=die]", "x:1")]),
        ("OURS\n\nauth required pam_unix.so".to_owned(), &[("below", ""), ("requisite", "x:3")]),
        (with("OURS\n@include common-auth", DEBIAN), &[("below", "")]),
        // The deny, not the password: a requisite there would keep everybody out.
        (
            "auth [success=1 default=ignore] pam_unix.so\nauth required pam_deny.so\nOURS".to_owned(),
            &[("requisite", "x:2")],
        ),
        (
            "auth [success=1 default=ignore] pam_localuser.so\nauth requisite pam_unix.so\nOURS".to_owned(),
            &[("auth requisite pam_unix.so", "x:1")],
        ),
        // Other services have that line, too.
        (
            with("auth include common-auth\nOURS", "auth optional pam_unix.so"),
            &[("auth requisite pam_unix.so", "")],
        ),
        ("OURS".to_owned(), &[("auth requisite pam_unix.so", "")]),
        (
            "auth [success=1 default=ignore] pam_sss.so\nauth requisite pam_unix.so nullok\nOURS".to_owned(),
            &[("remove nullok", "x:2")],
        ),
        (
            "auth required pam_faillock.so preauth\nauth required pam_unix.so\nOURS".to_owned(),
            &[("requisite", "x:2"), ("requisite", "x:1")],
        ),
        (with("auth include common-auth\nOURS", OPENSUSE), &[("requisite", "common-auth:3")]),
        (
            with("auth include common-auth\nOURS", &arch),
            &[("requisite", "common-auth:1"), ("requisite", "common-auth:7")],
        ),
        // No line by itself is wrong in a substack.
        (with("auth substack common-auth\nOURS", DEBIAN), &[("include", "x:1")]),
        (with("auth substack common-auth\nOURS", FEDORA), &[("auth requisite pam_unix.so", "")]),
    ] {
        let found = verdict(&lines).expect_err(&lines);
        let said: Vec<_> = found
            .remedies
            .iter()
            .map(|remedy| match remedy {
                Remedy::Text(text) => text.clone(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(said.len(), changes.len(), "{lines}: {said:?}");
        let mut changes = changes.to_vec();
        for text in &said {
            let own = changes.iter().position(|(what, place)| text.contains(what) && text.contains(place));
            changes.remove(own.unwrap_or_else(|| panic!("{lines}: {said:?}")));
        }
    }
}

/// libpam takes the name in lower case, and the lines of `other` for a service that has none.
#[test]
fn the_service_that_is_meant() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let check = |name: &str| of(&[folder.path().to_owned()], name).is_ok();
    let good = format!("auth requisite pam_unix.so\n{OURS}\n");
    write("good", &good);
    write("bad", &format!("auth required pam_unix.so\n{OURS}\n"));
    write("empty", "account required pam_unix.so\n");
    assert!(check("good") && check("GOOD") && !check("bad") && !check("empty") && !check("none"));
    write("other", &good);
    assert!(check("empty") && check("none") && !check("bad"));
    for name in ["", ".", "..", "../good", "/etc/passwd", "x/../good"] {
        assert!(!check(name), "{name}");
    }
    write("open", "auth requisite pam_unix.so \\");
    assert!(!check("open"));
    std::os::unix::fs::symlink("/nowhere", folder.path().join("dangling")).unwrap();
    assert!(check("dangling"), "the lines of other");
    assert!(of(&[], "no-such-service-here").is_err());
}
