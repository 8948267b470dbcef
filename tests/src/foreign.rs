//! Clients of the validation protocol and servers that others wrote: what `make test-clients` runs, and what
//! `docs/clients.md` says was run. The version is the one that was tried; of a registry, exactly that one is installed.

/// Where a client comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This package of Debian.
    Debian(&'static str),
    /// This package of PyPI.
    PyPi(&'static str),
    /// This package of npm.
    Npm(&'static str),
    /// This crate, pinned in `tests/clients/rust`.
    Crate(&'static str),
}

/// A client.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// What it is called.
    pub name: &'static str,
    /// Its version, as its authors write it.
    pub version: &'static str,
    /// Where it comes from.
    pub origin: Origin,
    /// Its program in `tests/clients/ask`, by which it asks; for a crate, the name of it.
    pub ask: &'static str,
    /// Whether it signs what it asks.
    pub signs: bool,
    /// Whether it asks by https only.
    pub https: bool,
}

const fn client(name: &'static str, version: &'static str, origin: Origin, ask: &'static str) -> Client {
    Client { name, version, origin, ask, signs: true, https: false }
}

/// All of them.
pub const CLIENTS: [Client; 15] = [
    client("ykclient", "2.15", Origin::Debian("libykclient-dev"), "ykclient.sh"),
    client("pam_yubico", "2.26", Origin::Debian("libpam-yubico"), "pam_yubico.sh"),
    client("FreeRADIUS rlm_yubikey", "3.2.1", Origin::Debian("freeradius-yubikey"), "freeradius.sh"),
    client(
        "Auth::Yubikey_WebClient",
        "4.02",
        Origin::Debian("libauth-yubikey-webclient-perl"),
        "auth-yubikey-webclient.pl",
    ),
    client("AnyEvent::Yubico", "0.9.3", Origin::Debian("libanyevent-yubico-perl"), "anyevent-yubico.pl"),
    client("python3-yubiotp", "1.0.0.post1", Origin::Debian("python3-yubiotp"), "yubiotp.py"),
    client("YubiOTP", "1.0.0", Origin::PyPi("YubiOTP"), "yubiotp.py"),
    client("yubico-client", "1.13.0", Origin::PyPi("yubico-client"), "yubico_client.py"),
    client("django-otp-yubikey", "1.1.0", Origin::PyPi("django-otp-yubikey"), "django_otp_yubikey.py"),
    client("privacyIDEA", "3.14", Origin::PyPi("privacyidea"), "privacyidea.py"),
    Client { https: true, ..client("yub", "0.11.1", Origin::Npm("yub"), "yub.js") },
    Client { signs: false, ..client("yubikeyotp", "0.2.0", Origin::Npm("yubikeyotp"), "yubikeyotp.js") },
    client("yubico", "0.11.0", Origin::Crate("yubico"), "yubico"),
    client("yubico_ng", "1.0.0", Origin::Crate("yubico_ng"), "yubico_ng"),
    client("yubico_otp", "0.1.0", Origin::Crate("yubico_otp"), "yubico_otp"),
];

/// A validation server, of PyPI.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    /// What it is called.
    pub name: &'static str,
    /// Its package.
    pub package: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Its program in `tests/clients/serve`.
    pub serve: &'static str,
    /// The path that it answers at.
    pub path: &'static str,
    /// What keeps the module from believing it, as the log says it.
    pub fault: &'static str,
}

/// All of them.
pub const SERVERS: [Server; 3] = [
    Server {
        name: "yubival",
        package: "yubival",
        version: "0.2.0",
        serve: "yubival.py",
        path: "/wsapi/2.0/verify",
        fault: "counter",
    },
    Server {
        name: "privacyIDEA",
        package: "privacyidea",
        version: "3.14",
        serve: "privacyidea.py",
        path: "/ttype/yubikey",
        fault: "counter",
    },
    Server {
        name: "yubistack",
        package: "yubistack",
        version: "1.0.0",
        serve: "yubistack.py",
        path: "/wsapi/2.0/verify",
        fault: "500",
    },
];
