//! The protected hosts, by name.

use crate::config::{Host, Origin};
use crate::session::{MOST_GROUPS, Requirement, Session};
use std::collections::{HashMap, HashSet};
use yubiotp::policy::Subject;

/// A protected host.
pub struct ProtectedHost {
    /// As browsers see it.
    pub origin: Origin,
    /// What is needed everywhere on it.
    pub require: Requirement,
    allow: Vec<Subject>,
}

/// The protected hosts.
pub struct Hosts(HashMap<String, ProtectedHost>);

impl ProtectedHost {
    /// Whether the user of this session may use it.
    #[must_use]
    pub fn allows(&self, session: &Session) -> bool {
        self.allow.is_empty()
            || self.allow.iter().any(|subject| match subject {
                Subject::User(name) => name == session.user.as_str(),
                Subject::Group(name) => session.groups.contains(name),
            })
    }

    fn groups(&self) -> impl Iterator<Item = &str> {
        self.allow.iter().filter_map(|subject| match subject {
            Subject::Group(name) => Some(name.as_str()),
            Subject::User(_) => None,
        })
    }

    /// Path and query of a page of this host that a browser can be sent to: from an address that others wrote. The path alone if
    /// both are too long, and `/` for what is none.
    #[must_use]
    pub fn page<'a>(&self, target: &'a str) -> &'a str {
        // In another address, and this in a header: nginx has 4 KiB for all headers of an answer.
        const MOST: usize = 2048;
        let is_in_urls = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&byte);
        let encoded =
            |text: &str| text.bytes().map(|byte| if byte.is_ascii_alphanumeric() { 1 } else { 3 }).sum();
        let is_page = |text: &str| {
            let length: usize = encoded(text);
            text.starts_with('/')
                && length <= MOST
                && text.bytes().all(is_in_urls)
                && !text.starts_with(super::PREFIX)
        };
        let path = target.split('?').next().unwrap_or_default();
        [target, path].into_iter().find(|text| is_page(text)).unwrap_or("/")
    }
}

impl Hosts {
    /// Those of the configuration, whose names differ.
    #[must_use]
    pub fn new(hosts: Vec<Host>) -> Self {
        let named = |host: Host| {
            let name = host.origin.host().to_owned();
            (name, ProtectedHost { origin: host.origin, require: host.require, allow: host.allow })
        };
        Self(hosts.into_iter().map(named).collect())
    }

    /// The one that a header `Host` names, in any case, with or without the usual port.
    #[must_use]
    pub fn named(&self, sent: &str) -> Option<&ProtectedHost> {
        self.0.get(sent).or_else(|| {
            let of = |is_https| {
                let host = self.0.get(&Origin::host_as_sent(sent, is_https)?)?;
                (host.origin.is_https() == is_https).then_some(host)
            };
            of(true).or_else(|| of(false))
        })
    }

    /// The host, path and query of a whole URL, if it is on a protected host.
    #[must_use]
    pub fn page<'a>(&self, url: &'a str) -> Option<(&ProtectedHost, &'a str)> {
        let (scheme, rest) = url.split_once("://")?;
        let (host, target) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
        let host = self.named(host)?;
        let is_same = scheme.eq_ignore_ascii_case(if host.origin.is_https() { "https" } else { "http" });
        is_same.then(|| (host, host.page(target)))
    }

    /// The groups of a user that a session keeps, and how many it leaves out: none; or, if they are too many to be handed to
    /// applications, those that no host's `allow` names.
    #[must_use]
    pub fn of_session(&self, groups: Vec<String>) -> (Vec<String>, usize) {
        let all = groups.len();
        if groups.iter().map(|group| group.len().saturating_add(1)).sum::<usize>() <= MOST_GROUPS {
            return (groups, 0);
        }
        let named: HashSet<&str> = self.0.values().flat_map(ProtectedHost::groups).collect();
        let kept: Vec<_> = groups.into_iter().filter(|group| named.contains(group.as_str())).collect();
        let left_out = all.saturating_sub(kept.len());
        (kept, left_out)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &ProtectedHost> {
        self.0.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_groups_are_those_that_hosts_name() {
        let host = |url: &str, allow: &[Subject]| Host {
            origin: Origin::parse(url).unwrap(),
            require: Requirement::LOGIN,
            allow: allow.to_vec(),
        };
        let group = |name: &str| Subject::Group(name.to_owned());
        let hosts = Hosts::new(vec![
            host("https://wiki.example.com", &[group("staff"), group("missing")]),
            host("https://pay.example.com", &[group("office7"), Subject::User("office8".to_owned())]),
        ]);
        let many = |number: usize| {
            let groups = (0..number).map(|number| format!("office{number}"));
            groups.chain(["staff".to_owned()]).collect::<Vec<_>>()
        };
        assert_eq!(hosts.of_session(many(9)), (many(9), 0));
        let kept = vec!["office7".to_owned(), "staff".to_owned()];
        assert_eq!(hosts.of_session(many(300)), (kept, 299));
    }
}
