//! What is left to the program while it speaks to a server.

use crate::asker::{Asker, PROGRAM, ask, question, start_as};
use crate::server::Server;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;
use yubiotp::ask::Event;

fn hanging(command: &mut Command) -> (Asker, Server) {
    let server = Server::silent();
    let mut asker = start_as(command.env_clear());
    asker.write(&question(&[server.url()]));
    assert_eq!(asker.next(), Some(Event::Asked { server: 0 }));
    while server.connections() == 0 {
        std::thread::yield_now();
    }
    (asker, server)
}

fn root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

#[test]
fn it_is_nobody_and_confined() {
    let (asker, _server) = hanging(&mut Command::new(PROGRAM));
    let tasks = fs::read_dir(format!("/proc/{}/task", asker.child.id())).unwrap();
    let tasks: Vec<_> = tasks.map(|task| task.unwrap().path().join("status")).collect();
    assert!(tasks.len() >= 2);
    for task in tasks {
        let status = fs::read_to_string(task).unwrap();
        let of = |name: &str| -> Vec<String> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap_or_default().split_whitespace().map(String::from).collect()
        };
        assert_eq!(of("NoNewPrivs"), ["1"]);
        assert_eq!(of("Seccomp"), ["2"]);
        assert_eq!(of("CapEff"), ["0000000000000000"]);
        if root() {
            let passwd = fs::read("/etc/passwd").unwrap();
            let own = yubiotp::account::find(&passwd).map(|account| (account.uid, account.gid));
            let (uid, gid) = own.unwrap_or((65534, 65534));
            assert_eq!(of("Uid"), [uid.to_string().as_str(); 4]);
            assert_eq!(of("Gid"), [gid.to_string().as_str(); 4]);
            assert!(of("Groups").is_empty());
            assert_eq!(of("CapPrm"), ["0000000000000000"]);
        }
    }
    if !root() {
        return println!("not root: neither descriptors nor limits were looked at");
    }
    let process = format!("/proc/{}", asker.child.id());
    assert_eq!(fs::read_link(format!("{process}/cwd")).unwrap(), std::path::Path::new("/"));
    let limits = fs::read_to_string(format!("{process}/limits")).unwrap();
    for zero in ["Max core file size", "Max file size"] {
        let line = limits.lines().find_map(|line| line.strip_prefix(zero)).unwrap();
        assert_eq!(line.split_whitespace().take(2).collect::<Vec<_>>(), ["0", "0"], "{zero}");
    }
}

#[test]
fn strays_are_closed() {
    if !root() {
        return println!("not root: nobody else may look at its descriptors");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    // A shell hands descriptors on, as Rust does not; it also fills the environment, so `env` empties it.
    let script = "exec 7<\"$1\" 199<\"$1\"; exec /usr/bin/env -i \"$2\"";
    let mut shell = Command::new("/bin/bash");
    shell.args(["-c", script, "bash"]).arg(file.path()).arg(PROGRAM);
    let (asker, _server) = hanging(&mut shell);
    let mut open: Vec<i32> = fs::read_dir(format!("/proc/{}/fd", asker.child.id()))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap())
        .collect();
    open.sort_unstable();
    // The three, and the connection to the server.
    assert_eq!(open, [0, 1, 2, 3]);
    let third = fs::read_link(format!("/proc/{}/fd/3", asker.child.id())).unwrap();
    assert!(third.to_str().unwrap().starts_with("socket:"), "{third:?}");
}

#[test]
fn names_are_resolved() {
    let server = Server::replies("status=OK");
    let url = |host: &str| format!("http://{host}:{}/", server.port);
    let events = ask(&question(&[url("localhost")]));
    assert!(matches!(&events[..], [_, Event::Reply { .. }]), "{events:?}");
    let events = ask(&question(&[url("name.invalid")]));
    let Some(Event::Failed { why, .. }) = events.get(1) else { panic!("{events:?}") };
    assert!(why.starts_with("the name name.invalid cannot be resolved: "), "{why}");
}
