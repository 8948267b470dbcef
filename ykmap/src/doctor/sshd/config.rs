//! Reading sshd_config as sshd does (`servconf.c`): words, includes, `Match`, and the first value of each setting.

use super::include;
use crate::doctor::pam::service::Overlay;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use ykhost::file;
use yubiotp::diagnostic::Location;

/// How deep files may include each other.
const MOST_LEVELS: usize = 16;
/// No such file is that long.
const LONGEST: u64 = 1 << 20;

/// A value, and the line that sets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Set<T> {
    pub(super) value: T,
    pub(super) place: Location,
}

/// The settings that decide how people log in. `None` where nothing sets one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Values {
    pub(super) use_pam: Option<Set<bool>>,
    pub(super) public_key: Option<Set<bool>>,
    pub(super) password: Option<Set<bool>>,
    pub(super) keyboard_interactive: Option<Set<bool>>,
    pub(super) kerberos: Option<Set<bool>>,
    pub(super) host_based: Option<Set<bool>>,
    /// Each list of methods as it is written.
    pub(super) methods: Option<Set<Vec<String>>>,
}

impl Values {
    fn slot(&mut self, keyword: &str) -> Option<&mut Option<Set<bool>>> {
        Some(match keyword {
            "usepam" => &mut self.use_pam,
            "pubkeyauthentication" => &mut self.public_key,
            "passwordauthentication" => &mut self.password,
            "kbdinteractiveauthentication" | "challengeresponseauthentication" | "skeyauthentication" => {
                &mut self.keyboard_interactive
            }
            "gssapiauthentication" => &mut self.kerberos,
            "hostbasedauthentication" => &mut self.host_based,
            _ => return None,
        })
    }

    /// Sets what was not set before.
    fn take(&mut self, keyword: &str, values: &[String], place: &Location) {
        let place = place.clone();
        if keyword == "authenticationmethods" {
            if self.methods.is_none() {
                self.methods = Some(Set { value: values.to_vec(), place });
            }
        } else if let (Some(slot @ None), Some(value)) = (self.slot(keyword), values.first()) {
            *slot = Some(Set { value: value.eq_ignore_ascii_case("yes"), place });
        }
    }

    /// These, and what only the others set.
    fn or(&self, other: &Self) -> Self {
        Self {
            use_pam: other.use_pam.clone(),
            public_key: self.public_key.clone().or_else(|| other.public_key.clone()),
            password: self.password.clone().or_else(|| other.password.clone()),
            keyboard_interactive: self
                .keyboard_interactive
                .clone()
                .or_else(|| other.keyboard_interactive.clone()),
            kerberos: self.kerberos.clone().or_else(|| other.kerberos.clone()),
            host_based: self.host_based.clone().or_else(|| other.host_based.clone()),
            methods: self.methods.clone().or_else(|| other.methods.clone()),
        }
    }
}

/// The settings of a `Match` for the users whom it means.
#[derive(Debug, Clone)]
pub(super) struct Block {
    /// As it is written, `User backup`; of one inside another's include, both.
    pub(super) condition: String,
    pub(super) place: Location,
    values: Values,
}

/// All of the settings.
#[derive(Debug, Clone, Default)]
pub(super) struct Config {
    /// The settings for users whom no `Match` means.
    pub(super) values: Values,
    /// The blocks that change how people log in, in order.
    blocks: Vec<Block>,
}

impl Config {
    /// Reads a file and what it includes. An error names the file that cannot be read, and why.
    pub(super) fn read(path: &Path) -> Result<Self, (PathBuf, String)> {
        Self::read_with(path, &Overlay::new())
    }

    /// The same, with some files as they would be after a change.
    pub(super) fn read_with(path: &Path, overlay: &Overlay) -> Result<Self, (PathBuf, String)> {
        let mut config = Self::default();
        config.file(path, overlay, None, 0)?;
        if let Some(block) = config.blocks.iter().find(|block| is_all(&block.condition)) {
            config.values = block.values.or(&config.values);
        }
        config.blocks.retain(|block| !is_all(&block.condition));
        Ok(config)
    }

    /// The settings for users whom a `Match` means, for each block that changes how people log in.
    pub(super) fn variants(&self) -> impl Iterator<Item = (&Block, Values)> {
        let own = self.blocks.iter().filter(|block| block.values != Values::default());
        own.map(|block| (block, block.values.or(&self.values)))
    }

