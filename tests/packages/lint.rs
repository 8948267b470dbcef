//! What Debian's own inspector says of the package.

use crate::base;
use crate::shipped::debs;
use std::process::Command;

#[test]
fn lintian_finds_no_error() {
    if !base::installed("lintian") {
        return tests::skip("needs lintian");
    }
    let output = Command::new("lintian")
        .args(["--fail-on", "error", "--tag-display-limit", "0", "--show-overrides", "--allow-root"])
        .arg(base::target().join(&debs().new))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    println!("{said}");
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("unused-override") && !said.contains("mismatched-override"), "{said}");
}

/// An override without its reason, on the line before, is a fault that is hidden.
#[test]
fn every_override_has_its_reason() {
    let overrides = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(base::target().join(&debs().new))
        .output()
        .unwrap();
    assert!(overrides.status.success(), "{overrides:?}");
    let folder = tempfile::tempdir().unwrap();
    let tar = folder.path().join("tar");
    std::fs::write(&tar, overrides.stdout).unwrap();
    let text =
        Command::new("tar").arg("-xOf").arg(&tar).args(["--wildcards", "*/lintian/overrides/*"]).output();
    let text = String::from_utf8(text.unwrap().stdout).unwrap();
    let mut before = "";
    for line in text.lines() {
        assert!(line.starts_with('#') || before.starts_with('#'), "no reason beside: {line}");
        before = line;
    }
}
