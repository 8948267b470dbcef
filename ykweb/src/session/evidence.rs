//! By what a user showed who they are, and when.

use yubiotp::policy::Method;

/// By what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Means {
    /// A password.
    Password,
    /// A Kerberos ticket, which a web server checked (SPNEGO).
    Kerberos,
    /// A client certificate, which a web server checked.
    Certificate,
    /// The OTP of a YubiKey.
    YubiKey,
    /// A code by time: an authenticator app or a hardware token.
    Totp,
    /// A code by counter.
    Hotp,
    /// A recovery code.
    Recovery,
}

/// One thing that was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// By what.
    pub means: Means,
    /// When, in seconds since 1970.
    pub at: u64,
}

impl Means {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Password,
        Self::Kerberos,
        Self::Certificate,
        Self::YubiKey,
        Self::Totp,
        Self::Hotp,
        Self::Recovery,
    ];

    /// The name that the store, logs and headers use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Kerberos => "kerberos",
            Self::Certificate => "certificate",
            Self::YubiKey => "yubikey",
            Self::Totp => "totp",
            Self::Hotp => "hotp",
            Self::Recovery => "recovery",
        }
    }

    /// The means of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|means| means.name() == name)
    }

    /// Whether it is a second factor.
    #[must_use]
    pub const fn is_second(self) -> bool {
        matches!(self, Self::YubiKey | Self::Totp | Self::Hotp | Self::Recovery)
    }

    /// That of a second factor.
    #[must_use]
    pub const fn of(method: Method) -> Self {
        match method {
            Method::YubiKey => Self::YubiKey,
            Method::Totp => Self::Totp,
            Method::Hotp => Self::Hotp,
            Method::Recovery => Self::Recovery,
        }
    }
}
