//! Reads the protected hosts. A finding names the host by its url, and the line: there may be dozens.

use super::{Read, Reader, invalid, origin};
use crate::config::{ConfigFault, Host, Origin};
use crate::session::Requirement;
use serde::Deserialize;
use std::ops::Range;
use toml::Spanned;
use yubiotp::diagnostic::{Code, Diagnostic, Location};
use yubiotp::policy::Subject;
use yubiotp::shown;

/// A table `[[host]]` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct RawHost {
    url: Spanned<String>,
    #[serde(default)]
    require: Option<Spanned<String>>,
    #[serde(default)]
    allow: Option<Spanned<Vec<Spanned<String>>>>,
}

impl Reader<'_> {
    /// All of them. Each name is there once, whatever the port, and is not that of the portal: a program on another port of a
    /// name gets the cookies of this name.
    pub(super) fn hosts(&self, raw: Vec<RawHost>, portal: &Origin) -> Read<Vec<Host>> {
        let mut hosts: Vec<Host> = Vec::new();
        for raw in raw {
            let at = raw.url.span();
            let host = self.host(raw, portal)?;
            if hosts.iter().any(|earlier| earlier.origin.host() == host.origin.host()) {
                let problem = format!("host.url: another [[host]] has the name of {}, too", host.origin);
                let twice = Diagnostic::error(Code::SettingsConflict, problem);
                return Err(self.wrong_at(&at, twice.advise("remove one of the two")));
            }
            let others = hosts.iter().map(|earlier| ("the [[host]] ", &earlier.origin));
            if let Some((which, other)) =
                others.chain([("public_url ", portal)]).find(|(_, other)| other.name() == host.origin.name())
            {
                let problem = format!(
                    "host.url: {} and {which}{other} have the same name, and browsers send its cookies to all of its ports",
                    host.origin
                );
                let ports = Diagnostic::error(Code::SettingsConflict, problem);
                return Err(self.wrong_at(&at, ports.advise("give each of them a name of its own")));
            }
            hosts.push(host);
        }
        Ok(hosts)
    }

    fn host(&self, raw: RawHost, portal: &Origin) -> Read<Host> {
        let url = raw.url.get_ref();
        let wrong = |at: &Range<usize>, setting: &str, found: Diagnostic| {
            let problem = format!("host.{setting} of {}: {}", shown::text(url), found.problem);
            self.wrong_at(at, Diagnostic { problem, ..found })
        };
        let origin = origin(url).map_err(|found| wrong(&raw.url.span(), "url", found))?;
        if origin == *portal {
            let same = invalid("it is public_url, which is the portal itself");
            let same = same.advise("give the protected host a name of its own");
            return Err(wrong(&raw.url.span(), "url", same));
        }
        let require = raw.require.map_or(Ok(Requirement::LOGIN), |text| {
            Requirement::parse(text.get_ref())
                .map_err(|why| wrong(&text.span(), "require", invalid(why.to_string())))
        });
        let subject = |text: &Spanned<String>| {
            Subject::parse(text.get_ref()).ok_or_else(|| {
                let problem = format!("{} is no user", shown::quoted(text.get_ref()));
                wrong(&text.span(), "allow", invalid(problem))
            })
        };
        // Whoever takes the last name off a list means nobody.
        if let Some(allow) = &raw.allow
            && allow.get_ref().is_empty()
        {
            let empty = invalid("names nobody");
            let empty =
                empty.advise("name users and @groups, or leave allow out to let in everybody who signs in");
            return Err(wrong(&allow.span(), "allow", empty));
        }
        let allow = raw.allow.iter().flat_map(|allow| allow.get_ref());
        let allow = allow.map(subject).collect::<Read<_>>()?;
        Ok(Host { origin, require: require?, allow })
    }

    /// The finding about the value in this part of the text.
    fn wrong_at(&self, at: &Range<usize>, found: Diagnostic) -> ConfigFault {
        let before = self.text.get(..at.start).unwrap_or_default();
        let line = before.matches('\n').count().saturating_add(1);
        let path = self.path.as_os_str().as_encoded_bytes();
        ConfigFault::Invalid(Box::new(found.at(Location::line(path, line))))
    }
}
