//! Enrollment at a login, as users see it: from the first login with a password to the next one with the new factor.

use crate::codes::code;
use crate::site::{PASSWORD, Site};
use crate::sshd_key::{KEY_THEN_PRESS, key_of_alice, ssh_with};
use crate::ways::{SOON, TALKATIVE};
use std::time::Duration;
use tests::host::Sshd;
use tests::screen::{self, DARK};
use tests::soft_yubikey::SoftYubiKey;
use tests::terminal::Terminal;

const LINES: &str = "auth requisite pam_unix.so\nauth required pam_yubiotp.so enroll\n\
                     account required pam_unix.so\nsession required pam_permit.so\n";
pub(crate) const CHOICE: &str = "type its number";
pub(crate) const CODE: &str = "Type the code that the app shows";
pub(crate) const PROMPT: &str = "YubiKey for alice: ";

/// A host on which everybody needs a second factor, and none has one.
fn start(tools: &[&str], policy: &str) -> Option<Site> {
    let site = Site::start(tools)?;
    site.pam("sshd", LINES);
    set_program(&site, policy);
    Some(site)
}

/// Names the program that enrolls, and a policy.
pub(crate) fn set_program(site: &Site, policy: &str) {
    let config = String::from_utf8(site.host.read("/etc/yubiotp/config.toml")).unwrap();
    let enroll = format!("[policy]\n{policy}\n[enroll]\nprogram = {:?}\n", site.enroll);
    site.host.write("/etc/yubiotp/config.toml", format!("{config}\n{enroll}"), 0o644);
}

/// ssh, after the password.
pub(crate) fn after_password(site: &Site, sshd: &Sshd) -> Terminal {
    let mut terminal = site.ssh(sshd, "alice", &[]);
    site.answer(&mut terminal, "Password: ", &[PASSWORD]);
    terminal
}

/// The line with `name` in what the terminal shows last.
pub(crate) fn shown(transcript: &str, name: &str) -> String {
    let line = transcript.rsplit("\r\n").find_map(|line| line.trim_start().strip_prefix(name)).unwrap();
    line.trim().to_owned()
}

/// What zbar reads of the picture that a terminal shows last.
fn picture(site: &Site, transcript: &str) -> String {
    let is_drawn = |line: &&str| {
        line.chars().count() > 20 && line.chars().all(|c| " \u{2588}\u{2580}\u{2584}@".contains(c))
    };
    let lines: Vec<_> = transcript.split("\r\n").collect();
    let end = lines.iter().rposition(is_drawn).unwrap() + 1;
    let start = lines.iter().take(end).rposition(|line| !is_drawn(line)).unwrap() + 1;
    let drawn: String = lines.iter().take(end).skip(start).map(|line| format!("{line}\r\n")).collect();
    let screen = screen::picture(&screen::screen(&drawn, 200, DARK));
    let screen = if drawn.contains('@') { screen::blurred(&screen) } else { screen };
    screen::read(&site.host.path().join("screen.pgm"), &screen, false).unwrap_or(drawn)
}

/// The first of the recovery codes on the terminal, and Enter.
pub(crate) fn recovery_code(terminal: &mut Terminal) -> String {
    terminal.wait_for("Press Enter when done: ", SOON);
    let transcript = terminal.transcript();
    let codes: Vec<_> = transcript
        .split("\r\n")
        .map(str::trim)
        .filter(|line| line.len() >= 14 && line.split('-').count() == 4)
        .collect();
    assert_eq!(codes.len(), 9, "{transcript}");
    let first = (*codes.first().unwrap()).to_owned();
    terminal.type_line("");
    first
}

fn enrolled(token: &str, service: &str) -> String {
    format!("enrolled user=alice token={token} mode=offline service={service} * code=enrolled *")
}

