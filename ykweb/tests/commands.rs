//! The commands of `ykwebd`, from outside: what they make, what they print, and what a login makes of it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a fixture that fails must stop the test, and a test reads what it made"
)]

use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use tempfile::TempDir;
use ykweb::clock;
use ykweb::second_factor::SecondFactor;
use ykweb::session::Means;
use ykweb::store::Store;
use ykweb::user::UserName;
use yubiotp::Verdict;
use yubiotp::oath::{self, Code, Parameters, Secret};
use yubiotp::record::read_store_key;

const URL: &str = "https://login.example.com";

/// A folder for one site.
struct Site(TempDir);

/// What a command printed, and its exit status.
struct Said {
    json: Value,
    status: Option<i32>,
}

impl Said {
    fn code(&self) -> &str {
        self.json["error"]["code"].as_str().unwrap_or("none")
    }
}

impl Site {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn made() -> Self {
        let site = Self::new();
        assert_eq!(site.init(&["--public-url", URL]).status, Some(0));
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("site").join(name)
    }

    fn run(&self, arguments: &[&str]) -> Said {
        let ran = Command::new(env!("CARGO_BIN_EXE_ykwebd"))
            .arg("--json")
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8(ran.stdout).unwrap();
        let json = serde_json::from_str(&text).unwrap_or_else(|why| panic!("{why}: {text}"));
        Said { json, status: ran.status.code() }
    }

    fn init(&self, arguments: &[&str]) -> Said {
        let folder = self.path("");
        self.run(&[&["init", "--dir", folder.to_str().unwrap()], arguments].concat())
    }

    fn command(&self, arguments: &[&str]) -> Said {
        let config = self.path("config.toml");
        self.run(&[&["--config", config.to_str().unwrap()], arguments].concat())
    }

    fn user(&self, arguments: &[&str]) -> Said {
        self.command(&[&["user"], arguments].concat())
    }

    /// The same, which has to succeed.
    fn done(&self, arguments: &[&str]) -> Value {
        let said = self.user(arguments);
        assert_eq!(said.status, Some(0), "{arguments:?}: {}", said.json);
        said.json
    }

    /// What a login makes of an answer, at a moment in seconds since 1970.
    fn shown(&self, user: &str, answer: &str, unix: u64) -> Option<Means> {
        let keys = read_store_key(&std::fs::read(self.path("store.key")).unwrap()).ok().unwrap();
        let store = Store::open(&self.path("ykweb.db"), keys.ids()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let factor = SecondFactor::new(store, Arc::new(keys), None, runtime.handle().clone()).unwrap();
        let judged = factor.judge(&UserName::parse(user).unwrap(), answer.as_bytes(), unix).unwrap();
        assert_eq!(judged.means.is_some(), matches!(judged.verdict, Verdict::Accepted(_)));
        judged.means
    }
}

#[test]
fn init_makes_what_is_missing_and_keeps_the_rest() {
    let site = Site::new();
    assert_eq!(site.init(&[]).code(), "command-line-invalid");
    assert!(!site.path("").exists(), "a folder was left");
    let made = site.init(&["--public-url", URL]).json;
    assert_eq!((made["made"].as_array().unwrap().len(), made["kept"].as_array().unwrap().len()), (4, 0));
    let kept = site.init(&["--public-url", URL]).json;
    assert_eq!((kept["made"].as_array().unwrap().len(), kept["kept"].as_array().unwrap().len()), (0, 3));
    assert_eq!(site.init(&["--public-url", "https://other.example.com"]).code(), "config-exists");
    assert_eq!(std::fs::read_dir(site.path("")).unwrap().count(), 4, "something was left behind");
}

#[test]
fn of_several_inits_at_once_one_makes_each_file() {
    let site = Site::new();
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..4).map(|_| scope.spawn(|| site.init(&["--public-url", URL]))).collect();
        for init in all {
            let said = init.join().unwrap();
            assert_eq!(said.status, Some(0), "{}", said.json);
        }
    });
    site.done(&["add", "alice"]);
}

