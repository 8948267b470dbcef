//! Which addresses one server can listen on at the same time.

use std::net::SocketAddr;
use yubiotp::diagnostic::{Code, Diagnostic};

/// Two addresses of one list that the system does not give to one server.
#[must_use]
pub fn clash(list: &[SocketAddr]) -> Option<(SocketAddr, SocketAddr)> {
    list.iter().enumerate().find_map(|(at, one)| {
        // A socket of IPv6 beside one of IPv4 is for IPv6 only.
        let earlier = list.iter().take(at).filter(|other| one.is_ipv4() == other.is_ipv4());
        earlier.copied().find(|other| do_overlap(*one, *other)).map(|other| (other, *one))
    })
}

/// One of these addresses that the system does not give to one server together with `at`.
#[must_use]
pub fn taken(at: SocketAddr, list: &[SocketAddr]) -> Option<SocketAddr> {
    // Of `::`, which is for IPv4 too unless one of the list is.
    let both = |one: SocketAddr| one.is_ipv6() && one.ip().is_unspecified();
    let only_ipv6 = |one: SocketAddr| list.iter().any(|it| it.is_ipv4() && it.port() == one.port());
    list.iter().copied().find(|other| {
        if at.is_ipv4() == other.is_ipv4() {
            return do_overlap(at, *other);
        }
        at.port() != 0 && at.port() == other.port() && (both(at) || (both(*other) && !only_ipv6(*other)))
    })
}

/// Of two addresses of one family. Port 0 is any that is free.
fn do_overlap(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() != 0
        && one.port() == other.port()
        && (one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified())
}

/// The finding about two addresses that overlap.
pub fn overlap_found(one: SocketAddr, other: SocketAddr) -> Diagnostic {
    Diagnostic::error(Code::ListenOverlaps, format!("{one} and {other} overlap"))
        .advise("remove one of them, or give it another port")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|at| at.parse().unwrap()).collect()
    }

    /// The kernel decides the same.
    #[test]
    fn as_the_kernel_has_it() {
        for (list, clashes) in [
            (&["127.0.0.1:80", "127.0.0.1:80"][..], true),
            (&["0.0.0.0:80", "127.0.0.1:80"], true),
            (&["0.0.0.0:80", "[::]:80"], false),
            (&["[::]:80", "[::1]:80", "0.0.0.0:80"], true),
            (&["127.0.0.1:80", "127.0.0.1:81", "127.0.0.2:80"], false),
            (&["127.0.0.1:0", "127.0.0.1:0"], false),
        ] {
            assert_eq!(clash(&all(list)).is_some(), clashes, "{list:?}");
        }
        for (at, list, is_taken) in [
            ("127.0.0.1:80", &["127.0.0.1:80"][..], true),
            ("127.0.0.1:80", &["[::]:80"], true),
            ("127.0.0.2:80", &["127.0.0.1:80", "[::]:80"], false),
            ("[::]:80", &["127.0.0.1:80"], true),
            ("[::1]:80", &["127.0.0.1:80"], false),
            ("127.0.0.1:81", &["127.0.0.1:80"], false),
        ] {
            assert_eq!(taken(at.parse().unwrap(), &all(list)).is_some(), is_taken, "{at} {list:?}");
        }
    }
}
