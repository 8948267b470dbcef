//! What is asked at the terminal, and what is shown once.

use super::{Failure, out};
use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};
use ykcli::out::json_text;
use yubiotp::diagnostic::{Code, Diagnostic, cause};
use zeroize::Zeroizing;

/// The longest line that is read, in bytes.
const MOST: usize = 4096;

/// Asks for a line, and returns it without blanks around it. It may be empty.
pub(super) fn line(question: &str) -> Result<Zeroizing<String>, Failure> {
    out::question(question);
    // Room for all of it, so that no part stays behind in memory that was too small.
    let mut typed = Zeroizing::new(Vec::with_capacity(MOST));
    let read = std::io::stdin().lock().take(MOST as u64).read_until(b'\n', &mut typed);
    read.map_err(|why| {
        Failure::from(Diagnostic::error(Code::InputInvalid, format!("standard input: {}", cause(&why))))
    })?;
    let text = str::from_utf8(&typed).map_err(|_| Failure::input("what was typed is not UTF-8"))?;
    Ok(Zeroizing::new(text.trim().to_owned()))
}

/// Fails unless a secret is shown where it is wanted: on a terminal, where its owner answers, or to a script that asked for it.
pub(super) fn needs_eyes(is_json: bool, is_unconfirmed: bool) -> Result<(), Failure> {
    let problem = match (is_json, is_unconfirmed) {
        (true, true) => return Ok(()),
        (true, false) => "a script cannot read the secret and answer with a code",
        (false, _) if !std::io::stdout().is_terminal() => {
            "the secret is shown on a terminal only, and standard output is none"
        }
        (false, false) if !std::io::stdin().is_terminal() => {
            "a code of the app is needed, and standard input is no terminal"
        }
        (false, _) => return Ok(()),
    };
    let found = Diagnostic::error(Code::NoTerminal, format!("{problem}: nothing was stored"));
    Err(found
        .advise("run the command at a terminal")
        .advise("in a script that passes the secret on to its owner, give --json and --no-confirm")
        .into())
}

/// Prints a secret or codes, and fails unless all was written: nobody may have what nobody has seen.
pub(super) fn show(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|why| {
        let problem = format!("standard output: {}: nothing was stored", cause(&why));
        Failure::from(Diagnostic::error(Code::OutputFailed, problem))
    })
}

/// The same for a script.
pub(super) fn show_json(value: &serde_json::Value) -> Result<(), Failure> {
    show(&Zeroizing::new(json_text(value)))
}
