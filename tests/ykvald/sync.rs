//! A pool with servers of YK-VAL: what `ykvald` tells them, and what they tell it.

use rustix::process::Signal;
use serde_json::Value;
use std::collections::HashMap;
use std::fs::Permissions;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{fs, thread};
use tests::soft_yubikey::SoftYubiKey;
use tests::ykvald::{Question, Reply, Site, Ykvald, free_port, get};

/// What a YK-VAL knows of a token: modified, nonce, usage counter, session counter, all as text.
type Known = [String; 4];

/// A server of YK-VAL, as far as its peers see it. It answers as yubikey-val 2.41 did when it was recorded
/// (`yubiotp/src/protocol/sync/tests.rs`), and believes the numbers in a message as that does.
pub(crate) struct YkVal {
    address: SocketAddr,
    tokens: Arc<Mutex<HashMap<String, Known>>>,
    /// The OTPs that were in the messages.
    otps: Arc<Mutex<Vec<String>>>,
    answers: Arc<AtomicBool>,
}

impl YkVal {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
        let address = listener.local_addr().unwrap();
        let (tokens, otps) =
            (Arc::<Mutex<HashMap<String, Known>>>::default(), Arc::<Mutex<Vec<String>>>::default());
        let answers = Arc::new(AtomicBool::new(true));
        let it = Self {
            address,
            tokens: Arc::clone(&tokens),
            otps: Arc::clone(&otps),
            answers: Arc::clone(&answers),
        };
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let Some(Ok(first)) = lines.next() else { continue };
                lines.find(|line| line.as_ref().is_ok_and(String::is_empty));
                if !answers.load(Ordering::SeqCst) {
                    continue;
                }
                let query = first.split(' ').nth(1).unwrap().split_once('?').unwrap().1.to_owned();
                let body = answer(&query, &mut tokens.lock().unwrap(), &mut otps.lock().unwrap());
                let head =
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                let _went_away = stream.write_all((head + &body).as_bytes());
            }
        });
        it
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it answers from now on; otherwise it closes connections.
    fn answers(&self, answers: bool) {
        self.answers.store(answers, Ordering::SeqCst);
    }

    pub(crate) fn set(&self, token: &str, known: [&str; 4]) {
        self.tokens.lock().unwrap().insert(token.to_owned(), known.map(str::to_owned));
    }

    /// Whether it was told of a token.
    pub(crate) fn knows(&self, token: &str) -> bool {
        self.counters(token).is_some()
    }

    fn counters(&self, token: &str) -> Option<(String, String)> {
        self.tokens.lock().unwrap().get(token).map(|[_, _, counter, used]| (counter.clone(), used.clone()))
    }

    /// Waits until it has these counters of a token.
    #[track_caller]
    fn learns(&self, token: &str, counters: (&str, &str)) {
        let begun = Instant::now();
        while self.counters(token).as_ref().map(|(counter, used)| (counter.as_str(), used.as_str()))
            != Some(counters)
        {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "{:?}, not {counters:?}",
                self.counters(token)
            );
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn answer(query: &str, tokens: &mut HashMap<String, Known>, otps: &mut Vec<String>) -> String {
    let value = |of: &str| {
        let found = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(name, _)| *name == of);
        found.map(|(_, value)| value.to_owned())
    };
    let wanted =
        ["yk_publicname", "otp", "modified", "nonce", "yk_counter", "yk_use", "yk_high", "yk_low"].map(value);
    let [Some(token), Some(otp), Some(modified), Some(nonce), Some(counter), Some(used), Some(_), Some(_)] =
        wanted
    else {
        return "h=XIUch7V9qMK/LVxjXYzXgmpo8bw=\r\nt=2026-11-30T08:35:45Z0512\r\nstatus=MISSING_PARAMETER\r\n\r\n".to_owned();
    };
    otps.push(otp);
    let none = || ["-1", "0000000000000000", "-1", "-1"].map(str::to_owned);
    let before = tokens.get(&token).cloned().unwrap_or_else(none);
    let number = |text: &str| text.parse::<i64>().unwrap();
    if (number(&counter), number(&used)) > (number(&before[2]), number(&before[3])) {
        tokens.insert(token.clone(), [modified, nonce, counter, used]);
    }
    let [modified, nonce, counter, used] = before;
    format!(
        "h=TCRfq2LAcLmyK3lJDRN4Js9wl88=\r\nt=2026-11-30T08:35:45Z0076\r\nmodified={modified}\r\nnonce={nonce}\r\n\
         yk_publicname={token}\r\nyk_counter={counter}\r\nyk_use={used}\r\nyk_high=1\r\nyk_low=1\r\nstatus=OK\r\n\r\n"
    )
}

