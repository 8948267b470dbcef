//! The screen of a terminal as a picture, and the QR code that zbar reads in it.

use std::fs;
use std::path::Path;
use std::process::Command;

/// What a terminal makes of its colours, from 0, black, to 255.
#[derive(Debug, Clone, Copy)]
pub struct Theme {
    text: u8,
    background: u8,
    /// Of ANSI: black and white.
    ansi: [u8; 2],
}

/// Light letters on a dark background.
pub const DARK: Theme = Theme { text: 0xd0, background: 0x10, ansi: [0, 0xc0] };
/// Dark letters on a light background.
pub const LIGHT: Theme = Theme { text: 0x20, background: 0xfa, ansi: [0x20, 0xd8] };
/// A light theme that swaps the two, as those of base16 do.
pub const SWAPPED: Theme = Theme { text: 0x30, background: 0xf8, ansi: [0xf8, 0x30] };

/// A place on a screen: what is printed there, and its two colours.
#[derive(Debug, Clone, Copy)]
pub struct Cell {
    glyph: char,
    text: u8,
    background: u8,
}

/// The size of a cell's picture.
const CELL: (usize, usize) = (8, 16);

impl Cell {
    fn blank(theme: Theme) -> Self {
        Self { glyph: ' ', text: theme.text, background: theme.background }
    }

    fn pixel(&self, x: usize, y: usize) -> u8 {
        /// The @ of a VGA's font.
        const AT: [u8; 16] = [0, 0, 0, 0x7c, 0xc6, 0xc6, 0xde, 0xde, 0xde, 0xdc, 0xc0, 0x7c, 0, 0, 0, 0];
        let is_inked = match self.glyph {
            ' ' => false,
            '█' => true,
            '▀' => y < CELL.1 / 2,
            '▄' => y >= CELL.1 / 2,
            '@' => AT[y] >> (7 - x) & 1 == 1,
            other => panic!("{other:?} is not drawn"),
        };
        if is_inked { self.text } else { self.background }
    }
}

/// A screen after the output of a program, as wide as `columns`.
///
/// # Panics
/// A line is wider, or has something in it that a code is not drawn with.
#[must_use]
pub fn screen(output: &str, columns: usize, theme: Theme) -> Vec<Vec<Cell>> {
    let mut lines = Vec::new();
    let mut now = Cell::blank(theme);
    for line in output.split_terminator("\r\n") {
        let (mut cells, mut rest) = (Vec::new(), line);
        while let Some(glyph) = rest.chars().next() {
            if let Some(sequence) = rest.strip_prefix("\x1b[") {
                let (codes, after) = sequence.split_once('m').unwrap();
                rest = after;
                now = coloured(now, codes, theme);
                continue;
            }
            cells.push(Cell { glyph, ..now });
            rest = &rest[glyph.len_utf8()..];
        }
        assert!(cells.len() <= columns, "a line of {} columns is broken", cells.len());
        cells.resize(columns, Cell::blank(theme));
        lines.push(cells);
    }
    // Lines of the shell, above and below.
    let blank = vec![Cell::blank(theme); columns];
    [vec![blank.clone(), blank.clone()], lines, vec![blank.clone(), blank]].concat()
}

/// The colours after a sequence of SGR.
fn coloured(mut now: Cell, codes: &str, theme: Theme) -> Cell {
    /// The greys of 256 colours that are used here.
    fn fixed(colour: &str) -> u8 {
        match colour {
            "16" => 0,
            "231" => 255,
            other => panic!("colour {other}"),
        }
    }
    let mut codes = codes.split(';');
    while let Some(code) = codes.next() {
        match code {
            "0" => now = Cell::blank(theme),
            "30" => now.text = theme.ansi[0],
            "37" => now.text = theme.ansi[1],
            "40" => now.background = theme.ansi[0],
            "47" => now.background = theme.ansi[1],
            "38" | "48" => {
                assert_eq!(codes.next(), Some("5"));
                let colour = fixed(codes.next().unwrap());
                if code == "38" { now.text = colour } else { now.background = colour }
            }
            other => panic!("SGR {other}"),
        }
    }
    now
}

/// A picture of a screen, row by row.
#[must_use]
pub fn picture(screen: &[Vec<Cell>]) -> Vec<Vec<u8>> {
    let row = |line: &[Cell], y: usize| {
        line.iter().flat_map(|cell| (0..CELL.0).map(move |x| cell.pixel(x, y))).collect()
    };
    screen.iter().flat_map(|line| (0..CELL.1).map(move |y| row(line, y))).collect()
}

/// The same out of focus, so that letters are areas, not strokes. A code of letters is read only like this.
#[must_use]
pub fn blurred(picture: &[Vec<u8>]) -> Vec<Vec<u8>> {
    const RADIUS: usize = 6;
    let along = |rows: &[Vec<u8>]| -> Vec<Vec<u8>> {
        let mean = |row: &[u8], x: usize| {
            let near = &row[x.saturating_sub(RADIUS)..row.len().min(x + RADIUS + 1)];
            (near.iter().map(|it| usize::from(*it)).sum::<usize>() / near.len()) as u8
        };
        rows.iter().map(|row| (0..row.len()).map(|x| mean(row, x)).collect()).collect()
    };
    let turned = |rows: &[Vec<u8>]| -> Vec<Vec<u8>> {
        (0..rows[0].len()).map(|x| rows.iter().map(|row| row[x]).collect()).collect()
    };
    let across = turned(&along(&along(picture)));
    turned(&along(&along(&across)))
}

/// What zbar reads in a picture, or in its negative, which is written to `file` (PGM).
///
/// # Panics
/// Without `zbarimg`, or where the file cannot be written.
#[must_use]
pub fn read(file: &Path, picture: &[Vec<u8>], is_negative: bool) -> Option<String> {
    let mut pgm = format!("P5 {} {} 255\n", picture[0].len(), picture.len()).into_bytes();
    pgm.extend(picture.iter().flatten().map(|pixel| if is_negative { 255 - pixel } else { *pixel }));
    fs::write(file, pgm).unwrap();
    zbar(file)
}

/// What zbar reads in a file.
///
/// # Panics
/// Without `zbarimg`.
#[must_use]
pub fn zbar(picture: &Path) -> Option<String> {
    let mut zbarimg = Command::new("zbarimg");
    let output =
        zbarimg.args(["--quiet", "--raw", "-Sdisable", "-Sqrcode.enable"]).arg(picture).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.strip_suffix('\n').map(str::to_owned)
}
