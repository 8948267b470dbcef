//! `ykvald init`: what it creates, with which modes, and what it does not touch.

use crate::desk::{Desk, chmod, is_root, mode, run, ykvald};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};
use tests::built;
use tests::host::Host;
use tests::stopped::stopped_at;

#[test]
fn modes_whatever_the_umask() {
    for umask in ["000", "022", "077", "777"] {
        let desk = Desk::bare();
        let mut shell = Command::new("sh");
        shell.args(["-c", "umask $0; exec \"$@\"", umask]).arg(built::program("ykvald"));
        run(shell.args(["init", "--dir"]).arg(desk.dir())).exits(0);
        for (name, wanted) in
            [("", 0o700), ("config.toml", 0o644), ("store.key", 0o600), ("ykvald.db", 0o600)]
        {
            let path = if name.is_empty() { desk.dir() } else { desk.file(name) };
            assert_eq!(mode(&path), wanted, "umask {umask}: {name}");
        }
        let names = fs::read_dir(desk.dir()).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(names.into_iter().all(|name| !name.to_string_lossy().starts_with('.')), "something was left");
        desk.ykvald(&["client", "list"]).exits(0).says("first");
    }
}

/// The key is shown once, in the lines that a client needs, and is nowhere in the clear.
#[test]
fn tells_the_first_client_what_it_needs() {
    let desk = Desk::bare();
    let said = run(ykvald().args(["init", "--name", "gate", "--dir"]).arg(desk.dir())).exits(0);
    let key = said.out.split_once("has the key ").unwrap().1.lines().next().unwrap().to_owned();
    assert_eq!(key.len(), 28, "{key}");
    let url = "http://127.0.0.1:8000/wsapi/2.0/verify";
    let said = said
        .says("client 1 (gate) has the key")
        .says(&format!("[online]\n  urls = [\"{url}\"]\n  client_id = 1\n  api_key_file = \"client.key\""))
        .says("\n  mode = \"online\"\n") // for a configuration that names another
        .says(&format!("auth required pam_yubico.so id=1 key={key} urllist={url} mode=client"));
    assert!(!said.err.contains(&key));
    for entry in fs::read_dir(desk.dir()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let raw = data_encoding::BASE64.decode(key.as_bytes()).unwrap();
        assert!(!bytes.windows(raw.len()).any(|part| part == raw), "{} holds the key", path.display());
        assert!(!bytes.windows(key.len()).any(|part| part == key.as_bytes()), "{}", path.display());
    }

    // Again, it keeps everything and makes no second client.
    let (config, store_key) =
        (fs::read(desk.file("config.toml")).unwrap(), fs::read(desk.file("store.key")).unwrap());
    let again = run(desk.command().arg("init")).exits(0);
    assert!(!again.out.contains("created ") && !again.out.contains("client 1"), "{again:?}");
    for name in ["config.toml", "store.key", "ykvald.db"] {
        assert!(again.out.contains(&format!("kept {}", desk.file(name).display())), "{again:?}");
    }
    assert_eq!(fs::read(desk.file("config.toml")).unwrap(), config);
    assert_eq!(fs::read(desk.file("store.key")).unwrap(), store_key);
    assert_eq!(desk.ykvald(&["client", "list", "--json"]).json().as_array().unwrap().len(), 1);
}

#[test]
fn for_scripts_and_packages() {
    let desk = Desk::bare();
    let made = run(ykvald().args(["init", "--json", "--dir"]).arg(desk.dir())).exits(0).json();
    assert_eq!(made["client"]["id"], 1);
    assert_eq!(made["client"]["key"].as_str().unwrap().len(), 28);
    assert_eq!(made["made"].as_array().unwrap().len(), 4, "folder, settings, key, store: {made}");

    let desk = Desk::bare();
    let said = run(ykvald().args(["init", "--no-client", "--dir"]).arg(desk.dir())).exits(0);
    let secret = fs::read_to_string(desk.file("store.key")).unwrap();
    let secret = secret.lines().find_map(|line| line.strip_prefix("key: ")).unwrap();
    assert!(!said.out.contains(secret) && !said.out.contains("key="), "{said:?}");
    assert_eq!(said.out.lines().count(), 4, "{said:?}");
    assert_eq!(desk.ykvald(&["client", "list", "--json"]).exits(0).json().as_array().unwrap().len(), 0);
}

