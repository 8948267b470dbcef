//! The commands that ykvald(8) and docs/running-ykvald.md show, run unchanged, in a folder and with
//! a YubiKey of software. Where the text shows what a command says, it says that.

use crate::commands::{of_markdown, prompted};
use crate::page::Page;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tests::built;
use tests::soft_yubikey::SoftYubiKey;
use tests::ykvald::{Client, Connection, Question, free_port, get};

/// The address that the texts show for the server.
const SHOWN: &str = "127.0.0.1:8000";

/// Where the commands are typed. What they call `ykvald` takes the settings of this place, and listens where nobody
/// else does; `systemctl` starts what the unit starts.
struct Desk {
    folder: TempDir,
    address: String,
    key: SoftYubiKey,
    server: Option<Child>,
    umask: String,
}

impl Drop for Desk {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            let _ended_already = server.kill();
            let _never_fails = server.wait();
        }
    }
}

impl Desk {
    fn new() -> Self {
        let desk = Self {
            folder: tempfile::tempdir().unwrap(),
            address: format!("127.0.0.1:{}", free_port()),
            key: SoftYubiKey::numbered(0x12), // vvccccccccbd
            server: None,
            umask: "umask 022".to_owned(),
        };
        for folder in ["bin", "home"] {
            fs::create_dir(desk.folder.path().join(folder)).unwrap();
        }
        let (here, real) = (desk.folder.path().display(), built::program("ykvald"));
        let real = real.display();
        let address = &desk.address;
        let program = |name: &str, does: &str| {
            desk.write(&format!("bin/{name}"), 0o755, &format!("#!/bin/sh\n{does}\n"))
        };
        program(
            "ykvald",
            &format!(
                "case \" $* \" in\n*' --config '* | *' --dir '*) exec {real} \"$@\" ;;\n\
                 ' serve ') exec {real} --config {here}/etc/config.toml serve --listen {address} ;;\nesac\n\
                 exec {real} --config {here}/etc/config.toml \"$@\""
            ),
        );
        program("journalctl", &format!("cat {here}/log"));
        program("systemd-sysusers", "");
        program("systemctl", "");
        for name in ["log.csv", "FILE"] {
            desk.write(name, 0o600, &format!("{}\n", desk.key.traditional_log_line()));
        }
        desk
    }

