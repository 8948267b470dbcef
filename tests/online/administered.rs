//! A change of a token by the administrator counts, whatever servers say.

use crate::world::login;
use std::fs;
use tests::place::Place;
use tests::soft_yubikey::SoftYubiKey;
use tests::validation::{KEY, Server};

/// A host that asks, has no key of alice's token, and has never seen it.
fn place(number: u32) -> (Place, SoftYubiKey, Server) {
    let (place, key) = (Place::new(), SoftYubiKey::numbered(number));
    place.list("alice", &key);
    let server = Server::start(&[&key]);
    place.online("online", &[server.url()], "");
    (place, key, server)
}

fn ykmap(place: &Place, arguments: &[&str]) -> String {
    let output = place.ykmap(arguments);
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    said
}

#[test]
fn a_disabled_token_is_not_even_asked_about() {
    let (place, mut key, server) = place(170);
    let id = key.public_id();
    assert!(ykmap(&place, &["key", "disable", &id]).contains("disabled"));
    let otp = key.press();
    login(&place, &otp).assert(
        "PAM_AUTH_ERR",
        &["disabled", &format!("token={id} ")],
        "never seen, disabled",
    );
    assert!(server.requests().is_empty(), "{:?}", server.requests());
    ykmap(&place, &["key", "enable", &id]);
    login(&place, &otp).assert("PAM_SUCCESS", &[], "enabled: it was not used up");
    // Its key comes while it is switched off, and goes again.
    ykmap(&place, &["key", "disable", &id]);
    import(&place, &key);
    login(&place, &key.press()).assert("PAM_AUTH_ERR", &["disabled"], "with its key");
    assert!(ykmap(&place, &["key", "remove", &id]).contains("validation servers decide about it now"));
    assert_eq!(server.requests().len(), 1, "what is known to be disabled is not asked about");
    login(&place, &key.press()).assert("PAM_AUTH_ERR", &["disabled"], "without it again");
}

fn import(place: &Place, key: &SoftYubiKey) {
    place.write("log.csv", key.traditional_log_line() + "\n", 0o600);
    ykmap(place, &["key", "import", place.path("log.csv").to_str().unwrap()]);
}

#[test]
fn a_key_that_comes_goes_on_from_what_servers_accepted() {
    let (place, mut key, server) = place(171);
    let (first, second) = (key.press(), key.press());
    login(&place, &second).assert("PAM_SUCCESS", &[], "online");
    import(&place, &key);
    place.online("offline", &[server.url()], "");
    for otp in [&first, &second] {
        login(&place, otp).assert("PAM_AUTH_ERR", &["used before"], "offline");
    }
    login(&place, &key.press()).assert("PAM_SUCCESS", &["mode=offline"], "the next press");
}

/// A lost token must not wait until `[online]` is fixed.
#[test]
fn what_needs_no_server_needs_no_sound_settings_for_it() {
    let (place, key, server) = place(172);
    let id = key.public_id();
    place.write("client.key", KEY, 0o644);
    place.online_without_key("online", &[server.url()], "api_key_file = \"client.key\"");
    for arguments in [
        &["key", "disable", &id][..],
        &["remove", "alice", &id],
        &["add", "alice", &id],
        &["list"],
        &["check"],
    ] {
        ykmap(&place, arguments);
    }
    let refused = place.ykmap(&["verify", "alice", "x"]);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        refused.status.code() == Some(2) && why.contains("api_key_file") && why.contains("client.key"),
        "{why}"
    );
}

/// The program reads these as root: a user who can change a folder above them could make it read something else.
#[test]
fn a_file_in_a_folder_that_others_may_change_is_not_read() {
    let (place, mut key, server) = place(173);
    for setting in ["ca", "client_cert"] {
        let folder = place.path(setting);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("file.pem"), "x").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        fs::set_permissions(&folder, mode).unwrap();
        let mut lines = format!("{setting} = {:?}\n", folder.join("file.pem"));
        if setting == "client_cert" {
            lines += &format!("client_key = {:?}\n", place.path("store.key"));
        }
        place.online("online", &[server.url()], &lines);
        let words = [setting, "group or others may write", "code=file-writable-by-others"];
        login(&place, &key.press()).assert("PAM_AUTHINFO_UNAVAIL", &words, setting);
    }
    assert!(server.requests().is_empty());
}
