//! An older backup, and everything that was used since tried again.

use crate::host::{Host, step};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Instant;
use tests::libpam::Code;

/// Uses something of each token; what was used, by its user.
fn use_all(host: &mut Host, counter: u64) -> Vec<(&'static str, String)> {
    let mut used = Vec::new();
    for _ in 0..3 {
        used.push(("alice", host.yubikey.press()));
    }
    used.push(("bob", host.app.code(step() + counter)));
    used.push(("bob", host.codes[usize::try_from(counter).unwrap()].clone()));
    used.push(("carol", host.counting.code(counter)));
    for (user, otp) in &used {
        assert_eq!(host.answers(user, &[otp]), Code::SUCCESS, "{user} {otp}");
    }
    used
}

#[test]
fn a_disk_is_lost_and_nothing_that_was_used_is_accepted() {
    let mut host = Host::new();
    host.place.widen_window();
    let mut used = use_all(&mut host, 0);
    let file = host.backup();
    // The step was used; the next codes are of the window ahead.
    host.yubikey.replug();
    for _ in 0..3 {
        used.push(("alice", host.yubikey.press()));
    }
    used.extend([
        ("bob", host.app.code(step() + 1)),
        ("bob", host.codes[1].clone()),
        ("carol", host.counting.code(1)),
    ]);
    for (user, otp) in &used[6..] {
        assert_eq!(host.answers(user, &[otp]), Code::SUCCESS, "{user} {otp}");
    }
    host.loses_its_disk();
    let mut transcript = Transcript::default();
    let run = |transcript: &mut Transcript, arguments: &[&str]| {
        let began = Instant::now();
        let said = host.ykmap(arguments);
        transcript.note(&host, arguments, &said.out, &said.err, began);
        said
    };
    run(&mut transcript, &["backup", "--check", &file]).exits(0);
    run(&mut transcript, &["restore", "--dry-run", &file]).exits(3);
    assert!(!host.place.path("keys").join(host.yubikey.public_id()).exists(), "a dry run writes nothing");
    run(&mut transcript, &["restore", &file]).exits(0);
    run(&mut transcript, &["restore", "--dry-run", &file]).exits(0);
    run(&mut transcript, &["restore", &file]).exits(0);
    run(&mut transcript, &["list"]).exits(0);
    run(&mut transcript, &["check"]);
    transcript.write();
    // In the order in which they were used, and in the other.
    for (user, otp) in used.iter().chain(used.iter().rev()) {
        assert_ne!(host.answers(user, &[otp]), Code::SUCCESS, "{user} {otp}");
    }
    // Of what was never used: two touches, a wait, two codes at a terminal, and new codes of the set.
    assert_eq!(host.state(&host.yubikey.public_id())["restored"], true);
    for (otp, user, code) in [
        (host.app.code(step()), "bob", "clock-behind"),
        (host.counting.code(2), "carol", "token-needs-resync"),
        (host.codes[3].clone(), "bob", "recovery-code-used"),
    ] {
        let said = host.place.login("otp", user, &[&otp]);
        assert!(said.decisions()[0].contains(&format!("code={code}")), "{said:?}");
    }
    host.ykmap(&["recovery", "new", "bob"]).exits(0);
}

/// The clock of an app may be found to be further ahead after the backup. No code that it then used is in reach of the old drift.
#[test]
fn a_clock_that_went_ahead_since_the_backup() {
    let host = Host::new();
    let file = host.backup();
    let app = |name: &String| name.starts_with("oath-") && name != "oath-count3" && !name.contains('.');
    let names = fs::read_dir(host.place.path("positions")).unwrap();
    let id = names.map(|it| it.unwrap().file_name().into_string().unwrap()).find(app).unwrap();
    let position = || {
        let text =
            String::from_utf8_lossy(&fs::read(host.place.path("positions").join(&id)).unwrap()).into_owned();
        let number = |line: &str| line.strip_prefix("position: ")?.split(' ').next()?.parse::<u64>().ok();
        text.lines().filter_map(number).max().unwrap()
    };
    let ahead = step() + 100;
    let mut command = tests::scratch::command("ykmap");
    command.arg("--config").arg(host.place.config()).args(["token", "resync", &id]);
    let codes = [host.app.code(ahead), host.app.code(ahead + 1)].join("\n");
    let seen = host.file("codes");
    fs::write(&seen, codes + "\n").unwrap();
    assert!(command.stdin(fs::File::open(seen).unwrap()).status().unwrap().success());
    let used = host.app.code(ahead + 2);
    assert_eq!(host.answers("bob", &[&used]), Code::SUCCESS);
    let true_position = position();
    host.loses_its_disk();
    host.ykmap(&["restore", &file]).exits(0);
    assert!(position() >= true_position, "{} {true_position}", position());
    assert_ne!(host.answers("bob", &[&used]), Code::SUCCESS);
}

