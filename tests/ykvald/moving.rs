//! docs/moving-from-yk-val.md, followed unchanged, with exports of Yubico's own programs
//! (tests/vectors/yk-val): the old server and the new one are one folder.

use crate::sync::YkVal;
use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;
use tests::built;
use tests::soft_yubikey::SoftYubiKey;
use tests::ykvald::{Client, Question, Site, Ykvald};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn vector(name: &str) -> String {
    fs::read_to_string(root().join("tests/vectors/yk-val").join(name)).unwrap()
}

/// The commands of one section of the page, block by block.
fn blocks(heading: &str) -> Vec<String> {
    let page = fs::read_to_string(root().join("docs/moving-from-yk-val.md")).unwrap();
    let (_, section) =
        page.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    let section = section.split("\n## ").next().unwrap();
    let blocks: Vec<_> = section
        .split("\n```sh\n")
        .skip(1)
        .map(|block| block.split("\n```").next().unwrap().to_owned())
        .collect();
    assert!(!blocks.is_empty(), "{heading} shows no command");
    blocks
}

/// The line of a public ID whose AES key another line has, too.
const TWIN: &str = "ccccccdbjrgf";
/// What `ykksm-checksum` says of the other four: the first ten hex digits of a SHA-1, counted by hand.
const CHECKSUM: &str = "089e2f8c9e";

/// Where the page is followed. `systemctl`, and the programs of YK-VAL and YK-KSM, are there and do nothing but say
/// what they said.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        fs::create_dir(desk.path().join("bin")).unwrap();
        let vectors = root().join("tests/vectors/yk-val").display().to_string();
        for (program, file) in
            [("ykval-export", "ykval-export.csv"), ("ykval-export-clients", "ykval-export-clients.csv")]
        {
            desk.program(program, &format!("cat {vectors}/{file}"));
        }
        // Its five keys are four: one is there under two public IDs, which has to be settled before it can be moved.
        desk.program("ykksm-export", &format!("grep -v {TWIN} {vectors}/ykksm-export.csv"));
        desk.program("ykksm-checksum", &format!("echo {CHECKSUM}"));
        desk.program("systemctl", "echo \"$@\" >> systemctl.log");
        let ykvald = built::program("ykvald").display().to_string();
        desk.program(
            "ykvald",
            &format!("exec {ykvald} --config {}/config.toml \"$@\"", desk.path().display()),
        );
        desk
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn program(&self, name: &str, does: &str) {
        let path = self.path().join("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{does}\n")).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }

    /// Sets the future export of the old YK-VAL.
    fn old_exports(&self, counters: &str) {
        fs::write(self.path().join("later.csv"), counters).unwrap();
        self.program("ykval-export", &format!("cat {}/later.csv", self.path().display()));
    }

    /// Runs a block, and gives what it printed.
    #[track_caller]
    fn follow(&self, block: &str) -> String {
        let (said, well) = self.tried(block);
        assert!(well, "{block}: {said}");
        said
    }

    fn tried(&self, block: &str) -> (String, bool) {
        let mut shell = Command::new("sh");
        shell.arg("-ec").arg(block).current_dir(self.path()).stdin(Stdio::null());
        shell.env_clear().env("PATH", format!("{}/bin:/usr/bin:/bin", self.path().display()));
        let output = shell.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(output.stdout) + &text(output.stderr), output.status.success())
    }

    /// The server that they made.
    fn serve(self) -> (Site, Ykvald) {
        let site = Site::found(self.0);
        let server = site.start();
        (site, server)
    }
}

/// The old site's clients.
fn client(id: u64) -> Client {
    let line = vector("ykval-export-clients.csv");
    let line = line.lines().find(|line| line.starts_with(&format!("{id},"))).unwrap();
    Client { id, key: line.split(',').nth(3).unwrap().to_owned() }
}

/// A token of the old site, as far as this: usage counter and session use of its next touch.
fn token(id: &str, counter: u16, session_use: u8) -> SoftYubiKey {
    let line = vector("ykksm-export.csv");
    let fields: Vec<_> = line.lines().find(|line| line.contains(id)).unwrap().split(',').collect();
    let hex = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
    let digits: String =
        id.chars().map(|c| char::from(b"0123456789abcdef"["cbdefghijklnrtuv".find(c).unwrap()])).collect();
    let mut key = SoftYubiKey::new(
        &hex(&digits),
        hex(fields[2]).try_into().unwrap(),
        hex(fields[3]).try_into().unwrap(),
    );
    assert_eq!(key.public_id(), id);
    key.set_counter(counter);
    for _ in 0..session_use {
        key.press();
    }
    assert_eq!(key.position(), (counter, session_use));
    key
}

