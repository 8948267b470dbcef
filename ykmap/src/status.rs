//! `ykmap status`: the health of this host in one command, or all about single users. It only looks: nothing is written,
//! locked or used up, and no validation server is asked unless somebody wants that.

mod backup;
mod host;
mod need;
mod recent;
mod show;
mod tokens;
mod user;
mod users;

pub(crate) use host::Host;
pub(crate) use recent::Query;
pub(crate) use tokens::near_end;

use super::doctor::{Scope, Sources};
use super::log::Logs;
use super::{Context, Done, Failure};
use clap::ValueHint;
use clap::builder::NonEmptyStringValueParser;
use std::path::PathBuf;
use std::time::Duration;

/// How long it may take to look for ssh keys in all homes, and in one: a home may be on a server that does not answer.
const PATIENCE: [Duration; 2] = [Duration::from_secs(2), Duration::from_millis(500)];

/// In seconds: decisions of this time are counted.
const DAY: u64 = 86_400;

/// In seconds: the last login with a token is looked for in this time.
const WEEK: u64 = 7 * DAY;

#[derive(clap::Args)]
#[command(
    after_help = "Run it in a root shell: it cannot read everything otherwise.\n\nExit status: 0 nothing wrong, 1 \
                  something needs attention, 2 it could not look."
)]
pub(crate) struct Args {
    /// Show all about these users: their tokens, what the policy asks of them, their last logins
    #[arg(value_name = "USER", value_parser = NonEmptyStringValueParser::new(), value_hint = ValueHint::Username)]
    users: Vec<String>,
    /// List every user, every token and every finding
    #[arg(long, conflicts_with = "users")]
    all: bool,
    /// Ask each validation server once whether it can decide
    #[arg(long)]
    servers: bool,
    #[command(flatten)]
    places: Places,
}

/// Where to look.
#[derive(clap::Args)]
pub(crate) struct Places {
    /// Folder of service files, in place of /etc/pam.d and those of the distribution; may be given several times
    #[arg(long = "pam-dir", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pam_dirs: Vec<PathBuf>,
    /// Configuration file of sshd [default: /etc/ssh/sshd_config]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    sshd_config: Option<PathBuf>,
    /// Folder of passwd and shadow, which say which accounts can log in [default: /etc]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    accounts: Option<PathBuf>,
    #[command(flatten)]
    logs: Logs,
}

impl Places {
    pub(crate) fn sources(&self) -> Result<Sources, Failure> {
        Sources::new(&self.pam_dirs, self.sshd_config.as_deref(), self.accounts.as_deref())
    }
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    let sources = args.places.sources()?;
    let by_name = !args.users.is_empty();
    let scope =
        Scope { users: &args.users, patience: (!by_name).then_some(PATIENCE), asks_servers: args.servers };
    let query = Query { logs: args.places.logs.clone(), counted: DAY, read: WEEK, users: args.users.clone() };
    let host = Host::look(context, &sources, &scope, &query)?;
    if by_name {
        return user::run(context, &host, &args.users, &sources.pam_dirs);
    }
    if context.json {
        ykcli::out::json(&host.json());
    } else {
        host.print(args.all);
    }
    host.done()
}

/// The state of the host for another verb, which counts the decisions of so many seconds. No validation server is asked.
pub(crate) fn of_host(context: &Context, places: &Places, counted: u64) -> Result<Host, Failure> {
    let scope = Scope { users: &[], patience: Some(PATIENCE), asks_servers: false };
    let query = Query { logs: places.logs.clone(), counted, read: counted, users: Vec::new() };
    Host::look(context, &places.sources()?, &scope, &query)
}
