//! Whether the server can listen on its addresses: each is one of this host, and no other program listens there.

use super::Site;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, bind, ipproto, socket, sockopt};
use std::net::SocketAddr;
use std::path::Path;
use ykcli::report::Report;
use ykval::config::DecryptAt;
use yubiotp::diagnostic::{Code, Diagnostic, Program, cause};

/// The programs that may listen there: the server, or systemd for it.
const OURS: [&str; 2] = ["ykvald", "systemd"];

pub(super) fn check(report: &mut Report, site: &Site) {
    let decrypt = site.config.decrypt.as_ref().and_then(|decrypt| match &decrypt.listen {
        DecryptAt::Tls(at, _) => Some(*at),
        DecryptAt::Unix(_) => None,
    });
    for at in site.config.listen.iter().copied().chain(decrypt) {
        match claim(at) {
            Ok(()) => {}
            Err(Errno::ADDRINUSE) => match holder(at) {
                Some(name) if OURS.contains(&name.as_str()) => {
                    report.ok("listen", None, format!("{at}: {name} listens there"));
                }
                Some(name) => report.add(
                    "listen",
                    Diagnostic::error(Code::AddressInUse, format!("{at}: {name} listens there already"))
                        .advise("stop it, or change listen"),
                ),
                None => report.ok("listen", None, format!("{at}: in use, by this server if it runs")),
            },
            Err(Errno::ADDRNOTAVAIL) => report.add(
                "listen",
                Diagnostic::error(Code::AddressNotLocal, format!("{at}: is not an address of this host"))
                    .advise("change listen")
                    .run_when("to see the addresses of this host", Program::System, "ip address"),
            ),
            // The unit allows the server to use low ports.
            Err(Errno::ACCESS) if site.server.is_some() => {}
            Err(why) => report.add(
                "listen",
                Diagnostic::error(Code::CannotListen, format!("{at}: cannot listen there: {}", cause(&why))),
            ),
        }
    }
}

/// Binds the address for a moment, without listening, so that other programs can still listen there.
fn claim(at: SocketAddr) -> Result<(), Errno> {
    let family = if at.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket(family, SocketType::STREAM, Some(ipproto::TCP))?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if at.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    bind(&socket, &at)
}

/// The name of a process that listens on this port, ours before others. Only root sees the processes of other users.
fn holder(at: SocketAddr) -> Option<String> {
    let inodes: Vec<String> =
        ["/proc/net/tcp", "/proc/net/tcp6"].iter().flat_map(|path| listeners(path, at.port())).collect();
    let processes = std::fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    let names = processes.filter_map(|process| {
        let path = process.path();
        let files = std::fs::read_dir(path.join("fd")).ok()?.filter_map(Result::ok);
        let mut links = files.filter_map(|file| std::fs::read_link(file.path()).ok());
        links
            .any(|link| inodes.iter().any(|inode| link == Path::new(&format!("socket:[{inode}]"))))
            .then(|| read(&path.join("comm")).trim().to_owned())
    });
    let names: Vec<_> = names.collect();
    names.iter().find(|name| OURS.contains(&name.as_str())).or(names.first()).cloned()
}

/// The inodes of sockets that listen on a port.
fn listeners(path: &str, port: u16) -> Vec<String> {
    const LISTENS: &str = "0A";
    let text = read(Path::new(path));
    let lines = text.lines().skip(1).filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let own = fields.get(1)?.rsplit_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok())?;
        (own == port && *fields.get(3)? == LISTENS).then(|| fields.get(9).map(ToString::to_string))?
    });
    lines.collect()
}

#[expect(clippy::disallowed_methods, reason = "the kernel's own files")]
fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
