//! The built packages, and one package of an older version, of the same programs.

use crate::base;
use std::fs;
use std::process::Command;
use std::sync::OnceLock;

/// What `make deb` and `make rpm` made, below cargo's folder.
const DEB: &str = concat!("debian/libpam-yubiotp_", env!("CARGO_PKG_VERSION"), "-1_amd64.deb");
const RPM: &str = concat!("generate-rpm/pam_yubiotp-", env!("CARGO_PKG_VERSION"), "-1.x86_64.rpm");

/// The server's.
const SERVER_DEB: &str = concat!("debian/ykvald_", env!("CARGO_PKG_VERSION"), "-1_amd64.deb");
const SERVER_RPM: &str = concat!("generate-rpm/ykvald-", env!("CARGO_PKG_VERSION"), "-1.x86_64.rpm");

/// The web login's.
const WEB_DEB: &str = concat!("debian/ykweb_", env!("CARGO_PKG_VERSION"), "-1_amd64.deb");
const WEB_RPM: &str = concat!("generate-rpm/ykweb-", env!("CARGO_PKG_VERSION"), "-1.x86_64.rpm");

/// Two packages, below cargo's folder.
pub(crate) struct Packages {
    pub(crate) new: String,
    /// The package before.
    pub(crate) old: String,
}

/// Those for Debian; the older one is made once a run.
///
/// # Panics
/// Where there is no newer one.
pub(crate) fn debs() -> &'static Packages {
    static MADE: OnceLock<Packages> = OnceLock::new();
    MADE.get_or_init(|| Packages { new: built("deb", DEB), old: before("deb", "0.0.9-1") })
}

/// Those for rpm.
///
/// # Panics
/// Where there is no newer one.
pub(crate) fn rpms() -> &'static Packages {
    static MADE: OnceLock<Packages> = OnceLock::new();
    MADE.get_or_init(|| Packages { new: built("rpm", RPM), old: before("rpm", "0.0.9") })
}

/// The server's package for Debian.
///
/// # Panics
/// Where there is none.
pub(crate) fn server_deb() -> String {
    built("deb", SERVER_DEB)
}

/// The server's package for rpm.
///
/// # Panics
/// Where there is none.
pub(crate) fn server_rpm() -> String {
    built("rpm", SERVER_RPM)
}

/// The web login's package for Debian.
///
/// # Panics
/// Where there is none.
pub(crate) fn web_deb() -> String {
    built("deb", WEB_DEB)
}

/// The web login's package for rpm.
///
/// # Panics
/// Where there is none.
pub(crate) fn web_rpm() -> String {
    built("rpm", WEB_RPM)
}

fn built(kind: &str, path: &str) -> String {
    let target = base::target();
    assert!(target.join(path).exists(), "{}: first: make {kind}", target.join(path).display());
    path.to_owned()
}

fn before(kind: &str, version: &str) -> String {
    let folder = format!("tmp/before-{kind}");
    let out = base::target().join(&folder);
    let _none = fs::remove_dir_all(&out);
    fs::create_dir_all(&out).unwrap();
    let output = Command::new(base::checkout().join("packaging/package"))
        .args([kind, "host", out.to_str().unwrap(), version])
        .env("CARGO_TARGET_DIR", base::target())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "packaging/package: {}", String::from_utf8_lossy(&said));
    let made: Vec<_> = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let [made] = &made[..] else { panic!("{made:?}") };
    format!("{folder}/{}", made.to_str().unwrap())
}
