//! The dialogue as a table: what is typed, and how it ends. The store is a real one; the real libpam is in the package
//! `tests`.

use super::dialogue;
use super::eligible::Eligible;
use super::talk::{Gone, Talk, answer};
use std::collections::VecDeque;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use ykhost::settings::{PartialConfig, Settings};
use ykhost::store::{OathNotes, Store, TokenKey, write_store_key};
use ykhost::{clock, enrolled};
use yubiotp::dialogue::{Answer, End};
use yubiotp::key::OathKey;
use yubiotp::oath::{self, Parameters, Secret};
use yubiotp::policy::{Method, Methods};
use yubiotp::seal::StoreKey;
use yubiotp::{AesKey, Credential, PrivateId, PublicId, Serial, Series};
use zeroize::Zeroizing;

/// Yubico's vectors: two touches of one power-up, of the key 00 01 … 0f.
const ID: &str = "vvcccccccccb";
const FIRST: &str = "vvcccccccccbdvgtiblfkbgturecfllberrvkinnctnn";
const SECOND: &str = "vvcccccccccbrnibcnfhdninbrdebccrndfhjgnhftee";

/// Types answers, and has all that it saw. `@1` stands for the code of the app that was shown, one step from now; `#1` for
/// that of the hardware token.
#[derive(Default)]
struct Script {
    answers: VecDeque<&'static str>,
    seen: Vec<String>,
    asked: usize,
}

fn secret() -> Secret {
    Secret::new(Zeroizing::new(vec![7; 20])).unwrap()
}

fn code(secret: &Secret, off: u64) -> String {
    let step = clock::unix() / 30 + off;
    (0..1_000_000_u32)
        .map(|number| format!("{number:06}"))
        .find(|text| {
            let typed = oath::typed::Typed::read(text.as_bytes()).unwrap();
            let (_, typed) = typed.one(Parameters::APP.digits).unwrap();
            oath::code(secret, Parameters::APP, step).matches(&typed)
        })
        .unwrap()
}

impl Script {
    fn typed(&self, text: &str) -> String {
        let off = |text: &str| text.parse().unwrap();
        if let Some(ahead) = text.strip_prefix('#') {
            return code(&secret(), off(ahead));
        }
        let Some(ahead) = text.strip_prefix('@') else { return text.to_owned() };
        let line = self.seen.iter().rev().find_map(|text| text.split_once("secret   ")).unwrap().1;
        let letters: String = line.lines().next().unwrap().split(' ').collect();
        let bytes = data_encoding::BASE32_NOPAD.decode(letters.as_bytes()).unwrap();
        code(&Secret::new(Zeroizing::new(bytes)).unwrap(), off(ahead))
    }
}

impl Talk for Script {
    fn say(&mut self, text: &str) -> Result<(), Gone> {
        self.seen.push(text.to_owned());
        Ok(())
    }

    fn ask(&mut self, prompt: &str, _echo: bool) -> Result<Answer, Gone> {
        self.seen.push(prompt.to_owned());
        self.asked += 1;
        let text = self.answers.pop_front().ok_or(Gone)?;
        Ok(answer(self.typed(text).as_bytes()))
    }
}

/// A store with a YubiKey and a hardware token, both nobody's.
struct Host(tempfile::TempDir);

