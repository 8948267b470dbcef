//! Confines the program, so that an attacker who has compromised it from the network can do next to nothing.
//!
//! Landlock and seccomp hold where the kernel has them. Where it has them and they fail, nobody is asked.

mod syscalls;

use landlock::{
    ABI, Access, AccessFs, AccessNet, NetPort, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, Scope,
    path_beneath_rules,
};
use nix::sys::prctl;

/// Newer kernels know more; what an older one does not know is left out by the crate.
const ABI_KNOWN: ABI = ABI::V6;

/// The files that name resolution reads (glibc and musl). Links are followed here, so their targets count.
const READ: [&str; 22] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/usr/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/networks",
    // Which domains nss-mdns asks its neighbours about, beside .local.
    "/etc/mdns.allow",
    "/etc/ld.so.cache",
    // Modules of nsswitch.conf are loaded when the first name is looked up.
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    // The sockets, and the resolv.conf, of those who resolve for others.
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
    "/run/nscd",
    "/var/run/nscd",
    "/run/avahi-daemon",
    "/var/lib/sss/mc",
];

/// DNS over TCP: a long answer.
const DNS: u16 = 53;

/// Confines the process, which has one thread still, for good. The ports are those of the servers, or of the proxy.
pub(crate) fn confine(ports: &[u16]) -> Result<(), String> {
    prctl::set_no_new_privs().map_err(|error| format!("cannot give up new privileges: {}", error.desc()))?;
    let seccomp = syscalls::are_filtered();
    landlock(ports).map_err(|error| format!("cannot confine itself (landlock): {error}"))?;
    if seccomp {
        syscalls::confine().map_err(|error| format!("cannot confine itself (seccomp): {error}"))?;
    }
    Ok(())
}

/// Reading what is named above, connecting to the ports; no other file, no writing, no execution, nobody else's
/// abstract sockets, no signals. Sockets that are files can still be connected to: nscd's and systemd-resolved's are
/// among them, and landlock cannot tell them from others.
fn landlock(ports: &[u16]) -> Result<(), RulesetError> {
    let places = path_beneath_rules(READ, AccessFs::ReadFile | AccessFs::ReadDir);
    let ports = ports
        .iter()
        .chain([&DNS])
        .map(|port| Ok::<_, RulesetError>(NetPort::new(*port, AccessNet::ConnectTcp)));
    let rules = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI_KNOWN))?
        .handle_access(AccessNet::from_all(ABI_KNOWN))?
        .scope(Scope::from_all(ABI_KNOWN))?
        .create()?
        // What is not there is left out.
        .add_rules(places)?
        .add_rules(ports)?;
    rules.restrict_self()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests of what cannot be opened")]

    use super::*;
    use rustix::net::{
        AddressFamily, SendAncillaryBuffer, SendFlags, SocketType, ipproto, sendmsg_addr, sendto, socket,
        sockopt,
    };
    use std::fs::{self, File};
    use std::io::{ErrorKind, IoSlice};
    use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
    use std::process::Command;
    use std::thread;

    /// Both hold for the thread that asks for them, and its children: so a thread of a test's is confined.
    fn confined<T: Send + 'static>(ports: &[u16], act: impl FnOnce() -> T + Send + 'static) -> T {
        let ports = ports.to_vec();
        thread::spawn(move || {
            confine(&ports).unwrap();
            act()
        })
        .join()
        .unwrap()
    }

    #[test]
    fn what_it_needs_is_left() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        confined(&[port], move || {
            assert!(("localhost", port).to_socket_addrs().unwrap().next().is_some());
            TcpStream::connect(("127.0.0.1", port)).unwrap();
            thread::spawn(|| {}).join().unwrap();
            UdpSocket::bind("127.0.0.1:0").unwrap();
        });
    }

    #[test]
    fn the_rest_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "text").unwrap();
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let (reading, writing) = confined(&[1], move || {
            let denied = |error: Option<std::io::Error>| error.unwrap().kind() == ErrorKind::PermissionDenied;
            assert!(denied(File::create(&file).err()), "a file was made");
            assert!(denied(fs::remove_file(&file).err()), "a file was removed");
            assert!(denied(Command::new("/bin/true").status().err()), "a program was run");
            assert!(denied(nix::unistd::setsid().err().map(Into::into)), "a call that is not in the list");
            assert!(
                denied(nix::sys::signal::kill(nix::unistd::getppid(), None).err().map(Into::into)),
                "a signal"
            );
            assert!(denied(TcpListener::bind("127.0.0.1:0").err()), "a server");
            // Ways around the ports.
            let socket = |protocol| socket(AddressFamily::INET, SocketType::STREAM, protocol);
            for protocol in [ipproto::MPTCP, ipproto::SCTP] {
                assert!(denied(socket(Some(protocol)).err().map(Into::into)), "{protocol:?}");
            }
            let ping = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, Some(ipproto::ICMP));
            assert!(denied(ping.err().map(Into::into)), "ICMP");
            let tcp = socket(Some(ipproto::TCP)).unwrap();
            let there = SocketAddr::from(([127, 0, 0, 1], port));
            let early = SendFlags::from_bits_retain(nix::libc::MSG_FASTOPEN.unsigned_abs());
            assert!(
                denied(sendto(&tcp, b"x", early, &there).err().map(Into::into)),
                "data with the first packet"
            );
            let (pieces, mut more) = ([IoSlice::new(b"x")], SendAncillaryBuffer::default());
            let sent = sendmsg_addr(&tcp, &there, &pieces, &mut more, early);
            assert!(denied(sent.err().map(Into::into)), "the same, in another way");
            // One is enough for all, TCP_FASTOPEN_CONNECT among them.
            assert!(denied(sockopt::set_tcp_cork(&tcp, true).err().map(Into::into)), "an option of TCP");
            sockopt::set_tcp_nodelay(&tcp, true).unwrap();
            sockopt::set_socket_broadcast(&tcp, true).unwrap();
            (File::open(&file).err(), TcpStream::connect(("127.0.0.1", port)).err())
        });
        // By landlock alone.
        if fs::read_to_string("/sys/kernel/security/lsm").is_ok_and(|list| !list.contains("landlock")) {
            return println!("this kernel has no landlock: not tried");
        }
        assert_eq!(reading.unwrap().kind(), ErrorKind::PermissionDenied);
        assert_eq!(writing.unwrap().kind(), ErrorKind::PermissionDenied);
    }
}
