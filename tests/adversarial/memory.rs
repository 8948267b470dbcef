//! The memory of the application after a login has no secret, on no stack and in no page of the heap, in
//! use or freed. And none in the log.

use crate::application::{application, codes_of, enrolled};
use hmac::{Hmac, KeyInit as _, Mac as _};
use memchr::memmem::Finder;
use sha2::Sha256;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};
use tests::bucket;
use tests::libpam::Code;
use tests::place::Place;
use tests::soft_app::{self, SoftApp};
use tests::soft_yubikey::SoftYubiKey;
use tests::syslog::Capture;
use tests::validation::{self, Server};

const PASSWORD: &str = "correct horse battery";
const LOGIN: [&str; 5] = ["start", "authenticate", "acct_mgmt", "setcred", "end"];

/// A secret in one of the ways in which it may lie about, cut in pieces: a register holds 8 or 16 bytes.
struct Secret {
    name: &'static str,
    pieces: Vec<Vec<u8>>,
}

fn secret(name: &'static str, bytes: &[u8], piece: usize) -> Secret {
    Secret { name, pieces: bytes.chunks_exact(piece).map(<[u8]>::to_vec).collect() }
}

/// All secrets of a login with this OTP, as text and as bytes. The applications of these tests get them only by
/// their answers.
fn secrets(place: &Place, key: &SoftYubiKey, otp: &str) -> Vec<Secret> {
    let hex = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
    let base64 = |text: &str| data_encoding::BASE64.decode(text.as_bytes()).unwrap();
    let block = &otp[otp.len() - 32..];
    let nibble = |letter: char| "0123456789abcdef".as_bytes()["cbdefghijklnrtuv".find(letter).unwrap()];
    let digits = String::from_utf8(block.chars().map(nibble).collect()).unwrap();
    let store_key = fs::read_to_string(place.path("store.key")).unwrap();
    let store_key = store_key.lines().find_map(|line| line.strip_prefix("key: ")).unwrap();
    vec![
        secret("AES key", &hex(&key.aes_key_hex()), 8),
        secret("AES key in hex", key.aes_key_hex().as_bytes(), 16),
        secret("private id", &hex(&key.private_id_hex()), 6),
        secret("private id in hex", key.private_id_hex().as_bytes(), 12),
        secret("store key", &base64(store_key), 8),
        secret("store key in base64", store_key.as_bytes(), 11),
        secret("client's key", &base64(validation::KEY), 8),
        secret("client's key in base64", validation::KEY.as_bytes(), 12),
        secret("password", PASSWORD.as_bytes(), 7),
        secret("OTP", block.as_bytes(), 8),
        secret("encrypted block", &hex(&digits), 8),
    ]
}

/// What HMAC makes of a key (RFC 2104), inner and outer.
const PADS: [u8; 2] = [0x36, 0x5c];

fn padded(key: &[u8], pad: u8) -> [u8; 64] {
    let mut block = [pad; 64];
    block.iter_mut().zip(key).for_each(|(padded, byte)| *padded ^= byte);
    block
}

/// The state of SHA-1 at its beginning, and after a block.
const SHA1: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];

fn hashed(mut state: [u32; 5], block: &[u8; 64]) -> [u32; 5] {
    sha1::block_api::compress(&mut state, &[*block]);
    state
}

