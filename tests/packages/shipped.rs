//! What was built to be shipped, and one package of an older version, of the same programs.

use crate::base;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The package of Debian and the one before it; paths below cargo's folder.
pub(crate) const DEB: &str = "debian/libpam-yubiotp_0.1.0-1_amd64.deb";
pub(crate) const RPM: &str = "generate-rpm/pam_yubiotp-0.1.0-1.x86_64.rpm";
const BEFORE: &str = "0.0.9";

/// # Panics
/// Where `make` has not made it.
pub(crate) fn built(name: &str, first: &str) {
    let path = base::target().join(name);
    assert!(path.exists(), "{}: first: {first}", path.display());
}

/// The Debian package before, below cargo's folder; made once a run.
pub(crate) fn deb_before() -> &'static str {
    static MADE: OnceLock<String> = OnceLock::new();
    MADE.get_or_init(|| before("deb"))
}

/// The rpm before.
pub(crate) fn rpm_before() -> &'static str {
    static MADE: OnceLock<String> = OnceLock::new();
    MADE.get_or_init(|| before("rpm"))
}

fn before(kind: &str) -> String {
    let folder = format!("tmp/before-{kind}");
    let out = base::target().join(&folder);
    let _none = std::fs::remove_dir_all(&out);
    std::fs::create_dir_all(&out).unwrap();
    let output = Command::new(base::checkout().join("packaging/package"))
        .args([kind, out.to_str().unwrap(), BEFORE])
        .env("CARGO_TARGET_DIR", base::target())
        .current_dir(base::checkout())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "packaging/package: {}", String::from_utf8_lossy(&said));
    let made: Vec<PathBuf> = std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [made] = &made[..] else { panic!("{made:?}") };
    let name = made.file_name().unwrap().to_str().unwrap();
    assert!(name.contains(BEFORE), "{name}");
    Path::new(&folder).join(name).to_str().unwrap().to_owned()
}