#[test]
fn an_app_by_its_picture() {
    let Some(site) = start(&["sshd", "ssh", "ssh-keygen", "oathtool", "zbarimg"], "") else { return };
    let sshd = site.host.sshd(TALKATIVE);

    let mut terminal = after_password(&site, &sshd);
    terminal.wait_for(CHOICE, SOON);
    terminal.type_line("1");
    terminal.wait_for(CODE, SOON);
    let secret = shown(&terminal.transcript(), "secret ").replace(' ', "");
    let uri = shown(&terminal.transcript(), "URI ");
    assert!(uri.contains(&format!("secret={secret}")), "{uri}");
    for key in ["q", "a"] {
        terminal.type_line(key);
        terminal.wait_for(CODE, SOON);
        assert_eq!(picture(&site, &terminal.transcript()), uri, "{key}");
    }
    let first = code(&secret, 0);
    terminal.type_line(&first);
    let recovery = recovery_code(&mut terminal);
    site.keep("enrollment-app", &terminal);
    site.assert_in(terminal, "alice");
    site.assert_decided(&[&enrolled("oath-app-*", "sshd")]);
    // The program's own line, which does not wait for the end of the dialogue.
    let log = site.host.log_lines().concat();
    assert!(log.contains("event=enroll user=alice service=sshd rhost="), "{log}");

    // From now on she is asked for it, and what was used is used.
    for (answer, is_in) in [(&first, false), (&code(&secret, 1), true), (&recovery, true), (&recovery, false)]
    {
        let mut terminal = after_password(&site, &sshd);
        site.answer(&mut terminal, PROMPT, &[answer]);
        if is_in {
            site.assert_in(terminal, "alice");
        } else {
            site.assert_out(terminal);
        }
    }
    site.assert_nothing_leaked(&sshd);
}

/// A client in the locale C cannot show anything but ASCII, and a user may go away at every question.
#[test]
fn broken_off_and_resumed() {
    let Some(site) = start(&["sshd", "ssh", "ssh-keygen", "oathtool"], "methods = [\"totp\"]") else {
        return;
    };
    let sshd = site.host.sshd(TALKATIVE);
    let in_c = || {
        let mut command = site.host.ssh("alice", sshd.port, &["-o", "NumberOfPasswordPrompts=1"]);
        command.env("LC_ALL", "C").arg("echo in-42 as $(id -un)");
        let mut terminal = Terminal::spawn(command);
        site.answer(&mut terminal, "Password: ", &[PASSWORD]);
        terminal.wait_for(CHOICE, SOON);
        terminal
    };
    // At the choice.
    drop(in_c());
    // With the secret in the app.
    let mut terminal = in_c();
    terminal.type_line("1");
    terminal.wait_for(CODE, SOON);
    let transcript = terminal.transcript();
    assert!(transcript.is_ascii() && !transcript.contains("\\"), "{transcript}");
    let secret = shown(&transcript, "secret ");
    drop(terminal);
    assert_eq!(site.ykmap_json(&["list"]).as_array().map(Vec::len), Some(0));
    // It is the same one, in two logins at once. One of them enrolls, by one code.
    let mut both = [in_c(), in_c()];
    for terminal in &mut both {
        terminal.type_line("1");
        terminal.wait_for(CODE, SOON);
        assert_eq!(shown(&terminal.transcript(), "secret "), secret);
    }
    let first = code(&secret.replace(' ', ""), 0);
    for terminal in &mut both {
        terminal.type_line(&first);
    }
    // No recovery codes: the policy does not allow them. The other sees why it ends.
    let mut refused = 0;
    for terminal in &mut both {
        if terminal.comes("Press Enter: ", Duration::from_secs(5)) {
            terminal.type_line("");
            refused += 1;
        }
    }
    assert_eq!(refused, 1);
    let ends = both.map(|terminal| terminal.finish(SOON));
    let are_in = ends.iter().filter(|(code, shown)| *code == Some(0) && shown.contains("in-42 as alice\r\n"));
    assert_eq!(are_in.count(), 1, "{ends:?}");
    let mut terminal = after_password(&site, &sshd);
    site.answer(&mut terminal, PROMPT, &[&first]);
    site.assert_out(terminal);
    let mut terminal = after_password(&site, &sshd);
    site.answer(&mut terminal, PROMPT, &[&code(&secret.replace(' ', ""), 1)]);
    site.assert_in(terminal, "alice");
}

