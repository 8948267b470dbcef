//! May this request to a protected host pass? Its web server asks for each one, and the answer comes from memory.

mod hosts;
mod pages;

use crate::config::Origin;
use crate::session::{BadRequirement, Factor, Key, KeyHash, Passed, Place, Requirement, Session};
use crate::site::Site;
pub use hosts::{Hosts, ProtectedHost};
pub use pages::{Errand, HostReply, PREFIX};
pub(crate) use pages::{START, clear_cookie, set_cookie};
use std::sync::Arc;
use yubiotp::diagnostic::Code;

/// The cookie of a protected host.
pub const COOKIE: &str = "__Host-ykweb";

/// The cookie by which a protected host knows the browser that it sent to the portal.
pub const START_COOKIE: &str = "__Host-ykweb-start";

/// A request to a protected host, as its web server says it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The host that the browser asked for, as in the header `Host`.
    pub host: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// The header `Cookie`.
    pub cookies: &'a str,
    /// What the web server asks for beyond what the host needs anyway: `otp fresh=10m`.
    pub require: &'a str,
    /// Whether the browser shows the answer to its user: not that of a script.
    pub is_navigation: bool,
}

/// The answer.
#[derive(Debug)]
pub enum Decision {
    /// It may pass.
    Pass(Arc<Passed>),
    /// The browser has to go to the portal first, or further, by this host's own page.
    Start {
        /// Path and query to come back to.
        target: String,
        /// What is needed there.
        need: Requirement,
    },
    /// The same of a request that a script made: it cannot be sent to a page.
    NotSignedIn(Factor),
    /// No.
    Denied(Denial),
}

/// Why nobody, or not this user, may pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The kind.
    pub code: Code,
    /// The protected host, if there is one of this name.
    pub host: Option<String>,
    /// The user, if it is known.
    pub user: Option<String>,
    /// One sentence.
    pub reason: String,
}

impl Denial {
    fn unknown_host(host: &str) -> Self {
        let host: String = host.chars().take(100).collect();
        Self {
            code: Code::HostNotProtected,
            host: None,
            user: None,
            reason: format!("no [[host]] of the configuration has the name {host:?}"),
        }
    }

    fn bad_requirement(host: &Origin, why: &BadRequirement) -> Self {
        Self {
            code: Code::RequirementInvalid,
            host: Some(host.host().to_owned()),
            user: None,
            reason: format!("the web server asks for something that nobody can show: {why}"),
        }
    }

    /// A user who may not use this host.
    #[must_use]
    pub fn not_allowed(host: &Origin, user: &str) -> Self {
        Self {
            code: Code::UserNotAllowedHere,
            host: Some(host.host().to_owned()),
            user: Some(user.to_owned()),
            reason: format!("{user} is not among those whom allow of {host} names"),
        }
    }
}

/// The value of a cookie; the first, if there are several of a name (RFC 6265, 4.2.1). Its name is compared as it is: other hosts
/// of the domain can set one that begins with a blank of another kind. No browser sees the prefix `__Host-` in it, and who cuts
/// off such a blank does.
#[must_use]
pub fn cookie<'a>(cookies: &'a str, name: &str) -> Option<&'a str> {
    cookies.split(';').find_map(|pair| {
        let (own, value) = pair.trim_matches([' ', '\t']).split_once('=')?;
        (own == name).then_some(value)
    })
}

/// The key in a cookie.
#[must_use]
pub fn key_in(cookies: &str, name: &str) -> Option<Key> {
    cookie(cookies, name).and_then(Key::read)
}

impl Site {
    /// Decides at `now`, in seconds since 1970.
    #[must_use]
    pub fn authorize(&self, asked: &Asked<'_>, now: u64) -> Decision {
        let Some(host) = self.hosts.named(asked.host) else {
            return Decision::Denied(Denial::unknown_host(asked.host));
        };
        let need = match Requirement::parse(asked.require) {
            Ok(asked) => host.require.and(asked),
            Err(why) => return Decision::Denied(Denial::bad_requirement(&host.origin, &why)),
        };
        let session = key_in(asked.cookies, COOKIE)
            .and_then(|key| self.session_at(key.hash(), host.origin.host(), now));
        let lack = match &session {
            None => Factor::First,
            Some(session) if !host.allows(session) => {
                return Decision::Denied(Denial::not_allowed(&host.origin, session.user.as_str()));
            }
            Some(session) => match session.with_evidence(|shown| need.met_by(shown, now)) {
                Ok(()) => return Decision::Pass(session.passed()),
                Err(lack) => lack.factor,
            },
        };
        if !asked.is_navigation {
            return Decision::NotSignedIn(lack);
        }
        // What a form sent is lost; the page that it was sent to may show it again.
        Decision::Start { target: host.page(asked.target).to_owned(), need }
    }

    fn session_at(&self, key: KeyHash, host: &str, now: u64) -> Option<Arc<Session>> {
        self.sessions.find(key, |place| matches!(place, Place::Host(at) if at == host), now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_of_exactly_this_name() {
        for (sent, found) in [
            ("__Host-ykweb=key", Some("key")),
            ("a=1; __Host-ykweb=key; b=2", Some("key")),
            ("a=1;\t__Host-ykweb=key;b", Some("key")),
            ("__Host-ykweb=first; __Host-ykweb=second", Some("first")),
            ("\u{2000}__Host-ykweb=tossed; __Host-ykweb=key", Some("key")),
            ("\u{a0}__Host-ykweb=tossed", None),
            ("\u{85}__Host-ykweb=tossed; \u{3000}__Host-ykweb=tossed; \u{2028}__Host-ykweb=tossed", None),
            ("\u{b}__Host-ykweb=tossed; \u{c}__Host-ykweb=tossed", None),
            ("__Host-ykweb =tossed; __host-ykweb=tossed; =__Host-ykweb=tossed", None),
            ("__Host-ykweb-start=other; __Host-ykweb", None),
            ("", None),
        ] {
            assert_eq!(cookie(sent, COOKIE), found, "{sent:?}");
        }
    }
}
