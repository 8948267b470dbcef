//! `ykwebd session`

use super::out::Field;
use super::user::parse_name;
use super::{Context, Done, Opened, out};
use serde_json::json;
use ykcli::time;
use ykweb::store::StoredSession;
use ykweb::user::UserName;
use yubiotp::diagnostic::{Code, Diagnostic, Program};

#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// List who is signed in, with what they showed, and from where
    List(Of),
    /// End sessions: by their numbers, of a user, or all. The server notices within a second
    End(End),
}

#[derive(clap::Args)]
pub(crate) struct Of {
    /// Only those of this user
    #[arg(value_name = "NAME", value_parser = parse_name)]
    name: Option<UserName>,
}

#[derive(clap::Args)]
#[group(id = "which", required = true, multiple = false)]
pub(crate) struct End {
    /// The sessions, as `ykwebd session list` numbers them
    #[arg(value_name = "NUMBER", group = "which")]
    numbers: Vec<u64>,
    /// All of this user
    #[arg(long, value_name = "NAME", value_parser = parse_name, group = "which")]
    user: Option<UserName>,
    /// All that there are, of every user, as after a break-in
    #[arg(long, group = "which")]
    all: bool,
}

pub(crate) fn run(context: &Context, verb: Verb) -> Done {
    match verb {
        Verb::List(of) => list(context, of.name.as_ref()),
        Verb::End(end) => self::end(context, &end),
    }
}

fn means(session: &StoredSession) -> String {
    session.evidence.iter().map(|shown| shown.means.name()).collect::<Vec<_>>().join(" ")
}

fn list(context: &Context, of: Option<&UserName>) -> Done {
    let Opened { store, .. } = context.open()?;
    let sessions = store.sessions(of)?;
    if context.json {
        let rows = sessions.iter().map(|session| {
            json!({
                "number": session.number,
                "user": session.user.as_str(),
                "groups": session.groups,
                "begun": session.begun,
                "seen": session.seen,
                "address": session.address,
                "agent": session.agent,
                "means": session.evidence.iter().map(|shown| json!({ "means": shown.means.name(), "at": shown.at })).collect::<Vec<_>>(),
                "hosts": session.keys.iter().filter_map(|(_, host)| host.as_deref()).collect::<Vec<_>>(),
            })
        });
        out::json(&json!({ "sessions": rows.collect::<Vec<_>>() }));
        return Ok(());
    }
    if sessions.is_empty() {
        out::note("Nobody is signed in.");
        return Ok(());
    }
    let rows = sessions.iter().map(|session| {
        let hosts: Vec<_> = session.keys.iter().filter_map(|(_, host)| host.as_deref()).collect();
        vec![
            Field::Plain(session.number.to_string()),
            Field::Plain(session.user.to_string()),
            Field::Plain(means(session)),
            Field::Plain(time::utc(session.begun)),
            Field::Plain(time::utc(session.seen)),
            Field::Plain(session.address.clone().unwrap_or_default()),
            Field::Plain(hosts.join(" ")),
        ]
    });
    out::table(&["number", "user", "showed", "since, UTC", "last use, UTC", "from", "hosts"], rows.collect());
    Ok(())
}

fn end(context: &Context, end: &End) -> Done {
    let Opened { store, .. } = context.open()?;
    let ended = match &end.user {
        Some(user) => store.end_sessions_of(user)?,
        // Not those of a list: more may begin before they end.
        None if end.all => store.end_all_sessions()?,
        None => store.end_sessions(&end.numbers)?,
    };
    if context.json {
        out::json(&json!({ "ended": ended }));
    } else {
        out::line(&format!("{} ended", ykcli::out::count(ended, "session")));
    }
    if ended < end.numbers.len() {
        let missing = "some of these sessions had ended before";
        let found = Diagnostic::warning(Code::SessionNotHere, missing);
        context.note(&found.run_when("to see which there are", Program::Ykwebd, "session list"));
    }
    Ok(())
}