/// A YubiKey that the host knows, at the console; then sudo asks for it.
#[test]
fn two_touches() {
    let Some(site) = start(&["sshd", "ssh", "ssh-keygen", "sudo", "login"], "require = \"all\"") else {
        return;
    };
    site.pam("login", LINES);
    site.pam("sudo", LINES);
    let mut token = SoftYubiKey::numbered(1);
    site.ykmap(&["key", "import", "-"], &(token.traditional_log_line() + "\n"));
    let [early, first, second] = [token.press(), token.press(), token.press()];

    let mut terminal = site.login();
    terminal.wait_for("login: ", SOON);
    terminal.type_line("alice");
    site.answer(&mut terminal, "Password: ", &[PASSWORD]);
    terminal.wait_for(CHOICE, SOON);
    terminal.type_line(&first);
    terminal.wait_for("Touch it again", SOON);
    // What came before is no second touch.
    terminal.type_line(&early);
    terminal.wait_for("Touch it again", SOON);
    terminal.type_line(&second);
    let recovery = recovery_code(&mut terminal);
    site.keep("enrollment-yubikey", &terminal);
    site.assert_shell(terminal, "alice");
    site.assert_decided(&[&enrolled(&token.public_id(), "login")]);

    for (answer, is_in) in [(first, false), (second, false), (token.press(), true), (recovery, true)] {
        let mut terminal = site.sudo("alice");
        site.answer(&mut terminal, "assword", &[PASSWORD]);
        site.answer(&mut terminal, PROMPT, &[&answer]);
        if is_in {
            site.assert_in(terminal, "root");
        } else {
            site.assert_out(terminal);
        }
    }
}

/// Who is offered nothing, whatever they know.
#[test]
fn a_stranger_is_offered_nothing() {
    let Some(site) = start(&["sshd", "ssh", "ssh-keygen"], "") else { return };
    let sshd = site.host.sshd(TALKATIVE);
    let password = |password: &str| {
        let mut terminal = site.ssh(&sshd, "alice", &[]);
        site.answer(&mut terminal, "Password: ", &[password]);
        terminal
    };
    let rejected = |mut terminal: Terminal| {
        site.answer(&mut terminal, PROMPT, &["123456"]);
        let transcript = site.assert_out(terminal);
        assert!(!transcript.contains(CHOICE), "{transcript}");
    };
    let log = || site.host.log_lines().concat();

    // A wrong password ends the stack.
    let transcript = site.assert_out(password("wrong horse"));
    assert!(!transcript.contains(CHOICE) && !transcript.contains(PROMPT), "{transcript}");
    site.assert_decided(&[]);

    // Where it does not, nothing is offered, not even after the right one.
    site.pam("sshd", &LINES.replace("requisite pam_unix", "required pam_unix"));
    for each in ["wrong horse", PASSWORD] {
        rejected(password(each));
    }
    assert!(log().contains("enroll-without-first-factor"), "{}", log());
    // No first factor at all.
    site.skip_decisions();
    site.pam("sshd", &LINES.replace("auth requisite pam_unix.so\n", ""));
    rejected(site.ssh(&sshd, "alice", &[]));

    // Somebody who has a token is asked for it, with any answer.
    site.pam("sshd", LINES);
    site.token(2, "alice");
    rejected(password(PASSWORD));
    // Also without the token, which their administrator took away.
    site.ykmap(&["remove", "alice", &SoftYubiKey::numbered(2).public_id()], "");
    rejected(password(PASSWORD));
}

/// sshd has checked a key, and the stack has no password.
#[test]
fn after_a_key() {
    let Some(site) = start(&["sshd", "ssh", "ssh-keygen", "oathtool"], "methods = [\"totp\"]") else {
        return;
    };
    site.pam("sshd", &LINES.replace("auth requisite pam_unix.so\n", ""));
    let key = key_of_alice(&site);
    let sshd = site.host.sshd(&[TALKATIVE, KEY_THEN_PRESS].concat());
    let mut terminal = ssh_with(&site, &sshd, &key);
    terminal.wait_for(CHOICE, SOON);
    terminal.type_line("1");
    terminal.wait_for(CODE, SOON);
    let secret = shown(&terminal.transcript(), "secret ").replace(' ', "");
    terminal.type_line(&code(&secret, 0));
    site.assert_in(terminal, "alice");
    site.assert_decided(&[&enrolled("oath-app-*", "sshd")]);
    let mut terminal = ssh_with(&site, &sshd, &key);
    site.answer(&mut terminal, PROMPT, &[&code(&secret, 1)]);
    site.assert_in(terminal, "alice");
}

/// Until a date, Enter puts it off. Robots are never asked.
#[test]
fn put_off_until_a_date() {
    let policy = "until = 2199-01-01\nexempt = [\"bob\"]\non_exempt = \"success\"";
    let Some(site) = start(&["sshd", "ssh", "ssh-keygen"], policy) else { return };
    let sshd = site.host.sshd(TALKATIVE);
    let mut terminal = after_password(&site, &sshd);
    terminal.wait_for(CHOICE, SOON);
    assert!(terminal.transcript().contains("2199-01-01 00:00"), "{}", terminal.transcript());
    terminal.type_line("");
    site.assert_in(terminal, "alice");
    site.assert_decided(&["* user=alice * code=enrollment-postponed *"]);
    let mut terminal = site.ssh(&sshd, "bob", &[]);
    site.answer(&mut terminal, "Password: ", &[PASSWORD]);
    site.assert_in(terminal, "bob");
    site.assert_decided(&["* user=bob * code=user-exempt *"]);
}

