//! `ykwebd` is killed at each write and each sync that a recovery code causes: it is accepted once at most.

use serde_json::{Value, json};
use std::fs;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tests::skip;
use tests::web::http;
use tests::web::ykwebd::Site;

const PATIENCE: Duration = Duration::from_secs(20);

/// The verdict on a code; `None`: there was no answer.
fn verdict(site: &Site, code: &str) -> Option<String> {
    let asked =
        json!({ "user": "alice", "answer": code, "factor": "second", "service": "test", "from": null });
    let mut stream = UnixStream::connect(site.path().join("check.sock")).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let headers = [("Host", "localhost"), ("Content-Type", "application/json")];
    let request = http::request("POST", "/check", &headers, Some(&asked.to_string()));
    let said: Value = serde_json::from_str(&http::exchange(&mut stream, &request).ok()?.body).ok()?;
    Some(said["verdict"].as_str()?.to_owned())
}

fn is_traced(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    !status.contains("TracerPid:\t0\n") && !status.is_empty()
}

fn is_gone(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.is_empty() || status.contains("State:\tZ")
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_recovery_code_is_one_yes_wherever_the_server_is_killed() {
    if Command::new("strace").arg("-V").output().is_err() {
        return skip("needs strace");
    }
    let mut site = Site::start();
    let (mut kills, mut yes_before_kill) = (0, 0);
    for step in 1..100 {
        let code = site.recovery_codes().swap_remove(0);
        let pid = site.ykwebd.pid();
        let inject = format!("inject=pwrite64,fdatasync,fsync:signal=SIGKILL:when={step}");
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=pwrite64,fdatasync,fsync", "-e", &inject]);
        let mut strace = strace.args(["-p", &pid.to_string()]).stderr(Stdio::null()).spawn().unwrap();
        until("strace attaches", || is_traced(pid));
        let first = verdict(&site, &code);
        // What is written after the answer counts, too.
        thread::sleep(Duration::from_millis(150));
        let was_killed = is_gone(pid);
        if was_killed {
            strace.wait().unwrap();
            site.restart();
        } else {
            let _it_ended = strace.kill();
            strace.wait().unwrap();
            until("strace lets go", || !is_traced(pid));
        }
        let later = [(); 2].map(|()| verdict(&site, &code).unwrap());
        let said: Vec<&str> = first.iter().chain(&later).map(String::as_str).collect();
        let yes = said.iter().filter(|said| **said == "accepted").count();
        assert!(yes <= 1 && later[1] == "rejected", "killed at step {step}: {said:?}");
        assert!(said.iter().all(|said| *said != "failed"), "killed at step {step}: {said:?}");
        if !was_killed {
            assert_eq!(first.as_deref(), Some("accepted"));
            assert!(kills >= 4, "only {kills} steps");
            println!("killed at {kills} steps; {yes_before_kill} times after the answer");
            return;
        }
        kills += 1;
        yes_before_kill += usize::from(first.as_deref() == Some("accepted"));
    }
    panic!("every step was the end of it");
}
