//! Users of google-authenticator and pam_oath move here: used codes stay used, and nothing happens by halves.

use crate::desk::Desk;
use crate::recovery::codes_in;
use rustix::process::{Gid, Uid, getegid, geteuid};
use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tests::libpam::{Code, Pam, Script, Services};
use tests::said::{Said, chmod, is_root};

/// Accounts with homes of their own, and a store.
struct Host {
    desk: Desk,
    passwd: String,
}

fn has(programs: &[&str]) -> bool {
    let paths: Vec<_> = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    let missing = programs.iter().find(|program| !paths.iter().any(|folder| folder.join(program).exists()));
    if let Some(missing) = missing {
        tests::skip(&format!("needs {missing}"));
    }
    missing.is_none()
}

/// A PAM module of another project, if this machine has it.
fn module(name: &str) -> Option<PathBuf> {
    let folders =
        ["/usr/lib/x86_64-linux-gnu/security", "/usr/lib/aarch64-linux-gnu/security", "/lib64/security"];
    let found = folders.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.exists());
    if found.is_none() {
        tests::skip(&format!("needs {name}"));
    }
    found
}

/// What the other module decides.
fn logs_in(host: &Host, line: &str, user: &str, answer: &str) -> bool {
    let confdir = host.desk.beside("pam.other");
    Services::new(&confdir).write("otp", line);
    let conversation = Box::new(Script::new([answer]));
    Pam::start(&confdir, "otp", Some(user.as_bytes()), conversation).authenticate(0) == Code::SUCCESS
}

impl Host {
    fn new() -> Self {
        let host = Self { desk: Desk::new(), passwd: String::new() };
        // Users have to reach their homes.
        fs::create_dir_all(host.desk.beside("homes")).unwrap();
        fs::create_dir_all(host.desk.beside("etc")).unwrap();
        chmod(&host.desk.beside(""), 0o755);
        chmod(&host.desk.beside("homes"), 0o755);
        host
    }

    fn home(&self, user: &str) -> PathBuf {
        self.desk.beside(&format!("homes/{user}"))
    }

    fn file(&self, user: &str) -> PathBuf {
        self.home(user).join(".google_authenticator")
    }

    /// An account; of another user than the one who runs the tests, if that is root.
    fn account(&mut self, user: &str) -> (Uid, Gid) {
        let number = 64_000 + u32::try_from(self.passwd.lines().count()).unwrap();
        let (uid, gid) = match is_root() {
            true => (Uid::from_raw(number), Gid::from_raw(number)),
            false => (geteuid(), getegid()),
        };
        let home = self.home(user);
        fs::create_dir_all(&home).unwrap();
        self.passwd += &format!("{user}:x:{}:{}::{}:/bin/sh\n", uid.as_raw(), gid.as_raw(), home.display());
        fs::write(self.desk.beside("etc/passwd"), &self.passwd).unwrap();
        self.give(user, &home);
        (uid, gid)
    }

    /// Gives a file to its user.
    fn give(&self, user: &str, path: &Path) {
        let line = self.passwd.lines().find(|line| line.starts_with(&format!("{user}:"))).unwrap();
        let ids: Vec<u32> = line.split(':').skip(2).take(2).map(|id| id.parse().unwrap()).collect();
        chown(path, Some(ids[0]), Some(ids[1])).unwrap();
    }

    /// An account with what `google-authenticator` makes of these options.
    fn with_app(&mut self, user: &str, options: &[&str]) -> String {
        self.account(user);
        let mut made = Command::new("google-authenticator");
        let secret = format!("--secret={}", self.file(user).display());
        made.args(options).args(["-q", "-f", &secret]).env("HOME", self.home(user));
        let made = made.output().unwrap();
        assert!(made.status.success(), "{made:?}");
        self.give(user, &self.file(user));
        self.secret(user)
    }

    fn secret(&self, user: &str) -> String {
        fs::read_to_string(self.file(user)).unwrap().lines().next().unwrap().to_owned()
    }

    fn emergency(&self, user: &str) -> Vec<String> {
        let text = fs::read_to_string(self.file(user)).unwrap();
        text.lines()
            .filter(|line| line.len() == 8 && line.parse::<u32>().is_ok())
            .map(str::to_owned)
            .collect()
    }

