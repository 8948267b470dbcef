//! Programs that nobody here wrote, unchanged: Yubico's ykclient and pam_yubico, FreeRADIUS; and our own module. What
//! they said goes into `target/tmp/server-*.txt`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tests::built;
use tests::libpam::Services;
use tests::place::Place;
use tests::soft_yubikey::SoftYubiKey;
use tests::ykvald::{Client, Site, Ykvald};

on_both_stores!(ykclient, pam_yubico, our_own_module);

/// A key that no client has.
const WRONG: &str = "AAECAwQFBgcICQoLDA0ODxAREhM=";

/// What was typed and what was said, in a file to be shown.
struct Transcript {
    name: String,
    text: String,
}

impl Transcript {
    fn new(peer: &str, site: &Site) -> Self {
        let store = if site.is_sqlite() { "sqlite" } else { "postgres" };
        let text = format!("# {peer} against ykvald, store: {store}\n");
        Self { name: format!("server-{peer}-{store}.txt"), text }
    }

    fn note(&mut self, what: &str, typed: &str, said: &str) {
        write!(self.text, "\n# {what}\n$ {typed}\n{}\n", said.trim_end()).unwrap();
    }
}

impl Drop for Transcript {
    fn drop(&mut self) {
        println!("{}", self.text);
        fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(&self.name), &self.text).unwrap();
    }
}

/// One question, and what must come of it.
struct Case {
    what: &'static str,
    client: Client,
    otp: String,
    status: &'static str,
}

/// A good token, one that is switched off, one that is unknown; every outcome that a client meets.
fn cases(site: &Site, number: u32) -> Vec<Case> {
    let mut keys = site.keys(number..number + 2);
    site.must(&["key", "disable", &keys[1].public_id()]);
    let mut unknown = SoftYubiKey::numbered(number + 2);
    let client = site.client();
    let [first, second] = [keys[0].press(), keys[0].press()];
    let other = |id: u64, key: &str| Client { id, key: key.to_owned() };
    let case = |what, client: &Client, otp: &str, status| Case {
        what,
        client: client.clone(),
        otp: otp.to_owned(),
        status,
    };
    vec![
        case("a fresh OTP", client, &first, "OK"),
        case("the same again", client, &first, "REPLAYED_OTP"),
        case("an unknown client", &other(4711, &client.key), &second, "NO_SUCH_CLIENT"),
        case("the wrong key", &other(client.id, WRONG), &second, "BAD_SIGNATURE"),
        case("a token that is switched off", client, &keys[1].press(), "BAD_OTP"),
        case("an unknown token", client, &unknown.press(), "BAD_OTP"),
        case("the next OTP, which none of it used up", client, &second, "OK"),
    ]
}

