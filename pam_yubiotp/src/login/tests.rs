//! A login against a script in place of libpam. The real libpam is in the package `tests`.

mod codes;
mod policy;
mod recovery;
mod restored;

use super::scripted::{Panics, Scripted};
use super::*;
use crate::handle::Standing;
use std::cell::RefCell;
use std::ffi::CString;
use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;
use ykhost::store::{KEYS, POSITIONS, Store, TokenKey, write_store_key};
use yubiotp::seal::StoreKey;
use yubiotp::{AesKey, Credential, PrivateId, PublicId};

/// OTPs of Yubico's vectors, in order, under the public id that `Place` enrols.
const OTPS: [&str; 3] = [
    "vvcbdvgtiblfkbgturecfllberrvkinnctnn",
    "vvcbrnibcnfhdninbrdebccrndfhjgnhftee",
    "vvcbiikkijbdknrrdhfdrjltvgrbkkjblcbh",
];

/// A folder with all that a login reads. Alice has the token vvcb.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for name in [KEYS, POSITIONS] {
            ykhost::file::make_folder(&place.path(name), 0o700).unwrap();
        }
        place.write("store.key", &write_store_key(&StoreKey::new([1; 32])));
        place.write("mapping", "alice:vvcb\ncarol:\n");
        place.write(
            "config.toml",
            "mapping = 'mapping'\nstore = '.'\nstore_key = 'store.key'\nlock_wait = 0\n",
        );
        let aes_key = AesKey::new([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        let credential = Credential { private_id: PrivateId::new([1, 2, 3, 4, 5, 6]), aes_key };
        let settings = Settings::load(Some(&place.path("config.toml")), PartialConfig::default()).unwrap();
        let token = PublicId::parse(b"vvcb").unwrap();
        Store::new(&settings)
            .change()
            .unwrap()
            .enrol(&[TokenKey::YubiKey(token, credential)], &|| {})
            .unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
        set_permissions(self.path(name), Permissions::from_mode(0o600)).unwrap();
    }

    /// Logs `host` in with these arguments beside `config=`.
    fn login(&self, host: &mut Scripted, args: &[&str]) -> PamResultCode {
        self.call(|host, args| authenticate(host, args, false), host, args)
    }

    /// The same for an account line.
    fn account(&self, host: &mut Scripted, args: &[&str]) -> PamResultCode {
        self.call(account, host, args)
    }

    fn call(
        &self,
        entry: fn(&mut Scripted, &[&CStr]) -> PamResultCode,
        host: &mut Scripted,
        args: &[&str],
    ) -> PamResultCode {
        let config = format!("config={}", self.path("config.toml").display());
        let args: Vec<_> =
            [config.as_str()].iter().chain(args).map(|arg| CString::new(*arg).unwrap()).collect();
        entry(host, &args.iter().map(CString::as_c_str).collect::<Vec<_>>())
    }
}

impl Scripted {
    fn new(user: &str, answers: &[&str]) -> Self {
        let answers = answers.iter().map(|answer| answer.as_bytes().to_vec()).collect();
        Self { user: user.as_bytes().to_vec(), answers: RefCell::new(answers), ..Self::default() }
    }

    fn asked(&self) -> usize {
        self.prompts.borrow().len()
    }

    fn last_line(&self) -> String {
        self.log.borrow().last().cloned().unwrap_or_default()
    }
}

/// What is done to a place before a login.
type Spoil = fn(&Place);
/// World, user, arguments, answers → code, prompts, part of the log line.
type Row = (
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
    PamResultCode,
    usize,
    &'static str,
);
/// Arguments, what is stacked, answers → what is left.
type HandOn = (&'static [&'static str], Option<&'static str>, &'static [&'static str], Option<&'static str>);

