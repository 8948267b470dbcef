//! Where a login is from: PAM_RHOST against networks.

use core::fmt::{self, Display, Formatter};
use core::net::IpAddr;
use ipnet::IpNet;

/// Where a login is from, by PAM_RHOST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoteHost {
    /// PAM_RHOST is missing or empty: from the host itself.
    Local,
    /// An address. An IPv4 address in an IPv6 one is the IPv4 address.
    Address(IpAddr),
    /// A name, or anything else: it is never resolved, and is in no network.
    Name,
}

impl RemoteHost {
    /// The value of PAM_RHOST; `None` if it is not set.
    #[must_use]
    pub fn read(rhost: Option<&[u8]>) -> Self {
        match rhost {
            None | Some([]) => Self::Local,
            Some(text) => match str::from_utf8(text).ok().and_then(|text| text.parse::<IpAddr>().ok()) {
                Some(address) => Self::Address(address.to_canonical()),
                None => Self::Name,
            },
        }
    }
}

/// A network in a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// `local`: the login names no remote host.
    Local,
    /// Addresses.
    Network(IpNet),
}

/// Why a text is no [`From`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadFrom {
    /// Bits behind the prefix are not 0. The network with that prefix, which may be meant.
    HostBits(IpNet),
    /// Anything else, such as a name.
    NotANetwork,
}

impl From {
    /// Reads `local`, an address, or a network in CIDR notation whose bits behind the prefix are 0. An IPv4 network may be
    /// written in an IPv6 one.
    ///
    /// # Errors
    /// It is something else.
    pub fn parse(text: &str) -> Result<Self, BadFrom> {
        if text == "local" {
            return Ok(Self::Local);
        }
        let network = match text.parse::<IpNet>() {
            Ok(network) if network.trunc() == network => network,
            Ok(network) => return Err(BadFrom::HostBits(network.trunc())),
            Err(_) => IpNet::from(text.parse::<IpAddr>().map_err(|_| BadFrom::NotANetwork)?),
        };
        // As PAM_RHOST is read. A prefix shorter than 96 bits is one of IPv6.
        let as_v4 = match (network.addr().to_canonical(), network.prefix_len().checked_sub(96)) {
            (address @ IpAddr::V4(_), Some(prefix)) if network.addr().is_ipv6() => {
                IpNet::new(address, prefix)
            }
            _ => Ok(network),
        };
        Ok(Self::Network(as_v4.unwrap_or(network)))
    }

    /// Whether a login from there matches.
    #[must_use]
    pub fn has(&self, from: RemoteHost) -> bool {
        match (self, from) {
            (Self::Local, RemoteHost::Local) => true,
            (Self::Network(network), RemoteHost::Address(address)) => network.contains(&address),
            (Self::Local | Self::Network(_), _) => false,
        }
    }
}

impl Display for From {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Network(network) => write!(f, "{network}"),
        }
    }
}
