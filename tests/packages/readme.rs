//! README's commands, read from README and typed unchanged, by alice, at a terminal in a copy of the checkout;
//! what they ask for is answered, and what they print is done.

mod shell;

use crate::base::checkout;
use crate::root::{CHECKOUT, Root, TARGET};
use crate::shipped::{debs, rpms};
use crate::ways::With;
use shell::Shell;
use std::fs;

/// The commands of the first block below a heading, in order. Lines with only a comment are for people.
fn block(heading: &str) -> Vec<String> {
    let text = fs::read_to_string(checkout().join("README.md")).unwrap();
    let below = text.split_once(&format!("\n{heading}\n")).unwrap().1;
    let inside = below.split_once("```sh\n").unwrap().1.split_once("```").unwrap().0;
    let lines = inside.lines().filter(|line| !line.trim_start().starts_with('#'));
    lines.map(str::to_owned).collect()
}

/// The only command of the first block below a heading.
fn only(heading: &str) -> String {
    let lines = block(heading);
    let [line] = &lines[..] else { panic!("not one: {lines:#?}") };
    line.clone()
}

impl Root {
    /// Alice's copy of the checkout with the built programs, in her home; and the system's journal.
    fn furnish(&self) {
        let copy = format!(
            "mkdir /home/alice/pam_yubiotp && cd {CHECKOUT} \
             && tar -c --exclude=./target --exclude=./.git --exclude=./tests . | tar -x -C /home/alice/pam_yubiotp \
             && cd /home/alice/pam_yubiotp && mkdir -p target/release target/debian target/generate-rpm \
             && cp -r {TARGET}/release/libpam_yubiotp.so {TARGET}/release/yubiotp-ask {TARGET}/release/yubiotp-enroll {TARGET}/release/yubiotp-try \
                {TARGET}/release/ykmap {TARGET}/release/copyright {TARGET}/release/completions target/release \
             && cp {TARGET}/{} target/debian && cp {TARGET}/{} target/generate-rpm \
             && chown -R alice: /home/alice && chmod 755 /home/alice",
            debs().new,
            rpms().new,
        );
        self.quietly(&copy, "").ok();
        // Only systemd-journald, which wants to see control groups. It must not change the kernel's audit.
        self.write(
            "/etc/systemd/journald.conf.d/alone.conf",
            "[Journal]\nAudit=\nReadKMsg=no\nStorage=volatile\n",
            0o644,
        );
        let journal = "mount -t tmpfs private /sys && mkdir -p /sys/fs/cgroup \
                       && mount -t cgroup2 -o ro private /sys/fs/cgroup \
                       && rm /dev/log && ln -s /run/systemd/journal/dev-log /dev/log \
                       && (setsid /lib/systemd/systemd-journald </dev/null >/dev/null 2>&1 &) \
                       && for i in $(seq 100); do [ -S /run/systemd/journal/dev-log ] && exit; sleep 0.1; done; exit 1";
        self.quietly(journal, "").ok();
    }
}

/// "First login", with a command of "Enable it" in place of the line for pam.d.
fn first_login(alice: &mut Shell, root: &Root, enable: &str) {
    let lines = block("## First login");
    let [new, add, verify, keep_open, try_it, why] = &lines[..] else { panic!("{lines:#?}") };
    let said = alice.types(new);
    alice.token = Some(crate::token::programmed(&said));
    alice.types(add);
    assert!(alice.types(verify).contains("accepted: alice"), "{verify}");
    let mut kept_open = Shell::open(root, "alice");
    kept_open.token.clone_from(&alice.token);
    kept_open.types(keep_open);
    kept_open.becomes_root();

    alice.types(enable);
    alice.pressed = false;
    alice.types(try_it);
    assert!(alice.pressed, "no press was asked for: {try_it}");
    let line = kept_open.types(why);
    assert!(line.contains("accepted user=alice"), "{line}");
    let doctor = kept_open.types("ykmap doctor alice");
    assert!(doctor.contains("0 errors"), "{doctor}");
    // and a replay is refused
    let mut again = Shell::open(root, "alice");
    again.press = alice.press.clone();
    again.fails(try_it);
    let line = kept_open.types(why);
    assert!(line.contains("refused user=alice") && line.contains(" code=otp-replayed "), "{line}");
}

