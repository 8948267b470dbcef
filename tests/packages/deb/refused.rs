//! A removal that is refused has changed nothing: whatever shape the line has that names the module, wherever it is.

use super::fresh;
use crate::root::Root;
use crate::shipped::debs;
use crate::ways::With;
use tests::soft_yubikey::SoftYubiKey;

/// Where the line is, how it came there, and the file that is named. A login by su is as before: none is where its
/// `auth` is. `\\374` is a letter in Latin-1.
const BY_HAND: [(&str, &str, &str); 14] = [
    (
        "in common-account, below what pam-auth-update writes",
        "echo 'account optional pam_yubiotp.so' >>/etc/pam.d/common-account",
        "/etc/pam.d/common-account:",
    ),
    (
        "in common-session",
        "echo 'session optional pam_yubiotp.so' >>/etc/pam.d/common-session",
        "/etc/pam.d/common-session:",
    ),
    (
        "in common-auth, above what pam-auth-update writes",
        "sed -i '1iaccount optional pam_yubiotp.so' /etc/pam.d/common-auth",
        "/etc/pam.d/common-auth:",
    ),
    (
        "in what pam-auth-update writes, so that it will not write there any more",
        "sed -i '/^# and here are more/aaccount optional pam_yubiotp.so' /etc/pam.d/common-account",
        "/etc/pam.d/common-account:",
    ),
    (
        "in a file outside of pam.d",
        "echo 'auth optional pam_yubiotp.so' >/root/logins; echo '@include /root/logins' >>/etc/pam.d/sudo",
        "/root/logins:",
    ),
    (
        "in such a file by way of another, in other letters",
        "echo 'auth optional pam_yubiotp.so' >/root/logins; echo 'auth Include ../../root/logins' >/root/more; \
         echo '@INCLUDE /root/more' >>/etc/pam.d/sudo",
        "/etc/pam.d/../../root/logins:",
    ),
    (
        "in a copy that is included",
        "echo 'auth optional pam_yubiotp.so' >/etc/pam.d/key.bak; \
         echo 'auth substack key.bak' >>/etc/pam.d/sudo",
        "/etc/pam.d/key.bak:",
    ),
    (
        "included over two lines",
        "echo 'auth optional pam_yubiotp.so' >/root/logins; \
         printf '@include \\\\\\n /root/logins\\n' >>/etc/pam.d/sudo",
        "/root/logins:",
    ),
    (
        "over two lines, with a comment between",
        "printf 'auth optional \\\\\\n# so\\n pam_yubiotp.so\\n' >>/etc/pam.d/sudo",
        "/etc/pam.d/sudo:",
    ),
    (
        "with a name over two lines",
        "printf 'auth optional pam_yubi\\\\\\notp.so\\n' >>/etc/pam.d/sudo",
        "/etc/pam.d/sudo:",
    ),
    (
        "behind a comment that ends in a backslash",
        "printf '# over \\\\\\nauth optional pam_yubiotp.so\\n' >>/etc/pam.d/sudo",
        "/etc/pam.d/sudo:",
    ),
    (
        "the last, without an end",
        "printf 'auth optional pam_yubiotp.so' >>/etc/pam.d/sudo",
        "/etc/pam.d/sudo:",
    ),
    (
        "with a letter of Latin-1 before the name",
        "printf 'auth optional /root/f\\374r/pam_yubiotp.so\\n' >>/etc/pam.d/sudo",
        "/etc/pam.d/sudo:",
    ),
    (
        "in a service of /usr/lib/pam.d",
        "mkdir -p /usr/lib/pam.d; echo 'auth optional pam_yubiotp.so' >/usr/lib/pam.d/own",
        "/usr/lib/pam.d/own:",
    ),
];

/// Profiles of the administrator's own that load the module.
const PROFILES: [&str; 2] = [
    "Name: Own\\nDefault: no\\nPriority: 1\\nAccount-Type: Additional\\nAccount:\\n\\toptional\\tpam_yubiotp.so\\n",
    "Name: Own\\nDefault: no\\nPriority: 1\\nAuth-Type: Additional\\nAuth:\\n\\toptional\\tpam_yubiotp.so debug\\n",
];