    fn write(&self, name: &str, mode: u32, text: &str) {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    fn shell(&self, command: &str) -> Command {
        let mut shell = Command::new("sh");
        let command = command.replace(SHOWN, &self.address);
        shell.arg("-c").arg(format!("{}; {command}", self.umask)).current_dir(self.folder.path());
        shell.env_clear().env("HOME", self.folder.path().join("home"));
        shell.env("PATH", format!("{}/bin:/usr/bin:/bin", self.folder.path().display()));
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        shell
    }

    /// Runs a command that has to succeed.
    fn run(&mut self, command: &str) -> Output {
        if command.starts_with("umask ") {
            command.clone_into(&mut self.umask);
        }
        let output = self.shell(command).output().unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
        match command {
            "systemctl enable --now ykvald" => {
                let unit = crate::text_of("packaging/systemd/ykvald.service");
                let starts = unit
                    .lines()
                    .find_map(|line| line.strip_prefix("ExecStart=/usr/bin/"))
                    .unwrap()
                    .to_owned();
                // The settings are where this test has them.
                self.serve(&starts.replace("--config /etc/ykvald/config.toml ", ""));
            }
            "systemctl stop ykvald" => {
                let mut server = self.server.take().unwrap();
                let id = Pid::from_child(&server);
                kill_process(id, Signal::TERM).unwrap();
                assert!(server.wait().unwrap().success());
            }
            "systemctl start ykvald" => self.serve("ykvald serve"),
            "systemd-sysusers" => {
                let made = crate::text_of("packaging/systemd/ykvald.sysusers");
                assert!(made.lines().any(|line| line.starts_with("u     ykvald ")), "{made}");
            }
            _ => {}
        }
        output
    }

    /// Runs what serves until it is stopped, and waits until it is ready.
    fn serve(&mut self, command: &str) {
        let log = File::create(self.folder.path().join("log")).unwrap();
        let mut shell = self.shell(&format!("exec {command}"));
        self.server = Some(shell.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
        let (begun, address) = (Instant::now(), self.address.parse().unwrap());
        while !get(address, "/readyz").is_ok_and(|reply| reply.status == 200) {
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap();
            assert!(begun.elapsed() < Duration::from_secs(10), "{command}: {}", log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks about a touch, by the first client, and waits until the log has it.
    fn ask(&mut self) -> String {
        let client = Client { id: 1, key: String::new() };
        let mut connection = Connection::open(self.address.parse().unwrap()).unwrap();
        let says = connection.ask(&Question::new(&client, &self.key.press())).unwrap().says();
        let begun = Instant::now();
        while !fs::read_to_string(self.folder.path().join("log"))
            .unwrap()
            .contains(&format!("status={says} "))
        {
            assert!(begun.elapsed() < Duration::from_secs(10), "the log has no {says}");
            thread::sleep(Duration::from_millis(5));
        }
        says
    }

    /// Runs the commands of a display, and compares the output that it shows. Returns the number of commands.
    fn follow(&mut self, display: &str) -> usize {
        let mut lines = display.lines().peekable();
        let mut count = 0;
        while let Some(line) = lines.next() {
            let Some(command) = prompted(line) else { continue };
            count += 1;
            let mut shown = Vec::new();
            while let Some(answer) = lines.next_if(|line| prompted(line).is_none()) {
                shown.push(answer.trim().to_owned());
            }
            if command == "ykvald serve" {
                self.serve(command);
                assert_eq!(self.ask(), "OK", "the server that the page sets up");
                continue;
            }
            let output = self.run(command);
            let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
            let said: Vec<_> = said.lines().map(|line| line.trim().to_owned()).collect();
            assert!(
                shown.is_empty() || shown == said,
                "{command}\nsays {said:#?}\nand is shown with {shown:#?}"
            );
            let is_one_line = command.starts_with("journalctl ") && !command.contains('>');
            assert!(!is_one_line || said.len() == 1, "{command}: {said:?}");
            assert!(
                !command.contains(" restore ") || !said.iter().any(|line| line.contains("touch")),
                "{said:?}"
            );
        }
        count
    }
}

#[test]
fn ykvald_8_is_run() {
    let Some(page) = Page::read("ykvald.8") else { return };
    let displays = page.section("EXAMPLES").displays();
    let mut desk = Desk::new();
    let count: usize = displays.iter().map(|display| desk.follow(display)).sum();
    let all = page.displays();
    let all = all.iter().flat_map(|display| display.lines()).filter(|line| prompted(line).is_some()).count();
    assert!(count == all && count > 15, "{count} of {all}");
}

const RUNNING: &str = "docs/running-ykvald.md";
const MOVING: &str = "## A host that ran offline moves to ykvald";

/// By the commands of the page: what the host accepted is not accepted again, and the next touch is.
#[test]
fn a_host_moves_to_the_server() {
    let mut desk = Desk::new();
    let (here, real) = (desk.folder.path().display().to_string(), built::program("ykmap"));
    let ykmap = format!("#!/bin/sh\nexec {} --config {here}/host/config.toml \"$@\"\n", real.display());
    desk.run(&format!("{} init --dir {here}/host", real.display()));
    desk.write("bin/ykmap", 0o755, &ykmap);
    desk.run("ykmap key import log.csv");
    desk.run(&format!("ykmap add --quiet alice {}", desk.key.public_id()));
    let used = desk.key.press();
    desk.run(&format!("echo {used} | ykmap verify alice"));

    desk.run("ykvald init");
    let commands = of_markdown(RUNNING, Some(MOVING));
    assert_eq!(commands.len(), 4, "{commands:?}");
    for command in &commands {
        desk.run(command);
    }
    desk.serve("ykvald serve");
    let client = Client { id: 1, key: String::new() };
    let mut connection = Connection::open(desk.address.parse().unwrap()).unwrap();
    assert_eq!(connection.ask(&Question::new(&client, &used)).unwrap().says(), "REPLAYED_OTP");
    drop(connection);
    assert_eq!(desk.ask(), "OK");
}

/// From nothing to an OTP that is accepted, by the commands of docs/running-ykvald.md and nothing else.
#[test]
fn the_pages_server() {
    let mut desk = Desk::new();
    let moving = of_markdown(RUNNING, Some(MOVING));
    let mut commands = of_markdown(RUNNING, None);
    commands.retain(|command| !moving.contains(command));
    let (to_try, for_good): (Vec<_>, Vec<_>) =
        commands.into_iter().partition(|command| command.starts_with("make ") || command == "ykvald serve");
    assert!(to_try.iter().any(|command| command == "ykvald serve"), "{to_try:?}");
    for needed in ["ykvald init", "ykvald key import FILE", "systemctl enable --now ykvald"] {
        assert!(for_good.iter().any(|command| command == needed), "{needed}: {for_good:?}");
    }
    for command in for_good {
        desk.run(&command);
    }
    assert_eq!(desk.ask(), "OK");
}
