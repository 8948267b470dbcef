//! The web server of a site, with its file of `web-examples`.

use super::backend::Backend;
use super::daemon::Daemon;
use super::example;
use super::names::{Certificate, DOMAIN, Names};
use super::{apache, caddy, nginx, traefik};
use crate::built;
use crate::ykvald::free_port;
use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Which web server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// nginx, in front of `wiki`.
    Nginx,
    /// Caddy, in front of `notes`.
    Caddy,
    /// Traefik, in front of `board`.
    Traefik,
    /// Apache, in front of `files`: a folder, and a program at `/app/`.
    Apache,
}

/// Where ykwebd is.
#[derive(Clone, Debug)]
pub struct Portal {
    /// The portal, by HTTP.
    pub listen: SocketAddr,
    /// The authorizer, by HTTP.
    pub http: SocketAddr,
    /// The authorizer, by FastCGI.
    pub fastcgi: SocketAddr,
    /// Where a web server hands over users whom it authenticated.
    pub identity: PathBuf,
}

/// A running web server, in front of the portal and of one protected host.
#[derive(Debug)]
pub struct Front {
    /// Which.
    pub kind: Kind,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its process.
    pub daemon: Daemon,
    folder: TempDir,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Nginx, Self::Caddy, Self::Traefik, Self::Apache];

    /// The protected host, without the domain.
    #[must_use]
    pub const fn host(self) -> &'static str {
        match self {
            Self::Nginx => "wiki",
            Self::Caddy => "notes",
            Self::Traefik => "board",
            Self::Apache => "files",
        }
    }

    /// Where the program is whose backend says what it got.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::Apache => "/app",
            _ => "",
        }
    }

    /// The URL of a page of that program.
    #[must_use]
    pub fn page(self, path: &str) -> String {
        format!("https://{}.{DOMAIN}{}{path}", self.host(), self.program())
    }
}

impl Portal {
    /// Free places, with the socket in this folder.
    #[must_use]
    pub fn somewhere(folder: &Path) -> Self {
        let [listen, http, fastcgi] = [(); 3].map(|()| local(free_port()));
        Self { listen, http, fastcgi, identity: folder.join("identity.sock") }
    }
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// A temporary folder that other users may enter: servers give up root.
///
/// # Panics
/// Where it cannot be made.
#[must_use]
pub fn open_folder(prefix: &str) -> TempDir {
    let folder = tempfile::Builder::new().prefix(prefix).tempdir_in("/tmp").unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    folder
}

/// What `example` is with its usual addresses and the paths of Debian replaced.
struct Places {
    listen: String,
    texts: Vec<(&'static str, String)>,
}

impl Places {
    fn new(folder: &Path, listen: &str) -> Self {
        let file = |name: &str| folder.join(name).display().to_string();
        let texts = vec![
            ("/etc/ssl/example.com.pem", file("site.pem")),
            ("/etc/ssl/private/example.com.key", file("site.key")),
        ];
        Self { listen: listen.to_owned(), texts }
    }

    fn and(mut self, is: &'static str, shall_be: impl ToString) -> Self {
        self.texts.push((is, shall_be.to_string()));
        self
    }

    /// With the line by which the example listens on port 443 in the place of `usual`.
    fn example(self, name: &str, usual: &'static str) -> String {
        let listen = self.listen.clone();
        self.and(usual, listen).only(name)
    }

    fn only(self, name: &str) -> String {
        let texts: Vec<_> = self.texts.iter().map(|(is, shall_be)| (*is, shall_be.as_str())).collect();
        example::with(name, &texts)
    }
}

/// How mod_authnz_external hands over user and password. By its method `checkpassword`, Debian's 3.3.2 gives no descriptor 3 to
/// the program, and so nothing at all.
pub const EXTERNAL_METHODS: [&str; 2] = ["pipe", "environment"];

const PORTAL: &str = "127.0.0.1:8490";
const HTTP: &str = "127.0.0.1:8491";
const FASTCGI: &str = "127.0.0.1:8492";
const BACKEND: &str = "127.0.0.1:8080";

impl Front {
    /// Starts a web server with its example.
    ///
    /// # Errors
    /// What this machine lacks for it.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn start(
        kind: Kind,
        certificate: &Certificate,
        portal: &Portal,
        backend: &Backend,
    ) -> Result<Self, String> {
        let folder = open_folder("front");
        let at = folder.path();
        let address = local(free_port());
        let places = |listen: &str| {
            let places = Places::new(at, listen);
            places.and(PORTAL, portal.listen).and(BACKEND, backend.address())
        };
        let daemon = match kind {
            Kind::Nginx => {
                let site = places(&format!("listen {address} ssl")).and(HTTP, portal.http);
                nginx::start(at, certificate, &site.example("nginx.conf", "listen 443 ssl"), address)?
            }
            Kind::Caddy => {
                let site = places("").and(HTTP, portal.http);
                caddy::start(at, certificate, &site.only("Caddyfile"), address)?
            }
            Kind::Traefik => {
                let program = traefik::program(&kept("traefik"))?;
                let dynamic = places("").and(HTTP, portal.http).only("traefik-dynamic.yml");
                let file = at.join("dynamic.yml").display().to_string();
                let texts = [(":443", &*address.to_string()), ("/etc/traefik/traefik-dynamic.yml", &*file)];
                let site = example::with("traefik.yml", &texts);
                traefik::start(&program, at, certificate, [&site, &dynamic], address)
            }
            Kind::Apache => {
                let files = at.join("files");
                fill(&files);
                let site = places(&address.to_string()).and(FASTCGI, portal.fastcgi);
                let site = site.and("/srv/files", files.display());
                apache::start(at, certificate, &site.example("apache.conf", "*:443"), address, &[])?
            }
        };
        Ok(Self { kind, address, daemon, folder })
    }

