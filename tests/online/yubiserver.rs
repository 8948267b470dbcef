//! Debian's yubiserver: a validation server that nobody here wrote.

use crate::world::{Outcome, outcome};
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, thread};
use tempfile::TempDir;
use tests::built;
use tests::network::Namespace;
use tests::place::Place;
use tests::soft_yubikey::SoftYubiKey;
use tests::validation::{Fields, signature};

const INIT: &str = "/etc/yubiserver/yubiserver.sqlite.init";
const ADDRESS: &str = "127.0.0.1:8000";

/// The server, in a network of its own: it listens on every address that there is.
struct Yubiserver {
    network: Namespace,
    /// The key of client 1, as its administrator gets it.
    api_key: String,
    folder: TempDir,
}

impl Yubiserver {
    fn start(key: &SoftYubiKey) -> Result<Self, String> {
        if !Path::new(INIT).exists() {
            return Err("needs yubiserver".to_owned());
        }
        let network = Namespace::new()?;
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("db");
        fs::copy(INIT, &database).unwrap();
        let admin = |arguments: &[&str]| {
            let output =
                Command::new("yubiserver-admin").arg("-b").arg(&database).args(arguments).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        admin(&["-y", "-a", "alice", &key.public_id(), &key.private_id_hex(), &key.aes_key_hex()]);
        let said = admin(&["-p", "-a", "host", "12345678901234567890"]);
        let api_key = said.lines().find_map(|line| line.strip_prefix("New API key for 'host': ")).unwrap();
        // It gives up root, and says OK for ever where it then cannot write to its database.
        let given = Command::new("chown").args(["-R", "yubiserver"]).arg(folder.path()).status().unwrap();
        assert!(given.success());
        let mut command = Command::new("yubiserver");
        command.arg("-d").arg(&database).arg("-l").arg(folder.path().join("log")).args(["-p", "8000"]);
        assert!(network.inside(&command).output().unwrap().status.success());
        let address: SocketAddr = ADDRESS.parse().unwrap();
        let begun = Instant::now();
        while network.connect(address).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(10), "it does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(Self { network, api_key: api_key.to_owned(), folder })
    }

    fn login(&self, place: &Place, otp: &str, what: &str) -> Outcome {
        let drive = self.network.inside(&place.whole_login("otp", "alice", &[otp]));
        let outcome = outcome(&place.run(drive), Duration::ZERO);
        println!("{what:20} {} {}", outcome.code, outcome.reason());
        outcome
    }
}

/// The fields of its reply to a question in plain words, in order.
fn fields(server: &Yubiserver, query: &str) -> Fields {
    let mut stream = server.network.connect(ADDRESS.parse().unwrap()).unwrap();
    // In one piece: it takes the first that it reads for all of it.
    stream.write_all(format!("GET /wsapi/2.0/verify?{query} HTTP/1.0\r\n\r\n").as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    let (_, body) = reply.split_once("\r\n\r\n").unwrap();
    println!("{body}");
    body.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

/// Whether its `h` is right for all fields but these.
fn signs(server: &Yubiserver, fields: &Fields, but: &[&str]) -> bool {
    let key = data_encoding::BASE64.decode(server.api_key.as_bytes()).unwrap();
    let signed: Vec<_> =
        fields.iter().filter(|(name, _)| name != "h" && !but.contains(&name.as_str())).cloned().collect();
    fields.iter().any(|(name, value)| name == "h" && *value == signature(&key, &signed))
}

/// It leaves the position out of the signature of an OK, which anybody on the way could then change: such an OK is not
/// believed. Its no is signed as it should be, and counts.
#[test]
fn yubiserver() {
    let (place, mut key) = (Place::new(), SoftYubiKey::numbered(270));
    let server = match Yubiserver::start(&key) {
        Ok(server) => server,
        Err(why) => return tests::skip(&why),
    };
    const POSITION: [&str; 3] = ["timestamp", "sessioncounter", "sessionuse"];
    let query = |otp: &str| format!("id=1&otp={otp}&nonce=kakakakakakakakakakakaka");
    let without = fields(&server, &query(&key.press()));
    assert!(signs(&server, &without, &[]), "without a position: {without:?}");
    let with = fields(&server, &(query(&key.press()) + "&timestamp=1"));
    assert!(POSITION.iter().all(|name| with.iter().any(|(own, _)| own == name)), "{with:?}");
    assert!(!signs(&server, &with, &[]) && signs(&server, &with, &POSITION), "{with:?}");

    place.enrol("alice", &key);
    let base = format!("http://{ADDRESS}");
    let settings = format!("api_key = {:?}", server.api_key);
    place.online_without_key("online", std::slice::from_ref(&base), &settings);
    let otp = key.press();
    // As the login that follows, and without one.
    let mut doctor = Command::new(built::program("ykmap"));
    doctor.arg("--config").arg(place.config()).args(["doctor", "--json"]);
    let doctor = server.network.inside(&doctor).output().unwrap();
    let said = String::from_utf8_lossy(&doctor.stdout);
    assert!(said.contains("yubiserver 0.6") && said.contains("no login can succeed"), "{said}");
    server.login(&place, &otp, "OK").assert("PAM_AUTHINFO_UNAVAIL", &[&base, "(OK)", "signature"], "OK");
    server.login(&place, &otp, "the same").assert("PAM_AUTH_ERR", &[&base, "REPLAYED_OTP"], "again");
    let stranger = SoftYubiKey::numbered(271);
    place.list("alice", &stranger);
    let otp = stranger.clone().press();
    server.login(&place, &otp, "unknown").assert("PAM_AUTH_ERR", &[&base, "BAD_OTP"], "unknown");
    place.online_without_key("online-then-offline", &[base], &settings);
    // It answers, and what it says does not count.
    server.login(&place, &key.press(), "then offline").assert(
        "PAM_AUTHINFO_UNAVAIL",
        &["so this host does not decide", "signature"],
        "then offline",
    );
    // Without the client's key there is no signature to be wrong: what proves the server is the way to it.
    place.online_without_key("online", &[format!("http://{ADDRESS}")], "");
    place.list("alice", &key);
    server.login(&place, &key.press(), "no api_key").assert("PAM_SUCCESS", &[], "no api_key");
    assert!(
        fs::read_to_string(server.folder.path().join("log")).unwrap().contains(" YUBIKEY OK"),
        "it was asked"
    );
}