/// No new store key is ever created beside an existing store.
#[test]
fn a_store_key_that_is_missing_stays_missing() {
    let desk = Desk::new();
    let key = fs::read(desk.file("store.key")).unwrap();
    fs::rename(desk.file("store.key"), desk.beside("store.key")).unwrap();
    run(desk.command().arg("init")).refuses("[store-key-missing]");
    assert!(!desk.file("store.key").exists());
    fs::write(desk.file("store.key"), "something else\n").unwrap();
    chmod(&desk.file("store.key"), 0o600);
    run(desk.command().arg("init")).refuses("[store-key-damaged]");
    // that of another store
    let other = Desk::new();
    fs::copy(other.file("store.key"), desk.file("store.key")).unwrap();
    run(desk.command().arg("init")).refuses("[database-under-other-store-key]");
    fs::write(desk.file("store.key"), key).unwrap();
    run(desk.command().arg("init")).exits(0);
    chmod(&desk.file("store.key"), 0o644);
    run(desk.command().arg("init")).refuses("[file-readable-by-others]");
}

#[test]
fn says_where_another_store_is() {
    let desk = Desk::bare();
    let init = |args: &[&str]| run(ykvald().args(["init", "--dir"]).arg(desk.dir()).args(args));
    init(&["--store", "postgres://ykvald:hunter2@127.0.0.1:1/ykvald"]).refuses("it holds a password");
    assert!(!desk.dir().exists());
    let elsewhere = desk.beside("elsewhere.db");
    init(&["--no-client", "--store", elsewhere.to_str().unwrap()]).exits(0);
    assert!(elsewhere.is_file() && !desk.file("ykvald.db").exists());
    init(&["--store", "other.db"]).refuses("[config-exists]");
    // The same as configured, as when a refused one is repeated.
    init(&["--no-client", "--store", elsewhere.to_str().unwrap()]).exits(0);

    // A database that cannot be reached: files that were created before are there for the next time.
    let desk = Desk::bare();
    let mut command = ykvald();
    let at = ["--store", "postgres://ykvald@127.0.0.1:1/ykvald", "--password-file", "/etc/ykvald/password"];
    let refused = run(command.args(["init", "--dir"]).arg(desk.dir()).args(at));
    assert_eq!(refused.code, Some(2), "{refused:?}");
    let config = fs::read_to_string(desk.file("config.toml")).unwrap();
    assert!(config.contains("store = \"postgres://ykvald@127.0.0.1:1/ykvald\"\n"), "{config}");
    assert!(config.contains("\n[postgres]\npassword_file = \"/etc/ykvald/password\"\n"), "{config}");
}

/// Cut off between key and store, init continues. Once there was a store, it makes no second one.
#[test]
fn a_store_that_is_gone_was_lost() {
    let desk = Desk::new();
    fs::remove_file(desk.file("ykvald.db")).unwrap();
    for arguments in [&["init"][..], &["init", "--no-client"]] {
        run(desk.command().args(arguments))
            .refuses(&format!("ykvald --config {} init --start-anew", desk.file("config.toml").display()));
    }
    assert!(!desk.file("ykvald.db").exists());

    let unfinished = desk.file("store.key.init-unfinished");
    fs::write(&unfinished, "").unwrap();
    desk.ykvald(&["client", "list"]).refuses("[init-unfinished]");
    run(desk.command().args(["init", "--no-client"])).exits(0);
    assert!(!unfinished.exists() && desk.file("ykvald.db").exists());
    // It stays behind where init was killed after it had made the store: then the next command takes it away.
    fs::write(&unfinished, "").unwrap();
    desk.ykvald(&["client", "list"]).exits(0);
    assert!(!unfinished.exists());
}

