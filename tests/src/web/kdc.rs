//! A Kerberos realm of the tests' own: MIT's KDC on 127.0.0.1, with everything in one folder.

use super::browser::program;
use super::daemon::Daemon;
use super::names::DOMAIN;
use crate::ykvald::free_port;
use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A realm, `SITE.TEST`. Its KDC is stopped when dropped.
#[derive(Debug)]
pub struct Realm {
    folder: PathBuf,
    #[expect(dead_code, reason = "stopped with the realm")]
    kdc: Daemon,
}

impl Realm {
    /// A realm with these users, who have `password`, and a keytab for each of these services (`HTTP/login.site.test`).
    ///
    /// # Errors
    /// What this machine lacks for it.
    ///
    /// # Panics
    /// Where MIT's programs refuse.
    pub fn start(folder: &Path, users: &[&str], password: &str, services: &[&str]) -> Result<Self, String> {
        for name in ["krb5kdc", "kdb5_util", "kadmin.local", "kinit"] {
            program(name)
                .ok_or_else(|| format!("needs {name} (krb5-kdc, krb5-admin-server and krb5-user)"))?;
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let (at, realm) = (folder.display(), DOMAIN.to_ascii_uppercase());
        let client = format!(
            "[libdefaults]\ndefault_realm = {realm}\ndns_lookup_kdc = false\ndns_lookup_realm = false\nrdns = false\n\
             dns_canonicalize_hostname = false\n\
             [realms]\n{realm} = {{\nkdc = {address}\n}}\n[domain_realm]\n.{DOMAIN} = {realm}\n"
        );
        let server = format!(
            "[kdcdefaults]\nkdc_listen = {address}\nkdc_tcp_listen = {address}\n[realms]\n{realm} = {{\n\
             database_name = {at}/principal\nkey_stash_file = {at}/stash\nacl_file = {at}/acl\n\
             kdc_listen = {address}\nkdc_tcp_listen = {address}\n}}\n[logging]\nkdc = STDERR\n"
        );
        fs::write(folder.join("krb5.conf"), client).unwrap();
        fs::write(folder.join("kdc.conf"), server).unwrap();
        let run = |name: &str| command(folder, name);
        must(run("kdb5_util").args(["create", "-s", "-r", &realm, "-P", "master of the realm"]), "");
        let admin = |query: &str| must(run("kadmin.local").args(["-q", query]), "");
        for user in users {
            admin(&format!("addprinc -pw \"{password}\" {user}"));
        }
        for service in services {
            admin(&format!("addprinc -randkey {service}"));
            admin(&format!("ktadd -k {at}/http.keytab {service}"));
        }
        let mut kdc = run("krb5kdc");
        kdc.args(["-n", "-P"]).arg(folder.join("kdc.pid"));
        let kdc = Daemon::start(kdc, &folder.join("kdc.log"), &[address]);
        Ok(Self { folder: folder.to_owned(), kdc })
    }

    /// The keytab of the services.
    #[must_use]
    pub fn keytab(&self) -> PathBuf {
        self.folder.join("http.keytab")
    }

    /// What a server of the realm needs in its environment.
    #[must_use]
    pub fn server(&self) -> [(&'static str, PathBuf); 1] {
        [("KRB5_CONFIG", self.folder.join("krb5.conf"))]
    }

    /// Gets a ticket for a user, as `kinit` does at a login, into a cache of its own. What leads a client there, for its
    /// environment.
    ///
    /// # Panics
    /// Where the KDC refuses.
    #[must_use]
    pub fn ticket(&self, user: &str, password: &str) -> [(&'static str, PathBuf); 2] {
        let cache = self.folder.join(format!("tickets-{user}"));
        must(command(&self.folder, "kinit").env("KRB5CCNAME", &cache).arg(user), &format!("{password}\n"));
        [("KRB5_CONFIG", self.folder.join("krb5.conf")), ("KRB5CCNAME", cache)]
    }

    /// The tickets of a user, as `klist` lists them.
    ///
    /// # Panics
    /// Where the user got none.
    #[must_use]
    pub fn tickets(&self, user: &str) -> String {
        let cache = self.folder.join(format!("tickets-{user}"));
        let output = command(&self.folder, "klist").arg(cache).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The environment of a client without a ticket.
    #[must_use]
    pub fn no_ticket(&self) -> [(&'static str, PathBuf); 2] {
        [("KRB5_CONFIG", self.folder.join("krb5.conf")), ("KRB5CCNAME", self.folder.join("no-tickets"))]
    }
}

fn command(folder: &Path, name: &str) -> Command {
    let mut command = Command::new(program(name).unwrap());
    command.env("KRB5_CONFIG", folder.join("krb5.conf")).env("KRB5_KDC_PROFILE", folder.join("kdc.conf"));
    command
}

fn must(command: &mut Command, input: &str) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let _may_not_read = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
