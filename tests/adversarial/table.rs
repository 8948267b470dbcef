//! Every fault with every option: no row lets anyone in, and only a user who is not listed, by a mapping that was read
//! without fault, is excused by `nullok`.
//!
//! Everybody who logs in here has an OTP that was never used, of a token that host and server know: a yes is always
//! possible, and after each fault the same host, fixed, gives one.

mod faults;

use faults::{FAULTS, Fault, Of, WRONG_ARGUMENTS};
use std::path::PathBuf;
use std::process::Command;
use tests::apart::{Apart, apart};
use tests::libpam::{Code, Pam, Script};
use tests::place::Place;
use tests::soft_yubikey::SoftYubiKey;
use tests::validation::{self, Server};

const LISTED: &str = "alice";
const ABSENT: &str = "bob";

const MODES: [&str; 5] =
    ["", "mode=offline", "mode=online", "mode=online-then-offline", "mode=offline-then-online"];

/// One set of arguments.
#[derive(Clone)]
struct Options {
    nullok: bool,
    first_pass: &'static str,
    always_prompt: bool,
    tries: bool,
    mode: &'static str,
    /// The others, in turn.
    others: String,
}

impl Options {
    fn words(&self) -> String {
        let flag = |on, word| if on { word } else { "" };
        let words = [
            flag(self.nullok, "nullok"),
            self.first_pass,
            flag(self.always_prompt, "always_prompt"),
            flag(self.tries, "tries=3"),
            self.mode,
            &self.others,
        ];
        words.join(" ")
    }
}

struct Table {
    place: Place,
    key: SoftYubiKey,
    server: Server,
    sound: PathBuf,
    log: Apart,
}

impl Table {
    fn new(log: Apart) -> Self {
        let (place, key) = (Place::new(), SoftYubiKey::numbered(1000));
        place.enrol(LISTED, &key);
        place.write("client.key", format!("{}\n", validation::KEY), 0o600);
        place.write("ca.pem", tests::tls::Authority::new("nobody's").pem(), 0o644);
        let mapping = std::fs::read(place.path("authorized_yubikeys")).unwrap();
        std::fs::create_dir(place.path("users")).unwrap();
        place.write(&format!("users/{LISTED}"), mapping, 0o644);
        let _ = place.ask();
        let server = Server::start(&[&key]);
        let sound = place.host().with_file_name("sound");
        copy(&place.host(), &sound);
        Self { place, key, server, sound, log }
    }

    fn mend(&self) {
        std::fs::remove_dir_all(self.place.host()).unwrap();
        copy(&self.sound, &self.place.host());
        self.server.will_be_honest();
    }

