//! The store is moved to another one while servers answer: no OTP is accepted twice, wherever the move is killed.

use crate::load::{assert_used, deal, press};
use std::fs::{self, Permissions};
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tests::built::program;
use tests::postgres::Cluster;
use tests::ykvald::{Question, Site, Ykvald, free_port, get};

/// The new store, as a configuration file beside that of the site.
struct New {
    config: PathBuf,
}

impl New {
    fn store(site: &Site, store: &str) -> Self {
        let config = site.path().join("new.toml");
        fs::write(&config, format!("store = {store:?}\n[limits]\ntoken_rate = 0\n")).unwrap();
        fs::set_permissions(&config, Permissions::from_mode(0o600)).unwrap();
        Self { config }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program("ykvald"));
        command.arg("--config").arg(&self.config).args(args);
        command
    }

    fn start(&self, site: &Site) -> Ykvald {
        let address = (Ipv4Addr::LOCALHOST, free_port()).into();
        site.run(self.command(&["serve", "--listen", &format!("{address}")]), address)
    }

    /// Moves the store of the site here.
    fn fill(&self, site: &Site) -> Command {
        let mut command = site.command(&["--json", "move-store"]);
        command.arg(site.path().join("config.toml")).arg(&self.config);
        command
    }

    /// Moves it back.
    fn empty(&self, site: &Site) -> Command {
        let mut command = site.command(&["--json", "move-store"]);
        command.arg(&self.config).arg(site.path().join("config.toml"));
        command
    }
}

