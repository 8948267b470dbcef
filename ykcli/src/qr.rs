//! QR codes in a terminal: dark modules on a light background, with the quiet zone that ISO/IEC 18004 asks for, whatever
//! colours the terminal has. A QR code holds a secret here, so every buffer on the way is wiped.

use crate::out;
use clap::ValueEnum;
use qrcodegen_no_heap::{QrCode, QrCodeEcc, QrSegment, QrSegmentMode, Version};
use std::io::{IsTerminal as _, stdout};
use zeroize::Zeroizing;

/// Light modules on each side of the code.
const QUIET_ZONE: usize = 4;

/// Bytes of the largest code.
const LARGEST: usize = Version::MAX.buffer_len();

/// The option of a verb that shows a QR code.
#[derive(clap::Args, Default)]
pub struct Args {
    /// How to draw the QR code
    #[arg(long, value_enum, value_name = "HOW", default_value_t = Choice::Auto)]
    qr: Choice,
}

/// A value of `--qr`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Choice {
    /// Black on white if the terminal has colours, otherwise as its background and locale need it; nothing if the output
    /// is not a terminal
    #[default]
    Auto,
    /// With blocks in UTF-8, for a dark background
    Dark,
    /// With blocks in UTF-8, for a light background
    Light,
    /// With @ and blanks, for the background that COLORFGBG names, or a dark one
    Ascii,
    /// Not at all
    None,
}

impl Args {
    /// Prints the code of a text to standard output, or says on standard error why it cannot be shown. Returns whether
    /// it was printed.
    pub fn print(&self, text: &str) -> bool {
        let Some(form) = self.qr.form(&Look::of_stdout()) else { return false };
        let Ok(drawing) = draw(text, form) else {
            out::note("No QR code: the text is too long for one.");
            return false;
        };
        let size = rustix::termios::tcgetwinsize(stdout()).ok();
        let size = size.map(|size| (usize::from(size.ws_col), usize::from(size.ws_row)));
        // A terminal that does not know its size says 0.
        let (columns, lines) = size.filter(|(columns, lines)| *columns > 0 && *lines > 0).unzip();
        if let Some(columns) = columns.filter(|columns| *columns < drawing.columns) {
            out::note(&too_narrow(&drawing, form, columns));
            return false;
        }
        out::raw(&drawing.text);
        // One line is the prompt's.
        if let Some(lines) = lines.filter(|lines| *lines <= drawing.lines) {
            let needed = drawing.lines.saturating_add(1);
            out::note(&format!(
                "The QR code needs {needed} lines, and this terminal has {lines}: make it taller, or its font smaller, to \
                 see the whole code."
            ));
        }
        true
    }
}

/// What to say instead of a drawing whose lines the terminal would break.
fn too_narrow(drawing: &Drawing, form: Form, columns: usize) -> String {
    let or_blocks = match form.characters {
        Characters::Blocks => "",
        Characters::Ascii => " If it shows UTF-8, --qr dark and --qr light need half as many.",
    };
    format!(
        "No QR code: it needs {} columns, and this terminal has {columns}. Make it wider, or its font smaller.{or_blocks}",
        drawing.columns
    )
}

impl Choice {
    fn form(self, look: &Look) -> Option<Form> {
        let (characters, paint) = match self {
            Self::None => return None,
            Self::Auto if !look.is_terminal => return None,
            Self::Auto => {
                let characters = if look.is_utf8 { Characters::Blocks } else { Characters::Ascii };
                (characters, look.palette.map_or(Paint::On(look.background), Paint::BlackOnWhite))
            }
            Self::Dark => (Characters::Blocks, Paint::On(Background::Dark)),
            Self::Light => (Characters::Blocks, Paint::On(Background::Light)),
            Self::Ascii => (Characters::Ascii, Paint::On(look.background)),
        };
        Some(Form { characters, paint })
    }
}

/// What is known of the terminal that standard output is.
struct Look {
    is_terminal: bool,
    is_utf8: bool,
    /// `None` if it has no colours, or the user wants none.
    palette: Option<Palette>,
    background: Background,
}

impl Look {
    fn of_stdout() -> Self {
        let text = |name| out::variable(name).and_then(|value| value.into_string().ok()).unwrap_or_default();
        Self {
            is_terminal: stdout().is_terminal(),
            is_utf8: out::is_utf8(),
            palette: out::has_colours().then(|| Palette::of(&text("TERM"), &text("COLORTERM"))),
            background: Background::named_by(&text("COLORFGBG")),
        }
    }
}