/// Asked by a client of the old site, signed with its old key; the answer is signed with it, too.
#[track_caller]
fn asked(server: &Ykvald, by: u64, otp: &str) -> String {
    let client = client(by);
    let reply = server.connect().ask(&Question::new(&client, otp).signed(&client.key)).unwrap();
    let says = reply.says();
    let key = if says == "NO_SUCH_CLIENT" { "" } else { client.key.as_str() };
    assert!(reply.is_signed_with(key), "{reply:?}");
    says
}

/// What holds at the new server, wherever its keys are: `counter` is what dlcfffckrcde, the token in use, came to.
fn what_was_known_holds(server: &Ykvald, (counter, session_use): (u16, u8)) {
    let mut used = token("dlcfffckrcde", 41, 0);
    for _ in 0..3 {
        assert_eq!(asked(server, 1, &used.press()), "REPLAYED_OTP", "used at the old place");
    }
    let otp = token("dlcfffckrcde", counter, session_use).press();
    assert_eq!(asked(server, 1, &otp), "REPLAYED_OTP", "the last one that was used at the old place");
    let published = "idkfefrdhtrutjduvtcjbfeuvhehdvjjlbchtlenfgku";
    assert_eq!(asked(server, 1, published), "REPLAYED_OTP", "used at the old place");
    let next = token("dlcfffckrcde", counter, session_use + 1).press();
    assert_eq!(asked(server, 17, &next), "NO_SUCH_CLIENT", "switched off at the old place");
    assert_eq!(asked(server, 2, &next), "OK", "the next press, by another client");
    assert_eq!(asked(server, 1, &next), "REPLAYED_OTP");
    assert_eq!(asked(server, 1, &token("idkfefrdhtru", 1, 1).press()), "OK");
    assert_eq!(asked(server, 1, &token("vvccccccccbd", 1, 0).press()), "OK", "never used at the old place");
    assert_eq!(
        asked(server, 1, &token("vvbhchbhchcb", 900, 0).press()),
        "BAD_OTP",
        "switched off at the old place"
    );
}