impl Host {
    fn new() -> Self {
        let host = Self(tempfile::tempdir().unwrap());
        for folder in ["keys", "positions"] {
            fs::create_dir(host.path(folder)).unwrap();
            fs::set_permissions(host.path(folder), Permissions::from_mode(0o700)).unwrap();
        }
        host.write("store.key", &write_store_key(&StoreKey::new([1; 32])));
        host.write("mapping", "bob:vvccccccccbb\n");
        host.write("config.toml", "mapping = 'mapping'\nstore = '.'\nstore_key = 'store.key'\n");
        let aes = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
        let credential =
            Credential { private_id: PrivateId::new([1, 2, 3, 4, 5, 6]), aes_key: AesKey::new(aes) };
        let yubikey = TokenKey::YubiKey(PublicId::parse(ID.as_bytes()).unwrap(), credential);
        let key = OathKey { secret: secret(), parameters: Parameters::APP };
        let notes = OathNotes { window: None, series: Series::new("a") };
        let store = host.store();
        let hardware = TokenKey::Oath(Serial::new("1001").unwrap(), key, notes);
        store.change().unwrap().enrol(&[yubikey, hardware], &|| {}).unwrap();
        store.set_claimable(Series::new("a").unwrap(), true).unwrap();
        host
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), Permissions::from_mode(0o600)).unwrap();
    }

    fn settings(&self) -> Settings {
        Settings::load(Some(&self.path("config.toml")), PartialConfig::default()).unwrap()
    }

    fn store(&self) -> Store {
        Store::new(&self.settings())
    }

    fn listed(&self) -> bool {
        enrolled::read(&self.settings(), b"alice")
            .unwrap()
            .both()
            .any(|list| String::from_utf8_lossy(list.text()).lines().any(|line| line.starts_with("alice")))
    }
}

