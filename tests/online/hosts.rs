//! Applications that treat their children, signals and descriptors in ways of their own.

use crate::several::runs;
use crate::world::{SLACK, World, outcome, world};
use std::process::Command;
use std::time::{Duration, Instant};
use tests::built;
use tests::validation::Wire;

/// The wrapper of the application, and the result with it.
fn hosts() -> Vec<(&'static str, Vec<String>)> {
    let shell = |script: &str| ["sh", "-c", script].map(str::to_owned).to_vec();
    let env = |option: String| vec!["env".to_owned(), option];
    // The log's own comes along: this takes the place of what the environment says.
    let [log, reaper] =
        ["syslog_shim", "reaper_shim"].map(|name| built::preloaded(name).display().to_string());
    vec![
        ("as it is", vec![]),
        ("ignores SIGCHLD", shell("trap '' CHLD; exec \"$0\" \"$@\"")),
        ("reaps every child", env(format!("LD_PRELOAD={log}:{reaper}"))),
        ("blocks every signal", env("--block-signal".to_owned())),
        ("ignores SIGPIPE and SIGALRM", env("--ignore-signal=PIPE,ALRM".to_owned())),
        ("has no standard input", shell("exec \"$0\" \"$@\" <&-")),
        ("has no standard error", shell("exec \"$0\" \"$@\" 2>&-")),
        ("has neither", shell("exec \"$0\" \"$@\" <&- 2>&-")),
        ("may open few files", shell("ulimit -S -n 16; exec \"$0\" \"$@\"")),
        ("may write no core and lock no memory", shell("ulimit -c 0; ulimit -l 0; exec \"$0\" \"$@\"")),
        ("stands in a folder that is gone", shell("d=$(mktemp -d); cd $d; rmdir $d; exec \"$0\" \"$@\"")),
        ("has an umask of 0777", shell("umask 0777; exec \"$0\" \"$@\"")),
    ]
}

fn wrapped(wrap: &[String], drive: &Command) -> Command {
    let words = wrap.iter().map(AsRef::as_ref).chain([drive.get_program()]).chain(drive.get_args());
    let words: Vec<_> = words.collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command
}

#[test]
fn an_answer_does_not_hang_on_how_the_application_treats_its_children() {
    let World { place, mut key, server } = world(210);
    let asked = [(Wire::Whole, "PAM_SUCCESS"), (Wire::Hang, "PAM_AUTHINFO_UNAVAIL")];
    place.online("online", &[server.url()], "deadline = 1");
    for (what, wrap) in hosts() {
        for (wire, code) in &asked {
            // A second each: only where it has to do with children and signals.
            if *code != "PAM_SUCCESS"
                && !["as it", "SIGCHLD", "reaps", "blocks"].iter().any(|word| what.contains(word))
            {
                continue;
            }
            let wire = wire.clone();
            server.will(move |x| x.honest().by(wire.clone()));
            let drive = place.whole_login("otp", "alice", &[key.press()]);
            let begun = Instant::now();
            let login = place.run(wrapped(&wrap, &drive));
            let outcome = outcome(&login, begun.elapsed());
            println!("{what:40} {:5} ms {}", outcome.took.as_millis(), outcome.reason());
            outcome.assert(code, &[&server.base()], what);
            assert!(outcome.took < Duration::from_secs(1) + SLACK, "{what}: {:?}", outcome.took);
            assert!(!runs(&place.ask()), "{what}: yubiotp-ask is still there");
        }
    }
}

/// A process that had no children before has none after, and neither a zombie.
#[test]
fn the_state_of_every_host_stays() {
    let World { place, mut key, server } = world(211);
    server.will(|x| x.honest().by(Wire::Late(Duration::from_millis(100))));
    for (what, wrap) in hosts() {
        if what.contains("gone") {
            continue; // it cannot tell where it stands
        }
        let mut drive = place.drive("otp", "alice");
        drive.args(["--state", "--calls", "authenticate,acct_mgmt", "--", &key.press()]);
        let login = place.run(wrapped(&wrap, &drive));
        assert_eq!(login.code("authenticate"), "PAM_SUCCESS", "{what}: {:?}", login.log);
        let states: Vec<_> = login.said.iter().filter(|line| line.starts_with("state ")).collect();
        assert!(states.len() == 3 && states.iter().all(|state| state == &states[0]), "{what}: {states:#?}");
    }
}
