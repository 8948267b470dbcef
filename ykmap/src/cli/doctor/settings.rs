//! The settings, as each line in pam.d would have them, and every file that they name.

use super::pam::Line;
use super::report::{Level, Report, Room, told};
use std::path::Path;
use ykmap::file::{self, Audience, FileFault};
use ykmap::mapping;
use ykmap::settings::{CONFIG, Given, Settings};
use ykmap::store::{KEYS, POSITIONS};

/// Settings, and who logs in by them.
pub(super) struct Case {
    pub(super) settings: Settings,
    /// The auth lines in pam.d that have them, and which of these have `nullok`.
    pub(super) lines: Vec<(String, bool)>,
}

/// `asked_for` is whether any service loads the module: if none does, the usual settings are looked at.
pub(super) fn look(
    report: &mut Report,
    config: Option<&Path>,
    lines: Vec<Line>,
    asked_for: bool,
) -> Vec<Case> {
    let mut cases: Vec<(Vec<String>, Option<Case>)> = Vec::new();
    for line in lines {
        let own = (line.place.to_string(), line.options.nullok);
        let own: Vec<_> = line.is_auth.then_some(own).into_iter().collect();
        match cases.iter_mut().find(|(key, _)| *key == line.key) {
            Some((_, case)) => case.iter_mut().for_each(|case| case.lines.extend(own.clone())),
            None => {
                // Where the arguments have a part in it, the line is to be known.
                let by =
                    line.key.iter().any(|arg| !arg.starts_with("config=")).then(|| line.place.to_string());
                let options = line.options;
                let settings = load(report, options.config.as_deref(), options.given, by.as_deref());
                cases.push((line.key, settings.map(|settings| Case { settings, lines: own })));
            }
        }
    }
    if config.is_some() || !asked_for {
        let key: Vec<_> = config.map(|config| format!("config={}", config.display())).into_iter().collect();
        if !cases.iter().any(|(known, _)| *known == key) {
            let settings = load(report, config, Given::default(), None);
            cases.push((key, settings.map(|settings| Case { settings, lines: Vec::new() })));
        }
    }
    cases.into_iter().filter_map(|(_, case)| case).collect()
}

fn load(report: &mut Report, config: Option<&Path>, given: Given, by: Option<&str>) -> Option<Settings> {
    let by = by.map_or_else(String::new, |by| format!(" (by the arguments in {by})"));
    let path = config.unwrap_or(Path::new(CONFIG));
    if path.exists() {
        for fault in file::faults(path, Audience::Everyone) {
            report.file_fault(Room::Settings, fault, "put the settings file back in its place");
        }
    }
    let change = "mend it: until then everybody is refused";
    let mut settings = match Settings::load(config, given) {
        Ok(settings) => settings,
        Err(fault) => {
            report.fault(Room::Settings, &fault, change);
            let what = "what these settings name was not looked at";
            report.add(Room::Settings, Level::Note, path.display(), what, "mend them first");
            return None;
        }
    };
    if let Err(fault) = settings.prepare() {
        match fault.file() {
            Some(_) => report.fault(Room::Settings, &fault, change),
            None => {
                let (place, what, change) = told(&fault, change);
                report.add(Room::Settings, Level::Error, place, format!("{what}{by}"), change);
            }
        }
    }
    for warning in &settings.warnings {
        let own = warning.strip_prefix(&format!("{}: ", path.display())).unwrap_or(warning);
        let (what, change) = match own.rsplit_once(": move") {
            Some((what, change)) => (what, format!("move{change}")),
            None => (own, "give api_key_file, and https URLs".to_owned()),
        };
        report.add(Room::Settings, Level::Warning, path.display(), format!("{what}{by}"), change);
    }
    let from = if path.exists() { "by" } else { "for want of" };
    report.good(Room::Settings, format!("mode {} {from} {}{by}", settings.mode.name(), path.display()));
    Some(settings)
}

/// Modes and owners of what the settings name, and of every folder on the way. What is missing is told where it is
/// missed.
pub(super) fn files(report: &mut Report, cases: &[Case]) {
    let mut good = !cases.is_empty();
    for Case { settings, .. } in cases {
        let mapping = if settings.mapping.contains("%u") {
            Path::new(&settings.mapping).parent().filter(|parent| !parent.to_string_lossy().contains("%u"))
        } else {
            Some(Path::new(&settings.mapping))
        };
        let folders = [settings.store.join(KEYS), settings.store.join(POSITIONS)];
        let mut paths: Vec<_> = mapping.map(|path| (path, Audience::Everyone)).into_iter().collect();
        paths.push((&settings.store_key, Audience::Owner));
        paths.extend(folders.iter().map(|folder| (folder.as_path(), Audience::Everyone)));
        if let Some(online) = settings.online() {
            let named = [&online.ca, &online.client_cert];
            paths.extend(named.into_iter().flatten().map(|path| (path.as_path(), Audience::Everyone)));
            // A group may read them: `root:ssl-cert`, mode 0640.
            let secrets = [&online.client_key, &online.client_key_passphrase_file];
            for path in secrets.into_iter().flatten() {
                paths.push((path, Audience::Everyone));
                if let Some(mode) = mode(path).filter(|mode| mode & 0o006 != 0) {
                    let what = format!("others may read it (mode {mode:04o})");
                    report.add(Room::Files, Level::Error, path.display(), what, "chmod 600 it");
                    good = false;
                }
            }
            for path in named.into_iter().chain(secrets).flatten().filter(|path| !path.exists()) {
                report.add(
                    Room::Files,
                    Level::Error,
                    path.display(),
                    "no such file or folder",
                    "put it there, or mend [online]",
                );
                good = false;
            }
        }
        for (path, audience) in paths {
            for fault in file::faults(path, audience) {
                if !matches!(fault, FileFault::Missing(_)) {
                    report.file_fault(Room::Files, fault, "put a file there that can be used");
                    good = false;
                }
            }
        }
    }
    if good {
        report.good(Room::Files, "owners and modes of all files, and of all folders on the way");
    }
}

fn mode(path: &Path) -> Option<u32> {
    let metadata = path.metadata().ok()?;
    Some(std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o7777)
}

/// The path of a user's mapping, for telling.
pub(super) fn mapping_of(settings: &Settings, user: &str) -> String {
    mapping::path_of(&settings.mapping, user)
        .map_or_else(|_| settings.mapping.clone(), |path| path.display().to_string())
}
