//! Plans: what a host has in many forms, and what would be written.

use crate::host::{Host, SERVICE, found};
use std::fs;
use std::os::unix::fs::symlink;

/// A line of pam_yubico that asks a server in the form that most hosts have.
fn yubico(more: &str) -> String {
    format!("auth required pam_yubico.so id=16 {more}\n")
}

#[test]
fn homes_are_read_and_not_trusted() {
    let host = Host::new();
    host.pam(SERVICE, &yubico(""));
    let home = host.beside("home/.yubico");
    fs::create_dir_all(&home).unwrap();
    let file = host.write(
        "home/.yubico/authorized_yubikeys",
        &format!("{}:vvccccccccbd:vvccccccccbf\nroot2:vvccccccccbg\n", host.user),
    );
    let (code, plan) = host.json(&["pam_yubico"]);
    assert_eq!(code, 3, "{plan:#}");
    assert_eq!(
        plan["mapping"],
        serde_json::json!([{"user": host.user, "tokens": ["vvccccccccbd", "vvccccccccbf"]}])
    );
    // YubiCloud is named, never asked silently.
    assert!(
        plan["diff"].as_str().unwrap().contains("+urls = [\"https://api.yubico.com/wsapi/2.0/verify\"]"),
        "{plan:#}"
    );

    // A link may lead anywhere. Without it, the user is lost: with nullok they would need no token.
    let secret = host.write("secret", &format!("{}:vvccccccccbh\n", host.user));
    fs::remove_file(&file).unwrap();
    symlink(&secret, &file).unwrap();
    for (argument, expected) in [("", 3), ("nullok", 2)] {
        host.pam(SERVICE, &yubico(argument));
        let (code, plan) = host.json(&["pam_yubico"]);
        assert_eq!(code, expected, "{argument}: {plan:#}");
        assert!(found(&plan).contains(&"file-is-link".to_owned()), "{plan:#}");
        assert_eq!(plan["mapping"], serde_json::json!([]));
    }
    // So may a folder on the way.
    fs::remove_dir_all(&home).unwrap();
    fs::create_dir(host.beside("elsewhere")).unwrap();
    host.write("elsewhere/authorized_yubikeys", &format!("{}:vvccccccccbh\n", host.user));
    symlink(host.beside("elsewhere"), &home).unwrap();
    let (_, plan) = host.json(&["pam_yubico"]);
    assert!(found(&plan).contains(&"file-is-link".to_owned()), "{plan:#}");
}

#[test]
fn includes_are_followed_and_each_line_is_moved_once() {
    let host = Host::new();
    let map = host.write("map", "alice:vvccccccccbd\n");
    host.pam("common", &yubico(&format!("authfile={}", map.display())));
    host.pam("sshd", "@include common\naccount required pam_permit.so\n");
    host.pam("su", "auth substack common\n");
    let (code, plan) = host.json(&["pam_yubico"]);
    assert_eq!(code, 3);
    let lines = plan["lines"].as_array().unwrap();
    assert_eq!((lines.len(), lines[0]["services"].clone()), (1, serde_json::json!(["common", "sshd", "su"])));
    host.migrate(&["pam_yubico", "--write"]).exits(0);
    assert_eq!(host.pam_text("sshd"), "@include common\naccount required pam_permit.so\n");
    assert!(host.pam_text("common").starts_with("auth required pam_yubiotp.so "));
}

/// Users of a directory come by an export; without it their line stays, and the others move.
#[test]
fn users_of_a_directory() {
    let host = Host::new();
    let map = host.write("map", "alice:vvccccccccbd\n");
    host.pam(SERVICE, &yubico(&format!("authfile={}", map.display())));
    let ldap = yubico(
        "ldap_uri=ldaps://ldap.example.org ldapdn=dc=example user_attr=uid yubi_attr=yubiKeyId ldap_bind_password=s3cret",
    );
    host.pam("vpn", &ldap);
    let (code, done) = host.json(&["pam_yubico", "--write"]);
    assert_eq!((code, host.pam_text("vpn")), (1, ldap), "{done:#}");
    assert!(done.to_string().contains("ldapsearch") && !done.to_string().contains("s3cret"), "{done:#}");
    let export = host.write("export", "bob:vvccccccccbf\n");
    let (code, done) = host.json(&["pam_yubico", "--mapping", export.to_str().unwrap(), "--write"]);
    assert_eq!((code, &done["mapping"][0]["user"]), (0, &serde_json::json!("bob")), "{done:#}");
    assert!(host.pam_text("vpn").contains("pam_yubiotp.so"));
    // Both changes are undone.
    host.migrate(&["pam_yubico", "--undo"]).exits(0);
    assert!(!host.pam_text("vpn").contains("pam_yubiotp") && !host.pam_text(SERVICE).contains("pam_yubiotp"));
}

/// A file that a tool writes stays, its command is printed, and everything else is done.
#[test]
fn files_of_pam_auth_update() {
    let host = Host::new();
    let map = host.write("map", "alice:vvccccccccbd\n");
    let own = yubico(&format!("authfile={}", map.display()));
    let common = format!(
        "# here are the per-package modules (the \"Primary\" block)\n{own}# end of pam-auth-update config\n"
    );
    host.pam("common-auth", &common);
    host.pam(SERVICE, &own);
    let (code, done) = host.json(&["pam_yubico", "--write"]);
    assert_eq!(code, 3, "{done:#}");
    assert!(found(&done).contains(&"file-generated".to_owned()), "{done:#}");
    assert_eq!(host.pam_text("common-auth"), common);
    let moves = done["lines"].as_array().unwrap().iter().map(|line| line["moves"].as_bool().unwrap());
    assert_eq!(moves.collect::<Vec<_>>(), [false, true], "{done:#}");
    assert!(host.pam_text(SERVICE).contains("pam_yubiotp.so"));
    assert!(
        fs::read_to_string(host.place.path("authorized_yubikeys")).unwrap().contains("alice:vvccccccccbd")
    );
}

#[test]
fn lines_that_ask_different_servers() {
    let host = Host::new();
    let map = host.write("map", "alice:vvccccccccbd\n");
    for (service, id) in [("a", 1), ("b", 2)] {
        host.pam(service, &format!("auth required pam_yubico.so id={id} authfile={}\n", map.display()));
    }
    let before = host.snapshot();
    let (code, plan) = host.json(&["pam_yubico", "--write"]);
    assert_eq!((code, found(&plan)), (2, vec!["settings-conflict".to_owned()]), "{plan:#}");
    assert_eq!(host.snapshot(), before);
    // What the lines say of the servers is not needed where config.toml says it.
    host.migrate(&["pam_yubico", "--keep-config", "--write"]).exits(0);
}

#[test]
fn nothing_to_do_is_said() {
    let host = Host::new();
    for verb in ["pam_yubico", "google-authenticator", "oath"] {
        let (code, plan) = host.json(&[verb]);
        assert_eq!((code, plan["to_do"].as_bool()), (0, Some(false)), "{plan:#}");
        host.migrate(&[verb, "--write"]).exits(0);
        host.migrate(&[verb, "--undo"]).exits(0);
    }
}
