//! The command line, as far as every command reads it alike.

use crate::out;
use std::path::PathBuf;
use std::process::ExitCode;

/// Says why a command line is not understood, and gives exit status 2. What it quotes of that line may be anybody's
/// words, so characters that cannot be printed are escaped. For `--help` and `--version`, which are no mistake, prints
/// the text as it is and ends the process with exit status 0.
#[must_use]
pub fn not_understood(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        error.exit();
    }
    error.render().to_string().trim_end_matches('\n').split('\n').for_each(out::note);
    ExitCode::from(2)
}

/// The path of an argument, absolute: advice that quotes it is good in any folder.
///
/// # Errors
/// It is empty, or the current folder is gone. The sentence names the path.
pub fn absolute(path: PathBuf) -> Result<PathBuf, String> {
    std::path::absolute(&path).map_err(|why| format!("{}: {why}", path.display()))
}
