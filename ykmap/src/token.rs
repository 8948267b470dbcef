//! `ykmap token`

mod assignment;
mod import;
mod list;
mod remove;
mod resync;

use super::{Context, Done, Failure, codes, key};
use clap::ValueHint;
use yubiotp::{Serial, Series, TokenId};

pub(crate) use import::is_the_same;
pub(crate) use list::series;
pub(crate) use remove::{needs_series, of_series};

#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// Assign a token in the store to a user
    Assign(Assign),
    /// Import hardware tokens from the file that came with them
    ///
    /// It reads serial and secret in text or CSV, PSKC (RFC 6030), and either of them inside a zip with a password. All or
    /// nothing: a mistake in one line imports no token. Passwords are asked for, or come from a file or descriptor.
    Import(import::Args),
    /// Unassign a token, from one user or from everyone who has it
    Unassign(Unassign),
    /// Assign a token that is nobody's to the user who has it: asks for its serial number and for one code
    ///
    /// The code is used up. If three codes are wrong, nothing changes.
    Claim(Claim),
    /// Reject what a token shows or types until it is enabled again
    Disable(Tokens),
    /// Accept what a token shows or types again
    Enable(Tokens),
    /// Remove tokens from the store and from their users. Positions are kept, so that what was used stays used if a token
    /// comes back
    Remove(Remove),
    /// Set the position of a token on this host, by two successive codes or two touches
    ///
    /// OATH token: use it if its clock or counter is too far off for a login, or if its position was lost. It asks for two
    /// successive codes and uses both up. What was accepted before stays used. After the loss of a position, two codes of a
    /// token that counts (HOTP) do not prove that they are new: have the token in your hand. It then needs a terminal.
    ///
    /// YubiKey: use it if its OTPs are rejected as used although they are new: a validation server named a false position,
    /// the YubiKey was programmed anew, or the position was lost. It asks for the second touch after a pause of 5 to 15
    /// seconds. Both touches together prove that the YubiKey is here now, so no used OTP becomes valid again. If the
    /// token's key is not on this host, validation servers are asked about both.
    Resync(One),
    /// List the tokens in the store: YubiKeys, authenticator apps and hardware tokens
    List(list::Args),
}

#[derive(clap::Args)]
pub(crate) struct One {
    /// Serial number, or public ID of a YubiKey
    #[arg(value_name = "SERIAL")]
    token: String,
}

#[derive(clap::Args)]
pub(crate) struct Tokens {
    /// Serial numbers, or public IDs of YubiKeys
    #[arg(value_name = "SERIAL", required = true)]
    tokens: Vec<String>,
}

#[derive(clap::Args)]
pub(crate) struct Assign {
    /// Serial number, or public ID of a YubiKey
    #[arg(value_name = "SERIAL")]
    token: String,
    /// The user
    #[arg(value_hint = ValueHint::Username)]
    user: String,
}

#[derive(clap::Args)]
pub(crate) struct Unassign {
    /// Serial number, or public ID of a YubiKey
    #[arg(value_name = "SERIAL")]
    token: String,
    /// The user [default: everyone who has the token]
    #[arg(value_hint = ValueHint::Username)]
    user: Option<String>,
}

#[derive(clap::Args)]
pub(crate) struct Claim {
    /// The user
    #[arg(value_hint = ValueHint::Username)]
    user: String,
    /// Serial number [default: ask]
    #[arg(value_parser = codes::serial)]
    serial: Option<Serial>,
}

#[derive(clap::Args)]
pub(crate) struct Remove {
    /// Every token of this series
    #[arg(long, value_name = "NAME", value_parser = parse_series, conflicts_with = "tokens")]
    series: Option<Series>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Serial numbers, or public IDs of YubiKeys
    ///
    /// Or sets of recovery codes (rec-SET): their codes become invalid.
    #[arg(value_name = "SERIAL", required_unless_present = "series")]
    tokens: Vec<String>,
}

/// The name of a series on the command line.
pub(crate) fn parse_series(text: &str) -> Result<Series, String> {
    Series::new(text).ok_or_else(|| {
        "the name of a series has 1 to 32 letters, digits, - and _, and begins with a letter or digit"
            .to_owned()
    })
}

pub(crate) fn run(context: &Context, verb: Verb) -> Done {
    let read = |tokens: &[String]| {
        tokens.iter().map(|token| codes::token(context, token)).collect::<Result<Vec<_>, Failure>>()
    };
    match verb {
        Verb::Assign(args) => assignment::assign(context, &codes::token(context, &args.token)?, &args.user),
        Verb::Unassign(args) => {
            assignment::unassign(context, &codes::token(context, &args.token)?, args.user.as_deref())
        }
        Verb::Claim(args) => assignment::claim(context, &args.user, args.serial),
        Verb::Disable(args) => key::disable(context, &read(&args.tokens)?),
        Verb::Enable(args) => key::enable(context, &read(&args.tokens)?),
        Verb::Remove(Remove { series: Some(series), yes, .. }) => of_series(context, &series, yes),
        Verb::Remove(args) => {
            let read = |token: &String| match TokenId::parse(token.as_bytes()) {
                Ok(set @ TokenId::RecoverySet(_)) => Ok(set),
                _ => codes::token(context, token),
            };
            let ids = args.tokens.iter().map(read).collect::<Result<Vec<_>, Failure>>()?;
            remove::remove(context, &ids, args.yes)
        }
        Verb::Resync(args) => match codes::token(context, &args.token)? {
            TokenId::YubiKey(id) => resync::yubikey(context, &id),
            TokenId::Oath(serial) => resync::oath(context, serial),
            // `codes::token` refuses these.
            TokenId::RecoverySet(_) | TokenId::RecoveryCode(..) => Err(Failure::input("no token")),
        },
        Verb::Import(args) => import::run(context, &args),
        Verb::List(args) => list::run(context, &args),
    }
}
