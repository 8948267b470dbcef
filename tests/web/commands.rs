//! What `ykwebd user` and `ykwebd session` do on a site that serves.

use std::fs;
use std::process::Output;
use tests::web::ykwebd::Site;

fn says(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Nobody is asked for a touch that nothing could check.
#[test]
fn without_validation_servers_no_touch_is_asked_for() {
    let site = Site::start();
    let path = site.path().join("config.toml");
    let config = fs::read_to_string(&path).unwrap();
    let (before, rest) = config.split_once("[validation]\n").unwrap();
    let (_, after) = rest.split_once("\n\n").unwrap();
    fs::write(&path, format!("{before}{after}")).unwrap();

    let (status, said) = says(&site.command(&["user", "add-yubikey", "alice"]).output().unwrap());
    assert!(status == Some(2) && said.contains("[no-servers]") && !said.contains("Touch"), "{said}");
    let (status, said) =
        says(&site.command(&["user", "add-yubikey", "alice", "ccccccdbjrgf"]).output().unwrap());
    assert!(status == Some(0) && said.contains("[no-servers]"), "{said}");
}
