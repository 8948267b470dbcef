//! `ykvald import`

mod ykksm;
mod ykval;

use super::{Context, Done};

#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// Counters and clients, as `ykval-export` and `ykval-export-clients` wrote them
    ///
    /// Counters only grow, a token or client that is switched off in either place is so afterwards, and clients keep their
    /// ids and keys. May be done again at any time, before the keys or after them.
    Ykval(ykval::Args),
    /// Keys, as `ykksm-export` wrote them, or as they were before they went into YK-KSM
    Ykksm(ykksm::Args),
}

pub(crate) fn run(context: &Context, verb: Verb) -> Done {
    match verb {
        Verb::Ykval(args) => ykval::run(context, &args),
        Verb::Ykksm(args) => ykksm::run(context, &args),
    }
}
