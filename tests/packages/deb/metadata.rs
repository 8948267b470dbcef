//! The dependencies of the packages.

use crate::base;
use crate::shipped::{debs, rpms};
use std::process::Command;

fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Each of the libraries, and the first pam-auth-update that has what README types.
#[test]
fn the_deb_needs_what_it_uses() {
    let depends =
        said(Command::new("dpkg-deb").arg("-f").arg(base::target().join(&debs().new)).arg("Depends"));
    let depends: Vec<_> = depends.trim().split(", ").collect();
    for name in ["libc6", "libpam0g", "libgcc-s1"] {
        let there = depends.iter().any(|package| package.split(' ').next() == Some(name));
        assert!(there, "{name}: {depends:?}");
    }
    assert!(depends.contains(&"libpam-runtime (>= 1.5.2-6+deb12u1)"), "{depends:?}");
}

#[test]
fn the_rpm_needs_what_it_uses() {
    if !base::installed("rpm") {
        return tests::skip("needs rpm");
    }
    let requires =
        said(Command::new("rpm").args(["-qp", "--requires"]).arg(base::target().join(&rpms().new)));
    let requires: Vec<_> = requires.lines().collect();
    assert!(requires.contains(&"pam") && requires.contains(&"gawk"), "{requires:?}"); // the scripts' awk
    assert!(requires.iter().any(|name| name.starts_with("libc.so.6(")), "{requires:?}");
}
