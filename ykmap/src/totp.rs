//! `ykmap totp`

use super::codes::{self, Stored};
use super::recovery::{print, print_json};
use super::{Context, Done, Failure, assign, event, out, service, unlock};
use clap::{ValueEnum, ValueHint};
use serde_json::json;
use std::io::IsTerminal as _;
use ykcli::qr;
use ykhost::random;
use ykhost::settings::{Settings, check_look_ahead, check_window};
use ykhost::store::{Enrolled, OathNotes, Store, TokenKey};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program, shell_word};
use yubiotp::key::OathKey;
use yubiotp::oath::window::Progress;
use yubiotp::oath::{Algorithm, Digits, Kind, Parameters, Period, Secret, uri};
use yubiotp::policy::Method;
use yubiotp::{Serial, TokenId};
use zeroize::Zeroizing;

#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// Set up an authenticator app for a user: show a new secret once, and keep it after one right code
    ///
    /// It shows the secret, its otpauth: URI and a QR code, and asks for a code that the app shows. The code is used up. If
    /// three codes are wrong, nothing is stored.
    Add(Args),
}

#[derive(clap::Args)]
// Not the name of the flattened one.
#[group(id = "totp")]
pub(crate) struct Args {
    /// The user
    #[arg(value_hint = ValueHint::Username)]
    user: String,
    /// The name that the app shows above the code [default: the name of this host]
    #[arg(long, value_name = "NAME")]
    issuer: Option<String>,
    /// The account that the app shows [default: the user]
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Digits of a code
    #[arg(long, default_value = "6", value_name = "NUMBER", value_parser = digits)]
    digits: Digits,
    /// Seconds that a code is shown, 1 to 3600 [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = period, conflicts_with = "hotp")]
    period: Option<Period>,
    /// Hash function. Many apps have only sha1
    #[arg(long, value_enum, value_name = "NAME", default_value_t = Hash::Sha1)]
    hash: Hash,
    /// Count codes instead of time (HOTP)
    #[arg(long)]
    hotp: bool,
    /// A window of the token's own: seconds in each direction, or with --hotp codes ahead [default: as in the settings]
    #[arg(long, value_name = "NUMBER")]
    window: Option<i64>,
    /// Serial number of the token [default: app- and eight random characters]
    #[arg(long, value_name = "SERIAL", value_parser = codes::serial)]
    serial: Option<Serial>,
    /// Ask for no code: the token is kept although nobody has shown that an app has its secret
    ///
    /// A script needs it, with --json, which prints the secret.
    #[arg(long)]
    unchecked: bool,
    #[command(flatten)]
    qr: qr::Args,
}

/// A value of `--hash`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Hash {
    Sha1,
    Sha256,
    Sha512,
}

pub(crate) fn digits(text: &str) -> Result<Digits, String> {
    text.parse().ok().and_then(Digits::new).ok_or_else(|| "a code has 6, 7 or 8 digits".to_owned())
}

pub(crate) fn period(text: &str) -> Result<Period, String> {
    text.parse().ok().and_then(Period::new).ok_or_else(|| "give 1 to 3600 seconds".to_owned())
}

pub(crate) fn run(context: &Context, verb: &Verb) -> Done {
    let Verb::Add(args) = verb;
    let settings = context.settings()?;
    needs_eyes(context, args)?;
    let user = args.user.as_str();
    let words = format!("totp add {}", shell_word(user.as_bytes()));
    assign::check(context, &settings, user, &words)?;
    let store = Store::new(&settings);
    let new = New::make(args)?;
    // Before anybody takes the secret in vain.
    new.is_free(&store)?;
    assign::note_unknown(context, user);
    service::warn_of_others(context, &settings, Some(user), &[]);
    codes::warn_if_not_local(context, &settings);
    let method = if args.hotp { Method::Hotp } else { Method::Totp };
    assign::warn_of_methods(context, &settings, user, [method]);
    if args.unchecked {
        let id = new.id();
        // What nobody has seen is not stored.
        match context.json {
            true => new.print(user)?,
            false => new.show(args)?,
        }
        new.store(context, &settings, &store, user, Progress::default())?;
        if !context.json {
            out::line(&format!("{} now has token {id}", codes::name(user)));
        }
        out::note(&format!("nobody has shown that an app has the secret: {} test {user}", context.ykmap()));
        return Ok(());
    }
    new.show(args)?;
    let token = new.as_stored(&settings)?;
    let question = format!("Code that the app of {} shows: ", codes::name(user));
    let progress = codes::prove(
        context,
        &question,
        &token,
        Progress::default(),
        "nothing was stored, so remove the entry from the app",
    )?;
    new.store(context, &settings, &store, user, progress)?;
    unlock::refill(&store, user)?;
    out::line(&format!("{} now has token {}", codes::name(user), new.id()));
    out::note(
        "The code is used up: log in with the next one. The secret is not shown again; clear the screen.",
    );
    Ok(())
}

