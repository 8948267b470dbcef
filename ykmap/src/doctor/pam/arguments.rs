//! The arguments that services of pam.d give to the module, for verbs that decide or change as a service does.

use super::Entry;
use super::service::{Folders, Kind, Place, What};
use std::ffi::CString;
use std::path::PathBuf;

/// An auth line that loads the module.
pub(crate) struct ServiceLine {
    /// The service that has it, perhaps by an include.
    pub(crate) service: String,
    /// Where it is written.
    pub(crate) place: Place,
    /// Its arguments for the module.
    pub(crate) args: Vec<CString>,
}

/// The auth lines of every service that load the module, in the order of the services' names. `folders` stand in for
/// `/etc/pam.d` and those of the distribution.
pub(crate) fn auth_lines(folders: &[PathBuf]) -> Vec<ServiceLine> {
    let folders = Folders::of(folders);
    let mut found = Vec::new();
    for name in folders.names() {
        let service = folders.service(&name);
        for Entry { place, what, .. } in service.entries.into_iter().filter(is_ours) {
            if let What::Module { args, .. } = what {
                found.push(ServiceLine { service: name.clone(), place, args });
            }
        }
    }
    found
}

/// A module that an auth line of a service loads.
pub(crate) struct LoadedModule {
    /// Where it is written.
    pub(crate) place: Place,
    /// The module's name, without folder and `.so`.
    pub(crate) module: String,
}

/// The modules that the auth lines of every service load, in the order of the services' names, and the names of all services.
/// `folders` as of [`auth_lines`].
pub(crate) fn auth_modules(folders: &[PathBuf]) -> (Vec<String>, Vec<LoadedModule>) {
    let folders = Folders::of(folders);
    let (names, mut loaded) = (folders.names(), Vec::new());
    for name in &names {
        let entries = folders.service(name).entries.into_iter();
        for entry in entries.filter(|entry| entry.kind == Kind::Auth && !entry.module().is_empty()) {
            let module = entry.module().to_owned();
            loaded.push(LoadedModule { place: entry.place, module });
        }
    }
    (names, loaded)
}

/// Whether there is a service file of this name. `folders` as of [`auth_lines`].
pub(crate) fn has_service(folders: &[PathBuf], name: &str) -> bool {
    let folders = Folders::of(folders);
    folders.names().iter().any(|own| own == name)
}

fn is_ours(entry: &Entry) -> bool {
    entry.kind == Kind::Auth && entry.is_ours()
}