/// All secrets of a host with an app and recovery codes, and of a login at `step`: what HMAC makes of a key, too, which is as good
/// as the key. A host has recovery codes only while one is typed.
fn secrets_of_codes(place: &Place, app: &SoftApp, step: u64, recovery: &[String]) -> Vec<Secret> {
    let store_key = fs::read_to_string(place.path("store.key")).unwrap();
    let store_key = store_key.lines().find_map(|line| line.strip_prefix("key: ")).unwrap();
    let store_key = data_encoding::BASE64.decode(store_key.as_bytes()).unwrap();
    // As docs/store.md derives it.
    let mut recovery_key = Hmac::<Sha256>::new_from_slice(&store_key).unwrap();
    recovery_key.update(b"yubiotp recovery codes 1");
    let recovery_key = recovery_key.finalize().into_bytes();
    let mut secrets = vec![
        secret("store key", &store_key, 8),
        secret("app's secret", app.secret(), 8),
        secret("app's secret in base32", data_encoding::BASE32.encode(app.secret()).as_bytes(), 16),
        secret("app's secret in hex", data_encoding::HEXLOWER.encode(app.secret()).as_bytes(), 16),
        secret("key of recovery codes", &recovery_key, 8),
        secret("password", PASSWORD.as_bytes(), 7),
    ];
    for pad in PADS {
        let block = padded(app.secret(), pad);
        let state = hashed(SHA1, &block);
        secrets.push(secret("app's secret, padded", &block[..16], 8));
        secrets.push(secret("app's secret, hashed", &state.map(u32::to_ne_bytes).concat(), 8));
        secrets.push(secret("key of recovery codes, padded", &padded(&recovery_key, pad)[..32], 8));
    }
    for step in step - 2..=step + 3 {
        secrets.push(secret("code", app.code(step).as_bytes(), 6));
        secrets.push(secret("MAC of a code", &app.mac(step), 8));
    }
    // As numbers, too, from either end.
    for code in [step, step + 1].map(|step| app.code(step)) {
        let mut digits: Vec<u8> = code.bytes().map(|digit| digit - b'0').collect();
        secrets.push(secret("code in digits", &digits, 6));
        digits.reverse();
        secrets.push(secret("code in digits, the last first", &digits, 6));
    }
    for code in recovery {
        let letters = code.replace('-', "");
        secrets.push(secret("recovery code", code.as_bytes(), 7));
        secrets.push(secret("recovery code without hyphens", letters.as_bytes(), 5));
        secrets.push(secret("letters of a recovery code", &letters.as_bytes()[1..], 5));
    }
    secrets
}

