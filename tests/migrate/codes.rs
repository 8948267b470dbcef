//! google-authenticator and pam_oath.

use crate::host::{Host, SERVICE, found, module};
use data_encoding::{BASE32_NOPAD, HEXLOWER};
use std::fs;
use tests::libpam::Code;
use tests::soft_app::{self, SoftApp};

/// A file of google-authenticator.
pub(crate) fn google_file(app: &SoftApp, options: &str) -> String {
    format!("{}\n{options}12345678\n87654321\n", BASE32_NOPAD.encode(app.secret()))
}

/// A host whose door asks google-authenticator about the app of its user.
pub(crate) fn google(app: &SoftApp, options: &str) -> Option<Host> {
    let module = module("pam_google_authenticator.so")?;
    let host = Host::new();
    let file = host.write(&format!("secrets/{}", host.user), &google_file(app, options));
    let template = file.parent().unwrap().join("${USER}");
    host.pam(
        SERVICE,
        &format!(
            "auth required {} secret={} user={} no_increment_hotp nullok\n",
            module.display(),
            template.display(),
            host.user
        ),
    );
    Some(host)
}

/// A step whose codes no other near it has, of which enough is left.
fn step(app: &SoftApp) -> u64 {
    loop {
        let step = soft_app::now();
        let seconds = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() % soft_app::PERIOD;
        if seconds < 15 && (step - 1..step + 4).all(|step| app.is_single(step)) {
            return step;
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}

#[test]
fn an_app_of_google_authenticator() {
    let app = SoftApp::numbered(900);
    let Some(host) = google(&app, "\" WINDOW_SIZE 17\n\" DISALLOW_REUSE\n\" TOTP_AUTH\n") else { return };
    let step = step(&app);
    assert_eq!(host.login(&app.code(step)), Code::SUCCESS);
    let before = host.pam_text(SERVICE);
    let (code, plan) = host.json(&["google-authenticator"]);
    assert_eq!((code, plan["tokens"][0]["emergency_codes"].as_u64()), (3, Some(2)), "{plan:#}");
    assert_eq!(host.pam_text(SERVICE), before);
    host.migrate(&["google-authenticator", "--write"]).exits(0);
    assert!(host.pam_text(SERVICE).contains("pam_yubiotp.so [prompt=Verification code: ] nullok"));
    let after = host.snapshot();
    host.migrate(&["google-authenticator", "--write"]).exits(0);
    assert_eq!(host.snapshot(), after, "a second run changes nothing");
    // Two tokens of one secret would accept a code twice.
    let positions = after.keys().filter(|path| path.to_string_lossy().contains("/positions/oath-"));
    assert_eq!(positions.count(), 1, "{:?}", after.keys());

    assert_eq!(host.login(&app.code(step)), Code::AUTH_ERR, "a code that google-authenticator accepted");
    assert_eq!(host.login(&app.code(step + 1)), Code::SUCCESS);
    assert_eq!(host.login(&app.code(step + 1)), Code::AUTH_ERR, "a code that was used");
    assert_eq!(host.login("12345678"), Code::SUCCESS, "an emergency code");
    assert_eq!(host.login("12345678"), Code::AUTH_ERR, "an emergency code that was used");

    host.migrate(&["google-authenticator", "--undo"]).exits(0).notes("old-module-stays");
    assert_eq!(host.pam_text(SERVICE), before);
    assert_eq!(host.login(&app.code(step + 2)), Code::SUCCESS, "google-authenticator asks again");
    // What was used here, or there meanwhile, is used when the host moves again.
    host.migrate(&["google-authenticator", "--write"]).exits(0);
    for used in [app.code(step + 1), app.code(step + 2), "12345678".to_owned()] {
        assert_eq!(host.login(&used), Code::AUTH_ERR, "a code that was used");
    }
    assert_eq!(host.login(&app.code(step + 3)), Code::SUCCESS);
}

/// As the package's profile is switched: the line is gone before the last positions come.
#[test]
fn positions_come_although_the_line_is_gone() {
    let app = SoftApp::numbered(901);
    let Some(host) = google(&app, "\" HOTP_COUNTER 5\n") else { return };
    // Where it is read without a line.
    let home = host.beside("home").join(".google_authenticator");
    fs::copy(host.beside("secrets").join(&host.user), &home).unwrap();
    host.pam(SERVICE, &host.pam_text(SERVICE).replace("secrets/${USER}", "home/.google_authenticator"));
    host.migrate(&["google-authenticator", "--write"]).exits(0);
    host.migrate(&["google-authenticator"]).exits(0);
    let text = fs::read_to_string(&home).unwrap().replace("HOTP_COUNTER 5", "HOTP_COUNTER 9");
    fs::write(&home, text).unwrap();
    host.migrate(&["google-authenticator"]).exits(3);
    host.migrate(&["google-authenticator", "--write"]).exits(0);
    assert_eq!(host.login(&app.code(8)), Code::AUTH_ERR, "a code that was used there");
    assert_eq!(host.login(&app.code(9)), Code::SUCCESS);
    host.migrate(&["google-authenticator", "--write"]).exits(0);
    assert_eq!(host.login(&app.code(9)), Code::AUTH_ERR, "a position went back");
}

#[test]
fn a_users_file_of_pam_oath() {
    let Some(module) = module("pam_oath.so") else { return };
    let (app, other) = (SoftApp::numbered(902), SoftApp::numbered(903));
    let host = Host::new();
    let [secret, more] = [&app, &other].map(|app| HEXLOWER.encode(app.secret()));
    let file =
        host.write("users.oath", &format!("HOTP {} - {secret} 5\nHOTP/T30 bob 1234 {more}\n", host.user));
    host.pam(
        SERVICE,
        &format!(
            "auth [user_unknown=ignore success=ok] {} usersfile={} window=20 digits=6\nauth required pam_permit.so\n",
            module.display(),
            file.display()
        ),
    );
    assert_eq!(host.login(&app.code(7)), Code::SUCCESS);
    let unlisted = host.login_as("carol", "");
    let before = host.pam_text(SERVICE);
    let (code, plan) = host.json(&["oath"]);
    assert_eq!(code, 3, "{plan:#}");
    let pins = plan["findings"].as_array().unwrap().iter().filter(|found| found["location"]["line"] == 2);
    assert_eq!(pins.count(), 1, "the PIN of bob is not named: {plan:#}");
    host.migrate(&["oath", "--write"]).exits(0).notes(file.to_str().unwrap());
    let after = host.snapshot();
    host.migrate(&["oath", "--write"]).exits(0);
    assert_eq!(host.snapshot(), after, "a second run changes nothing");
    for used in [5, 6, 7] {
        assert_eq!(host.login(&app.code(used)), Code::AUTH_ERR, "code {used} was used there");
    }
    // The window of the line.
    assert_eq!(host.login(&app.code(25)), Code::SUCCESS);
    // As before, users who are not in the file pass this line.
    assert_eq!(host.login_as("carol", ""), unlisted, "{}", host.pam_text(SERVICE));
    assert_ne!(host.login_as("bob", ""), Code::SUCCESS);

    let undone = host.migrate(&["oath", "--undo"]).exits(0);
    assert!(undone.err.contains("26"), "the counter is not named: {undone:?}");
    assert_eq!(host.pam_text(SERVICE), before);
    let (_, again) = host.json(&["oath", "--write"]);
    assert_eq!(again["written"], true, "{again:#}");
    assert_eq!(host.login(&app.code(25)), Code::AUTH_ERR, "a code that was used before the undo");
    assert_eq!(host.login(&app.code(26)), Code::SUCCESS);
}

/// A line that stays would accept what was used here.
#[test]
fn a_line_that_stays_is_named() {
    let app = SoftApp::numbered(904);
    let host = Host::new();
    let file = host.write("users.oath", &format!("HOTP {} - {}\n", host.user, HEXLOWER.encode(app.secret())));
    host.pam(SERVICE, &format!("auth required pam_oath.so usersfile={}\n", file.display()));
    host.pam("other-door", "auth required pam_oath.so usersfile=${HOME}/.oath\n");
    let (code, done) = host.json(&["oath", "--write"]);
    assert_eq!(code, 1, "{done:#}");
    let codes = found(&done);
    assert!(
        codes.contains(&"line-not-movable".to_owned()) && codes.contains(&"old-module-stays".to_owned()),
        "{codes:?}"
    );
}
