//! `ykmap key new --program`: ykman writes the key into a YubiKey.
//!
//! The secrets go to ykman's standard input, where it reads what its command line does not give: they are never on a command
//! line, which other users can see, nor in a file.

use std::io::{ErrorKind, Write as _};
use std::process::{Command, Output, Stdio};
use yubiotp::diagnostic::{Code, Diagnostic, Program, cause};
use yubiotp::shown;
use yubiotp::{Credential, PublicId};
use zeroize::Zeroizing;

/// The command that takes the key out of the YubiKey again.
pub(super) const FREE_SLOT: &str = "ykman otp delete 2";

/// Looks whether ykman can program slot 2: one YubiKey is plugged in, and the slot is empty.
///
/// # Errors
/// It cannot.
pub(super) fn check(id: &PublicId) -> Result<(), Diagnostic> {
    if id.as_bytes().is_empty() {
        let what = "ykman cannot program a token without a public ID";
        return Err(Diagnostic::error(Code::InputInvalid, what).advise("leave --program or --id out"));
    }
    let info = run(&["otp", "info"], "")?;
    let info = String::from_utf8_lossy(&info.stdout).into_owned();
    let slot = info.lines().find_map(|line| line.trim().strip_prefix("Slot 2:"));
    match slot.map(str::trim) {
        Some("empty") => Ok(()),
        Some(_) => Err(Diagnostic::error(Code::SlotInUse, "slot 2 of the YubiKey is programmed already")
            .run_when("to erase what the slot holds", Program::System, FREE_SLOT)),
        None => Err(failed("ykman otp info does not show slot 2 of the YubiKey")),
    }
}

/// Programs slot 2.
///
/// # Errors
/// ykman did not do it.
pub(super) fn program(id: &PublicId, credential: &Credential) -> Result<(), Diagnostic> {
    let hex = data_encoding::HEXLOWER;
    // Room for all of it, so that no part stays behind in memory that was too small.
    let mut input = Zeroizing::new(String::with_capacity(64));
    hex.encode_append(credential.private_id.expose(), &mut input);
    input.push('\n');
    hex.encode_append(credential.aes_key.expose(), &mut input);
    // The last answer is for its question whether to go on.
    input.push_str("\ny\n");
    run(&["otp", "yubiotp", "--public-id", &id.to_string(), "2"], &input)?;
    Ok(())
}

/// Runs ykman to its end, and lets it read `input`.
fn run(arguments: &[&str], input: &str) -> Result<Output, Diagnostic> {
    let child = Command::new("ykman")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.map_err(|why| match why.kind() {
        ErrorKind::NotFound => failed("ykman is not installed, or not in PATH")
            .advise("install yubikey-manager, or use --file FILE and another program"),
        _ => failed(format!("ykman cannot be started: {}", cause(&why))),
    })?;
    if let Some(mut stdin) = child.stdin.take() {
        // If it ends early, its exit status says that something went wrong.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output =
        child.wait_with_output().map_err(|why| failed(format!("ykman was lost: {}", cause(&why))))?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let last = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    // ykman does not repeat what it reads. If one ever does, it is not shown.
    let repeats = input.lines().any(|secret| secret.len() > 1 && last.contains(secret));
    let why =
        if last.is_empty() || repeats { output.status.to_string() } else { shown::line(last).to_string() };
    Err(failed(format!("ykman could not do it: {why}")))
}

fn failed(problem: impl Into<String>) -> Diagnostic {
    Diagnostic::error(Code::ProgrammingFailed, problem)
}
