//! `ykmap series`

use super::{Context, Done, token};
use yubiotp::Series;

#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// List the series: tokens that were imported together
    List,
    /// Remove every token of a series from the store and from its user
    Remove(Remove),
}

#[derive(clap::Args)]
pub(crate) struct Remove {
    /// The series
    #[arg(value_name = "NAME", value_parser = token::parse_series)]
    series: Series,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub(crate) fn run(context: &Context, verb: &Verb) -> Done {
    match verb {
        Verb::List => token::series(context),
        Verb::Remove(args) => token::of_series(context, &args.series, args.yes),
    }
}
