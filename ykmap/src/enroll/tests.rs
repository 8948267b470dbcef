//! The dialogue as a table: what is typed, and how it ends. The store is a real one; the real libpam is in the package
//! `tests`.

use super::dialogue;
use super::eligible::Eligible;
use super::log::Log;
use super::talk::{Gone, Talk, answer};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::rc::Rc;
use ykhost::settings::{PartialConfig, Settings};
use ykhost::store::{OathNotes, Origin, Store, TokenKey, Unfinished, write_store_key};
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
/// An OTP of a YubiKey that the store does not have.
const UNKNOWN: &str = "vvcccccccccdrnibcnfhdninbrdebccrndfhjgnhftee";
const SECOND: &str = "vvcccccccccbrnibcnfhdninbrdebccrndfhjgnhftee";

/// Types answers, and has all that it saw. `@1` stands for the code of the app that was shown, one step from now; `#1` for
/// that of the hardware token.
#[derive(Default)]
struct Script<'s> {
    answers: VecDeque<&'static str>,
    /// What happens while the user is asked for a code of the app.
    meanwhile: Option<Box<dyn FnOnce() + 's>>,
    seen: Vec<String>,
    asked: usize,
    /// The step of time at the first code. Those after it are counted from there, so that two stay successive.
    began: Option<u64>,
    /// The lines in the log.
    log: Vec<String>,
}

fn secret() -> Secret {
    Secret::new(Zeroizing::new(vec![7; 20])).unwrap()
}

fn code(secret: &Secret, step: u64) -> String {
    (0..1_000_000_u32)
        .map(|number| format!("{number:06}"))
        .find(|text| {
            let typed = oath::typed::Typed::read(text.as_bytes()).unwrap();
            let (_, typed) = typed.one(Parameters::APP.digits).unwrap();
            oath::code(secret, Parameters::APP, step).matches(&typed)
        })
        .unwrap()
}

impl Script<'_> {
    fn typed(&mut self, text: &str) -> String {
        let mut step = |ahead: &str| {
            *self.began.get_or_insert_with(|| clock::unix() / 30) + ahead.parse::<u64>().unwrap()
        };
        if let Some(ahead) = text.strip_prefix('#') {
            return code(&secret(), step(ahead));
        }
        let Some(ahead) = text.strip_prefix('@') else { return text.to_owned() };
        let step = step(ahead);
        let line = self.seen.iter().rev().find_map(|text| text.split_once("secret   ")).unwrap().1;
        let letters: String = line.lines().next().unwrap().split(' ').collect();
        let bytes = data_encoding::BASE32_NOPAD.decode(letters.as_bytes()).unwrap();
        code(&Secret::new(Zeroizing::new(bytes)).unwrap(), step)
    }
}

impl Talk for Script<'_> {
    fn say(&mut self, text: &str) -> Result<(), Gone> {
        self.seen.push(text.to_owned());
        Ok(())
    }

    fn ask(&mut self, prompt: &str, _echo: bool) -> Result<Answer, Gone> {
        self.seen.push(prompt.to_owned());
        self.asked += 1;
        if prompt.contains("Type the code")
            && let Some(meanwhile) = self.meanwhile.take()
        {
            meanwhile();
        }
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

    fn offer(&self) -> String {
        let text = ykhost::file::read_untrusted(&self.path("pending/alice"), 4096).unwrap();
        String::from_utf8(text).unwrap()
    }

    fn listed(&self) -> bool {
        enrolled::read(&self.settings(), b"alice")
            .unwrap()
            .both()
            .any(|list| String::from_utf8_lossy(list.text()).lines().any(|line| line.starts_with("alice")))
    }
}

