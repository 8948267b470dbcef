//! `ykwebd user add-app`

use super::tokens::{label, tell_added};
use super::{Context, Done, Failure, Opened, UserName, ask, none, out, parse_name};
use serde_json::json;
use ykcli::qr;
use ykweb::store::{Added, NewApp, Store};
use ykweb::{clock, random};
use yubiotp::Serial;
use yubiotp::diagnostic::{Code, Diagnostic};
use yubiotp::key::OathKey;
use yubiotp::oath::typed::Typed;
use yubiotp::oath::window::{self, Found, Progress, Reach, Usual};
use yubiotp::oath::{Parameters, Secret, uri};
use yubiotp::seal::StoreKeys;
use zeroize::Zeroizing;

/// How many wrong codes end it.
const TRIES: usize = 3;

#[derive(clap::Args)]
// Not the name of the flattened one.
#[group(id = "app")]
pub(crate) struct Args {
    /// The user
    #[arg(value_name = "NAME", value_parser = parse_name)]
    name: UserName,
    /// What the user calls it: `phone`
    #[arg(long, default_value = "", hide_default_value = true, value_parser = label)]
    label: String,
    /// The name that the app shows above the code [default: the host of public_url]
    #[arg(long, value_name = "NAME")]
    issuer: Option<String>,
    /// Ask for no code: the app is kept although nobody has shown that it has the secret
    ///
    /// A script needs it, with --json, which prints the secret.
    #[arg(long)]
    no_confirm: bool,
    #[command(flatten)]
    qr: qr::Args,
}

pub(super) fn add(context: &Context, args: &Args) -> Done {
    let Opened { config, store, keys } = context.open()?;
    let name = &args.name;
    store.account(name)?.ok_or_else(|| none(name))?;
    ask::needs_eyes(context.json, args.no_confirm)?;
    let (serial, key) = draw()?;
    let issuer = args.issuer.as_deref().unwrap_or(config.public_url.host());
    let uri = uri::write(&key.secret, key.parameters, issuer, name.as_str(), 0);
    show(context, args, serial, &key, &uri)?;
    let progress = if args.no_confirm { Progress::default() } else { confirmed(&key)? };
    let app = NewApp::seal(serial, &key, progress, keys.current(), random::bytes()?);
    let added = store.add_oath(name, &app, &args.label, clock::now())?;
    let id = app.id();
    // A script has its answer already.
    tell_added(context, name, &id, added, !context.json)?;
    if !context.json {
        out::note("The secret is not shown again; clear the screen.");
    }
    Ok(())
}

/// Gives a user a new app, without asking for a code. Its secret as people type it, and the URI of its QR code.
pub(crate) fn give(
    store: &Store,
    keys: &StoreKeys,
    user: &UserName,
    issuer: &str,
) -> Result<(Zeroizing<String>, Zeroizing<String>), Failure> {
    let (serial, key) = draw()?;
    let uri = uri::write(&key.secret, key.parameters, issuer, user.as_str(), 0);
    let app = NewApp::seal(serial, &key, Progress::default(), keys.current(), random::bytes()?);
    match store.add_oath(user, &app, "", clock::now())? {
        Added::Added => Ok((groups(&uri::base32(&key.secret)), uri)),
        Added::NoUser | Added::Taken(_) => Err(none(user)),
    }
}

/// A new app: its serial number and secret.
fn draw() -> Result<(Serial, OathKey), Failure> {
    /// Crockford's: no i, l, o or u.
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let letters: [u8; 8] = random::bytes()?;
    let letters = letters.iter().filter_map(|byte| ALPHABET.get(usize::from(byte & 31)));
    let serial: String = "app-".chars().chain(letters.map(|letter| char::from(*letter))).collect();
    let secret = Zeroizing::new(random::bytes::<20>()?.to_vec());
    let impossible = || Failure::from(Diagnostic::error(Code::InternalError, "no app can be made"));
    let secret = Secret::new(secret).map_err(|_| impossible())?;
    let serial = Serial::new(&serial).ok_or_else(impossible)?;
    Ok((serial, OathKey { secret, parameters: Parameters::APP }))
}

