//! The commands that the manual, README and docs/ show, run unchanged, in a folder and with a YubiKey of software.
//! If the text shows the output of a command, the command prints that.

use crate::commands::{of_markdown, prompted};
use crate::markdown;
use crate::page::{PAGES, Page};
use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;
use tests::built;
use tests::place::Place;
use tests::soft_yubikey::SoftYubiKey;

/// Where the commands are typed. What they call `ykmap` takes the settings of this place, and so do the services that
/// its doctor sees.
struct Desk {
    folder: TempDir,
    /// The YubiKey that answers a prompt.
    key: SoftYubiKey,
    /// The umask of the commands that follow.
    umask: String,
}

impl Desk {
    fn new() -> Self {
        let desk = Self {
            folder: tempfile::tempdir().unwrap(),
            key: SoftYubiKey::numbered(0x12), // vvccccccccbd
            umask: "umask 022".to_owned(),
        };
        for folder in ["bin", "pam.d", "home/.config/fish/completions"] {
            fs::create_dir_all(desk.folder.path().join(folder)).unwrap();
        }
        let here = desk.folder.path().display();
        let ykmap = built::program("ykmap");
        let real = ykmap.display();
        desk.write(
            "bin/ykmap",
            0o755,
            &format!(
                "#!/bin/sh\ncase \" $* \" in\n*' --config '* | *' --dir '* | *' modhex '*) exec {real} \"$@\" ;;\n\
                 *' doctor '*) exec {real} --config {here}/etc/config.toml \"$@\" --pam-dir {here}/pam.d ;;\nesac\n\
                 exec {real} --config {here}/etc/config.toml \"$@\"\n"
            ),
        );
        let module = built::module();
        let lines = format!(
            "auth required pam_unix.so\nauth required {} config={here}/etc/config.toml\n",
            module.display()
        );
        desk.write("pam.d/sudo", 0o644, &lines);
        let secret = "31323334353637383930313233343536373839";
        let seeds = format!("1234567890123,{secret}30\n1234567890124,{secret}31\n");
        desk.write("seeds.csv", 0o600, &format!("serial,secret\n{seeds}"));
        desk.write("log.csv", 0o600, &format!("{}\n", desk.key.traditional_log_line()));
        desk
    }