fn run(
    host: &Host,
    until: Option<u64>,
    methods: Methods,
    answers: &[&'static str],
) -> (End, Script<'static>) {
    let script = Script { answers: answers.iter().copied().collect(), ..Script::default() };
    run_at(host, HERE, until, methods, script)
}

/// Where a login comes from: the service, and PAM_RHOST.
type Place = (&'static str, Option<&'static str>);

const HERE: Place = ("sshd", Some("192.0.2.1"));

fn run_at<'s>(
    host: &Host,
    place: Place,
    until: Option<u64>,
    methods: Methods,
    mut script: Script<'s>,
) -> (End, Script<'s>) {
    let settings = host.settings().resolve_online().map_err(ykhost::Fault::from).unwrap();
    let origin = Origin::login(place.0.as_bytes(), place.1.map(str::as_bytes));
    let lines = Rc::new(RefCell::new(Vec::new()));
    let written = Rc::clone(&lines);
    let log = Log {
        user: "alice".to_owned(),
        service: b"sshd".to_vec(),
        rhost: None,
        write: Box::new(move |line| written.borrow_mut().push(line)),
    };
    let who = Eligible { settings, user: "alice".to_owned(), until, methods, origin, log };
    let end = dialogue::run(&who, &mut script);
    script.log = lines.take();
    (end, script)
}

/// A login of a user who has to enroll.
fn at(host: &Host, place: Place, answers: &[&'static str]) -> (End, Script<'static>) {
    let script = Script { answers: answers.iter().copied().collect(), ..Script::default() };
    run_at(host, place, None, Methods::ALL, script)
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
        (None, all, &["", "", "", "", "", ""], "enrollment-broken-off", 6),
        (None, all, &["4", "0", "x", "-1", "99999999999999999999"], "enrollment-broken-off", 6),
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
        (None, all, &["1", SECOND, FIRST, FIRST, FIRST], "otp-replayed", 6),
        (None, all, &["1", "x", "123456", "y"], "answer-too-short", 5),
        (None, all, &["1", UNKNOWN, UNKNOWN, UNKNOWN, ""], "token-not-here", 5),
        (None, all, &["1", "", "1", FIRST, "", "2", "@0", ""], "app", 8),
        (None, without(Method::Recovery), &[FIRST, SECOND], "yubikey", 2),
        // An app. Without YubiKeys it is the first choice.
        (None, all, &["2", "@0", ""], "app", 3),
        (None, all, &["2", "q", "Q", "a", "A", "q", "@0", ""], "app", 8),
        (None, all, &["2", "@1", ""], "app", 3),
        (None, all, &["2", "000000", "@0", ""], "app", 4),
        (None, all, &["2", "n", "N", "@0", ""], "app", 5),
        (None, all, &["2", "@20", "@20", "@20"], "code-wrong", 5),
        // Who may put it off gets in all the same, if they are still there.
        (later, all, &["2", "@20", "@20", "@20"], "code-wrong", 5),
        (later, all, &["2", "@20", "@20", "@20", ""], "later", 5),
        (later, all, &["x", "x", "x", "x", "x", ""], "later", 6),
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
        (None, all, &["3", "1001", "#0", "#2", "1", "#0", "#1", "1001", "x", "#1"], "code-wrong", 11),
        (None, all, &["3", "1001", "", "3", "1001", "#0", "", "2", "@0", ""], "app", 10),
        (None, Methods::of([Method::Totp]), &["2", "1001", "#0", "#1"], "hardware", 4),
        (
            None,
            Methods::of([Method::Hotp]),
            &["1", "1001", "#0", "#1", "1001", "#0", "#1", "1001", "#0", "#1"],
            "method-not-allowed",
            11,
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
        let files = fs::read_dir(host.path("keys")).unwrap().map(|file| file.unwrap().file_name());
        let keys = files.filter(|name| !name.as_encoded_bytes().starts_with(b".")).count();
        let of_app = usize::from(*expected == "app");
        let of_codes = if done && methods.has(Method::Recovery) { 9 } else { 0 };
        assert_eq!(keys, 2 + of_app + of_codes, "{answers:?}");
        assert!(!done || !host.path("pending/alice").exists(), "{answers:?}");
        // Only what was asked for is not ASCII.
        let is_picture = |text: &String| text.contains('\u{2588}');
        assert!(
            script.seen.iter().filter(|text| !is_picture(text)).all(|text| text.is_ascii()),
            "{answers:?}"
        );
        // A client of ssh writes the names of user and host before the first line. Nobody can break a URI.
        let lines = script.seen.iter().filter(|text| !is_picture(text)).flat_map(|text| text.lines());
        let mut lines = lines.filter(|line| !line.contains("otpauth://") && !line.contains('@'));
        assert_eq!(lines.find(|line| line.trim().len() > 60), None, "{answers:?}");
    }
}

impl Script<'_> {
    /// The secrets that were shown.
    fn secrets(&self) -> Vec<&str> {
        let line = |text: &'_ String| text.split_once("secret   ").map(|(before, _)| before.len() + 9);
        self.seen.iter().filter_map(|text| text.get(line(text)?..)?.lines().next()).collect()
    }

    fn has(&self, part: &str) -> bool {
        self.seen.iter().any(|text| text.contains(part))
    }
}

