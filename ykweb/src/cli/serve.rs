//! `ykwebd serve`

mod trial;

use super::{Context, Done, Opened, out, place, runtime};
use clap::ValueHint;
use std::net::SocketAddr;
use ykweb::serve::{self, Started};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// An address to listen on, instead of those of the configuration; may be repeated
    #[arg(long, value_name = "IP:PORT", value_hint = ValueHint::Other)]
    listen: Vec<SocketAddr>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    let runtime = runtime()?;
    let mut listen = args.listen.clone();
    let trial = match context.config.is_none() && place::settings()?.is_none() {
        true => Some(trial::make(context, trial::address(&mut listen)?)?),
        false => None,
    };
    let config = context.settings(&listen)?;
    let url = config.public_url.to_string();
    let Opened { config, store, keys } = context.open_with(config)?;
    let ykwebd = context.ykwebd();
    let told = move |started: &Started| {
        let scheme = if started.tls { "https" } else { "http" };
        for address in &started.addresses {
            out::note(&format!("ykwebd answers at {scheme}://{address}/, which browsers reach as {url}/"));
        }
        for (who, address) in
            [("nginx, Caddy and Traefik", started.http), ("Apache (FastCGI)", started.fastcgi)]
        {
            if let Some(address) = address {
                out::note(&format!("{who} ask at {address}"));
            }
        }
        if let Some(trial) = trial {
            trial.tell(&ykwebd);
        }
    };
    runtime.block_on(serve::run(config, store, keys, told)).map_err(|fault| fault.diagnostic().clone().into())
}
