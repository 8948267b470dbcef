//! The settings, as each line in pam.d would have them, and every file that they name.

use super::pam::{Line, shortened};
use super::report::{Level, Report, Room, told};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use ykhost::file::{self, Audience, FileFault};
use ykhost::mapping;
use ykhost::settings::{CONFIG, Given, MAPPING, Mode, STORE, STORE_KEY, Settings};
use ykhost::store::{KEYS, POSITIONS};

/// Settings, and who logs in by them.
pub(super) struct Case {
    pub(super) settings: Settings,
    /// The auth lines in pam.d that have them, and which of these have `nullok`.
    pub(super) lines: Vec<(String, bool)>,
    /// The settings file, if it is another than the usual one.
    pub(super) config: Option<PathBuf>,
    /// Whether anybody is asked by them, as far as is known.
    pub(super) asks: bool,
}

/// What the lines in pam.d come to.
pub(super) struct Found {
    pub(super) cases: Vec<Case>,
    /// Why users are refused by lines whose settings cannot be used, or cannot be told.
    pub(super) lost: Vec<String>,
}

/// The lines in pam.d that have the same settings.
struct Group {
    key: Vec<String>,
    config: Option<PathBuf>,
    given: Given,
    places: Vec<String>,
    /// The auth lines among them, and which of these have `nullok`.
    lines: Vec<(String, bool)>,
    asks: bool,
}

/// `asked_for` is whether any service loads the module: if none does, the usual settings are looked at, if there are any.
pub(super) fn look(report: &mut Report, config: Option<&Path>, lines: Vec<Line>, asked_for: bool) -> Found {
    let (mut groups, mut found) = (Vec::<Group>::new(), Found { cases: Vec::new(), lost: Vec::new() });
    for line in lines {
        let place = line.place.to_string();
        let Some((options, key)) = line.settings else {
            found.lost.push("the module does not take its arguments (see pam.d)".to_owned());
            continue;
        };
        let own = line.is_auth.then(|| (place.clone(), options.nullok));
        match groups.iter_mut().find(|group| group.key == key) {
            Some(group) => {
                group.places.push(place);
                group.lines.extend(own);
            }
            None => {
                let (config, given, places) = (options.config, options.given, vec![place]);
                groups.push(Group {
                    key,
                    config,
                    given,
                    places,
                    lines: own.into_iter().collect(),
                    asks: true,
                });
            }
        }
    }
    if let Some(config) = config {
        let key = vec![format!("config={}", config.display())];
        if !groups.iter().any(|group| group.key == key) {
            groups.push(Group::unasked(key, Some(config.to_owned()), true));
        }
    } else if !asked_for && groups.is_empty() && found.lost.is_empty() {
        if [CONFIG, MAPPING, STORE, STORE_KEY].iter().any(|path| Path::new(path).exists()) {
            groups.push(Group::unasked(Vec::new(), None, false));
        } else {
            let what = "nothing of pam_yubiotp is set up here";
            report.add(Room::Settings, Level::Note, "", what, "ykmap init");
        }
    }
    for group in groups {
        let config = group.config.clone().filter(|config| config != Path::new(CONFIG));
        report.commands_with(config.as_deref());
        let (lines, asks) = (group.lines.clone(), group.asks);
        match load(report, group) {
            Some(settings) => found.cases.push(Case { settings, lines, config, asks }),
            None => found.lost.push("the settings cannot be used (see settings)".to_owned()),
        }
    }
    found
}

impl Group {
    fn unasked(key: Vec<String>, config: Option<PathBuf>, asks: bool) -> Self {
        Self { key, config, given: Given::default(), places: Vec::new(), lines: Vec::new(), asks }
    }
}

