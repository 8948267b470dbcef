//! `ykweb-password` on a private host: real users, real PAM modules.

use std::io::{Read as _, Write as _};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use tests::built;
use tests::host::Host;
use yubiotp::password::{PasswordAnswer, PasswordQuestion, Restriction};

const STACK: &str = "auth required pam_unix.so nodelay\naccount required pam_unix.so\n";

/// A host with users and the program.
struct World {
    host: Host,
    program: PathBuf,
}

/// `None`: this machine cannot have one, which was said.
fn world() -> Option<World> {
    let host = Host::start().map_err(|why| tests::skip(&why)).ok()?;
    for user in ["alice", "expired", "old", "locked"] {
        host.add_user(user, Some("s3cret pass"));
    }
    for command in [
        &["groupadd", "web-editors"][..],
        &["usermod", "-aG", "web-editors", "alice"],
        &["chage", "-E", "1", "expired"],
        &["chage", "-d", "0", "old"],
        &["usermod", "-L", "locked"],
    ] {
        assert!(host.run(command).status.success(), "{command:?}");
    }
    host.pam("ykweb", STACK);
    Some(World { host, program: built::program("ykweb-password") })
}

fn question(user: &str, password: &[u8], from: Option<IpAddr>) -> Vec<u8> {
    let password = password.to_vec().into();
    PasswordQuestion { user: user.into(), password, from }.write().unwrap().to_vec()
}

fn failed() -> PasswordAnswer {
    PasswordAnswer::Failed { why: String::new() }
}

impl World {
    /// Runs the program on one end of a socket, as systemd does.
    fn run(&self, arguments: &[&str], socket: UnixStream) -> Output {
        let mut program: Command = self.host.command(self.program.to_str().unwrap());
        program.args(arguments).stdin(OwnedFd::from(socket)).stdout(Stdio::null()).output().unwrap()
    }

    /// What it writes for these bytes, which root writes.
    fn answer(&self, arguments: &[&str], text: &[u8]) -> (Vec<u8>, Output) {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(text).unwrap();
        ours.shutdown(std::net::Shutdown::Write).unwrap();
        let output = self.run(arguments, theirs);
        let mut answer = Vec::new();
        ours.read_to_end(&mut answer).unwrap();
        (answer, output)
    }

    /// Without the words of a failure.
    fn ask(&self, user: &str, password: &[u8]) -> PasswordAnswer {
        self.ask_from(user, password, None)
    }

    fn ask_from(&self, user: &str, password: &[u8], from: Option<IpAddr>) -> PasswordAnswer {
        let (answer, output) = self.answer(&[], &question(user, password, from));
        assert!(output.status.success(), "{output:?}");
        let answer = PasswordAnswer::read(&answer).unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        match answer {
            PasswordAnswer::Failed { why } => {
                assert!(said.contains(&why) && !said.contains("s3cret"), "{said}");
                failed()
            }
            answer => {
                assert_eq!(said, "");
                answer
            }
        }
    }
}

#[test]
fn passwords_of_real_users() {
    let Some(world) = world() else { return };
    let right = world.ask("alice", b"s3cret pass");
    let PasswordAnswer::Right { groups } = &right else { panic!("{right:?}") };
    assert!(groups.contains(&"alice".to_owned()) && groups.contains(&"web-editors".to_owned()), "{groups:?}");
    let restricted = |reason| PasswordAnswer::NotAllowed { reason };
    for (user, password, answer) in [
        ("alice", "s3cret pas", PasswordAnswer::Wrong),
        ("alice", "s3cret pass\n", PasswordAnswer::Wrong),
        ("nobody-known", "s3cret pass", PasswordAnswer::Wrong),
        ("expired", "s3cret pass", restricted(Restriction::AccountExpired)),
        ("old", "s3cret pass", restricted(Restriction::PasswordExpired)),
        // Whoever does not know the password learns nothing about the account.
        ("expired", "wrong", PasswordAnswer::Wrong),
        ("old", "wrong", PasswordAnswer::Wrong),
        ("locked", "s3cret pass", PasswordAnswer::Wrong),
    ] {
        assert_eq!(world.ask(user, password.as_bytes()), answer, "{user} {password:?}");
    }
    // PAM logs who was refused, and never what was typed.
    let log = world.host.log_lines().join("\n");
    assert!(log.contains("authentication failure") && !log.contains("s3cret"), "{log}");
}

#[test]
fn where_from_reaches_the_modules() {
    let Some(world) = world() else { return };
    world.host.write("/etc/access", "-:ALL:192.0.2.1 2001:db8::1\n+:ALL:ALL\n", 0o644);
    world
        .host
        .pam("ykweb", &format!("{STACK}account required pam_access.so accessfile=/etc/access nodefgroup\n"));
    let refused = PasswordAnswer::NotAllowed { reason: Restriction::NotPermitted };
    for (from, is_in) in
        [("192.0.2.1", false), ("192.0.2.2", true), ("2001:db8::1", false), ("2001:db8::2", true)]
    {
        let answer = world.ask_from("alice", b"s3cret pass", Some(from.parse().unwrap()));
        match answer {
            PasswordAnswer::Right { .. } => assert!(is_in, "{from}"),
            answer => assert_eq!((answer, is_in), (refused.clone(), false), "{from}"),
        }
    }
}

