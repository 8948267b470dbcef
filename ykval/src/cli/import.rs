//! `ykvald import`

mod ykksm;
mod ykval;

use super::{Context, Done};

#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// Import counters and clients, as written by `ykval-export` and `ykval-export-clients`
    ///
    /// Counters only grow, a token or client that is disabled in either place is disabled afterwards, and clients keep their
    /// IDs and keys. You can repeat this at any time, before or after importing the keys.
    Ykval(ykval::Args),
    /// Import keys, as written by `ykksm-export`, or from the file that they were imported into YK-KSM from
    Ykksm(ykksm::Args),
}

pub(crate) fn run(context: &Context, verb: Verb) -> Done {
    match verb {
        Verb::Ykval(args) => ykval::run(context, &args),
        Verb::Ykksm(args) => ykksm::run(context, &args),
    }
}
