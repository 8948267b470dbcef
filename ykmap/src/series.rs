//! `ykmap series`

use super::{Context, Done, out, token};
use serde_json::json;
use ykhost::store::Store;
use yubiotp::Series;

#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// List the series: tokens that were imported together
    List,
    /// Let users who enroll at a login take a token of a series that is nobody's
    ///
    /// They type its serial number and two successive codes of it.
    AllowClaims(One),
    /// Assign tokens of a series only by ykmap, which is the default
    ForbidClaims(One),
    /// Remove every token of a series from the store and from its user
    Remove(Remove),
}

#[derive(clap::Args)]
pub(crate) struct One {
    /// The series
    #[arg(value_name = "NAME", value_parser = token::parse_series)]
    series: Series,
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
        Verb::AllowClaims(args) => set_claimable(context, args.series, true),
        Verb::ForbidClaims(args) => set_claimable(context, args.series, false),
        Verb::Remove(args) => token::of_series(context, &args.series, args.yes),
    }
}

fn set_claimable(context: &Context, series: Series, claimable: bool) -> Done {
    let store = Store::new(&context.settings()?);
    // A name that is misspelt would allow nothing, and look as if it did. What was allowed may always be forbidden.
    if claimable {
        token::needs_series(&store, &series)?;
    }
    let changed = store.set_claimable(series, claimable)?;
    if context.json {
        out::json(&json!({ "series": series.to_string(), "claims": claimable, "changed": changed }));
        return Ok(());
    }
    let may = if claimable { "may" } else { "may not" };
    let already = if changed { "" } else { " already" };
    out::line(&format!("Users who enroll at a login {may} take tokens of series {series}{already}."));
    Ok(())
}
