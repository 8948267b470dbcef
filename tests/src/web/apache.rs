//! Apache as Debian ships it, with `web-examples/apache.conf` or `apache-kerberos.conf`.

use super::browser::program;
use super::daemon::Daemon;
use super::names::Certificate;
use rustix::process::geteuid;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;

/// The modules that are enabled when Debian's package is installed, but those for other ways to authenticate, CGI and its pages.
const ENABLED: [&str; 12] = [
    "mpm_event",
    "authn_core",
    "authz_core",
    "authz_host",
    "authz_user",
    "alias",
    "dir",
    "env",
    "filter",
    "mime",
    "reqtimeout",
    "setenvif",
];

/// Whom Apache's processes run as where a test is root, as Apache refuses to serve as root: nobody.
const NOBODY: u32 = 65534;

/// The user that Apache's processes run as.
#[must_use]
pub fn uid() -> u32 {
    let own = geteuid();
    if own.is_root() { NOBODY } else { own.as_raw() }
}

/// Gives a file to that user.
///
/// # Panics
/// Where it cannot.
pub fn give(path: &Path) {
    if geteuid().is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}

/// Starts Apache with this text as a file of `sites-enabled` and the modules that its line `a2enmod …` enables, on `address`.
/// Certificate and key are in `FOLDER/site.pem` and `FOLDER/site.key`. The folder has to be one that others may enter.
///
/// # Errors
/// What this machine lacks for it.
///
/// # Panics
/// Where it does not start.
pub fn start(
    folder: &Path,
    certificate: &Certificate,
    site: &str,
    address: SocketAddr,
    environment: &[(&str, &Path)],
) -> Result<Daemon, String> {
    let apache = program("apache2").ok_or("needs apache2")?;
    certificate.identity.write(folder, "site");
    fs::write(folder.join("site.conf"), site).unwrap();
    let line = site.lines().find_map(|line| line.split_once("a2enmod ")).unwrap().1;
    let mut modules = String::new();
    for module in ENABLED.into_iter().chain(line.split_whitespace()) {
        modules += &load(module)?;
    }
    let folder_name = folder.display();
    let user = if geteuid().is_root() { format!("User #{NOBODY}\nGroup #{NOBODY}\n") } else { String::new() };
    let around = format!(
        "ServerRoot {folder_name}\nServerName localhost\nPidFile {folder_name}/apache.pid\nDefaultRuntimeDir {folder_name}\n\
         Mutex pthread\nListen {address} https\n{modules}{user}ErrorLog {folder_name}/apache.log\nLogLevel info\n\
         LogFormat \"%h %u %r %>s\" short\nCustomLog {folder_name}/apache.log short\nTypesConfig /etc/mime.types\n\
         StartServers 1\nAccessFileName .htaccess\n<FilesMatch \"^\\.ht\">\nRequire all denied\n</FilesMatch>\n\
         <Directory />\nAllowOverride None\nRequire all denied\n</Directory>\n\
         Include {folder_name}/site.conf\n"
    );
    fs::write(folder.join("apache.conf"), around).unwrap();
    let mut command = Command::new(apache);
    command.args(["-D", "FOREGROUND", "-f"]).arg(folder.join("apache.conf"));
    command.envs(environment.iter().copied());
    Ok(Daemon::start(command, &folder.join("apache.log"), &[address]))
}

/// The lines by which Debian loads a module, and what that one depends on.
fn load(module: &str) -> Result<String, String> {
    let path = format!("/etc/apache2/mods-available/{module}.load");
    let text = fs::read_to_string(&path).map_err(|why| format!("needs Debian's Apache: {path}: {why}"))?;
    let mut lines = String::new();
    for line in text.lines() {
        match line.strip_prefix("# Depends: ") {
            Some(others) => {
                for other in others.split_whitespace() {
                    lines += &load(other)?;
                }
            }
            None if line.starts_with("LoadModule ") => {
                let name = line.split_whitespace().nth(1).unwrap_or_default();
                lines += &format!("<IfModule !{name}>\n{line}\n</IfModule>\n"); // two may depend on one
            }
            None => {}
        }
    }
    Ok(lines)
}
