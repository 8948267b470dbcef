//! What whoever runs su or sudo brings along.

use crate::asker::{PROGRAM, ask_as, question, start_as, timed};
use crate::server::Server;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use yubiotp::ask::Event;

/// The program, by a shell that does this first.
fn after(script: &str) -> Command {
    let mut shell = Command::new("/bin/bash");
    shell.args(["-c", &format!("{script}; exec /usr/bin/env -i \"$0\""), PROGRAM]).env_clear();
    shell
}

/// Whether such things can be tried here: as root, with the programs of util-linux.
fn possible() -> bool {
    let possible = fs::metadata("/proc/self").unwrap().uid() == 0
        && Command::new("setpriv").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !possible {
        println!("not root, or no setpriv: not tried");
    }
    possible
}

/// Of `ulimit`: both limits, or the soft ones alone where root may raise none (CAP_SYS_RESOURCE, in containers).
fn which() -> &'static str {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap();
    if u64::from_str_radix(effective, 16).unwrap() & (1 << 24) != 0 { "-SH" } else { "-S" }
}

#[test]
fn limits_do_not_starve_it() {
    if !possible() {
        return;
    }
    let server = Server::replies("status=OK");
    let which = which();
    let limits =
        format!("ulimit {which} -u 1; ulimit {which} -i 0; ulimit {which} -n 8; ulimit {which} -s 64");
    let events = ask_as(&mut after(&limits), &question(&[server.url()]));
    assert!(matches!(&events[..], [_, Event::Reply { .. }]), "{events:?}");
}

#[test]
fn what_is_left_is_as_nobody_had_touched_it() {
    if !possible() {
        return;
    }
    let server = Server::silent();
    let which = which();
    let limits: String = ["-u 1", "-i 0", "-n 64", "-t 1", "-v 4000000"]
        .iter()
        .map(|limit| format!("ulimit {which} {limit}; "))
        .collect();
    let mut asker = start_as(&mut after(&format!("{limits} renice -n 19 $$ >&2; taskset -p 1 $$ >&2")));
    asker.write(&timed(&[server.url()], 3000, 100));
    assert_eq!(asker.next(), Some(Event::Asked { server: 0 }));
    let process = format!("/proc/{}", asker.child.id());
    let limits = fs::read_to_string(format!("{process}/limits")).unwrap();
    let both = |name: &str| -> Vec<String> {
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().take(2).map(String::from).collect()
    };
    for name in ["Max processes", "Max pending signals", "Max cpu time", "Max address space"] {
        let [soft, hard] = &both(name)[..] else { panic!("{limits}") };
        assert_eq!(soft, hard, "{name}");
        assert!(which == "-S" || soft == "unlimited", "{name}: {soft}");
    }
    assert_eq!(both("Max open files"), ["256", "256"]);
    let stat = fs::read_to_string(format!("{process}/stat")).unwrap();
    // The 19th field, counted behind the name, which is the second.
    assert_eq!(stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16), Some("0"));
    let allowed = |process: &str| {
        let status = fs::read_to_string(format!("{process}/status")).unwrap();
        status.lines().find(|line| line.starts_with("Cpus_allowed:")).unwrap().to_string()
    };
    assert_eq!(allowed(&process), allowed("/proc/1"));
}

/// Under su the caller is still the real user, and could end the process.
#[test]
fn the_caller_cannot_signal_it() {
    if !possible() {
        return;
    }
    let mut command = Command::new("setpriv");
    let asker =
        start_as(command.args(["--ruid", "65533", "--rgid", "65533", "--keep-groups", PROGRAM]).env_clear());
    let status = || {
        let status = fs::read_to_string(format!("/proc/{}/status", asker.child.id())).unwrap();
        let ids =
            |name| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_string();
        (ids("Name:"), ids("Uid:"), ids("Gid:"))
    };
    let zero = "\t0\t0\t0\t0".to_string();
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end && status() != ("\tyubiotp-ask".into(), zero.clone(), zero.clone()) {
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(status(), ("\tyubiotp-ask".into(), zero.clone(), zero));
}

/// Who may not raise limits is not told that servers failed.
#[test]
fn what_is_missing_is_no_servers_failure() {
    if !possible() {
        return;
    }
    // Where that user may run it.
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("ask");
    fs::copy(PROGRAM, &copy).unwrap();
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let server = Server::silent();
    for (limits, part) in [("ulimit -u 1", "no thread: "), ("ulimit -n 64", "cannot have 256 files open: ")] {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65533", "--regid", "65533", "--clear-groups", "/bin/bash", "-c"]);
        command.arg(format!("{limits}; exec /usr/bin/env -i \"$0\"")).arg(&copy).env_clear();
        let events = ask_as(&mut command, &timed(&[server.url()], 1500, 100));
        assert!(matches!(events.last(), Some(Event::Unable { why, .. }) if why.contains(part)), "{events:?}");
    }
}

/// In a session with the caller, their terminal could stop it.
#[test]
fn its_session_is_its_own() {
    let server = Server::silent();
    let mut asker = crate::asker::start();
    asker.write(&timed(&[server.url()], 3000, 100));
    assert_eq!(asker.next(), Some(Event::Asked { server: 0 }));
    let id = asker.child.id().to_string();
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    // State, parent, group, session, counted behind the name.
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    assert_eq!((fields[2], fields[3]), (&id[..], &id[..]), "{stat}");
}

/// Stopped, and going on in time to say that nobody answered: what had come by then may have been a no.
#[test]
fn whoever_stops_it_does_not_make_servers_silent() {
    let deadline = Duration::from_millis(1500);
    // In one piece, until shortly before its last words or after the deadline; or in many.
    for (stops, stopped) in [(1, 1400), (1, 1480), (1, 1600), (12, 100)] {
        let server = Server::silent();
        let mut asker = crate::asker::start();
        asker.write(&timed(&[server.url()], 1500, 100));
        assert_eq!(asker.next(), Some(Event::Asked { server: 0 }));
        let begun = Instant::now();
        let signal = |name: &str| {
            let pid = asker.child.id().to_string();
            Command::new("kill").args(["-s", name, &pid]).stderr(Stdio::null()).status().unwrap();
        };
        for _ in 0..stops {
            signal("STOP");
            std::thread::sleep(Duration::from_millis(stopped).saturating_sub(if stops == 1 {
                begun.elapsed()
            } else {
                Duration::ZERO
            }));
            signal("CONT");
            std::thread::sleep(Duration::from_millis(10));
        }
        let told = asker.rest();
        assert!(
            !told.iter().any(|event| matches!(event, Event::Failed { .. })),
            "{stops} stops of {stopped} ms, of {deadline:?}: {told:?}"
        );
    }
}
