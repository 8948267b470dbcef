//! `ykvald import`

mod ykksm;
mod ykval;

use super::{Context, Done};

#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// Import the counters and clients that `ykval-export` and `ykval-export-clients` wrote
    ///
    /// Counters are only raised. A token or client that is disabled in either place is disabled afterwards. Clients keep their
    /// IDs and keys. You can import again at any time, before the keys or after them.
    Ykval(ykval::Args),
    /// Import the keys that `ykksm-export` wrote, or the key file that was imported into YK-KSM
    Ykksm(ykksm::Args),
}

pub(crate) fn run(context: &Context, verb: Verb) -> Done {
    match verb {
        Verb::Ykval(args) => ykval::run(context, &args),
        Verb::Ykksm(args) => ykksm::run(context, &args),
    }
}
