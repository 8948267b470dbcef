//! The QR codes of the commands, read by zbar from what a terminal shows: in every form, on dark and on light backgrounds.

use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tests::built;
use tests::scratch::Scratch;
use tests::screen::{DARK, LIGHT, SWAPPED, Theme, blurred, picture, read, screen, zbar};
use tests::terminal::Terminal;

const URI: &str =
    "otpauth://totp/web1.example.com:alice?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=web1.example.com";

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
            let found = read(&self.scratch.beside("screen.pgm"), &picture, is_negative);
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
