//! The QR codes of the commands, read by zbar from what a terminal shows: in every form, on dark and on light backgrounds.

use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tests::built;
use tests::scratch::Scratch;
use tests::terminal::Terminal;

const URI: &str =
    "otpauth://totp/web1.example.com:alice?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=web1.example.com";

/// What a terminal makes of its colours, from 0, black, to 255.
#[derive(Clone, Copy)]
struct Theme {
    text: u8,
    background: u8,
    /// Of ANSI: black and white.
    ansi: [u8; 2],
}

const DARK: Theme = Theme { text: 0xd0, background: 0x10, ansi: [0, 0xc0] };
const LIGHT: Theme = Theme { text: 0x20, background: 0xfa, ansi: [0x20, 0xd8] };
/// A light theme that swaps the two, as those of base16 do.
const SWAPPED: Theme = Theme { text: 0x30, background: 0xf8, ansi: [0xf8, 0x30] };

/// A place on a screen: what is printed there, and its two colours.
#[derive(Clone, Copy)]
struct Cell {
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
fn screen(output: &str, columns: usize, theme: Theme) -> Vec<Vec<Cell>> {
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
fn picture(screen: &[Vec<Cell>]) -> Vec<Vec<u8>> {
    let row = |line: &[Cell], y: usize| {
        line.iter().flat_map(|cell| (0..CELL.0).map(move |x| cell.pixel(x, y))).collect()
    };
    screen.iter().flat_map(|line| (0..CELL.1).map(move |y| row(line, y))).collect()
}

/// The same out of focus, so that letters are areas, not strokes. A code of letters is read only like this.
fn blurred(picture: &[Vec<u8>]) -> Vec<Vec<u8>> {
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

/// What zbar reads in a picture, or in its negative.
fn read(scratch: &Scratch, picture: &[Vec<u8>], is_negative: bool) -> Option<String> {
    let mut file = format!("P5 {} {} 255\n", picture[0].len(), picture.len()).into_bytes();
    file.extend(picture.iter().flatten().map(|pixel| if is_negative { 255 - pixel } else { *pixel }));
    zbar(&scratch.write_beside("screen.pgm", file))
}

/// What zbar reads in a file.
fn zbar(picture: &Path) -> Option<String> {
    let mut zbarimg = Command::new("zbarimg");
    let output =
        zbarimg.args(["--quiet", "--raw", "-Sdisable", "-Sqrcode.enable"]).arg(picture).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.strip_suffix('\n').map(str::to_owned)
}

/// A terminal of that size, and what is set in it.
struct Setup {
    scratch: Scratch,
    columns: usize,
    lines: usize,
    variables: Vec<(&'static str, &'static str)>,
}

impl Setup {
    fn new(variables: &[(&'static str, &'static str)]) -> Self {
        let variables =
            [&[("LC_ALL", "C.UTF-8"), ("COLORTERM", ""), ("COLORFGBG", ""), ("NO_COLOR", "")], variables];
        Self {
            scratch: Scratch::new("draw-qr", "none"),
            columns: 200,
            lines: 100,
            variables: variables.concat(),
        }
    }

    /// What a terminal shows of a text's code, and the exit status.
    fn draw(&self, how: &str, text: &str) -> (Option<i32>, String) {
        let file = self.scratch.write_beside("text", text);
        let mut command = Command::new("sh");
        let script = format!("stty cols {} rows {}; exec \"$@\"", self.columns, self.lines);
        command.args(["-c", &script, "sh"]).arg(built::program("draw-qr")).args(["--qr", how]).arg(file);
        command.envs(self.variables.iter().copied());
        Terminal::spawn(command).finish(Duration::from_secs(20))
    }

    /// Whether zbar reads the text where the code is drawn so, on a terminal that looks so: as it is, and in negative.
    fn reads(&self, how: &str, text: &str, theme: Theme) -> [bool; 2] {
        let (status, output) = self.draw(how, text);
        assert_eq!(status, Some(0), "{output}");
        let mut picture = picture(&screen(&output, self.columns, theme));
        if output.contains('@') {
            picture = blurred(&picture);
        }
        [false, true].map(|is_negative| {
            let found = read(&self.scratch, &picture, is_negative);
            assert!(found.as_ref().is_none_or(|found| found == text), "{found:?}");
            found.is_some()
        })
    }
}

const RIGHT: [bool; 2] = [true, false];
const INVERTED: [bool; 2] = [false, true];

#[test]
fn with_colours_it_is_read_on_every_terminal() {
    for locale in ["C.UTF-8", "C"] {
        let fixed = Setup::new(&[("TERM", "xterm-256color"), ("LC_ALL", locale)]);
        for theme in [DARK, LIGHT, SWAPPED] {
            assert_eq!(fixed.reads("auto", URI, theme), RIGHT, "{locale}");
        }
        let ansi = Setup::new(&[("TERM", "linux"), ("LC_ALL", locale)]);
        for theme in [DARK, LIGHT] {
            assert_eq!(ansi.reads("auto", URI, theme), RIGHT, "{locale}");
        }
        assert_eq!(ansi.reads("auto", URI, SWAPPED), INVERTED, "{locale}");
    }
}

#[test]
fn without_colours_it_suits_its_background() {
    let setup = Setup::new(&[("TERM", "xterm-256color"), ("NO_COLOR", "1")]);
    assert_eq!((setup.reads("auto", URI, DARK), setup.reads("auto", URI, LIGHT)), (RIGHT, INVERTED));
    assert_eq!((setup.reads("dark", URI, DARK), setup.reads("dark", URI, LIGHT)), (RIGHT, INVERTED));
    assert_eq!((setup.reads("light", URI, DARK), setup.reads("light", URI, LIGHT)), (INVERTED, RIGHT));
    let light = Setup::new(&[("TERM", "dumb"), ("COLORFGBG", "0;15")]);
    assert_eq!((light.reads("auto", URI, DARK), light.reads("auto", URI, LIGHT)), (INVERTED, RIGHT));
}

#[test]
fn ascii_is_read_too() {
    let dark = Setup::new(&[("TERM", "dumb"), ("LC_ALL", "C")]);
    assert!(dark.draw("auto", URI).1.bytes().all(|byte| matches!(byte, b'@' | b' ' | b'\r' | b'\n')));
    assert_eq!((dark.reads("auto", URI, DARK), dark.reads("ascii", URI, LIGHT)), (RIGHT, INVERTED));
    let light = Setup::new(&[("TERM", "dumb"), ("LC_ALL", "C"), ("COLORFGBG", "0;15")]);
    assert_eq!((light.reads("auto", URI, LIGHT), light.reads("ascii", URI, DARK)), (RIGHT, INVERTED));
}

#[test]
fn every_length_is_read() {
    let setup = Setup::new(&[("TERM", "xterm-256color")]);
    for length in (1..).step_by(37).take_while(|length| *length < 420) {
        let text = URI.chars().cycle().take(length).collect::<String>();
        assert_eq!(setup.reads("auto", &text, DARK), RIGHT, "{length}");
    }
}

#[test]
fn a_small_terminal_is_told_what_is_needed() {
    let mut setup = Setup::new(&[("TERM", "xterm-256color")]);
    (setup.columns, setup.lines) = (45, 24);
    let (status, output) = setup.draw("auto", URI);
    assert_eq!((status, output.lines().count()), (Some(0), 23), "{output}");
    setup.lines = 23;
    let (status, output) = setup.draw("auto", URI);
    assert_eq!((status, output.lines().count()), (Some(0), 24), "{output}");
    assert!(output.lines().last().unwrap().contains("needs 24 lines, and this terminal has 23"), "{output}");
    setup.columns = 44;
    let (status, output) = setup.draw("auto", URI);
    assert_eq!((status, output.lines().count()), (Some(1), 1), "{output}");
    assert!(output.contains("needs 45 columns, and this terminal has 44"), "{output}");
    let (_, output) = setup.draw("ascii", URI);
    assert!(output.contains("needs 90 columns") && output.contains("--qr dark"), "{output}");
    assert!(!output.contains("secret="), "{output}");
}

/// In a file, only a code that was asked for.
#[test]
fn without_a_terminal() {
    let setup = Setup::new(&[]);
    let file = setup.scratch.write_beside("text", URI);
    let draw = |how: &str| {
        let mut command = Command::new(built::program("draw-qr"));
        command.args(["--qr", how]).arg(&file).env("LC_ALL", "C").env_remove("COLORFGBG");
        tests::said::run(&mut command)
    };
    for how in ["auto", "none"] {
        let said = draw(how).exits(1);
        assert_eq!((said.out.as_str(), said.err.as_str()), ("", ""), "{how}");
    }
    assert_eq!(draw("dark").exits(0).out.lines().count(), 23);
    assert_eq!(draw("ascii").exits(0).out.lines().count(), 45);
}

/// A dark and a light terminal, side by side.
#[test]
fn the_picture_in_the_documentation_is_read() {
    let picture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/qr-terminal.png");
    let both = zbar(&picture).unwrap();
    assert_eq!(both.lines().collect::<Vec<_>>(), [URI, URI]);
}