    fn import(&self, words: &[&str]) -> Said {
        let etc = self.desk.beside("etc").display().to_string();
        self.desk.ykmap(&[&["import", "google-authenticator", "--accounts", &etc], words].concat())
    }

    /// The OATH token of a user.
    fn token(&self, user: &str) -> String {
        let listed = self.desk.ykmap(&["--json", "list", user]).exits(0).json();
        let tokens = listed[0]["tokens"].as_array().unwrap();
        let mut ids = tokens.iter().map(|token| token["id"].as_str().unwrap());
        ids.find(|id| id.starts_with("oath-")).unwrap().to_owned()
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The number of the step that begins now, once there is time left in it.
fn step() -> u64 {
    if now() % 30 > 15 {
        std::thread::sleep(Duration::from_secs(30 - now() % 30));
    }
    now() / 30
}

fn oathtool(arguments: &[&str]) -> String {
    let output = Command::new("oathtool").args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn totp(secret: &str, step: u64) -> String {
    oathtool(&["--totp", "-b", "--now", &format!("@{}", step * 30), secret])
}

fn hotp(secret: &str, counter: u64) -> String {
    oathtool(&["--hotp", "-b", "-c", &counter.to_string(), secret])
}

#[test]
fn a_code_that_google_authenticator_took_is_used_here() {
    if !has(&["google-authenticator", "oathtool"]) {
        return;
    }
    let Some(module) = module("pam_google_authenticator.so") else { return };
    let mut host = Host::new();
    let secret = host.with_app("alice", &["-t", "-d", "-u", "-w", "3", "-e", "5"]);
    // The module takes the rights of a user who has an account.
    let me = Command::new("id").arg("-un").output().unwrap();
    let me = String::from_utf8(me.stdout).unwrap().trim().to_owned();
    chown(host.file("alice"), Some(geteuid().as_raw()), None).unwrap();
    chown(host.home("alice"), Some(geteuid().as_raw()), None).unwrap();
    let line = format!(
        "auth required {} secret={} user={me} nullok\n",
        module.display(),
        host.file("alice").display()
    );
    let at = step();
    let code = totp(&secret, at);
    assert!(logs_in(&host, &line, &me, &code), "their module");
    host.give("alice", &host.home("alice"));
    host.give("alice", &host.file("alice"));
    chmod(&host.desk.beside(""), 0o755);
    chmod(&host.home("alice"), 0o755);
    chmod(&host.file("alice"), 0o600);
    let before = host.desk.snapshot();
    host.import(&["--dry-run"]).exits(0).says("alice: oath-ga-").says("5 emergency codes");
    assert_eq!(host.desk.snapshot(), before, "a dry run writes nothing");
    host.import(&[]).exits(0);
    host.desk.verify("alice", &code).exits(1).says("[code-used]");
    host.desk.verify("alice", &totp(&secret, at + 1)).exits(0).says(&format!("step {}", at + 1));
    host.desk.verify("alice", &totp(&secret, at + 1)).exits(1).says("[code-used]");
    host.desk.ykmap(&["check"]).exits(0).says("0 errors, 0 warnings");
}

#[test]
fn without_a_record_no_code_of_now_is_accepted() {
    if !has(&["google-authenticator", "oathtool"]) {
        return;
    }
    let mut host = Host::new();
    let secret = host.with_app("alice", &["-t", "-D", "-u", "-w", "3"]);
    let at = step();
    let said = host.import(&["--dry-run", "alice"]).exits(0);
    said.notes("those of this moment are not accepted");
    let json = host.import(&["--json", "alice"]).exits(0).json();
    assert_eq!(json["tokens"][0]["notes"], serde_json::json!(["waits-for-the-next-code"]));
    for used in at - 1..=at + 1 {
        let said = host.desk.verify("alice", &totp(&secret, used)).exits(1);
        assert!(["[code-used]", "[clock-behind]"].iter().any(|code| said.out.contains(code)), "{said:?}");
    }
    // Three tries are gone, and the next code is not far.
    std::thread::sleep(Duration::from_secs((at + 1) * 30 - now() + 1));
    host.desk.verify("alice", &totp(&secret, at + 2)).exits(0);
}

#[test]
fn emergency_codes_are_typed_as_before_and_each_once() {
    if !has(&["google-authenticator", "oathtool"]) {
        return;
    }
    let mut host = Host::new();
    host.with_app("alice", &["-c", "-u", "-w", "5", "-e", "10"]);
    let codes = host.emergency("alice");
    // One that is there twice.
    let text = fs::read_to_string(host.file("alice")).unwrap();
    fs::write(host.file("alice"), format!("{text}{}\n", codes[0])).unwrap();
    host.import(&["alice"]).exits(0).says("10 emergency codes");
    assert_eq!(host.desk.mapping().matches(":rec-").count(), 2);
    for code in [&codes[0], &codes[4], &codes[9]] {
        host.desk.verify("alice", code).exits(0).says("recovery code ");
        host.desk.verify("alice", code).exits(1).says("[recovery-code-used]");
    }
    let status = host.desk.ykmap(&["--json", "recovery", "status", "alice"]).exits(0).json();
    let left: u64 = status["sets"].as_array().unwrap().iter().map(|set| set["left"].as_u64().unwrap()).sum();
    assert_eq!(left, 7);
    // Wrong ones cost tries, as codes do.
    let wrong =
        ["10000001", "10000002", "10000003"].into_iter().find(|code| !codes.contains(&(*code).to_owned()));
    host.desk.verify("alice", wrong.unwrap()).exits(1).says("[code-wrong]");
    assert!(status["tries_left"].as_u64().unwrap() >= 7);
    // New codes end all of them.
    let new = codes_in(&host.desk.ykmap(&["recovery", "new", "alice"]).exits(0).out);
    assert_eq!(host.desk.mapping().matches(":rec-").count(), 1);
    host.desk.verify("alice", &codes[1]).exits(1);
    host.desk.verify("alice", &new[0]).exits(0);
}

/// Made again, it changes nothing but positions, which only grow.
#[test]
fn an_import_can_be_repeated() {
    if !has(&["google-authenticator", "oathtool"]) {
        return;
    }
    let mut host = Host::new();
    let secret = host.with_app("alice", &["-c", "-u", "-w", "5"]);
    host.with_app("bob", &["-t", "-d", "-u", "-w", "3"]);
    host.account("carol");
    host.import(&[]).exits(0).says("imported 2 tokens of 2 users");
    let mapping = host.desk.mapping();
    host.desk.verify("alice", &hotp(&secret, 3)).exits(0);
    host.import(&[]).exits(0).says("in the store already");
    assert_eq!(host.desk.mapping(), mapping);
    host.desk.verify("alice", &hotp(&secret, 3)).exits(1).says("[code-used]");
    // Their module went on meanwhile.
    let text = fs::read_to_string(host.file("alice")).unwrap().replace("HOTP_COUNTER 1", "HOTP_COUNTER 20");
    fs::write(host.file("alice"), text).unwrap();
    host.import(&["alice"]).exits(0);
    host.desk.verify("alice", &hotp(&secret, 19)).exits(1).says("[code-used]");
    host.desk.verify("alice", &hotp(&secret, 20)).exits(0);
    // As if the command had been killed before the mapping was written.
    let token = host.token("alice");
    let line = mapping.lines().find(|line| line.starts_with("alice:")).unwrap();
    host.desk.map(mapping.replace(line, "dave:"));
    host.import(&["alice"]).exits(0);
    assert_eq!(host.token("alice"), token, "the token that is here already");
    host.desk.verify("alice", &hotp(&secret, 20)).exits(1).says("[code-used]");
}

#[test]
fn what_is_not_the_users_own_is_refused_and_nothing_is_imported() {
    if !has(&["google-authenticator", "oathtool"]) {
        return;
    }
    let mut host = Host::new();
    host.with_app("alice", &["-t", "-d", "-u", "-w", "3"]);
    host.account("mallory");
    let mapping = host.desk.mapping();
    let nothing = |said: Said, code: &str| {
        said.exits(2).has("nothing-imported").notes(&format!("[{code}]"));
        assert_eq!(host.desk.mapping(), mapping, "{code}");
        assert_eq!(host.desk.ykmap(&["--json", "key", "list"]).exits(0).json().as_array().unwrap().len(), 0);
    };
    let theirs = host.file("mallory");
    // A link to somebody else's, to a file that root may read, and in place of a part of the path.
    for target in [host.file("alice"), "/etc/shadow".into(), "nowhere".into()] {
        let _ = fs::remove_file(&theirs);
        symlink(&target, &theirs).unwrap();
        nothing(host.import(&[]), "file-is-link");
    }
    fs::remove_file(&theirs).unwrap();
    if is_root() {
        fs::hard_link(host.file("alice"), &theirs).unwrap();
        nothing(host.import(&["mallory"]), "file-of-other-owner");
        fs::remove_file(&theirs).unwrap();
        fs::write(&theirs, "").unwrap();
        nothing(host.import(&["mallory"]), "file-of-other-owner");
        fs::remove_file(&theirs).unwrap();
    }
    Command::new("mkfifo").arg(&theirs).status().unwrap();
    host.give("mallory", &theirs);
    nothing(host.import(&[]), "file-of-wrong-kind");
    fs::remove_file(&theirs).unwrap();
    fs::write(&theirs, "x".repeat(100_000)).unwrap();
    host.give("mallory", &theirs);
    nothing(host.import(&[]), "file-too-large");
    fs::remove_file(&theirs).unwrap();
    nothing(host.import(&["mallory"]), "file-missing");
    // The same secret as alice, with codes of its own.
    fs::copy(host.file("alice"), &theirs).unwrap();
    host.give("mallory", &theirs);
    nothing(host.import(&[]), "secret-of-other-token");
    fs::remove_file(&theirs).unwrap();
    host.import(&["zoe"]).exits(2).has("user-unknown");
    host.import(&[]).exits(0).says("imported 1 token of 1 user");
    // And once alice has it here.
    fs::copy(host.file("alice"), &theirs).unwrap();
    host.give("mallory", &theirs);
    host.import(&["mallory"]).exits(2).notes("[secret-of-other-token]");
}

#[test]
fn a_code_that_pam_oath_took_is_used_here() {
    if !has(&["oathtool"]) {
        return;
    }
    let Some(module) = module("pam_oath.so") else { return };
    let host = Host::new();
    let secrets = [0, 1, 2].map(|number| format!("313233343536373839303132333435363738393{number}"));
    let users = format!(
        "# users\nHOTP alice - {}\nHOTP/T30 bob 1234 {}\nHOTP carol + {} 7\n",
        secrets[0], secrets[1], secrets[2]
    );
    let file = host.desk.write_beside("users.oath", users);
    let line =
        format!("auth required {} usersfile={} window=20 digits=6\n", module.display(), file.display());
    let hotp = |at: usize, counter: u64| oathtool(&["--hotp", "-c", &counter.to_string(), &secrets[at]]);
    let totp =
        |at: usize, step: u64| oathtool(&["--totp", "--now", &format!("@{}", step * 30), &secrets[at]]);
    assert!(logs_in(&host, &line, "alice", &hotp(0, 4)), "their module");
    let at = step();
    assert!(logs_in(&host, &line, "bob", &format!("1234{}", totp(1, at))), "their module");
    let path = file.to_str().unwrap();
    let before = host.desk.snapshot();
    host.desk.ykmap(&["import", "oath", "--dry-run", path]).exits(0).says("would import 3 tokens of 3 users");
    assert_eq!(host.desk.snapshot(), before, "a dry run writes nothing");
    let said = host.desk.ykmap(&["import", "oath", path]).exits(0).says("imported 3 tokens of 3 users");
    said.notes("line 3: bob: the PIN is not imported").notes("line 4: carol: ");
    host.desk.verify("alice", &hotp(0, 4)).exits(1).says("[code-used]");
    host.desk.verify("alice", &hotp(0, 3)).exits(1);
    host.desk.verify("alice", &hotp(0, 5)).exits(0);
    host.desk.verify("bob", &totp(1, at)).exits(1).says("[code-used]");
    host.desk.verify("bob", &totp(1, at + 1)).exits(0);
    host.desk.verify("carol", &hotp(2, 6)).exits(1).says("[code-used]");
    host.desk.verify("carol", &hotp(2, 7)).exits(0);
    host.desk.ykmap(&["check"]).exits(0).says("0 errors, 0 warnings");
}

#[test]
fn a_users_file_with_a_mistake_imports_nothing() {
    let desk = Desk::new();
    let before = desk.snapshot();
    let good = "HOTP alice - 3132333435363738393031323334353637383930\n";
    for (text, at) in [
        (format!("{good}HOTP bob - xyz\n"), ":2: "),
        (format!("{good}HOTP bob\n"), ":2: "),
        (format!("TOTP alice - 00\n{good}"), ":1: "),
        (format!("{good}{}", good.replace("HOTP alice", "HOTP/T30 bob")), ":2: "),
        (good.replace("alice", "al:ice"), ":1: "),
    ] {
        let file = desk.write_beside("users.oath", &text);
        let said = desk.ykmap(&["import", "oath", file.to_str().unwrap()]).exits(2);
        said.has("nothing-imported").notes(&format!("users.oath{at}"));
        assert_eq!(desk.snapshot(), before, "{text}");
    }
    desk.ykmap_reading(&["import", "oath", "-"], good.as_bytes()).exits(0).says("imported 1 token of 1 user");
    desk.ykmap(&["import", "oath", "/nowhere"]).exits(2).has("file-missing");
}

/// Two users with one secret share a token, as their lines say.
#[test]
fn a_shared_secret_is_one_token() {
    let desk = Desk::new();
    let secret = "3132333435363738393031323334353637383930";
    let text = format!("HOTP alice - {secret} 5\nHOTP bob - {secret} 9\n");
    desk.ykmap_reading(&["import", "oath", "-"], text.as_bytes())
        .exits(0)
        .says("imported 1 token of 2 users");
    if !has(&["oathtool"]) {
        return;
    }
    let hotp = |counter: u64| oathtool(&["--hotp", "-c", &counter.to_string(), secret]);
    desk.verify("alice", &hotp(8)).exits(1).says("[code-used]");
    desk.verify("alice", &hotp(9)).exits(0);
    desk.verify("bob", &hotp(9)).exits(1).says("[code-used]");
    desk.verify("bob", &hotp(10)).exits(0);
    // A reset of alice leaves bob what is his.
    desk.ykmap(&["reset", "--yes", "alice"]).exits(0);
    desk.verify("alice", &hotp(11)).exits(1);
    desk.verify("bob", &hotp(11)).exits(0);
    // And one of bob takes the token away; its position stays, so that the same secret goes on from there.
    desk.ykmap(&["reset", "--yes", "bob"]).exits(0).says("removed from the store: oath-pam-");
    desk.verify("bob", &hotp(12)).exits(1);
    desk.ykmap_reading(&["import", "oath", "-", "alice", "bob"], text.as_bytes())
        .exits(0)
        .says("used here before");
    desk.verify("bob", &hotp(11)).exits(1).says("[code-used]");
    desk.verify("bob", &hotp(12)).exits(0);
}

/// Too many wrong codes, and back.
#[test]
fn unlock_gives_back_all_tries() {
    if !has(&["oathtool"]) {
        return;
    }
    let desk = Desk::new();
    let secret = "3132333435363738393031323334353637383930";
    let text = format!("HOTP alice - {secret}\n");
    desk.ykmap_reading(&["import", "oath", "-"], text.as_bytes()).exits(0);
    let hotp = |counter: u64| oathtool(&["--hotp", "-c", &counter.to_string(), secret]);
    let tries = || desk.ykmap(&["--json", "list", "alice"]).exits(0).json()[0]["tries_left"].as_u64();
    let right: Vec<_> = (0..12).map(hotp).collect();
    let wrong = ["000000", "111111", "222222"].into_iter().find(|code| !right.contains(&(*code).to_owned()));
    assert_eq!(tries(), Some(10));
    for left in (0..10).rev() {
        desk.verify("alice", wrong.unwrap()).exits(1).says("[code-wrong]");
        assert_eq!(tries(), Some(left));
    }
    desk.verify("alice", &right[0]).exits(1).says("[two-codes-needed]").says("unlock alice");
    let doctor = ["doctor", "--no-servers", "--pam-dir", &desk.empty_pam_dir(), "alice"].map(str::to_owned);
    let found = desk.ykmap(&doctor);
    assert!(found.out.contains("[two-codes-needed]") && found.out.contains("unlock alice"), "{found:?}");
    desk.ykmap(&["list", "alice"]).exits(0).notes("unlock alice");
    let said = desk.ykmap(&["--json", "unlock", "alice"]).exits(0).json();
    assert_eq!((said["had"].as_u64(), said["tries_left"].as_u64()), (Some(0), Some(10)));
    assert_eq!(tries(), Some(10));
    desk.verify("alice", &right[0]).exits(0);
    // One that cannot be read is written anew.
    fs::write(desk.file("guesses/alice"), "damaged").unwrap();
    desk.verify("alice", &right[1]).exits(2).has("guesses-damaged");
    desk.ykmap(&["unlock", "alice"]).exits(0);
    desk.verify("alice", &right[1]).exits(0);
    // A user whose codes are not counted.
    desk.map(format!("{}bob:vvcb\n", desk.mapping()));
    desk.ykmap(&["unlock", "bob"]).exits(0).says("nothing to unlock");
    assert!(!desk.file("guesses/bob").exists());
}

/// A file of google-authenticator, made without it.
fn app_file(host: &mut Host, user: &str, options: &str, codes: &[&str]) {
    host.account(user);
    write_app_file(host, user, options, codes);
}

fn write_app_file(host: &Host, user: &str, options: &str, codes: &[&str]) {
    let secret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP";
    let codes: String = codes.iter().map(|code| format!("{code}\n")).collect();
    fs::write(host.file(user), format!("{secret}\n{options}\n{codes}")).unwrap();
    chmod(&host.file(user), 0o600);
    host.give(user, &host.file(user));
}

const COUNTED: &str = "\" HOTP_COUNTER 1";

/// However the same file comes again.
#[test]
fn a_used_emergency_code_never_comes_back() {
    let codes = ["11223344", "22334455"];
    for folders in [false, true] {
        let mut host = Host::new();
        if folders {
            let config = host.desk.file("config.toml");
            let settings = fs::read_to_string(&config).unwrap();
            fs::create_dir_all(host.desk.beside("m/alice")).unwrap();
            let mapping = format!("mapping = \"{}/%u/tok\"", host.desk.beside("m").display());
            let lines: Vec<_> = settings.lines().filter(|line| !line.starts_with("mapping")).collect();
            fs::write(config, format!("{mapping}\n{}", lines.join("\n"))).unwrap();
        }
        app_file(&mut host, "alice", COUNTED, &codes);
        host.import(&["alice"]).exits(0).says("2 emergency codes");
        host.desk.verify("alice", codes[0]).exits(0);
        let used = |how: &str| {
            host.desk.verify("alice", codes[0]).exits(1);
            let json = host.import(&["--json", "alice"]).exits(0).json();
            assert_eq!(json["tokens"][0]["notes"], serde_json::json!(["emergency-codes-used"]), "{how}");
            host.desk.verify("alice", codes[0]).exits(1);
        };
        used("again");
        host.desk.ykmap(&["reset", "--yes", "alice"]).exits(0);
        used("after a reset");
        host.desk.verify("alice", codes[1]).exits(0);
        used("both");
        host.desk.verify("alice", codes[1]).exits(1);
        // A code that google-authenticator made meanwhile.
        write_app_file(&host, "alice", COUNTED, &[codes[0], "33445566"]);
        used("with a new one");
        host.desk.verify("alice", "33445566").exits(0);
        host.desk.verify("alice", "33445566").exits(1);
        // Nobody knows what was used.
        fs::write(host.desk.file("lost"), "").unwrap();
        chmod(&host.desk.file("lost"), 0o600);
        write_app_file(&host, "alice", COUNTED, &["44556677"]);
        let json = host.import(&["--json", "alice"]).exits(0).json();
        assert_eq!(json["tokens"][0]["notes"], serde_json::json!(["emergency-codes-unknown"]));
        host.desk.verify("alice", "44556677").exits(1);
    }
}

/// What was taken away stays away, unless its user is named.
#[test]
fn an_import_of_all_passes_over_users_without_a_token() {
    let mut host = Host::new();
    app_file(&mut host, "alice", COUNTED, &["11223344", "22334455"]);
    host.import(&[]).exits(0);
    host.desk.ykmap(&["recovery", "new", "alice"]).exits(0);
    let before = host.desk.mapping();
    let json = host.import(&["--json"]).exits(0).json();
    assert_eq!(json["tokens"][0]["notes"], serde_json::json!(["emergency-codes-removed"]));
    assert_eq!(host.desk.mapping(), before);
    host.desk.verify("alice", "11223344").exits(1);
    host.desk.ykmap(&["reset", "--yes", "alice"]).exits(0);
    let json = host.import(&["--json"]).exits(0).json();
    assert_eq!((&json["passed_over"][0], json["tokens"].as_array().unwrap().len()), (&"alice".into(), 0));
    assert!(host.desk.mapping().contains("alice:\n"), "{}", host.desk.mapping());
    let line = "HOTP alice - 48656c6c6f21deadbeef48656c6c6f21deadbeef\nHOTP bob - 3132333435363738393031323334353637383930\n";
    let said = host.desk.ykmap_reading(&["import", "oath", "-"], line.as_bytes()).exits(0);
    said.says("1 token of 1 user").notes("alice: skipped");
    host.import(&["alice"]).exits(0).says("2 emergency codes");
    host.desk.verify("alice", "11223344").exits(0);
    host.desk.ykmap_reading(&["import", "oath", "-", "zoe"], line.as_bytes()).exits(2).has("user-unknown");
}

/// A reset that was killed after it changed the mapping is finished by an import.
#[test]
fn an_import_finishes_what_was_cut_off() {
    let mut host = Host::new();
    app_file(&mut host, "alice", COUNTED, &["11223344"]);
    host.import(&[]).exits(0);
    let line = host.desk.mapping().lines().find(|line| line.starts_with("alice:")).unwrap().to_owned();
    let tokens: String = line.split(':').skip(1).map(|token| format!("token: {token}\n")).collect();
    let head = "# pam_yubiotp change, version 1. Made by ykmap, do not edit.";
    fs::write(host.desk.file("keys/.unfinished"), format!("{head}\nuser: alice\n{tokens}")).unwrap();
    chmod(&host.desk.file("keys/.unfinished"), 0o600);
    host.desk.map(host.desk.mapping().replace(&line, "alice:"));
    let oath = "HOTP bob - 3132333435363738393031323334353637383930\n";
    host.desk.ykmap_reading(&["import", "oath", "-"], oath.as_bytes()).exits(0);
    let keys: Vec<_> = fs::read_dir(host.desk.file("keys"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("oath-ga-") || name.starts_with("rec-") || name == ".unfinished")
        .collect();
    assert!(keys.is_empty(), "{keys:?}");
}

/// The token was here before the import: its file stays, and the emergency codes come.
#[test]
fn a_token_that_is_here_keeps_its_file() {
    let mut host = Host::new();
    let hardware = "hw1,JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP\n";
    let import = ["token", "import", "--kind", "hotp", "--series", "box", "--secret", "base32", "-"];
    host.desk.ykmap_reading(&import, hardware.as_bytes()).exits(0);
    host.desk.ykmap(&["token", "assign", "hw1", "alice"]).exits(0);
    app_file(&mut host, "alice", COUNTED, &["11223344"]);
    host.import(&[]).exits(0).says("1 emergency code");
    host.desk.verify("alice", "11223344").exits(0);
    let series = host.desk.ykmap(&["--json", "token", "list", "--series", "box"]).exits(0).json();
    assert_eq!(series[0]["id"], "oath-hw1");
    // As another type.
    let before = host.desk.snapshot();
    write_app_file(&host, "alice", "\" TOTP_AUTH\n\" DISALLOW_REUSE", &[]);
    host.import(&[]).exits(2).notes("[token-has-other-key]");
    assert_eq!(host.desk.snapshot(), before);
}

/// The widest window of another module makes guessing too easy.
#[test]
fn a_wide_window_is_cut_and_told() {
    let mut host = Host::new();
    app_file(&mut host, "alice", "\" TOTP_AUTH\n\" DISALLOW_REUSE\n\" WINDOW_SIZE 100", &[]);
    let json = host.import(&["--json"]).exits(0).json();
    assert_eq!(
        json["tokens"][0]["notes"],
        serde_json::json!(["waits-for-the-next-code", "window-capped", "window-wider"])
    );
    let token = host.token("alice");
    let listed = host.desk.ykmap(&["--json", "token", "list"]).exits(0).json();
    assert_eq!((&listed[0]["id"], &listed[0]["window"]), (&token.into(), &240.into()));
}