/// Settings of a pool of these servers on this host.
fn pool(peers: &[SocketAddr]) -> String {
    let peers: Vec<_> = peers
        .iter()
        .map(|peer| format!("{{ url = \"http://{peer}/wsapi/2.0/sync\", from = \"127.0.0.1\" }}"))
        .collect();
    format!("[sync]\npeers = [{}]\n", peers.join(", "))
}

fn asked(site: &Site, server: &Ykvald, otp: &str, level: &str) -> Reply {
    let question = Question::new(site.client(), otp).with("sl", level).with("timeout", "3");
    server.connect().ask(&question.signed(&site.client().key)).unwrap()
}

/// The whole answer about an OTP that is asked at a level: status and `sl`.
fn says(site: &Site, server: &Ykvald, otp: &str, level: &str) -> (String, Option<String>) {
    let reply = asked(site, server, otp, level);
    assert!(reply.is_signed_with(&site.client().key), "{}", reply.body);
    (reply.says(), reply.field("sl"))
}

fn ok(level: &str) -> (String, Option<String>) {
    ("OK".to_owned(), Some(level.to_owned()))
}

fn too_few(level: &str) -> (String, Option<String>) {
    ("NOT_ENOUGH_ANSWERS".to_owned(), Some(level.to_owned()))
}

fn replayed() -> (String, Option<String>) {
    ("REPLAYED_OTP".to_owned(), None)
}

#[test]
fn two_servers_accept_an_otp_once() {
    let (one, two) = (Site::sqlite(), Site::sqlite());
    one.settings(&pool(&[two.address()]));
    two.settings(&pool(&[one.address()]));
    let mut key = SoftYubiKey::numbered(1);
    one.import(std::slice::from_ref(&key));
    two.import(std::slice::from_ref(&key));
    let (first, second) = (one.start(), two.start());
    for (here, there) in [((&one, &first), (&two, &second)), ((&two, &second), (&one, &first))] {
        let otp = key.press();
        assert_eq!(says(here.0, here.1, &otp, "100"), ok("100"), "{}", here.1.log());
        assert_eq!(says(there.0, there.1, &otp, "100"), replayed());
        assert_eq!(says(here.0, here.1, &otp, "100"), replayed());
    }
    second.wait_for_log("event=sync status=OK");
    for log in [first.log(), second.log()] {
        assert!(!log.contains("code=sync-contradicts-otp") && !log.contains("level=error"), "{log}");
    }
}

/// Without the peer the OTP is refused and used up, or accepted at a level of 0. The peer learns of both.
#[test]
fn a_peer_that_is_away() {
    let (one, two) = (Site::sqlite(), Site::sqlite());
    one.settings(&pool(&[two.address()]));
    two.settings(&pool(&[one.address()]));
    let mut keys = [1, 2].map(SoftYubiKey::numbered);
    one.import(&keys);
    two.import(&keys);
    let first = one.start();
    let refused = keys[0].press();
    assert_eq!(says(&one, &first, &refused, "100"), too_few("0"));
    assert_eq!(says(&one, &first, &refused, "0"), replayed());
    let accepted = keys[1].press();
    assert_eq!(says(&one, &first, &accepted, "0"), ok("0"));
    first.wait_for_log("event=sync-peer-down");
    // It is recorded every five seconds.
    let begun = Instant::now();
    let said = loop {
        let (status, said) = sync_status(&one);
        if status == 2 {
            break said;
        }
        assert!(begun.elapsed() < Duration::from_secs(30) && status == 1, "{status}: {said}");
        thread::sleep(Duration::from_millis(100));
    };
    let found = said["findings"].as_array().unwrap();
    let errors: Vec<_> = found.iter().filter(|it| it["severity"] == "error").collect();
    assert_eq!((errors.len(), &errors[0]["code"]), (1, &"sync-peer-unreachable".into()), "{said}");
    let problem = errors[0]["problem"].as_str().unwrap();
    assert!(problem.starts_with("refuses the connection (20"), "{problem}");
    assert_eq!(said["peers"][0]["failure"]["code"], "sync-peer-unreachable");
    let second = two.start();
    let begun = Instant::now();
    while second.log().matches("code=sync-raised").count() < 2 {
        assert!(begun.elapsed() < Duration::from_secs(30), "{} {}", first.log(), second.log());
        thread::sleep(Duration::from_millis(20));
    }
    for otp in [&refused, &accepted] {
        assert_eq!(says(&two, &second, otp, "0"), replayed());
    }
    first.wait_for_log("event=sync-peer-up");
    let begun = Instant::now();
    while sync_status(&one).0 != 0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", sync_status(&one).1);
        thread::sleep(Duration::from_millis(100));
    }
    assert!(one.must(&["sync", "status"]).contains(&two.address().to_string()));
}

