//! `ykvald token`

use super::{Context, Done, Opened, evidence, not_here, out, parse_id, restore, wait};
use serde_json::json;
use ykval::clock;
use ykval::store::ImportedPosition;
use yubiotp::PublicId;
use yubiotp::diagnostic::{Code, Diagnostic};

#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// Mark all tokens as restored, after a backup or snapshot was restored by other means. Each then has to prove by two
    /// touches that it is fresh
    MarkRestored(Mark),
    /// Accept restored tokens without two touches. Used OTPs may be accepted once more
    AcceptRisk(Accept),
}

#[derive(clap::Args)]
pub(crate) struct Mark {
    /// The time of the backup, such as 2026-11-22T00:30:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    since: i64,
    #[command(flatten)]
    evidence: evidence::Sources,
}

#[derive(clap::Args)]
pub(crate) struct Accept {
    /// Public IDs
    #[arg(value_name = "ID", value_parser = parse_id, conflicts_with = "all")]
    ids: Vec<PublicId>,
    /// All restored tokens, and those that are imported later
    #[arg(long)]
    all: bool,
}

pub(crate) fn parse_time(text: &str) -> Result<i64, String> {
    let time = clock::read(text).filter(|time| *time <= clock::now());
    time.ok_or_else(|| "not a time in the past, such as 2026-11-22T00:30:00Z".to_owned())
}

pub(crate) fn run(context: &Context, verb: &Verb) -> Done {
    match verb {
        Verb::MarkRestored(args) => mark(context, args),
        Verb::AcceptRisk(args) => accept(context, args),
    }
}

fn mark(context: &Context, args: &Mark) -> Done {
    let gathered = args.evidence.read()?;
    let stays = !gathered.evidence.is_complete && !args.evidence.accept_risk;
    let (raised, restored) = wait(async {
        // It may be another database than before: to mark it is one way to accept it.
        let Opened { config, store, .. } = context.open_even_another().await?;
        // Cut off after this, they are restored and not raised: the same command goes on.
        if stays {
            store.mark_restored(args.since).await?;
            store.accept_as_seen(&config.store)?;
        }
        // Of any time: what is known of the backup's is what somebody typed.
        let known = gathered.evidence.positions(None).map(|(id, position)| ImportedPosition {
            id,
            position: Some(position),
            nonce: String::new(),
            enabled: true,
            modified: None,
        });
        let raised = store.raise(known.collect()).await?;
        let restored = store.restored_count().await?;
        store.close().await;
        Ok((raised.added.saturating_add(raised.raised), restored))
    })?;
    if context.json {
        out::json(&json!({ "raised": raised, "restored": restored }));
        return Ok(());
    }
    out::line(&format!("{} raised", out::count(raised, "position")));
    restore::tell_restored(context, restored);
    Ok(())
}

fn accept(context: &Context, args: &Accept) -> Done {
    if args.ids.is_empty() && !args.all {
        let neither = Diagnostic::error(Code::CommandLineInvalid, "names no token");
        return Err(neither
            .advise("name the IDs, or --all; their used OTPs may be accepted once more")
            .into());
    }
    let accepted = wait(async {
        let Opened { store, .. } = context.open().await?;
        let mut accepted = 0_u64;
        for id in &args.ids {
            let token = store.token(id).await?;
            let token = token.ok_or_else(|| not_here(id, "the store does not know it"))?;
            if token.restored.is_some() {
                store.prove(id).await?;
                accepted = accepted.saturating_add(1);
            }
        }
        if args.all {
            accepted = store.accept_risk().await?;
        }
        store.close().await;
        Ok(accepted)
    })?;
    if context.json {
        out::json(&json!({ "accepted": accepted }));
    } else {
        out::line(&format!("{} no longer restored", out::count(accepted, "token")));
    }
    Ok(())
}
