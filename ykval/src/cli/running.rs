//! A server that runs on this host, found by its command line.

use super::place;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Where a server with these settings listens instead of where they say (`--listen`), if one runs and its command line can
/// be seen.
pub(crate) fn listens_at(settings: &Path) -> Option<SocketAddr> {
    let processes = std::fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    processes.filter_map(|process| of_process(&process.path(), settings)).next()
}

fn of_process(process: &Path, settings: &Path) -> Option<SocketAddr> {
    let line = command_line(process)?;
    let words: Vec<&OsStr> = line.split(|byte| *byte == 0).map(OsStr::from_bytes).collect();
    let (program, words) = words.split_first()?;
    if Path::new(program).file_name()? != "ykvald" || !words.contains(&OsStr::new("serve")) {
        return None;
    }
    let values = |option: &'static str| {
        words.iter().enumerate().filter_map(move |(at, word)| {
            match word.as_bytes().strip_prefix(option.as_bytes())? {
                [] => words.get(at.checked_add(1)?).copied(),
                [b'=', value @ ..] => Some(OsStr::from_bytes(value)),
                _ => None,
            }
        })
    };
    let own: PathBuf = match values("--config").next() {
        Some(named) => process.join("cwd").read_link().unwrap_or_default().join(named),
        None => place::settings().ok()??,
    };
    let is_it = own.canonicalize().ok()? == settings.canonicalize().ok()?;
    values("--listen").filter(|_| is_it).find_map(|value| value.to_str()?.parse().ok())
}

#[expect(clippy::disallowed_methods, reason = "the kernel's own files")]
fn command_line(process: &Path) -> Option<Vec<u8>> {
    std::fs::read(process.join("cmdline")).ok()
}
