//! The program that asks: missing, in wrong hands, broken, or taken over. It can keep people out, and let nobody in.

use crate::several::runs;
use crate::world::{SLACK, World, login, world};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;
use tests::place::Place;

/// The settings name this one.
fn ask_by(place: &Place, url: &str, name: &str) {
    place.online("online", &[url.to_owned()], &format!("deadline = 1\nask = {name:?}"));
}

#[test]
fn in_wrong_hands() {
    let World { place, mut key, server } = world(230);
    let right = place.ask();
    let chmod =
        |name: &str, mode| fs::set_permissions(place.path(name), Permissions::from_mode(mode)).unwrap();
    for (name, mode) in
        [("not-executable", 0o644), ("of-a-group", 0o775), ("of-all", 0o757), ("loose", 0o755)]
    {
        place.install(&right, name, mode);
    }
    fs::create_dir(place.path("open")).unwrap();
    place.install(&right, "open/ask", 0o755);
    chmod("open", 0o777);
    place.write("not-a-program", "hello\n", 0o755);
    place.write("no-interpreter", "#!/nonexistent/interpreter\n", 0o755);
    let mut rows = vec![
        ("missing", "code=ask-program-missing ", "nothing there"),
        ("not-executable", "is not executable", "mode 0644"),
        ("of-a-group", "group or others may write", "mode 0775"),
        ("of-all", "group or others may write", "mode 0757"),
        ("open", "a folder, where a file should be", "a folder"),
        ("open/ask", "group or others may", "in a folder of all"),
        ("not-a-program", "cannot be started", "not a program"),
        ("no-interpreter", "cannot be started", "a script of nobody's"),
    ];
    if rustix::process::geteuid().is_root() {
        place.install(&right, "of-nobody", 0o755);
        std::os::unix::fs::chown(place.path("of-nobody"), Some(65534), None).unwrap();
        rows.push(("of-nobody", "own", "owned by another"));
    } else {
        tests::skip("another owner needs root");
    }
    for (name, words, what) in rows {
        ask_by(&place, &server.url(), name);
        let outcome = login(&place, &key.press());
        println!("{what:25} {}", outcome.reason());
        outcome.assert("PAM_AUTHINFO_UNAVAIL", &[words, name.split('/').next().unwrap()], what);
        assert!(outcome.took < SLACK, "{what}: {:?}", outcome.took);
    }
    assert!(server.requests().is_empty());
    ask_by(&place, &server.url(), "loose");
    login(&place, &key.press()).assert("PAM_SUCCESS", &[&server.base()], "another name");
}

/// Scripts that print something other than events.
const SCRIPTS: &[(&str, &str, &str)] = &[
    ("says nothing and ends", "exit 0", "ended early"),
    ("crashes", "kill -SEGV $$", "ended early"),
    ("hangs", "exec sleep 100", "was not done"),
    (
        "hangs, deaf to signals",
        "trap '' TERM HUP INT; while :; do read -r x || exec sleep 100; done",
        "was killed",
    ),
    ("leaves the socket to a child", "sleep 3 & exit 0", "was killed"),
    ("closes the socket and hangs", "exec <&- >&-; exec sleep 100", "ended early"),
    ("prints nonsense", "echo hello", "no event"),
    ("prints binary nonsense", "head -c 300 /dev/zero", "no event"),
    ("prints 1 MB in one line", "yes | tr -d '\\n' | head -c 1000000", "no event"),
    ("prints 1 MB of events", "yes 'asked 0' | head -c 1000000", ""),
    ("prints half an event", "printf 'asked 0\\nreply 0 3 100\\nh='", "ended"),
    ("a reply that is too long", "printf 'asked 0\\nreply 0 3 99999\\nh='", "no event"),
    ("a reply of a server that is not there", "printf 'asked 3\\nreply 3 1 0\\n'", "impossible event"),
    ("a reply of a server that was not asked", "printf 'reply 0 1 0\\n'", ""),
    ("asks, and ends", "printf 'asked 0\\n'", "ended early"),
    ("an OK without a signature", "printf 'asked 0\\nreply 0 3 11\\nstatus=OK\\r\\n'", "has no signature"),
    (
        "an OK with a signature of its own",
        "printf 'asked 0\\nreply 0 3 45\\nh=AAAAAAAAAAAAAAAAAAAAAAAAAAA=\\r\\nstatus=OK\\r\\n\\r\\n'",
        "wrong signature",
    ),
    (
        "says no without a signature",
        "printf 'asked 0\\nreply 0 3 16\\nstatus=BAD_OTP\\r\\n'",
        "has no signature",
    ),
    ("says that it failed, and no kind", "printf 'asked 0\\nfailed 0 3 5\\nhello'", "no event"),
    ("says that it failed, of a kind to come", "printf 'asked 0\\nfailed 0 teapot 3 5\\nhello'", "hello"),
    ("says that it failed", "printf 'asked 0\\nfailed 0 http 3 5\\nhello'", "hello"),
    (
        "lines and colours for the log",
        "printf 'asked 0\\nfailed 0 http 3 16\\nx\\nuser=root \\033[1m'",
        "no event",
    ),
    ("says that it is unable", "printf 'unable 5\\nhello'", "hello"),
];