fn must(mut command: Command) -> serde_json::Value {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn is_refused(output: &Output, code: &str) -> bool {
    let said = String::from_utf8_lossy(&output.stderr);
    output.status.code() == Some(2) && said.contains(&format!("[{code}]"))
}

fn ask(server: &Ykvald, site: &Site, otp: &str) -> String {
    server.connect().ask(&Question::new(site.client(), otp).signed(&site.client().key)).unwrap().says()
}

fn until_ready(server: &Ykvald, status: u16) {
    let begun = Instant::now();
    while get(server.address(), "/readyz").unwrap().status != status {
        assert!(begun.elapsed() < Duration::from_secs(8), "its readiness does not become {status}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// The store of the site, and the new one.
fn with_pair(from_postgres: bool, to_postgres: bool, test: impl FnOnce(&Site, &New)) {
    let cluster = match Cluster::shared() {
        Ok(cluster) => Some(cluster),
        Err(why) if from_postgres || to_postgres => return tests::skip(&why),
        Err(_) => None,
    };
    let site = match cluster {
        Some(cluster) if from_postgres => Site::on(cluster),
        _ => Site::sqlite(),
    };
    let new = match cluster {
        Some(cluster) if to_postgres => New::store(&site, &cluster.database()),
        _ => New::store(&site, "new.db"),
    };
    test(&site, &new);
}

#[test]
fn under_load_from_sqlite_to_postgres() {
    with_pair(false, true, under_load);
}

#[test]
fn under_load_from_postgres_to_postgres() {
    with_pair(true, true, under_load);
}

#[test]
fn killed_from_sqlite_to_sqlite() {
    with_pair(false, false, killed);
}

#[test]
fn killed_from_postgres_to_sqlite() {
    with_pair(true, false, killed);
}

fn under_load(site: &Site, new: &New) {
    let mut keys = deal(site, 9000..9040, 4);
    let old = site.start();
    let before = site.must(&["checksum"]);
    let pressed = press(old.address(), site.client(), &mut keys, |progress| {
        progress.wait_for(40);
        let done = must(new.fill(site));
        assert_eq!((&done["changed"], &done["tokens"]), (&true.into(), &40.into()), "{done}");
        thread::sleep(Duration::from_millis(100));
    });
    until_ready(&old, 503);
    old.wait_for_log("code=database-moved");
    let (mut accepted, mut unknown) = (Vec::new(), Vec::new());
    for one in pressed.into_iter().flatten() {
        match one.said.as_deref() {
            Ok("OK") => accepted.push(one.otp),
            Ok("BACKEND_ERROR") => unknown.push(one.otp),
            other => panic!("{other:?}"),
        }
    }
    assert!(!unknown.is_empty(), "the load ended before the fence");
    let server = new.start(site);
    assert_used(server.address(), site.client(), &accepted, "after the move");
    // Each is good once at most.
    unknown.truncate(200);
    for otp in &unknown {
        let said = ask(&server, site, otp);
        assert!(said == "OK" || said == "REPLAYED_OTP", "{said}");
    }
    assert_used(server.address(), site.client(), &unknown, "offered once more");
    let checksum = new.command(&["checksum"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&checksum.stdout), before);
    assert!(is_refused(&site.command(&["client", "list"]).output().unwrap(), "database-moved"));
    let check = site.command(&["check"]).output().unwrap();
    assert_eq!(check.status.code(), Some(2), "{check:?}");
    assert!(String::from_utf8_lossy(&check.stdout).contains("[database-moved]"), "{check:?}");
    // The new configuration may take the place of the old one, and finds there what the move saw.
    assert!(site.path().join("postgres.seen").exists());

    // Once more changes nothing.
    assert_eq!(must(new.fill(site))["changed"], false);
    assert!(is_refused(
        &site.command(&["move-store", "--abandon", "config.toml"]).current_dir(site.path()).output().unwrap(),
        "database-moved"
    ));

    // And back: the old server goes on by itself.
    let otp = keys[0][0].press();
    assert_eq!(ask(&server, site, &otp), "OK");
    assert_eq!(must(new.empty(site))["changed"], true);
    until_ready(&server, 503);
    until_ready(&old, 200);
    assert_used(old.address(), site.client(), &accepted, "after the move back");
    assert_used(old.address(), site.client(), &[otp], "accepted by the new store");
    assert_eq!(ask(&server, site, &keys[0][0].press()), "BACKEND_ERROR");
    assert_eq!(ask(&old, site, &keys[0][0].press()), "OK");
}

/// The move is killed again and again, and abandoned now and then.
fn killed(site: &Site, new: &New) {
    let mut keys = site.keys(10_000..12_000);
    let old = site.start();
    let mut used = Vec::new();
    let (mut was_fenced, mut ended) = (0, false);
    for pause in [10, 25, 40, 55, 70, 85, 100, 130, 160, 200, 250, 300] {
        let mut moving = new.fill(site);
        let mut moving = moving.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_millis(pause));
        let _may_have_ended = moving.kill();
        ended |= moving.wait().unwrap().success();
        let key = keys.first_mut().unwrap();
        let otp = key.press();
        let said = ask(&old, site, &otp);
        let new_is_usable = new.command(&["client", "list"]).output().unwrap();
        if said == "OK" {
            used.push(otp);
            let said = String::from_utf8_lossy(&new_is_usable.stdout).into_owned();
            // At most it was created.
            assert!(!new_is_usable.status.success() || !said.contains("a test's"), "both are usable: {said}");
            continue;
        }
        assert_eq!(said, "BACKEND_ERROR");
        was_fenced += 1;
        if new_is_usable.status.success() {
            ended = true;
            break;
        }
        assert!(is_refused(&new_is_usable, "database-move-unfinished"), "{new_is_usable:?}");
        let abandoned = site
            .command(&["--json", "move-store", "--abandon"])
            .arg(site.path().join("config.toml"))
            .output();
        if abandoned.unwrap().status.success() {
            let otp = key.press();
            assert_eq!(ask(&old, site, &otp), "OK", "the move was abandoned");
            used.push(otp);
        }
    }
    println!("{} accepted between kills, fenced after {was_fenced}, ended: {ended}", used.len());
    must(new.fill(site));
    assert_eq!(ask(&old, site, &keys[1].press()), "BACKEND_ERROR");
    let server = new.start(site);
    assert_used(server.address(), site.client(), &used, "accepted by the old store");
    assert_eq!(ask(&server, site, &keys[0].press()), "OK");
}
