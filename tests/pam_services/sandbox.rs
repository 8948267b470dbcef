//! Callers in a sandbox, as systemd makes them: what they cannot use is a fault, and the log says which setting to change.

use crate::site::Site;
use crate::site::installed as installed_program;
use std::path::Path;
use std::process::Command;
use tests::built;

const READ_ONLY: &str =
    "mount --bind /var/lib/yubiotp /var/lib/yubiotp && mount -o remount,ro,bind /var/lib/yubiotp";

impl Site {
    /// One login of alice in namespaces of its own, in which `before` has run as root; whether she gets in.
    fn login_in(&self, namespaces: &[&str], before: &str, service: &str, otp: &str) -> bool {
        let drive = built::program("pam-drive");
        let mut unshare = self.host.command("unshare");
        unshare.args(namespaces).args(["sh", "-c", &format!("{before} && exec \"$0\" \"$@\"")]).arg(drive);
        unshare.args(["--confdir", "/etc/pam.d", "--service", service, "--user", "alice", "--", otp]);
        let output = unshare.output().unwrap();
        assert!(!output.stdout.is_empty(), "{output:?}");
        output.status.success()
    }

    fn assert_reason(&self, parts: &[&str]) {
        let lines = self.host.log_lines();
        let last = lines.iter().rfind(|line| line.contains(" pam_yubiotp(")).unwrap();
        assert!(
            last.contains(": fault ") && parts.iter().all(|part| last.contains(part)),
            "{parts:?}: {last}"
        );
    }
}

#[test]
fn the_log_says_which_setting() {
    let Some(site) = Site::start(&["mount"]) else { return };
    let mut token = site.token(1, "alice");
    let ours = "auth required pam_yubiotp.so";
    site.pam("polkit-1", &format!("{ours}\n"));
    site.pam("own", &format!("{ours} config=/home/%u/.yubiotp/config.toml\n"));
    let mount = ["--mount", "--propagation=private"];
    // ProtectSystem=strict. The OTP is not used up.
    let otp = token.press();
    assert!(!site.login_in(&mount, READ_ONLY, "polkit-1", &otp));
    site.assert_reason(&[
        "code=file-inaccessible ",
        "Read-only file system",
        "only this process",
        "ReadWritePaths=/var/lib/yubiotp/positions ",
    ]);
    // With the drop-in.
    let allowed = format!("{READ_ONLY} && mount -o remount,rw,bind /var/lib/yubiotp");
    assert!(site.login_in(&mount, &allowed, "polkit-1", &otp));
    // ProtectHome=yes
    assert!(!site.login_in(&mount, "mount -t tmpfs none /home", "own", &token.press()));
    site.assert_reason(&["code=config-missing ", "another /home than this host has", "ProtectHome="]);
    // Where nothing is hidden, nothing is said of it.
    assert!(!site.login_in(&mount, "true", "own", &token.press()));
    let lines = site.host.log_lines();
    assert!(!lines.last().unwrap().contains("sandbox"), "{lines:#?}");
    // PrivateNetwork=yes
    let online = format!(
        "mode = \"online\"\n[online]\nurls = [\"https://192.0.2.1\"]\nclient_id = 1\ndeadline = 2\nask = \"{}\"\n",
        site.ask.display()
    );
    site.host.write("/etc/yubiotp/config.toml", online, 0o644);
    assert!(!site.login_in(&["--net"], "true", "polkit-1", &token.press()));
    site.assert_reason(&["code=undecided ", "no network interface but lo", "PrivateNetwork=yes"]);
}

/// The drop-in that is shipped is one that systemd takes, beside polkit's unit, and lets in what it is for.
#[test]
fn the_drop_in_is_taken() {
    if !installed_program("systemd-analyze") {
        return tests::skip("needs systemd-analyze");
    }
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../packaging/systemd/polkit-agent-helper@.service.d/50-yubiotp.conf");
    let text =
        std::fs::OpenOptions::new().read(true).open(&shipped).and_then(std::io::read_to_string).unwrap();
    assert!(text.contains("\n[Service]\nReadWritePaths=-/var/lib/yubiotp\n"), "{text}");
    // With its commented lines, too, and one that is none.
    let all: String = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting)
                if setting
                    .split_once('=')
                    .is_some_and(|(name, _)| name.chars().all(char::is_alphanumeric)) =>
            {
                format!("{setting}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    assert_ne!(all, text);
    for (lines, good) in [(text.clone(), true), (all, true), (format!("{text}ReadWritePath=/x\n"), false)] {
        let folder = tempfile::tempdir().unwrap();
        let unit = "[Service]\nExecStart=/bin/true\nProtectSystem=strict\nPrivateNetwork=yes\nStandardInput=socket\n";
        std::fs::write(folder.path().join("polkit-agent-helper@.service"), unit).unwrap();
        let drop_ins = folder.path().join("polkit-agent-helper@.service.d");
        std::fs::create_dir(&drop_ins).unwrap();
        std::fs::write(drop_ins.join("50-yubiotp.conf"), lines).unwrap();
        let mut analyze = Command::new("systemd-analyze");
        analyze.args(["verify", "--man=no", "polkit-agent-helper@1.service"]);
        analyze.env("SYSTEMD_UNIT_PATH", format!("{}:", folder.path().display()));
        let output = analyze.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(!said.contains("50-yubiotp.conf"), good, "{said}");
    }
}