/// The state of the world, who asks with which arguments, what they answer → code, prompts, part of the log line.
#[test]
fn every_row_of_the_table() {
    let spoil: [(&str, Spoil); 5] = [
        ("fine", |_| {}),
        ("bad line", |place| place.write("mapping", "bob vvcd\n")),
        ("no key", |place| std::fs::remove_file(place.path("keys/vvcb")).unwrap()),
        ("no position", |place| std::fs::remove_file(place.path("positions/vvcb")).unwrap()),
        ("bad config", |place| place.write("config.toml", "nullok = true")),
    ];
    use PamResultCode::*;
    #[rustfmt::skip] // a table
    let rows: [Row; 25] = [
        ("fine", "alice", &[], &[OTPS[0]], PAM_SUCCESS, 1, "accepted user=alice token=vvcb mode=offline service=test"),
        ("fine", "alice", &["nullok"], &[OTPS[0]], PAM_SUCCESS, 1, "accepted"),
        ("fine", "alice", &[], &["guess"], PAM_AUTH_ERR, 1, "code=answer-too-short"),
        ("fine", "alice", &[], &[""], PAM_AUTH_ERR, 1, "code=answer-empty"),
        ("fine", "alice", &["nullok"], &[""], PAM_AUTH_ERR, 1, "code=answer-empty"),
        ("fine", "carol", &["nullok"], &[OTPS[0]], PAM_AUTH_ERR, 1, "code=user-without-token"),
        ("fine", "bob", &[], &[OTPS[0]], PAM_USER_UNKNOWN, 1, "code=user-not-listed"),
        ("fine", "bob", &["nullok"], &[], PAM_IGNORE, 0, "excused user=bob"),
        ("fine", "bob", &["nullok", "always_prompt"], &["pw"], PAM_IGNORE, 1, "excused user=bob"),
        ("fine", "bob", &["nullok", "always_prompt", "use_first_pass"], &[], PAM_IGNORE, 0, "excused user=bob"),
        ("fine", "Alice", &["nullok"], &[OTPS[0]], PAM_AUTHINFO_UNAVAIL, 1, "code=mapping-other-spelling"),
        ("fine", "EX+alice", &["nullok"], &[OTPS[0]], PAM_AUTHINFO_UNAVAIL, 1, "code=mapping-other-spelling"),
        ("fine", "bób", &["nullok"], &[OTPS[0]], PAM_AUTHINFO_UNAVAIL, 1, "code=mapping-name-not-plain"),
        ("fine", "bób", &[], &[OTPS[0]], PAM_USER_UNKNOWN, 1, "code=user-not-listed"),
        ("fine", "alice", &["tries=2"], &["x", "x"], PAM_MAXTRIES, 2, "code=answer-too-short"),
        ("fine", "alice", &["tries=2"], &["x", OTPS[0]], PAM_SUCCESS, 2, "accepted"),
        ("fine", "bob", &["tries=2"], &["x", "x"], PAM_MAXTRIES, 2, "code=user-not-listed"),
        ("fine", "alice", &["use_first_pass"], &[], PAM_AUTH_ERR, 0, "code=nothing-stacked"),
        ("fine", "alice", &["nulok"], &[], PAM_SERVICE_ERR, 0, "code=argument-unknown"),
        ("fine", "alice", &[], &[], PAM_CONV_ERR, 1, "code=no-answer"),
        ("bad line", "alice", &["nullok"], &[OTPS[0]], PAM_AUTHINFO_UNAVAIL, 1, "code=mapping-line-invalid"),
        ("bad line", "alice", &["tries=2"], &["x", "y"], PAM_AUTHINFO_UNAVAIL, 2, "code=mapping-line-invalid"),
        ("no key", "alice", &["nullok"], &[OTPS[0]], PAM_AUTHINFO_UNAVAIL, 1, "code=key-missing"),
        ("no position", "alice", &["nullok"], &[OTPS[0]], PAM_AUTHINFO_UNAVAIL, 1, "code=position-missing"),
        ("bad config", "alice", &["nullok"], &[OTPS[0]], PAM_AUTHINFO_UNAVAIL, 0, "code=setting-unknown"),
    ];
    for (world, user, args, answers, code, asked, line) in rows {
        let place = Place::new();
        let row = format!("{world} {user} {args:?} {answers:?}");
        spoil.iter().find(|(name, _)| *name == world).unwrap().1(&place);
        let mut host = Scripted::new(user, answers);
        let passes = matches!(code, PAM_SUCCESS | PAM_IGNORE);
        assert_eq!(place.login(&mut host, args), code, "{row}");
        assert_eq!(host.asked(), asked, "{row}");
        assert!(host.last_line().contains(line), "{row}: {}", host.last_line());
        assert_eq!(
            host.delayed,
            !passes && code != PAM_CONV_ERR,
            "{row}: every no is slowed down, and nothing else"
        );
        let standing = if code == PAM_SUCCESS {
            Standing::Accepted
        } else if passes {
            Standing::Excused
        } else {
            Standing::Refused
        };
        assert_eq!(host.remembered.map(|remembered| remembered.standing), Some(standing), "{row}");
        for secret in answers.iter().filter(|answer| answer.len() > 4) {
            assert!(
                !host.log.borrow().iter().any(|line| line.contains(secret)),
                "{row}: the answer is in the log"
            );
        }
    }
}