/// How a code is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// What it is made of.
    pub characters: Characters,
    /// What makes its modules dark and light.
    pub paint: Paint,
}

/// What a drawing is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Characters {
    /// UTF-8: two modules, one above the other, in a column of a line.
    Blocks,
    /// `@@` and blanks: a module in two columns of a line. Readers see it only out of focus; `@` is read at more distances
    /// and in more fonts than `#`.
    Ascii,
}

/// What makes modules dark and light.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// Colours of its own, which are right on every background.
    BlackOnWhite(Palette),
    /// The terminal's own colours: on a dark background the light modules are printed, on a light one the dark modules.
    On(Background),
}

/// The background of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Background {
    /// Light text on it.
    Dark,
    /// Dark text on it.
    Light,
}

impl Background {
    /// By `COLORFGBG` of rxvt, Konsole and others, `FOREGROUND;BACKGROUND` in colours of ANSI; dark if it says nothing.
    fn named_by(colours: &str) -> Self {
        match colours.rsplit(';').next().and_then(|colour| colour.parse().ok()) {
            Some(7_u8 | 9..=15) => Self::Light,
            _ => Self::Dark,
        }
    }
}

/// Which colours a terminal has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Palette {
    /// Those of ANSI: what black and white look like is up to the terminal, and a few light themes swap the two.
    Ansi,
    /// 256: black is black, and white is white.
    Fixed,
}

impl Palette {
    fn of(term: &str, colorterm: &str) -> Self {
        if term.contains("256color") || !colorterm.is_empty() { Self::Fixed } else { Self::Ansi }
    }

    /// Sets colours for black on white; `is_solid` for black on black, so that a glyph that does not fill its place in the
    /// line leaves no gap.
    const fn sequence(self, is_solid: bool) -> &'static str {
        match (self, is_solid) {
            (Self::Ansi, false) => "\u{1b}[0;30;47m",
            (Self::Ansi, true) => "\u{1b}[0;30;40m",
            (Self::Fixed, false) => "\u{1b}[0;38;5;16;48;5;231m",
            (Self::Fixed, true) => "\u{1b}[0;38;5;16;48;5;16m",
        }
    }

    /// Sets the terminal's own colours.
    const END: &str = "\u{1b}[0m";
}

/// A code to print, and how large it is. It holds the secret.
pub struct Drawing {
    /// Its lines, each with its end. Print it with [`out::raw`].
    pub text: Zeroizing<String>,
    /// The columns that its lines fill.
    pub columns: usize,
    /// How many lines it has.
    pub lines: usize,
}

/// A text is too long for a QR code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

/// Draws the smallest code that holds the text, which is ASCII, as URIs are: readers guess the character set of other
/// texts. It corrects as many errors as its size allows, at least 7 %: a screen has no stains.
///
/// # Errors
/// The text is longer than a code can hold: 2,953 bytes always fit.
pub fn draw(text: &str, form: Form) -> Result<Drawing, TooLong> {
    let modules = Modules::of(text)?;
    let side = modules.side.saturating_add(2 * QUIET_ZONE);
    let (columns, lines) = match form.characters {
        Characters::Blocks => (side, side.div_ceil(2)),
        Characters::Ascii => (side.saturating_mul(2), side),
    };
    let mut text = Zeroizing::new(String::with_capacity(most_bytes(side, lines)));
    for line in 0..lines {
        let mut solid = None;
        for column in 0..side {
            let is_inked = |row| modules.is_dark(column, row) != (form.paint == Paint::On(Background::Dark));
            let (cell, is_solid) = match form.characters {
                Characters::Ascii if is_inked(line) => ("@@", true),
                Characters::Ascii => ("  ", false),
                Characters::Blocks => {
                    let row = line.saturating_mul(2);
                    match (is_inked(row), is_inked(row.saturating_add(1))) {
                        (true, true) => ("█", true),
                        (true, false) => ("▀", false),
                        (false, true) => ("▄", false),
                        (false, false) => (" ", false),
                    }
                }
            };
            if let Paint::BlackOnWhite(palette) = form.paint
                && solid != Some(is_solid)
            {
                text.push_str(palette.sequence(is_solid));
                solid = Some(is_solid);
            }
            text.push_str(cell);
        }
        if solid.is_some() {
            text.push_str(Palette::END);
        }
        text.push('\n');
    }
    Ok(Drawing { text, columns, lines })
}