#[test]
fn debian() {
    let Some(root) = Root::start("readme-deb") else { return };
    root.furnish();
    let lines = block("### Debian");
    let [install, page] = &lines[..] else { panic!("not two: {lines:#?}") };
    let enable = only("### Enable on Debian");
    let mut alice = Shell::open(&root, "alice");
    alice.types(install);
    assert!(alice.types(page).contains("PAM_YUBIOTP(8)"), "{page}");
    first_login(&mut alice, &root, &enable);
    assert!(!root.su(With::Otp("")), "su was not switched on");
    assert!(root.root_becomes_alice());

    root.story.step("Uninstall");
    alice.types(&taking_off("apt-get"));
    root.assert_password_suffices();
}

/// The machine's rpm replaces dnf, which would want a Fedora's packages around it. Its libpam looks into
/// /usr/lib64/security, that of a Debian is led there by a link.
#[test]
fn fedora() {
    if !crate::base::installed("rpm") {
        return tests::skip("needs rpm");
    }
    let Some(root) = Root::start("readme-rpm") else { return };
    root.furnish();
    root.quietly("rm /usr/sbin/pam-auth-update", "").ok();
    let link = "ln -s /usr/lib64/security/pam_yubiotp.so $(dirname $(find /usr/lib -name pam_permit.so))";
    root.quietly(link, "").ok();
    let lines = block("### Fedora");
    let [install, page] = &lines[..] else { panic!("not two: {lines:#?}") };
    let package = install.strip_prefix("sudo dnf install ./").unwrap().split_whitespace().next().unwrap();
    assert!(root.exists(&format!("/home/alice/pam_yubiotp/{package}")), "{install}");
    let rpm = "rpm --root $ROOT --force-debian --dbpath /var/lib/rpm --nodeps";
    root.beside(&format!("{rpm} --install $ROOT/home/alice/pam_yubiotp/{package}")).ok();
    let mut alice = Shell::open(&root, "alice");
    assert!(alice.types(page).contains("PAM_YUBIOTP(8)"), "{page}");
    first_login(&mut alice, &root, &only("### Enable on Fedora"));

    root.story.step("Uninstall");
    assert!(taking_off("dnf").ends_with(" remove pam_yubiotp"));
    let refused = root.beside(&format!("{rpm} --erase pam_yubiotp")).fails();
    refused.says("/etc/pam.d/sudo:");
    root.run("mv /etc/pam.d/sudo~ /etc/pam.d/sudo").ok();
    root.beside(&format!("{rpm} --erase pam_yubiotp")).ok();
    root.quietly("rm $(find /usr/lib -name pam_yubiotp.so)", "").ok();
    root.assert_password_suffices();
}

/// The programs were compiled by the machine: cargo, the compiler and the header are replaced, and so is the
/// list of licenses, which asks cargo.
#[test]
fn from_source() {
    let Some(root) = Root::start("readme-source") else { return };
    root.furnish();
    for (path, contents) in [
        ("/usr/local/bin/cargo", "#!/bin/sh\necho \"(stands in) cargo $*\"\n"),
        ("/usr/local/bin/cc", "#!/bin/sh\nexit 1\n"),
        ("/usr/include/security/pam_modules.h", ""),
        ("/home/alice/pam_yubiotp/packaging/copyright", "#!/bin/sh\ncat /mnt/target/release/copyright\n"),
    ] {
        root.write(path, contents, 0o755);
    }
    let lines = block("### From source");
    let [install, init] = &lines[..] else { panic!("not two: {lines:#?}") };
    let mut alice = Shell::open(&root, "alice");
    let said = alice.types(install);
    assert!(said.contains("cargo build --release --locked -p pam_yubiotp"), "{said}");
    alice.types(init);
    let enable =
        only("### Enable on Fedora").replace("/usr/share/doc/pam_yubiotp/pam.d-examples/", "pam.d-examples/");
    first_login(&mut alice, &root, &enable);

    root.story.step("Uninstall");
    let off = taking_off("make");
    let said = alice.fails(&off);
    assert!(said.contains("/etc/pam.d/sudo:"), "{said}");
    root.run("mv /etc/pam.d/sudo~ /etc/pam.d/sudo").ok();
    alice.types(&off);
    root.assert_password_suffices();
}

/// The command of the paragraph "Uninstall" that is for this tool.
fn taking_off(tool: &str) -> String {
    let text = fs::read_to_string(checkout().join("README.md")).unwrap();
    let below = text.split_once("\n### Uninstall\n").unwrap().1;
    let code = below.split('`').skip(1).step_by(2);
    code.map(str::to_owned).find(|code| code.starts_with(&format!("sudo {tool} "))).unwrap()
}
