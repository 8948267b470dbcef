//! The commands that ykwebd(8) and docs/web.md show, run unchanged, in a folder. Where the text shows what a command says, it
//! says that.

use crate::commands::{of_markdown, prompted};
use crate::page::Page;
use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;
use tests::built;
use tests::soft_yubikey::SoftYubiKey;
use tests::ykvald::{self, Client};

/// Where the commands are typed. What they call `ykwebd` takes the configuration of this place; `serve` takes that of a user
/// who has none.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (here, real) = (folder.path().display(), built::program("ykwebd"));
        let real = real.display();
        for name in ["bin", "home"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let wrapper = format!(
            // What root tries out is in /var/lib, which is another one here.
            "#!/bin/sh\ncase \" $* \" in\n' serve ') if [ $(id -u) = 0 ]; then exec unshare -m sh -c 'mount -t tmpfs none /var/lib && \
             exec {real} serve --listen 127.0.0.1:0'; else exec {real} serve --listen 127.0.0.1:0; fi ;;\nesac\n\
             exec {real} --config {here}/etc/config.toml \"$@\"\n"
        );
        let path = folder.path().join("bin/ykwebd");
        fs::write(&path, wrapper).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        Self(folder)
    }

    fn shell(&self, command: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("exec {command}")).current_dir(self.0.path()).env_clear();
        shell.env("XDG_DATA_HOME", self.0.path().join("home")).env("HOME", self.0.path().join("home"));
        shell.env("PATH", format!("{}/bin:/usr/bin:/bin", self.0.path().display()));
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        shell
    }

    /// Runs a command that has to succeed; `check` has something to say about a site without protected hosts.
    fn run(&self, command: &str, input: &str) -> Output {
        let mut child = self.shell(command).spawn().unwrap();
        let _not_read = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() || command.ends_with(" check"), "{command}: {output:?}");
        output
    }

    /// From now on this server decides about YubiKeys.
    fn asks(&self, url: &str, client: &Client) {
        let folder = self.0.path().join("etc");
        let key = folder.join("client.key");
        fs::write(&key, &client.key).unwrap();
        fs::set_permissions(key, Permissions::from_mode(0o600)).unwrap();
        let mut config = fs::read_to_string(folder.join("config.toml")).unwrap();
        config.push_str(&format!(
            "\n[validation]\nservers = \"{url}\"\nclient_id = {}\napi_key_file = \"client.key\"\n",
            client.id
        ));
        fs::write(folder.join("config.toml"), config).unwrap();
    }

    /// Serves a site for trying out until it answers. Browsers are sent to the port where it does.
    fn serve(&self, command: &str) {
        let mut shell = self.shell(command);
        let mut server = shell.stdout(Stdio::null()).spawn().unwrap();
        let said = BufReader::new(server.stderr.take().unwrap());
        let answers = said
            .lines()
            .map(Result::unwrap)
            .find_map(|line| Some(line.strip_prefix("ykwebd answers at ")?.to_owned()));
        server.kill().unwrap();
        server.wait().unwrap();
        let answers = answers.unwrap_or_else(|| panic!("{command} answers nowhere"));
        let ports: Vec<_> =
            answers.split(['/', ',']).filter_map(|part| Some(part.split_once(':')?.1)).collect();
        let ports: Vec<_> = ports.into_iter().filter(|port| !port.is_empty()).collect();
        assert!(ports.len() == 2 && ports[0] == ports[1], "{answers}");
    }

    /// Runs the commands of a display, and compares the output that it shows. Returns the number of commands.
    fn follow(&self, display: &str) -> usize {
        let mut lines = display.lines().peekable();
        let mut count = 0;
        while let Some(line) = lines.next() {
            let Some(command) = prompted(line) else { continue };
            count += 1;
            let mut shown = Vec::new();
            while let Some(line) = lines.next_if(|line| prompted(line).is_none()) {
                shown.push(line.trim().to_owned());
            }
            if command == "ykwebd serve" {
                self.serve(command);
                continue;
            }
            // Secrets are shown on a terminal only.
            let command = command.replace("new-recovery-codes", "new-recovery-codes --json");
            let said = String::from_utf8(self.run(&command, "").stdout).unwrap();
            let said: Vec<_> = said.lines().map(str::trim).collect();
            assert!(shown.is_empty() || shown == said, "{command}\nsays {said:#?}\nnot {shown:#?}");
        }
        count
    }
}

#[test]
fn ykwebd_8_is_run() {
    let Some(page) = Page::read("ykwebd.8") else { return };
    let desk = Desk::new();
    let count: usize = page.section("EXAMPLES").displays().iter().map(|display| desk.follow(display)).sum();
    assert_eq!(count, page.displays().iter().flat_map(|text| text.lines()).filter_map(prompted).count());
    assert!(count > 6, "{count}");
}

/// The page's users and tokens, but for what needs a terminal.
#[test]
fn a_token_by_a_touch() {
    let desk = Desk::new();
    desk.run("ykwebd init --public-url https://login.example.com", "");
    let mut key = SoftYubiKey::numbered(1);
    let validation = ykvald::Site::sqlite();
    validation.import(std::slice::from_ref(&key));
    let server = validation.start();
    desk.asks(&server.url(), validation.client());
    let commands = of_markdown("docs/web.md", Some("## Users and tokens"));
    assert!(commands.len() >= 5, "{commands:?}");
    for command in
        commands.iter().filter(|command| !command.contains("add-app") && !command.contains("codes"))
    {
        desk.run(command, &format!("{}\n", key.press()));
    }
    let shown = String::from_utf8(desk.run("ykwebd user show alice", "").stdout).unwrap();
    assert!(shown.contains(&key.public_id()) && shown.contains("blue"), "{shown}");
}
