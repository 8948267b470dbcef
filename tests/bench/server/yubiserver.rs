//! Debian's yubiserver beside it. It listens on every address that there is, so it gets a network of its own, in which
//! this program, started anew, asks it.

use crate::load::{self, Load};
use crate::process;
use crate::requests::{Requests, Tokens};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};
use tempfile::TempDir;
use tests::network::Namespace;
use tests::soft_yubikey::SoftYubiKey;
use tests::ykvald::Client;

/// The first argument of the one that asks.
pub(crate) const ASKS: &str = "asks-yubiserver";
const INIT: &str = "/etc/yubiserver/yubiserver.sqlite.init";
const ADDRESS: &str = "127.0.0.1:8000";
/// Its own command adds one at a time, with several syncs each.
pub(crate) const TOKENS: usize = 128;
const QUESTIONS: usize = 40_000;
/// It leaves them out of its signature.
const UNSIGNED: [&str; 3] = ["timestamp", "sessioncounter", "sessionuse"];
const FIGURES: usize = 6;

/// OK a second, p50, p99 and the longest in ms, µs of processor time for each, memory in MiB.
pub(crate) type Figures = [f64; FIGURES];

/// What it came to at so many connections; or why there are no figures.
pub(crate) type Row = (usize, Result<Figures, String>);

/// At each number of connections with a server anew.
pub(crate) fn measure(connections: &[usize], time: Duration) -> Result<Vec<Row>, String> {
    if !Path::new(INIT).exists() {
        return Err("yubiserver is not installed".to_owned());
    }
    let (folder, client) = set_up();
    let few = connections.iter().filter(|number| **number <= TOKENS);
    Ok(few.map(|&number| (number, one(&folder, &client, number, time))).collect())
}

fn one(made: &TempDir, client: &Client, connections: usize, time: Duration) -> Result<Figures, String> {
    let network = Namespace::new()?;
    let folder = tempfile::tempdir().unwrap();
    let (database, log) = (folder.path().join("db"), folder.path().join("log"));
    fs::copy(made.path().join("db"), &database).unwrap();
    // It gives up root, and says OK for ever where it then cannot write to its database.
    assert!(Command::new("chown").args(["-R", "yubiserver"]).arg(folder.path()).status().unwrap().success());
    let mut command = Command::new("yubiserver");
    command.arg("-d").arg(&database).arg("-l").arg(log).args(["-p", "8000"]);
    assert!(network.inside(&command).output().unwrap().status.success());
    let begun = Instant::now();
    while network.connect(ADDRESS.parse().unwrap()).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(10), "it does not listen");
        thread::sleep(Duration::from_millis(20));
    }
    let pid = pid(&database).ok_or("it ended")?;
    let mut asks = Command::new(env::current_exe().unwrap());
    let (id, milliseconds) = (client.id.to_string(), time.as_millis().to_string());
    asks.args([ASKS, &pid.to_string(), &id, &client.key, &connections.to_string(), &milliseconds]);
    let output = network.inside(&asks).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let figures: Vec<f64> = said.split_whitespace().filter_map(|figure| figure.parse().ok()).collect();
    figures.try_into().map_err(|_| {
        let errors = String::from_utf8_lossy(&output.stderr);
        errors.lines().rfind(|line| !line.starts_with("note: ")).unwrap_or("it said nothing").to_owned()
    })
}

/// The child's work: it asks, and prints the results.
pub(crate) fn ask(arguments: &[String]) {
    let [pid, id, key, connections, milliseconds] = arguments else { panic!("{arguments:?}") };
    let pid = pid.parse().unwrap();
    let client = Client { id: id.parse().unwrap(), key: key.clone() };
    let connections = connections.parse().unwrap();
    let mut tokens = Tokens::new(TOKENS);
    let requests = Requests::closing(&mut tokens, &client, connections, QUESTIONS);
    let address: SocketAddr = ADDRESS.parse().unwrap();
    let time = Duration::from_millis(milliseconds.parse().unwrap());
    let load = Load { address, connections, warm: time / 4, time, closing: true, again: false };
    let mut edges = Vec::new();
    let loaded = load::run(load, &requests, || edges.push(process::processor_time(pid)));
    if !loaded.others.is_empty() {
        let all: Vec<String> =
            loaded.others.iter().map(|(what, number)| format!("{number} × {what}")).collect();
        eprintln!("beside {} OK: {}", loaded.ok, all.join(", "));
        return;
    }
    for (question, body) in &loaded.samples {
        assert!(
            requests.is_answered(*question, body, &UNSIGNED),
            "signature: {}",
            String::from_utf8_lossy(body)
        );
    }
    let ok = loaded.ok as f64;
    let processor = (edges[1] - edges[0]).as_secs_f64() * 1e6 / ok;
    let quantiles = [0.5, 0.99, 1.0].map(|part| loaded.quantile(part));
    let [p50, p99, longest] = quantiles;
    println!("{} {p50} {p99} {longest} {processor} {}", loaded.rate(), process::memory(pid).1);
}

fn set_up() -> (TempDir, Client) {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("db");
    fs::copy(INIT, &database).unwrap();
    let admin = |arguments: &[&str]| {
        let output =
            Command::new("yubiserver-admin").arg("-b").arg(&database).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    for number in 0..TOKENS {
        let key = SoftYubiKey::numbered(number.try_into().unwrap());
        let (id, private, aes) = (key.public_id(), key.private_id_hex(), key.aes_key_hex());
        admin(&["-y", "-a", &format!("user{number}"), &id, &private, &aes]);
    }
    let said = admin(&["-p", "-a", "host", "12345678901234567890"]);
    let key = said.lines().find_map(|line| line.strip_prefix("New API key for 'host': ")).unwrap();
    let key = key.to_owned();
    (folder, Client { id: 1, key })
}

/// It goes to the background: the process that has this database among its arguments.
fn pid(database: &Path) -> Option<u32> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let database = database.to_str().unwrap();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(|pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == database.as_bytes())
    })
}
