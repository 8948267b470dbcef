//! `ykvald serve`

use super::init::Plan;
use super::{Context, Done, Failure, cannot_start, out, place};
use clap::ValueHint;
use std::net::SocketAddr;
use ykserve::installation::{Layout, store_key_path};
use ykval::keys::KeyRing;
use ykval::serve::{self, Started};
use ykval::store::Serving;
use yubiotp::diagnostic::{Code, Diagnostic};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// An address to listen on, instead of those of the configuration; may be repeated
    #[arg(long, value_name = "IP:PORT", value_hint = ValueHint::Other)]
    listen: Vec<SocketAddr>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|why| cannot_start(&why))?;
    runtime.block_on(async {
        if context.config.is_none() && place::settings()?.is_none() {
            make().await?;
        }
        let config = context.settings(&args.listen)?;
        let key = place::store_key(&config)?;
        let Serving { store, unopened, unremembered } = place::store_to_serve(&config, &key).await?;
        if let Some(found) = unremembered {
            out::note(&format!("ykvald: {}", context.line(&found)));
        }
        if let Some(fault) = unopened {
            let line = context.line(&fault.diagnostic());
            out::note(&format!("ykvald: every request gets BACKEND_ERROR until the store can be used: {line}"));
        }
        let nobody = store.count().await.is_ok_and(|count| count.clients == 0);
        let ykvald = context.ykvald();
        let told = move |started: &Started| {
            let scheme = if started.tls { "https" } else { "http" };
            for address in &started.addresses {
                out::note(&format!("ykvald answers at {scheme}://{address}/wsapi/2.0/verify"));
            }
            if let Some(address) = started.addresses.first().filter(|_| nobody) {
                out::notes(&format!(
                    "\nNext:\n  {ykvald} client add --name NAME\n  {ykvald} key import FILE\n  \
                     curl '{scheme}://{address}/wsapi/2.0/verify?id=1&nonce=0123456789abcdef&otp=OTP'    # OTP: touch the \
                     YubiKey; status=OK\n"
                ));
            }
        };
        let path = store_key_path(&config.store_key);
        let read = move || place::read_key(&path).map_err(why_not_read);
        serve::run(config, store, KeyRing::new(key, Box::new(read)), told).await.map_err(|fault| fault.diagnostic().clone().into())
    })
}

/// The finding about a store key that cannot be read again.
fn why_not_read(failure: Failure) -> Diagnostic {
    let unread = || Diagnostic::error(Code::StoreKeyDamaged, "cannot be read");
    failure.diagnostic().unwrap_or_else(unread)
}

/// Creates configuration, store key and store in the data folder.
async fn make() -> Done {
    let folder = place::INSTALLED.data_folder().ok_or_else(place::no_settings)?;
    let config = folder.join("config.toml");
    let layout = Layout::OneFolder;
    let plan = Plan { config, layout, store: None, password_file: None, first: None, start_anew: false };
    plan.make().await?;
    out::note(&format!(
        "Created a default configuration in {}, with a store and its key. Keep a copy of store.key elsewhere.",
        folder.display()
    ));
    Ok(())
}