/// A store that was lost is not replaced by an empty one; one that was never made is made.
#[test]
fn init_knows_a_lost_store_from_one_that_it_did_not_make() {
    let site = Site::made();
    let aside = site.path("aside");
    std::fs::rename(site.path("ykweb.db"), &aside).unwrap();
    for said in [site.init(&[]), site.user(&["list"])] {
        assert_eq!((said.code(), said.status), ("database-missing", Some(2)));
    }
    // As init leaves it where it is killed.
    std::fs::write(site.path("store.key.init-unfinished"), "").unwrap();
    assert_eq!(site.user(&["list"]).code(), "init-unfinished");
    assert_eq!(site.init(&[]).status, Some(0));
    assert!(!site.path("store.key.init-unfinished").exists());
    std::fs::rename(site.path("store.key"), &aside).unwrap();
    for said in [site.init(&[]), site.user(&["list"])] {
        assert_eq!(said.code(), "store-key-missing");
    }
}

#[test]
fn users_and_their_tokens() {
    let site = Site::made();
    assert_eq!(site.done(&["list"]), Value::Array(Vec::new()));
    site.done(&["add", "alice"]);
    site.done(&["add", "bob"]);
    assert_eq!(site.user(&["add", "alice"]).code(), "user-exists");
    site.done(&["add-yubikey", "alice", "ccccccdbjrgf", "--label", "blue"]);
    assert_eq!(site.user(&["add-yubikey", "bob", "CCCCCCdbjrgf"]).code(), "token-assigned");
    assert_eq!(site.user(&["add-yubikey", "carol", "ccccccdbjrgf"]).code(), "user-not-listed");
    site.done(&["disable-token", "alice", "ccccccdbjrgf"]);
    assert_eq!(site.user(&["disable-token", "bob", "ccccccdbjrgf"]).code(), "token-not-assigned");
    site.done(&["disable", "bob"]);
    let alice = site.done(&["show", "alice"]);
    let token = &alice["tokens"][0];
    assert_eq!((&token["token"], &token["kind"]), (&"ccccccdbjrgf".into(), &"yubikey".into()));
    assert_eq!((&token["label"], &token["enabled"]), (&"blue".into(), &false.into()));
    assert_eq!((&token["last_used"], &alice["recovery"]), (&Value::Null, &Value::Null));
    let list = site.done(&["list"]);
    assert_eq!((&list[0]["enabled"], &list[1]["enabled"]), (&true.into(), &false.into()));
    site.done(&["remove-token", "alice", "ccccccdbjrgf"]);
    site.done(&["add-yubikey", "bob", "ccccccdbjrgf"]);
    site.done(&["remove", "bob"]);
    for verb in ["show", "enable", "disable", "remove", "new-recovery-codes", "add-yubikey", "add-app"] {
        assert_eq!(site.user(&[verb, "bob"]).code(), "user-not-listed", "{verb}");
    }
}

/// Nobody has shown that an app has it, so a script has to say that it knows.
#[test]
fn a_secret_is_shown_to_a_script_only_where_it_asks_for_it() {
    let site = Site::made();
    site.done(&["add", "alice"]);
    assert_eq!(site.user(&["add-app", "alice"]).code(), "no-terminal");
    assert_eq!(site.done(&["show", "alice"])["tokens"], Value::Array(Vec::new()));
}

#[test]
fn what_is_shown_once_is_accepted_once_and_not_in_the_store() {
    let site = Site::made();
    site.done(&["add", "alice"]);
    let app = site.done(&["add-app", "alice", "--no-confirm", "--label", "phone"]);
    let secret = app["secret"].as_str().unwrap();
    assert!(app["uri"].as_str().unwrap().starts_with("otpauth://totp/login.example.com%3Aalice?secret="));
    let bytes = data_encoding::BASE32_NOPAD.decode(secret.as_bytes()).unwrap();
    let first = site.done(&["new-recovery-codes", "alice"])["codes"].clone();
    let second = site.done(&["new-recovery-codes", "alice"])["codes"].clone();
    let [first, second] = [&first, &second].map(|codes| codes[1].as_str().unwrap());

    let now = 1_790_000_010;
    let code = code_of(&bytes, now / 30);
    assert_eq!(site.shown("alice", first, now), None, "a code from before");
    for (answer, means) in [(second, Means::Recovery), (code.as_str(), Means::Totp)] {
        assert_eq!(site.shown("alice", answer, now), Some(means));
        assert_eq!(site.shown("alice", answer, now), None, "{answer} was accepted twice");
    }
    assert_eq!(site.done(&["show", "alice"])["recovery"]["left"], 3);

    let letters: String = second.chars().filter(|it| *it != '-').skip(1).collect();
    for entry in std::fs::read_dir(site.path("")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read(&path).unwrap();
        let has = |secret: &[u8]| text.windows(secret.len()).any(|part| part == secret);
        for secret in [secret.as_bytes(), &bytes, second.as_bytes(), letters.as_bytes()] {
            assert!(!has(secret), "{} holds a secret", path.display());
        }
    }
}

