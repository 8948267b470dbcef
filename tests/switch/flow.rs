//! From the trial to the end of the deadline.

use crate::corpus::{Distribution, PASSWORD, code, read};
use serde_json::Value;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tests::built;

const HOST: &str = "== pam.d/demo\nauth required pam_exec.so expose_authtok quiet CHECK\naccount required pam_permit.so\n\
                    == pam.d/other\nauth required pam_deny.so\naccount required pam_deny.so\n== sshd_config\nUsePAM yes\n";

fn host(number: u32) -> Distribution {
    let host = Distribution::new(HOST, number);
    host.place.install(&built::program("yubiotp-try"), "yubiotp-try", 0o755);
    host
}

impl Distribution {
    /// `ykmap` on these files, with something to read.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(built::program("ykmap"));
        command.arg("--config").arg(self.place.config()).args(arguments);
        command.arg("--pam-dir").arg(self.path("pam.d")).arg("--sshd-config").arg(self.path("sshd_config"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// `ykmap enable demo` with these answers in the trial.
    fn try_and_enable(&self, options: &[&str], answers: &[&str]) -> Output {
        let (module, program) = (built::module(), self.place.path("yubiotp-try"));
        let mut command = self.command(&[&["enable", "demo", "--user", "alice"], options].concat());
        let mut child =
            command.arg("--module").arg(module).arg("--try-program").arg(program).spawn().unwrap();
        let answers: String = answers.iter().map(|answer| format!("{answer}\n")).collect();
        let _ = child.stdin.take().unwrap().write_all(answers.as_bytes());
        child.wait_with_output().unwrap()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().unwrap()
    }

    fn enable_untried(&self) -> Output {
        let module = built::module().display().to_string();
        self.run(&["enable", "demo", "--no-try", "--yes", "--module", &module])
    }

    fn record(&self) -> PathBuf {
        self.place.path("changes/enable-demo")
    }

    /// The change is due now.
    fn make_due(&self) {
        let mut record: Value = serde_json::from_str(&read(&self.record())).unwrap();
        record["deadline"] = Value::from(0);
        // In one step, as ykmap does.
        let new = self.place.path("changes/.due");
        fs::write(&new, record.to_string()).unwrap();
        fs::set_permissions(&new, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        fs::rename(new, self.record()).unwrap();
    }

    /// The names in pam.d that are not those of [`HOST`].
    fn leftovers(&self) -> Vec<String> {
        let names = fs::read_dir(self.path("pam.d")).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != "demo" && name != "other").collect()
    }
}

#[test]
fn tried_enabled_kept_and_disabled() {
    let mut host = host(11);
    let before = host.files();
    let otp = host.key.press();
    let output = host.try_and_enable(&["--json"], &[PASSWORD, &otp]);
    assert!(output.status.success(), "{output:?}");
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(said["changed"], true);
    assert!(said["deadline"].as_u64().unwrap().abs_diff(now + 600) < 60, "{said:#}");
    let backup = PathBuf::from(said["backups"][0].as_str().unwrap());
    assert_eq!(fs::read(&backup).unwrap(), before[&host.path("pam.d/demo")]);
    assert!(!String::from_utf8_lossy(&output.stderr).contains(&otp), "an answer was shown");
    // The trial used the OTP up, as any login.
    assert!(!host.login("demo", &[PASSWORD, &otp]));
    let otp = host.key.press();
    assert!(host.login("demo", &[PASSWORD, &otp]));
    // Copies are no services.
    let names: Vec<_> = host.access("demo");
    assert_eq!(names.len(), 2, "{names:#?}");
    let again = host.run(&["--json", "enable", "demo"]);
    assert!(again.status.success(), "again: nothing to do");
    let again: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!((&again["changed"], &again["deadline"]), (&Value::from(false), &said["deadline"]));
    assert_eq!(host.run(&["enable", "--dry-run", "demo"]).status.code(), Some(0));
    assert!(host.run(&["enable", "--keep", "demo"]).status.success());
    host.make_due();
    assert!(host.run(&["enable", "demo"]).status.success());
    assert_ne!(host.files(), before, "a change that is kept stays");
    assert!(host.run(&["enable", "--keep", "demo"]).status.success(), "again: nothing to do");
    assert!(host.run(&["disable", "demo"]).status.success());
    assert_eq!(host.files(), before);
}

#[test]
fn a_trial_that_is_rejected_changes_nothing() {
    let mut host = host(12);
    let before = host.files();
    let otp = host.key.press();
    for (answers, expected) in [
        (&[PASSWORD, "vvvvvvcucrlcietctckflvnncdgckubluugerlnr"][..], "trial-rejected"),
        (&["wrong", &otp], "trial-rejected"),
        (&[], "trial-rejected"),
    ] {
        let output = host.try_and_enable(&[], answers);
        assert_eq!((output.status.code(), code(&output).as_str()), (Some(1), expected), "{answers:?}");
        assert_eq!(host.files(), before);
        let left: Vec<_> = fs::read_dir(host.place.path("changes"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != ".yubiotp.lock")
            .collect();
        assert!(left.is_empty() && host.leftovers().is_empty(), "{left:?}");
    }
}

/// By the process that waits, with no other call of ykmap; then by the next call of ykmap.
#[test]
fn undone_when_nobody_keeps_it() {
    let host = host(13);
    let before = host.files();
    assert!(host.enable_untried().status.success());
    assert_ne!(host.files(), before);
    host.make_due();
    let since = Instant::now();
    while host.files() != before || host.record().exists() {
        assert!(since.elapsed() < Duration::from_secs(20), "the process that waits has not undone it");
        thread::sleep(Duration::from_millis(50));
    }
    assert!(host.leftovers().is_empty(), "{:?}", host.leftovers());
    for verb in [&["enable", "--undo", "demo"][..], &["disable", "demo"]] {
        assert!(host.enable_untried().status.success());
        assert!(host.run(verb).status.success());
        assert_eq!(host.files(), before, "{verb:?}");
    }
    assert_eq!(code(&host.run(&["enable", "--undo", "demo"])), "change-unknown");
}

#[test]
fn what_needs_to_be_said_twice() {
    let host = host(14);
    let before = host.files();
    for arguments in [
        &["enable", "--no-try", "demo"][..],
        &["enable", "--keep", "demo"],
        &["enable", "--keep", "--no-try", "demo"],
    ] {
        let output = host.run(arguments);
        assert_eq!(
            (output.status.code(), code(&output).as_str()),
            (Some(2), "input-invalid"),
            "{arguments:?}"
        );
    }
    assert_eq!(host.run(&["enable", "--dry-run", "demo"]).status.code(), Some(3));
    assert_eq!(code(&host.run(&["enable", "nonsense"])), "service-unknown");
    assert_eq!(host.files(), before);
}

#[test]
fn files_that_somebody_else_changed() {
    let host = host(15);
    assert!(host.enable_untried().status.success());
    let path = host.path("pam.d/demo");
    let edited = read(&path) + "# mine\n";
    fs::write(&path, &edited).unwrap();
    assert_eq!(code(&host.run(&["enable", "--undo", "demo"])), "file-edited");
    assert_eq!(read(&path), edited);
    assert!(host.run(&["enable", "--keep", "demo"]).status.success());
    // What was added stays; only our lines go.
    assert!(host.run(&["disable", "demo"]).status.success());
    assert!(read(&path).ends_with("# mine\n") && !read(&path).contains("pam_yubiotp"), "{}", read(&path));
    // A line that ykmap did not write.
    let by_hand = read(&path) + &format!("auth required {}\n", built::module().display());
    fs::write(&path, &by_hand).unwrap();
    assert_eq!(code(&host.run(&["disable", "demo"])), "lines-not-ours");
    assert_eq!(read(&path), by_hand);
    assert!(host.run(&["disable", "--all", "demo"]).status.success());
    assert!(!read(&path).contains("pam_yubiotp"));
    // The only question is not taken away.
    fs::write(
        &path,
        format!("auth required {}\naccount required pam_permit.so\n", built::module().display()),
    )
    .unwrap();
    assert_eq!(code(&host.run(&["disable", "--all", "demo"])), "stack-unsuitable");
    fs::remove_file(&path).unwrap();
    fs::write(host.path("target"), HOST.split('\n').nth(1).unwrap().to_owned() + "\n").unwrap();
    symlink(host.path("target"), &path).unwrap();
    assert_eq!(code(&host.enable_untried()), "file-is-link");
}

#[test]
fn two_at_once() {
    for number in 16..20 {
        let host = host(number);
        let before = host.files();
        let module = built::module().display().to_string();
        let arguments = ["enable", "demo", "--no-try", "--yes", "--module", &module];
        let children: Vec<_> = (0..4).map(|_| host.command(&arguments).spawn().unwrap()).collect();
        let ends: Vec<_> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
        assert!(ends.iter().any(|end| end.status.success()), "{ends:?}");
        for end in ends.iter().filter(|end| !end.status.success()) {
            assert!(["change-pending", "file-edited"].contains(&code(end).as_str()), "{end:?}");
        }
        let text = read(&host.path("pam.d/demo"));
        assert_eq!(text.matches("pam_yubiotp.so").count(), 1, "{text}");
        assert!(host.run(&["enable", "--undo", "demo"]).status.success());
        assert_eq!(host.files(), before);
        assert!(host.leftovers().is_empty());
    }
}

/// A service has several names; each keeps and undoes the change of the other.
#[test]
fn kept_and_undone_by_any_of_its_names() {
    let lines = "auth required pam_unix.so\naccount required pam_permit.so\n";
    let text = format!("{HOST}== pam.d/sshd\n{lines}== pam.d/sudo\n{lines}== pam.d/sudo-i\n{lines}");
    let host = Distribution::new(&text, 23);
    let before = host.files();
    let module = built::module().display().to_string();
    let usual = ["--no-try", "--yes", "--module", &module];
    for (one, other, options) in [
        ("ssh", "sshd", &["--after", "key"][..]),
        ("sshd", "ssh", &["--after", "key"]),
        ("sudo", "sudo-i", &[]),
    ] {
        for (verb, waits) in [("--keep", false), ("--undo", false), ("--dry-run", true)] {
            assert!(host.run(&[&["enable", one][..], &usual, options].concat()).status.success(), "{one}");
            let said = host.run(&["--json", "enable", verb, other]);
            assert!(said.status.success(), "{said:?}");
            let records = fs::read_dir(host.place.path("changes")).unwrap();
            let records = records.map(|entry| entry.unwrap().path());
            let is_waiting =
                records.filter(|path| path.is_file()).any(|path| read(&path).contains("waiting"));
            assert_eq!(is_waiting, waits, "{one} {verb} {other}");
            assert!(host.run(&["disable", one]).status.success());
            assert_eq!(host.files(), before, "{one} {verb} {other}");
        }
    }
}

/// A main file that includes nothing, or includes too late, gets the lines itself.
#[test]
fn sshd_config_without_an_include_gets_the_lines_itself() {
    for config in ["UsePAM no\nPasswordAuthentication yes\n", "UsePAM no\nInclude SSHD_CONFIG_D/*.conf\n"] {
        let text =
            format!("{HOST}== pam.d/sshd\nauth required pam_unix.so\naccount required pam_permit.so\n");
        let host = Distribution::new(&text.replace("UsePAM yes\n", config), 21);
        let before = host.files();
        assert_eq!(code(&host.enable(&["ssh"])), "stack-unsuitable", "keys would no longer do");
        let output = host.enable(&["--after", "password", "ssh"]);
        assert!(output.status.success(), "{output:?}");
        let new = read(&host.path("sshd_config"));
        assert!(
            new.contains("\nUsePAM yes\n") && new.contains("AuthenticationMethods keyboard-interactive\n"),
            "{new}"
        );
        assert!(fs::read_dir(host.path("sshd_config.d")).unwrap().next().is_none());
        assert!(host.ykmap(&["disable", "ssh"]).status.success());
        assert_eq!(host.files(), before);
    }
}

/// A trial asks by the same files as a login will, whatever kind of line includes them.
#[test]
fn a_trial_follows_every_kind_of_include() {
    let asks = "auth required pam_exec.so expose_authtok quiet CHECK\n";
    for line in [
        "auth substack sub",
        "auth include sub",
        "@include sub",
        "-auth SUBSTACK sub # x",
        "auth \\\n substack \\\n sub",
    ] {
        let text = format!("{HOST}== pam.d/sub\n{asks}");
        let mut host = Distribution::new(&text, 25);
        host.place.install(&built::program("yubiotp-try"), "yubiotp-try", 0o755);
        fs::write(host.path("pam.d/demo"), format!("{line}\naccount required pam_permit.so\n")).unwrap();
        let otp = host.key.press();
        let output = host.try_and_enable(&[], &["wrong", &otp]);
        assert_eq!(code(&output), "trial-rejected", "{line}");
        let otp = host.key.press();
        let output = host.try_and_enable(&[], &[PASSWORD, &otp]);
        assert!(output.status.success(), "{line}: {output:?}");
        assert!(host.run(&["enable", "--undo", "demo"]).status.success());
    }
}

/// A record that cannot be read is in the way of its own service only.
#[test]
fn a_damaged_record_is_named_and_stops_only_its_service() {
    let host = host(26);
    assert!(host.enable_untried().status.success());
    assert!(host.run(&["enable", "--undo", "demo"]).status.success());
    host.place.write("changes/enable-sshd", "garbage", 0o600);
    let output = host.enable_untried();
    assert!(output.status.success(), "{output:?}");
    for verb in [&["status"][..], &["doctor", "--no-servers"]] {
        let said = host.run(&[&["--json"], verb].concat());
        let said: Value = serde_json::from_slice(&said.stdout).unwrap();
        let found = said["findings"].as_array().unwrap().iter();
        let found: Vec<_> = found.filter(|it| it["code"] == "change-damaged").collect();
        assert!(
            found.len() == 1 && found[0]["location"].to_string().contains("enable-sshd"),
            "{verb:?}: {found:#?}"
        );
    }
    assert!(host.run(&["disable", "demo"]).status.success());
    host.place.write("changes/enable-demo", "garbage", 0o600);
    assert_eq!(code(&host.enable_untried()), "change-damaged");
    fs::remove_file(host.record()).unwrap();
    assert!(host.enable_untried().status.success());
}

/// A Match that exempts users is named.
#[test]
fn a_match_that_exempts_users_is_refused() {
    let text = format!(
        "{HOST}Match User backup\nAuthenticationMethods publickey\n== pam.d/sshd\nauth required pam_unix.so\naccount required pam_permit.so\n"
    );
    let host = Distribution::new(&text, 22);
    let output = host.enable(&["--after", "key", "ssh"]);
    assert_eq!((output.status.code(), code(&output).as_str()), (Some(2), "stack-unsuitable"));
    let output = host.enable(&["--after", "key", "--with-exemptions", "ssh"]);
    assert!(output.status.success(), "{output:?}");
    assert!(Path::new(&host.path("pam.d/sshd")).exists());
}

/// A line that exempts some lets others in by less, once it jumps over the new line in place of another: those were rejected
/// before. Refused whatever was confirmed; at another place of the line, they are rejected as before.
#[test]
fn nobody_gets_in_by_less_than_before() {
    let exempt = "auth sufficient pam_succeed_if.so quiet user ingroup robots\n";
    let end = "auth required pam_deny.so\naccount required pam_permit.so\n";
    let jump = "auth [success=2 default=ignore] pam_succeed_if.so quiet user ingroup blocked\n";
    for (lines, is_refused) in [
        (format!("{exempt}{jump}auth required pam_unix.so\nauth sufficient pam_permit.so\n{end}"), true),
        (format!("{exempt}auth required pam_unix.so\naccount required pam_permit.so\n"), false),
    ] {
        let host = Distribution::new(&format!("{HOST}== pam.d/door\n{lines}"), 24);
        let before = host.files();
        let output = host.enable(&["door"]);
        assert_eq!((output.status.code(), code(&output).as_str()), (Some(2), "stack-unsuitable"), "{lines}");
        let module = built::module().display().to_string();
        let dry =
            host.ykmap(&["--json", "enable", "--dry-run", "--with-exemptions", "--module", &module, "door"]);
        if is_refused {
            assert_eq!(dry.status.code(), Some(2), "{dry:?}");
            assert_eq!(code(&host.enable(&["--with-exemptions", "door"])), "stack-unsuitable");
            assert_eq!(host.files(), before, "{lines}");
        } else {
            let said: Value = serde_json::from_slice(&dry.stdout).unwrap();
            assert_eq!(
                said["exempt"],
                serde_json::json!([{ "service": "door", "users": "user ingroup robots" }]),
                "{said:#}"
            );
            assert!(host.enable(&["--with-exemptions", "door"]).status.success());
        }
    }
}

/// A line that jumps over ours would jump over the line of the password then, and let the user nobody in without one.
#[test]
fn a_line_that_is_jumped_over_stays() {
    let host = host(30);
    let ours = format!("{} config={}", built::module().display(), host.place.config().display());
    let jump = "[success=1 default=ignore] pam_succeed_if.so quiet user = nobody";
    let far = jump.replace("success=1", "success=2");
    let sub: String =
        ["auth", "account"].map(|kind| format!("{kind} optional pam_warn.so\n").repeat(3)).concat();
    fs::write(host.path("pam.d/sub"), sub).unwrap();
    for lines in [
        format!(
            "auth {jump}\nauth required {ours}\nauth required pam_unix.so\naccount required pam_permit.so\n"
        ),
        format!(
            "auth required pam_unix.so\nauth required {ours}\naccount {jump}\naccount required {ours}\n\
             account required pam_nologin.so\n"
        ),
        // libpam counts a substack as one line, whatever is in it.
        format!(
            "auth {far}\nauth substack sub\nauth required {ours}\nauth required pam_unix.so\nauth required pam_permit.so\n\
             account required pam_permit.so\n"
        ),
        format!(
            "auth required pam_unix.so\nauth required {ours}\naccount {far}\naccount substack sub\n\
             account required {ours}\naccount required pam_nologin.so\naccount required pam_permit.so\n"
        ),
    ] {
        fs::write(host.path("pam.d/demo"), &lines).unwrap();
        assert_eq!(code(&host.run(&["disable", "--all", "demo"])), "stack-unsuitable", "{lines}");
        assert_eq!(read(&host.path("pam.d/demo")), lines);
    }
}

/// A change that cannot be undone any more, or a record that cannot be read, does not keep the others from it.
#[test]
fn one_that_cannot_be_undone_does_not_stop_the_others() {
    let host = host(31);
    let before = read(&host.path("pam.d/demo"));
    assert!(host.enable_untried().status.success());
    host.place.write("changes/enable-aaa", "garbage", 0o600);
    let mut record: Value = serde_json::from_str(&read(&host.record())).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    record["deadline"] = Value::from(now + 3);
    fs::write(host.record(), record.to_string()).unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    while read(&host.path("pam.d/demo")) != before {
        assert!(Instant::now() < end, "it was not undone");
        thread::sleep(Duration::from_millis(100));
    }
}

/// Another command that holds the lock at the deadline only delays the undo.
#[test]
fn a_lock_at_the_deadline_only_delays_the_undo() {
    let host = host(32);
    let before = read(&host.path("pam.d/demo"));
    assert!(host.enable_untried().status.success());
    let lock = fs::File::options().write(true).open(host.place.path("changes/.yubiotp.lock")).unwrap();
    lock.lock().unwrap();
    host.make_due();
    // Longer than it sleeps.
    thread::sleep(Duration::from_secs(3));
    assert_ne!(read(&host.path("pam.d/demo")), before, "it was undone without the lock");
    drop(lock);
    let end = Instant::now() + Duration::from_secs(30);
    while read(&host.path("pam.d/demo")) != before {
        assert!(Instant::now() < end, "it was not undone");
        thread::sleep(Duration::from_millis(100));
    }
}

/// What is said before a trial: it would show nothing, or nothing of that name is there.
#[test]
fn refused_before_anything_is_tried() {
    let host = host(33);
    let module = built::module().display().to_string();
    let program = host.place.path("yubiotp-try").display().to_string();
    let enable = ["enable", "demo", "--user", "root", "--module", &module, "--try-program", &program];
    assert_eq!(code(&host.run(&enable)), "user-without-token");
    // Named are services that it could switch, by their words.
    for name in ["common-auth", "kde", "polkit-1"] {
        fs::write(host.path("pam.d").join(name), "auth required pam_unix.so\n").unwrap();
    }
    let nosuch = host.run(&["disable", "nosuch"]);
    let text = String::from_utf8_lossy(&nosuch.stderr);
    assert_eq!(code(&nosuch), "service-unknown");
    assert!(text.contains(" polkit") && !text.contains("polkit-1"), "{text}");
    assert!(!text.contains("common-auth") && !text.contains("kde"), "{text}");
    assert_eq!(code(&host.run(&["enable", "--keep", "sshd"])), "input-invalid");
    // Whom it would lock out.
    host.place.write("passwd", "alice:x:1000:1000::/:/bin/sh\nzoe:x:1001:1001::/:/bin/sh\n", 0o644);
    host.place.write("shadow", "alice:$y$x:1::::::\nzoe:$y$x:1::::::\n", 0o600);
    let accounts = host.place.path("").display().to_string();
    let dry = ["--json", "enable", "demo", "--dry-run", "--module", &module, "--accounts", &accounts];
    let said = host.run(&dry);
    assert_eq!(said.status.code(), Some(3), "{said:?}");
    let said: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(said["without_token"], serde_json::json!(["zoe"]));
}
