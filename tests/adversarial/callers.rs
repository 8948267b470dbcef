//! Hostile applications: conversations that answer nothing or too much, descriptors and signals of every kind, limits,
//! forks and threads. Each call comes to a code, and leaves the application as it was.

use crate::application::{application, codes, codes_of, enrolled, run};
use std::fs;
use std::process::Command;
use tests::bucket;
use tests::libpam::Code;
use tests::place::{Login, Place};
use tests::soft_app::{self, SoftApp};
use tests::soft_yubikey::SoftYubiKey;
use tests::validation::Server;

const LOGIN: [&str; 4] = ["start", "authenticate", "acct_mgmt", "end"];

/// Authenticate and acct_mgmt of the one login.
fn both(login: &Login) -> (Code, Code) {
    let [one, two] = ["authenticate", "acct_mgmt"].map(|call| codes(login, call));
    assert_eq!((one.len(), two.len()), (1, 1), "{:?}", login.said);
    (one[0], two[0])
}

/// Every conversation that gives no OTP, or gives it in another way than it was asked for.
#[test]
fn conversations() {
    let (place, mut key) = enrolled(1200);
    for (mode, code) in [
        ("none", Code::CONV_ERR),
        ("nothing", Code::CONV_ERR),
        ("untouched", Code::CONV_ERR),
        ("error", Code::CONV_ERR),
        ("again", Code::CONV_ERR),
        ("ignore", Code::CONV_ERR),
        ("weird", Code::CONV_ERR),
        ("negative", Code::CONV_ERR),
        ("null-text", Code::CONV_ERR),
        ("same", Code::AUTH_ERR),
        ("empty", Code::AUTH_ERR),
        ("large", Code::AUTH_ERR),
        ("nul-first", Code::AUTH_ERR),
        ("late-nul", Code::AUTH_ERR),
        ("user", Code::CONV_ERR),
        ("no-user", Code::CONV_ERR),
        // Replacing an item other than the user changes nothing.
        ("same-user", Code::SUCCESS),
        ("service", Code::SUCCESS),
        ("conv", Code::SUCCESS),
        ("script", Code::SUCCESS),
    ] {
        for arguments in ["", "tries=3", "nullok always_prompt try_first_pass"] {
            place.arguments(arguments);
            let otp = key.press();
            let conv = format!("conv:{mode}");
            // The second and third answer, where there are several, are wrong.
            let login = run(&place, &[&otp, "x", "y"], &[&[conv.as_str()], &LOGIN[..]].concat());
            let what = format!("{mode}, {arguments}: {:?}", login.log);
            let (auth, account) = both(&login);
            let code = if code == Code::AUTH_ERR && arguments == "tries=3" { Code::MAXTRIES } else { code };
            assert_eq!(auth, code, "{what}");
            let replaced = login.log.iter().any(|line| line.text.contains("code=user-changed "));
            assert_eq!(replaced, ["user", "no-user"].contains(&mode), "{what}");
            // The service of the account lines is another one then, which rejects.
            let passes = auth == Code::SUCCESS && mode != "service";
            assert_eq!(account == Code::SUCCESS, passes, "{account:?}: {what}");
            let used = run(&place, &[&otp], &[&["conv:script"], &LOGIN[..]].concat());
            assert_eq!(both(&used).0 == Code::SUCCESS, code != Code::SUCCESS, "used up by a no: {what}");
        }
    }
    // libpam keeps an application from calling in again; a module that is called again all the same decides by itself.
    let login = run(&place, &[key.press(), key.press()], &[&["conv:reenter"], &LOGIN[..]].concat());
    assert!(
        !login.said.contains(&"reenter 0".to_owned()) || both(&login).0 != Code::SUCCESS,
        "{:?}",
        login.said
    );
}

/// The module's descriptors are closed while it asks: no listed user is treated as not listed.
#[test]
fn a_conversation_that_closes_what_is_open() {
    let (place, mut key) = enrolled(1201);
    place.arguments("nullok always_prompt");
    for (user, code) in [("user:alice", Code::SUCCESS), ("user:bob", Code::PERM_DENIED)] {
        let login = run(&place, &[key.press()], &[&[user, "conv:closes"], &LOGIN[..]].concat());
        assert_eq!(both(&login).0, code, "{user}: decided before it was asked: {:?}", login.log);
    }
    place.arguments("");
    let acts = [&["user:bob", "conv:closes"], &LOGIN[..]].concat();
    let output = application(&place, &[key.press()], &acts).output().unwrap();
    let said: Vec<_> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    // A standard library that was built to look for it ends the process instead: that lets nobody in either.
    let ended = output.status.code().is_none();
    assert!(ended || codes_of(&said, "authenticate") == [Code::AUTHINFO_UNAVAIL], "{said:?}");
}

