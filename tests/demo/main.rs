//! `make demo`: a temporary host, one software YubiKey and a validation server that goes away, through the real libpam
//! and the built module.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "it is there to be watched")]

use std::time::Instant;
use tests::libpam::{Code, Pam, Script};
use tests::place::Place;
use tests::soft_yubikey::SoftYubiKey;
use tests::validation::Server;

/// What somebody does, who they say they are, what they type, and what libpam must say.
type Step = (&'static str, &'static str, String, Code);

fn main() -> std::process::ExitCode {
    println!("A host in a temporary folder: ykmap init, key import, add alice.");
    let place = Place::new();
    let mut key = SoftYubiKey::numbered(1);
    place.enrol("alice", &key);
    println!("Alice has YubiKey {}. Its service file:", key.public_id());
    place.service("demo", "auth required pam_yubiotp.so\n");
    println!("    auth required pam_yubiotp.so config=…/config.toml\n");

    let first = key.press();
    let stranger = SoftYubiKey::numbered(2).press();
    let mut as_expected = play(
        &place,
        [
            ("alice touches her YubiKey", "alice", first.clone(), Code::SUCCESS),
            ("somebody replays that OTP", "alice", first, Code::AUTH_ERR),
            ("alice touches again", "alice", key.press(), Code::SUCCESS),
            ("a stranger's YubiKey, as alice", "alice", stranger, Code::AUTH_ERR),
            ("alice's YubiKey, as bob", "bob", key.press(), Code::USER_UNKNOWN),
            ("a password where an OTP is asked for", "alice", "correct horse".to_owned(), Code::AUTH_ERR),
        ],
    );

    println!(
        "\nNow a validation server decides, and this host if it is gone: mode = \"online-then-offline\".\n"
    );
    let server = Server::start(&[&key]);
    place.online("online-then-offline", &[server.url()], "");
    let (online, offline) = (key.press(), key.press());
    as_expected &=
        play(&place, [("alice touches, the server says OK", "alice", online.clone(), Code::SUCCESS)]);
    drop(server);
    as_expected &= play(
        &place,
        [
            ("the server is gone, alice touches", "alice", offline.clone(), Code::SUCCESS),
            ("somebody replays the OTP before", "alice", online, Code::AUTH_ERR),
            ("somebody replays the last OTP", "alice", offline, Code::AUTH_ERR),
        ],
    );
    let list = place.ykmap(&["key", "list"]);
    println!(
        "\nWhat the host remembers (ykmap key list):\n{}",
        String::from_utf8(list.stdout).unwrap().trim_end()
    );
    if as_expected {
        println!("\nAll as it should be. The folder is gone again.");
        return std::process::ExitCode::SUCCESS;
    }
    println!("\nNot as it should be.");
    std::process::ExitCode::FAILURE
}

/// Each step is a login; whether all ended as they must.
fn play<const STEPS: usize>(place: &Place, steps: [Step; STEPS]) -> bool {
    let mut as_expected = true;
    for (what, user, answer, expected) in steps {
        let mut pam =
            Pam::start(place.confdir(), "demo", Some(user.as_bytes()), Box::new(Script::new([answer])));
        let since = Instant::now();
        let code = pam.authenticate(0);
        let micros = since.elapsed().as_micros();
        as_expected &= code == expected;
        let verdict = if code == Code::SUCCESS { "accepted" } else { "refused" };
        println!("{what:<38} {verdict:<9} {:<17} {micros:>6} µs", format!("{code:?}"));
    }
    as_expected
}
