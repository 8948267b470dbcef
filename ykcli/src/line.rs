//! The command line, as far as every command reads it alike.

use crate::failure::Failure;
use crate::{diagnostic, out};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use yubiotp::diagnostic::{Calls, Code, Diagnostic, cause};

/// Says why a command line is not understood, as JSON if it has `--json`, and returns exit status 2. What it quotes of that
/// line is escaped. For `--help` and `--version`, prints the text as it is and ends the process with exit status 0.
#[must_use]
pub fn not_understood(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        error.exit();
    }
    let text = error.render().to_string();
    let text = text.trim_end_matches('\n');
    if std::env::args_os().any(|argument| argument == "--json") {
        let problem = text.strip_prefix("error: ").unwrap_or(text);
        let found = Diagnostic::error(Code::CommandLineInvalid, problem);
        out::json(&json!({ "error": diagnostic::json(&found, Calls::PLAIN) }));
    } else {
        text.split('\n').for_each(out::note);
    }
    ExitCode::from(2)
}

/// The path of an argument, absolute, so that a remedy that quotes it works in any folder.
///
/// # Errors
/// It is empty, or the current folder is gone.
pub fn absolute(path: PathBuf) -> Result<PathBuf, Failure> {
    std::path::absolute(&path).map_err(|why| Failure::input(format!("{}: {}", path.display(), cause(&why))))
}