/// The application's acts before it logs somebody in.
const HABITS: &[(&str, &[&str])] = &[
    ("none", &[]),
    ("no standard input", &["close:0"]),
    ("no standard output", &["close:1"]),
    ("no standard error", &["close:2"]),
    ("none of the three", &["close:0", "close:1", "close:2"]),
    ("ignores SIGCHLD", &["ignore:CHLD"]),
    ("ignores SIGPIPE", &["ignore:PIPE"]),
    ("ignores SIGXFSZ", &["ignore:XFSZ"]),
    ("blocks every signal", &["block"]),
    ("reaps every child", &["reap"]),
    ("few descriptors", &["limit:NOFILE:24"]),
];

/// Where signals are blocked, the one that the end of `yubiotp-ask` raised stays pending: it cannot be started without.
fn without_pending_child(state: &str) -> String {
    let Some((before, mask)) = state.split_once("mask=") else { return state.to_owned() };
    let child = 16; // SIGCHLD, counted from 0
    let raised = mask.as_bytes()[child] == b'3';
    if raised { format!("{before}mask={}1{}", &mask[..child], &mask[child + 1..]) } else { state.to_owned() }
}

/// The state after each call is the state before the first; `load` has the module loaded before that, which stays so.
const WATCHED: [&str; 11] = [
    "start",
    "acct_mgmt",
    "end",
    "state",
    "start",
    "authenticate",
    "state",
    "acct_mgmt",
    "state",
    "setcred",
    "state",
];

fn unchanged(login: &Login, what: &str) -> Code {
    let states = login.said.iter().filter(|line| line.starts_with("state "));
    let states: Vec<_> = states.map(|state| without_pending_child(state)).collect();
    assert_eq!(states.len(), 4, "{what}: {:?}", login.said);
    for state in &states[1..] {
        for (before, after) in states[0].split(' ').zip(state.split(' ')) {
            assert_eq!(before, after, "{what}");
        }
        assert_eq!(states[0], *state, "{what}");
    }
    codes(login, "authenticate")[0]
}

#[test]
fn the_application_is_as_it_was_offline() {
    let (place, mut key) = enrolled(1210);
    place.service(
        "fault",
        "auth required pam_yubiotp.so store=/nonexistent\naccount required pam_yubiotp.so\n",
    );
    place.service("bad", "auth required pam_yubiotp.so nullock\naccount required pam_yubiotp.so\n");
    for (habit, acts) in HABITS {
        for (outcome, more, code) in [
            ("accepted", &[][..], Code::SUCCESS),
            ("refused", &["conv:same"][..], Code::AUTH_ERR),
            ("not listed", &["user:bob"], Code::USER_UNKNOWN),
            ("no answer", &["conv:error"], Code::CONV_ERR),
            ("fault", &["service:fault"], Code::AUTHINFO_UNAVAIL),
            ("argument", &["service:bad"], Code::SERVICE_ERR),
        ] {
            let what = format!("{habit}, {outcome}");
            let login = run(&place, &[key.press()], &[*acts, more, &WATCHED].concat());
            assert_eq!(unchanged(&login, &what), code, "{what}: {:?}", login.log);
            // Nobody writes to a descriptor that the application has closed.
            assert!(login.said.iter().all(|line| !line.contains("pam_yubiotp")), "{what}: {:?}", login.said);
        }
    }
}

#[test]
fn the_application_is_as_it_was_online() {
    let (place, mut key) = enrolled(1211);
    let server = Server::start(&[&key]);
    place.online("online", &[server.url()], "deadline = 1\n");
    for (habit, acts) in HABITS {
        for (outcome, code) in
            [("accepted", Code::SUCCESS), ("refused", Code::AUTH_ERR), ("a lie", Code::AUTHINFO_UNAVAIL)]
        {
            server.will(move |x| match outcome {
                "accepted" => x.honest(),
                "refused" => x.signed(&x.but("status", "REPLAYED_OTP")),
                _ => x.unsigned(&x.fields),
            });
            let what = format!("{habit}, {outcome}");
            let login = run(&place, &[key.press()], &[*acts, &WATCHED].concat());
            assert_eq!(unchanged(&login, &what), code, "{what}: {:?}", login.log);
        }
    }
}

