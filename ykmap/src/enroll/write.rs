//! A token that a user has proved becomes theirs: all of it or nothing, durably.
//!
//! What is new comes into the store first, named by `.unfinished`; then one write of `enrolled` lists token and recovery codes
//! together. So after a crash the user is enrolled or is not, and the next change removes what nobody has. The offer of an app
//! goes once it is listed, still under the lock: each is taken once.

use super::offers::Proved;
use crate::exchange;
use crate::recovery::NewSet;
use ykcli::failure::Failure;
use ykhost::enrolled::{self, Assigned, Only};
use ykhost::mapping;
use ykhost::settings::Settings;
use ykhost::store::{Change, HeldOffer, Seen, Store, TokenKey, Unfinished};
use yubiotp::diagnostic::{Code, Diagnostic, Location};
use yubiotp::mapping::Enrolment;
use yubiotp::oath::window::Progress;
use yubiotp::{TokenId, recovery, shown};

/// What a user has now.
pub(crate) struct Written {
    /// The tokens that are new, as `enrolled` lists them.
    pub(crate) tokens: Vec<TokenId>,
    /// Recovery codes to show, among them.
    pub(crate) codes: Option<NewSet>,
}

/// Gives the user what they proved, and with `with_codes` new recovery codes: as many as a set can have, since nobody may be
/// awake to make more.
///
/// # Errors
/// Nothing was changed: `only` does not hold any more, or a file cannot be written.
pub(crate) fn write(
    settings: &Settings,
    user: &str,
    proved: Proved,
    with_codes: bool,
    only: Only<'_>,
) -> Result<Written, Failure> {
    let store = Store::new(settings);
    let change = store.change()?;
    exchange::finish(settings, &change)?;
    // Of two enrollments at once, the second finds it here, before anything of it is in the store.
    if only == Only::NotListed && mapping::enrolment(settings, user.as_bytes(), true)? != Enrolment::NotListed
    {
        return Err(already(user).into());
    }
    // The same of a factor that does not count any more. Decided again when the lists are locked.
    if let Only::Proved(proof) = only
        && let Some(stale) =
            proof.stale(settings, &enrolled::read(settings, user.as_bytes())?, user.as_bytes())?
    {
        return Err(stale.diagnostic().into());
    }
    let offer = match &proved.coming {
        Some((key, progress)) => Some(held(&store, &change, user, (key, proved.seen.as_ref()), *progress)?),
        None => None,
    };
    let codes = with_codes.then(|| NewSet::draw(&store, recovery::MOST)).transpose()?;
    let tokens: Vec<_> = [proved.token].into_iter().chain(codes.as_ref().map(NewSet::token)).collect();
    let (mut keys, progress) = match proved.coming {
        Some((key, progress)) => (vec![key], Some(progress)),
        None => (Vec::new(), None),
    };
    if let Some(set) = &codes {
        keys.extend(set.keys(&store.store_key()?));
    }
    if !keys.is_empty() {
        let mut tokens: Vec<_> = keys.iter().filter_map(|key| listed_as(&key.id())).collect();
        tokens.dedup();
        change.begin_unfinished(&Unfinished { users: vec![user.to_owned()], tokens })?;
    }
    let assigned = (|| {
        let known = |key: &TokenKey| match key {
            TokenKey::Oath(..) => progress.and_then(|at| Some((at.next?, at.drift))),
            TokenKey::YubiKey(..) | TokenKey::RecoveryCode(..) => None,
        };
        if !keys.is_empty() {
            change.enrol_known(&keys, known, &|| {})?;
        }
        Ok::<_, Failure>(enrolled::assign(settings, user.as_bytes(), &tokens, only)?)
    })();
    match assigned {
        Ok(Assigned::Done { .. }) => {
            // All of it is listed. If this fails, the next change finds that, too: `.unfinished` goes after the offer.
            let ended = match offer {
                Some(offer) => offer.end(),
                None => store.end_offer(user.as_bytes()).map(drop),
            };
            let _ = ended.and_then(|()| change.end_unfinished());
            Ok(Written { tokens, codes })
        }
        failed => {
            // What came goes again, unless it is listed all the same: then the offer goes. If that fails, the next change does
            // it.
            drop(offer);
            let finished = exchange::finish(settings, &change);
            let refused = failed?;
            finished.and_then(|_| Err(why(&refused, user).into()))
        }
    }
}

/// The offer of an app that was proved by a code. Another dialogue may have shown the same one: it may be enrolled since, or
/// replaced, or reset, and the code may be used.
fn held(
    store: &Store,
    change: &Change<'_>,
    user: &str,
    (key, seen): (&TokenKey, Option<&Seen>),
    proved: Progress,
) -> Result<HeldOffer, Failure> {
    let token = key.id();
    let found = |code, problem| Diagnostic::error(code, problem).at(Location::Token(token.to_string()));
    let held = token.oath().map(|serial| store.hold_offer(user.as_bytes(), &serial, seen));
    let offer = held.transpose()?.flatten();
    let Some(offer) = offer else {
        let problem = "the app that was offered was enrolled, shown again, replaced or ended meanwhile: nothing was changed";
        return Err(found(Code::OfferEnded, problem).into());
    };
    // Each is the first step that may still be accepted.
    match change.known_position(&token, key.fingerprint())? {
        Some(known) if proved.next.is_none_or(|next| next <= known) => {
            Err(found(Code::CodeUsed, "the code was used: nothing was changed").into())
        }
        _ => Ok(offer),
    }
}

/// As a list names the token of a key file.
fn listed_as(key: &TokenId) -> Option<TokenId> {
    match key {
        TokenId::RecoveryCode(set, _) => Some(TokenId::RecoverySet(*set)),
        TokenId::Oath(_) => Some(*key),
        TokenId::YubiKey(_) | TokenId::RecoverySet(_) => None,
    }
}

fn why(refused: &Assigned, user: &str) -> Diagnostic {
    match refused {
        Assigned::Taken { token, owner } => {
            Diagnostic::error(Code::TokenAssigned, format!("the token is {}'s", shown::text(owner)))
                .at(Location::Token(token.to_string()))
        }
        Assigned::BadName(why) => {
            Diagnostic::error(Code::UserNameInvalid, why.to_string()).at(Location::user(user.as_bytes()))
        }
        Assigned::Stale(stale) => stale.diagnostic(),
        Assigned::Listed(_) | Assigned::Done { .. } => already(user),
    }
}

/// The user is in the mapping or in `enrolled`.
pub(crate) fn already(user: &str) -> Diagnostic {
    Diagnostic::error(Code::AlreadyEnrolled, "the user has a token, or had one: nothing was changed")
        .at(Location::user(user.as_bytes()))
}