/// All of the page, in its order.
#[test]
fn the_page_is_followed() {
    let desk = Desk::new();
    for heading in ["1. Export from the old servers", "2. Set up the new server"] {
        for block in blocks(heading) {
            desk.follow(&block);
        }
    }
    for export in ["ykksm-export.csv", "ykval-export.csv", "ykval-export-clients.csv"] {
        let mode = fs::metadata(desk.path().join(export)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{export}: others may read it");
    }
    let said: String = blocks("3. Import everything").iter().map(|block| desk.follow(block)).collect();
    assert!(said.contains("imported 4 keys"), "{said}");
    assert!(!said.contains("others may read it"), "{said}");
    for secret in ["ecde18dbe76fbd0c", "EHmo8FMx"] {
        assert!(!said.contains(secret), "{said}");
    }

    let compared: String = blocks("4. Compare").iter().map(|block| desk.follow(block)).collect();
    assert!(compared.contains(&format!("ykksm   {CHECKSUM}\n")), "{compared}");
    for line in ["root@example.org", "left@example.org", "idkfefrdhtru", "0 errors, 0 warnings"] {
        assert!(compared.contains(line), "{line}: {compared}");
    }

    // Between step 1 and step 5 a token was used, and another one was switched off.
    let later = vector("ykval-export.csv")
        .replace("dlcfffckrcde,41,7,", "dlcfffckrcde,42,3,")
        .replace("1,1383728716,1500000003,ccccccccccce", "0,1383728716,1500000003,ccccccccccce");
    assert_ne!(later, vector("ykval-export.csv"));
    desk.old_exports(&later);
    let said: String = blocks("5. Switch over").iter().map(|block| desk.follow(block)).collect();
    assert!(said.contains("1 raised"), "{said}");
    let did = fs::read_to_string(desk.path().join("systemctl.log")).unwrap();
    assert_eq!(did, "disable --now apache2\nenable --now ykvald\n");
    for block in blocks("6. Clean up") {
        desk.follow(&block);
    }
    for export in ["ykksm-export.csv", "ykval-export.csv", "ykval-export-clients.csv"] {
        assert!(!desk.path().join(export).exists(), "{export} is left");
    }

    let (_site, server) = desk.serve();
    what_was_known_holds(&server, (42, 3));

    let page = fs::read_to_string(root().join("docs/moving-from-yk-val.md")).unwrap();
    let steps = page.lines().filter_map(|line| line.strip_prefix("## ")).filter(|line| line.contains(". "));
    let followed: usize = steps.chain([BY_SERVER]).map(|step| blocks(step).len()).sum();
    assert_eq!(page.matches("\n```sh\n").count(), followed, "what is shown outside of the steps is not run");
}

/// The way for a site that cannot switch at once, with one old server that knows more than was imported.
const BY_SERVER: &str = "Take over server by server";

#[test]
fn server_by_server() {
    let old = YkVal::new();
    old.set("dlcfffckrcde", ["1796027733", "0123456789abcdef", "42", "3"]);
    let desk = ready();
    for command in [KEYS, COUNTERS, CLIENTS] {
        desk.follow(command);
    }
    let page = fs::read_to_string(root().join("docs/moving-from-yk-val.md")).unwrap();
    let (_, section) = page.split_once(&format!("\n## {BY_SERVER}\n")).unwrap();
    let (_, toml) = section.split_once("\n```toml\n").unwrap();
    let toml = toml.split("\n```").next().unwrap();
    let toml: String =
        toml.lines().filter(|line| !line.contains("old2")).map(|line| line.to_owned() + "\n").collect();
    let toml = toml.replace("https://old1.example.org", &format!("http://{}", old.address()));
    let config = desk.path().join("config.toml");
    let text = fs::read_to_string(&config).unwrap() + &toml;
    fs::write(&config, text).unwrap();
    for block in blocks(BY_SERVER) {
        // The old server is ahead, so resync exits with 1.
        let (said, well) = desk.tried(&block);
        assert!(!well && said.contains("[sync-peer-ahead]") && said.contains("dlcfffckrcde"), "{said}");
        desk.old_exports(&vector("ykval-export.csv").replace("dlcfffckrcde,41,7,", "dlcfffckrcde,42,3,"));
        desk.follow("ykval-export > ykval-export.csv");
        // No server runs here that would record how its peers are.
        let (said, well) = desk.tried(&block);
        assert!(!well && said.contains("Waiting") && said.contains("[sync-state-not-written]"), "{said}");
    }
    // Tokens that were used, and whose IDs are not the old server's, are known there now.
    assert!(old.knows("idkfefrdhtru"));
    let (_site, server) = desk.serve();
    what_was_known_holds(&server, (42, 3));
}

const KEYS: &str = "ykvald import ykksm ykksm-export.csv";
const COUNTERS: &str = "ykvald import ykval ykval-export.csv";
const CLIENTS: &str = "ykvald import ykval --clients ykval-export-clients.csv";

fn ready() -> Desk {
    let desk = Desk::new();
    for heading in ["1. Export from the old servers", "2. Set up the new server"] {
        for block in blocks(heading) {
            desk.follow(&block);
        }
    }
    desk
}

/// As it was exported, with one AES key under two public IDs: nothing of it is imported.
#[test]
fn one_key_under_two_ids_keeps_the_file_out() {
    let desk = ready();
    fs::write(desk.path().join("ykksm-export.csv"), vector("ykksm-export.csv")).unwrap();
    let (said, well) = desk.tried(KEYS);
    assert!(!well && said.contains(TWIN) && said.contains("idkfefrdhtru"), "{said}");
    assert!(!desk.follow("ykvald key list").contains("dlcfffckrcde"));
}

/// In any order, and repeated.
#[test]
fn in_any_order_and_any_number_of_times() {
    for order in [[CLIENTS, COUNTERS, KEYS], [COUNTERS, KEYS, CLIENTS], [KEYS, CLIENTS, COUNTERS]] {
        let desk = ready();
        for command in order.iter().chain(&order) {
            desk.follow(command);
        }
        let (_site, server) = desk.serve();
        what_was_known_holds(&server, (41, 7));
    }
}

/// Counters only grow, and disabled tokens stay disabled: an older export changes nothing back.
#[test]
fn an_older_export_changes_nothing() {
    let desk = ready();
    for command in [KEYS, COUNTERS, CLIENTS] {
        desk.follow(command);
    }
    let older: String =
        vector("ykval-export.csv").replace(",41,7,", ",5,0,").replace(",1,0,36160,", ",-1,-1,-1,");
    let older = older
        .replace("0,1383728714", "1,1383728714")
        .replace("36160,15", "-1,-1")
        .replace("-1,-1,-1,15", "-1,-1,-1,-1");
    fs::write(desk.path().join("ykval-export.csv"), &older).unwrap();
    let said = desk.follow(COUNTERS);
    assert!(said.contains("0 raised"), "{said}");
    let clients = vector("ykval-export-clients.csv").replace("17,0,", "17,1,");
    fs::write(desk.path().join("ykval-export-clients.csv"), clients).unwrap();
    desk.follow(CLIENTS);
    let (_site, server) = desk.serve();
    what_was_known_holds(&server, (41, 7));
}

/// YK-VAL of older days put tabs between the fields.
#[test]
fn with_tabs_between_the_fields() {
    let desk = ready();
    for name in ["ykval-export.csv", "ykval-export-clients.csv"] {
        // Of the notes one has commas.
        let tabbed: String = vector(name).replace(',', "\t").replace("first\t of", "first, of");
        fs::write(desk.path().join(name), tabbed).unwrap();
    }
    for command in [KEYS, COUNTERS, CLIENTS] {
        desk.follow(command);
    }
    let (site, server) = desk.serve();
    assert!(site.must(&["client", "list"]).contains("root@example.org"));
    what_was_known_holds(&server, (41, 7));
}

/// A client that is here with another key keeps the whole file out: what its hosts sign with would be lost.
#[test]
fn an_id_that_is_taken_keeps_the_file_out() {
    let desk = ready();
    desk.follow("ykvald client add --name other");
    let (said, well) = desk.tried(CLIENTS);
    assert!(!well && said.contains("[client-has-other-key]"), "{said}");
    assert!(!desk.follow("ykvald client list").contains("root@example.org"));
}

/// "Keys that stay in YK-KSM for now": decided by the counters that came over, and the same once the key comes after.
#[test]
fn keys_that_stay_where_they_are() {
    let page = fs::read_to_string(root().join("docs/moving-from-yk-val.md")).unwrap();
    let (_, section) = page.split_once("\n## Keys that stay in YK-KSM for now\n").unwrap();
    let (_, toml) = section.split_once("\n```toml\n").unwrap();
    let toml = toml.split("\n```").next().unwrap();

    let desk = ready();
    for command in [COUNTERS, CLIENTS] {
        desk.follow(command);
    }
    // Used at the old place; disabled there; new.
    let presses = [("dlcfffckrcde", 41, 7), ("vvbhchbhchcb", 900, 0), ("dlcfffckrcde", 42, 3)]
        .map(|(id, counter, session_use)| (token(id, counter, session_use).press(), counter, session_use));
    let keeper = ykksm(presses.to_vec());
    assert!(toml.contains("http://127.0.0.1:8002/"), "{toml}");
    let config = desk.path().join("config.toml");
    let text = fs::read_to_string(&config).unwrap() + &toml.replace("127.0.0.1:8002", &keeper);
    fs::write(&config, text).unwrap();

    let (site, server) = desk.serve();
    let said = presses.map(|(otp, ..)| asked(&server, 1, &otp));
    assert_eq!(said, ["REPLAYED_OTP", "BAD_OTP", "OK"], "{}", server.log());
    // While the server runs.
    site.must(&["import", "ykksm", site.path().join("ykksm-export.csv").to_str().unwrap()]);
    what_was_known_holds(&server, (42, 3));
}

/// A YK-KSM in few words, that can decrypt these OTPs. Its address.
fn ykksm(knows: Vec<(String, u16, u8)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let first = lines.next().unwrap().unwrap();
            lines.find(|line| line.as_ref().is_ok_and(String::is_empty));
            let known = knows.iter().find(|(otp, ..)| first.contains(&format!("/wsapi/decrypt?otp={otp}")));
            let body = known.map_or("ERR Unknown yubikey\n".to_owned(), |(_, counter, session_use)| {
                format!("OK counter={counter:04x} low=1234 high=56 use={session_use:02x}\n")
            });
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).unwrap();
        }
    });
    address
}
