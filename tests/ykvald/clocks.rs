//! `ykvald check` and the clocks of etcd's members. Members are real; their clocks are right, as they are this host's, so a
//! relay in front of one writes another time into what it says.

use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;
use tests::etcd::Members;
use tests::ykvald::{Site, free_port};

/// Hands everything on between clients and a member. What is asked without gRPC is answered after `delay`, and with the
/// time of `ahead` seconds from now.
fn relay(member: &str, ahead: i64, delay: Duration) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    let (address, member) = (listener.local_addr().unwrap(), member.to_owned());
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(&member).unwrap();
            let mut first = [0; 4];
            if client.peek(&mut first).is_ok() && first == *b"GET " {
                thread::spawn(move || with_another_date(client, server, ahead, delay));
                continue;
            }
            for (from, to) in [
                (client.try_clone().unwrap(), server.try_clone().unwrap()),
                (server.try_clone().unwrap(), client.try_clone().unwrap()),
            ] {
                thread::spawn(move || copy(&from, &to));
            }
        }
    });
    address
}

fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    let _one_went_away = std::io::copy(&mut from, &mut to);
    let _already_gone = to.shutdown(Shutdown::Write);
}

fn with_another_date(mut client: TcpStream, mut server: TcpStream, ahead: i64, delay: Duration) {
    let mut request = [0; 4096];
    let length = client.read(&mut request).unwrap();
    server.write_all(&request[..length]).unwrap();
    let mut answer = String::new();
    server.read_to_string(&mut answer).unwrap();
    let (head, rest) = answer.split_once("Date: ").unwrap();
    let (_, rest) = rest.split_once("\r\n").unwrap();
    let date = Command::new("date").args(["-uRd", &format!("{ahead} seconds")]).output().unwrap();
    let date = String::from_utf8(date.stdout).unwrap().trim().replace("+0000", "GMT");
    thread::sleep(delay);
    client.write_all(format!("{head}Date: {date}\r\n{rest}").as_bytes()).unwrap();
}

/// The findings about clocks of a site that reaches its members by these relays.
fn found(relays: &[SocketAddr]) -> Vec<Value> {
    let endpoints: Vec<_> = relays.iter().map(ToString::to_string).collect();
    // A path of its own.
    let store = format!("etcd://{}/{}", endpoints.join(","), free_port());
    let site = Site::within(tempfile::tempdir().unwrap(), store);
    let report = site.command(&["check", "--json"]).output().unwrap();
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    assert!(findings.iter().any(|it| it["code"] == "database-members-too-few"), "{report}");
    findings.iter().filter(|it| it["code"] == "database-member-clock-differs").cloned().collect()
}

#[test]
fn members_whose_clocks_are_off() {
    let members = match Members::on_loopback(2) {
        Ok(members) => members,
        Err(why) => return tests::skip(&why),
    };
    let at = |n, ahead| relay(&members.endpoint(n), ahead, Duration::ZERO);
    let (right, wrong, old) = (at(0, 0), at(1, 60), at(0, -4000));
    let one = found(&[right, wrong]);
    assert_eq!(one.len(), 1, "{one:?}");
    assert_eq!((&one[0]["severity"], &one[0]["area"]), (&"warning".into(), &"store".into()));
    let problem = one[0]["problem"].as_str().unwrap();
    assert!(problem.contains(&wrong.to_string()) && !problem.contains(&right.to_string()), "{problem}");
    assert!(["59 s", "60 s", "61 s"].iter().any(|by| problem.contains(by)), "{problem}");
    // Each in its own way: the host between them may be right.
    assert_eq!(found(&[wrong, old]).len(), 2);
    // All in the same way: it is the clock of this host.
    let host = found(&[wrong, at(0, 61)]);
    assert_eq!(host.len(), 1, "{host:?}");
    let problem = host[0]["problem"].as_str().unwrap();
    assert!(problem.contains(&wrong.to_string()) && problem.contains("this host"), "{problem}");
}

/// Neither whole seconds nor a slow answer is a wrong clock.
#[test]
fn members_whose_clocks_are_right() {
    let members = match Members::on_loopback(2) {
        Ok(members) => members,
        Err(why) => return tests::skip(&why),
    };
    let slow = relay(&members.endpoint(1), -1, Duration::from_millis(1200));
    for first in [relay(&members.endpoint(0), 1, Duration::ZERO), members.endpoint(0).parse().unwrap()] {
        assert_eq!(found(&[first, slow]), [] as [Value; 0]);
    }
}
