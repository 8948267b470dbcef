//! `claims`: the series of hardware tokens that users may take by themselves. A series that is not in it is only assigned by an
//! administrator.

use super::Store;
use crate::Fault;
use crate::file::{Audience, FileFault, Folder};
use rustix::fs::Mode;
use std::fmt::Write as _;
use std::io::ErrorKind;
use yubiotp::Series;

/// The file, in the store.
pub const CLAIMS: &str = "claims";

const HEAD: &str =
    "# pam_yubiotp claims, version 1. Users may claim tokens of these series. Made by ykmap, do not edit.";
const MOST: u64 = 1 << 20;
const SECRET: Mode = Mode::RUSR.union(Mode::WUSR);

fn write(series: &[Series]) -> String {
    let mut text = format!("{HEAD}\n");
    for name in series {
        // Writing to a String does not fail.
        let _ = writeln!(text, "series: {name}");
    }
    text
}

fn read(text: &[u8]) -> Option<Vec<Series>> {
    let mut lines = str::from_utf8(text).ok()?.lines();
    lines.next().filter(|head| *head == HEAD)?;
    lines.map(|line| Series::new(line.strip_prefix("series: ")?)).collect()
}

impl Store {
    /// The series of which users may claim tokens, in order.
    ///
    /// # Errors
    /// The file is there and cannot be used.
    pub fn claimable_series(&self) -> Result<Vec<Series>, Fault> {
        self.claims_in(&self.root()?)
    }

    fn claims_in(&self, folder: &Folder) -> Result<Vec<Series>, Fault> {
        match folder.read(CLAIMS, MOST, Audience::Owner) {
            Err(FileFault::Missing(_)) => Ok(Vec::new()),
            text => read(&text?).ok_or_else(|| {
                FileFault::system(&self.folder.join(CLAIMS), "read", ErrorKind::InvalidData).into()
            }),
        }
    }

    /// Lets users claim tokens of a series, or not any more. Returns whether that is a change. Durable when this returns.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn set_claimable(&self, series: Series, claimable: bool) -> Result<bool, Fault> {
        let folder = self.root()?;
        let _changing = folder.lock(self.locking.wait)?;
        let mut all = self.claims_in(&folder)?;
        if all.contains(&series) == claimable {
            return Ok(false);
        }
        match claimable {
            true => all.push(series),
            false => all.retain(|known| *known != series),
        }
        all.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        folder.replace(CLAIMS, write(&all).as_bytes(), SECRET)?;
        Ok(true)
    }

    /// The folder of the store itself.
    fn root(&self) -> Result<Folder, Fault> {
        self.folders
            .folder(&self.folder)
            .map_err(|fault| Fault::if_missing(fault, |path| Fault::NoStore { path }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_as_documented() {
        let series = ["2026-11", "b"].map(|name| Series::new(name).unwrap());
        let text = write(&series);
        assert_eq!(text, format!("{HEAD}\nseries: 2026-11\nseries: b\n"));
        assert_eq!(read(text.as_bytes()), Some(series.to_vec()));
        for damaged in
            ["", "series: a\n", &text.replace("version 1", "version 2"), &text.replace(": b", ":b")]
        {
            assert_eq!(read(damaged.as_bytes()), None, "{damaged}");
        }
    }
}