#[test]
fn an_otp_opens_once() {
    let place = Place::new();
    let login = |otp: &'static str| place.login(&mut Scripted::new("alice", &[otp]), &[]);
    assert_eq!(login(OTPS[1]), PamResultCode::PAM_SUCCESS);
    assert_eq!(login(OTPS[1]), PamResultCode::PAM_AUTH_ERR);
    assert_eq!(login(OTPS[0]), PamResultCode::PAM_AUTH_ERR);
    assert_eq!(login(OTPS[2]), PamResultCode::PAM_SUCCESS);
}

#[test]
fn the_password_is_handed_on() {
    let rows: [HandOn; 12] = [
        // Typed before the OTP here: for the modules behind.
        (&[], None, &["hunter2vvcbdvgtiblfkbgturecfllberrvkinnctnn"], Some("hunter2")),
        // An earlier module obtained a password: what is typed here does not replace it, even an empty one.
        (&[], Some("left"), &["junkvvcbdvgtiblfkbgturecfllberrvkinnctnn"], Some("left")),
        (&[], Some(""), &["junkvvcbdvgtiblfkbgturecfllberrvkinnctnn"], Some("")),
        (&["try_first_pass"], Some("left"), &["junkvvcbdvgtiblfkbgturecfllberrvkinnctnn"], Some("left")),
        // Of several tries, the last says what the password is: what an earlier one held is not kept.
        (
            &["tries=2"],
            None,
            &["junkvvcbdvgtiblfkbgturecfllberrvkinnctnc", "hunter2vvcbdvgtiblfkbgturecfllberrvkinnctnn"],
            Some("hunter2"),
        ),
        (&["tries=2"], None, &["junkvvcbdvgtiblfkbgturecfllberrvkinnctnc", OTPS[0]], None),
        (&["tries=2"], Some("left"), &["junkvvcbdvgtiblfkbgturecfllberrvkinnctnc", OTPS[0]], Some("left")),
        // Nothing typed before it: what another module left stays.
        (&[], Some("left"), &[OTPS[0]], Some("left")),
        // A stacked answer loses its OTP.
        (&["use_first_pass"], Some("hunter2vvcbdvgtiblfkbgturecfllberrvkinnctnn"), &[], Some("hunter2")),
        (&["use_first_pass"], Some(OTPS[0]), &[], None),
        (&["try_first_pass"], Some(OTPS[0]), &[], None),
        // No OTP in it: the user is asked, and it stays.
        (&["try_first_pass"], Some("hunter2"), &[OTPS[0]], Some("hunter2")),
    ];
    for (args, stacked, answers, left) in rows {
        let place = Place::new();
        let mut host = Scripted::new("alice", answers);
        host.authtok = stacked.map(|text| text.as_bytes().to_vec());
        assert_eq!(place.login(&mut host, args), PamResultCode::PAM_SUCCESS, "{args:?} {stacked:?}");
        assert_eq!(host.asked(), answers.len(), "{args:?} {stacked:?}");
        assert_eq!(host.authtok.as_deref(), left.map(str::as_bytes), "{args:?} {stacked:?}");
    }
}

