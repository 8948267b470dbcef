//! The settings, as each line in pam.d would have them, and every file that they name.

use super::pam::{Fails, Line};
use super::report::{Check, Report, at, shortened, shown};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use ykhost::file::{self, Audience, FileFault};
use ykhost::settings::{CONFIG, LoginSettings, MAPPING, Mode, PartialConfig, STORE, STORE_KEY, Settings};
use ykhost::store::{KEYS, POSITIONS};
use ykhost::{enrolled, mapping};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program, shell_word};

/// Settings, and who logs in by them.
pub(super) struct Case {
    pub(super) settings: LoginSettings,
    /// The auth lines in pam.d that have them, and which of these have `nullok`.
    pub(super) lines: Vec<(String, bool)>,
    /// The auth lines among them with `enroll`.
    pub(super) enrolls: Vec<Location>,
    /// All lines that have them.
    pub(super) places: Vec<String>,
    /// Those with `nullok`.
    pub(super) nullok: Vec<Location>,
    /// Whose logins by them end in a fault.
    pub(super) fails: Option<Fails>,
    /// The configuration file, if it is not the usual one.
    pub(super) config: Option<PathBuf>,
    /// Whether anybody is asked by them, as far as is known.
    pub(super) asks: bool,
    /// The line whose arguments name another mapping than the configuration file: `ykmap add` does not write to it.
    pub(super) mapping_by: Option<String>,
}

impl Case {
    /// Logins by these settings end in a fault.
    pub(super) fn fail(&mut self, fails: Fails) {
        self.fails = self.fails.max(Some(fails));
    }

    /// The same, for what validation servers need: does nothing if this host decides without them, too.
    pub(super) fn fail_online(&mut self) {
        if matches!(self.settings.mode, Mode::Online | Mode::OnlineThenOffline) {
            self.fail(Fails::WithToken);
        }
    }

    /// The remedy that lists a user: the command, or the line to write where the command would write to another file.
    pub(super) fn list(&self, user: &str, found: Diagnostic) -> Diagnostic {
        if let Err(why) = yubiotp::mapping::add(b"", user.as_bytes(), &[]) {
            return found.advise(format!("log in by another name: {why}"));
        }
        let Some(line) = &self.mapping_by else {
            return found.run(Program::Ykmap, format!("add {}", shell_word(user.as_bytes())));
        };
        let (file, user) = (mapping_of(&self.settings, user), yubiotp::shown::text(user));
        found.advise(format!(
            "add a line to {file}, which {line} names in place of the mapping of the configuration file: {user}:PUBLIC_ID"
        ))
    }
}

/// The settings that the lines in pam.d use.
pub(super) struct Found {
    pub(super) cases: Vec<Case>,
    /// Why users are refused by lines whose settings cannot be used, or cannot be told.
    pub(super) lost: Vec<String>,
    /// The lines whose settings cannot be used.
    pub(super) unusable: Vec<String>,
}

/// The lines in pam.d that have the same settings.
struct Group {
    key: Vec<String>,
    config: Option<PathBuf>,
    given: PartialConfig,
    places: Vec<String>,
    /// Those with `nullok`.
    nullok: Vec<Location>,
    /// The auth lines among them, and which of these have `nullok`.
    lines: Vec<(String, bool)>,
    /// Those with `enroll`.
    enrolls: Vec<Location>,
    asks: bool,
}

