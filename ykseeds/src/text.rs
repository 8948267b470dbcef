//! Text with a token a line: serial and secret, or CSV as privacyIDEA, LinOTP and vendors write it.
//!
//! Fields are separated by commas, semicolons, tabs or blanks, in all lines the same. Without a header their order is
//! `serial, secret, type, digits, period or counter, hash`, of which the first two are needed; a header may name columns
//! in any order. After `# version: 2` (privacyIDEA), user, resolver and realm precede them. Lines that begin with `#` are
//! comments.

mod columns;
mod encodings;
mod fields;

use crate::duplicates::SecretSet;
use crate::encoding::Encoding;
use crate::lines::lines;
use crate::problem::{BadLine, Field, Foreign, Limit, Place, Problem, Problems, Why};
use crate::token::{Format, HashRule, Options, PassedOver, Seeds, TokenSecret, TokenType, is_serial};
use crate::{MAX_PROBLEMS, MAX_TOKENS};
use columns::{Columns, Row};
use fields::Separator;
use std::collections::HashMap;
use yubiotp::oath::window::Progress;
use yubiotp::oath::{Algorithm, Secret};

/// Reads a text file.
///
/// # Errors
/// Every problem, in the order of lines, and at most [`MAX_PROBLEMS`].
pub fn read(text: &[u8], options: &Options<'_>) -> Result<Seeds, Problems> {
    let table = Table::of(text, options.token_type)?;
    let (format, said) = (table.format(), options.encoding.or(table.encoding()));
    let mut problems = table.problems;
    let encoding = said.or_else(|| encodings::of_all(&table.rows, &mut problems));
    let mut file = Seeds {
        format,
        member: None,
        encoding,
        tokens: Vec::with_capacity(table.rows.len()),
        passed_over: table.passed_over,
        notes: Vec::new(),
    };
    let mut known = Known::default();
    for row in &table.rows {
        match token(row, encoding, options) {
            Ok(token) => match known.check(&file.tokens, &token) {
                Ok(None) => file.tokens.push(token),
                Ok(Some(first)) => file.passed_over.push((token.place, PassedOver::Repetition { first })),
                Err(why) => problems.push(Problem::new(token.place, why)),
            },
            Err(found) => {
                problems.extend(found.into_iter().map(|why| Problem::new(Place::line(row.line), why)))
            }
        }
        if problems.len() >= MAX_PROBLEMS {
            break;
        }
    }
    if problems.is_empty() {
        file.passed_over.sort_by_key(|(place, _)| place.line);
        return Ok(file);
    }
    // A line is read more than once: in the order of lines again, and of one line each problem once.
    problems.sort_by_key(|problem| problem.place.line);
    problems.dedup();
    problems.truncate(MAX_PROBLEMS);
    Err(problems.into())
}

/// The lines of a file in fields.
#[derive(Default)]
struct Table<'a> {
    /// By the first line that is not a comment.
    layout: Option<(Separator, Columns)>,
    /// Whether each line begins with a user.
    users: bool,
    rows: Vec<Row<'a>>,
    passed_over: Vec<(Place, PassedOver)>,
    problems: Vec<Problem>,
}

impl<'a> Table<'a> {
    fn of(text: &'a [u8], usual: TokenType) -> Result<Self, Problems> {
        let mut table = Self::default();
        for (line, content) in lines(text) {
            if let Err(why) = content.and_then(|content| table.line(line, content, usual)) {
                // Without the columns of a header no line can be read, nor any of a file of another format.
                let hopeless = matches!(why, Why::Foreign(_) | Why::Line(BadLine::ColumnTwice { .. }));
                table.problems.push(Problem::new(Place::line(line), why));
                if hopeless || table.problems.len() >= MAX_PROBLEMS {
                    break;
                }
            }
            if table.rows.len().saturating_add(table.passed_over.len()) > MAX_TOKENS {
                return Err(Problems::whole(Limit::Tokens));
            }
        }
        match (table.problems.is_empty(), table.rows.is_empty() && table.passed_over.is_empty()) {
            (true, true) => Err(Problems::whole(Why::Empty)),
            (false, true) => Err(table.problems.into()),
            (_, false) => Ok(table),
        }
    }