/// An OTP of a stacked answer is always taken away, and what is typed afterwards replaces the password before it as
/// little as any other that was obtained.
#[test]
fn after_a_refused_stacked_otp_the_stacked_password_is_kept() {
    for (stacked, typed, left) in
        [("hunter2", "junk", Some("hunter2")), ("", "hunter2", Some("hunter2")), ("", "", None)]
    {
        let place = Place::new();
        let mut host = Scripted::new("alice", &[&format!("{typed}{}", OTPS[0])]);
        host.authtok = Some(format!("{stacked}vvcbdvgtiblfkbgturecfllberrvkinnctnc").into());
        assert_eq!(
            place.login(&mut host, &["try_first_pass"]),
            PamResultCode::PAM_SUCCESS,
            "{stacked:?} {typed:?}"
        );
        assert_eq!(host.authtok.as_deref(), left.map(str::as_bytes), "{stacked:?} {typed:?}");
    }
}

/// Who is excused with always_prompt answers for the modules behind, unless an earlier one has a password already.
#[test]
fn an_excused_users_answer_replaces_no_password() {
    for (stacked, left) in [(None, "typed"), (Some("left"), "left"), (Some(""), "")] {
        let place = Place::new();
        let mut host = Scripted::new("bob", &["typed"]);
        host.authtok = stacked.map(|text: &str| text.as_bytes().to_vec());
        assert_eq!(
            place.login(&mut host, &["nullok", "always_prompt"]),
            PamResultCode::PAM_IGNORE,
            "{stacked:?}"
        );
        assert_eq!(host.authtok.as_deref(), Some(left.as_bytes()), "{stacked:?}");
    }
}

#[test]
fn a_replayed_stacked_otp_is_logged_and_the_user_asked() {
    let place = Place::new();
    assert_eq!(place.login(&mut Scripted::new("alice", &[OTPS[0]]), &[]), PamResultCode::PAM_SUCCESS);
    let mut host = Scripted::new("alice", &[OTPS[1]]);
    host.authtok = Some(OTPS[0].into());
    assert_eq!(place.login(&mut host, &["try_first_pass"]), PamResultCode::PAM_SUCCESS);
    let log = host.log.borrow();
    assert!(
        matches!(&log[..], [no, yes] if no.starts_with("refused") && yes.starts_with("accepted")),
        "{log:?}"
    );
}

/// Who logs in to what → code.
type Refused = (&'static str, &'static str, &'static [&'static str], &'static [&'static str], PamResultCode);

/// The time to the second prompt must not tell who is listed, nor why somebody is refused: before each prompt but the first,
/// it waits for the same time since the answer came.
#[test]
fn each_try_after_a_refusal_waits_for_everybody_alike() {
    use PamResultCode::*;
    let x = &["x", "x", "x"];
    let rows: [Refused; 8] = [
        ("fine", "alice", &[], x, PAM_MAXTRIES),
        ("fine", "bob", &[], x, PAM_MAXTRIES),
        ("fine", "carol", &[], x, PAM_MAXTRIES),
        ("fine", "alice", &[], &[OTPS[0], OTPS[0], OTPS[0]], PAM_MAXTRIES),
        ("bad line", "alice", &[], x, PAM_AUTHINFO_UNAVAIL),
        ("bad line", "bob", &["nullok"], x, PAM_AUTHINFO_UNAVAIL),
        // Of a fault of the store only who has a token hears, and asked less often they would be known for listed.
        ("no key", "alice", &[], &[OTPS[1], "x", "x"], PAM_AUTHINFO_UNAVAIL),
        ("no key", "bob", &[], &[OTPS[1], "x", "x"], PAM_MAXTRIES),
    ];
    for (world, user, args, answers, code) in rows {
        let row = format!("{world} {user} {args:?} {answers:?}");
        let place = Place::new();
        assert_eq!(place.login(&mut Scripted::new("alice", &[OTPS[0]]), &[]), PAM_SUCCESS, "used up");
        match world {
            "bad line" => place.write("mapping", "bob vvcd\n"),
            "no key" => std::fs::remove_file(place.path("keys/vvcb")).unwrap(),
            _ => {}
        }
        let mut host = Scripted::new(user, answers);
        assert_eq!(place.login(&mut host, &[args, &["tries=3"]].concat()), code, "{row}");
        waits_between(&host, 3, &row);
        assert!(host.delayed, "{row}: the last refusal is libpam's to delay");
    }
}

