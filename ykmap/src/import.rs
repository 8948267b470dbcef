//! `ykmap import`: users of another PAM module move here with their tokens and positions.

pub(crate) mod google_authenticator;
pub(crate) mod plan;
mod users_file;

use super::{Context, Done};

#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// Import the tokens and emergency codes of users of pam_google_authenticator, from ~/.google_authenticator
    ///
    /// All or nothing. Used codes stay used. Emergency codes become recovery codes, and are typed as before.
    #[command(aliases = ["pam_google_authenticator", "google_authenticator"])]
    GoogleAuthenticator(google_authenticator::Args),
    /// Import the tokens of users of pam_oath, from its users file
    ///
    /// All or nothing. Used codes stay used. PINs are not imported.
    #[command(alias = "pam_oath")]
    Oath(users_file::Args),
}

pub(crate) fn run(context: &Context, verb: &Verb) -> Done {
    match verb {
        Verb::GoogleAuthenticator(args) => google_authenticator::run(context, args),
        Verb::Oath(args) => users_file::run(context, args),
    }
}
