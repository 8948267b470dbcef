//! Reading service files as libpam does (`pam_handlers.c`, with Debian's `@include`).

use super::control::Control;
use super::words::{Words, lines, lossy};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use ykhost::file::{self, Audience, FileFault};
use ykhost::options::nearest;
use yubiotp::diagnostic::Location;
use yubiotp::shown;

/// How deep files may include each other.
const MOST_LEVELS: usize = 16;
/// No service file is that long.
pub(super) const LONGEST: u64 = 1 << 20;

/// The purpose of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Auth,
    Account,
    Session,
    Password,
}

impl Kind {
    fn read(word: &str) -> Option<Self> {
        let kinds = [
            ("auth", Self::Auth),
            ("account", Self::Account),
            ("session", Self::Session),
            ("password", Self::Password),
        ];
        kinds.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|(_, kind)| kind)
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Account => "account",
            Self::Session => "session",
            Self::Password => "password",
        }
    }
}

/// A line of a file. Displays as `file:line`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: Rc<Path>,
    pub(crate) line: usize,
}

impl Place {
    /// As a finding names it.
    pub(crate) fn location(&self) -> Location {
        Location::line(self.file.as_os_str().as_bytes(), self.line)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.location().fmt(f)
    }
}

/// One line of a stack.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) place: Place,
    pub(crate) kind: Kind,
    /// How many substacks it is in.
    pub(crate) level: usize,
    pub(crate) what: What,
    pub(crate) control: Control,
    /// As it is written, without brackets.
    pub(crate) control_text: String,
    /// It names the module, or something that is spelt nearly so; or it includes what cannot be included, and nobody
    /// knows what that said.
    pub(crate) suspect: bool,
}

/// The effect of an entry.
#[derive(Debug, Clone)]
pub(crate) enum What {
    /// Asks a module.
    Module { path: String, args: Vec<CString> },
    /// Always refuses: libpam does not understand the line.
    MustFail(Misread),
    /// Begins a substack.
    Substack,
}

impl Entry {
    pub(crate) const fn is_substack(&self) -> bool {
        matches!(self.what, What::Substack)
    }

    /// The module's name without folder and `.so`; empty if there is none.
    pub(crate) fn module(&self) -> &str {
        let What::Module { path, .. } = &self.what else { return "" };
        let name = path.rsplit('/').next().unwrap_or_default();
        name.strip_suffix(".so").unwrap_or(name)
    }

    /// The module and its arguments as a line names them.
    pub(crate) fn module_with_arguments(&self) -> String {
        let What::Module { path, args } = &self.what else { return String::new() };
        args.iter().fold(path.clone(), |text, arg| {
            let arg = arg.to_string_lossy();
            let arg = if arg.contains([' ', '\t']) {
                format!("[{}]", arg.replace(']', "\\]"))
            } else {
                arg.into_owned()
            };
            format!("{text} {arg}")
        })
    }

    pub(crate) fn is_ours(&self) -> bool {
        self.module() == "pam_yubiotp"
    }

    /// libpam does not understand it, and takes it for a refusal.
    pub(crate) const fn is_misread(&self) -> bool {
        matches!(self.what, What::MustFail(_)) || (self.control.misread.is_some() && !self.is_substack())
    }

    /// The control field as it is to be written.
    pub(crate) fn control(&self) -> String {
        if self.control_text.contains('=') {
            format!("[{}]", self.control_text)
        } else {
            self.control_text.clone()
        }
    }
}

/// Why libpam does not understand a line.
#[derive(Debug, Clone)]
pub(crate) struct Misread {
    pub(crate) why: String,
    /// The right first word, if it is wrong and the right one can be guessed.
    pub(crate) meant: Option<&'static str>,
}

impl Misread {
    fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), meant: None }
    }

    /// A line that begins with another word than one of the kinds.
    fn kind(word: &str) -> Self {
        let kinds = ["auth", "account", "password", "session"];
        let why = format!("{} is not auth, account, password or session", shown::quoted(word));
        Self { why, meant: nearest(&word.to_ascii_lowercase(), kinds) }
    }
}

/// One service, everything that it includes included.
#[derive(Debug, Default)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) entries: Vec<Entry>,
    /// libpam does not take it as it is written.
    pub(crate) broken: Option<Broken>,
    /// Files of it that only root can read: what it says is not known.
    pub(crate) unread: Vec<FileFault>,
    /// The files that it is made of.
    pub(crate) files: Vec<Rc<Path>>,
}