/// One wait before each prompt but the first, since the answer before it.
fn waits_between(host: &Scripted, prompts: usize, row: &str) {
    assert_eq!(host.asked(), prompts, "{row}");
    let waits = host.waits.borrow();
    let after: Vec<_> = waits.iter().map(|(.., prompts)| *prompts).collect();
    assert_eq!(after, (1..prompts).collect::<Vec<_>>(), "{row}");
    for (index, (since, delay, _)) in waits.iter().enumerate() {
        // Between the answer and the line of its refusal: deciding is part of the wait.
        let (answered, decided) =
            (host.answered.borrow()[index], host.logged.borrow()[index.min(host.log.borrow().len() - 1)]);
        assert!(answered <= *since && *since <= decided, "{row}: measured from another moment");
        assert!((1..3).contains(&delay.as_secs()), "{row}: {delay:?}");
    }
}

#[test]
fn nobody_waits_who_was_not_refused() {
    use PamResultCode::*;
    let place = Place::new();
    for (user, args, answers, code, waits) in [
        ("alice", &["tries=3"][..], &[OTPS[0]][..], PAM_SUCCESS, 0),
        ("alice", &["tries=3"], &["x", OTPS[1]], PAM_SUCCESS, 1),
        ("alice", &["tries=3"], &[], PAM_CONV_ERR, 0),
        ("bob", &["tries=3", "nullok", "always_prompt"], &["x"], PAM_IGNORE, 0),
        ("alice", &[], &["x"], PAM_AUTH_ERR, 0),
    ] {
        let mut host = Scripted::new(user, answers);
        assert_eq!(place.login(&mut host, args), code, "{user} {args:?}");
        assert_eq!(host.waits.borrow().len(), waits, "{user} {args:?}");
    }
}

/// A stacked answer that holds an OTP and is refused is a try like another.
#[test]
fn a_refused_stacked_otp_waits_before_the_prompt() {
    for (user, stacked, world, waits) in [
        ("alice", OTPS[0], "fine", 1),
        ("bob", OTPS[0], "fine", 1),
        ("alice", OTPS[0], "no key", 1),
        ("alice", OTPS[0], "bad line", 1),
        ("alice", "hunter2", "fine", 0),
        ("bob", "hunter2", "fine", 0),
    ] {
        let row = format!("{user} {stacked} {world}");
        let place = Place::new();
        assert_eq!(place.login(&mut Scripted::new("alice", &[OTPS[0]]), &[]), PamResultCode::PAM_SUCCESS);
        match world {
            "bad line" => place.write("mapping", "bob vvcd\n"),
            "no key" => std::fs::remove_file(place.path("keys/vvcb")).unwrap(),
            _ => {}
        }
        let mut host = Scripted::new(user, &["x"]);
        host.authtok = Some(stacked.into());
        place.login(&mut host, &["try_first_pass"]);
        assert_eq!((host.asked(), host.waits.borrow().len()), (1, waits), "{row}");
    }
}

/// Half of the delay to half as much again, and not always the same.
#[test]
fn the_wait_varies() {
    let delays: std::collections::BTreeSet<_> = (0..50).map(|_| conversation::varied_delay()).collect();
    assert!(delays.len() > 40, "{delays:?}");
    let (first, last) = (delays.first().unwrap(), delays.last().unwrap());
    assert!(*first >= Duration::from_secs(1) && *last <= Duration::from_secs(3), "{delays:?}");
    assert!(*first < Duration::from_millis(1500) && *last > Duration::from_millis(2500), "{delays:?}");
}

