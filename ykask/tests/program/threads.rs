//! Too few threads: limits of a service's unit, and others who run as the same user.

use crate::asker::{Asker, PROGRAM, start_as, timed};
use crate::server::{Server, refusing};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use yubiotp::ask::{Event, FailureKind, Question};

const NOBODY: &str = "65534";
const OWN: &str = "64990";

/// Processes of a user, more than the limit below.
struct Crowd(Vec<Child>);

impl Crowd {
    fn of(uid: &str) -> Self {
        let sleeper = || {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", uid, "--regid", uid, "--clear-groups", "sleep", "120"]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
        };
        Self((0..12).map(|_| sleeper()).collect())
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Whether this can be tried here: by root, with the programs of util-linux.
fn possible() -> bool {
    let can = |program: &str| Command::new(program).arg("--version").stdout(Stdio::null()).status().is_ok();
    let possible =
        fs::metadata("/proc/self").unwrap().uid() == 0 && ["setpriv", "unshare"].into_iter().all(can);
    if !possible {
        println!("not root, or no setpriv or unshare: not tried");
    }
    possible
}

/// The program as `LimitNPROC=10` would have it, where it may not raise that; with this text for `/etc/passwd`.
fn limited(passwd: Option<&Path>) -> Command {
    let mount =
        passwd.map(|passwd| format!("mount --bind {} /etc/passwd && ", passwd.display())).unwrap_or_default();
    let script = format!(
        "{mount}ulimit -SH -u 10 && exec setpriv --bounding-set -sys_resource,-sys_admin /usr/bin/env -i \"$0\""
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "/bin/bash", "-c", &script, PROGRAM]);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

fn ask(mut command: Command, question: &Question) -> Vec<Event> {
    let mut asker = start_as(&mut command);
    asker.write(question);
    asker.rest()
}

/// `/etc/passwd` with a user for the program.
fn passwd() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = fs::read_to_string("/etc/passwd").unwrap();
    let others: String =
        text.lines().filter(|line| !line.starts_with("yubiotp-ask:")).fold(String::new(), |mut all, line| {
            all.push_str(line);
            all.push('\n');
            all
        });
    fs::write(file.path(), format!("{others}yubiotp-ask:x:{OWN}:{OWN}::/:/usr/sbin/nologin\n")).unwrap();
    fs::set_permissions(file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    file
}

fn is_unable(events: &[Event]) -> bool {
    matches!(events.last(), Some(Event::Unable { why, .. }) if why.contains("no thread: "))
}

/// Uid of the program, once it has told of a server.
fn uid(asker: &mut Asker) -> String {
    assert_eq!(asker.next(), Some(Event::Asked { server: 0 }));
    let status = fs::read_to_string(format!("/proc/{}/status", asker.child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:\t")).unwrap();
    line.split('\t').next().unwrap().to_owned()
}

/// Without a user of its own it shares a limit with others, and asks in the one thread that it has.
#[test]
fn one_thread_is_enough_for_an_answer() {
    if !possible() {
        return;
    }
    let _crowd = Crowd::of(NOBODY);
    // As if the user of its own were as crowded.
    let (own, _own_crowd) = (passwd(), Crowd::of(OWN));
    let (good, silent) = (Server::replies("status=OK"), Server::silent());
    let busy = Server::says("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
    let ask = |urls: &[String]| ask(limited(Some(own.path())), &timed(urls, 2000, 200));
    for (urls, what) in [
        (vec![good.url()], "one"),
        (vec![refusing(), good.url()], "behind a dead one"),
        (vec![busy.url(), good.url()], "behind a busy one"),
        (vec![silent.url(), good.url()], "behind a silent one"),
    ] {
        let events = ask(&urls);
        let replied = events.iter().any(|event| matches!(event, Event::Reply { .. }));
        assert!(replied, "{what}: {events:?}");
    }
    // What failed at once is known; what was silent may have been made so.
    let events = ask(&[refusing(), busy.url()]);
    assert!(
        matches!(
            &events[..],
            [
                _,
                Event::Failed { kind: FailureKind::Connect, .. },
                _,
                Event::Failed { kind: FailureKind::Http, .. }
            ]
        ),
        "{events:?}"
    );
    let sixteen: Vec<_> = (0..16).map(|_| silent.url()).collect();
    for urls in [sixteen, vec![silent.url()], vec![silent.url(), refusing()], vec![refusing(), silent.url()]]
    {
        let events = ask(&urls);
        assert!(is_unable(&events), "{events:?}");
    }
}

/// With a user of its own it is not counted with others.
#[test]
fn a_user_of_its_own() {
    if !possible() {
        return;
    }
    let (_crowd, own) = (Crowd::of(NOBODY), passwd());
    let silent = Server::silent();
    let question = timed(&[silent.url(), silent.url(), silent.url()], 700, 100);
    let mut asker = start_as(&mut limited(Some(own.path())));
    asker.write(&question);
    assert_eq!(uid(&mut asker), OWN);
    let events = asker.rest();
    let silences =
        events.iter().filter(|event| matches!(event, Event::Failed { kind: FailureKind::Silence, .. }));
    assert_eq!(silences.count(), 3, "{events:?}");
    assert_eq!(asker.notes, [""; 0]);
    assert!(asker.ends_within(Duration::from_secs(1)));
}

/// No user, or none that can be used: it says so, and goes on as nobody.
#[test]
fn without_a_user_it_says_so() {
    if !possible() {
        return;
    }
    let good = Server::replies("status=OK");
    let own = passwd();
    let text = fs::read_to_string(own.path()).unwrap();
    for (line, mode, why) in [
        ("", 0o644, "no user yubiotp-ask"),
        ("yubiotp-ask:x:0:0:::\n", 0o644, "cannot be used"),
        ("yubiotp-ask:x:64990:64990:::\n", 0o666, "others may write"),
    ] {
        let others: Vec<_> = text.lines().filter(|line| !line.starts_with("yubiotp-ask:")).collect();
        fs::write(own.path(), others.join("\n") + "\n" + line).unwrap();
        fs::set_permissions(own.path(), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        let mut asker = start_as(&mut limited(Some(own.path())));
        asker.write(&timed(&[good.url()], 2000, 200));
        assert_eq!(uid(&mut asker), NOBODY);
        assert!(matches!(asker.rest()[..], [Event::Reply { .. }]));
        let [note] = &asker.notes[..] else { panic!("{:?}", asker.notes) };
        assert!(note.contains("uid 65534") && note.contains(why), "{note}");
    }
}