/// `asked_for` is whether any service loads the module: if none does, the usual settings are looked at, if there are
/// any.
pub(super) fn look(report: &mut Report, config: Option<&Path>, lines: Vec<Line>, asked_for: bool) -> Found {
    let (mut groups, mut found) =
        (Vec::<Group>::new(), Found { cases: Vec::new(), lost: Vec::new(), unusable: Vec::new() });
    for line in lines {
        let place = line.place.to_string();
        let Some((options, key)) = line.settings else {
            found.lost.push("the module cannot read its arguments (see pam.d)".to_owned());
            continue;
        };
        let own = line.is_auth.then(|| (place.clone(), options.nullok));
        let enrolls = (line.is_auth && options.enroll).then(|| line.place.location());
        let nullok = options.nullok.then(|| line.place.location());
        match groups.iter_mut().find(|group| group.key == key) {
            Some(group) => {
                group.places.push(place);
                group.lines.extend(own);
                group.enrolls.extend(enrolls);
                group.nullok.extend(nullok);
            }
            None => {
                let (config, given, places) = (options.config, options.given, vec![place]);
                groups.push(Group {
                    key,
                    config,
                    given,
                    places,
                    nullok: nullok.into_iter().collect(),
                    lines: own.into_iter().collect(),
                    enrolls: enrolls.into_iter().collect(),
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
            let what = "nothing of pam_yubiotp is set up on this host";
            report
                .add(Check::Settings, Diagnostic::note(Code::NothingSetUp, what).run(Program::Ykmap, "init"));
        }
    }
    for group in groups {
        let config = group.config.clone().filter(|config| config != Path::new(CONFIG));
        report.calls_with(config.as_deref());
        let (lines, enrolls, asks) = (group.lines.clone(), group.enrolls.clone(), group.asks);
        let place = group.places.first().cloned();
        let by_argument = group.given.mapping.is_some();
        let places = group.places.clone();
        let nullok = group.nullok.clone();
        match load(report, group) {
            Ok((settings, fails)) => {
                let own =
                    || Settings::load(config.as_deref(), PartialConfig::default()).map(|own| own.mapping);
                let is_other = by_argument && own().ok().as_ref() != Some(&settings.mapping);
                let mapping_by = place.filter(|_| is_other);
                found.cases.push(Case {
                    settings,
                    lines,
                    enrolls,
                    places,
                    nullok,
                    fails,
                    config,
                    asks,
                    mapping_by,
                });
            }
            Err(is_known) => {
                found.lost.push("the settings cannot be used (see settings)".to_owned());
                found.unusable.extend(places.into_iter().filter(|_| is_known));
            }
        }
    }
    found
}

impl Group {
    fn unasked(key: Vec<String>, config: Option<PathBuf>, asks: bool) -> Self {
        let (places, lines, enrolls, nullok) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { key, config, given: PartialConfig::default(), places, lines, enrolls, nullok, asks }
    }
}

/// The settings, and whose logins by them end in a fault. An error is whether it is known that they cannot be used.
fn load(report: &mut Report, group: Group) -> Result<(LoginSettings, Option<Fails>), bool> {
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
            report.file_fault(Check::Settings, fault, "restore the configuration file");
        }
    }
    let change = if group.places.is_empty() {
        "fix it: until then everybody is rejected".to_owned()
    } else {
        format!("fix it: until then everybody is rejected by {}", shortened(&group.places, "line"))
    };
    let settings = match Settings::load(config, group.given) {
        Ok(settings) => settings,
        Err(fault) => {
            let unread = fault.file().is_some_and(|file| report.is_unread(file));
            report.fault(Check::Settings, &fault, &change);
            let what = "what this configuration names was not checked";
            let found = Diagnostic::note(Code::NotChecked, what).at(at(path));
            report.add(Check::Settings, if unread { found } else { found.advise("fix it first") });
            return Err(!unread);
        }
    };
    let mut fails = None;
    let (settings, fault) = match settings.resolve_online() {
        Ok(settings) => (settings, None),
        Err(unresolved) => {
            let (settings, fault) = unresolved.into_parts();
            (settings, Some(fault))
        }
    };
    if let Some(fault) = fault
        && !fault.file().is_some_and(|file| report.is_unread(file))
    {
        fails = Some(Fails::Everybody);
        let mut found = fault.diagnostic();
        found.problem += &by;
        report.add(Check::Settings, if found.remedies.is_empty() { found.advise(&change) } else { found });
    }
    if settings.has_unused_online {
        let what = format!(
            "[online], or an argument for it, has no effect: mode offline asks no validation server{by}"
        );
        let found = Diagnostic::warning(Code::OnlineUnused, what).at(at(path));
        report.add(
            Check::Settings,
            found.advise("remove it, or set a mode that asks servers, such as offline-then-online"),
        );
    }
    for warning in &settings.warnings {
        let mut found = warning.clone();
        found.problem += &by;
        report.add(Check::Settings, found);
    }
    if settings.mode == Mode::OnlineThenOffline
        && settings.online().is_some_and(|online| online.accept_replays_while_servers_fail)
    {
        let what = format!(
            "accept_replays_while_servers_fail: an OTP that was used on another host is accepted here while a validation server answers without deciding{by}"
        );
        let found = Diagnostic::warning(Code::ReplaysAccepted, what).at(at(path));
        report.add(Check::Settings, found.advise("remove it, and fix the server"));
    }
    let mode = settings.mode.name();
    if path.exists() {
        report.ok(Check::Settings, Some(at(path)), format!("mode {mode}{by}"));
    } else {
        let rest = if by.is_empty() { ", all by default" } else { by.as_str() };
        report.ok(Check::Settings, None, format!("no {}: mode {mode}{rest}", shown(path)));
    }
    Ok((settings, fails))
}

/// Modes and owners of what the settings name, and of every folder on the way. What is missing is reported where it is
/// needed.
pub(super) fn files(report: &mut Report, cases: &mut [Case]) {
    let (mut good, mut any, mut mine) = (!cases.is_empty(), false, None);
    for case in cases {
        let Case { settings, config, .. } = &*case;
        let (mut fails, mut fails_online) = (None, false);
        let mapping = if settings.mapping.contains("%u") {
            Path::new(&settings.mapping).parent().filter(|parent| !parent.to_string_lossy().contains("%u"))
        } else {
            Some(Path::new(&settings.mapping))
        };
        let folders = [settings.store.join(KEYS), settings.store.join(POSITIONS)];
        let mut paths: Vec<_> = mapping.map(|path| (path, Audience::Everyone)).into_iter().collect();
        let enrolled = enrolled::path(settings);
        paths.push((&enrolled, Audience::Everyone));
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
                    let mut found = Diagnostic::error(Code::FileReadableByOthers, what).at(at(path));
                    found.remedies.push(file::advice::readable_by_others(path));
                    report.add(Check::Files, found);
                    good = false;
                    fails_online = true;
                }
            }
            for path in named.into_iter().chain(secrets).flatten().filter(|path| !path.exists()) {
                let found = Diagnostic::error(Code::FileMissing, "does not exist").at(at(path));
                report.add(Check::Files, found.advise("put it there, or fix [online]"));
                good = false;
                fails_online = true;
            }
        }
        let config = config.as_deref().unwrap_or(Path::new(CONFIG));
        mine = mine.or_else(|| {
            let own = paths.iter().map(|(path, _)| *path).chain([config]).find(|path| is_the_runners(path));
            own.map(at)
        });
        for (path, audience) in paths {
            any |= path.exists();
            for fault in file::faults(path, audience) {
                if !matches!(fault, FileFault::Missing(_)) {
                    if !fault.is_denied() {
                        let is_key = path == settings.store_key;
                        if Some(path) == mapping || path == enrolled {
                            fails = fails.max(Some(Fails::Everybody));
                        } else if folders.iter().any(|folder| folder == path)
                            || is_key && settings.mode == Mode::Offline
                        {
                            fails = fails.max(Some(Fails::WithToken));
                        } else {
                            fails_online |= !is_key;
                        }
                    }
                    report.file_fault(Check::Files, fault, "replace it by a file that can be used");
                    good = false;
                }
            }
        }
        fails.into_iter().for_each(|fails| case.fail(fails));
        if fails_online {
            case.fail_online();
        }
    }
    if any && good {
        report.ok(Check::Files, None, "owners and modes of all files, and of all folders on the way");
    } else if good {
        report.ok(Check::Files, None, "no files to check");
    }
    if let Some(place) = mine {
        let what = "belongs to you, and you are not root: logins by sudo, su or sshd need root as the owner of these files";
        let found = Diagnostic::warning(Code::FilesOfCaller, what).at(place).advise(
            "run it in a root shell, and keep what the configuration names in a folder that root owns",
        );
        report.add(Check::Rights, found);
    }
}

/// Whether it belongs to the user who runs this, and that is not root.
fn is_the_runners(path: &Path) -> bool {
    let me = rustix::process::geteuid();
    !me.is_root() && path.metadata().is_ok_and(|is| is.uid() == me.as_raw())
}

fn mode(path: &Path) -> Option<u32> {
    let metadata = path.metadata().ok()?;
    Some(std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o7777)
}

/// The mapping of a user, as a finding names it.
pub(super) fn mapping_of(settings: &Settings, user: &str) -> Location {
    mapping::path_of(&settings.mapping, user)
        .map_or_else(|_| at(Path::new(&settings.mapping)), |path| at(&path))
}