#[test]
fn account_knows_who_was_accepted_here() {
    use PamResultCode::*;
    let place = Place::new();
    let mut host = Scripted::new("alice", &[OTPS[0]]);
    assert_eq!(place.account(&mut host, &[]), PAM_AUTH_ERR);
    assert!(host.last_line().contains("no auth line of this module"), "{}", host.last_line());
    place.login(&mut host, &[]);
    assert_eq!(place.account(&mut host, &[]), PAM_SUCCESS);
    assert_eq!(place.account(&mut host, &["nulok"]), PAM_SERVICE_ERR);
    host.user = b"root".to_vec();
    assert_eq!(place.account(&mut host, &[]), PAM_AUTH_ERR, "the application changed the user");
    let mut excused = Scripted::new("bob", &[]);
    place.login(&mut excused, &["nullok"]);
    assert_eq!(place.account(&mut excused, &["nullok"]), PAM_IGNORE);
    assert_eq!(place.account(&mut excused, &[]), PAM_AUTH_ERR, "this line excuses nobody");
    let mut again = Scripted::new("alice", &[OTPS[1], OTPS[1]]);
    place.login(&mut again, &[]);
    place.login(&mut again, &[]);
    assert_eq!(place.account(&mut again, &[]), PAM_AUTH_ERR, "refused since");
}

/// Somebody for whom no auth line was asked, as sshd does after a key: `nullok` excuses who is not listed.
#[test]
fn account_excuses_with_nullok_whom_the_mapping_does_not_list() {
    use PamResultCode::*;
    let place = Place::new();
    for (user, args, code) in [
        ("bob", &["nullok"][..], PAM_IGNORE),
        ("bob", &[], PAM_AUTH_ERR),
        ("alice", &["nullok"], PAM_AUTH_ERR),
        ("carol", &["nullok"], PAM_AUTH_ERR),
        ("Alice", &["nullok"], PAM_AUTHINFO_UNAVAIL),
        ("EX/carol", &["nullok"], PAM_AUTHINFO_UNAVAIL),
        ("bób", &["nullok"], PAM_AUTHINFO_UNAVAIL),
        ("bób", &[], PAM_AUTH_ERR),
    ] {
        let mut host = Scripted::new(user, &[]);
        assert_eq!(place.account(&mut host, args), code, "{user} {args:?}");
        assert_eq!((host.asked(), host.log.borrow().len()), (0, 1), "{user} {args:?}");
    }
    place.write("mapping", "bob vvcb\n");
    assert_eq!(place.account(&mut Scripted::new("bob", &[]), &["nullok"]), PAM_AUTHINFO_UNAVAIL);
}

#[test]
fn the_prompt_says_all_there_is() {
    let place = Place::new();
    let prompt = |user: &[u8], args: &[&str]| {
        let mut host = Scripted { user: user.to_vec(), ..Scripted::new("", &["x"]) };
        place.login(&mut host, args);
        host.prompts.take().pop().unwrap()
    };
    assert_eq!(prompt(b"alice", &[]), "YubiKey for alice: ");
    assert_eq!(prompt(b"bob", &[]), "YubiKey for bob: ");
    assert_eq!(prompt(b"alice", &["prompt=Password and press (%u): "]), "Password and press (alice): ");
    assert_eq!(prompt(b"a\x1b[2Jb\xff", &[]), "YubiKey for a\\u{1b}[2Jb\\xff: ");
}

/// What a terminal would obey, or not show, reaches neither log nor prompt.
#[test]
fn a_name_that_is_not_printable_is_escaped() {
    let place = Place::new();
    for (name, in_log, in_prompt) in [
        ("a\u{202e}b", "\"a\\u{202e}b\"", "a\\u{202e}b"),
        ("a\u{2028}b", "\"a\\u{2028}b\"", "a\\u{2028}b"),
        ("a\u{200b}b", "\"a\\u{200b}b\"", "a\\u{200b}b"),
        ("jürgen", "\"jürgen\"", "jürgen"),
    ] {
        let mut host = Scripted::new(name, &["x"]);
        place.login(&mut host, &["debug"]);
        assert!(host.last_line().contains(&format!(" user={in_log} ")), "{}", host.last_line());
        assert_eq!(*host.prompts.borrow(), [format!("YubiKey for {in_prompt}: ")]);
        for line in host.log.borrow().iter() {
            assert!(line.chars().all(yubiotp::shown::is_printable), "{line}");
        }
    }
}