    /// Starts Apache in front of the portal only, with `apache-kerberos.conf` and this keytab. What `environment` has leads to the
    /// realm.
    ///
    /// # Errors
    /// What this machine lacks for it.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn kerberos(
        certificate: &Certificate,
        portal: &Portal,
        keytab: &Path,
        environment: &[(&str, &Path)],
    ) -> Result<Self, String> {
        let folder = open_folder("front");
        let at = folder.path();
        let address = local(free_port());
        let own = at.join("http.keytab");
        fs::copy(keytab, &own).unwrap();
        let replays = at.join("replays");
        fs::write(&replays, "").unwrap();
        [&own, &replays].into_iter().for_each(|path| apache::give(path));
        let site = Places::new(at, &address.to_string())
            .and(PORTAL, portal.listen)
            .and("/run/ykweb/identity.sock", portal.identity.display())
            .and("/etc/ykweb/http.keytab", own.display())
            .example("apache-kerberos.conf", "*:443");
        let cache = PathBuf::from(format!("file2:{}", replays.display()));
        let environment = [environment, &[("KRB5RCACHENAME", &*cache)]].concat();
        let daemon = apache::start(at, certificate, &site, address, &environment)?;
        Ok(Self { kind: Kind::Apache, address, daemon, folder })
    }

    /// Starts Apache in front of `api` only, with `apache-external.conf`, and this method in the place of `pipe`.
    ///
    /// # Errors
    /// What this machine lacks for it.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn external(
        method: &str,
        certificate: &Certificate,
        socket: &Path,
        backend: &Backend,
    ) -> Result<Self, String> {
        let folder = open_folder("front");
        let at = folder.path();
        let address = local(free_port());
        // Built where other users may not enter.
        let program = at.join("ykweb-check");
        fs::copy(built::program("ykweb-check"), &program).unwrap();
        let call = format!("{} {method} --socket {}", program.display(), socket.display());
        let site = Places::new(at, &address.to_string())
            .and(BACKEND, backend.address())
            .and("/usr/bin/ykweb-check pipe", call)
            .and("SetExternalAuthMethod ykweb pipe", format!("SetExternalAuthMethod ykweb {method}"))
            .example("apache-external.conf", "*:443");
        let daemon = apache::start(at, certificate, &site, address, &[])?;
        Ok(Self { kind: Kind::Apache, address, daemon, folder })
    }

    /// A path in its folder: Apache serves `files`.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same names, with this server for the portal and for its host.
    #[must_use]
    pub fn among(&self, names: Names) -> Names {
        names.with("login", self.address).with(self.kind.host(), self.address)
    }

    /// What it wrote to its log.
    #[must_use]
    pub fn log(&self) -> String {
        self.daemon.log()
    }
}

/// A folder that is kept between two runs, in `target/tmp`.
fn kept(name: &str) -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    let target = exe.ancestors().find(|path| path.join("CACHEDIR.TAG").exists());
    target.unwrap_or_else(|| exe.parent().unwrap()).join("tmp").join(name)
}

/// The files that Apache serves.
fn fill(files: &Path) {
    for folder in ["", "secret", "secret/below"] {
        fs::create_dir_all(files.join(folder)).unwrap();
        fs::write(files.join(folder).join("index.html"), "<!DOCTYPE html><title>A file</title>A file")
            .unwrap();
    }
    fs::write(files.join("secret/.htaccess"), example::text("htaccess")).unwrap();
    fs::write(files.join(".htpasswd"), "alice:x\n").unwrap();
}
