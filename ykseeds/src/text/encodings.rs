//! Whether the secrets of a file are hex or base32, where nobody said it.

use super::columns::Row;
use crate::encoding::Encoding;
use crate::problem::{BadLine, Place, Problem, Why};

/// The one encoding in which all secrets of a file read. `None`, with problems, if there is none, or two.
///
/// The first secret that reads in one encoding only decides for the file. It is never guessed.
pub(super) fn of_all(rows: &[Row<'_>], problems: &mut Vec<Problem>) -> Option<Encoding> {
    let readings = || rows.iter().map(|row| (row, Reading::of(row.secret)));
    let decided = readings().find_map(|(row, reading)| match reading {
        Reading::Only(encoding) => Some((row.line, encoding)),
        Reading::Both | Reading::Neither => None,
    });
    let before = problems.len();
    for (row, reading) in readings() {
        let number = row.secret_field;
        let wrong = match (reading, decided) {
            (Reading::Only(here), Some((other, encoding))) if here != encoding => {
                BadLine::MixedEncodings { number, here, other }
            }
            (Reading::Neither, _) => {
                BadLine::Secret { number, encoding: decided.map(|(_, encoding)| encoding) }
            }
            _ => continue,
        };
        problems.push(Problem::new(Place::line(row.line), wrong));
    }
    if problems.len() > before {
        return None;
    }
    if let (None, Some(row)) = (decided, rows.first()) {
        let why = Why::EncodingUnclear { field: row.secret_field };
        problems.push(Problem::new(Place::line(row.line), why));
    }
    decided.map(|(_, encoding)| encoding)
}

/// How a secret reads.
#[derive(Clone, Copy)]
enum Reading {
    Only(Encoding),
    Both,
    Neither,
}

impl Reading {
    fn of(secret: &str) -> Self {
        match (Encoding::Hex.reads(secret), Encoding::Base32.reads(secret)) {
            (true, true) => Self::Both,
            (true, false) => Self::Only(Encoding::Hex),
            (false, true) => Self::Only(Encoding::Base32),
            (false, false) => Self::Neither,
        }
    }
}