/// The most bytes of a drawing, so that its buffer never grows and leaves no copy behind.
const fn most_bytes(side: usize, lines: usize) -> usize {
    const CELL: usize = Palette::Fixed.sequence(false).len() + "█".len();
    side.saturating_mul(CELL).saturating_add(Palette::END.len() + 1).saturating_mul(lines)
}

/// The modules of a code, without its quiet zone.
struct Modules {
    side: usize,
    /// Row by row.
    dark: Zeroizing<Vec<bool>>,
}

impl Modules {
    fn of(text: &str) -> Result<Self, TooLong> {
        let (mut buffer, mut scratch) = (Zeroizing::new([0; LARGEST]), Zeroizing::new([0; LARGEST]));
        let (before, packed, after) = around_packable(text);
        let needed = QrSegment::calc_buffer_size(QrSegmentMode::Alphanumeric, packed.len()).ok_or(TooLong)?;
        let mut packing = Zeroizing::new(vec![0; needed]);
        let packed = QrSegment::make_alphanumeric(packed, &mut packing);
        let segments =
            [QrSegment::make_bytes(before.as_bytes()), packed, QrSegment::make_bytes(after.as_bytes())];
        let segments: Vec<_> = segments.into_iter().filter(|segment| segment.num_chars() > 0).collect();
        let (from, to) = (Version::MIN, Version::MAX);
        let (length, level, version) =
            QrCode::encode_segments_to_codewords(&segments, &mut *buffer, QrCodeEcc::Low, from, to, true)
                .map_err(|_| TooLong)?;
        let code = QrCode::encode_codewords(&mut *buffer, length, &mut *scratch, level, version, None);
        let side = usize::try_from(code.size()).map_err(|_| TooLong)?;
        let mut dark = Zeroizing::new(Vec::with_capacity(side.saturating_mul(side)));
        for y in 0..code.size() {
            dark.extend((0..code.size()).map(|x| code.get_module(x, y)));
        }
        Ok(Self { side, dark })
    }

    /// Whether a module is dark, counted from the corner of the quiet zone. Everything around the code is light.
    fn is_dark(&self, column: usize, row: usize) -> bool {
        let inside = |at: usize| at.checked_sub(QUIET_ZONE).filter(|at| *at < self.side);
        inside(column).zip(inside(row)).is_some_and(|(x, y)| {
            let at = y.saturating_mul(self.side).saturating_add(x);
            self.dark.get(at).copied().unwrap_or_default()
        })
    }
}

