//! The settings that services of pam.d use: a line there may name another configuration file, mapping, store or mode.

use super::doctor::pam::{ServiceLine, auth_lines};
use super::{Context, Failure, absolute};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use ykhost::mapping;
use ykhost::options::{FirstPass, Options};
use ykhost::remedies::Remedies;
use ykhost::settings::{CONFIG, Mode, Settings, config_of};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program, shell_word};

/// A service's settings, and its `nullok`.
pub(crate) struct Service {
    pub(crate) settings: Settings,
    pub(crate) nullok: bool,
    /// What remedies are to act on.
    pub(crate) remedies: Remedies,
}

/// The folders of `--pam-dir`, absolute.
///
/// # Errors
/// One of them is not a folder.
pub(crate) fn pam_dirs(named: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let folders = named.iter().cloned().map(absolute).collect::<Result<Vec<_>, _>>()?;
    for folder in &folders {
        if !folder.is_dir() {
            let what =
                if folder.exists() { "is a file; give its folder in --pam-dir" } else { "does not exist" };
            return Err(Failure::input(format!("{}: {what}", folder.display())));
        }
    }
    Ok(folders)
}

/// The options for the same folders, for a command line that goes on.
pub(crate) fn pam_dir_options(folders: &[PathBuf]) -> String {
    folders
        .iter()
        .map(|folder| format!(" --pam-dir {}", shell_word(folder.as_os_str().as_encoded_bytes())))
        .collect()
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
    settings(context, line, user).map(|by| by.service)
}

/// What a line comes to.
pub(crate) struct ByLine {
    pub(crate) service: Service,
    /// The configuration file; `None` for the usual one.
    pub(crate) config: Option<PathBuf>,
    /// Whether the line has `enroll`, and may ask.
    pub(crate) enroll: bool,
}

/// The first auth line of a service that loads the module.
pub(crate) fn line_of(name: &str, pam_dirs: &[PathBuf]) -> Option<ServiceLine> {
    auth_lines(pam_dirs).into_iter().find(|line| line.service == name)
}

/// The auth lines that use the same configuration file and mapping as this command. One that cannot be read is left out.
pub(crate) fn lines_with(
    context: &Context,
    own: &Settings,
    user: &str,
    pam_dirs: &[PathBuf],
) -> Vec<(ServiceLine, ByLine)> {
    let path = |config: Option<PathBuf>| config.unwrap_or_else(|| CONFIG.into());
    let usual = path(context.config.clone());
    let of = |line: ServiceLine| {
        let by = settings(context, &line, user).ok()?;
        let is_same = path(by.config.clone()) == usual && by.service.settings.mapping == own.mapping;
        is_same.then_some((line, by))
    };
    auth_lines(pam_dirs).into_iter().filter_map(of).collect()
}

/// What a line comes to for a user.
pub(crate) fn settings(context: &Context, line: &ServiceLine, user: &str) -> Result<ByLine, Failure> {
    let args: Vec<_> = line.args.iter().map(CString::as_c_str).collect();
    let options = Options::read(&args).map_err(|bad| {
        let found = bad.diagnostic();
        let place = Location::line(line.place.file.as_os_str().as_bytes(), line.place.line);
        Diagnostic { problem: found.problem(), ..found }.at(place)
    })?;
    let config = options.config.map(|config| config_of(config, user.as_bytes())).transpose()?;
    let config = config.or_else(|| context.config.clone());
    let remedies = Remedies::new(config.clone(), options.given.mapping.clone());
    let settings = Settings::load(config.as_deref(), options.given)?;
    let service = Service { settings, nullok: options.nullok, remedies };
    let enroll = options.enroll && options.first_pass != FirstPass::Use;
    Ok(ByLine { service, config, enroll })
}

/// The choices of a line that change what a command lists or changes.
#[derive(PartialEq, Eq)]
struct Choices {
    mapping: PathBuf,
    store: PathBuf,
    mode: Mode,
}

impl Choices {
    fn of(settings: &Settings, user: Option<&str>) -> Self {
        let mapping = user.and_then(|user| mapping::path_of(&settings.mapping, user).ok());
        let mapping = mapping.unwrap_or_else(|| PathBuf::from(&settings.mapping));
        Self { mapping, store: settings.store.clone(), mode: settings.mode }
    }

    /// How a service differs from this command, and the arguments that may say so.
    fn against(&self, own: &Self) -> (String, String) {
        let (mut problems, mut arguments) = (Vec::new(), Vec::new());
        if self.mapping != own.mapping {
            let (theirs, own) = (self.mapping.display(), own.mapping.display());
            problems.push(format!("reads the mapping {theirs}, and this command uses {own}"));
            arguments.extend(["mapping=", "authfile="]);
        }
        if self.store != own.store {
            let (theirs, own) = (self.store.display(), own.store.display());
            problems.push(format!("uses the token store {theirs}, and this command uses {own}"));
            arguments.push("store=");
        }
        if self.mode != own.mode {
            let (theirs, own) = (self.mode.name(), own.mode.name());
            problems.push(format!("decides in mode {theirs}, and this command in mode {own}"));
            arguments.push("mode=");
        }
        (problems.join("; "), format!("{} and config=", arguments.join(", ")))
    }
}

/// Warns of services whose line names another mapping for this user, another store or another mode than these settings.
/// Says nothing about settings that the administrator named: those may be for a service of their own.
pub(crate) fn warn_of_others(
    context: &Context,
    settings: &Settings,
    user: Option<&str>,
    pam_dirs: &[PathBuf],
) {
    if context.config.is_some() && pam_dirs.is_empty() {
        return;
    }
    let own = Choices::of(settings, user);
    let mut told = Vec::new();
    for line in auth_lines(pam_dirs) {
        // `ykmap doctor` reports a line that cannot be read.
        let Ok(by) = self::settings(context, &line, user.unwrap_or("USER")) else { continue };
        let theirs = Choices::of(&by.service.settings, user);
        if theirs != own && !told.contains(&theirs) {
            let (problem, arguments) = theirs.against(&own);
            let found = Diagnostic::warning(Code::ServiceDiffers, problem)
                .at(Location::Service(line.service.clone()))
                .advise(format!("look at {arguments} in {}", line.place));
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
