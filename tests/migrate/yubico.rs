//! pam_yubico, with a validation server.

use crate::host::{Host, SERVICE, found, module};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use tests::libpam::Code;
use tests::said::Said;
use tests::soft_yubikey::SoftYubiKey;
use tests::validation::{CLIENT, KEY, Server};

/// A host whose door asks pam_yubico about this key of its user.
pub(crate) fn host(key: &SoftYubiKey, server: &Server) -> Option<Host> {
    let module = module("pam_yubico.so")?;
    let host = Host::new();
    let map = host.write("map", &format!("{}:{}\nbob:vvccccccccbf\n", host.user, key.public_id()));
    host.pam(
        SERVICE,
        &format!(
            "#%PAM-1.0\nauth\trequired\t{} id={CLIENT} key={KEY} urllist={} authfile={} # the door\nauth required pam_permit.so\n",
            module.display(),
            server.url(),
            map.display()
        ),
    );
    Some(host)
}

#[test]
fn a_host_is_moved_and_moved_back() {
    let mut key = SoftYubiKey::numbered(900);
    let server = Server::start(&[&key]);
    let Some(host) = host(&key, &server) else { return };
    let mut story = String::from("The host asks pam_yubico.\n");
    let mut tell = |command: &str, said: &Said| {
        write!(
            story,
            "\n# ykmap migrate pam_yubico{command}\n{}{}(exit status {})\n",
            said.out,
            said.err,
            said.code.unwrap()
        )
        .unwrap();
    };
    let first = key.press();
    assert_eq!(host.login(&first), Code::SUCCESS);
    let before = host.snapshot();

    let said = host.migrate(&["pam_yubico"]).exits(3);
    assert_eq!(host.snapshot(), before, "a plan changed something");
    assert!(!said.out.contains(KEY) && !said.err.contains(KEY), "{said:?}");
    tell("", &said);
    tell(" --write", &host.migrate(&["pam_yubico", "--write"]).exits(0));
    let text = host.pam_text(SERVICE);
    let line = format!("auth\trequired\tpam_yubiotp.so config={} # the door", host.place.config().display());
    assert_eq!(text, format!("#%PAM-1.0\n{line}\nauth required pam_permit.so\n"));
    let key_file = host.place.path("pam_yubico.key");
    assert_eq!(
        (fs::read_to_string(&key_file).unwrap(), fs::metadata(&key_file).unwrap().mode() & 0o777),
        (format!("{KEY}\n"), 0o600)
    );

    // Again, and nothing is left to do.
    let after = host.snapshot();
    tell(" --write, again", &host.migrate(&["pam_yubico", "--write"]).exits(0));
    host.migrate(&["pam_yubico"]).exits(0);
    assert_eq!(host.snapshot(), after);

    assert_eq!(host.login(&first), Code::AUTH_ERR, "an OTP that pam_yubico accepted");
    let second = key.press();
    assert_eq!(host.login(&second), Code::SUCCESS);
    assert_eq!(host.login(&second), Code::AUTH_ERR, "an OTP that was used");

    tell(" --undo", &host.migrate(&["pam_yubico", "--undo"]).exits(0));
    for (path, contents) in &before {
        let is_position = path.parent().is_some_and(|folder| folder.ends_with("positions"));
        assert!(
            is_position || host.snapshot().get(path) == Some(contents),
            "{} is not as before",
            path.display()
        );
    }
    assert!(!key_file.exists());
    assert_eq!(host.login(&second), Code::AUTH_ERR, "an OTP that was used");
    assert_eq!(host.login(&key.press()), Code::SUCCESS, "pam_yubico asks again");
    host.migrate(&["pam_yubico", "--undo"]).exits(0);
    let folder = host.beside("").display().to_string();
    let story = story.replace(&folder, "/").replace("/yubiotp/", "/etc/yubiotp/");
    fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join("migrate-pam_yubico.txt"), story).unwrap();
}

#[test]
fn moved_twice_after_an_undo() {
    let mut key = SoftYubiKey::numbered(901);
    let server = Server::start(&[&key]);
    let Some(host) = host(&key, &server) else { return };
    for _ in 0..2 {
        host.migrate(&["pam_yubico", "--write"]).exits(0);
        assert_eq!(host.login(&key.press()), Code::SUCCESS);
        host.migrate(&["pam_yubico", "--undo"]).exits(0);
        assert_eq!(host.login(&key.press()), Code::SUCCESS);
    }
}

#[test]
fn two_at_once() {
    let mut key = SoftYubiKey::numbered(902);
    let server = Server::start(&[&key]);
    let Some(host) = host(&key, &server) else { return };
    let mut both: Vec<_> =
        (0..2).map(|_| host.command(&["pam_yubico", "--write"]).spawn().unwrap()).collect();
    for one in &mut both {
        assert_eq!(one.wait().unwrap().code(), Some(0));
    }
    let mapping = fs::read_to_string(host.place.path("authorized_yubikeys")).unwrap();
    assert_eq!(mapping.matches(&key.public_id()).count(), 1, "{mapping}");
    assert_eq!(host.login(&key.press()), Code::SUCCESS);
    host.migrate(&["pam_yubico", "--undo"]).exits(0);
    assert_eq!(host.login(&key.press()), Code::SUCCESS);
}

/// Of everything that was edited since, nothing is overwritten.
#[test]
fn what_was_edited_meanwhile_is_not_restored() {
    let key = SoftYubiKey::numbered(903);
    let server = Server::start(&[&key]);
    let Some(host) = host(&key, &server) else { return };
    host.migrate(&["pam_yubico", "--write"]).exits(0);
    host.pam(SERVICE, &(host.pam_text(SERVICE) + "# mine\n"));
    let edited = host.snapshot();
    host.migrate(&["pam_yubico", "--undo"]).exits(2).has("file-edited");
    assert_eq!(host.snapshot(), edited);
}

#[test]
fn a_host_that_is_configured_otherwise() {
    let key = SoftYubiKey::numbered(904);
    let server = Server::start(&[&key]);
    let Some(host) = host(&key, &server) else { return };
    host.place.service("otp", "auth required pam_yubiotp.so\n");
    let before = host.snapshot();
    let (code, plan) = host.json(&["pam_yubico", "--write"]);
    assert_eq!((code, plan["blocked"].as_bool()), (2, Some(true)), "{plan:#}");
    assert!(found(&plan).contains(&"settings-conflict".to_owned()), "{plan:#}");
    assert_eq!(host.snapshot(), before);
    host.migrate(&["pam_yubico", "--keep-config", "--write"]).exits(0);
    assert!(!host.place.path("pam_yubico.key").exists());
}