/// A host whose own record is whole goes on: nothing is restored, and nothing comes back.
#[test]
fn a_whole_host_goes_on() {
    let mut host = Host::new();
    let file = host.backup();
    let used = use_all(&mut host, 0);
    let said = host.ykmap(&["--json", "restore", &file]).exits(0).json();
    assert_eq!(said["changed"], false, "{said}");
    for (user, otp) in &used {
        assert_ne!(host.answers(user, &[otp]), Code::SUCCESS, "{user} {otp}");
    }
    use_all(&mut host, 1);
    // Disabled in the backup or here is disabled, and a lost position is restored.
    let id = host.yubikey.public_id();
    host.ykmap(&["key", "disable", &id]).exits(0);
    host.ykmap(&["restore", &file]).exits(0);
    assert_eq!(host.state(&id)["enabled"], false);
    fs::write(host.place.path("positions").join(&id), "x").unwrap();
    host.ykmap(&["restore", &file]).exits(0);
    let state = host.state(&id);
    assert_eq!((&state["enabled"], &state["restored"]), (&false.into(), &true.into()));
}

/// A token that was removed since stays away, unless the administrator names it.
#[test]
fn a_stolen_token_does_not_come_back_silently() {
    let host = Host::new();
    let (file, id) = (host.backup(), host.yubikey.public_id());
    host.ykmap(&["key", "remove", &id]).exits(0);
    host.ykmap(&["remove", "alice"]).exits(0);
    let said = host.ykmap(&["--json", "restore", &file]).exits(2);
    assert_eq!(said.finding(), "backup-differs");
    let said = host.ykmap(&["--json", "restore", "--keep-mapping", &file]).exits(0).json();
    let of_alice =
        said["tokens"].as_array().unwrap().iter().find(|token| token["id"] == id.as_str()).unwrap();
    assert_eq!(of_alice["fate"], "stays-removed");
    assert!(!host.place.path("keys").join(&id).exists());
    host.ykmap(&["restore", "--take-mapping", "--bring-back", &id, &file]).exits(0);
    assert_eq!(host.state(&id)["restored"], true);
}

/// The mapping of the backup is taken without what stays removed: its users' other tokens work, and nothing is reported.
#[test]
fn a_mapping_is_taken_without_what_stays_removed() {
    let mut host = Host::new();
    let (file, id) = (host.backup(), host.yubikey.public_id());
    let listed = |host: &Host| fs::read_to_string(host.place.path("authorized_yubikeys")).unwrap();
    let set = host.codes[0].clone();
    let before = listed(&host);
    let old_set = before.split([':', '\n']).find(|field| field.starts_with("rec-")).unwrap().to_owned();
    host.ykmap(&["key", "remove", &id]).exits(0);
    host.ykmap(&["remove", "alice"]).exits(0);
    host.ykmap(&["recovery", "new", "bob"]).exits(0);
    let said = host.ykmap(&["--json", "restore", "--dry-run", "--take-mapping", &file]).exits(3).json();
    let left_out: Vec<_> =
        said["left_out"].as_array().unwrap().iter().map(|it| it["token"].as_str().unwrap()).collect();
    assert_eq!(left_out, [&*id, &*old_set], "{said:#}");
    let text = host.ykmap(&["restore", "--take-mapping", &file]).exits(0);
    assert!(text.out.contains(&id) && text.out.contains("--bring-back"), "{text:?}");
    let now = listed(&host);
    assert!(!now.contains(&id) && !now.contains(&old_set) && now.contains("alice:\n"), "{now}");
    host.ykmap(&["restore", "--take-mapping", "--dry-run", &file]).exits(0);
    // Neither a fault nor a way in.
    for (user, otp) in [("alice", host.yubikey.press()), ("bob", set)] {
        let said = host.place.login("otp", user, &[&otp]);
        assert!(said.decisions()[0].starts_with("refused "), "{user}: {said:?}");
    }
    assert_eq!(host.answers("bob", &[&host.app.code(step())]), Code::SUCCESS);
    let checked = host.ykmap(&["--json", "check"]).json();
    let codes: Vec<_> = checked["findings"].as_array().unwrap().iter().map(|it| it["code"].clone()).collect();
    assert!(!codes.iter().any(|code| code == "key-missing"), "{checked:#}");
    // A set comes back by its own ID, and is spent or goes on.
    let back = ["restore", "--take-mapping", "--bring-back", &old_set, &file];
    host.ykmap(&back).exits(0);
    assert!(listed(&host).contains(&old_set), "{}", listed(&host));
}