/// Fails unless the secret is shown where it is wanted: on a terminal, where its owner answers, or to a script that asked
/// for it.
fn needs_eyes(context: &Context, args: &Args) -> Result<(), Failure> {
    let problem = match (context.json, args.unchecked) {
        (true, true) => return Ok(()),
        (true, false) => "a script cannot read the secret and answer with a code",
        (false, _) if !std::io::stdout().is_terminal() => {
            "the secret is shown on a terminal only, and standard output is none"
        }
        (false, false) if !std::io::stdin().is_terminal() => {
            "a code of the app is needed, and standard input is no terminal"
        }
        (false, _) => return Ok(()),
    };
    let found = Diagnostic::error(Code::NoTerminal, format!("{problem}: nothing was stored"));
    Err(found
        .advise("run the command at a terminal")
        .advise("in a script that passes the secret on to its owner, give --json and --unchecked")
        .into())
}

/// A token that is not stored yet.
struct New {
    serial: Serial,
    secret: Zeroizing<Vec<u8>>,
    parameters: Parameters,
    window: Option<u16>,
    issuer: String,
    account: String,
}

impl New {
    fn make(args: &Args) -> Result<Self, Failure> {
        let (algorithm, length) = match args.hash {
            Hash::Sha1 => (Algorithm::Sha1, 20),
            Hash::Sha256 => (Algorithm::Sha256, 32),
            Hash::Sha512 => (Algorithm::Sha512, 64),
        };
        let random = Zeroizing::new(random::bytes::<64>()?);
        let kind = match args.hotp {
            true => Kind::Hotp,
            false => Kind::Totp { period: args.period.unwrap_or(Period::USUAL) },
        };
        let window = args.window.map(|window| match args.hotp {
            true => check_look_ahead(window).map_err(|_| "--window: give 0 to 100 codes"),
            false => check_window(window).map_err(|_| "--window: give 1 to 600 seconds"),
        });
        let window = window.transpose().map_err(Failure::input)?;
        let name = |given: &Option<String>, usual: &dyn Fn() -> String| given.clone().unwrap_or_else(usual);
        Ok(Self {
            serial: args.serial.map_or_else(random_serial, Ok)?,
            secret: Zeroizing::new(random.iter().copied().take(length).collect()),
            parameters: Parameters { kind, algorithm, digits: args.digits },
            window,
            issuer: name(&args.issuer, &host_name),
            account: name(&args.account, &|| args.user.clone()),
        })
    }

    const fn id(&self) -> TokenId {
        TokenId::Oath(self.serial)
    }

    fn key(&self) -> Result<OathKey, Failure> {
        let secret = Secret::new(self.secret.clone()).map_err(|why| Failure::input(why.to_string()))?;
        Ok(OathKey { secret, parameters: self.parameters })
    }

    fn token_key(&self) -> Result<TokenKey, Failure> {
        let notes = OathNotes { window: self.window, series: None };
        Ok(TokenKey::Oath(self.serial, self.key()?, notes))
    }

    fn as_stored(&self, settings: &Settings) -> Result<Stored, Failure> {
        let window = settings.codes.usual.window(self.parameters.kind, self.window);
        Ok(Stored { serial: self.serial, key: self.key()?, window })
    }

    /// Fails if the serial number is taken, or the store cannot be used.
    fn is_free(&self, store: &Store) -> Result<(), Failure> {
        let id = self.id();
        if store.keys()?.has(&id.to_string())? {
            let found = Diagnostic::error(Code::KeyExists, "a token has this serial number already")
                .at(Location::Token(id.to_string()))
                .run_when("to forget that token", Program::Ykmap, format!("token remove {id}"));
            return Err(found.into());
        }
        store.change()?.would_enrol(&self.token_key()?)?;
        Ok(())
    }