/// The longest part of capitals, digits and a few signs, such as a secret in base32, which takes 5.5 bits a character in
/// a code in place of 8; and what is before and after it. It is empty if it would save nothing.
fn around_packable(text: &str) -> (&str, &str, &str) {
    /// It costs two more headers, of at most 35 bits.
    const LEAST: usize = 15;
    let is_packable = |it: char| it.is_ascii_digit() || it.is_ascii_uppercase() || " $%*+-./:".contains(it);
    let longest =
        text.split(|it| !is_packable(it)).filter(|part| part.len() >= LEAST).max_by_key(|part| part.len());
    longest
        .and_then(|part| text.split_once(part).map(|(before, after)| (before, part, after)))
        .unwrap_or((text, "", ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCKS: Characters = Characters::Blocks;
    const ASCII: Characters = Characters::Ascii;

    fn drawn(text: &str, characters: Characters, paint: Paint) -> Drawing {
        draw(text, Form { characters, paint }).unwrap_or_else(|_| panic!("{text} is too long"))
    }

    fn look(is_utf8: bool, palette: Option<Palette>, background: Background) -> Look {
        Look { is_terminal: true, is_utf8, palette, background }
    }

    #[test]
    fn auto_looks_at_the_terminal() {
        let (dark, light, ansi) = (Background::Dark, Background::Light, Palette::Ansi);
        for (look, characters, paint) in [
            (look(true, Some(ansi), light), BLOCKS, Paint::BlackOnWhite(ansi)),
            (look(false, Some(ansi), dark), ASCII, Paint::BlackOnWhite(ansi)),
            (look(true, None, dark), BLOCKS, Paint::On(dark)),
            (look(true, None, light), BLOCKS, Paint::On(light)),
            (look(false, None, light), ASCII, Paint::On(light)),
        ] {
            assert_eq!(Choice::Auto.form(&look), Some(Form { characters, paint }));
        }
        let pipe = Look { is_terminal: false, ..look(true, None, dark) };
        assert_eq!((Choice::Auto.form(&pipe), Choice::None.form(&look(true, None, dark))), (None, None));
        let asked = Some(Form { characters: ASCII, paint: Paint::On(dark) });
        assert_eq!(Choice::Ascii.form(&pipe), asked);
    }

    #[test]
    fn the_environment_names_background_and_palette() {
        for (value, background) in [
            ("15;0", Background::Dark),
            ("0;15", Background::Light),
            ("0;default;15", Background::Light),
            ("12;8", Background::Dark),
            ("0;7", Background::Light),
            ("15;default", Background::Dark),
            ("0;16", Background::Dark),
            ("", Background::Dark),
        ] {
            assert_eq!(Background::named_by(value), background, "{value}");
        }
        assert_eq!(Palette::of("xterm-256color", ""), Palette::Fixed);
        assert_eq!(Palette::of("alacritty", "truecolor"), Palette::Fixed);
        assert_eq!(Palette::of("linux", ""), Palette::Ansi);
    }

    #[test]
    fn every_line_fills_its_columns_and_the_buffer_never_grows() {
        for length in [1, 20, 101, 135, 400, 2953] {
            let text = "a".repeat(length);
            for characters in [BLOCKS, ASCII] {
                for paint in [
                    Paint::On(Background::Dark),
                    Paint::On(Background::Light),
                    Paint::BlackOnWhite(Palette::Ansi),
                    Paint::BlackOnWhite(Palette::Fixed),
                ] {
                    let drawing = drawn(&text, characters, paint);
                    let side = if characters == BLOCKS { drawing.columns } else { drawing.lines };
                    assert_eq!(drawing.text.capacity(), most_bytes(side, drawing.lines));
                    assert_eq!(drawing.text.lines().count(), drawing.lines);
                    if let Paint::On(_) = paint {
                        assert!(drawing.text.lines().all(|line| line.chars().count() == drawing.columns));
                    }
                }
            }
        }
        let too_long =
            draw(&"a".repeat(2954), Form { characters: BLOCKS, paint: Paint::On(Background::Dark) });
        assert!(too_long.is_err());
    }

    /// The sizes that users meet: a secret of 160 bits, with its issuer and account. The first fits a terminal of 80 by 24.
    #[test]
    fn a_secret_is_packed() {
        let uri = "otpauth://totp/web1.example.com%3Aalice?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=web1.example.com";
        let drawing = drawn(uri, BLOCKS, Paint::On(Background::Dark));
        assert_eq!((drawing.columns, drawing.lines), (45, 23));
        let drawing =
            drawn(&format!("{uri}&algorithm=SHA1&digits=6&period=30"), BLOCKS, Paint::On(Background::Dark));
        assert_eq!((drawing.columns, drawing.lines), (49, 25));
        let secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
        assert_eq!(around_packable(&format!("A=B&s={secret}&x")), ("A=B&s=", secret, "&x"));
        assert_eq!(around_packable(secret), ("", secret, ""));
        assert_eq!(around_packable("s=ABCDEFGHIJKLMN&x"), ("s=ABCDEFGHIJKLMN&x", "", ""));
    }

    #[test]
    fn the_other_background_has_the_other_modules_printed() {
        let text = |paint| drawn("x", ASCII, paint).text.to_string();
        let (dark, light) = (text(Paint::On(Background::Dark)), text(Paint::On(Background::Light)));
        let first = |text: &str| text.lines().next().unwrap_or_default().to_owned();
        assert_eq!((first(&dark), first(&light)), ("@".repeat(58), " ".repeat(58)));
        // The finder's edge: seven dark modules.
        assert!(light.lines().nth(4).unwrap().starts_with(&format!("{}{}  ", " ".repeat(8), "@".repeat(14))));
        let swapped: String = dark
            .chars()
            .map(|it| {
                if it == '@' {
                    ' '
                } else if it == ' ' {
                    '@'
                } else {
                    it
                }
            })
            .collect();
        assert_eq!(swapped, light);
    }
}