/// Where pieces of secrets are in the writable memory of a process, a line each.
fn found_in(process: u32, secrets: &[Secret]) -> Vec<String> {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let memory = File::open(format!("/proc/{process}/mem")).unwrap();
    let mut found = Vec::new();
    for line in maps.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        if !words[1].starts_with("rw") {
            continue;
        }
        let (from, to) = words[0].split_once('-').unwrap();
        let [from, to] = [from, to].map(|address| u64::from_str_radix(address, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        memory.read_exact_at(&mut bytes, from).unwrap();
        let name = words.get(5).unwrap_or(&"unnamed");
        for Secret { name: secret, pieces } in secrets {
            for (number, piece) in pieces.iter().enumerate() {
                for at in Finder::new(piece).find_iter(&bytes) {
                    found.push(format!(
                        "{secret}, piece {number}: {name}, {} before its end",
                        bytes.len() - at
                    ));
                }
            }
        }
    }
    found
}

/// Runs an application, waits until it has done its acts, and searches its memory. Returns its output, and the
/// findings.
fn look(mut command: Command, secrets: &[Secret]) -> (Vec<String>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let capture = Capture::new(folder.path());
    let mut child = command.arg("pause").envs(capture.envs()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let said: Vec<_> = lines.take_while(|line| line != "paused").collect();
    let found = found_in(child.id(), secrets);
    child.kill().unwrap();
    child.wait().unwrap();
    for line in capture.lines() {
        for piece in secrets.iter().flat_map(|secret| &secret.pieces) {
            let logged = Finder::new(piece).find(line.text.as_bytes());
            assert_eq!(logged, None, "{:?} is logged: {}", String::from_utf8_lossy(piece), line.text);
        }
    }
    (said, found)
}

/// A login of each outcome: the change of the host, arguments, acts before it, the answer, the code.
type Outcome = (&'static str, fn(&Place), &'static str, &'static [&'static str], fn(&str) -> String, Code);

fn typed(otp: &str) -> String {
    format!("{PASSWORD}{otp}")
}

fn mistyped(otp: &str) -> String {
    // The last letter: all other pieces of the secret are whole.
    let last = if otp.ends_with('c') { 'b' } else { 'c' };
    format!("{PASSWORD}{}{last}", &otp[..otp.len() - 1])
}

const FINE: fn(&Place) = |_| {};

fn without(name: &str) -> impl Fn(&Place) {
    move |place| {
        let path = place.path(name);
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }
}

const OUTCOMES: &[Outcome] = &[
    ("accepted", FINE, "debug", &[], typed, Code::SUCCESS),
    (
        "accepted at the second try",
        FINE,
        "debug tries=2",
        &[],
        |otp| format!("{PASSWORD}\n{PASSWORD}{otp}"),
        Code::SUCCESS,
    ),
    ("not genuine", FINE, "debug", &[], mistyped, Code::AUTH_ERR),
    ("a password alone", FINE, "debug", &[], |_| PASSWORD.to_owned(), Code::AUTH_ERR),
    ("of another keyboard", FINE, "debug", &[], |otp| typed(otp).to_uppercase(), Code::SUCCESS),
    ("not listed", FINE, "debug", &["user:bob"], typed, Code::USER_UNKNOWN),
    ("excused", FINE, "debug nullok always_prompt", &["user:bob"], typed, Code::PERM_DENIED),
    ("no position", |place| without("positions")(place), "debug", &[], typed, Code::AUTHINFO_UNAVAIL),
    ("no key", |place| without("keys")(place), "debug", &[], typed, Code::AUTHINFO_UNAVAIL),
    (
        "a store key that is cut off",
        |place| cut(place, "store.key"),
        "debug",
        &[],
        typed,
        Code::AUTHINFO_UNAVAIL,
    ),
    (
        "a mapping that cannot be used",
        |place| without("authorized_yubikeys")(place),
        "debug",
        &[],
        typed,
        Code::AUTHINFO_UNAVAIL,
    ),
    ("a wrong argument", FINE, "nullock", &[], typed, Code::SERVICE_ERR),
    ("no answer", FINE, "debug", &["conv:error"], typed, Code::CONV_ERR),
    ("another user meanwhile", FINE, "debug", &["conv:user"], typed, Code::CONV_ERR),
];

fn cut(place: &Place, name: &str) {
    let contents = fs::read(place.path(name)).unwrap();
    place.write(name, &contents[..contents.len() - 2], 0o600);
}

#[test]
fn no_secret_stays_in_memory_or_comes_into_the_log() {
    for (number, (what, world, arguments, acts, answer, code)) in OUTCOMES.iter().enumerate() {
        let (place, mut key) = enrolled(900 + u32::try_from(number).unwrap());
        let otp = key.press();
        let secrets = secrets(&place, &key, &otp);
        world(&place);
        place.arguments(arguments);
        let command = application(&place, &[answer(&otp)], &[*acts, &LOGIN].concat());
        let (said, found) = look(command, &secrets);
        assert_eq!(codes_of(&said, "authenticate"), [*code], "{what}: {said:?}");
        assert!(found.is_empty(), "{what}: {found:#?}");
    }
}

/// By codes: what is typed, made of the step's code, the next one, and a recovery code; and what it comes to.
type ByCode = (&'static str, fn(&Place), fn([&str; 3]) -> String, Code);

const BY_CODE: &[ByCode] = &[
    ("accepted", FINE, |[code, ..]| typed(code), Code::SUCCESS),
    ("accepted with blanks", FINE, |[code, ..]| format!("{} {}", &code[..3], &code[3..]), Code::SUCCESS),
    ("two codes", FINE, |[code, next, _]| format!("{PASSWORD}{code} {next}"), Code::SUCCESS),
    ("two codes the other way round", FINE, |[code, next, _]| format!("{next} {code}"), Code::SUCCESS),
    ("a code and another digit", FINE, |[code, ..]| format!("{code}0"), Code::AUTH_ERR),
    ("a recovery code", FINE, |[.., recovery]| format!("{PASSWORD}{recovery}"), Code::SUCCESS),
    ("a recovery code in small letters", FINE, |[.., recovery]| recovery.to_lowercase(), Code::SUCCESS),
    ("not their recovery code", FINE, |[.., recovery]| other_letter(recovery), Code::AUTH_ERR),
    (
        "no try left",
        |place| bucket::leave(&bucket::of(place, "alice"), 0),
        |[code, ..]| typed(code),
        Code::AUTH_ERR,
    ),
    ("no bucket", |place| cut(place, "guesses/alice"), |[code, ..]| typed(code), Code::AUTHINFO_UNAVAIL),
    ("no position", |place| without("positions")(place), |[code, ..]| typed(code), Code::AUTHINFO_UNAVAIL),
    (
        "no position of a recovery code",
        |place| without("positions")(place),
        |[.., recovery]| recovery.to_owned(),
        Code::AUTHINFO_UNAVAIL,
    ),
    ("no key", |place| without("keys")(place), |[code, ..]| typed(code), Code::AUTHINFO_UNAVAIL),
];

fn other_letter(recovery: &str) -> String {
    let last = if recovery.ends_with('7') { '8' } else { '7' };
    format!("{}{last}", &recovery[..recovery.len() - 1])
}

#[test]
fn no_secret_of_codes_stays_in_memory_or_comes_into_the_log() {
    for (number, (what, world, answer, code)) in (960..).zip(BY_CODE) {
        let place = Place::new();
        // Of digits that do not lie about in memory anyway.
        let step = soft_app::now();
        let is_rare = |code: String| code.bytes().collect::<BTreeSet<_>>().len() > 4 && !code.contains('0');
        let mut apps = (number * 1_000..).map(SoftApp::numbered);
        let app = apps.find(|app| [step, step + 1].into_iter().all(|step| is_rare(app.code(step)))).unwrap();
        place.enrol_app("alice", &app);
        let recovery = place.enrol_recovery("alice");
        let secrets = secrets_of_codes(&place, &app, step, &recovery);
        world(&place);
        place.arguments("debug");
        let answer = answer([&app.code(step), &app.code(step + 1), &recovery[0]]);
        let (said, found) = look(application(&place, &[answer], &LOGIN), &secrets);
        assert_eq!(codes_of(&said, "authenticate"), [*code], "{what}: {said:?}");
        assert!(found.is_empty(), "{what}: {found:#?}");
    }
}

/// Where servers are asked, what they say comes into the memory of the application too.
#[test]
fn no_secret_stays_in_memory_where_servers_are_asked() {
    let (place, mut key) = enrolled(930);
    place.arguments("debug");
    let server = Server::start(&[&key]);
    place.write("client.key", format!("{}\n", validation::KEY), 0o600);
    let settings = format!(
        "deadline = 1\n{}",
        "# a settings file that is longer than what is read at once\n".repeat(100)
    );
    for (what, urls, key_line, code) in [
        ("accepted", vec![server.url()], format!("api_key = {:?}", validation::KEY), Code::SUCCESS),
        (
            "accepted, the client's key in a file",
            vec![server.url()],
            "api_key_file = \"client.key\"".to_owned(),
            Code::SUCCESS,
        ),
        ("a lie", vec![server.url()], format!("api_key = {:?}", validation::KEY), Code::AUTHINFO_UNAVAIL),
        (
            "none decided",
            vec![validation::dead()],
            format!("api_key = {:?}", validation::KEY),
            Code::AUTHINFO_UNAVAIL,
        ),
        (
            "a program that fails",
            vec![server.url()],
            format!("api_key = {:?}\nask = \"store.key\"", validation::KEY),
            Code::AUTHINFO_UNAVAIL,
        ),
    ] {
        server.will(move |x| if what == "a lie" { x.unsigned(&x.fields) } else { x.honest() });
        place.online_without_key("online", &urls, &format!("{key_line}\n{settings}"));
        let otp = key.press();
        let secrets = secrets(&place, &key, &otp);
        let (said, found) = look(application(&place, &[typed(&otp)], &LOGIN), &secrets);
        assert_eq!(codes_of(&said, "authenticate"), [code], "{what}: {said:?}");
        assert!(found.is_empty(), "{what}: {found:#?}");
    }
}

/// The states that are searched for are those that a code is made of.
#[test]
fn a_code_is_made_of_hashed_secrets() {
    // The last block of a message of so many bytes behind a block.
    let last = |message: &[u8]| {
        let mut block = [0; 64];
        block[..message.len()].copy_from_slice(message);
        block[message.len()] = 0x80;
        block[56..].copy_from_slice(&((64 + message.len() as u64) * 8).to_be_bytes());
        block
    };
    let (app, step) = (SoftApp::numbered(1), 60_000_000_u64);
    let [inner, outer] = PADS.map(|pad| hashed(SHA1, &padded(app.secret(), pad)));
    let digest = hashed(inner, &last(&step.to_be_bytes())).map(u32::to_be_bytes).concat();
    assert_eq!(hashed(outer, &last(&digest)).map(u32::to_be_bytes).concat(), app.mac(step));
}

/// The assumption of the tests above.
#[test]
fn a_secret_that_stays_is_found() {
    let (place, mut key) = enrolled(940);
    let otp = key.press();
    let secrets = secrets(&place, &key, &otp);
    for (act, region) in [("plant:heap", "[heap]"), ("plant:stack", "[stack]")] {
        let (_, found) = look(application(&place, &[typed(&otp)], &[act]), &secrets);
        for name in ["password, piece 0", "OTP, piece 3"] {
            assert!(
                found.iter().any(|line| line.starts_with(name) && line.contains(region)),
                "{act}: {found:?}"
            );
        }
    }
}

/// Leaks, and decisions by memory that nobody wrote, over a login of each outcome in one process. Offline alone:
/// valgrind 3.19 lacks pidfd_open(2), by which `yubiotp-ask` is watched.
#[test]
fn valgrind_finds_nothing() {
    let (place, mut key) = enrolled(950);
    for (service, arguments) in [
        ("nullok", "nullok always_prompt"),
        ("bad", "nullock"),
        ("fault", "store=/nonexistent"),
        ("tries", "tries=3 debug echo"),
        ("first", "use_first_pass"),
    ] {
        place.service(
            service,
            &format!(
                "auth required pam_yubiotp.so {arguments}\naccount required pam_yubiotp.so {arguments}\n"
            ),
        );
    }
    let app = SoftApp::numbered(950);
    place.enrol_app("alice", &app);
    let recovery = place.enrol_recovery("alice");
    let code = app.code(soft_app::now());
    let (first, second) = (key.press(), key.press());
    let answers = [
        typed(&code),
        code,
        format!("{} {}", app.code(soft_app::now() + 1), app.code(soft_app::now() + 2)),
        recovery[0].clone(),
        typed(&second),
        second.clone(),
        typed(&first),
        "x".into(),
        "y".into(),
        "z".into(),
        "x".into(),
        key.press(),
        mistyped(&key.press()),
    ];
    let mut acts = Vec::new();
    for login in [
        &["service:otp"][..],             // accepted by code
        &[],                              // used
        &[],                              // two codes
        &[],                              // a recovery code
        &[],                              // accepted
        &[],                              // replayed
        &["user:bob"],                    // not listed
        &["user:alice", "service:tries"], // tries used up
        &["user:bob", "service:nullok"],  // excused
        &["user:alice", "service:fault"],
        &["service:otp"], // not genuine
        &["service:bad"],
        &["service:first"],
        &["service:otp", "conv:error"],
        &["conv:nothing"],
        &["conv:null-text"],
        &["conv:large"],
    ] {
        acts.extend(login.iter().chain(&LOGIN));
    }
    let plain = application(&place, &answers, &acts);
    let report = place.path("valgrind");
    let mut valgrind = Command::new("valgrind");
    valgrind.args([
        "--quiet",
        "--error-exitcode=99",
        "--leak-check=full",
        "--errors-for-leak-kinds=definite,indirect",
    ]);
    valgrind.args(["--show-leak-kinds=definite,indirect", "--track-fds=no", "--num-callers=30"]);
    valgrind.arg(format!("--log-file={}", report.display())).arg(plain.get_program()).args(plain.get_args());
    valgrind.stdin(crate::application::answers_of(&place, &answers));
    let login = place.run(valgrind);
    let report = fs::read_to_string(report).unwrap();
    let expected = [
        Code::SUCCESS,
        Code::AUTH_ERR,
        Code::SUCCESS,
        Code::SUCCESS,
        Code::SUCCESS,
        Code::AUTH_ERR,
        Code::USER_UNKNOWN,
        Code::MAXTRIES,
        Code::PERM_DENIED,
        Code::AUTHINFO_UNAVAIL,
        Code::AUTH_ERR,
        Code::SERVICE_ERR,
        Code::AUTH_ERR,
        Code::CONV_ERR,
        Code::CONV_ERR,
        Code::CONV_ERR,
        Code::AUTH_ERR,
    ];
    assert_eq!(codes_of(&login.said, "authenticate"), expected, "{:?}", login.log);
    assert!(report.is_empty(), "{report}");
}