/// The module and what it depends on are loaded and let go, and logins are made, a thousand times.
#[test]
fn a_thousand_times() {
    let (place, mut key) = enrolled(1220);
    let load = format!("load:1000:{}", tests::built::module().display());
    let acts = ["conv:same", "rounds:50", "state", "size", "rounds:1000", "size", "state", &load];
    let login = run(&place, &[key.press()], &acts);
    let of = |name: &str| -> Vec<_> {
        login.said.iter().filter_map(|line| line.strip_prefix(name)).map(str::to_owned).collect()
    };
    let (states, sizes, load) = (of("state "), of("size "), of("load "));
    assert_eq!(states[0], states[1], "after a thousand logins");
    assert_eq!(sizes[0], sizes[1], "KiB after 50 and 1050 logins");
    let (first, last) = load[0].split_once(' ').unwrap();
    assert_eq!(first, last, "mappings of the module after 1 and 1000 times: {load:?}");
    let codes = codes(&login, "authenticate");
    assert!(codes.iter().all(|code| *code == Code::AUTH_ERR), "{codes:?}");
    assert_eq!(both(&run(&place, &[key.press()], &LOGIN)), (Code::SUCCESS, Code::SUCCESS));
}

/// Two logins in one process, call by call, and in two threads.
#[test]
fn two_handles_at_once() {
    let (place, mut alice) = enrolled(1230);
    let mut bob = SoftYubiKey::numbered(1231);
    place.enrol("bob", &bob);
    let acts = [
        "use:0",
        "user:alice",
        "start",
        "use:1",
        "user:bob",
        "start",
        "use:0",
        "authenticate",
        "use:1",
        "acct_mgmt",
        "authenticate",
        "use:0",
        "acct_mgmt",
        "use:1",
        "acct_mgmt",
        "end",
        "use:0",
        "acct_mgmt",
        "end",
    ];
    let login = run(&place, &[alice.press(), bob.press()], &acts);
    assert_eq!(codes(&login, "authenticate"), [Code::SUCCESS, Code::SUCCESS], "{:?}", login.log);
    let account = [Code::AUTH_ERR, Code::SUCCESS, Code::SUCCESS, Code::SUCCESS];
    assert_eq!(codes(&login, "acct_mgmt"), account, "what one handle decided is not the other's");
    let otps: Vec<_> = (0..40).flat_map(|_| [alice.press(), bob.press()]).collect();
    let login = run(&place, &otps, &["threads:40"]);
    assert!(login.said.contains(&"threads 40 40".to_owned()), "{:?} {:?}", login.said, login.log);
    // The same OTPs once more, and now each thread has those of the other too.
    let login = run(&place, &otps, &["threads:40"]);
    assert!(login.said.contains(&"threads 0 0".to_owned()), "{:?} {:?}", login.said, login.log);
}

/// A decision is known in its process and in those that it forks afterwards, and nowhere else.
#[test]
fn a_fork_between_the_calls() {
    let (place, mut key) = enrolled(1240);
    let acts = ["start", "authenticate", "child:acct_mgmt", "acct_mgmt", "child:end", "acct_mgmt", "end"];
    let login = run(&place, &[key.press()], &acts);
    assert_eq!(codes(&login, "authenticate"), [Code::SUCCESS], "{:?}", login.log);
    assert_eq!(codes(&login, "acct_mgmt"), [Code::SUCCESS; 3], "{:?}", login.said);
    let otp = key.press();
    let acts = ["start", "child:authenticate", "acct_mgmt", "authenticate", "acct_mgmt", "end"];
    let login = run(&place, &[&otp, &otp], &acts);
    assert_eq!(
        codes(&login, "authenticate"),
        [Code::SUCCESS, Code::AUTH_ERR],
        "the child used it up: {:?}",
        login.log
    );
    assert_eq!(codes(&login, "acct_mgmt"), [Code::AUTH_ERR; 2], "{:?}", login.said);
    assert!(login.said.iter().all(|line| !line.contains("died")), "{:?}", login.said);
}

/// Sets a limit once the module is loaded, and logs in. The code, if the application lived to tell it.
fn limited(place: &Place, limit: &str, otp: &str) -> Option<Code> {
    // Without a log of the tests: that is a file too.
    let mut command: Command =
        application(place, &[otp], &["start", "acct_mgmt", limit, "authenticate", "acct_mgmt", "end"]);
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let codes = codes_of(&said.lines().map(str::to_owned).collect::<Vec<_>>(), "authenticate");
    let died = !output.status.success();
    assert!(codes.is_empty() == died, "{limit}: {said} {stderr} {:?}", output.status);
    assert!(!stderr.contains("panicked"), "{limit}: {stderr}");
    if died {
        println!("{limit}: {:?} {stderr}", output.status);
    }
    codes.first().copied()
}