/// Of many that begin together, one creates the store key, and one the client.
#[test]
fn at_once_one_makes_it() {
    for round in 0..5 {
        let desk = Desk::bare();
        let begin = |_| {
            let mut command = ykvald();
            command.args(["init", "--json", "--dir"]).arg(desk.dir());
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let children: Vec<_> = (0..4).map(begin).collect();
        let (mut keys, mut clients) = (0, 0);
        for child in children {
            let output = child.wait_with_output().unwrap();
            let said: serde_json::Value = serde_json::from_slice(&output.stdout)
                .unwrap_or_else(|_| panic!("round {round}: {}", String::from_utf8_lossy(&output.stderr)));
            let key = desk.file("store.key").to_str().unwrap().into();
            keys += usize::from(said["made"].as_array().unwrap().contains(&key));
            clients += usize::from(!said["client"].is_null());
        }
        assert_eq!((keys, clients), (1, 1), "round {round}");
        run(desk.command().arg("init")).exits(0);
    }
}

/// Between two steps of one, another makes everything: whatever was missing a moment ago is there now.
#[test]
fn another_comes_between() {
    for (file, calls) in [
        ("config.toml", "statx"),
        ("store.key", "?open,openat"),
        ("ykvald.db", "?newfstatat"),
        ("store.key.init-unfinished", "linkat"),
    ] {
        let desk = Desk::bare();
        let mut slow = ykvald();
        slow.args(["init", "--json", "--dir"]).arg(desk.dir());
        let whole = || {
            run(ykvald().args(["init", "--dir"]).arg(desk.dir())).exits(0);
        };
        let slow = match stopped_at(&slow, calls, &desk.file(file), whole) {
            Ok(slow) => slow,
            Err(why) => return tests::skip(&why),
        };
        let said: serde_json::Value = serde_json::from_slice(&slow.stdout).unwrap();
        assert!(said["made"].is_array() && slow.status.success(), "{file}: {said}");
        assert_eq!(desk.ykvald(&["client", "list", "--json"]).exits(0).json().as_array().unwrap().len(), 1);
        assert!(!desk.file("store.key.init-unfinished").exists());
    }
}

/// Settings and store key are root's, and the store is the server's.
#[test]
fn the_system_paths() {
    if !is_root() {
        return tests::skip("needs root");
    }
    for with_user in [false, true] {
        let host = match Host::start() {
            Ok(host) => host,
            Err(why) => return tests::skip(&why),
        };
        let ykvald = host.path().join("ykvald");
        fs::copy(built::program("ykvald"), &ykvald).unwrap();
        let ykvald = ykvald.to_str().unwrap();
        if with_user {
            for (file, line) in [("passwd", "ykvald:x:971:972::/:/bin/false"), ("group", "ykvald:x:972:")] {
                let script = format!("echo {line} >> /etc/{file}");
                assert!(host.run(&["sh", "-c", &script]).status.success());
            }
        }
        let script = format!("umask 077; exec {ykvald} init");
        let init = host.run(&["sh", "-c", &script]);
        assert_eq!(init.status.code(), Some(0), "{}", String::from_utf8_lossy(&init.stderr));
        let (user, group) = if with_user { (971, 972) } else { (0, 0) };
        for (path, wanted, owner) in [
            ("/etc/ykvald", 0o755, (0, 0)),
            ("/etc/ykvald/config.toml", if with_user { 0o640 } else { 0o644 }, (0, group)),
            ("/etc/ykvald/store.key", 0o600, (0, 0)),
            ("/var/lib/ykvald", 0o700, (user, group)),
            ("/var/lib/ykvald/ykvald.db", 0o600, (user, group)),
        ] {
            let inside = host.inside(path);
            let metadata = fs::metadata(&inside).unwrap();
            assert_eq!(mode(&inside), wanted, "{path}");
            assert_eq!((metadata.uid(), metadata.gid()), owner, "{path}");
        }
        // Root continues with it, and the files that it creates belong to the server.
        for arguments in
            [&["client", "add", "--name", "two"][..], &["client", "list"], &["init"], &["checksum"]]
        {
            let done = host.run(&[&[ykvald], arguments].concat());
            assert_eq!(done.status.code(), Some(0), "{arguments:?} {done:?}");
        }
        for entry in fs::read_dir(host.inside("/var/lib/ykvald")).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(fs::metadata(&path).unwrap().uid(), user, "{}", path.display());
        }
    }
}