    fn write(&self, name: &str, mode: u32, text: &str) {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// Runs a command; a question is answered by a touch.
    fn run(&mut self, command: &str) -> Output {
        if command.starts_with("umask ") {
            self.umask = command.to_owned();
        }
        let asks =
            ["ykmap add ", "ykmap verify ", "ykmap otp"].iter().any(|begin| command.starts_with(begin));
        let answer = if asks { self.key.press() + "\n" } else { String::new() };
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("{}; {command}", self.umask)).current_dir(self.folder.path());
        shell.env_clear().env("HOME", self.folder.path().join("home"));
        shell.env("PATH", format!("{}/bin:/usr/bin:/bin", self.folder.path().display()));
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = shell.spawn().unwrap();
        child.stdin.take().unwrap().write_all(answer.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let looks = command.contains(" doctor");
        assert!(output.status.success() || looks, "{command}: {output:?}");
        // It is here on trial: pam.d, and much else, is not that of a host.
        assert!(
            !looks || String::from_utf8_lossy(&output.stdout).starts_with("pam.d\n"),
            "{command}: {output:?}"
        );
        output
    }

    /// Runs the commands of a display, and compares the output that it shows. Returns the number of commands.
    fn follow(&mut self, display: &str) -> usize {
        let mut lines = display.lines().peekable();
        let mut count = 0;
        while let Some(line) = lines.next() {
            let Some(command) = prompted(line) else { continue };
            count += 1;
            let output = self.run(command);
            let mut shown = Vec::new();
            while let Some(answer) = lines.next_if(|line| prompted(line).is_none()) {
                shown.push(answer.trim().to_owned());
            }
            let (out, err) =
                (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
            // A host has its configuration in the usual place.
            let config = format!(" --config {}/etc/config.toml", self.folder.path().display());
            let mut said: Vec<_> =
                out.lines().chain(err.lines()).map(|line| line.trim().replace(&config, "")).collect();
            // Nobody has these accounts where this runs.
            said.retain(|line| !line.ends_with(" [user-unknown]"));
            // A terminal shows them in the order of time.
            shown.sort();
            said.sort();
            assert!(
                shown.is_empty() || shown == said,
                "{command}\nsays {said:#?}\nand is shown with {shown:#?}"
            );
        }
        count
    }
}

#[test]
fn ykmap_1_is_run() {
    let Some(page) = Page::read("ykmap.1") else { return };
    let displays = page.section("EXAMPLES").displays();
    let mut desk = Desk::new();
    let count: usize = displays.iter().map(|display| desk.follow(display)).sum();
    let all = page
        .displays()
        .iter()
        .flat_map(|display| display.lines())
        .filter(|line| prompted(line).is_some())
        .count();
    assert!(count == all && count > 15, "{count} of {all}");
    let written = desk.folder.path().join("home/.config/fish/completions/ykmap.fish");
    assert!(fs::read_to_string(written).unwrap().contains("complete -c ykmap"));
}

/// The lines of key files that the page shows are lines of key files.
#[test]
fn key_files_as_shown_are_read() {
    let Some(page) = Page::read("ykmap.1") else { return };
    let shown = page.section("KEY FILES").displays();
    let [traditional, yubico] = &shown[..] else { panic!("{shown:#?}") };
    // "has the same fields"; of another token with another key, for the store has these then
    let fields: Vec<_> = yubico.split(',').collect();
    let other_key = fields[3].chars().rev().collect::<String>();
    let ksm = yubico.replace("ccccccdbjrgf", "ccccccdbjrgg").replace(fields[3], &other_key);
    let ksm = format!("# ykksm 1\n{ksm}");
    let mut desk = Desk::new();
    desk.run("ykmap init");
    for (file, format) in
        [(traditional, "Yubico traditional log"), (yubico, "Yubico format"), (&ksm, "YK-KSM key file")]
    {
        fs::write(desk.folder.path().join("shown"), file).unwrap();
        let said = String::from_utf8(desk.run("ykmap key import shown").stdout).unwrap();
        assert_eq!(said, format!("imported 1 key ({format})\n"));
    }
}

/// The lines of token files that the page shows are lines of token files.
#[test]
fn token_files_as_shown_are_read() {
    let Some(page) = Page::read("ykmap.1") else { return };
    let shown = page.section("TOKEN FILES").displays();
    let [two_fields, csv] = &shown[..] else { panic!("{shown:#?}") };
    for (file, format) in
        [(two_fields, "serial and secret, secrets in hex"), (csv, "OATH CSV, secrets in hex")]
    {
        let mut desk = Desk::new();
        desk.run("ykmap init");
        desk.write("shown", 0o600, &format!("{file}\n"));
        let said = String::from_utf8(desk.run("ykmap token import shown").stdout).unwrap();
        assert_eq!(said, format!("imported 1 token ({format})\n"));
    }
}

/// From the key that is made to the login that is decided, by the commands of the README and nothing else.
#[test]
fn the_readmes_first_login() {
    let mut desk = Desk::new();
    let mut last = String::new();
    let commands = of_markdown("README.md", Some("## First login"));
    let commands: Vec<_> = commands.iter().filter(|command| command.starts_with("ykmap ")).collect();
    for needed in ["ykmap key new", "ykmap add alice", "ykmap verify alice"] {
        assert!(commands.contains(&&needed.to_owned()), "{needed}: {commands:?}");
    }
    // Where a package was installed, it has done this.
    desk.run("ykmap init");
    for command in commands {
        let output = desk.run(command);
        last = String::from_utf8(output.stdout).unwrap();
        if command == "ykmap key new" {
            desk.key = programmed(&last);
        }
    }
    assert!(last.starts_with("accepted: alice: token vv"), "{last}");
}

/// A YubiKey as the command that was printed programs it.
fn programmed(said: &str) -> SoftYubiKey {
    let command = said.lines().find(|line| line.trim().starts_with("ykman otp yubiotp ")).unwrap();
    let value = |name: &str| {
        let (_, behind) = command.split_once(name).unwrap();
        behind.split_whitespace().next().unwrap().to_owned()
    };
    let hex = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
    let modhex = value("--public-id");
    let digits: String = modhex
        .chars()
        .map(|c| char::from(b"0123456789abcdef"["cbdefghijklnrtuv".find(c).unwrap()]))
        .collect();
    let key = SoftYubiKey::new(
        &hex(&digits),
        hex(&value("--private-id")).try_into().unwrap(),
        hex(&value("--key")).try_into().unwrap(),
    );
    assert_eq!(key.public_id(), modhex);
    key
}

/// `ykmap` in the other pages, and in README where somebody is rejected.
#[test]
fn what_the_other_pages_show() {
    let mut desk = Desk::new();
    desk.run("ykmap init");
    desk.run("ykmap key import log.csv");
    desk.run("ykmap add alice");
    let mut ran = Vec::new();
    for name in PAGES.into_iter().filter(|name| *name != "ykmap.1") {
        let Some(page) = Page::read(name) else { return };
        let displays = page.displays();
        let lines = displays.iter().flat_map(|display| display.lines()).filter_map(prompted);
        // Where a store of the user's own is made, by the test of the locker.
        let here = |command: &&str| command.starts_with("ykmap ") && !command.contains("~/.yubiotp");
        ran.extend(lines.filter(here).map(str::to_owned));
    }
    ran.extend(of_markdown("README.md", None).into_iter().filter(|command| command.contains(" doctor")));
    assert!(ran.len() > 3, "{ran:?}");
    for command in &ran {
        desk.run(command);
    }
}

/// The last line of the module, and no other's.
#[test]
fn the_reason_is_found_in_the_log() {
    let find = of_markdown("README.md", None)
        .into_iter()
        .find(|command| command.starts_with("journalctl "))
        .unwrap();
    let place = Place::new();
    let login = place.login("otp", "alice", &["no OTP at all, however long this answer is"]);
    let ours = login.auth_lines()[0].text.clone();
    let mut desk = Desk::new();
    let around = "pam_unix(sudo:auth): authentication failure; user=alice";
    let journal = format!(
        "#!/bin/sh\ncat <<'END'\nsudo[1]: pam_yubiotp(sudo:auth): an older line\nsudo[2]: {ours}\nsudo[2]: {around}\nEND\n"
    );
    desk.write("bin/journalctl", 0o755, &journal);
    let output = desk.run(&find);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("sudo[2]: {ours}\n"));
    assert!(
        ours.contains(" refused user=alice ") && ours.contains("the mapping does not list the user"),
        "{ours}"
    );
}

/// The mappings that are shown can be read, every line of them.
#[test]
fn mappings_are_mappings() {
    let Some(page) = Page::read("authorized_yubikeys.5") else { return };
    let mut shown = page.section("EXAMPLES").displays();
    for page in markdown::pages() {
        shown.extend(markdown::blocks(&page, None).into_iter().map(|(_, block)| block));
    }
    shown.retain(|text| text.starts_with("# user:id"));
    assert_eq!(shown.len(), 2);
    for text in shown {
        let users = yubiotp::mapping::entries(text.as_bytes()).filter(|(number, line)| match line {
            Ok(line) => matches!(line, yubiotp::mapping::Line::Entry { .. }),
            Err(why) => panic!("line {number}: {why}"),
        });
        assert_eq!(users.count(), 4, "{text}");
    }
}

/// What pam_yubiotp(8) says of authselect, by the doctor, which walks as libpam does: the lines are those of Fedora's
/// own profile.
#[test]
fn fedoras_profile_asks_for_the_press() {
    let desk = Desk::new();
    let module = built::module();
    let ours = format!("auth required {}\n", module.display());
    let before = "auth required pam_env.so\nauth required pam_faildelay.so delay=2000000\n";
    let passwords = "auth [default=1 ignore=ignore success=ok] pam_usertype.so isregular\n\
                     auth [default=1 ignore=ignore success=ok] pam_localuser.so\n\
                     auth sufficient pam_unix.so nullok\n\
                     auth [default=1 ignore=ignore success=ok] pam_usertype.so isregular\n\
                     auth sufficient pam_sss.so forward_pass\n";
    let end = "auth required pam_deny.so\naccount required pam_unix.so\n";
    let included = "auth include system-auth\naccount include system-auth\n";
    let of_its_own = format!("auth substack system-auth\n{ours}account include system-auth\n");
    for (what, profile, service, well) in [
        ("above the passwords", [before, &ours, passwords, end].concat(), included, true),
        ("behind a sufficient one", [before, passwords, &ours, end].concat(), included, false),
        ("in a file of its own", [before, passwords, end].concat(), of_its_own.as_str(), true),
        (
            "there, and with include",
            [before, passwords, end].concat(),
            &of_its_own.replace("substack", "include"),
            false,
        ),
    ] {
        desk.write("pam.d/system-auth", 0o644, &profile);
        desk.write("pam.d/sudo", 0o644, service);
        let mut doctor = Command::new(built::program("ykmap"));
        doctor.args(["doctor", "--no-servers", "--pam-dir"]).arg(desk.folder.path().join("pam.d"));
        let said = String::from_utf8(doctor.output().unwrap().stdout).unwrap();
        let (of_pam, _) = said.split_once("\nmodule\n").unwrap();
        let finds = of_pam.contains("  error ") || of_pam.contains("  warning ");
        assert_eq!(!finds, well, "{what}: {of_pam}");
    }
}
