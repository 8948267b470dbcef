//! `ykwebd completions`

use super::Command;
use clap::CommandFactory as _;
pub(crate) use ykcli::completions::Args;

pub(crate) fn run(args: &Args) {
    ykcli::completions::print(args, &mut Command::command(), "ykwebd");
}