/// Why libpam does not take a service as it is written.
#[derive(Debug)]
pub(crate) struct Broken {
    /// A file, or a line of it.
    pub(crate) place: Location,
    pub(crate) what: String,
    pub(crate) change: &'static str,
}

impl Service {
    /// Whether it loads the module, or may have been meant to.
    pub(crate) fn concerns_us(&self) -> bool {
        let ours = |entry: &Entry| entry.is_ours() || entry.suspect;
        self.broken.is_some() || !self.unread.is_empty() || self.entries.iter().any(ours)
    }
}

/// Whether a word of a line is the module's name, or nearly: misspelt, in quotes, without `.so`.
pub(crate) fn names_us(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    let name = word.trim_matches(['"', '\'']).rsplit('/').next().unwrap_or_default();
    let bare = name.strip_suffix(".so").unwrap_or(name);
    nearest(bare, ["pam_yubiotp"]).is_some() || (bare != name && bare.contains("yubiotp"))
}

/// Files as they would be after a change, by their paths.
pub(crate) type Overlay = BTreeMap<PathBuf, Vec<u8>>;

/// The folders that libpam looks for service files in, the first one first; and what is in place of their files.
pub(crate) struct Folders(pub(crate) Vec<PathBuf>, pub(crate) Overlay);

impl Folders {
    /// These folders, or the usual ones.
    pub(crate) fn of(folders: &[PathBuf]) -> Self {
        let folders = if folders.is_empty() { super::usual_folders() } else { folders.to_vec() };
        Self(folders, Overlay::new())
    }

    /// Every name that is a service's: those of the applications are in lower case, and copies and leftovers are none.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.0.iter().filter_map(|folder| folder.read_dir().ok()).flatten().collect();
        names.retain(|entry| entry.as_ref().is_ok_and(|entry| !entry.path().is_dir()));
        let mut names: Vec<_> =
            names.into_iter().filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        let leftover = |name: &str| {
            let ends = ["~", ".bak", ".old", ".orig", ".save", ".rpmnew", ".rpmsave", ".pam-old"];
            name.starts_with('.')
                || name.chars().any(char::is_uppercase)
                || ends.iter().any(|end| name.ends_with(end))
                || name.contains(".dpkg-")
                || name.contains(".ucf-")
                || name.contains(".ykmap-")
        };
        names.retain(|name| !leftover(name));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The file that a service, or an include, is read from.
    pub(crate) fn find(&self, name: &str) -> Option<PathBuf> {
        let found = |path: PathBuf| (self.1.contains_key(&path) || path.exists()).then_some(path);
        if name.starts_with('/') {
            return found(name.into());
        }
        self.0.iter().find_map(|folder| found(folder.join(name)))
    }

    /// Whether there is a file of this service.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Reads a service.
    pub(crate) fn service(&self, name: &str) -> Service {
        let mut service = Service { name: name.to_owned(), ..Service::default() };
        service.broken = match self.find(name) {
            Some(path) => {
                let loaded = self.load(&mut service, &path, None, 0, 0);
                loaded.err().map(|(place, why)| Broken {
                    place: place.map_or_else(|| at(&path), |place| place.location()),
                    what: format!("{why}: libpam rejects the whole service"),
                    change: "fix the file; until then nobody can log in by this service",
                })
            }
            None => self.0.first().map(|folder| Broken {
                place: at(&folder.join(name)),
                what: "is a link to a file that does not exist: libpam uses the service other instead"
                    .to_owned(),
                change: "restore the file that it links to",
            }),
        };
        service
    }

