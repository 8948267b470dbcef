//! `draw-qr [--qr HOW] FILE`: the QR code of a file's text, drawn as the commands draw it. Exits 1 if nothing was drawn.

use clap::Parser;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use ykcli::qr;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    qr: qr::Args,
    file: PathBuf,
}

#[expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "a fixture that fails must stop the test")]
fn main() -> ExitCode {
    let command = Command::parse();
    let text = fs::read_to_string(command.file).unwrap();
    if command.qr.print(&text) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