#[test]
fn broken_or_taken_over() {
    let World { place, mut key, server } = world(231);
    for (number, (what, script, words)) in SCRIPTS.iter().enumerate() {
        let name = format!("script-{number}");
        place.write("script", format!("#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n"), 0o644);
        place.install(&place.path("script"), &name, 0o755);
        ask_by(&place, &server.url(), &name);
        let outcome = login(&place, &key.press());
        println!("{what:40} {:5} ms {}", outcome.took.as_millis(), outcome.reason());
        outcome.assert("PAM_AUTHINFO_UNAVAIL", &[words, "mode=online "], what);
        assert!(outcome.took < Duration::from_secs(1) + SLACK, "{what}: {:?}", outcome.took);
        assert!(!runs(&place.path(&name)), "{what}: it is still there");
    }
    assert!(server.requests().is_empty());
    // All of it came of the scripts.
    place.online("online", &[server.url()], "");
    login(&place, &key.press()).assert("PAM_SUCCESS", &[&server.base()], "the right one");
}

/// With the real key on the host and a program that knows the question: what it can do is forge, and that is seen.
#[test]
fn one_that_reads_the_question_learns_no_key() {
    let World { place, mut key, server } = world(232);
    place.write("script", "#!/bin/sh\nPATH=/usr/bin:/bin\n: > \"$0.seen\"\nwhile read -r line; do echo \"$line\" >> \"$0.seen\"; [ -n \"$line\" ] || break; done\nenv >> \"$0.seen\"; ls -l /proc/$$/fd >> \"$0.seen\"\n", 0o644);
    place.install(&place.path("script"), "curious", 0o755);
    ask_by(&place, &server.url(), "curious");
    let otp = key.press();
    let mut drive = place.whole_login("otp", "alice", &[&format!("hunter2{otp}")]);
    drive.env("SECRET_OF_THE_HOST", "hunter3");
    let said = place.run(drive);
    assert_eq!(said.code("authenticate"), "PAM_AUTHINFO_UNAVAIL", "{:?}", said.log);
    let seen = fs::read_to_string(place.path("curious.seen")).unwrap();
    println!("{seen}");
    assert!(seen.starts_with("yubiotp-ask 2\n") && seen.contains(&otp), "{seen}");
    for secret in
        ["hunter", "SECRET_OF_THE_HOST", tests::validation::KEY, "alice", &key.aes_key_hex(), "LD_PRELOAD"]
    {
        assert!(!seen.contains(secret), "{secret}: {seen}");
    }
    // Its end of the socket, its own files, and descriptors that the test inherited: the right program closes those.
    let own = Command::new("sh").args(["-c", "ls /proc/$$/fd"]).output().unwrap();
    let own = String::from_utf8(own.stdout).unwrap();
    let descriptors = seen.lines().filter_map(|line| line.rsplit_once(" -> "));
    let descriptors: Vec<_> =
        descriptors.map(|(line, target)| (line.rsplit(' ').next().unwrap(), target)).collect();
    let socket = descriptors.iter().find(|(number, _)| *number == "0").unwrap().1;
    let mut inherited = descriptors.iter().filter(|(number, target)| {
        let known = [socket, "/dev/null"].contains(target) || target.contains("/curious");
        !known && own.lines().all(|own| own != *number)
    });
    assert_eq!(inherited.next(), None, "{seen}");
}