/// Shows the secret, once.
fn show(context: &Context, args: &Args, serial: Serial, key: &OathKey, uri: &str) -> Done {
    let secret = uri::base32(&key.secret);
    if context.json {
        return ask::show_json(&json!({
            "user": args.name.as_str(),
            "token": format!("oath-{serial}"),
            "secret": *secret,
            "uri": uri,
        }));
    }
    let secret = groups(&secret);
    ask::show(&Zeroizing::new(format!("token   oath-{serial}\nsecret  {}\nURI     {uri}\n", *secret)))?;
    out::line("Scan the QR code with the app, or type the secret into it. They are shown once.");
    args.qr.print(uri);
    Ok(())
}

/// The secret as people type it: in groups of four.
fn groups(secret: &str) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(secret.len().saturating_mul(2)));
    for (at, letter) in secret.chars().enumerate() {
        if at > 0 && at % 4 == 0 {
            text.push(' ');
        }
        text.push(letter);
    }
    text
}

/// Asks for a code of the app until one is right. Returns how far the app is once that is used up.
fn confirmed(key: &OathKey) -> Result<Progress, Failure> {
    for _ in 0..TRIES {
        let answer = ask::line("Code that the app shows: ")?;
        if answer.is_empty() {
            // The end of the input.
            out::note("");
            break;
        }
        match decide(key, answer.as_bytes(), clock::now().unsigned_abs()) {
            Found::Fresh(progress) => return Ok(progress),
            _ => out::note(
                "Wrong: type the 6 digits that it shows now. If they are wrong again, the clock of the phone or of this host is \
                 off: type two successive codes with a blank between them.",
            ),
        }
    }
    let found = Diagnostic::error(Code::CodeWrong, "no right code: nothing was stored");
    Err(found.advise("remove the entry from the app, and compare both clocks").into())
}

/// Decides about an answer that is one code, or two successive ones.
fn decide(key: &OathKey, answer: &[u8], unix: u64) -> Found {
    let (secret, parameters) = (&key.secret, key.parameters);
    let Some(typed) = Typed::read(answer) else { return Found::Wrong };
    if let Some((b"", code)) = typed.one(parameters.digits) {
        let window = Usual::DEFAULT.window(parameters.kind, None);
        return window::decide(secret, parameters, window, Progress::default(), unix, &code);
    }
    match typed.two(parameters.digits) {
        Some((b"", first, second)) => {
            let both = (&first, &second);
            window::two(secret, parameters, Reach::Resync, Progress::default(), unix, both)
        }
        _ => Found::Wrong,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_790_000_010;

    /// What the app shows so many periods later.
    fn shown(key: &OathKey, later: u64) -> String {
        let code = yubiotp::oath::code(&key.secret, key.parameters, NOW / 30 + later);
        let is_it = |text: &String| {
            yubiotp::oath::Code::read(text.as_bytes()).is_some_and(|read| read.matches(&code))
        };
        (0..1_000_000).map(|number| format!("{number:06}")).find(is_it).unwrap()
    }

    #[test]
    fn a_code_that_confirms_is_used_up() {
        let (_, key) = draw().unwrap();
        let next = |found| match found {
            Found::Fresh(progress) => progress.next.map(yubiotp::Position::to_stored),
            _ => None,
        };
        let of = |answer: &str| next(decide(&key, answer.as_bytes(), NOW));
        assert_eq!(of(&shown(&key, 0)), Some(NOW / 30 + 1));
        // Of a phone whose clock is half an hour ahead.
        assert_eq!(of(&shown(&key, 60)), None);
        assert_eq!(of(&format!("{} {}", shown(&key, 60), shown(&key, 61))), Some(NOW / 30 + 62));
        for answer in ["", "12345", "hunter2", &format!("x{}", shown(&key, 0))] {
            assert_eq!(of(answer), None, "{answer}");
        }
    }

    #[test]
    fn no_two_apps_are_the_same() {
        let ((one, first), (other, second)) = (draw().unwrap(), draw().unwrap());
        assert!(one != other && first.secret.expose() != second.secret.expose());
        assert_eq!(*groups("ABCDEFGHIJ"), "ABCD EFGH IJ");
    }
}