/// A copy of the store is older than what was used since.
#[test]
fn an_older_copy_accepts_nothing_that_was_used() {
    for in_place in [false, true] {
        let site = Site::made();
        site.done(&["add", "alice"]);
        let app = site.done(&["add-app", "alice", "--no-confirm"]);
        let bytes = data_encoding::BASE32_NOPAD.decode(app["secret"].as_str().unwrap().as_bytes()).unwrap();
        let codes = site.done(&["new-recovery-codes", "alice"])["codes"].clone();
        let [first, second] = [0, 1].map(|at: usize| codes[at].as_str().unwrap());
        let now = clock::now().unsigned_abs();
        let [before, since, next] = [0, 1, 2].map(|more| code_of(&bytes, now / 30 + more));
        assert!(site.shown("alice", &before, now).is_some() && site.shown("alice", first, now).is_some());
        let (store, copy) = (site.path("ykweb.db"), site.path("copy"));
        std::fs::copy(&store, &copy).unwrap();
        assert!(site.shown("alice", &since, now).is_some() && site.shown("alice", second, now).is_some());

        let kept = if in_place {
            std::fs::copy(&copy, &store).unwrap();
            assert_eq!(site.user(&["list"]).code(), "web-store-restored");
            let said = site.command(&["restore", "--in-place"]);
            assert_eq!((&said.json["complete"], said.status), (&false.into(), Some(0)), "{}", said.json);
            assert_eq!(said.json["recovery_codes_ended"], serde_json::json!(["alice"]));
            let until = said.json["rejected_for_now"][0]["until"].as_u64().unwrap();
            assert!(until > now + 3600 && until < now + 7200, "{}", said.json);
            false
        } else {
            assert_eq!(site.command(&["restore", store.to_str().unwrap()]).code(), "command-line-invalid");
            let said = site.command(&["restore", copy.to_str().unwrap()]);
            assert_eq!((&said.json["complete"], said.status), (&true.into(), Some(0)), "{}", said.json);
            assert_eq!(said.json["recovery_codes_ended"], serde_json::json!([]));
            assert!(std::fs::exists(said.json["kept"].as_str().unwrap()).unwrap());
            true
        };
        for used in [before.as_str(), &since, first, second] {
            assert_eq!(site.shown("alice", used, now), None, "{used} was accepted again");
        }
        for unused in [next.as_str(), codes[2].as_str().unwrap()] {
            assert_eq!(site.shown("alice", unused, now).is_some(), kept, "{unused}");
        }
    }
}

#[test]
fn a_store_in_use_is_not_replaced() {
    let site = Site::made();
    let copy = site.path("copy");
    std::fs::copy(site.path("ykweb.db"), &copy).unwrap();
    let keys = read_store_key(&std::fs::read(site.path("store.key")).unwrap()).ok().unwrap();
    let _open = Store::open(&site.path("ykweb.db"), keys.ids()).unwrap();
    for copy in [copy.to_str().unwrap(), "--in-place"] {
        let said = site.command(&["restore", copy]);
        assert_eq!((said.code(), said.status), ("database-in-use", Some(2)));
    }
    assert_eq!(site.command(&["restore"]).code(), "command-line-invalid");
}

/// The code that an app with this secret shows at a step.
fn code_of(secret: &[u8], step: u64) -> String {
    let secret = Secret::new(secret.to_vec().into()).unwrap();
    let shown = oath::code(&secret, Parameters::APP, step);
    let is_it = |text: &String| Code::read(text.as_bytes()).is_some_and(|read| read.matches(&shown));
    (0..1_000_000).map(|number| format!("{number:06}")).find(is_it).unwrap()
}
