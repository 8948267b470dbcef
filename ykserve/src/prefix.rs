//! Which addresses are counted as one: a host, or a site, can have as many of them as it likes.

use ipnet::IpNet;
use std::net::IpAddr;

/// What one host has: an address of IPv4, a /64 of IPv6.
#[must_use]
pub fn of_host(address: IpAddr) -> IpNet {
    within(address, 32, 64)
}

/// What one site has, or is taken to have: a /24 of IPv4, a /48 of IPv6.
#[must_use]
pub fn of_site(address: IpAddr) -> IpNet {
    within(address, 24, 48)
}

fn within(address: IpAddr, v4: u8, v6: u8) -> IpNet {
    // ::ffff:192.0.2.1 is 192.0.2.1.
    let address = address.to_canonical();
    let bits = if address.is_ipv4() { v4 } else { v6 };
    IpNet::new(address, bits).map_or_else(|_| IpNet::from(address), |net| net.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_host_and_of_one_site() {
        for (address, host, site) in [
            ("192.0.2.77", "192.0.2.77/32", "192.0.2.0/24"),
            ("::ffff:192.0.2.77", "192.0.2.77/32", "192.0.2.0/24"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", "2001:db8:1::/48"),
            ("::1", "::/64", "::/48"),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(of_host(address).to_string(), host);
            assert_eq!(of_site(address).to_string(), site);
        }
    }
}
