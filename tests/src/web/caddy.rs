//! Caddy, with `web-examples/Caddyfile`.

use super::browser::program;
use super::daemon::Daemon;
use super::names::Certificate;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

/// Starts Caddy with this text as its Caddyfile, with https on `address`. Certificate and key are in `FOLDER/site.pem` and
/// `FOLDER/site.key`.
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
) -> Result<Daemon, String> {
    let caddy = program("caddy").ok_or("needs caddy")?;
    certificate.identity.write(folder, "site");
    fs::write(folder.join("Caddyfile.site"), site).unwrap();
    let around = format!(
        "{{\n\tadmin off\n\tauto_https disable_redirects\n\thttps_port {}\n\tdefault_bind {}\n\tlog {{\n\t\tlevel DEBUG\n\t}}\n}}\n\
         import {}\n",
        address.port(),
        address.ip(),
        folder.join("Caddyfile.site").display()
    );
    fs::write(folder.join("Caddyfile"), around).unwrap();
    let mut command = Command::new(caddy);
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(folder.join("Caddyfile"));
    command.env("HOME", folder).env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder);
    Ok(Daemon::start(command, &folder.join("caddy.log"), &[address]))
}