/// A stack that is no first factor, or that decides nothing, lets nobody in.
#[test]
fn other_stacks() {
    let Some(world) = world() else { return };
    let module = built::module();
    let yubiotp = format!("auth required {} mapping=/etc/none\n", module.display());
    for (what, stack) in [
        ("asks for an OTP behind the password", format!("auth required pam_unix.so nodelay\n{yubiotp}")),
        ("asks for an OTP only", format!("{yubiotp}auth required pam_permit.so\n")),
        ("never asks", "auth required pam_permit.so\n".to_owned()),
        ("ignores", "auth optional pam_nologin.so\n".to_owned()),
        ("names no module", "auth required pam_of_nobody.so\n".to_owned()),
        ("is damaged", "auth requird pam_unix.so\n".to_owned()),
        ("asks for the name", "auth required pam_unix.so nodelay\nauth required pam_ftp.so\n".to_owned()),
    ] {
        world.host.pam("ykweb", &format!("{stack}account required pam_permit.so\n"));
        let answer = world.ask("alice", b"s3cret pass");
        assert!(!matches!(answer, PasswordAnswer::Right { .. }), "a stack that {what}: {answer:?}");
        if what.contains("asks for an OTP") || what == "never asks" {
            assert_eq!(answer, failed(), "a stack that {what}");
        }
    }
    for account in ["account required pam_of_nobody.so\n", "account required pam_deny.so\n"] {
        world.host.pam("ykweb", &format!("auth required pam_unix.so nodelay\n{account}"));
        let answer = world.ask("alice", b"s3cret pass");
        assert!(!matches!(answer, PasswordAnswer::Right { .. }), "{account:?}: {answer:?}");
    }
    // Another service, by name.
    world.host.pam("ykweb", "auth required pam_deny.so\n");
    world.host.pam("ykweb-test", STACK);
    let (answer, _) = world.answer(&["--service", "ykweb-test"], &question("alice", b"s3cret pass", None));
    assert!(matches!(PasswordAnswer::read(&answer), Ok(PasswordAnswer::Right { .. })));
}

#[test]
fn what_is_no_question() {
    let Some(world) = world() else { return };
    let asked = question("alice", b"s3cret pass", None);
    for text in [&b""[..], &asked[..10], &asked[..asked.len() - 1]] {
        let (answer, output) = world.answer(&[], text);
        assert_eq!((answer.len(), output.status.code()), (0, Some(0)), "{text:?}");
    }
    for text in [[&asked[..], b"x"].concat(), b"GET / HTTP/1.1\r\n\r\n".repeat(9), vec![0; 1280]] {
        let (answer, _) = world.answer(&[], &text);
        assert!(matches!(PasswordAnswer::read(&answer), Ok(PasswordAnswer::Failed { .. })), "{text:?}");
    }
    // Not a socket, or not of the file system.
    let mut program = world.host.command(world.program.to_str().unwrap());
    assert_eq!(program.stdin(Stdio::null()).output().unwrap().status.code(), Some(1));
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = std::net::TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
    let mut program = world.host.command(world.program.to_str().unwrap());
    let output = program.stdin(OwnedFd::from(tcp.accept().unwrap().0)).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    drop(ours);
}

/// Connects, writes what it reads, and prints the answer.
const CLIENT: &str = "import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(sys.stdin.buffer.read())
sys.stdout.buffer.write(s.recv(9999))";

#[test]
fn only_the_asker_is_answered() {
    let Some(world) = world() else { return };
    let path = world.host.path().join("password.sock");
    let listener = UnixListener::bind(&path).unwrap();
    assert!(Command::new("chmod").arg("0666").arg(&path).status().unwrap().success());
    listener.set_nonblocking(true).unwrap();
    for (asker, is_answered) in [("65534", true), ("65533", false), ("root", false), ("no-such-user", false)]
    {
        let mut client = world.host.command("setpriv");
        client.args(["--reuid=65534", "--regid=65534", "--clear-groups", "python3", "-c", CLIENT]).arg(&path);
        let mut client = client.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        client.stdin.take().unwrap().write_all(&question("alice", b"s3cret pass", None)).unwrap();
        let socket = loop {
            match listener.accept() {
                Ok((socket, _)) => break socket,
                Err(_) => assert!(client.try_wait().unwrap().is_none(), "the client did not connect"),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        socket.set_nonblocking(false).unwrap();
        let output = world.run(&["--for", asker], socket);
        let answer = client.wait_with_output().unwrap().stdout;
        assert_eq!((output.status.success(), !answer.is_empty()), (is_answered, is_answered), "{asker}");
    }
}
