//! One accepted login by the code of an authenticator app, and one by a recovery code.
//!
//! A code is good once, so each login is another user's. Windows are as wide, a code that was used is refused, and guessing
//! is limited where the module can.

use crate::page::{Aim, Limit, Section, head, row};
use crate::side::{self, LOGINS, Side};
use std::fmt::Write as _;
use std::fs;
use std::rc::Rc;
use tests::libpam::Services;
use tests::place::Place;
use tests::soft_app::{self, PERIOD, SoftApp};

/// Each has an app and recovery codes.
const USERS: usize = 250;
/// Users in each of pam_oath's files, as in the section before.
const SMALL: usize = 10;
/// Recovery codes of a user.
const RECOVERY: usize = 4;

fn user(index: usize) -> String {
    format!("user{index}")
}

fn app(index: usize) -> SoftApp {
    SoftApp::numbered(u32::try_from(index).unwrap())
}

/// The apps of all users.
struct Apps {
    /// By user: the first step that was not used.
    next: Vec<u64>,
    turn: usize,
}

impl Apps {
    fn new() -> Self {
        Self { next: vec![0; USERS], turn: 0 }
    }

    /// The next user and a code that was not typed yet: of a step that is at most one away from this moment.
    fn press(&mut self) -> (usize, String) {
        let now = soft_app::now();
        let user = self.turn % USERS;
        self.turn += 1;
        let step = self.next[user].max(now - 1);
        assert!(step <= now + 1, "no code is left");
        self.next[user] = step + 1;
        (user, app(user).code(step))
    }
}

/// Ours, with all users on one host: by apps, and by recovery codes.
fn ours() -> [Side; 2] {
    let place = Rc::new(Place::new());
    let names: Vec<_> = (0..USERS).map(user).collect();
    let all: Vec<_> = (0..USERS).map(app).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let recovery = place.enrol_codes(&names.iter().copied().zip(&all).collect::<Vec<_>>(), &names);
    let (confdir, other) = (place.confdir().to_owned(), Rc::clone(&place));
    let mut apps = Apps::new();
    let by_app = Side::new("ours, TOTP", confdir.clone(), move || {
        let _ = &place; // goes away with it
        let (index, code) = apps.press();
        format!("otp {} {code}", user(index))
    });
    let mut turn = 0;
    let by_recovery = Side::new("ours, recovery code", confdir, move || {
        let _ = &other;
        let (index, number) = (turn % USERS, turn / USERS);
        turn += 1;
        format!("otp {} {}", user(index), recovery[index][number])
    });
    [by_app, by_recovery]
}

/// pam_oath with so many users in each of its files.
fn pam_oath(name: &str, users: usize) -> Side {
    let folder = tempfile::tempdir().unwrap();
    let confdir = folder.path().join("pam.d");
    let services = Services::new(&confdir);
    let mut lines = vec![String::new(); USERS.div_ceil(users)];
    for index in 0..USERS {
        let secret = data_encoding::HEXLOWER.encode(app(index).secret());
        writeln!(lines[index / users], "HOTP/T{PERIOD}\t{}\t-\t{secret}", user(index)).unwrap();
    }
    for (number, lines) in lines.iter().enumerate() {
        let file = folder.path().join(format!("users{number}.oath"));
        fs::write(&file, lines).unwrap();
        let line = format!("auth required pam_oath.so usersfile={} window=2 digits=6\n", file.display());
        services.write(&format!("otp{number}"), &line);
    }
    let mut apps = Apps::new();
    Side::new(name, confdir, move || {
        let _ = &folder; // goes away with it
        let (index, code) = apps.press();
        format!("otp{} {} {code}", index / users, user(index))
    })
}

