//! `ykvald key export`

use super::Pages;
use crate::cli::{Context, Done, Failure, Opened, key_unreadable, not_here, out, parse_id, wait};
use ykval::store::Token;
use yubiotp::{PublicId, keyfile};
use zeroize::Zeroizing;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Public IDs [default: every key]
    #[arg(value_name = "ID", value_parser = parse_id)]
    ids: Vec<PublicId>,
    /// Write the secrets in the clear, for a server or a host with another store key
    #[arg(long)]
    in_the_clear: bool,
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    if context.json {
        return Err(Failure::never_json("a key file"));
    }
    wait(async {
        let opened = context.open().await?;
        let mut headed = false;
        if args.ids.is_empty() {
            let mut pages = Pages::of(&opened.store);
            loop {
                let page = pages.next().await?;
                // A store of no keys is a file of none, too.
                if page.is_empty() && headed {
                    break;
                }
                write(&opened, &page, args.in_the_clear, &mut headed)?;
                if page.is_empty() || out::failed().is_some() {
                    break;
                }
            }
        } else {
            let mut tokens = Vec::with_capacity(args.ids.len());
            for id in &args.ids {
                let token = opened.store.token(id).await?.filter(|token| token.key.is_some());
                tokens.push(token.ok_or_else(|| not_here(id, "the store has no key of it"))?);
            }
            write(&opened, &tokens, args.in_the_clear, &mut headed)?;
        }
        opened.store.close().await;
        Ok(())
    })
}

/// Writes some, the first of them below the line that says what the file is.
fn write(opened: &Opened, tokens: &[Token], in_the_clear: bool, headed: &mut bool) -> Done {
    let keys = tokens.iter().filter_map(|token| Some((token.id, &token.key.as_ref()?.1)));
    let text = if in_the_clear {
        let open = |(id, sealed)| match opened.key.open(sealed, &id) {
            Ok(credential) => Ok((id, credential)),
            Err(_) => Err(Failure::from(key_unreadable(&id))),
        };
        keyfile::write_plain(keys.map(open).collect::<Result<Vec<_>, _>>()?)
    } else {
        let under = opened.key.id();
        Zeroizing::new(keyfile::write_sealed(keys.map(|(id, sealed)| (id, under, sealed))))
    };
    let behind_header = text.find('\n').and_then(|end| text.get(end.saturating_add(1)..));
    out::raw(if *headed { behind_header.unwrap_or_default() } else { &text });
    *headed = true;
    Ok(())
}