/// The status of each decision in the log, once there are so many: a line is written a moment after its answer.
fn logged(server: &Ykvald, count: usize) -> Vec<String> {
    let status = |line: &str| Some(line.split_once(" status=")?.1.split(' ').next()?.to_owned());
    let until = Instant::now() + Duration::from_secs(5);
    loop {
        let statuses: Vec<_> = server.log().lines().filter_map(status).collect();
        if statuses.len() >= count || Instant::now() > until {
            return statuses;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn whole(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&text).into_owned()
}

fn has(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

fn ykclient(site: &Site) {
    if !has("ykclient") {
        return tests::skip("needs ykclient (libykclient-dev)");
    }
    let cases = cases(site, 2600);
    let server = site.start();
    let mut transcript = Transcript::new("ykclient", site);
    for url in [server.url(), format!("http://{}/wsapi/2.0/verify?id=%d&otp=%s", server.address())] {
        if url.contains('%') {
            let mut key = SoftYubiKey::numbered(2600);
            key.set_counter(2);
            let id = site.client().id.to_string();
            let output = Command::new("ykclient").args(["--url", &url, &id, &key.press()]).output().unwrap();
            assert_eq!(output.status.code(), Some(0), "an unsigned question, and a URL of old: {output:?}");
            continue;
        }
        for case in &cases {
            let id = case.client.id.to_string();
            let args = ["--debug", "--url", &url, "--apikey", &case.client.key, &id, &case.otp];
            let output = Command::new("ykclient").args(args).output().unwrap();
            let code = output.status.code();
            transcript.note(
                case.what,
                &format!("ykclient {}", args.join(" ")),
                &format!("{}[exit status {code:?}]", whole(&output)),
            );
            let expected = match case.status {
                "OK" => 0,
                "REPLAYED_OTP" => 2,
                "BAD_OTP" => 3,
                // It finds the answer to be signed with another key than its own.
                _ => 1,
            };
            assert!(
                code == Some(expected) || (expected == 1 && code == Some(3)),
                "{}: {output:?}",
                case.what
            );
        }
    }
    let expected: Vec<_> = cases.iter().map(|case| case.status).chain(["OK"]).collect();
    assert_eq!(logged(&server, expected.len()), expected);
}

fn pam_yubico(site: &Site) {
    let module = ["/lib/security", "/lib/x86_64-linux-gnu/security", "/lib64/security", "/usr/lib/security"]
        .map(|folder| format!("{folder}/pam_yubico.so"));
    let Some(module) = module.iter().find(|module| Path::new(module).exists()) else {
        return tests::skip("needs pam_yubico.so (libpam-yubico)");
    };
    let cases = cases(site, 2610);
    let server = site.start();
    let folder = tempfile::tempdir().unwrap();
    let services = Services::new(&folder.path().join("pam.d"));
    let mapping = folder.path().join("mapping");
    let ids = [2610, 2611, 2612].map(|number| SoftYubiKey::numbered(number).public_id());
    fs::write(&mapping, format!("alice:{}\n", ids.join(":"))).unwrap();
    let debug = folder.path().join("debug");
    let mut transcript = Transcript::new("pam_yubico", site);
    for case in &cases {
        let line = format!(
            "auth required {module} mode=client id={} key={} urllist={} authfile={} debug",
            case.client.id,
            case.client.key,
            server.url(),
            mapping.display()
        );
        fs::write(&debug, "").unwrap();
        services.write("otp", &format!("{line} debug_file={}\n", debug.display()));
        let mut drive = Command::new(built::program("pam-drive"));
        drive.arg("--confdir").arg(services.path()).args([
            "--service",
            "otp",
            "--user",
            "alice",
            "--",
            &case.otp,
        ]);
        let output = drive.output().unwrap();
        let said = whole(&output);
        let debug = fs::read_to_string(&debug).unwrap();
        let told: Vec<_> = debug
            .lines()
            .filter(|line| line.contains("ykclient return value"))
            .chain(said.lines().filter(|line| line.starts_with("authenticate")))
            .collect();
        assert_eq!(told.len(), 2, "{debug}{said}");
        transcript.note(case.what, &line, &told.join("\n"));
        let code = match case.status {
            "OK" => "PAM_SUCCESS",
            "REPLAYED_OTP" | "BAD_OTP" => "PAM_AUTH_ERR",
            _ => "PAM_AUTHINFO_UNAVAIL",
        };
        assert!(said.contains(&format!("authenticate {code}")), "{}: {said}", case.what);
    }
    let expected: Vec<_> = cases.iter().map(|case| case.status).collect();
    assert_eq!(logged(&server, expected.len()), expected);
}

/// Through the real libpam and the real yubiotp-ask.
fn our_own_module(site: &Site) {
    let cases = cases(site, 2620);
    let servers = [site.start(), site.start_another()];
    let place = Place::new();
    for number in 2620..2623 {
        place.list("alice", &SoftYubiKey::numbered(number));
    }
    let mut transcript = Transcript::new("pam_yubiotp", site);
    for case in &cases {
        // As `Place` writes it for client 1, whose key this is.
        let settings = format!("api_key = {:?}", case.client.key);
        place.online_without_key("online", &[servers[0].url()], &settings);
        let config = fs::read_to_string(place.config()).unwrap();
        let other = config.replace("client_id = 1\n", &format!("client_id = {}\n", case.client.id));
        place.write("config.toml", other, 0o600);
        let login = place.login("otp", "alice", &[&case.otp]);
        let decision = login.decisions().join("\n");
        transcript.note(
            case.what,
            "a login of alice",
            &format!("{decision}\n{}", login.code("authenticate")),
        );
        let code = match case.status {
            "OK" => "PAM_SUCCESS",
            "REPLAYED_OTP" | "BAD_OTP" => "PAM_AUTH_ERR",
            _ => "PAM_AUTHINFO_UNAVAIL",
        };
        assert_eq!(login.code("authenticate"), code, "{}: {decision}", case.what);
    }
    let expected: Vec<_> = cases.iter().map(|case| case.status).collect();
    assert_eq!(logged(&servers[0], expected.len()), expected);
    // Two servers on one store: whichever is asked.
    let mut key = SoftYubiKey::numbered(2620);
    key.set_counter(3);
    let otp = key.press();
    let settings = format!("api_key = {:?}", site.client().key);
    for (urls, code) in [
        ([servers[0].url(), servers[1].url()], "PAM_SUCCESS"),
        ([servers[1].url(), servers[0].url()], "PAM_AUTH_ERR"),
    ] {
        place.online_without_key("online", &urls, &settings);
        assert_eq!(place.login("otp", "alice", &[&otp]).code("authenticate"), code);
    }
}