    fn file(
        &mut self,
        path: &Path,
        overlay: &Overlay,
        outer: Option<usize>,
        depth: usize,
    ) -> Result<(), (PathBuf, String)> {
        if depth > MOST_LEVELS {
            let why = format!("is included {depth} files deep, and sshd stops at {MOST_LEVELS}");
            return Err((path.to_owned(), why));
        }
        // sshd reads it whatever its mode.
        let text = overlay.get(path).cloned().map_or_else(|| file::read_untrusted(path, LONGEST), Ok);
        let text = text.map_err(|fault| {
            let found = fault.diagnostic();
            let why = if fault.path() == path { found.problem } else { found.problem() };
            (path.to_owned(), why)
        })?;
        // A `Match` holds to the end of its file.
        let mut block = outer;
        for (index, line) in String::from_utf8_lossy(&text).lines().enumerate() {
            let (keyword, values) = words(line);
            let place = Location::line(path.as_os_str().as_bytes(), index.saturating_add(1));
            match keyword.as_str() {
                "match" => block = self.block(&values.join(" "), outer, place),
                "include" => {
                    for file in values.iter().flat_map(|pattern| include::files(pattern, overlay)) {
                        self.file(&file, overlay, block, depth.saturating_add(1))?;
                    }
                }
                keyword => match block.and_then(|at| self.blocks.get_mut(at)) {
                    Some(block) => block.values.take(keyword, &values, &place),
                    None => self.values.take(keyword, &values, &place),
                },
            }
        }
        Ok(())
    }

    /// The block of a condition inside another one. All blocks of one condition are one.
    fn block(&mut self, own: &str, outer: Option<usize>, place: Location) -> Option<usize> {
        let outer = outer.and_then(|at| self.blocks.get(at)).map(|block| block.condition.as_str());
        let condition = match outer {
            Some(outer) if !is_all(outer) => format!("{outer} and {own}"),
            _ => own.to_owned(),
        };
        let known = self.blocks.iter().position(|block| block.condition == condition);
        known.or_else(|| {
            self.blocks.push(Block { condition, place, values: Values::default() });
            self.blocks.len().checked_sub(1)
        })
    }
}

/// Whether a condition means everybody.
fn is_all(condition: &str) -> bool {
    condition.eq_ignore_ascii_case("all")
}

/// The keyword of a line in lower case, and its arguments. `Keyword value`, `Keyword=value`, words in quotes, and a
/// comment at the end.
pub(crate) fn words(line: &str) -> (String, Vec<String>) {
    let line = line.trim();
    let end = line.find([' ', '\t', '=']).unwrap_or(line.len());
    let (keyword, rest) = line.split_at(end);
    let rest = rest.trim_start();
    let rest = rest.strip_prefix('=').unwrap_or(rest);
    let mut words = Vec::new();
    let mut letters = rest.chars().peekable();
    loop {
        while letters.next_if(|letter| matches!(letter, ' ' | '\t')).is_some() {}
        if letters.peek().is_none_or(|first| *first == '#') {
            break;
        }
        let (mut word, mut quote) = (String::new(), None);
        while let Some(letter) = letters.next_if(|letter| quote.is_some() || !matches!(letter, ' ' | '\t')) {
            match letter {
                '\\' => match letters.next_if(|next| matches!(next, '\\' | '"' | '\'' | ' ')) {
                    Some(next) => word.push(next),
                    None => word.push(letter),
                },
                '"' | '\'' if quote == Some(letter) => quote = None,
                '"' | '\'' if quote.is_none() => quote = Some(letter),
                _ => word.push(letter),
            }
        }
        words.push(word);
    }
    (keyword.trim_matches('"').to_ascii_lowercase(), words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn words_as_sshd_takes_them() {
        for (line, keyword, values) in [
            ("UsePAM yes", "usepam", &["yes"][..]),
            ("  usepam=no # why", "usepam", &["no"]),
            ("UsePAM = no", "usepam", &["no"]),
            ("Include \"a b\" c\\ d 'e'\tf", "include", &["a b", "c d", "e", "f"]),
            ("# comment", "#", &["comment"]),
            ("", "", &[]),
        ] {
            let (own, words) = words(line);
            assert_eq!((own.as_str(), words), (keyword, values.iter().map(|it| (*it).to_owned()).collect()));
        }
    }

    #[test]
    fn match_holds_to_the_end_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        fs::write(&inner, "PasswordAuthentication no\nMatch Group g\nAuthenticationMethods publickey\n")
            .unwrap();
        let path = folder.path().join("sshd_config");
        let text = format!(
            "UsePAM yes\nMatch User u\nInclude {0}\nKbdInteractiveAuthentication no\nMatch all\nPubkeyAuthentication no\n",
            inner.display()
        );
        fs::write(&path, text).unwrap();
        let config = Config::read(&path).unwrap();
        let is = |set: Option<Set<bool>>| set.map(|set| set.value);
        assert_eq!(is(config.values.public_key.clone()), Some(false), "Match all means everybody");
        let found: Vec<_> = config
            .variants()
            .map(|(block, values)| {
                let methods = values.methods.map(|set| set.value.join(" "));
                (block.condition.as_str(), is(values.password), methods, is(values.keyboard_interactive))
            })
            .collect();
        let expected = [
            ("User u", Some(false), None, Some(false)),
            ("User u and Group g", None, Some("publickey".to_owned()), None),
        ];
        assert_eq!(found, expected);
    }
}
