//! `ykvald serve` on a host where nothing is set up, and what it says where it cannot.

use crate::desk::{Desk, chmod, mode, run, ykvald};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use tests::soft_yubikey::SoftYubiKey;
use tests::ykvald::{free_port, get};

/// Killed when dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    /// Reads standard error up to the line that begins with this text, and returns it.
    fn said(&mut self, up_to: &str) -> String {
        let mut said = String::new();
        let mut lines = BufReader::new(self.0.stderr.as_mut().unwrap());
        while !said.lines().any(|line| line.trim_start().starts_with(up_to)) {
            assert_ne!(lines.read_line(&mut said).unwrap(), 0, "it ended: {said}");
        }
        said
    }

    fn stops(mut self) {
        kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap();
        assert_eq!(self.0.wait().unwrap().code(), Some(0));
    }
}

/// A command of somebody whose home is this folder, and who has no settings.
fn at_home(desk: &Desk, arguments: &[&str]) -> Command {
    let mut command = ykvald();
    command.env("HOME", desk.beside("")).args(arguments);
    command
}

/// A newcomer's only command, and then the commands that the server prints.
#[test]
fn where_nothing_is_set_up() {
    let desk = Desk::bare();
    // Root's folder is the host's: an ordinary user's is asked for.
    let as_user = |arguments: &[&str]| {
        let plain = at_home(&desk, arguments);
        if !crate::desk::is_root() {
            return plain;
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(desk.beside("ykvald"));
        command
            .args(arguments)
            .env("HOME", desk.beside("home"))
            .env_remove("XDG_DATA_HOME")
            .stdin(Stdio::null());
        command
    };
    let home = if crate::desk::is_root() {
        let home = desk.beside("home");
        fs::create_dir(&home).unwrap();
        std::os::unix::fs::chown(&home, Some(65534), Some(65534)).unwrap();
        chmod(&desk.beside(""), 0o755);
        let install =
            Command::new("install").arg(tests::built::program("ykvald")).arg(desk.beside("ykvald")).status();
        assert!(install.unwrap().success());
        home
    } else {
        desk.beside("")
    };
    if fs::exists("/etc/ykvald/config.toml").unwrap() {
        return tests::skip("needs a host without settings of ykvald");
    }
    run(&mut as_user(&["client", "list"])).refuses("[config-missing]").notes("ykvald init");

    let address = format!("127.0.0.1:{}", free_port());
    let begin = || {
        let mut command = as_user(&["serve", "--listen", &address]);
        Server(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
    };
    let mut server = begin();
    let said = server.said("curl ");
    let folder = home.join(".local/share/ykvald");
    for wanted in [
        &format!("Created a default configuration in {}", folder.display()),
        &format!("ykvald answers at http://{address}/wsapi/2.0/verify"),
        "\n  ykvald client add --name NAME\n",
        "\n  ykvald key import FILE\n",
    ] {
        assert!(said.contains(wanted), "{wanted:?} is not in {said}");
    }
    for (name, wanted) in [("", 0o700), ("config.toml", 0o644), ("store.key", 0o600), ("ykvald.db", 0o600)] {
        assert_eq!(mode(&folder.join(name)), wanted, "{name}");
    }

    let mut key = SoftYubiKey::numbered(1);
    run(&mut as_user(&["client", "add", "--name", "me"])).exits(0);
    let log = home.join("log.csv");
    fs::write(&log, key.traditional_log_line()).unwrap();
    run(&mut as_user(&["key", "import", log.to_str().unwrap()])).exits(0);
    let path = format!("/wsapi/2.0/verify?id=1&nonce=0123456789abcdef&otp={}", key.press());
    let reply = get(address.parse().unwrap(), &path).unwrap();
    assert_eq!(reply.says(), "OK", "{reply:?}");
    server.stops();

    // The next time they exist, and it prints only its address.
    let mut server = begin();
    assert_eq!(server.said("ykvald answers").lines().count(), 1);
    server.stops();

    // Settings that cannot be looked at are there all the same: others, with a store of their own, would know nobody.
    if crate::desk::is_root() {
        std::os::unix::fs::chown(&folder, Some(0), Some(0)).unwrap();
        run(&mut as_user(&["serve", "--listen", &address]))
            .refuses(folder.join("config.toml").to_str().unwrap())
            .notes("[file-inaccessible]");
    }
}

#[test]
fn where_it_cannot() {
    let desk = Desk::new();
    let serve = |arguments: &[&str]| run(desk.command().arg("serve").args(arguments));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap().to_string();
    serve(&["--listen", &at]).refuses(&format!("cannot listen on {at}: "));
    serve(&["--listen", "0.0.0.0:0"]).refuses("[listen-without-tls]");
    serve(&["--listen", "localhost"]).refuses("invalid value 'localhost'");
    fs::rename(desk.file("ykvald.db"), desk.beside("away.db")).unwrap();
    serve(&[]).refuses("[database-missing]");
    fs::rename(desk.beside("away.db"), desk.file("ykvald.db")).unwrap();
    fs::remove_file(desk.file("store.key")).unwrap();
    serve(&[]).refuses("store.key: ").has("store-key-missing");
    run(ykvald().args(["--config", "/nonexistent.toml", "serve"]))
        .refuses("/nonexistent.toml: ")
        .has("config-missing");
}

/// What systemd hands over is what counts: only root can read the one in the settings.
#[test]
fn the_store_key_that_systemd_hands_over() {
    let desk = Desk::new();
    let handed = desk.beside("credentials");
    fs::create_dir(&handed).unwrap();
    fs::rename(desk.file("store.key"), handed.join("store.key")).unwrap();
    run(desk.command().args(["client", "list"])).refuses("store.key: ").has("store-key-missing");
    run(desk.command().args(["client", "list"]).env("CREDENTIALS_DIRECTORY", &handed)).exits(0);
    let at = format!("127.0.0.1:{}", free_port());
    let mut command = desk.command();
    command.args(["serve", "--listen", &at]).env("CREDENTIALS_DIRECTORY", &handed);
    let mut server = Server(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    server.said("ykvald answers");
    kill_process(Pid::from_child(&server.0), Signal::TERM).unwrap();
    let mut rest = String::new();
    server.0.stderr.as_mut().unwrap().read_to_string(&mut rest).unwrap();
    assert_eq!(server.0.wait().unwrap().code(), Some(0), "{rest}");
}