/// Exit status and JSON of `sync status`.
fn sync_status(site: &Site) -> (i32, Value) {
    let output = site.command(&["sync", "status", "--json"]).output().unwrap();
    (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap())
}

/// Before a server has run, and long after one has: nobody knows how the peers are.
#[test]
fn without_a_new_record() {
    let site = Site::sqlite();
    let peer = SocketAddr::from(([127, 0, 0, 1], free_port()));
    site.settings(&pool(&[peer]));
    let old = format!(
        r#"{{"at":1795307401,"peers":[{{"name":"{peer}","told_until":1795307401,"waiting":0,"answered":1795307401,"failure":null}}]}}"#
    );
    for (record, recorded) in [(None, Value::Null), (Some(old), "2026-11-22T00:30:01Z".into())] {
        if let Some(record) = record {
            let file = site.path().join("sync.state");
            fs::write(&file, record).unwrap();
            fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        }
        let (status, said) = sync_status(&site);
        assert_eq!((status, &said["recorded"]), (1, &recorded), "{said}");
        let found = said["findings"].as_array().unwrap();
        assert_eq!((found.len(), &found[0]["code"]), (1, &"sync-state-not-written".into()), "{said}");
    }
}

/// A peer that takes connections and says nothing: questions that wait for it take no places from others.
#[test]
fn a_peer_that_hangs() {
    let hanging = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    let site = Site::sqlite();
    let limits = "[limits]\ntoken_rate = 0\nin_flight = 1\ndeadline_ms = 10000\n";
    site.settings(&(pool(&[hanging.local_addr().unwrap()]) + limits));
    let mut keys = site.keys(1..4);
    let server = site.start();
    let client = site.client();
    let mut waiting: Vec<_> = keys[..2]
        .iter_mut()
        .map(|key| {
            let question = Question::new(client, &key.press()).with("sl", "100").with("timeout", "8");
            let mut connection = server.connect();
            connection.send(question.signed(&client.key).request()).unwrap();
            let (_message, _) = hanging.accept().unwrap();
            (connection, _message)
        })
        .collect();
    let others = keys[2].press();
    assert_eq!(says(&site, &server, &others, "0"), ok("0"));
    let metrics = get(server.address(), "/metrics").unwrap().body;
    assert!(metrics.contains("\nykvald_in_flight 2\n"), "{metrics}");
    for (connection, _message) in &mut waiting {
        assert_eq!(connection.read().unwrap().says(), "NOT_ENOUGH_ANSWERS");
    }
}

/// Killed before a peer had it: the store has the position, and it is sent after the next start. The OTP is in no file.
#[test]
fn a_kill_loses_no_message() {
    let (site, old) = (Site::sqlite(), YkVal::new());
    site.settings(&pool(&[old.address()]));
    let mut key = SoftYubiKey::numbered(1);
    site.import(std::slice::from_ref(&key));
    old.answers(false);
    let server = site.start();
    let otp = key.press();
    assert_eq!(says(&site, &server, &otp, "0"), ok("0"));
    server.kill();
    for file in fs::read_dir(site.path()).unwrap() {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        let block = &otp.as_bytes()[12..];
        assert!(!bytes.windows(block.len()).any(|window| window == block), "the OTP is in a file");
    }
    old.answers(true);
    let mut server = site.start();
    old.learns(&key.public_id(), ("1", "0"));
    assert_eq!(
        *old.otps.lock().unwrap(),
        [key.public_id() + &"c".repeat(32)],
        "as YK-VAL's resync invents it"
    );
    // It records what was told, and does not tell it again.
    server.wait_for_log("event=sync-resent");
    server.signal(Signal::TERM);
    server.wait(Duration::from_secs(10));
    let status = site.must(&["sync", "status", "--json"]);
    assert!(status.contains("\"waiting\": 0") && !status.contains("\"told_until\": null"), "{status}");
}

