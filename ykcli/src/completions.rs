//! Completions for shells: the verb `completions` of every command.
//!
//! Arguments that are IDs or OTPs have no value hint: where they had `Other`, zsh would complete no option before them.

use crate::out;
use clap_complete::Shell;

/// The arguments of the verb.
#[derive(clap::Args)]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: SupportedShell,
}

/// The shells that packages install a completion for.
#[derive(Clone, Copy, clap::ValueEnum)]
enum SupportedShell {
    Bash,
    Zsh,
    Fish,
}

/// Prints the script that completes `command`, which is installed as `name`.
pub fn print(args: &Args, command: &mut clap::Command, name: &str) {
    let shell = match args.shell {
        SupportedShell::Bash => Shell::Bash,
        SupportedShell::Zsh => Shell::Zsh,
        SupportedShell::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, command, name, &mut script);
    out::raw(&String::from_utf8_lossy(&script));
}