    /// Keeps the token, and gives it to the user: first the token, for which nothing is harmed if this is cut off before the
    /// mapping lists it.
    fn store(
        &self,
        context: &Context,
        settings: &Settings,
        store: &Store,
        user: &str,
        progress: Progress,
    ) -> Done {
        let (id, key) = (self.id(), self.token_key()?);
        {
            let change = store.change()?;
            // Somebody else may have taken the serial number meanwhile.
            if change.would_enrol(&key)? != Enrolled::Added {
                return Err(Diagnostic::error(Code::KeyExists, "a token has this serial number already")
                    .at(Location::Token(id.to_string()))
                    .into());
            }
            let known = |_: &TokenKey| progress.next.map(|next| (next, progress.drift));
            change.enrol_known(&[key], known, &|| {})?;
        }
        let assigned = assign::assign(settings, user, &[id], || Ok(()));
        assigned
            .map(|_| {
                event::log(context, "totp-add", user, &[("tokens", id.to_string())]);
                let what = format!("An authenticator app ({}) was added to your tokens", self.serial);
                event::notify(context, store, user, &what);
            })
            .map_err(|failure| match failure {
                Failure::Fault(found) => found
                    .run_when(
                        "the token is stored, and nobody's. To give it to its owner",
                        Program::Ykmap,
                        format!("token assign {id} {}", shell_word(user.as_bytes())),
                    )
                    .into(),
                other => other,
            })
    }

    /// What apps read.
    fn uri(&self) -> Result<Zeroizing<String>, Failure> {
        Ok(uri::write(&self.key()?.secret, self.parameters, &self.issuer, &self.account, 0))
    }

    /// Shows the secret to its owner.
    fn show(&self, args: &Args) -> Done {
        let key = self.key()?;
        let uri = uri::write(&key.secret, self.parameters, &self.issuer, &self.account, 0);
        let (id, words) = (self.id(), codes::words(self.parameters));
        let secret = groups(&key.secret);
        print(&Zeroizing::new(format!("token   {id} ({words})\nsecret  {}\nURI     {}\n", *secret, *uri)))?;
        out::line("Scan the QR code with the app, or type the secret into it. They are shown once.");
        args.qr.print(&uri);
        Ok(())
    }

    /// The same for a script.
    fn print(&self, user: &str) -> Done {
        let (key, uri) = (self.key()?, self.uri()?);
        let Parameters { kind, algorithm, digits } = self.parameters;
        print_json(&json!({
            "user": user,
            "token": self.id().to_string(),
            "secret": *uri::base32(&key.secret),
            "uri": *uri,
            "kind": codes::kind_name(kind),
            "algorithm": algorithm.name(),
            "digits": digits.get(),
            "period": codes::seconds(kind),
        }))
    }
}

/// The secret as people type it: base32 in groups of four.
pub(crate) fn groups(secret: &Secret) -> Zeroizing<String> {
    let plain = uri::base32(secret);
    let mut text = Zeroizing::new(String::with_capacity(plain.len().saturating_mul(2)));
    for (at, letter) in plain.chars().enumerate() {
        if at > 0 && at % 4 == 0 {
            text.push(' ');
        }
        text.push(letter);
    }
    text
}

/// `app-` and eight random characters.
fn random_serial() -> Result<Serial, Failure> {
    /// Crockford's: no i, l, o or u.
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let random: [u8; 8] = random::bytes()?;
    let letters = random.iter().filter_map(|byte| ALPHABET.get(usize::from(byte & 31)));
    let text: String = "app-".chars().chain(letters.map(|letter| char::from(*letter))).collect();
    Serial::new(&text).ok_or_else(|| Failure::input("no serial number"))
}

/// A new app: its serial number and secret, for [`Parameters::APP`].
pub(crate) fn draw_app() -> Result<(Serial, OathKey), Failure> {
    let random = Zeroizing::new(random::bytes::<20>()?.to_vec());
    let secret = Secret::new(random).map_err(|why| Failure::input(why.to_string()))?;
    Ok((random_serial()?, OathKey { secret, parameters: Parameters::APP }))
}

/// The name of this host, as apps show it.
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_is_random_and_a_secret_is_shown_in_groups() {
        let [a, b] = [random_serial().unwrap(), random_serial().unwrap()];
        assert!(a != b && a.as_str().len() == 12 && a.as_str().starts_with("app-"), "{a}");
        let secret = Secret::new(Zeroizing::new(b"12345678901".to_vec())).unwrap();
        assert_eq!(*groups(&secret), "GEZD GNBV GY3T QOJQ GE");
    }
}
