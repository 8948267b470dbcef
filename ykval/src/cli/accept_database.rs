//! `ykvald accept-database`

use super::{Context, Done, Failure, out, token, wait};
use serde_json::json;
use ykval::store::Store;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The database has every OTP that was accepted, or is empty. If that is not true, used OTPs are accepted again
    #[arg(long)]
    nothing_lost: bool,
    /// The database lacks OTPs that were accepted since then: every token becomes restored
    #[arg(long, value_name = "TIME", value_parser = token::parse_time, conflicts_with = "nothing_lost")]
    lost_since: Option<i64>,
}

const NEITHER: &str = "say what it lacks: --lost-since TIME, such as the time of the promotion (2026-11-22T00:30:00Z); or \
                       --nothing-lost, if it has every OTP that was accepted";

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    if !args.nothing_lost && args.lost_since.is_none() {
        return Err(Failure::Fault(NEITHER.to_owned()));
    }
    let config = context.settings(&[])?;
    let accepted = wait(async { Ok(Store::accept_database(&config.store, args.lost_since).await?) })?;
    if context.json {
        out::json(&json!({ "accepted": accepted }));
    } else {
        out::line(&format!("accepted: {accepted}. Restart ykvald if it runs"));
    }
    Ok(())
}
