//! `ykwebd explain`

use super::{Context, Done, Opened, out};
use serde_json::json;
use ykcli::{explain, time};
use ykweb::store::StoredEvent;
use yubiotp::diagnostic::{Code, Diagnostic, Location};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The number that the page showed (R-7K2M9QXA), or a code of a log line
    // Without a hint: zsh completes no option before a value that has none to offer.
    #[arg(value_name = "NUMBER|CODE")]
    what: String,
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    if args.what.parse::<Code>().is_ok() {
        return Ok(explain::run(&explain::Args::of(&args.what), context.json)?);
    }
    let Opened { store, .. } = context.open()?;
    // People read it out, and type it.
    let id = args.what.trim().to_ascii_uppercase().replace('O', "0").replace(['I', 'L'], "1");
    let Some(event) = store.event(&id)? else {
        let problem = "is no number of an event, and no code of this version";
        let found = Diagnostic::error(Code::EventNotHere, problem).at(Location::Setting(args.what.clone()));
        return Err(found
            .advise("look for it in the log, which may reach further back than the last 100,000 events")
            .into());
    };
    if context.json {
        out::json(&json!({
            "id": event.id,
            "at": event.at,
            "event": event.event,
            "code": event.code,
            "user": event.user,
            "host": event.host,
            "peer": event.peer,
            "reason": event.reason,
        }));
        return Ok(());
    }
    show(&event);
    // The entry of the page, below what happened.
    Ok(explain::run(&explain::Args::of(&event.code), false)?)
}

fn show(event: &StoredEvent) {
    let lines = [
        ("when", Some(format!("{} UTC", time::utc(event.at)))),
        ("what", Some(event.event.clone())),
        ("user", event.user.clone()),
        ("host", event.host.clone()),
        ("from", event.peer.clone()),
        ("why", Some(event.reason.clone())),
    ];
    for (name, text) in lines {
        if let Some(text) = text {
            out::line(&format!("{name:<6}{text}"));
        }
    }
    out::line("");
}