impl Root {
    /// All that pam-auth-update writes: names, modes, owners and sums.
    fn pam(&self) -> String {
        let line = "cd / && find etc/pam.d var/lib/pam -printf '%p %y %m %u:%g %l\\n' | sort \
                    && find etc/pam.d var/lib/pam -type f | sort | xargs md5sum";
        self.quietly(line, "").ok().said
    }

    #[track_caller]
    fn assert_refused(&self, file: &str) {
        let before = self.pam();
        for action in ["remove", "purge"] {
            self.apt(action).fails().says("is still needed by these lines").says(file);
            let after = self.pam();
            assert_eq!(after, before, "{action} changed something");
            assert!(self.exists("/usr/bin/ykmap") && self.exists("/etc/yubiotp/store.key"), "{action}");
        }
        assert_eq!(self.run("dpkg --audit").ok().said, "");
    }
}

#[test]
fn a_refused_removal_changes_nothing() {
    let Some((root, before)) = fresh("refused") else { return };
    root.apt_install(&debs().new).ok();
    let mut token = SoftYubiKey::numbered(1);
    root.give(&mut token, "alice");
    root.run("pam-auth-update --enable yubiotp").ok();
    root.run("cp -a /etc/pam.d /root/pam.d && cp -a /var/lib/pam /root/pam").ok();
    let back = "rm -rf /etc/pam.d /var/lib/pam /usr/lib/pam.d/own /root/logins /root/more /usr/share/pam-configs/own \
                && cp -a /root/pam.d /etc/pam.d && cp -a /root/pam /var/lib/pam";

    for (what, line, file) in BY_HAND {
        root.story.step(&format!("a line {what}"));
        root.run(line).ok();
        root.assert_refused(file);
        assert!(root.su(With::Otp(&token.press())), "{what}: {:#?}", root.log_lines());
        root.run(back).ok();
    }
    for profile in PROFILES {
        root.story.step("a profile of the administrator's own");
        root.run(&format!("printf '{profile}' >/usr/share/pam-configs/own && pam-auth-update --enable own"))
            .ok();
        assert_eq!(root.lines_of_ours().len(), 2);
        root.assert_refused("/etc/pam.d/common-a");
        // That of auth asks for a touch of its own.
        assert!(profile.contains("Auth:") || root.su(With::Otp(&token.press())), "{:#?}", root.log_lines());
        root.run(back).ok();
    }
    root.assert_press_needed(&mut token);

    root.story.step("such a profile, where ours was taken out by hand: it stays out");
    root.run(&format!(
        "printf '{}' >/usr/share/pam-configs/own && pam-auth-update --enable own",
        PROFILES[0]
    ))
    .ok();
    root.run("sed -i /pam_yubiotp/d /etc/pam.d/common-auth").ok();
    root.assert_refused("/etc/pam.d/common-account:");
    assert!(root.su(With::Password), "{:#?}", root.log_lines());
    root.run(back).ok();

    root.story.step("copies that nobody reads do not keep it");
    for name in ["sudo~", "common-auth.pam-old", "x.dpkg-old", "sudo.ucf-dist", "sudo.bak"] {
        root.write(&format!("/etc/pam.d/{name}"), "auth required pam_yubiotp.so\n", 0o644);
    }
    root.write(
        "/etc/pam.d/plain",
        "# auth required pam_yubiotp.so\n@include common-auth # pam_yubiotp.so\n",
        0o644,
    );
    let said = root.apt("remove").ok().said;
    let told = "The profile is removed from pam.d: no login asks for a YubiKey any more.";
    assert_eq!(said.matches(told).count(), 1, "{said}");
    root.run("cd /etc/pam.d && rm sudo~ common-auth.pam-old x.dpkg-old sudo.ucf-dist sudo.bak plain").ok();
    root.purge_and_delete();
    root.run("rm -r /root/pam.d /root/pam").ok();
    root.tree().assert_same(&before, &[]);
    root.assert_password_suffices();
}
