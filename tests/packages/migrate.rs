//! Hosts that come from another module, with its real package: logged in by it, moved, logged in by ours, moved back.

use crate::root::{Root, TARGET};
use crate::shipped::debs;
use crate::ways::{PASSWORD, SOON};
use data_encoding::{BASE32_NOPAD, HEXLOWER};
use tests::soft_app::{self, SoftApp};
use tests::soft_yubikey::SoftYubiKey;
use tests::terminal::Terminal;
use tests::validation::{CLIENT, KEY, Server};

/// A root with our package and another module's, where su asks for a password and then by this line.
fn host(name: &'static str, package: &str, line: &str) -> Option<Root> {
    let root = Root::start(name)?;
    let (folder, deb) = debs().new.rsplit_once('/').unwrap();
    root.run(&format!("cd {TARGET}/{folder} && apt-get install -qq ./{deb} {package}")).ok();
    root.write(
        "/etc/pam.d/su",
        format!("auth required pam_unix.so\n{line}\n@include common-account\n@include common-session\n"),
        0o644,
    );
    Some(root)
}

impl Root {
    /// bob becomes alice by su; whether he is let in by this answer behind the password.
    fn su_behind_password(&self, prompt: &str, answer: &str) -> bool {
        let mut command = self.command_as("bob", "su");
        command.args(["-c", "echo in-$((40+2))", "alice"]);
        let mut terminal = Terminal::spawn(command);
        terminal.wait_for("Password: ", SOON);
        terminal.type_line(PASSWORD);
        terminal.wait_for(prompt, SOON);
        terminal.type_line(answer);
        let (code, transcript) = terminal.finish(SOON);
        self.story.did("bob$ su alice", &transcript);
        assert_eq!(code == Some(0), transcript.contains("in-42"), "{transcript}");
        code == Some(0)
    }

    /// The plan writes nothing, and the migration is done; a second one has nothing to do.
    fn migrate(&self, verb: &str) {
        let before = self.read("/etc/pam.d/su");
        self.run(&format!("ykmap migrate {verb}; test $? = 3")).ok();
        assert_eq!(self.read("/etc/pam.d/su"), before);
        self.run(&format!("ykmap migrate {verb} --write")).ok();
        assert!(self.read("/etc/pam.d/su").contains("auth required pam_yubiotp.so"));
        self.run(&format!("ykmap migrate {verb}")).ok();
    }

    fn undo(&self, verb: &str, before: &str) {
        self.run(&format!("ykmap migrate {verb} --undo")).ok();
        assert_eq!(self.read("/etc/pam.d/su"), before);
    }
}

#[test]
fn pam_yubico() {
    let mut key = SoftYubiKey::numbered(930);
    let server = Server::start(&[&key]);
    let args = format!("id={CLIENT} key={KEY} urllist={}", server.url());
    let Some(root) = host("migrate-yubico", "libpam-yubico", &format!("auth required pam_yubico.so {args}"))
    else {
        return;
    };
    root.run("install -d -o alice -g alice /home/alice/.yubico").ok();
    root.write("/home/alice/.yubico/authorized_yubikeys", format!("alice:{}\n", key.public_id()), 0o600);
    root.run("chown alice: /home/alice/.yubico/authorized_yubikeys").ok();
    let before = root.read("/etc/pam.d/su");
    let prompt = "YubiKey for ";

    root.story.step("pam_yubico asks");
    let used = key.press();
    assert!(root.su_behind_password(prompt, &used), "{:#?}", root.log_lines());
    root.story.step("ours asks");
    root.migrate("pam_yubico");
    assert!(!root.su_behind_password(prompt, &used), "an OTP that pam_yubico accepted");
    let next = key.press();
    assert!(root.su_behind_password(prompt, &next), "{:#?}", root.log_lines());
    root.assert_logged(" code=accepted ");
    assert!(!root.su_behind_password(prompt, &next), "an OTP that was used");
    root.story.step("pam_yubico asks again");
    root.undo("pam_yubico", &before);
    assert!(!root.su_behind_password(prompt, &next), "an OTP that was used");
    assert!(root.su_behind_password(prompt, &key.press()), "{:#?}", root.log_lines());

    root.story.step("its profile asks in every service, and pam-auth-update owns the line");
    root.write(
        "/etc/pam.d/su",
        "@include common-auth\n@include common-account\n@include common-session\n",
        0o644,
    );
    root.run(&format!("sed -i 's|pam_yubico.so.*|pam_yubico.so {args}|' /usr/share/pam-configs/yubico")).ok();
    root.run("pam-auth-update --enable yubico").ok();
    let said = root.run("ykmap migrate pam_yubico --write; test $? = 3").ok().said;
    let command =
        said.split(": ").find(|part| part.starts_with("pam-auth-update --disable yubico ")).unwrap();
    let command = command.split(". ").next().unwrap();
    root.run(command).ok();
    let common = root.read("/etc/pam.d/common-auth");
    assert!(common.contains("pam_yubiotp.so") && !common.contains("pam_yubico.so"), "{common}");
    for (answer, is_right) in [(key.press(), true), (next, false)] {
        let mut login = root.command_as("bob", "su");
        login.args(["-c", "echo in-$((40+2))", "alice"]);
        let mut terminal = Terminal::spawn(login);
        terminal.wait_for("Password, then YubiKey: ", SOON);
        terminal.type_line(&format!("{PASSWORD}{answer}"));
        let (code, transcript) = terminal.finish(SOON);
        root.story.did("bob$ su alice", &transcript);
        assert_eq!(code == Some(0), is_right, "{transcript}");
    }
}

