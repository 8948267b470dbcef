//! `ykvald accept-database`

use super::{Context, Done, out, restore, token, wait};
use serde_json::json;
use ykval::store::{AcceptedDatabase, Store};
use yubiotp::diagnostic::{Code, Diagnostic, Program};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// State that this database has every accepted OTP, or is empty. If that is wrong, used OTPs are accepted again
    #[arg(long)]
    nothing_lost: bool,
    /// State that it lacks OTPs that were accepted since this time. Each token then has to prove that it is fresh
    #[arg(long, value_name = "TIME", value_parser = token::parse_time, conflicts_with = "nothing_lost")]
    lost_since: Option<i64>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    if !args.nothing_lost && args.lost_since.is_none() {
        let neither =
            Diagnostic::error(Code::CommandLineInvalid, "say whether this database lacks accepted OTPs")
                .run_when(
                    "if it does, or may, with a time before the first of them, such as 2026-11-22T00:30:00Z",
                    Program::Ykvald,
                    "accept-database --lost-since TIME",
                )
                .run_when(
                    "only if you know that it has every accepted OTP",
                    Program::Ykvald,
                    "accept-database --nothing-lost",
                );
        return Err(neither.into());
    }
    let config = context.settings(&[])?;
    let done = wait(async { Ok(Store::accept_database(&config.store, args.lost_since).await?) })?;
    let AcceptedDatabase { what, marked } = done;
    if context.json {
        out::json(&json!({ "accepted": what, "marked": marked }));
        return Ok(());
    }
    out::line(&format!("accepted: {what}. Restart ykvald if it runs"));
    match marked {
        None => {}
        Some(0) => out::line("it has no token that could be marked as restored"),
        Some(marked) => restore::tell_restored(context, marked),
    }
    Ok(())
}
