//! Where a command prints: answers on standard output, remarks and questions on standard error. A reader that went away
//! is not an error; a disk that is full is, and [`failed`] says so at the end.

use comfy_table::{Cell, Color, ContentArrangement, Table, presets};
use std::borrow::Cow;
use std::io::{BufWriter, ErrorKind, IsTerminal as _, Stdout, Write as _};
use std::sync::OnceLock;
use textwrap::{Options, WordSplitter};
use yubiotp::diagnostic::cause;
use yubiotp::shown;
use zeroize::Zeroizing;

static FAILED: OnceLock<String> = OnceLock::new();

/// The first fault of standard output in this process: some of the output was lost.
#[must_use]
pub fn failed() -> Option<&'static str> {
    FAILED.get().map(String::as_str)
}

/// Prints a line of the answer to standard output. Characters that cannot be printed are escaped.
pub fn line(text: &str) {
    raw(&format!("{}\n", shown::line(text)));
}

/// Several lines, whose ends are our own.
pub fn lines(text: &str) {
    text.split('\n').for_each(line);
}

/// Several lines. Sentences are wrapped to the width of the terminal; a line that begins with a blank, such as a command to
/// copy, stays whole.
pub fn paragraphs(text: &str) {
    let width = width();
    for line in text.split('\n') {
        let shown = Zeroizing::new(shown::line(line).to_string());
        match width {
            Some(width) if !line.starts_with(' ') => {
                wrapped(&shown, ["", ""], width).iter().for_each(|part| raw(&format!("{part}\n")));
            }
            _ => raw(&Zeroizing::new(format!("{}\n", *shown))),
        }
    }
}

/// A sentence in lines of at most that width, with what the first and the others begin with. Words stay whole, so that
/// paths can be copied.
#[must_use]
pub fn wrapped<'a>(sentence: &'a str, [first, rest]: [&'a str; 2], width: usize) -> Vec<Cow<'a, str>> {
    let options = Options::new(width).initial_indent(first).subsequent_indent(rest);
    textwrap::wrap(sentence, options.break_words(false).word_splitter(WordSplitter::NoHyphenation))
}

/// Text as it is: escaped already, or secret on purpose.
pub fn raw(text: &str) {
    let mut stdout = std::io::stdout().lock();
    if let Err(why) = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
        && why.kind() != ErrorKind::BrokenPipe
    {
        FAILED.get_or_init(|| format!("standard output: {}", cause(&why)));
    }
}

/// Very many lines of an answer, written in large pieces. Ends early where the reader went away.
#[derive(Debug)]
pub struct Stream(Option<BufWriter<Stdout>>);

impl Stream {
    /// To standard output.
    #[must_use]
    pub fn new() -> Self {
        Self(Some(BufWriter::with_capacity(64 << 10, std::io::stdout())))
    }

    /// Prints text that is escaped already, with its line end. Returns whether more can be printed.
    pub fn raw(&mut self, text: &str) -> bool {
        self.attempt(|to| to.write_all(text.as_bytes()))
    }

    /// Writes everything out. Returns whether more can be printed.
    pub fn flush(&mut self) -> bool {
        self.attempt(|to| to.flush())
    }

    fn attempt(&mut self, write: impl FnOnce(&mut BufWriter<Stdout>) -> std::io::Result<()>) -> bool {
        let Some(to) = &mut self.0 else { return false };
        let Err(why) = write(to) else { return true };
        if why.kind() != ErrorKind::BrokenPipe {
            FAILED.get_or_init(|| format!("standard output: {}", cause(&why)));
        }
        // What is left would be tried again on drop.
        if let Some(to) = self.0.take() {
            let _ = to.into_parts();
        }
        false
    }
}

impl Default for Stream {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.flush();
    }
}

/// A remark, beside the answer.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", shown::line(text));
}

