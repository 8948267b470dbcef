//! A line of pam.d from pam_yubico, unchanged, and its warnings.

use crate::world::World;
use tests::place::Place;
use tests::validation::{CLIENT, KEY};

/// Settings that name no server.
fn without_servers(place: &Place) {
    place.write(
        "config.toml",
        "mapping = \"authorized_yubikeys\"\nstore = \".\"\nstore_key = \"store.key\"\n",
        0o644,
    );
}

#[test]
fn the_arguments_of_pam_yubico() {
    let World { place, mut key, server } = crate::world::world(180);
    without_servers(&place);
    let template = format!("{}?id=%d&otp=%s", server.url());
    for (number, servers) in
        [format!("urllist={};{}", server.url(), server.base()), format!("url={template}")].iter().enumerate()
    {
        for mode in ["", "mode=client", "mode=online"] {
            place.arguments(&format!("id={CLIENT} key={KEY} {servers} {mode} ask={}", place.ask().display()));
            let login = place.login("otp", "alice", &[key.press()]);
            assert_eq!(login.code("authenticate"), "PAM_SUCCESS", "{servers} {mode}: {:?}", login.log);
            assert!(login.decisions()[0].contains("mode=online "), "{:?}", login.log);
            let [warning] = login.warnings()[..] else { panic!("{:?}", login.log) };
            assert!(warning.contains("code=client-key-in-pam-d "), "{warning}");
            assert!(!login.log.iter().any(|line| line.text.contains(KEY)), "{number}: {:?}", login.log);
        }
    }
    // What the line says overrides what the file says.
    place.online("online", &[tests::validation::dead()], "");
    place.arguments(&format!("urllist={}", server.url()));
    assert_eq!(place.login("otp", "alice", &[key.press()]).code("authenticate"), "PAM_SUCCESS");
    without_servers(&place);
    place.arguments(&format!("id={CLIENT} key={KEY}"));
    let login = place.login("otp", "alice", &[key.press()]);
    assert_eq!(login.code("authenticate"), "PAM_AUTHINFO_UNAVAIL");
    assert!(login.decisions()[0].contains("code=setting-missing "), "{:?}", login.log);
}

/// Things that are allowed but unwise: each login is accepted with a warning.
#[test]
fn warnings() {
    let World { place, mut key, server } = crate::world::world(181);
    server.will(|x| x.unsigned(&x.fields));
    place.online_without_key("online", &[server.url()], "");
    let login = place.login("otp", "alice", &[key.press()]);
    assert_eq!(login.code("authenticate"), "PAM_SUCCESS");
    assert!(login.warnings().concat().contains("code=unprivileged-port "), "{:?}", login.log);
    server.will_be_honest();
    place.online("online", &[server.url()], "");
    assert!(place.login("otp", "alice", &[key.press()]).warnings().is_empty());
    let text = std::fs::read(place.config()).unwrap();
    place.write("config.toml", text, 0o644);
    let login = place.login("otp", "alice", &[key.press()]);
    assert_eq!(login.code("authenticate"), "PAM_SUCCESS");
    assert!(login.warnings().concat().contains("code=client-key-readable "), "{:?}", login.log);
    let warned = login.auth_lines().into_iter().find(|line| line.text.contains("): warning ")).unwrap();
    assert_eq!((warned.facility(), warned.severity()), (10, 4));
}