/// A mistake of ours lets nobody in, is found in the log by its place in the source, and tells nothing that somebody typed.
#[test]
fn a_panic_is_logged_with_its_place_and_refuses() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        crate::internal_error::note(info);
        before(info);
    }));
    let place = Place::new();
    let typed = format!("hunter2{}", OTPS[0]);
    for panics in [Panics::User, Panics::Ask, Panics::HandOn, Panics::Remember] {
        let place = Place::new();
        let mut host = Scripted { panics, ..Scripted::new("alice", &[&typed]) };
        assert_eq!(place.login(&mut host, &["debug"]), PamResultCode::PAM_ABORT);
        is_internal_error(&host);
        assert!(host.delayed);
        assert!(host.remembered.as_ref().is_some_and(|it| it.standing == Standing::Refused));
        host.panics = Panics::Never;
        assert_eq!(place.account(&mut host, &[]), PamResultCode::PAM_AUTH_ERR);
    }
    for (panics, args) in [(Panics::User, &[][..]), (Panics::Remembered, &[])] {
        let mut host = Scripted { panics, ..Scripted::new("alice", &[]) };
        assert_eq!(place.account(&mut host, args), PamResultCode::PAM_ABORT);
        is_internal_error(&host);
    }
}

fn is_internal_error(host: &Scripted) {
    let line = host.last_line();
    assert!(line.starts_with("fault user=alice token=none mode=none service=test "), "{line}");
    let (_, at) = line.split_once("reason=\"internal error at ").unwrap();
    let (file, rest) = at.split_once(':').unwrap();
    assert!(file.ends_with("login/scripted.rs"), "{line}");
    assert!(rest.bytes().take_while(u8::is_ascii_digit).count() > 0, "{line}");
    assert!(host.log.borrow().iter().all(|line| !line.contains("hunter2")), "{line}");
}

/// A key touched at `login:`.
#[test]
fn an_otp_for_a_name_is_not_logged() {
    let place = Place::new();
    let mut host = Scripted::new(OTPS[0], &["x"]);
    place.login(&mut host, &[]);
    assert!(host.last_line().starts_with("refused user=(an-OTP) "), "{}", host.last_line());
}

#[test]
fn debug_tells_the_steps_and_no_secret() {
    let place = Place::new();
    let mut host = Scripted::new("alice", &["hunter2vvcbdvgtiblfkbgturecfllberrvkinnctnn"]);
    place.login(&mut host, &["debug"]);
    let log = host.log.borrow().join("\n");
    assert!(log.contains("lists for the user: 1") && log.contains("keyboard layout QWERTY"), "{log}");
    assert!(!log.contains("hunter2") && !log.contains("dvgtiblf"), "{log}");
}

/// sshd with `KbdInteractiveAuthentication no` asks once, and gives the password to every prompt.
#[test]
fn a_password_that_comes_again_is_named() {
    let place = Place::new();
    for (answer, code) in [
        ("hunter2", "answer-is-password"),
        ("a password of more than thirty-two characters", "answer-without-otp"),
        ("hunter3", "answer-too-short"),
    ] {
        let mut host = Scripted::new("alice", &[answer]);
        host.authtok = Some(b"hunter2".to_vec());
        assert_eq!(place.login(&mut host, &[]), PamResultCode::PAM_AUTH_ERR);
        assert!(host.last_line().contains(&format!(" code={code} reason=")), "{}", host.last_line());
        assert!(!host.last_line().contains("hunter"), "{}", host.last_line());
        assert_eq!(host.authtok.as_deref(), Some(&b"hunter2"[..]), "it stays");
    }
    // sshd gives its dummy to every prompt, too, and an empty password is one that was not typed.
    let dummy = "\u{8}\n\r\u{7f}INCORRECT";
    for (answer, code) in [(dummy, "answer-is-dummy"), ("", "answer-empty"), (" ", "answer-empty")] {
        let mut host = Scripted::new("alice", &[answer]);
        host.authtok = Some(answer.as_bytes().to_vec());
        assert_eq!(place.login(&mut host, &[]), PamResultCode::PAM_AUTH_ERR);
        assert!(host.last_line().contains(&format!(" code={code} reason=")), "{}", host.last_line());
    }
    // Of an answer of our own asking, nothing is known.
    let mut host = Scripted::new("alice", &["hunter2"]);
    place.login(&mut host, &[]);
    assert!(host.last_line().contains(" code=answer-too-short "), "{}", host.last_line());
}
