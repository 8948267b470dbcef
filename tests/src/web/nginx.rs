//! nginx, with `web-examples/nginx.conf`.

use super::browser::program;
use super::daemon::Daemon;
use super::names::Certificate;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

/// What `http { }` has around what is in `conf.d`.
const AROUND: &str = "daemon off;
error_log stderr info;
pid FOLDER/nginx.pid;
USER
events { worker_connections 512; }
http {
    access_log /dev/stdout;
    client_body_temp_path FOLDER/body;
    proxy_temp_path FOLDER/proxy;
    fastcgi_temp_path FOLDER/fastcgi;
    uwsgi_temp_path FOLDER/uwsgi;
    scgi_temp_path FOLDER/scgi;
    include FOLDER/site.conf;
}
";

/// Starts nginx with this text as a file of `conf.d`, which listens on `address`. Certificate and key are in `FOLDER/site.pem` and
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
    let nginx = program("nginx").ok_or("needs nginx")?;
    certificate.identity.write(folder, "site");
    fs::write(folder.join("site.conf"), site).unwrap();
    // Its workers are what it starts as: the folder is nobody else's.
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let around = AROUND.replace("FOLDER", folder.to_str().unwrap()).replace("USER", user);
    fs::write(folder.join("nginx.conf"), around).unwrap();
    let mut command = Command::new(nginx);
    command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf"));
    Ok(Daemon::start(command, &folder.join("nginx.log"), &[address]))
}
