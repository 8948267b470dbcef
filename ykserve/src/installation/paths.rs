//! The default places of a server's files.

use super::{Installation, accounts};
use crate::file;
use std::path::{Path, PathBuf};
use yubiotp::diagnostic::{Code, Diagnostic, cause};

/// Where the files of a server are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Everything beside the configuration file.
    OneFolder,
    /// The store in [`Installation::data`], and its owner is the server's user, where there is one.
    System,
}

impl Installation {
    /// The folder for everything, including the configuration, if there is none in `/etc`. `None`: this user has no home folder.
    #[must_use]
    pub fn data_folder(&self) -> Option<PathBuf> {
        if rustix::process::geteuid().is_root() {
            return Some(self.data.into());
        }
        let share = variable("XDG_DATA_HOME").or_else(|| Some(variable("HOME")?.join(".local/share")));
        Some(share?.join(self.user))
    }

    /// The default configuration file, if it exists.
    ///
    /// # Errors
    /// That cannot be found out, which is a fault: with another configuration, the server would know no client and no user.
    pub fn settings(&self) -> Result<Option<PathBuf>, Diagnostic> {
        let of_data = self.data_folder().map(|folder| folder.join("config.toml"));
        for path in [Some(PathBuf::from(self.config)), of_data].into_iter().flatten() {
            match path.try_exists() {
                Ok(true) => return Ok(Some(path)),
                Ok(false) => {}
                Err(why) => {
                    let problem = format!("cannot open it: {}", cause(&why));
                    let found = Diagnostic::error(Code::FileInaccessible, problem);
                    return Err(found.at(file::location(&path)));
                }
            }
        }
        Ok(None)
    }

    /// There is no configuration. `init`: the verb that creates one, with what it needs.
    pub fn no_settings(&self, init: &str) -> Diagnostic {
        let config = self.config;
        let problem = match self.data_folder().map(|folder| folder.join("config.toml")) {
            Some(other) => {
                format!("there is no configuration: neither {config} nor {} exists", other.display())
            }
            None => format!("{config} does not exist"),
        };
        Diagnostic::error(Code::ConfigMissing, problem).run_when("to create one", self.program, init)
    }

    /// Where `init` creates a configuration: in the folder or file that the administrator named, or in the default places, which are
    /// those of what exists already, or what this user may write to. `dir` is absolute, and so is `config`.
    ///
    /// # Errors
    /// Both are named, or there is no default place.
    pub fn place_of_init(
        &self,
        dir: Option<&Path>,
        config: Option<&Path>,
    ) -> Result<(PathBuf, Layout), Diagnostic> {
        match (dir, config) {
            // clap does not detect a conflict with an option before the verb.
            (Some(_), Some(_)) => {
                Err(Diagnostic::error(Code::CommandLineInvalid, "--dir cannot be used with --config"))
            }
            (Some(dir), None) => Ok((dir.join("config.toml"), Layout::OneFolder)),
            (None, Some(config)) if config != Path::new(self.config) => {
                Ok((config.to_owned(), Layout::OneFolder))
            }
            (None, _) => self.usual(),
        }
    }

    fn usual(&self) -> Result<(PathBuf, Layout), Diagnostic> {
        let data = self.data_folder().ok_or_else(|| {
            let homeless = Diagnostic::error(Code::ConfigMissing, "this user has no home folder");
            homeless.advise("name a folder with --dir")
        })?;
        let of_data = data.join("config.toml");
        let root = rustix::process::geteuid().is_root();
        Ok(if root && (Path::new(self.config).exists() || !of_data.exists()) {
            (self.config.into(), Layout::System)
        } else {
            (of_data, Layout::OneFolder)
        })
    }

    /// The numbers of the server's user and group, where packages made them.
    #[must_use]
    pub fn service(&self) -> (Option<u32>, Option<u32>) {
        let numbered = |path: &str| {
            let accounts = accounts(path);
            let own = accounts.iter().find(|fields| fields.first().is_some_and(|name| name == self.user));
            own?.get(2)?.parse().ok()
        };
        (numbered("/etc/passwd"), numbered("/etc/group"))
    }
}

/// An absolute path from an environment variable.
#[expect(
    clippy::disallowed_methods,
    reason = "where the files of this user are, as every program finds them"
)]
pub(super) fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}