    fn line(&mut self, line: usize, content: &'a str, usual: TokenType) -> Result<(), Why> {
        if content.is_empty() {
            return Ok(());
        }
        if content.starts_with('#') {
            self.users = self.users || self.layout.is_none() && columns::has_users(content);
            return Ok(());
        }
        if let Some(foreign) = foreign(content) {
            // Whatever the lines before it looked like.
            *self = Self::default();
            return Err(foreign.into());
        }
        let separator =
            self.layout.as_ref().map_or_else(|| Separator::of(content), |(separator, _)| *separator);
        let fields = separator.fields(content)?;
        let (_, columns) = match &mut self.layout {
            Some(layout) => layout,
            None => {
                let header = Columns::of_header(&fields).transpose()?;
                let is_header = header.is_some();
                let columns = header.unwrap_or_else(|| Columns::without_header(separator, self.users));
                let layout = self.layout.insert((separator, columns));
                if is_header {
                    return Ok(());
                }
                layout
            }
        };
        match columns.row(line, &fields, usual)? {
            Some(row) => self.rows.push(row),
            None => self.passed_over.push((Place::line(line), PassedOver::OtherType)),
        }
        Ok(())
    }

    /// How a header says that secrets are written.
    fn encoding(&self) -> Option<Encoding> {
        self.layout.as_ref().and_then(|(_, columns)| columns.encoding)
    }

    fn format(&self) -> Format {
        self.layout.as_ref().map_or(Format::SerialAndSecret, |(_, columns)| columns.format)
    }
}

/// What a line says that belongs to another format.
fn foreign(line: &str) -> Option<Foreign> {
    if line.starts_with("\" TOTP_AUTH") || line.starts_with("\" HOTP_COUNTER") {
        Some(Foreign::GoogleAuthenticator)
    } else if line
        .split_ascii_whitespace()
        .next()
        .is_some_and(|word| word == "HOTP" || word.starts_with("HOTP/"))
    {
        Some(Foreign::UsersFile)
    } else {
        None
    }
}

/// The token of a row, or what is wrong with it.
fn token(row: &Row<'_>, encoding: Option<Encoding>, options: &Options<'_>) -> Result<TokenSecret, Vec<Why>> {
    let mut wrong: Vec<Why> = row.wrong.iter().map(|why| Why::Line(*why)).collect();
    if !is_serial(row.serial) {
        wrong.push(BadLine::Value { number: row.serial_field, field: Field::Serial }.into());
    }
    let secret = encoding.map(|encoding| secret(row, encoding, options.hash));
    let (secret, algorithm) = match secret {
        Some(Ok(read)) => read,
        Some(Err(why)) => {
            wrong.push(why);
            return Err(wrong);
        }
        // The encoding is not known, which is a problem already.
        None => return Err(wrong),
    };
    if !wrong.is_empty() {
        return Err(wrong);
    }
    Ok(TokenSecret {
        place: Place::line(row.line),
        serial: row.serial.to_owned(),
        secret,
        parameters: options.parameters(Some(row.token_type), algorithm, row.digits, row.period),
        progress: Progress { next: row.counter, drift: 0 },
        user: row.user.map(str::to_owned),
        manufacturer: row.manufacturer.map(str::to_owned),
        issuer: row.issuer.map(str::to_owned),
    })
}

/// The secret of a row, and the hash function.
fn secret(row: &Row<'_>, encoding: Encoding, hash: Option<HashRule>) -> Result<(Secret, Algorithm), Why> {
    let bytes = encoding
        .decode(row.secret)
        .ok_or(BadLine::Secret { number: row.secret_field, encoding: Some(encoding) })?;
    let algorithm = match (row.hash, hash) {
        (Some(named), _) => named,
        (None, Some(rule)) => rule.of(&bytes),
        (None, None) if HashRule::by_length(&bytes) != Algorithm::Sha1 => {
            return Err(Why::HashUnclear { bytes: bytes.len() });
        }
        (None, None) => Algorithm::Sha1,
    };
    Ok((Secret::new(bytes).map_err(BadLine::SecretLength)?, algorithm))
}

/// The serials and secrets of a file so far.
#[derive(Default)]
pub(crate) struct Known {
    /// Where in the list of tokens.
    serials: HashMap<String, usize>,
    secrets: SecretSet<(String, Place)>,
}

impl Known {
    /// Notes a token that is about to be added to `tokens`. `Some`: where the same token is already.
    pub(crate) fn check(
        &mut self,
        tokens: &[TokenSecret],
        token: &TokenSecret,
    ) -> Result<Option<Place>, Why> {
        let same = self.secrets.insert(&token.secret, (token.serial.clone(), token.place.clone()));
        if let Some(earlier) = self.serials.get(&token.serial).and_then(|at| tokens.get(*at)) {
            let first = earlier.place.clone();
            return match same {
                Some((serial, _)) if *serial == token.serial => {
                    if earlier.parameters == token.parameters && earlier.progress == token.progress {
                        Ok(Some(first))
                    } else {
                        Err(Why::OtherParameters { first })
                    }
                }
                _ => Err(Why::OtherSecret { first }),
            };
        }
        if let Some((_, first)) = same {
            return Err(Why::SameSecret { first: first.clone() });
        }
        self.serials.insert(token.serial.clone(), tokens.len());
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