const REPEATED: &str = "You were shown this secret ";
const REPLACED: &str = "Somebody began to enroll as you at ";

/// Who looked at an offer does not know the secret that the user then enrolls elsewhere; and at one place, the user sees that
/// it was shown before.
#[test]
fn a_secret_that_somebody_saw() {
    let host = Host::new();
    let (_, first) = at(&host, HERE, &["2"]);
    assert!(!first.has(REPEATED) && !first.has(REPLACED));
    let (_, again) = at(&host, HERE, &["2", "", "2"]);
    assert_eq!(again.secrets(), [first.secrets()[0]; 2]);
    assert!(again.has(REPEATED) && !again.has(REPLACED));
    assert!(again.has("once before, at ") && again.has("2 times before,\nlast at "), "{:#?}", again.seen);
    // A new one on demand, which takes the place of the other.
    let (_, renewed) = at(&host, HERE, &["2", "n"]);
    let [old, new] = renewed.secrets()[..] else { panic!("{:#?}", renewed.seen) };
    assert!(old == first.secrets()[0] && new != old && !renewed.has(REPLACED));
    assert_eq!(at(&host, HERE, &["2"]).1.secrets(), [new]);
    // From elsewhere.
    let mut known = vec![new.to_owned()];
    let mut before = "192.0.2.1 (sshd)";
    for (place, shown) in [
        (("sshd", Some("192.0.2.7")), "192.0.2.7 (sshd)"),
        (("cockpit", Some("192.0.2.7")), "192.0.2.7 (cockpit)"),
        (("login", None), "this host (login)"),
        (HERE, ""),
    ] {
        let (_, other) = at(&host, place, &["2"]);
        let [secret] = other.secrets()[..] else { panic!("{:#?}", other.seen) };
        assert!(!known.iter().any(|it| it == secret), "{place:?}");
        assert!(other.has(REPLACED) && other.has(&format!(" UTC from {before} and ")), "{:#?}", other.seen);
        assert!(!other.has(REPEATED));
        known.push(secret.to_owned());
        before = shown;
    }
    let (end, last) = at(&host, ("sshd", Some("192.0.2.7")), &["2", "@0", ""]);
    assert!(word(&end) == "app" && !known.iter().any(|it| it == last.secrets()[0]));
}

/// What happens while the user is asked for a code → how it ends.
type Meanwhile<'m> = (&'m str, &'m str, &'m dyn Fn(&Host));

