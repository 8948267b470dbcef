//! `ykmap token resync`

use crate::codes::{self, Stored};
use crate::touches::{self, Prover};
use crate::{Context, Done, Failure, files, out};
use serde_json::json;
use std::io::IsTerminal as _;
use ykhost::store::{State, Store};
use ykhost::{Fault, clock};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program};
use yubiotp::key::Fingerprint;
use yubiotp::ledger::Advance;
use yubiotp::oath::Kind;
use yubiotp::oath::window::{self, Found, Progress, Reach};
use yubiotp::verdict::Vault;
use yubiotp::{Position, PublicId, Serial, TokenId};

/// How far an OATH token has come, by what is stored.
enum Known {
    Progress(Progress),
    /// Nobody knows which codes were used; the position that is stored, and one that is no higher than the lost one.
    Lost {
        stored: Option<Position>,
        floor: Option<Position>,
    },
}

/// Sets position and drift by two successive codes.
pub(super) fn oath(context: &Context, serial: Serial) -> Done {
    let settings = context.settings()?;
    let store = Store::new(&settings);
    let id = TokenId::Oath(serial);
    let token = Stored::open(&settings, &store, serial)?;
    let key = token.key.fingerprint(&serial);
    let known = known(&store, &id, key)?;
    let is_blind = matches!((&known, token.key.parameters.kind), (Known::Lost { .. }, Kind::Hotp));
    if is_blind {
        needs_hand(&id)?;
    }
    let (first, second) = ask(&token, is_blind)?;
    let (unix, parameters, secret) = (clock::unix(), token.key.parameters, &token.key.secret);
    let found = match known {
        Known::Progress(progress) => {
            window::two(secret, parameters, Reach::Resync, progress, unix, (&first, &second))
        }
        Known::Lost { floor, .. } => {
            window::after_loss(secret, parameters, token.window, floor, unix, (&first, &second))
        }
    };
    let Found::Fresh(to) = found else {
        return Err(context.refuse(&refused(&id, found, &known).at(Location::Token(id.to_string()))));
    };
    match known {
        Known::Progress(from) => match store.advance_oath(&serial, key, Some(from), to)? {
            Advance::Fresh(_) => {}
            Advance::Replayed { .. } => {
                let found = refused(&id, Found::Used { step: codes::last_step(to) }, &known);
                return Err(context.refuse(&found.at(Location::Token(id.to_string()))));
            }
            Advance::Disabled => return Err(is_disabled(&id)),
            // Only YubiKeys are restored.
            Advance::Restored { .. } => return Err(Failure::No),
        },
        Known::Lost { stored, .. } => {
            let next = to.next.unwrap_or(Position::from_stored(0));
            store.change()?.prove_with_drift(&id, key, (next, to.drift), stored)?;
        }
    }
    say(context, &store, &token, to, matches!(known, Known::Lost { .. }))
}

fn known(store: &Store, id: &TokenId, key: Fingerprint) -> Result<Known, Failure> {
    let state = match store.slots(id) {
        Ok(Some(slots)) if slots.state.key != key => {
            let path = store.positions()?.path().join(id.to_string());
            return Err(Fault::OtherKeysPosition { path, token: *id }.into());
        }
        Ok(Some(slots)) => slots.state,
        Ok(None) | Err(Fault::Position { .. }) => return Ok(Known::Lost { stored: None, floor: None }),
        Err(fault) => return Err(fault.into()),
    };
    if state.position == Some(State::last(id)) {
        return Ok(Known::Lost { stored: state.position, floor: store.touched(&state)? });
    }
    if !state.enabled {
        return Err(is_disabled(id));
    }
    Ok(Known::Progress(Progress { next: state.position, drift: state.drift }))
}

/// Fails unless somebody is there who can have the token. Codes that count prove no time: two old ones, copied before the
/// position was lost, look like two new ones.
fn needs_hand(id: &TokenId) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        let problem = "the position of this token was lost, so its codes must come from the token itself, and standard input is no terminal: nothing was changed";
        let found = Diagnostic::error(Code::NoTerminal, problem).at(Location::Token(id.to_string()));
        return Err(found.advise("run the command at a terminal, with the token in your hand").into());
    }
    out::note(
        "The position of this token was lost, and two successive codes do not prove that they are new: codes after them are accepted again, used ones too. Type no codes that somebody sends you.",
    );
    Ok(())
}

/// Asks for two successive codes, in one line or in two.
fn ask(token: &Stored, is_blind: bool) -> Result<(yubiotp::oath::Code, yubiotp::oath::Code), Failure> {
    let parameters = token.key.parameters;
    let first = files::input_line(match is_blind {
        true => "Press the token that is in your hand now. Code that it shows: ",
        false => "Code that the token shows: ",
    })?;
    if let Some(both) = codes::two(first.as_bytes(), parameters) {
        return Ok(both);
    }
    let question = match parameters.kind {
        Kind::Totp { .. } => "The next code, as soon as it shows another one: ",
        Kind::Hotp => "The next code: ",
    };
    let second = files::input_line(question)?;
    let both = zeroize::Zeroizing::new([first.trim().as_bytes(), b" ", second.trim().as_bytes()].concat());
    codes::two(&both, parameters).ok_or_else(|| {
        let digits = parameters.digits.get();
        Failure::input(format!("two codes of {digits} digits are needed: nothing was changed"))
    })
}