/// With fewer and fewer descriptors, bytes and addresses: a code that lets nobody in, or a login as ever, and what was
/// not accepted is not used up.
#[test]
fn limits_step_by_step() {
    let (place, mut key) = enrolled(1250);
    let server = Server::start(&[&key]);
    for mode in ["offline", "online"] {
        place.online(mode, &[server.url()], "deadline = 2\n");
        let steps: &[(&str, Vec<u64>)] = &[
            ("NOFILE", (0..24).collect()),
            ("FSIZE", vec![0, 1, 511, 512, 4095, 4096, 8191, 8192, 1 << 20]),
        ];
        for (resource, values) in steps {
            let (mut last, mut refused) = (Code::ABORT, 0);
            for value in values {
                let otp = key.press();
                let code = limited(&place, &format!("limit:{resource}:{value}"), &otp);
                last = code.unwrap_or_else(|| panic!("{mode}, {resource} {value}: it died"));
                if last == Code::SUCCESS {
                    continue;
                }
                refused += 1;
                // PAM_SYSTEM_ERR is libpam's own, where it cannot speak to the audit.
                let allowed = [Code::AUTHINFO_UNAVAIL, Code::SYSTEM_ERR];
                assert!(allowed.contains(&last), "{mode}, {resource} {value}: {last:?}");
                if mode == "offline" {
                    let again = limited(&place, "limit:CPU:100", &otp);
                    assert_eq!(again, Some(Code::SUCCESS), "{resource} {value}: used up by a fault");
                }
            }
            assert_eq!(last, Code::SUCCESS, "{mode}: {resource} is enough at last");
            assert!(refused > 2, "{mode}: {resource} was never too small");
        }
    }
}

/// The same by codes. A try that was taken for a login that failed stays taken: a caller who sets limits could tell a right code
/// from a wrong one by how the login fails.
#[test]
fn limits_step_by_step_of_codes() {
    let (place, app) = (Place::new(), SoftApp::numbered(1252));
    place.enrol_app("alice", &app);
    place.widen_window();
    let mut step = soft_app::now() - 2;
    for (resource, values) in [
        ("NOFILE", (0..24).collect::<Vec<u64>>()),
        ("FSIZE", vec![0, 1, 99, 511, 512, 4095, 4096, 8191, 8192, 1 << 20]),
    ] {
        let (mut last, mut refused) = (Code::ABORT, 0);
        step = (step + 1..).find(|step| app.is_single(*step) && app.is_single(step + 1)).unwrap();
        for value in values {
            let limit = format!("limit:{resource}:{value}");
            bucket::leave(&bucket::of(&place, "alice"), 1);
            last = limited(&place, &limit, &app.code(step)).unwrap_or_else(|| panic!("{limit}: it died"));
            if last == Code::SUCCESS {
                break;
            }
            refused += 1;
            assert!([Code::AUTHINFO_UNAVAIL, Code::SYSTEM_ERR].contains(&last), "{limit}: {last:?}");
            // A wrong one: one of both found a try.
            let [wrong] = &app.wrong(step, 30, 1)[..] else { panic!("one") };
            let other = limited(&place, &limit, wrong).unwrap();
            assert!([last, Code::AUTH_ERR].contains(&other), "{limit}: {other:?}");
            assert!(other == last || bucket::left(&bucket::of(&place, "alice")) == 0, "{limit}: a free try");
        }
        assert_eq!(last, Code::SUCCESS, "{resource} is enough at last");
        assert!(refused > 2, "{resource} was never too small");
        bucket::leave(&bucket::of(&place, "alice"), bucket::CAPACITY);
        assert_eq!(limited(&place, "limit:CPU:100", &app.code(step)), Some(Code::AUTH_ERR), "accepted twice");
        assert_eq!(limited(&place, "limit:CPU:100", &app.code(step + 1)), Some(Code::SUCCESS));
        step += 1;
    }
}

/// Where no memory is left the standard library ends the process, and with it the login: nobody is let in by that, and
/// the OTP is used up at most.
#[test]
fn no_memory() {
    let (place, mut key) = enrolled(1251);
    let size = |login: &Login| -> u64 { login.code("size").parse().unwrap() };
    let size = size(&run(&place, &[""], &["start", "acct_mgmt", "size"]));
    let (mut died, mut last) = (0, None);
    for resource in ["AS", "DATA"] {
        for more in (0..24).map(|step: u64| step * 32).chain([8192]) {
            let otp = key.press();
            let bytes = if resource == "AS" { (size + more) << 10 } else { more << 10 };
            last = limited(&place, &format!("limit:{resource}:{bytes}"), &otp);
            died += u32::from(last.is_none());
            let allowed = [
                None,
                Some(Code::SUCCESS),
                Some(Code::AUTHINFO_UNAVAIL),
                Some(Code::BUF_ERR),
                Some(Code::CONV_ERR),
            ];
            assert!(allowed.contains(&last), "{resource} {more}: {last:?}");
            let again = limited(&place, "limit:CPU:100", &otp);
            assert!(
                again == Some(Code::AUTH_ERR) || last != Some(Code::SUCCESS),
                "{resource} {more}: accepted twice"
            );
        }
        assert_eq!(last, Some(Code::SUCCESS), "{resource} is enough at last");
    }
    println!("ended {died} times");
    let _ = fs::remove_file(place.path("core"));
}