/// An offer that ended while a dialogue shows it cannot be taken.
#[test]
fn an_offer_that_ended_meanwhile() {
    let unlist = |host: &Host| {
        enrolled::edit(&host.settings(), b"alice", |lists| {
            lists.remove(b"alice", None);
            Ok::<_, ykhost::Fault>(())
        })
        .unwrap();
    };
    // By the next code, which uses up that of this moment, too.
    let enroll = |host: &Host| assert_eq!(word(&at(host, HERE, &["2", "@1", ""]).0), "app");
    let rows: &[Meanwhile<'_>] = &[
        ("another login enrolls it", "already-enrolled", &enroll),
        ("the same, and the user is reset", "offer-ended", &|host| {
            enroll(host);
            unlist(host);
        }),
        ("the user is reset", "offer-ended", &|host| assert!(host.store().end_offer(b"alice").unwrap())),
        ("a login from elsewhere", "offer-ended", &|host| drop(at(host, ("su", None), &["2"]))),
        // Somebody who looked at it knows the secret.
        ("the same secret, in another login", "offer-ended", &|host| drop(at(host, HERE, &["2"]))),
        ("a new secret at the same place", "offer-ended", &|host| drop(at(host, HERE, &["2", "n"]))),
        ("a code that was used, and an offer that came back", "code-used", &|host| {
            let offer = host.offer();
            enroll(host);
            unlist(host);
            host.write("pending/alice", &offer);
        }),
        ("a code that was used, and the key is gone", "code-used", &|host| {
            let offer = host.offer();
            enroll(host);
            unlist(host);
            let (tokens, _) = host.store().tokens().unwrap();
            let app = tokens.iter().find(|token| token.to_string().starts_with("oath-app-")).unwrap();
            host.store().change().unwrap().remove(app).unwrap();
            host.write("pending/alice", &offer);
        }),
        ("nothing", "app", &|_| {}),
    ];
    for (what, expected, meanwhile) in rows {
        let host = Host::new();
        let script = Script {
            answers: ["2", "@0", ""].into(),
            meanwhile: Some(Box::new(|| meanwhile(&host))),
            ..Script::default()
        };
        let before = host.listed();
        let (end, script) = run_at(&host, HERE, None, Methods::ALL, script);
        assert_eq!(word(&end), *expected, "{what}: {end:?} {:#?}", script.seen);
        assert_eq!(host.listed() != before, ["app", "already-enrolled"].contains(expected), "{what}");
        assert!(
            *expected == "app"
                || script
                    .seen
                    .iter()
                    .rev()
                    .any(|text| text.contains("meanwhile") || text.contains("Another login showed")),
            "{what}"
        );
    }
}

/// An enrollment that was cut off after the list was written leaves an offer that nobody can take.
#[test]
fn an_offer_that_was_taken_before_a_crash() {
    let host = Host::new();
    let _ = at(&host, HERE, &["2"]);
    let offer = host.offer();
    assert_eq!(word(&at(&host, HERE, &["2", "@0", ""]).0), "app");
    host.write("pending/alice", &offer);
    let (tokens, _) = host.store().tokens().unwrap();
    let tokens: Vec<_> =
        tokens.into_iter().filter(|token| token.to_string().starts_with("oath-app-")).collect();
    let store = host.store();
    let change = store.change().unwrap();
    change.begin_unfinished(&Unfinished { users: vec!["alice".to_owned()], tokens }).unwrap();
    crate::exchange::finish(&host.settings(), &change).unwrap();
    assert!(!host.path("pending/alice").exists());
}

/// A user who goes away leaves a line, also when they are enrolled already.
#[test]
fn the_log() {
    let (end, script) = run(&Host::new(), None, Methods::ALL, &["2", "@0"]);
    let End::Done(tokens) = end else { panic!("{end:?}") };
    let [line] = &script.log[..] else { panic!("{:?}", script.log) };
    let listed = tokens.replace(':', ",");
    assert_eq!(line, &format!("event=enroll user=alice service=sshd rhost=none token={listed}"));
    for answers in [&[][..], &["2"], &["1", FIRST]] {
        let (_, script) = run(&Host::new(), None, Methods::ALL, answers);
        let [line] = &script.log[..] else { panic!("{answers:?}: {:?}", script.log) };
        let begin =
            "event=enroll-failed user=alice service=sshd rhost=none code=enrollment-broken-off reason=";
        assert!(line.starts_with(begin), "{line}");
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