fn refused(id: &TokenId, found: Found, known: &Known) -> Diagnostic {
    match (found, known) {
        (Found::Used { .. }, _) => Diagnostic::error(
            Code::CodeUsed,
            "one of these codes was used before, or a later one was: nothing was changed",
        )
        .advise("wait for two new ones, and run the command again"),
        (_, Known::Lost { .. }) => Diagnostic::error(
            Code::CodeWrong,
            "these are not two successive codes of now, and only such prove where a token is whose position was lost: nothing was changed",
        )
        .run_when("to see whether the clock of this host is right", Program::System, "timedatectl")
        .advise("set the clock of the phone, too, and run the command again")
        .run_when("to give up a token whose own clock is off", Program::Ykmap, format!("token remove {id}")),
        _ => Diagnostic::error(
            Code::CodeWrong,
            "these are not two successive codes of this token, or it is farther off than a day behind or an hour ahead: nothing was changed",
        )
        .advise("compare the serial number, and run the command again"),
    }
}

fn is_disabled(id: &TokenId) -> Failure {
    Diagnostic::error(Code::TokenDisabled, "the token is disabled: nothing was changed")
        .at(Location::Token(id.to_string()))
        .run_when("to enable it", Program::Ykmap, format!("token enable {id}"))
        .into()
}

fn say(context: &Context, store: &Store, token: &Stored, to: Progress, was_lost: bool) -> Done {
    let id = TokenId::Oath(token.serial);
    let (kind, unix) = (token.key.parameters.kind, clock::unix());
    let next = to.next.map_or(0, Position::to_stored);
    let (off, wait) = match kind {
        Kind::Totp { period } => {
            let seconds = i64::try_from(period.seconds()).unwrap_or(1);
            let shown = period.step_at(unix).saturating_add_signed(i64::from(to.drift));
            let wait = if was_lost { next.saturating_sub(shown).saturating_mul(period.seconds()) } else { 0 };
            (Some(i64::from(to.drift).saturating_mul(seconds)), wait)
        }
        Kind::Hotp => (None, 0),
    };
    let enabled = store.slots(&id)?.is_some_and(|slots| slots.state.enabled);
    if context.json {
        out::json(&json!({
            "id": id.to_string(),
            "next_step": next,
            "clock_ahead_seconds": off,
            "accepted_in_seconds": wait,
            "enabled": enabled,
        }));
        return Ok(());
    }
    let clock = off.map_or_else(String::new, |off| format!("; {}", codes::clock_words(off)));
    out::line(&format!("{id}: resynchronized: codes from step {next} on are accepted{clock}"));
    if wait > 0 {
        out::note(&format!("its position was lost, so codes are refused for about {wait} s more"));
    }
    if !enabled {
        out::note(&format!(
            "token {id} is disabled: it was, or its position file could not be read ({} token enable {id})",
            context.ykmap()
        ));
    }
    Ok(())
}

/// Sets the position by two touches.
pub(super) fn yubikey(context: &Context, id: &PublicId) -> Done {
    let settings = context.settings()?;
    let store = Store::new(&settings);
    let token = &TokenId::YubiKey(*id);
    let has_key = store.holds(id)?;
    let key = if has_key { store.credential(id)?.fingerprint(id) } else { Fingerprint::ELSEWHERE };
    let before = match store.slots(token) {
        Ok(Some(slots)) if slots.state.key == key => slots.state.position,
        Ok(Some(_)) if has_key => {
            let path = store.positions()?.path().join(id.to_string());
            return Err(Fault::OtherKeysPosition { path, token: *token }.into());
        }
        Ok(None) if has_key => {
            let path = store.positions()?.path().join(id.to_string());
            return Err(Fault::NoPosition { path, token: *token }.into());
        }
        // Servers have not accepted it here yet, or its key went by other ways than `ykmap key remove`.
        Ok(Some(_) | None) => None,
        // It is created anew below.
        Err(Fault::Position { .. }) => None,
        Err(fault) => return Err(fault.into()),
    };
    touches::needs_terminal(id)?;
    let position = if has_key {
        touches::prove(id, &Prover::Key(&store.credential(id)?))?
    } else {
        if !settings.mode.asks_servers() {
            store.key_file(token).map_err(|fault| files::if_unknown(&settings, token, fault.diagnostic()))?;
        }
        touches::prove(id, &Prover::Servers(&context.login_settings()?))?
    };
    store.change()?.prove(token, key, position, before)?;
    let enabled = store.slots(token)?.is_some_and(|slots| slots.state.enabled);
    if context.json {
        out::json(&json!({
            "id": id.to_string(),
            "usage_counter": position.usage_counter(),
            "session_use": position.session_use(),
            "enabled": enabled,
        }));
    } else {
        out::line(&format!("{id}: resynchronized: {position}"));
        if !enabled {
            out::note(&format!(
                "token {id} is disabled: it was, or its position file could not be read ({} key enable {id})",
                context.ykmap()
            ));
        }
    }
    Ok(())
}