/// An OTP that an old server accepted before it was exported: it answers so, and is believed for this OTP only.
#[test]
fn an_old_server_that_knows_more() {
    let (site, old) = (Site::sqlite(), YkVal::new());
    site.settings(&pool(&[old.address()]));
    let mut key = SoftYubiKey::numbered(1);
    site.import(std::slice::from_ref(&key));
    let token = key.public_id();
    let otp = key.press();
    old.set(&token, ["1796027733", "0123456789abcdef", "300", "5"]);
    let server = site.start();
    assert_eq!(says(&site, &server, &otp, "100"), replayed());
    server.wait_for_log("code=sync-otp-used-at-peer");
    let listed = site.must(&["key", "list", "--json"]);
    assert!(!listed.contains("300"), "an answer proves nothing: {listed}");

    let output = site.command(&["sync", "resync", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("\"ahead\": 1") && said.contains(&token) && said.contains("300"), "{said}");
    let peer = old.address().to_string();
    let output = site.command(&["sync", "resync", &peer]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("[sync-peer-ahead]"), "{said}");

    let export = format!("1,1383728716,1796027733,{token},300,5,1,1,0123456789abcdef,\n");
    site.must_read(&["import", "ykval", "-"], &export);
    assert!(site.must(&["sync", "resync"]).contains("1 token sent"));
    drop(server);
    old.answers(false);
    for (args, code) in [
        (&["sync", "resync"][..], "sync-peer-unreachable"),
        (&["sync", "resync", "nobody"], "sync-not-configured"),
    ] {
        let output = site.command(args).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(code), "{said}");
    }
}

#[test]
fn without_a_pool_there_are_no_peers() {
    let site = Site::sqlite();
    for verb in ["status", "resync"] {
        let output = site.command(&["sync", verb]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains("[sync-not-configured]"), "{said}");
    }
}

/// What `check` says about peers.
#[test]
fn peers_are_checked() {
    let (site, old) = (Site::sqlite(), YkVal::new());
    let check = |settings: &str| {
        site.settings(settings);
        let output = site.command(&["check", "--json"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let said = check(&pool(&[old.address()]));
    assert!(said.contains("takes messages from this host") && !said.contains("\"sync-"), "{said}");
    let peers = "{ url = \"http://peer.invalid/wsapi/2.0/sync\" }";
    let said = check(&format!("[sync]\npeers = [{peers}]"));
    for code in ["sync-without-tls", "sync-from-missing", "sync-peer-unreachable"] {
        assert!(said.contains(&format!("\"{code}\"")), "{code}: {said}");
    }
    for (peers, code) in [
        ("", "setting-invalid"),
        ("{ url = \"ftp://old/wsapi/2.0/sync\" }", "sync-url-invalid"),
        ("{ url = \"https://u:p@old/wsapi/2.0/sync?otp=\" }", "sync-url-invalid"),
        ("{ url = \"https://old/wsapi/2.0/sync\", from = \"old.example.org\" }", "setting-invalid"),
        ("{ url = \"https://old/wsapi/2.0/sync\", from = \"0.0.0.0/0\" }", "setting-invalid"),
        ("{ url = \"https://old/x\" }, { url = \"https://old/x\" }", "settings-conflict"),
        ("{ from = \"192.0.2.1\" }", "setting-invalid"),
    ] {
        let said = check(&format!("[sync]\npeers = [{peers}]"));
        assert!(said.contains(&format!("\"{code}\"")), "{peers}: {said}");
        assert!(!said.contains("u:p"), "{said}");
    }
}

/// From an address of this host that no peer has.
#[test]
fn strangers_raise_nothing() {
    let site = Site::sqlite();
    site.settings("[sync]\npeers = [{ url = \"http://127.0.0.1:9/wsapi/2.0/sync\", from = \"127.0.0.7\" }]");
    let mut key = SoftYubiKey::numbered(1);
    site.import(std::slice::from_ref(&key));
    let server = site.start();
    let otp = key.press();
    let message = format!(
        "/wsapi/2.0/sync?otp={otp}&modified=1796027733&yk_publicname={}&yk_counter=1&yk_use=0&yk_high=1&yk_low=1\
         &nonce=0123456789abcdef",
        key.public_id()
    );
    assert_eq!(get(server.address(), &message).unwrap().says(), "OPERATION_NOT_ALLOWED");
    assert_eq!(says(&site, &server, &otp, "0"), ok("0"));
    let metrics = get(server.address(), "/metrics").unwrap().body;
    assert!(metrics.contains("ykvald_sync_received_total{outcome=\"refused\"} 1"), "{metrics}");
}
