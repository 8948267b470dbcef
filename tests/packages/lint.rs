//! What Debian's own inspector says of the package.

use crate::base;
use crate::shipped::{debs, server_deb, web_deb};
use std::process::Command;

#[test]
fn lintian_finds_no_error() {
    if !base::installed("lintian") {
        return tests::skip("needs lintian");
    }
    let output = Command::new("lintian")
        .args(["--fail-on", "error", "--tag-display-limit", "0", "--allow-root"])
        .args([&debs().new, &server_deb(), &web_deb()].map(|package| base::target().join(package)))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    println!("{said}");
    assert!(output.status.success(), "{said}");
}

/// Every finding of lintian is fixed, or is no error.
#[test]
fn nothing_is_overridden() {
    let list =
        Command::new("dpkg-deb").arg("--contents").arg(base::target().join(&debs().new)).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(list.contains("/usr/bin/ykmap\n") && !list.contains("lintian"), "{list}");
}
