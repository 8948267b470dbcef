//! What shows that a store which is made anew may have been lost: nobody knows then which OTPs were used.

use crate::Failure;
use crate::doctor::pam::{ServiceLine, auth_lines};
use std::ffi::CString;
use std::path::{Path, PathBuf};
use ykhost::file::{self, FileFault};
use ykhost::options::Options;
use ykhost::settings::{CONFIG, Settings, config_of, is_per_user};
use ykhost::store::{KEYS, Store};
use ykhost::{enrolled, mapping};
use yubiotp::mapping::{Line, entries};

/// The most that is read of a mapping, in bytes. What is longer may list tokens.
const LONGEST: u64 = 512 << 20;

/// What was found beside a store without positions.
#[derive(PartialEq, Eq)]
pub(super) enum Evidence {
    Keys,
    StoreKey,
    /// A mapping, or `enrolled`, that lists tokens.
    Mapping(PathBuf),
}

/// The evidence that a host without positions had some. `config` is the configuration file of `settings`, and `pam_dirs`
/// stand in for `/etc/pam.d`.
pub(super) fn use_of(
    settings: &Settings,
    store: &Store,
    has_store_key: bool,
    (config, pam_dirs): (&Path, &[PathBuf]),
) -> Result<Option<Evidence>, Failure> {
    if settings.store.join(KEYS).exists() && !store.tokens()?.0.is_empty() {
        return Ok(Some(Evidence::Keys));
    }
    if has_store_key {
        return Ok(Some(Evidence::StoreKey));
    }
    let lines = auth_lines(pam_dirs);
    let of_lines = lines.iter().filter_map(|line| settings_of(line, config));
    let of_lines = of_lines.filter(|other| is_same(&other.store, &settings.store));
    let mut templates = vec![settings.mapping.clone()];
    templates.extend(of_lines.map(|other| other.mapping));
    templates.dedup();
    let files = templates.iter().flat_map(|template| files_of(template)).chain([enrolled::path(settings)]);
    let found = files.into_iter().find(|path| may_list_tokens(path));
    Ok(found.map(Evidence::Mapping))
}

/// The settings of a line in pam.d. `None` if every login by it is a fault, or if they are of other users than `own`, the
/// configuration file of a user, is.
fn settings_of(line: &ServiceLine, own: &Path) -> Option<Settings> {
    let args: Vec<_> = line.args.iter().map(CString::as_c_str).collect();
    let options = Options::read(&args).ok()?;
    let config = match options.config {
        Some(template) if is_per_user(&template) => {
            let template = template.to_str()?;
            let user = user_in(template, own.to_str()?)?;
            config_of(template.into(), user.as_bytes()).ok().filter(|config| config == own)?
        }
        config => config.unwrap_or_else(|| CONFIG.into()),
    };
    Settings::load(Some(&config), options.given).ok()
}

/// The user whose file `path` is, by the first part of the template that has `%u`.
fn user_in<'a>(template: &str, path: &'a str) -> Option<&'a str> {
    let (before, after) = template.split_once("%u")?;
    let name = path.strip_prefix(before)?.split('/').next()?;
    name.strip_suffix(after.split('/').next()?)
}

/// Every file that a setting may mean: with `%u`, each that exists.
fn files_of(template: &str) -> Vec<PathBuf> {
    let Some((before, _)) = template.split_once("%u") else { return vec![template.into()] };
    let folder =
        before.rsplit_once('/').map_or("/", |(folder, _)| if folder.is_empty() { "/" } else { folder });
    let names = Path::new(folder).read_dir().into_iter().flatten().flatten();
    let mut files: Vec<_> = names
        .filter_map(|entry| {
            let path = entry.path();
            mapping::path_of(template, user_in(template, path.to_str()?)?).ok()
        })
        .collect();
    files.sort_unstable();
    files
}

/// Whether a mapping lists a token. A file, or a line, with a mistake may have had one.
fn may_list_tokens(path: &Path) -> bool {
    let text = match file::read_untrusted(path, LONGEST) {
        Ok(text) => text,
        Err(FileFault::Missing(_)) => return false,
        Err(_) => return true,
    };
    let has_tokens = |line| match line {
        Ok(Line::Entry { fields, .. }) => fields.tokens().next().is_some(),
        Ok(Line::Nothing) => false,
        Err(_) => true,
    };
    entries(&text).any(|(_, line)| has_tokens(line))
}

/// Whether both are one folder.
fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    one == other || real(one) == real(other)
}
