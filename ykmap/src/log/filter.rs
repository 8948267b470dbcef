//! Which entries are wanted.

use super::entry::{Entry, Outcome};
use clap::ValueHint;
use yubiotp::diagnostic::Code;
use yubiotp::{Serial, TokenId};

/// Each option that is given must hold.
#[derive(Debug, clap::Args)]
pub(crate) struct Filter {
    /// Show only entries of these users
    #[arg(value_name = "USER", value_hint = ValueHint::Username)]
    users: Vec<String>,
    /// Show only entries of this token; may be given several times
    #[arg(long = "token", value_name = "ID", value_parser = token)]
    tokens: Vec<String>,
    /// Show only entries of this service, such as sshd; may be given several times
    #[arg(long = "service", value_name = "NAME")]
    services: Vec<String>,
    /// Show only logins from this host, as the service names it; may be given several times
    #[arg(long = "host", value_name = "HOST", value_hint = ValueHint::Hostname)]
    hosts: Vec<String>,
    /// Show only entries with this outcome; may be given several times
    #[arg(long = "outcome", value_name = "OUTCOME", value_enum)]
    outcomes: Vec<Outcome>,
    /// Show only entries with this code, such as otp-replayed; may be given several times
    #[arg(long = "code", value_name = "CODE", value_parser = code)]
    codes: Vec<Code>,
    /// Show changes of users and tokens, and warnings, beside decisions
    #[arg(long)]
    events: bool,
}

/// A token as the log names it. `oath-` may be left out.
fn token(text: &str) -> Result<String, String> {
    match TokenId::parse(text.as_bytes()) {
        Ok(id) => Ok(id.to_string()),
        // One code of a set.
        Err(_) if TokenId::of_file(text).is_some() => Ok(text.to_owned()),
        Err(why) => match Serial::new(text) {
            Some(serial) => Ok(TokenId::Oath(serial).to_string()),
            None => Err(format!("{why}; the verb list USER shows the tokens of a user")),
        },
    }
}

fn code(text: &str) -> Result<Code, String> {
    let name = text.strip_prefix("code=").unwrap_or(text).trim_matches(['[', ']']);
    name.parse().map_err(|_| "there is no such code; the verb explain-code lists all".to_owned())
}

/// Whether the token that a line names is the wanted one. A set of recovery codes is each of its codes, too.
fn is_of(named: &str, wanted: &str) -> bool {
    named == wanted
        || wanted.starts_with("rec-")
            && named.strip_prefix(wanted).is_some_and(|rest| {
                rest.strip_prefix('-').is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
            })
}

impl Filter {
    pub(crate) fn matches(&self, entry: &Entry) -> bool {
        let is_one = |wanted: &[String], value: Option<&[u8]>| {
            wanted.is_empty() || value.is_some_and(|value| wanted.iter().any(|it| it.as_bytes() == value))
        };
        let outcome = match entry.outcome {
            Outcome::Event | Outcome::Warning if self.outcomes.is_empty() => self.events,
            outcome => self.outcomes.is_empty() || self.outcomes.contains(&outcome),
        };
        let has_code = |code: &Code| entry.code.as_deref() == Some(code.name());
        outcome
            && is_one(&self.users, entry.user.as_deref())
            && is_one(&self.services, entry.service.as_deref())
            && is_one(&self.hosts, entry.rhost.as_deref())
            && (self.codes.is_empty() || self.codes.iter().any(has_code))
            && (self.tokens.is_empty()
                || self.tokens.iter().any(|wanted| entry.tokens.iter().any(|named| is_of(named, wanted))))
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::tests::parsed;
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        filter: Filter,
    }

    #[test]
    fn what_matches() {
        let decision = parsed(
            "sshd",
            "pam_yubiotp(sshd:auth): refused user=alice token=rec-x7-2 mode=offline service=sshd rhost=192.0.2.7 \
             tty=none code=recovery-code-used reason=\"\"",
        );
        let decision = decision.unwrap();
        let event = parsed("ykmap", "event=add user=alice by=ops tokens=vvccccccccbd,oath-app-1").unwrap();
        let matches = |arguments: &[&str], entry: &Entry| {
            let arguments = ["log"].iter().chain(arguments);
            Command::try_parse_from(arguments).ok().map(|command| command.filter.matches(entry))
        };
        for (arguments, of_decision, of_event) in [
            (&[][..], true, false),
            (&["--events"], true, true),
            (&["alice", "--events"], true, true),
            (&["bob", "--events"], false, false),
            (&["bob", "alice"], true, false),
            (&["--token", "rec-x7"], true, false),
            (&["--token", "rec-x7-2"], true, false),
            (&["--token", "rec-x"], false, false),
            (&["--token", "rec-x7-1"], false, false),
            (&["--token", "app-1", "--events"], false, true),
            (&["--token", "VVCCCCCCCCBD", "--events"], false, true),
            (&["--service", "sshd"], true, false),
            (&["--service", "sudo", "--service", "sshd", "--events"], true, false),
            (&["--host", "192.0.2.7"], true, false),
            (&["--host", "192.0.2.8"], false, false),
            (&["--outcome", "rejected"], true, false),
            (&["--outcome", "refused"], true, false),
            (&["--outcome", "accepted"], false, false),
            (&["--outcome", "event"], false, true),
            (&["--code", "recovery-code-used"], true, false),
            (&["--code", "code=recovery-code-used"], true, false),
            (&["--code", "accepted"], false, false),
        ] {
            assert_eq!(matches(arguments, &decision), Some(of_decision), "{arguments:?}");
            assert_eq!(matches(arguments, &event), Some(of_event), "{arguments:?}");
        }
        for arguments in [["--code", "no-such-code"], ["--token", "no token"], ["--outcome", "maybe"]] {
            assert_eq!(matches(&arguments, &event), None, "{arguments:?}");
        }
    }
}
