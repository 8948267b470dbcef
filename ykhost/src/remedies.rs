//! Remedies that act on what was used: the configuration file and the mapping that a line in pam.d names, and the user.

use crate::settings::CONFIG;
use std::path::{Path, PathBuf};
use yubiotp::diagnostic::{Calls, Diagnostic, Program, Remedy, shell_word};
use yubiotp::mapping;
use yubiotp::shown;

/// What the arguments of a line in pam.d, or the options of a command, name.
#[derive(Debug, Clone, Default)]
pub struct Remedies {
    config: Option<PathBuf>,
    mapping: Option<String>,
}

impl Remedies {
    /// `config` is the configuration file, with the user in the place of `%u`; `mapping` is the one that arguments name in
    /// place of the file's.
    #[must_use]
    pub fn new(config: Option<PathBuf>, mapping: Option<String>) -> Self {
        Self { config: config.filter(|config| config != Path::new(CONFIG)), mapping }
    }

    /// How `ykmap` is called with this configuration file.
    #[must_use]
    pub fn ykmap(&self) -> String {
        match &self.config {
            Some(config) => format!("ykmap --config {}", shell_word(config.as_os_str().as_encoded_bytes())),
            None => Calls::PLAIN.ykmap.to_owned(),
        }
    }

    /// The finding with remedies that name the user where they would say `USER`, and the mapping where `ykmap add` would
    /// write to another one. `ykmap add` refuses a name that no mapping can contain.
    pub fn for_user(&self, mut found: Diagnostic, user: &[u8]) -> Diagnostic {
        // It would be an option: the reader has to see which user it means.
        if user.starts_with(b"-") {
            return found;
        }
        if let Err(why) = mapping::add(b"", user, &[]) {
            let adds = |remedy: &Remedy| match remedy {
                Remedy::Command { command, .. } => {
                    command.program == Program::Ykmap && command.arguments.starts_with("add USER")
                }
                Remedy::Text(_) => false,
            };
            let count = found.remedies.len();
            found.remedies.retain(|remedy| !adds(remedy));
            return if found.remedies.len() == count {
                found
            } else {
                found.advise(format!("log in by another name: {why}"))
            };
        }
        for remedy in &mut found.remedies {
            let Remedy::Command { when, command } = remedy else { continue };
            if command.program != Program::Ykmap {
                continue;
            }
            let Some(rest) = command.arguments.strip_prefix("add USER") else {
                command.arguments = named(&command.arguments, user);
                continue;
            };
            if let Some(mapping) = &self.mapping {
                let token = if rest.is_empty() { "PUBLIC_ID" } else { rest.trim_start() };
                let file = mapping.replace("%u", &shown::text(user).to_string());
                let when = when.as_ref().map(|when| format!("{when}, ")).unwrap_or_default();
                *remedy = Remedy::Text(format!(
                    "{when}add a line to {}, which an argument in pam.d names: {}:{token}",
                    shown::text(file.as_bytes()),
                    shown::text(user)
                ));
            } else {
                command.arguments = format!("add {}{rest}", shell_word(user));
            }
        }
        found
    }
}

/// The arguments with the word `USER` replaced.
fn named(arguments: &str, user: &[u8]) -> String {
    let words = arguments.split(' ');
    let words = words.map(|word| if word == "USER" { shell_word(user) } else { word.to_owned() });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use yubiotp::diagnostic::Code;

    fn text(remedies: &Remedies, command: &str, user: &[u8]) -> String {
        let found = Diagnostic::error(Code::UserNotListed, "x").run(Program::Ykmap, command);
        let ykmap = remedies.ykmap();
        remedies.for_user(found, user).text(Calls { ykmap: &ykmap, ..Calls::PLAIN })
    }

    #[test]
    fn a_command_names_user_and_configuration() {
        let usual = Remedies::new(Some(CONFIG.into()), None);
        assert_eq!(text(&usual, "add USER", b"alice"), "x. Run: ykmap add alice");
        assert_eq!(text(&usual, "add USER vvcb", b"o'hara"), "x. Run: ykmap add NAME vvcb");
        assert_eq!(text(&usual, "key enable vvcb", b"alice"), "x. Run: ykmap key enable vvcb");
        assert_eq!(text(&usual, "recovery new USER", b"alice"), "x. Run: ykmap recovery new alice");
        assert_eq!(text(&usual, "unlock USER", b"a b"), "x. Run: ykmap unlock 'a b'");
        // It would be an option.
        assert_eq!(text(&usual, "add USER", b"--config=/x"), "x. Run: ykmap add USER");
        // They would be a line for another user, or none.
        for name in ["root:vvcccccccccb", "#x", ""] {
            for remedies in [usual.clone(), Remedies::new(None, Some("/etc/map".to_owned()))] {
                let told = text(&remedies, "add USER", name.as_bytes());
                assert!(told.starts_with("x. Log in by another name: ") && !told.contains("add"), "{told}");
                assert_eq!(text(&remedies, "check", name.as_bytes()), "x. Run: ykmap check");
            }
        }
        let other = Remedies::new(Some("/etc/yub2/config.toml".into()), None);
        assert_eq!(
            text(&other, "add USER", b"alice"),
            "x. Run: ykmap --config /etc/yub2/config.toml add alice"
        );
        assert_eq!(
            text(&other, "key enable vvcb", b"alice"),
            "x. Run: ykmap --config /etc/yub2/config.toml key enable vvcb"
        );
    }

    #[test]
    fn a_mapping_of_the_arguments_is_named() {
        let remedies = Remedies::new(None, Some("/etc/map/%u".to_owned()));
        assert_eq!(
            text(&remedies, "add USER", b"alice"),
            "x. Add a line to /etc/map/alice, which an argument in pam.d names: alice:PUBLIC_ID"
        );
        assert_eq!(
            text(&remedies, "add USER vvcb", b"alice"),
            "x. Add a line to /etc/map/alice, which an argument in pam.d names: alice:vvcb"
        );
    }
}
