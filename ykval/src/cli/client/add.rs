//! `ykvald client add`

use super::{NewKey, lines, parse_client, plain, store};
use crate::cli::{Context, Done, Failure, Opened, wait};
use clap::ValueHint;
use std::sync::Arc;
use ykval::store::Client;
use yubiotp::diagnostic::{Code, Diagnostic, Program};
use yubiotp::protocol::ClientId;
use yubiotp::shown;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A name for people: the host, the service
    #[arg(long, value_parser = parse_name, value_hint = ValueHint::Other)]
    name: String,
    /// The client's ID [default: the highest one, plus 1]
    #[arg(long, value_name = "N", value_parser = parse_client, value_hint = ValueHint::Other)]
    id: Option<ClientId>,
    /// How many OTPs a second it may have accepted, 0 for any number [default: limits.client_rate]
    #[arg(long, value_name = "N", value_hint = ValueHint::Other)]
    rate: Option<u32>,
    /// Whether its requests must be signed, or come with its certificate [default: require_signature]
    #[arg(long, value_name = "YES|NO", value_enum)]
    require_signature: Option<YesNo>,
    /// A DNS name in its certificate, which proves a request as a signature does (tls.client_ca)
    #[arg(long, value_name = "DNS", value_parser = parse_dns, value_hint = ValueHint::Hostname)]
    certificate_name: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum YesNo {
    Yes,
    No,
}

/// Parses a name: 1 to 100 printable characters.
pub(crate) fn parse_name(text: &str) -> Result<String, String> {
    let name = text.trim();
    if name.is_empty() || name.chars().count() > 100 || !name.chars().all(shown::is_printable) {
        return Err("a name has 1 to 100 characters, all of them printable".to_owned());
    }
    Ok(name.to_owned())
}

fn parse_dns(text: &str) -> Result<String, String> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if text.len() <= 253 && text.split('.').all(label) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("not a DNS name".to_owned())
    }
}

pub(crate) fn run(context: &Context, args: Args) -> Done {
    wait(async {
        let Opened { config, store: at, key } = context.open().await?;
        let new = NewKey::random(&key)?;
        let key = Arc::clone(&new.key);
        let described = Client {
            require_signature: args.require_signature.map(|answer| answer == YesNo::Yes),
            rate: args.rate,
            certificate_name: args.certificate_name,
            ..plain(args.name)?
        };
        let added = store(&at, args.id, new, described).await?;
        at.close().await;
        let taken = || {
            let id = args.id.map(|id| id.to_string()).unwrap_or_default();
            let exists = Diagnostic::error(Code::ClientExists, format!("client {id} exists already"));
            Failure::from(exists.run_when(
                "to give it a new key",
                Program::Ykvald,
                format!("client rotate {id}"),
            ))
        };
        let client = added.ok_or_else(taken)?;
        lines::tell(context, &config, client.id, &client.name, &key);
        Ok(())
    })
}
