//! `ykmap completions`
//!
//! Arguments that are ids or OTPs have no value hint: where they had `Other`, zsh would complete no option before them.

use super::{Command, out};
use clap::CommandFactory;
use clap_complete::Shell;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which shell
    #[arg(value_enum)]
    shell: Known,
}

/// The shells that packages install a completion for.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Known {
    Bash,
    Zsh,
    Fish,
}

pub(crate) fn run(args: &Args) {
    let shell = match args.shell {
        Known::Bash => Shell::Bash,
        Known::Zsh => Shell::Zsh,
        Known::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Command::command(), "ykmap", &mut script);
    out::raw(&String::from_utf8_lossy(&script));
}
