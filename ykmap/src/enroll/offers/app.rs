//! An authenticator app: its secret, and a code that proves that the app has it.

use super::{Offers, Proved, Stop, Wrong};
use crate::codes::{self, Stored};
use crate::enroll::talk::{Talk, trimmed};
use crate::{event, totp};
use std::fmt::Write as _;
use ykcli::failure::Failure;
use ykcli::qr::{self, Background, Characters, Form, Paint};
use ykcli::time;
use ykhost::clock;
use ykhost::store::{Earlier, OFFER_IS_GOOD, OathNotes, PendingOffer, TokenKey};
use yubiotp::diagnostic::{Code, Diagnostic, Location};
use yubiotp::oath::window::{Found, Progress};
use yubiotp::oath::{Parameters, uri};
use yubiotp::{TokenId, shown};
use zeroize::Zeroizing;

const CODE: &str = "For a QR code, type q; for one in plain ASCII, type a.\n\
                    To go back, press Enter.\n\
                    Type the code that the app shows: ";

impl Offers<'_> {
    pub(super) fn app(&self, talk: &mut impl Talk) -> Result<Proved, Stop> {
        let mut wrong = Wrong(0);
        let mut offer = self.offered(false, talk)?;
        loop {
            match self.proved(offer, &mut wrong, talk)? {
                Some(proved) => return Ok(proved),
                None => offer = self.offered(true, talk)?,
            }
        }
    }

    /// The offer to the user at this place, after what they have to know of an earlier one.
    fn offered(&self, renew: bool, talk: &mut impl Talk) -> Result<PendingOffer, Stop> {
        let (user, unix) = (self.user.as_bytes(), clock::unix());
        let (offer, earlier) =
            self.store.offer::<Failure>(user, &self.origin, unix, renew, totp::draw_app)?;
        let before = match &earlier {
            Earlier::Nothing => None,
            Earlier::Same => Some(shown_before(&offer)),
            Earlier::Replaced { made, from } => {
                event::offer_replaced(self.user, &self.origin, *made, from);
                let text = format!(
                    "\nSomebody began to enroll as you at {} UTC from {from} and did not finish.\n\
                     If that was not you, tell your administrator.\n",
                    time::utc(*made)
                );
                (!renew || *from != self.origin).then_some(text)
            }
        };
        if let Some(before) = before {
            talk.say(&before)?;
        }
        Ok(offer)
    }

    /// Shows an offer, and asks for a code of it. `None` if the user wants a new secret.
    fn proved(
        &self,
        offer: PendingOffer,
        wrong: &mut Wrong,
        talk: &mut impl Talk,
    ) -> Result<Option<Proved>, Stop> {
        let usual = self.settings.codes.usual.window(Parameters::APP.kind, None);
        let PendingOffer { serial, key, made, seen, .. } = offer;
        let uri = uri::write(&key.secret, key.parameters, &totp::host_name(), self.user, 0);
        talk.say(&text(&totp::groups(&key.secret), &uri, self.user, made))?;
        // It is known if an enrollment was cut off.
        let token = TokenId::Oath(serial);
        let next = self.store.change()?.known_position(&token, key.fingerprint(&serial))?;
        let app = Stored { serial, key, window: usual };
        let mut pictures = Pictures::default();
        let progress = loop {
            let answer = talk.ask(CODE, true)?;
            let form = match trimmed(&answer) {
                b"" => return Err(Stop::Back),
                b"q" | b"Q" => pictures.next(Characters::Blocks),
                b"a" | b"A" => pictures.next(Characters::Ascii),
                b"n" | b"N" => return Ok(None),
                code => match codes::decide(&app, Progress { next, drift: 0 }, code) {
                    Found::Fresh(progress) => break progress,
                    no => {
                        let (code, problem, text) = match no {
                            Found::Used { .. } => (Code::CodeUsed, "the code was used", USED),
                            _ => (Code::CodeWrong, "no code of the app that was offered", WRONG),
                        };
                        let found = Diagnostic::error(code, problem).at(Location::Token(token.to_string()));
                        wrong.answer(talk, text, found)?;
                        continue;
                    }
                },
            };
            match qr::draw(&uri, form) {
                Ok(drawing) => {
                    // A client of ssh begins each prompt with the names of user and host.
                    talk.say("\n")?;
                    talk.say(&drawing.text)?;
                }
                Err(qr::TooLong) => talk.say("There is no QR code: the names are too long for one.\n")?,
            }
            talk.say(inverted(form))?;
        };
        let Stored { key, .. } = app;
        let notes = OathNotes { window: None, series: None };
        let coming = (TokenKey::Oath(serial, key, notes), progress);
        Ok(Some(Proved { token, coming: Some(coming), seen: Some(seen) }))
    }
}

/// Who sees this secret again has to know whether somebody else saw it, too.
fn shown_before(offer: &PendingOffer) -> String {
    let last = time::utc(offer.last);
    let when = match offer.times.saturating_sub(1) {
        1 => format!("once before, at {last} UTC"),
        times => format!("{times} times before,\nlast at {last} UTC"),
    };
    format!("\nYou were shown this secret {when}.\nIf that was not you each time, type n for a new one.\n")
}

const USED: &str = "That code was used. Wait until the app shows the next one.\n";
const WRONG: &str = "Wrong: type the six digits that the app shows now.\nIf they are wrong again, compare the clock of the phone.\n";

/// For which background a picture is drawn next: nobody knows that of the terminal.
#[derive(Default)]
struct Pictures(Option<Form>);

impl Pictures {
    fn next(&mut self, characters: Characters) -> Form {
        let dark = Form { characters, paint: Paint::On(Background::Dark) };
        let next = if self.0 == Some(dark) {
            Form { characters, paint: Paint::On(Background::Light) }
        } else {
            dark
        };
        self.0 = Some(next);
        next
    }
}

const fn inverted(form: Form) -> &'static str {
    match (form.characters, form.paint) {
        (Characters::Blocks, Paint::On(Background::Light)) => {
            "This one is for a light background.\nNot readable? Type a.\n"
        }
        (Characters::Blocks, _) => {
            "This one is for a dark background:\ntype q again for a light one. Not readable? Type a.\n"
        }
        (Characters::Ascii, Paint::On(Background::Light)) => {
            "This one is for a light background. If it is wider than\nthe terminal, type the secret into the app.\n"
        }
        (Characters::Ascii, _) => {
            "This one is for a dark background:\ntype a again for a light one. If it is wider than\nthe terminal, type the secret into the app.\n"
        }
    }
}

/// The offer in text, which every terminal can show.
fn text(secret: &str, uri: &str, user: &str, made: u64) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(1024));
    let until = time::utc(made.saturating_add(OFFER_IS_GOOD));
    // Writing to a String does not fail.
    let _ = write!(
        text,
        "\nAdd an entry to your authenticator app:\ntype the secret, or scan a QR code.\n\n  \
           secret   {secret}\n  \
           account  {} on {} (by time, 6 digits)\n  \
           URI      {uri}\n\n\
         You get the same secret if you come back from the same\nplace before {until} UTC.\n",
        ascii(user),
        ascii(&totp::host_name()),
    );
    text
}

/// A name as every terminal can show it.
pub(crate) fn ascii(name: &str) -> String {
    shown::text(name).to_string().chars().map(|c| if c.is_ascii() { c } else { '?' }).collect()
}