/// pam_google_authenticator, which has a file for each user. `answer` gets the number of logins before this one, and returns the
/// user's index and what they type.
fn google(name: &str, mut answer: impl FnMut(usize) -> (usize, String) + 'static) -> Side {
    let folder = tempfile::tempdir().unwrap();
    for index in 0..USERS {
        let secret = data_encoding::BASE32_NOPAD.encode(app(index).secret());
        let options = "RATE_LIMIT 10 30\n\" WINDOW_SIZE 5\n\" DISALLOW_REUSE\n\" TOTP_AUTH";
        let codes: String = (0..RECOVERY).map(|number| emergency(index, number) + "\n").collect();
        let file = folder.path().join(user(index));
        fs::write(&file, format!("{secret}\n\" {options}\n{codes}")).unwrap();
        tests::said::chmod(&file, 0o400);
    }
    let confdir = folder.path().join("pam.d");
    let place = folder.path().display();
    let line = format!("auth required pam_google_authenticator.so secret={place}/${{USER}} user=root\n");
    Services::new(&confdir).write("otp", &line);
    let mut turn = 0;
    Side::new(name, confdir, move || {
        let _ = &folder; // goes away with it
        let (index, typed) = answer(turn);
        turn += 1;
        format!("otp {} {typed}", user(index))
    })
}

/// One of google-authenticator's emergency codes: eight digits, of which the first is not 0.
fn emergency(user: usize, number: usize) -> String {
    format!("{}", 10_000_000 + user * 10_007 + number)
}

fn sides() -> Vec<Side> {
    let mut apps = Apps::new();
    let [by_app, by_recovery] = ours();
    let mut sides = vec![
        by_app,
        pam_oath("pam_oath, TOTP, 10 users", SMALL),
        pam_oath(&format!("pam_oath, TOTP, {USERS} users"), USERS),
        google("pam_google_authenticator, TOTP", move |_| apps.press()),
    ];
    // Not the first login of anybody's app: that one may write more.
    sides.iter_mut().for_each(|side| side.log_in(USERS));
    sides.insert(0, Side::permit());
    sides.push(by_recovery);
    sides.push(google("pam_google_authenticator, emergency code", |turn| {
        (turn % USERS, emergency(turn % USERS, turn / USERS))
    }));
    sides
}

pub(crate) fn measure(_large: u32) -> Section {
    // A user has a code of the next step left when the first login is over, and one of this step.
    const { assert!(USERS * 2 >= LOGINS && USERS * RECOVERY >= LOGINS, "too few users for as many logins") };
    let mut sides = sides();
    side::measure(&mut sides, || ());
    let mut text = format!(
        "## One login by code\n\nFrom `pam_start` to `pam_end`, accepted, each of another user than the one before: there are {USERS}, \
         each with an app (TOTP, six digits, windows of one minute in each direction) and {RECOVERY} recovery codes. \
         pam_google_authenticator has its limit of attempts and refuses used codes; pam_oath has no limit and no recovery codes. \
         A login by app is not the first of its user. A recovery code is used once, so each login is the first of its code.\n\n"
    );
    text += &head(&[
        "",
        "again and again in one process, µs",
        "a process of its own, ms",
        "its instructions, million",
        "waits for the disk",
    ]);
    for side in &sides {
        text += &row(&side.name, &[side.repeated(), side.process(), side.instructions(), side.syncs()]);
    }
    let aims = aims(&sides);
    Section { aims, text }
}

/// Ours against the better of the others, of the same kind.
fn aims(sides: &[Side]) -> Vec<Aim> {
    let [permit, app, oath, _, google, recovery, emergency] = sides else { return Vec::new() };
    let mut aims = Vec::new();
    for (kind, ours, others) in
        [("TOTP", app, &[oath, google][..]), ("recovery code", recovery, &[emergency])]
    {
        let least =
            |figure: fn(&Side) -> f64| others.iter().copied().map(figure).fold(f64::INFINITY, f64::min);
        aims.push(Aim {
            what: format!("a login by {kind}, in one process, to the faster of the others"),
            limit: Limit::AtMost(1.0),
            measured: ours.repeated() / least(Side::repeated),
            unit: " ×",
            bound: format!("{:.0} µs, of which libpam takes {:.0}", ours.repeated(), permit.repeated()),
        });
        aims.push(Aim {
            what: format!("a login by {kind}: instructions of the whole process to the fewer of the others'"),
            limit: Limit::AtMost(1.0),
            measured: ours.instructions() / least(Side::instructions),
            unit: " ×",
            bound: format!(
                "{:.2} million, of which process and libpam are {:.2}",
                ours.instructions(),
                permit.instructions()
            ),
        });
        aims.push(Aim {
            what: format!("a login by {kind}: waits for the disk"),
            limit: Limit::AtMost(1.0),
            measured: ours.syncs(),
            unit: "",
            bound: "what was used is on the disk before the answer".to_owned(),
        });
    }
    aims
}
