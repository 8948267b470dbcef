//! A line in the log for each user who is changed, and notices for what users lose, as with the verbs.

use crate::host::{Host, id, with_ids};
use std::fs;
use std::os::unix::net::UnixDatagram;
use tests::said::{is_root, run};

#[test]
fn each_changed_user_is_a_line_and_what_they_lose_a_notice() {
    // Only root's SUDO_USER is believed.
    if !is_root() {
        return;
    }
    let host = Host::new(4);
    host.map("alice:#0\nbob:#1:#2\ncarol:#3\ndave:#1\n");
    let socket = UnixDatagram::bind(host.beside("log")).unwrap();
    socket.set_nonblocking(true).unwrap();
    let path = host.declare(
        "version = 1\n[users.alice]\ntokens = ['#1']\n[users.bob]\ntokens = ['#2']\n[users.carol]\nstate = 'absent'\n\
         [users.eve]\ntokens = ['#0']\n[tokens.'#2']\nstate = 'disabled'\n[policy]\nrequire = 'enrolled'\n",
    );
    let mut command = host.command();
    command.args(["apply", &path]).env("YKMAP_LOG_SOCKET", host.beside("log")).env("SUDO_USER", "ops");
    run(&mut command).exits(0);
    let (mut lines, mut buffer) = (Vec::new(), [0; 8192]);
    while let Ok(length) = socket.recv(&mut buffer) {
        let line = String::from_utf8(buffer[..length].to_vec()).unwrap();
        let (_, line) = line.split_once("]: ").unwrap();
        lines.push(line.split(" config=").next().unwrap().to_owned());
    }
    let expected = [
        "event=remove user=alice by=ops tokens=#0 listed=yes",
        "event=add user=alice by=ops tokens=#1",
        "event=remove user=bob by=ops tokens=#1 listed=yes",
        "event=remove user=carol by=ops tokens=all listed=no",
        "event=add user=eve by=ops tokens=#0",
        "event=token-disable user=bob by=ops tokens=#2",
        "event=policy by=ops tables=[policy]",
    ];
    assert_eq!(lines, expected.map(with_ids));
    for (user, notices) in [
        ("alice", vec![format!("Your YubiKey {} was removed by ops", id(0))]),
        (
            "bob",
            vec![
                format!("Your YubiKey {} was removed by ops", id(1)),
                format!("Your YubiKey {} was disabled by ops", id(2)),
            ],
        ),
        ("carol", vec!["All your tokens were removed by ops".to_owned()]),
        ("dave", Vec::new()),
        ("eve", Vec::new()),
    ] {
        let text = fs::read_to_string(host.file("notices").join(user)).unwrap_or_default();
        let lines: Vec<_> =
            text.lines().skip(1).map(|line| line.split_once(" on 20").unwrap().0.to_owned()).collect();
        assert_eq!(lines, notices, "{user}");
    }
    // Nothing more of a run that changes nothing.
    run(&mut command).exits(0);
    assert!(socket.recv(&mut buffer).is_err());
}
