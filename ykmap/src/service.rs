//! What services of pam.d make of the settings: a line there may name another configuration file, mapping, store or mode.

use super::doctor::pam::{ServiceLine, auth_lines};
use super::{Context, Failure};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use ykhost::mapping;
use ykhost::options::Options;
use ykhost::settings::{Settings, config_of};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program, shell_word};

/// A service's settings, and its `nullok`.
pub(crate) struct Service {
    pub(crate) settings: Settings,
    pub(crate) nullok: bool,
}

/// The settings by which a service decides about a user: those of its first auth line that loads the module.
pub(crate) fn of(
    context: &Context,
    name: &str,
    user: &str,
    pam_dirs: &[PathBuf],
) -> Result<Service, Failure> {
    let lines = auth_lines(pam_dirs);
    let Some(line) = lines.iter().find(|line| line.service == name) else {
        let mut names: Vec<_> = lines.iter().map(|line| line.service.as_str()).collect();
        names.dedup();
        let found =
            Diagnostic::error(Code::ServiceUnknown, "no auth line of this service loads pam_yubiotp.so")
                .at(Location::Service(name.to_owned()));
        return Err(match names.as_slice() {
            [] => found.advise("add the module to a service: pam_yubiotp(8), EXAMPLES"),
            names => found.advise(format!("name one of {}", names.join(", "))),
        }
        .into());
    };
    settings(context, line, user)
}

fn settings(context: &Context, line: &ServiceLine, user: &str) -> Result<Service, Failure> {
    let args: Vec<_> = line.args.iter().map(CString::as_c_str).collect();
    let options = Options::read(&args).map_err(|bad| {
        let found = bad.diagnostic();
        let place = Location::line(line.place.file.as_os_str().as_bytes(), line.place.line);
        Diagnostic { problem: found.problem(), ..found }.at(place)
    })?;
    let config = options.config.map(|config| config_of(config, user.as_bytes())).transpose()?;
    let config = config.or_else(|| context.config.clone());
    let settings = Settings::load(config.as_deref(), options.given)?;
    Ok(Service { settings, nullok: options.nullok })
}

/// Warns of services that read another mapping for this user than these settings name. Not asked about settings that the
/// administrator named: those may be for a service of their own.
pub(crate) fn warn_of_others(
    context: &Context,
    settings: &Settings,
    user: Option<&str>,
    pam_dirs: &[PathBuf],
) {
    if context.config.is_some() && pam_dirs.is_empty() {
        return;
    }
    let own = user.and_then(|user| mapping::path_of(&settings.mapping, user).ok());
    let own = own.unwrap_or_else(|| PathBuf::from(&settings.mapping));
    let mut told = Vec::new();
    for line in auth_lines(pam_dirs) {
        // What cannot be read is doctor's to tell.
        let Ok(Service { settings, .. }) = self::settings(context, &line, user.unwrap_or("USER")) else {
            continue;
        };
        let theirs = match user {
            Some(user) => mapping::path_of(&settings.mapping, user).unwrap_or_default(),
            None => PathBuf::from(&settings.mapping),
        };
        if theirs != own && !told.contains(&theirs) {
            let found = Diagnostic::warning(
                Code::ServiceDiffers,
                format!("reads the mapping {}, and this command uses {}", theirs.display(), own.display()),
            )
            .at(Location::Service(line.service.clone()))
            .advise(format!("look at mapping=, authfile= and config= in {}", line.place));
            context.note(&match user {
                Some(user) => found.run_when(
                    "to see what the service decides",
                    Program::Ykmap,
                    format!(
                        "verify --service {} {}",
                        shell_word(line.service.as_bytes()),
                        shell_word(user.as_bytes())
                    ),
                ),
                None => found,
            });
            told.push(theirs);
        }
    }
}