/// Each key of a backup is opened by a check, and one that does not open is named. Without a store key, nothing is.
#[test]
fn a_check_opens_each_key() {
    let host = Host::new();
    let (file, id) = (host.backup(), host.yubikey.public_id());
    let checked = host.ykmap(&["--json", "backup", "--check", &file]).exits(0).json();
    assert_eq!((&checked["opened"], &checked["keys_not_opened"]), (&true.into(), &serde_json::json!([])));
    // A key file that was damaged before the backup was made: the backup has it as it is.
    let key = host.place.path("keys").join(&id);
    let text = fs::read_to_string(&key).unwrap();
    let at = text.rfind("sealed: ").unwrap() + 10;
    let other = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
    fs::write(&key, format!("{}{other}{}", &text[..at], &text[at + 1..])).unwrap();
    host.ykmap(&["backup", &file]).exits(1);
    let said = host.ykmap(&["--json", "backup", "--check", &file]).exits(1);
    assert_eq!(said.json()["keys_not_opened"], serde_json::json!([id]), "{said:?}");
    let said = host.ykmap(&["backup", "--check", &file]).exits(1);
    assert!(said.err.contains("[key-sealed-elsewhere]"), "{said:?}");
    fs::remove_file(host.place.path("store.key")).unwrap();
    let said = host.ykmap(&["--json", "backup", "--check", &file]).exits(1);
    assert_eq!(said.json()["opened"], false, "{said:?}");
    assert!(host.ykmap(&["backup", "--check", &file]).exits(1).err.contains("[store-key-missing]"));
}

/// Backups while logins go on: each is whole, and no login notices.
#[test]
fn backups_while_logins_run() {
    let host = Host::new();
    let mut key = host.yubikey.clone();
    thread::scope(|scope| {
        let logins = scope.spawn(|| {
            for at in 0..30 {
                assert_eq!(host.answers("alice", &[&key.press()]), Code::SUCCESS, "{at}");
            }
        });
        let mut made = 0;
        while !logins.is_finished() || made < 3 {
            let file = host.file("often.backup");
            let file = file.to_str().unwrap();
            assert_eq!(host.ykmap(&["backup", "--quiet", file]).exits(0).out, "");
            let checked = host.ykmap(&["--json", "backup", "--check", file]).exits(0).json();
            assert_eq!((&checked["keys"], &checked["positions"]), (&7.into(), &7.into()), "{checked}");
            made += 1;
        }
    });
}

/// What an administrator types, and what is printed.
#[derive(Default)]
struct Transcript(String);

impl Transcript {
    fn note(&mut self, host: &Host, arguments: &[&str], out: &str, err: &str, began: Instant) {
        let folder = host.file("x").parent().unwrap().display().to_string();
        let text = format!("# ykmap {}\n{out}{err}", arguments.join(" "));
        let text = text
            .replace(&folder, "/mnt/backup")
            .replace(&host.place.host().display().to_string(), "/etc/yubiotp");
        writeln!(self.0, "{text}({} ms)\n", began.elapsed().as_millis()).unwrap();
    }

    fn write(&self) {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        fs::write(folder.join("restore-transcript.txt"), &self.0).unwrap();
    }
}