fn run(host: &Host, until: Option<u64>, methods: Methods, answers: &[&'static str]) -> (End, Script) {
    let settings = host.settings().resolve_online().map_err(ykhost::Fault::from).unwrap();
    let who = Eligible { settings, user: "alice".to_owned(), until, methods };
    let mut script = Script { answers: answers.iter().copied().collect(), ..Script::default() };
    let end = dialogue::run(&who, &mut script);
    (end, script)
}

/// How it ended: the kind of the first token, `later`, or a code.
fn word(end: &End) -> &str {
    match end {
        End::Done(tokens) if tokens.starts_with("oath-app-") => "app",
        End::Done(tokens) if tokens.starts_with("oath-1001") => "hardware",
        End::Done(tokens) if tokens.starts_with(ID) => "yubikey",
        End::Done(_) => "?",
        End::Postponed => "later",
        End::Failed { code, .. } => code,
    }
}

/// Until when it may be put off, the methods, and what is typed → how it ends, and after how many questions.
type Row = (Option<u64>, Methods, &'static [&'static str], &'static str, usize);

#[test]
fn what_is_typed_and_how_it_ends() {
    let all = Methods::ALL;
    let later = Some(4_000_000_000);
    let without = |method| Methods::of(Method::ALL.into_iter().filter(|other| *other != method));
    let rows: &[Row] = &[
        (later, all, &[""], "later", 1),
        (later, all, &[" "], "later", 1),
        (None, all, &["", "", "", "", ""], "enrollment-broken-off", 5),
        (None, all, &["4", "0", "x", "-1", "99999999999999999999"], "enrollment-broken-off", 5),
        // Gone at each question.
        (None, all, &[], "enrollment-broken-off", 1),
        (None, all, &["1"], "enrollment-broken-off", 2),
        (None, all, &[FIRST], "enrollment-broken-off", 2),
        (None, all, &["2"], "enrollment-broken-off", 2),
        (None, all, &["3", "1001", "#0"], "enrollment-broken-off", 4),
        // A YubiKey: with the first touch at the menu, and after it.
        (None, all, &[FIRST, SECOND, ""], "yubikey", 3),
        (None, all, &["1", FIRST, SECOND, ""], "yubikey", 4),
        (None, all, &["1", FIRST, FIRST, SECOND, ""], "yubikey", 5),
        (None, all, &["1", SECOND, FIRST, FIRST, FIRST], "otp-replayed", 5),
        (None, all, &["1", "x", "123456", "y"], "answer-too-short", 4),
        (None, all, &["1", "", "1", FIRST, "", "2", "@0", ""], "app", 8),
        (None, without(Method::Recovery), &[FIRST, SECOND], "yubikey", 2),
        // An app. Without YubiKeys it is the first choice.
        (None, all, &["2", "@0", ""], "app", 3),
        (None, all, &["2", "q", "Q", "a", "A", "q", "@0", ""], "app", 8),
        (None, all, &["2", "@1", ""], "app", 3),
        (None, all, &["2", "000000", "@0", ""], "app", 4),
        (None, all, &["2", "@20", "@20", "@20"], "code-wrong", 4),
        (later, all, &["2", "", ""], "later", 3),
        (None, without(Method::YubiKey), &["1", "@0", ""], "app", 3),
        (None, without(Method::YubiKey), &[FIRST, "1", "@0", ""], "app", 4),
        // A hardware token.
        (None, all, &["3", "1001", "#0", "#1", ""], "hardware", 5),
        (None, all, &["3", "oath-1001", "#1", "#2", ""], "hardware", 5),
        (None, all, &["3", "", "3", "1001", "#0", "#1", ""], "hardware", 7),
        (None, all, &["3", "1001", "#0", "#0", "1001", "#0", "#1", ""], "hardware", 8),
        // Far out: for a try of the user's ten.
        (None, all, &["3", "1001", "#50", "#51", ""], "hardware", 5),
        (None, all, &["3", "1001", "#0", "#2", "1", "#0", "#1", "1001", "x", "#1"], "code-wrong", 10),
        (None, Methods::of([Method::Totp]), &["2", "1001", "#0", "#1"], "hardware", 4),
        (
            None,
            Methods::of([Method::Hotp]),
            &["1", "1001", "#0", "#1", "1001", "#0", "#1", "1001", "#0", "#1"],
            "method-not-allowed",
            10,
        ),
        (None, Methods::of([Method::Recovery]), &[], "nothing-to-offer", 0),
    ];
    for (until, methods, answers, expected, asked) in rows {
        let host = Host::new();
        let (end, script) = run(&host, *until, *methods, answers);
        assert_eq!(
            (word(&end), script.asked),
            (*expected, *asked),
            "{answers:?}: {end:?} {:#?}",
            script.seen
        );
        assert!(script.answers.is_empty(), "{answers:?}");
        // Enrolled as a whole, or not at all.
        let done = matches!(end, End::Done(_));
        assert_eq!(host.listed(), done, "{answers:?}");
        let codes = fs::read_dir(host.path("keys")).unwrap().count();
        let of_app = usize::from(*expected == "app");
        let of_codes = if done && methods.has(Method::Recovery) { 9 } else { 0 };
        assert_eq!(
            codes,
            2 + of_app + of_codes + usize::from(host.path("keys/.yubiotp.lock").exists()),
            "{answers:?}"
        );
        assert!(!done || !host.path("pending/alice").exists(), "{answers:?}");
        // Only what was asked for is not ASCII.
        let is_picture = |text: &String| text.contains('\u{2588}');
        assert!(
            script.seen.iter().filter(|text| !is_picture(text)).all(|text| text.is_ascii()),
            "{answers:?}"
        );
    }
}

/// A store that cannot be used: the user is told, and nothing changes.
#[test]
fn a_fault() {
    let host = Host::new();
    fs::remove_file(host.path("store.key")).unwrap();
    let (end, script) = run(&host, None, Methods::ALL, &["2"]);
    assert_eq!(word(&end), "store-key-missing");
    assert!(script.seen.last().unwrap().contains("Ask your administrator") && !host.listed());
}

#[test]
fn sshd_names_what_has_succeeded() {
    for (info, proves) in [
        ("publickey ssh-ed25519 AAAA\n", true),
        ("password\n", true),
        ("gssapi-with-mic alice@EXAMPLE\n", true),
        ("keyboard-interactive/pam\npublickey ssh-rsa AAAA", true),
        ("", false),
        ("none\n", false),
        ("keyboard-interactive/pam\n", false),
        ("publickeys\n", false),
        ("x publickey\n", false),
    ] {
        assert_eq!(super::first_factor::sshd_has_proof(info.as_bytes()), proves, "{info:?}");
    }
}
