//! Whom it asks when, and how it ends.

use crate::asker::{ask, question, start, timed, why};
use crate::certificates::{Ca, Folder};
use crate::server::{Server, refusing};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::Write as _;
use std::net::Shutdown;
use std::time::{Duration, Instant};
use yubiotp::ask::{Event, NEXT, Obstacle, Question};

const GOOD: &str = "h=x\r\nstatus=OK\r\n";

fn body(events: &[Event], which: usize) -> Option<&[u8]> {
    events.iter().find_map(|event| match event {
        Event::Reply { server, body, .. } if *server == which => Some(body.as_slice()),
        _ => None,
    })
}

fn asked(events: &[Event]) -> Vec<usize> {
    events
        .iter()
        .filter_map(|event| if let Event::Asked { server } = event { Some(*server) } else { None })
        .collect()
}

#[test]
fn a_reply_is_handed_on() {
    let server = Server::replies(GOOD);
    let mut asker = start();
    asker.write(&question(&[server.url()]));
    let events = asker.rest();
    assert_eq!(asked(&events), [0]);
    assert_eq!(body(&events, 0), Some(GOOD.as_bytes()));
    assert!(asker.ends_within(Duration::from_secs(1)));
    assert_eq!(asker.child.wait().unwrap().code(), Some(0));
    assert_eq!(server.connections(), 1);
}

#[test]
fn who_fails_is_followed_at_once() {
    let good = Server::replies(GOOD);
    let mut asker = start();
    asker.write(&timed(&[refusing(), refusing(), good.url()], 5000, 4000));
    let events = asker.rest();
    assert_eq!(asked(&events), [0, 1, 2]);
    assert_eq!(body(&events, 2), Some(GOOD.as_bytes()));
    assert!(asker.elapsed() < Duration::from_secs(1), "{:?}", asker.elapsed());
}

/// However many are dead, silent or lying: one hedge interval.
#[test]
fn all_others_are_asked_after_the_hedge() {
    let silent = [Server::silent(), Server::silent(), Server::silent()];
    let cut = Server::says("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nh=");
    let good = Server::replies(GOOD);
    let urls = [silent[0].url(), silent[1].url(), cut.url(), silent[2].url(), refusing(), good.url()];
    let mut asker = start();
    asker.write(&timed(&urls, 10_000, 300));
    let events: Vec<_> = std::iter::from_fn(|| asker.next())
        .take_while(|event| !matches!(event, Event::Reply { .. }))
        .collect();
    let took = asker.elapsed();
    assert_eq!(asked(&events), [0, 1, 2, 3, 4, 5]);
    assert!(took >= Duration::from_millis(290) && took < Duration::from_millis(900), "{took:?}");
    assert_eq!(silent[0].connections(), 1, "nobody is asked twice");
    asker.socket.shutdown(Shutdown::Both).unwrap();
    assert!(asker.ends_within(Duration::from_millis(500)), "it stayed behind");
}

#[test]
fn the_next_is_asked_when_told() {
    let lying = Server::replies("status=REPLAYED_OTP\r\n");
    let good = Server::replies(GOOD);
    let mut asker = start();
    asker.write(&timed(&[lying.url(), good.url()], 10_000, 8000));
    assert_eq!(asker.next(), Some(Event::Asked { server: 0 }));
    assert!(matches!(asker.next(), Some(Event::Reply { server: 0, .. })));
    assert!(!asker.ends_within(Duration::from_millis(100)), "it did not wait for what is made of the reply");
    asker.socket.write_all(NEXT).unwrap();
    let events = asker.rest();
    assert_eq!(body(&events, 1), Some(GOOD.as_bytes()));
    assert!(asker.elapsed() < Duration::from_secs(1));
}

#[test]
fn whoever_is_silent_at_the_deadline_gave_no_answer() {
    let (first, second) = (Server::silent(), Server::silent());
    let mut asker = start();
    asker.write(&timed(&[first.url(), second.url()], 700, 200));
    let events = asker.rest();
    let took = asker.elapsed();
    const SILENT: &str = "no answer (connected, and nothing more)";
    for server in [0, 1] {
        let silent = events.iter().any(
            |event| matches!(event, Event::Failed { server: which, why, .. } if *which == server && why == SILENT),
        );
        assert!(silent, "{events:?}");
    }
    assert!(took > Duration::from_millis(600) && took < Duration::from_millis(700), "{took:?}");
    assert!(asker.ends_within(Duration::from_millis(300)));
}

/// A name server cannot be made to hang here; a handshake can.
#[test]
fn a_handshake_that_hangs_is_told() {
    let silent = Server::new(|stream| {
        std::thread::sleep(Duration::from_secs(2));
        drop(stream);
    });
    let url = silent.url().replace("http", "https");
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let ca = Some(folder.file("ca.pem", &ca.certificate.pem()));
    let why = why(&Question { ca, ..timed(&[url], 400, 100) });
    assert_eq!(why, "no answer (the TLS handshake hangs)");
}

/// Held up by whatever: it cannot say that servers were silent.
#[test]
fn who_was_stopped_until_the_deadline_says_nothing_of_servers() {
    let silent = Server::silent();
    let mut asker = start();
    asker.write(&timed(&[silent.url()], 500, 100));
    assert_eq!(asker.next(), Some(Event::Asked { server: 0 }));
    let pid = Pid::from_raw(asker.child.id().cast_signed());
    kill(pid, Signal::SIGSTOP).unwrap();
    std::thread::sleep(Duration::from_millis(600).saturating_sub(asker.elapsed()));
    kill(pid, Signal::SIGCONT).unwrap();
    let events = asker.rest();
    assert!(matches!(&events[..], [Event::Unable { kind: Obstacle::Limit, .. }]), "{events:?}");
}

#[test]
fn it_leaves_with_the_login_process() {
    let server = Server::silent();
    let mut asker = start();
    asker.write(&question(&[server.url()]));
    asker.next();
    let closed = Instant::now();
    asker.socket.shutdown(Shutdown::Both).unwrap();
    assert!(asker.ends_within(Duration::from_secs(2)));
    assert!(closed.elapsed() < Duration::from_millis(500), "{:?}", closed.elapsed());
}

#[test]
fn what_is_no_order_ends_it() {
    let server = Server::silent();
    let mut asker = start();
    asker.write(&question(&[server.url()]));
    asker.socket.write_all(b"hello\n").unwrap();
    assert!(asker.ends_within(Duration::from_secs(2)));
}

/// The question is waited for, and not for ever.
#[test]
fn it_does_not_wait_for_ever() {
    let mut asker = start();
    asker.socket.write_all(b"yubiotp-ask 2\n").unwrap();
    assert!(asker.ends_within(Duration::from_secs(7)));
}

#[test]
fn what_is_no_question_is_told() {
    let mut asker = start();
    asker.socket.write_all(b"yubiotp-ask 9\n\n").unwrap();
    let events = asker.rest();
    assert!(matches!(&events[..], [Event::Unable { kind: Obstacle::Protocol, .. }]), "{events:?}");
}

#[test]
fn a_url_that_is_none_fails_alone() {
    let good = Server::replies(GOOD);
    let bad = ["ftp://127.0.0.1/".into(), "nonsense".into(), "http://127.0.0.1:99999/".into(), good.url()];
    let events = ask(&question(&bad));
    assert_eq!(asked(&events), [0, 1, 2, 3]);
    assert_eq!(body(&events, 3), Some(GOOD.as_bytes()));
}