/// A remark over several lines, which is escaped already.
pub(crate) fn raw_note(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Several remarks, whose line ends are our own.
pub fn notes(text: &str) {
    text.split('\n').for_each(note);
}

/// Prints a prompt without a newline, where the user who answers sees it.
pub fn question(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = write!(stderr, "{}", shown::line(text));
    let _ = stderr.flush();
}

/// A value for a script, over several lines.
pub fn json(value: &serde_json::Value) {
    raw(&json_text(value));
}

/// The text that [`json`] prints.
#[must_use]
pub fn json_text(value: &serde_json::Value) -> String {
    format!("{}\n", shown::json(&serde_json::to_string_pretty(value).unwrap_or_default()))
}

/// A field of a table. Characters that cannot be printed are escaped.
pub enum Field {
    /// As everything else.
    Plain(String),
    /// Something that wants attention.
    Loud(String),
}

/// A table: with lines and colour for a person, bare columns for a pipe.
pub fn table(header: &[&str], rows: Vec<Vec<Field>>) {
    let person = std::io::stdout().is_terminal();
    let colour = has_colours();
    let mut table = Table::new();
    table.load_style(match person {
        true if is_utf8() => presets::UTF8_FULL_CONDENSED,
        true => presets::ASCII_FULL_CONDENSED,
        false => presets::NOTHING,
    });
    if let Some(width) = width() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
        // A terminal that says it has no width is as wide as text is wrapped to.
        table.set_width(u16::try_from(width).unwrap_or(u16::MAX));
    }
    table.set_header(header.iter().map(Cell::new));
    for row in rows {
        table.add_row(row.into_iter().map(|field| match field {
            Field::Plain(text) => Cell::new(shown::line(&text)),
            Field::Loud(text) if colour => Cell::new(shown::line(&text)).fg(Color::Yellow),
            Field::Loud(text) => Cell::new(shown::line(&text)),
        }));
    }
    raw(&format!("{}\n", table.trim_fmt()));
}

/// The emphasis of a part of a line on a terminal with colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Headings, and commands to copy.
    Bold,
    /// Details that few readers want.
    Dim,
    /// An error.
    Red,
    /// A warning.
    Yellow,
    /// A note.
    Cyan,
    /// In order.
    Green,
}

/// The text in that style if standard output [has colours](has_colours), and as it is otherwise. Escape what is not
/// printable in it before, and print it with [`raw`].
#[must_use]
pub fn styled(style: Style, text: &str) -> String {
    if !has_colours() {
        return text.to_owned();
    }
    let code = match style {
        Style::Bold => "1",
        Style::Dim => "2",
        Style::Red => "1;31",
        Style::Yellow => "1;33",
        Style::Cyan => "36",
        Style::Green => "32",
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

/// The columns of the terminal that standard output is; `None` if it is something else, where lines are not wrapped.
#[must_use]
pub fn width() -> Option<usize> {
    std::io::stdout().is_terminal().then(columns)
}

/// The same of standard error.
pub(crate) fn error_width() -> Option<usize> {
    std::io::stderr().is_terminal().then(columns)
}

fn columns() -> usize {
    /// The narrowest that text is wrapped to.
    const LEAST: usize = 40;
    textwrap::termwidth().max(LEAST)
}

/// Whether standard output is a terminal with colours, and the user has not asked for none (`NO_COLOR`, `TERM=dumb`).
#[must_use]
pub fn has_colours() -> bool {
    let is_set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
    std::io::stdout().is_terminal()
        && !is_set("NO_COLOR")
        && variable("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
}

/// Whether the locale has more characters than those of ASCII.
pub(crate) fn is_utf8() -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .find_map(|name| variable(name).filter(|it| !it.is_empty()));
    locale.is_some_and(|locale| {
        let locale = locale.to_string_lossy().to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

#[expect(clippy::disallowed_methods, reason = "how something looks decides nothing")]
pub(crate) fn variable(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name)
}

/// `1 key`, `2 keys`.
#[must_use]
pub fn count(number: impl TryInto<u64>, what: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