    /// Adds the lines of a file, or those of one kind. An error is that libpam rejects the file.
    fn load(
        &self,
        service: &mut Service,
        path: &Path,
        only: Option<Kind>,
        depth: usize,
        level: usize,
    ) -> Result<(), (Option<Place>, String)> {
        let text = match self.1.get(path).cloned().map_or_else(|| read(path), Ok) {
            Ok(text) => text,
            Err(why) if why.is_denied() && !rustix::process::geteuid().is_root() => {
                service.unread.push(why);
                return Ok(());
            }
            Err(why) => return Err((None, problem(&why, path))),
        };
        let file: Rc<Path> = path.into();
        if !service.files.contains(&file) {
            service.files.push(Rc::clone(&file));
        }
        for (line, text) in lines(&text) {
            let place = Place { file: Rc::clone(&file), line };
            let Some(text) = text else {
                return Err((Some(place), "the file ends with a backslash".to_owned()));
            };
            let suspect = Words(&text).any(|word| names_us(&lossy(word)));
            let mut words = Words(&text);
            let first = lossy(words.next().unwrap_or_default());
            let word = first.strip_prefix('-').unwrap_or(&first);
            if word.eq_ignore_ascii_case("@include") {
                let name = words.next().map(lossy);
                let included = self.include(service, name.as_deref(), only, depth, level);
                match (included, only) {
                    (Ok(()), _) => {}
                    (Err(why), Some(kind)) => {
                        let why = Misread::new(why);
                        service.entries.push(Entry { suspect: true, ..must_fail(place, kind, level, why) });
                    }
                    (Err(why), None) => return Err((Some(place), why)),
                }
                continue;
            }
            let known = Kind::read(word);
            let kind = known.or(only).unwrap_or(Kind::Auth);
            if only.is_some_and(|only| only != kind) {
                continue;
            }
            let control_text = words.next().map(lossy);
            let target = words.next().map(lossy);
            let includes = control_text.as_deref().map(str::to_ascii_lowercase);
            if let Some(substack @ ("include" | "substack")) = includes.as_deref() {
                let deeper = usize::from(substack == "substack");
                let entry = Entry { what: What::Substack, ..must_fail(place, kind, level, Misread::new("")) };
                if deeper == 1 {
                    service.entries.push(entry.clone());
                }
                let level = level.saturating_add(deeper);
                if let Err(why) = self.include(service, target.as_deref(), Some(kind), depth, level) {
                    let level = entry.level;
                    let failed = must_fail(entry.place, kind, level, Misread::new(why));
                    service.entries.push(Entry { suspect: true, ..failed });
                }
                continue;
            }
            let what = match (&known, &control_text, target) {
                (None, ..) => What::MustFail(Misread::kind(word)),
                (_, None, _) => What::MustFail(Misread::new("has no control field")),
                (_, _, None) => What::MustFail(Misread::new("names no module")),
                (Some(_), Some(_), Some(path)) => {
                    // A NUL would have ended the line.
                    What::Module { path, args: words.filter_map(|word| CString::new(word).ok()).collect() }
                }
            };
            let control = control_text.as_deref().map_or_else(Control::missing, Control::read);
            let control_text = control_text.unwrap_or_default();
            service.entries.push(Entry { place, kind, level, what, control, control_text, suspect });
        }
        Ok(())
    }

    fn include(
        &self,
        service: &mut Service,
        name: Option<&str>,
        only: Option<Kind>,
        depth: usize,
        level: usize,
    ) -> Result<(), String> {
        let name = name.ok_or("names no file to include")?;
        let depth = depth.saturating_add(1);
        if depth >= MOST_LEVELS {
            let name = shown::text(name);
            return Err(format!("includes {name}, {MOST_LEVELS} files deep, and libpam stops there"));
        }
        let path =
            self.find(name).ok_or_else(|| format!("includes {}, which does not exist", shown::text(name)))?;
        let loaded = self.load(service, &path, only, depth, level);
        loaded.map_err(|(_, why)| format!("includes {}: {why}", at(&path)))
    }
}

fn must_fail(place: Place, kind: Kind, level: usize, why: Misread) -> Entry {
    let control = Control::missing();
    let what = What::MustFail(why);
    Entry { place, kind, level, what, control, control_text: String::new(), suspect: false }
}

/// Why a file cannot be read; without its path, if that is the file that the caller names.
fn problem(fault: &FileFault, path: &Path) -> String {
    let diagnostic = fault.diagnostic();
    if fault.path() == path { diagnostic.problem } else { diagnostic.problem() }
}

fn at(path: &Path) -> Location {
    Location::file(path.as_os_str().as_bytes())
}

/// The text of a service file. libpam reads it even if others may change it; the check of files reports that.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, FileFault> {
    match file::read(path, LONGEST, Audience::Everyone) {
        Err(FileFault::Owner { .. } | FileFault::Writable { .. } | FileFault::Link(_)) => {}
        text => return text,
    }
    // Unsafe modes are reported elsewhere, and no login reads it here.
    file::read_untrusted(path, LONGEST)
}
