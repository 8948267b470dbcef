//! `ykvald accept-database`

use super::{Context, Done, out, wait};
use serde_json::json;
use ykval::store::Store;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Say that this database has every OTP that was accepted, or is empty. If not, used OTPs are accepted again
    #[arg(long, required = true)]
    nothing_lost: bool,
}

pub(crate) fn run(context: &Context, _: &Args) -> Done {
    let config = context.settings(&[])?;
    let accepted = wait(async { Ok(Store::accept_database(&config.store).await?) })?;
    if context.json {
        out::json(&json!({ "accepted": accepted }));
    } else {
        out::line(&format!("accepted: {accepted}. Restart ykvald if it runs"));
    }
    Ok(())
}
