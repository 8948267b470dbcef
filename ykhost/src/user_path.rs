//! Paths with `%u` in them: a file of each user's own.

use crate::Fault;
use std::path::PathBuf;

/// The file of `user`: `%u` in the setting is replaced by the name.
///
/// # Errors
/// The name would change the path: it is empty, begins with a dot or holds a slash.
pub fn path_of(setting: &str, user: &str) -> Result<PathBuf, Fault> {
    if !setting.contains("%u") {
        return Ok(PathBuf::from(setting));
    }
    if user.is_empty() || user.starts_with('.') || user.contains(['/', '\0']) {
        return Err(Fault::UserInPath { template: setting.to_owned() });
    }
    Ok(PathBuf::from(setting.replace("%u", user)))
}