    /// The sets of arguments for a fault: all of what decides who is asked for what, and each of the others in turn.
    fn options(&self, modes: &[&'static str], turn: usize) -> Vec<Options> {
        let mut all: Vec<Options> = Vec::new();
        for (mode_number, mode) in MODES.into_iter().enumerate().filter(|(_, mode)| modes.contains(mode)) {
            for number in 0..24_usize {
                // Half of the 24 where no mode is given, so that every two meet, and an eighth with each mode; others
                // with each fault.
                let wanted = if mode.is_empty() {
                    (number ^ number >> 1 ^ number >> 2 ^ number >> 3 ^ turn).is_multiple_of(2)
                } else {
                    number % 8 == (turn + 3 * mode_number) % 8
                };
                if !wanted {
                    continue;
                }
                all.push(Options {
                    nullok: number % 2 == 1,
                    always_prompt: number / 2 % 2 == 1,
                    tries: number / 4 % 2 == 1,
                    first_pass: ["", "try_first_pass", "use_first_pass"][number / 8],
                    mode,
                    others: self.others(turn + all.len(), mode),
                });
            }
        }
        all
    }

    fn others(&self, turn: usize, mode: &str) -> String {
        let path = |name: &str| self.place.path(name).display().to_string();
        let mut words = match turn % 9 {
            0 => String::new(),
            1 => "debug".to_owned(),
            2 => "echo".to_owned(),
            3 => "verbose_otp debug".to_owned(),
            4 => "[prompt=Password and YubiKey of %u: ]".to_owned(),
            5 => "token_id_length=12".to_owned(),
            6 => format!("mapping={}", path("authorized_yubikeys")),
            7 => format!("authfile={}", path("authorized_yubikeys")),
            _ => format!("store={}", self.place.host().display()),
        };
        if !matches!(mode, "" | "mode=offline") {
            let url = ["url", "urllist"][turn % 2];
            let ca = ["", "cainfo=", "capath="][turn % 3];
            let ca = if ca.is_empty() { String::new() } else { ca.to_owned() + &path("ca.pem") };
            words += &format!(
                " id={} key={} {url}={} ask={} {ca}",
                validation::CLIENT,
                validation::KEY,
                self.server.url(),
                path("yubiotp-ask")
            );
        }
        words
    }

    /// One login, on a handle of its own, through `auth` and `account`.
    fn login(&mut self, user: &str, arguments: &str, stacked: bool) -> Login {
        let before = if stacked { "auth [default=ignore] pam_ftp.so\n" } else { "" };
        let lines = format!(
            "{before}auth required pam_yubiotp.so {arguments}\naccount required pam_yubiotp.so {arguments}\n"
        );
        self.place.service("table", &lines);
        let otps: Vec<_> = (0..4).map(|_| self.key.press()).collect();
        self.log.empty();
        // pam_ftp, if it comes before, takes the first of them and leaves it to this module.
        let script = Script::new(&otps);
        let mut pam = Pam::start(self.place.confdir(), "table", Some(user.as_bytes()), Box::new(script));
        let login = Login {
            auth: pam.authenticate(0),
            account: pam.acct_mgmt(0),
            setcred: pam.setcred(0),
            log: self.log.lines(),
        };
        for otp in &otps {
            let block = &otp[otp.len() - 32..];
            assert!(login.log.iter().all(|line| !line.contains(block)), "an OTP is logged: {:?}", login.log);
        }
        login
    }

    /// The row of a fault, an option and a user.
    fn row(&mut self, fault: &Fault, options: &Options, user: &str) {
        let login = self.login(user, &options.words(), !options.first_pass.is_empty());
        let many = options.tries && options.first_pass != "use_first_pass";
        // A fault of a token does not affect users who are not listed.
        let expected = match (fault.of, user == ABSENT, options.nullok) {
            (Of::Token, true, true) => Code::PERM_DENIED, // what libpam makes of PAM_IGNORE alone
            (Of::Token, true, false) if many => Code::MAXTRIES,
            (Of::Token, true, false) => Code::USER_UNKNOWN,
            _ if many && fault.code == Code::AUTH_ERR => Code::MAXTRIES,
            _ => fault.code,
        };
        let what = format!("{}, {user}, {}: {:?}", fault.what, options.words(), login.log);
        assert_eq!(login.auth, expected, "{what}");
        let excused = expected == Code::PERM_DENIED;
        let account = [Code::AUTH_ERR, Code::AUTHINFO_UNAVAIL];
        assert!(
            if excused { login.account == expected } else { account.contains(&login.account) },
            "{:?}: {what}",
            login.account
        );
        assert_ne!(login.setcred, Code::SUCCESS, "{what}");
        let verdict = match expected {
            Code::AUTHINFO_UNAVAIL => "fault ",
            Code::PERM_DENIED => "excused ",
            _ => "refused ",
        };
        assert!(login.log.iter().any(|line| line.contains(&format!("(table:auth): {verdict}"))), "{what}");
        assert!(login.log.iter().all(|line| !line.contains("(table:auth): accepted ")), "{what}");
    }
}

struct Login {
    auth: Code,
    account: Code,
    setcred: Code,
    log: Vec<String>,
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

#[test]
fn every_fault_with_every_option() {
    let Some(log) = apart("table::every_fault_with_every_option") else { return };
    let mut table = Table::new(log);
    let root = rustix::process::geteuid().is_root();
    let mut rows = 0;
    for (turn, fault) in FAULTS.iter().enumerate() {
        if fault.needs_root && !root {
            tests::skip(&format!("{}: needs root", fault.what));
            continue;
        }
        let options = table.options(fault.modes, turn);
        (fault.wreck)(&table.place, &table.key.public_id());
        if let Some(manner) = fault.manner {
            table.server.will(manner);
        }
        for option in &options {
            for user in [LISTED, ABSENT] {
                table.row(fault, option, user);
                rows += 1;
            }
        }
        table.mend();
        for option in options.iter().skip(turn % 5).step_by(9) {
            let login = table.login(LISTED, &option.words(), !option.first_pass.is_empty());
            let what = format!("{} mended, {}: {:?}", fault.what, option.words(), login.log);
            assert_eq!(
                (login.auth, login.account, login.setcred),
                (Code::SUCCESS, Code::SUCCESS, Code::SUCCESS),
                "{what}"
            );
        }
    }
    println!("{} faults, {rows} rows", FAULTS.len());
}

/// The options by themselves: on a healthy host each of them lets in listed users, and nobody else.
#[test]
fn every_option_on_a_sound_host() {
    let Some(log) = apart("table::every_option_on_a_sound_host") else { return };
    let mut table = Table::new(log);
    for option in table.options(&MODES, 0) {
        let stacked = !option.first_pass.is_empty();
        let login = table.login(LISTED, &option.words(), stacked);
        assert_eq!(
            (login.auth, login.account),
            (Code::SUCCESS, Code::SUCCESS),
            "{}: {:?}",
            option.words(),
            login.log
        );
        let login = table.login(ABSENT, &option.words(), stacked);
        let excused = (Code::PERM_DENIED, Code::PERM_DENIED);
        assert_eq!((login.auth, login.account) == excused, option.nullok, "{}", option.words());
        assert_ne!(login.auth, Code::SUCCESS);
    }
}

/// An unknown argument makes the module reject everybody, whatever comes before or after it.
#[test]
fn every_wrong_argument_with_every_option() {
    let Some(log) = apart("table::every_wrong_argument_with_every_option") else { return };
    let mut table = Table::new(log);
    for (turn, wrong) in WRONG_ARGUMENTS.iter().enumerate() {
        for option in table.options(&MODES, turn).into_iter().skip(turn % 6).step_by(6) {
            for (user, behind) in [(LISTED, true), (ABSENT, false), (LISTED, false), (ABSENT, true)] {
                let words = option.words();
                let arguments = if behind { format!("{words} {wrong}") } else { format!("{wrong} {words}") };
                let login = table.login(user, &arguments, !option.first_pass.is_empty());
                let what = format!("{user}: {arguments}: {:?}", login.log);
                assert_eq!((login.auth, login.account), (Code::SERVICE_ERR, Code::SERVICE_ERR), "{what}");
                assert!(login.log.iter().any(|line| line.contains("(table:auth): fault ")), "{what}");
            }
        }
    }
    let login = table.login(LISTED, "nullok tries=3", false);
    assert_eq!(login.auth, Code::SUCCESS, "{:?}", login.log);
}