#[test]
fn google_authenticator() {
    let line = "auth required pam_google_authenticator.so nullok";
    let Some(root) = host("migrate-google", "libpam-google-authenticator", line) else { return };
    let app = SoftApp::numbered(930);
    let secret = BASE32_NOPAD.encode(app.secret());
    let file = "/home/alice/.google_authenticator";
    let text = format!("{secret}\n\" WINDOW_SIZE 17\n\" DISALLOW_REUSE\n\" TOTP_AUTH\n12345678\n");
    root.write(file, text, 0o400);
    root.run(&format!("chown alice: {file}")).ok();
    let before = root.read("/etc/pam.d/su");
    let prompt = "Verification code: ";
    let mut step = soft_app::now();
    while !(step - 1..step + 4).all(|step| app.is_single(step)) {
        step += 1;
    }

    root.story.step("google-authenticator asks");
    assert!(root.su_behind_password(prompt, &app.code(step)), "{:#?}", root.log_lines());
    root.story.step("ours asks");
    root.migrate("google-authenticator");
    assert!(!root.su_behind_password(prompt, &app.code(step)), "a code that google-authenticator accepted");
    assert!(root.su_behind_password(prompt, &app.code(step + 1)), "{:#?}", root.log_lines());
    assert!(!root.su_behind_password(prompt, &app.code(step + 1)), "a code that was used");
    assert!(root.su_behind_password(prompt, "12345678"), "{:#?}", root.log_lines());
    assert!(!root.su_behind_password(prompt, "12345678"), "an emergency code that was used");
    root.story.step("google-authenticator asks again");
    root.undo("google-authenticator", &before);
    assert!(root.su_behind_password(prompt, &app.code(step + 2)), "{:#?}", root.log_lines());
}

#[test]
fn pam_oath() {
    let line = "auth required pam_oath.so usersfile=/etc/users.oath window=20 digits=6";
    let Some(root) = host("migrate-oath", "libpam-oath", line) else { return };
    let app = SoftApp::numbered(931);
    root.write("/etc/users.oath", format!("HOTP alice - {}\n", HEXLOWER.encode(app.secret())), 0o600);
    let before = root.read("/etc/pam.d/su");
    let prompt = "One-time password (OATH) for `alice': ";

    root.story.step("pam_oath asks");
    assert!(root.su_behind_password(prompt, &app.code(3)), "{:#?}", root.log_lines());
    root.story.step("ours asks");
    root.migrate("oath");
    assert!(!root.su_behind_password(prompt, &app.code(3)), "a code that pam_oath accepted");
    assert!(root.su_behind_password(prompt, &app.code(9)), "{:#?}", root.log_lines());
    assert!(!root.su_behind_password(prompt, &app.code(9)), "a code that was used");
    root.story.step("pam_oath asks again");
    root.undo("oath", &before);
    assert!(root.su_behind_password(prompt, &app.code(12)), "{:#?}", root.log_lines());
}