/// A missing program keeps nobody out who may put enrolling off. /etc may be read-only, as on images.
#[test]
fn without_the_program_and_with_a_read_only_etc() {
    let policy = "until = 2199-01-01\non_exempt = \"success\"\nmethods = [\"totp\"]";
    let Some(site) = start(&["sshd", "ssh", "ssh-keygen", "oathtool", "mount"], policy) else { return };
    let sshd = site.host.sshd(TALKATIVE);
    let aside = site.enroll.with_extension("aside");
    std::fs::rename(&site.enroll, &aside).unwrap();
    site.assert_in(after_password(&site, &sshd), "alice");
    site.assert_decided(&[
        "* code=enroll-program-missing *",
        "excused user=alice * code=user-may-postpone *",
    ]);
    std::fs::rename(&aside, &site.enroll).unwrap();

    let read_only = "mount --bind /etc/yubiotp /etc/yubiotp && mount -o remount,bind,ro /etc/yubiotp";
    assert!(site.host.run(&["sh", "-c", read_only]).status.success());
    let mut terminal = after_password(&site, &sshd);
    terminal.wait_for(CHOICE, SOON);
    terminal.type_line("1");
    terminal.wait_for(CODE, SOON);
    let secret = shown(&terminal.transcript(), "secret ").replace(' ', "");
    terminal.type_line(&code(&secret, 0));
    site.assert_in(terminal, "alice");
    let mut terminal = after_password(&site, &sshd);
    site.answer(&mut terminal, PROMPT, &[&code(&secret, 1)]);
    site.assert_in(terminal, "alice");

    // A screen locker runs as its user, who cannot read the store, and finds out that they did not enroll.
    site.pam("swaylock", "auth required pam_yubiotp.so nullok\nauth required pam_permit.so\n");
    assert!(site.unlock("bob", &[]));
    assert!(!site.unlock("alice", &[&code(&secret, 2)]));
}

/// A hardware token out of the drawer.
#[test]
fn a_hardware_token() {
    let Some(site) = start(&["sshd", "ssh", "ssh-keygen", "oathtool"], "") else { return };
    let sshd = site.host.sshd(TALKATIVE);
    let secret = "3132333435363738393031323334353637383930";
    site.host.write("/root/seeds.csv", format!("serial,secret\n7711,{secret}\n"), 0o600);
    site.ykmap(&["token", "import", "--secret", "hex", "--series", "2026", "/root/seeds.csv"], "");
    let base32 = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    // Users may not take it before the administrator says so.
    let mut terminal = after_password(&site, &sshd);
    terminal.wait_for(CHOICE, SOON);
    assert!(!terminal.transcript().contains("hardware token"), "{}", terminal.transcript());
    drop(terminal);
    site.ykmap(&["series", "allow-claims", "2026"], "");

    let mut terminal = after_password(&site, &sshd);
    for (prompt, typed) in [
        (CHOICE, "2"),
        ("Serial number", "7712"),
        ("Code that it shows", &code(base32, -1)),
        ("The next code", &code(base32, 0)),
        ("Serial number", "7711"),
        ("Code that it shows", &code(base32, -1)),
        ("The next code", &code(base32, 0)),
    ] {
        terminal.wait_for(prompt, SOON);
        terminal.type_line(typed);
    }
    let recovery = recovery_code(&mut terminal);
    site.keep("enrollment-hardware", &terminal);
    site.assert_in(terminal, "alice");
    // The login that broke off has a line, too, when it ends.
    assert!(site.host.log_lines().concat().contains("enrolled user=alice token=oath-7711 "));
    for (answer, is_in) in [(&code(base32, 0), false), (&code(base32, 1), true), (&recovery, true)] {
        let mut terminal = after_password(&site, &sshd);
        site.answer(&mut terminal, PROMPT, &[answer]);
        if is_in {
            site.assert_in(terminal, "alice");
        } else {
            site.assert_out(terminal);
        }
    }
}