fn load(report: &mut Report, group: Group) -> Option<Settings> {
    let config = group.config.as_deref();
    // Where the arguments have a part in it, the line is to be known.
    let by = match group.places.first() {
        Some(place) if group.key.iter().any(|arg| !arg.starts_with("config=")) => {
            format!(" (by the arguments in {place})")
        }
        _ => String::new(),
    };
    let path = config.unwrap_or(Path::new(CONFIG));
    if path.exists() {
        for fault in file::faults(path, Audience::Everyone) {
            report.file_fault(Room::Settings, fault, "put the settings file back in its place");
        }
    }
    let change = if group.places.is_empty() {
        "mend it: until then everybody is refused".to_owned()
    } else {
        format!("mend it: until then everybody is refused who comes by {}", shortened(&group.places, "line"))
    };
    let mut settings = match Settings::load(config, group.given) {
        Ok(settings) => settings,
        Err(fault) => {
            let unread = fault.file().is_some_and(|file| report.is_unread(file));
            report.fault(Room::Settings, &fault, &change);
            let what = "what these settings name was not looked at";
            let change = if unread { "" } else { "mend them first" };
            report.add(Room::Settings, Level::Note, path.display(), what, change);
            return None;
        }
    };
    if let Err(fault) = settings.prepare() {
        match fault.file() {
            Some(_) => report.fault(Room::Settings, &fault, &change),
            None => {
                let (place, what, change) = told(&fault, &change);
                report.add(Room::Settings, Level::Error, place, format!("{what}{by}"), change);
            }
        }
    }
    for warning in &settings.warnings {
        let own = warning.strip_prefix(&format!("{}: ", path.display())).unwrap_or(warning);
        // Each ends with what to change.
        let (what, change) = own.rsplit_once(": ").unwrap_or((own, ""));
        report.add(Room::Settings, Level::Warning, path.display(), format!("{what}{by}"), change);
    }
    if settings.mode == Mode::OnlineThenOffline
        && settings.online().is_some_and(|online| online.accept_replays_while_servers_fail)
    {
        let what = "accept_replays_while_servers_fail: an OTP that was used on another host is accepted here while a validation server answers without deciding";
        let change = "remove it, and fix the server";
        report.add(Room::Settings, Level::Warning, path.display(), format!("{what}{by}"), change);
    }
    let mode = settings.mode.name();
    if path.exists() {
        report.good(Room::Settings, path.display(), format!("mode {mode}{by}"));
    } else {
        let rest = if by.is_empty() { ", all by default" } else { by.as_str() };
        report.good(Room::Settings, "", format!("no {}: mode {mode}{rest}", path.display()));
    }
    Some(settings)
}

/// Modes and owners of what the settings name, and of every folder on the way. What is missing is told where it is
/// missed.
pub(super) fn files(report: &mut Report, cases: &[Case]) {
    let (mut good, mut any, mut mine) = (!cases.is_empty(), false, None);
    for Case { settings, config, .. } in cases {
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
        let config = config.as_deref().unwrap_or(Path::new(CONFIG));
        mine = mine.or_else(|| {
            let own = paths.iter().map(|(path, _)| *path).chain([config]).find(|path| is_the_runners(path));
            own.map(|path| path.display().to_string())
        });
        for (path, audience) in paths {
            any |= path.exists();
            for fault in file::faults(path, audience) {
                if !matches!(fault, FileFault::Missing(_)) {
                    report.file_fault(Room::Files, fault, "put a file there that can be used");
                    good = false;
                }
            }
        }
    }
    if any && good {
        report.good(Room::Files, "", "owners and modes of all files, and of all folders on the way");
    } else if good {
        report.good(Room::Files, "", "nothing there to look at");
    }
    if let Some(path) = mine {
        let what = "belongs to you, and you are not root: a login by sudo, su or sshd needs root as the owner of all this";
        report.add(
            Room::Rights,
            Level::Warning,
            path,
            what,
            "run it in a root shell, and keep what the settings name in a folder that root owns",
        );
    }
}

/// Whether it belongs to who runs this, and that is not root.
fn is_the_runners(path: &Path) -> bool {
    let me = rustix::process::geteuid();
    !me.is_root() && path.metadata().is_ok_and(|is| is.uid() == me.as_raw())
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
