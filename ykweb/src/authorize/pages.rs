//! The pages of this program on a protected host, which its web server passes on: where a login starts and comes back.

use super::{COOKIE, Denial, START_COOKIE, key_in};
use crate::authorize::hosts::ProtectedHost;
use crate::random::NoRandom;
use crate::session::ticket::{Ticket, TooMany};
use crate::session::{Key, KeyHash, Requirement, Session, SessionFault};
use crate::site::Site;
use form_urlencoded::Serializer;
use std::time::Instant;
use yubiotp::diagnostic::Code;

/// Where they begin.
pub const PREFIX: &str = "/_ykweb/";

pub(crate) const START: &str = "/_ykweb/start";
const CALLBACK: &str = "/_ykweb/callback";
const LOGOUT: &str = "/_ykweb/logout";

/// An answer to the browser.
#[derive(Debug)]
pub enum HostReply {
    /// Go there, with these cookies.
    Redirect {
        /// A whole URL.
        to: String,
        /// Values of `Set-Cookie`.
        cookies: Vec<String>,
    },
    /// No.
    Denied(Denial),
    /// There is no such page.
    Missing,
}

/// A cookie that the browser keeps until it is closed, sends by TLS only, never to another host, nor to scripts.
pub(crate) fn set_cookie(name: &str, key: &Key) -> String {
    format!("{name}={}; Path=/; Secure; HttpOnly; SameSite=Lax", *key.write())
}

/// The same cookie, removed.
pub(crate) fn clear_cookie(name: &str) -> String {
    format!("{name}=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0")
}

/// Where the user wants to go, as the portal keeps it from page to page.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Errand {
    /// The whole URL of a page of a protected host; empty: none.
    pub return_to: String,
    /// The hash of the key in the start cookie of that host.
    pub browser: String,
    /// What is needed there.
    pub need: String,
}

impl Errand {
    /// For a URL: empty, or `return_to=…&browser=…&need=…`.
    #[must_use]
    pub fn query(&self) -> String {
        if self.return_to.is_empty() {
            return String::new();
        }
        Serializer::new(String::new())
            .append_pair("return_to", &self.return_to)
            .append_pair("browser", &self.browser)
            .append_pair("need", &self.need)
            .finish()
    }

    /// A page of the portal with this errand.
    #[must_use]
    pub fn page(&self, path: &str) -> String {
        match self.query() {
            query if query.is_empty() => path.to_owned(),
            query => format!("{path}?{query}"),
        }
    }
}

impl Site {
    /// Sends a browser to the portal.
    ///
    /// # Errors
    /// The system has no random source.
    pub fn start(
        &self,
        host: &ProtectedHost,
        target: &str,
        need: Requirement,
        cookies: &str,
    ) -> Result<HostReply, NoRandom> {
        // Several pages of one host may be on their way to the portal.
        let (browser, cookies) = match key_in(cookies, START_COOKIE) {
            Some(key) => (key.hash(), Vec::new()),
            None => {
                let key = Key::new()?;
                (key.hash(), vec![set_cookie(START_COOKIE, &key)])
            }
        };
        let errand = Errand {
            return_to: format!("{}{}", host.origin, host.page(target)),
            browser: browser.write(),
            need: need.to_string(),
        };
        Ok(HostReply::Redirect { to: format!("{}{}", self.public_url, errand.page("/login")), cookies })
    }

    /// Where a user goes who has what is needed: back to the protected host, by a ticket.
    ///
    /// # Errors
    /// The system has no random source.
    pub fn way_back(
        &self,
        session: &Session,
        host: &ProtectedHost,
        target: &str,
        browser: KeyHash,
    ) -> Result<Result<String, TooMany>, NoRandom> {
        let ticket = Ticket { session: session.number, host: host.origin.host().to_owned(), browser };
        let issued = self.tickets.issue(ticket, Instant::now())?;
        Ok(issued.map(|ticket| {
            let query = Serializer::new(String::new())
                .append_pair("ticket", &ticket.write())
                .append_pair("to", target)
                .finish();
            format!("{}{CALLBACK}?{query}", host.origin)
        }))
    }

    /// Answers a request for a page below [`PREFIX`]. Blocks on the store.
    ///
    /// # Errors
    /// The store failed, or the system has no random source.
    pub fn host_page(&self, sent_host: &str, target: &str, cookies: &str) -> Result<HostReply, SessionFault> {
        let Some(host) = self.hosts.named(sent_host) else {
            return Ok(HostReply::Denied(Denial::unknown_host(sent_host)));
        };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let parameter = |wanted: &str| {
            let mut all = form_urlencoded::parse(query.as_bytes());
            all.find(|(name, _)| name == wanted).map_or_else(String::new, |(_, value)| value.into_owned())
        };
        match path {
            START => {
                let need =
                    Requirement::parse(&parameter("need")).unwrap_or(Requirement::LOGIN).and(host.require);
                Ok(self.start(host, &parameter("to"), need, cookies)?)
            }
            CALLBACK => self.callback(host, &parameter("ticket"), &parameter("to"), cookies),
            LOGOUT => {
                let to = format!("{}/logout", self.public_url);
                Ok(HostReply::Redirect {
                    to,
                    cookies: vec![clear_cookie(COOKIE), clear_cookie(START_COOKIE)],
                })
            }
            _ => Ok(HostReply::Missing),
        }
    }

    fn callback(
        &self,
        host: &ProtectedHost,
        ticket: &str,
        to: &str,
        cookies: &str,
    ) -> Result<HostReply, SessionFault> {
        let name = host.origin.host();
        // A browser that was not sent from here spoils the ticket, too.
        let browser = key_in(cookies, START_COOKIE).map_or(KeyHash([0; 32]), |key| key.hash());
        let taken =
            Key::read(ticket).and_then(|ticket| self.tickets.take(&ticket, name, browser, Instant::now()));
        let key = match taken {
            Some(session) => self.sessions.hand_over(session, name)?,
            None => None,
        };
        let Some(key) = key else {
            return Ok(HostReply::Denied(Denial {
                code: Code::TicketInvalid,
                host: Some(name.to_owned()),
                user: None,
                reason: "the ticket from the portal was used, is older than half a minute, or is another browser's or host's".to_owned(),
            }));
        };
        // The start cookie stays, for other pages of this host that are on their way.
        let cookies = vec![set_cookie(COOKIE, &key)];
        Ok(HostReply::Redirect { to: format!("{}{}", host.origin, host.page(to)), cookies })
    }
}
