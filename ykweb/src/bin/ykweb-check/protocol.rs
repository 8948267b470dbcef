//! The callers, and how each of them is told.

use ykweb::check_api::Factor;

/// The caller whose protocol is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// A factor of Cosign: `cgi/factor.c` of Cosign 3.
    Cosign,
    /// mod_authnz_external, method `pipe`: user and password are lines of standard input.
    Pipe,
    /// mod_authnz_external, method `environment`: they are the variables USER and PASS.
    Environment,
    /// pwauth: as `pipe`, with exit statuses of its own.
    Pwauth,
    /// checkpassword: <https://cr.yp.to/checkpwd/interface.html>.
    Checkpassword,
    /// A request of check.sock on standard input, and the reply on standard output.
    Json,
}

/// What came of it, for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Accepted,
    Rejected,
    /// Rejected, because too many passwords were tried.
    TooMany,
    /// Nothing was decided.
    Failed,
    /// The caller does not speak this protocol.
    Misused,
}

impl Protocol {
    pub(crate) const ALL: [Self; 6] =
        [Self::Cosign, Self::Pipe, Self::Environment, Self::Pwauth, Self::Checkpassword, Self::Json];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Cosign => "cosign",
            Self::Pipe => "pipe",
            Self::Environment => "environment",
            Self::Pwauth => "pwauth",
            Self::Checkpassword => "checkpassword",
            Self::Json => "json",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.name() == name)
    }

    /// What is asked for, unless the caller says otherwise: Cosign has a first factor, JSON says it itself, the others ask for a
    /// password.
    pub(crate) const fn factor(self) -> Factor {
        match self {
            Self::Cosign | Self::Json => Factor::Second,
            _ => Factor::Both,
        }
    }

    /// The exit status by which the caller understands it. Each but 0 refuses.
    pub(crate) const fn exit(self, outcome: Outcome) -> u8 {
        match (self, outcome) {
            (_, Outcome::Accepted) => 0,
            (Self::Pwauth, Outcome::TooMany) => 7,
            (_, Outcome::Rejected | Outcome::TooMany) => 1,
            // Cosign ends with an error page of its web server if a factor exits with anything but 0, 1 and 2, and takes 2
            // for a password that has expired.
            (Self::Cosign, _) => 1,
            (Self::Pwauth, Outcome::Failed) => 52,
            (Self::Pwauth, Outcome::Misused) => 51,
            (Self::Checkpassword, Outcome::Failed) => 111,
            (_, Outcome::Failed | Outcome::Misused) => 2,
        }
    }
}

/// The line that Cosign reads: the name of the factor that the user now has, or what they are told. Cosign makes a cookie of a
/// line with an equals sign in it, so there is none.
pub(crate) fn cosign_line(outcome: Outcome, name: &str, id: Option<&str>) -> String {
    let words = match outcome {
        Outcome::Accepted => return name.replace('=', ""),
        Outcome::Rejected => "Rejected. Touch your YubiKey again, or wait for the next code.",
        Outcome::TooMany => "Rejected: too many tries. Wait a few minutes.",
        Outcome::Failed | Outcome::Misused => "The second factor cannot be checked at the moment.",
    };
    let id = id.map(|id| format!(" ({id})")).unwrap_or_default();
    let is_shown = |c: &char| c.is_ascii_graphic() && *c != '=' || *c == ' ';
    format!("{words}{id}").chars().filter(is_shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_accepted_is_a_yes() {
        for protocol in Protocol::ALL {
            assert_eq!(Protocol::named(protocol.name()), Some(protocol));
            let exits =
                [Outcome::Accepted, Outcome::Rejected, Outcome::TooMany, Outcome::Failed, Outcome::Misused]
                    .map(|outcome| protocol.exit(outcome));
            let expected = match protocol {
                Protocol::Cosign => [0, 1, 1, 1, 1],
                Protocol::Pwauth => [0, 1, 7, 52, 51],
                Protocol::Checkpassword => [0, 1, 1, 111, 2],
                _ => [0, 1, 1, 2, 2],
            };
            assert_eq!(exits, expected, "{protocol:?}");
        }
    }

    #[test]
    fn cosign_gets_no_cookie() {
        assert_eq!(cosign_line(Outcome::Accepted, "otp", Some("R-1")), "otp");
        for outcome in [Outcome::Accepted, Outcome::Rejected, Outcome::TooMany, Outcome::Failed] {
            let line = cosign_line(outcome, "cosign=", Some("R-1\n$x=y"));
            assert!(!line.contains(['=', '\n']), "{line}");
        }
    }
}
