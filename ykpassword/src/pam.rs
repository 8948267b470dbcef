//! Asks PAM, by nonstick: safe code around libpam's functions for applications.

use nonstick::conv::{Conversation, Exchange};
use nonstick::items::{Items as _, ItemsMut as _};
use nonstick::{AuthnFlags, ErrorCode, PamShared as _, Transaction as _, TransactionBuilder};
use std::cell::Cell;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::rc::Rc;
use yubiotp::password::{PasswordAnswer, PasswordQuestion, Restriction};
use zeroize::Zeroizing;

/// What was asked for so far.
#[derive(Default)]
struct Asked {
    /// The password.
    password: Cell<bool>,
    /// Something else, or the password once more.
    more: Cell<bool>,
}

/// Answers one prompt that hides what is typed with the password, and no other prompt. A stack that asks for an OTP, too, is
/// no first factor: pam_yubiotp would take the password for a wrong answer.
struct OnePassword {
    password: Zeroizing<Vec<u8>>,
    asked: Rc<Asked>,
}

impl Conversation for OnePassword {
    fn communicate(&self, messages: &[Exchange]) {
        for message in messages {
            match message {
                Exchange::MaskedPrompt(prompt) if !self.asked.password.replace(true) => {
                    // nonstick does not wipe its copy. This process ends with the answer, and nobody but root reads its memory.
                    prompt.set_answer(Ok(OsString::from_vec(self.password.to_vec())));
                }
                Exchange::Info(info) => info.set_answer(Ok(())),
                Exchange::Error(error) => error.set_answer(Ok(())),
                other => {
                    self.asked.more.set(true);
                    other.set_error(ErrorCode::ConversationError);
                }
            }
        }
    }
}

/// Asks whether the password is right and the account may be used.
///
/// # Errors
/// The answer, which is not [`PasswordAnswer::Right`].
pub(crate) fn ask(service: &str, question: PasswordQuestion) -> Result<(), PasswordAnswer> {
    let PasswordQuestion { user, password, from } = question;
    let asked = Rc::new(Asked::default());
    let conversation = OnePassword { password, asked: Rc::clone(&asked) };
    let failed = |why: String| PasswordAnswer::Failed { why };
    let fault = |doing: &str, why: ErrorCode| {
        failed(format!("PAM service {service}: {doing} failed: {why} ({why:?})"))
    };

    let pam = TransactionBuilder::new_with_service(service).username(&user).build(conversation);
    let mut pam = pam.map_err(|why| fault("pam_start", why))?;
    if let Some(from) = from {
        let set = pam.items_mut().set_remote_host(Some(from.to_string().as_ref()));
        set.map_err(|why| fault("setting PAM_RHOST", why))?;
    }
    let flags = AuthnFlags::SILENT | AuthnFlags::DISALLOW_NULL_AUTHTOK;
    let authenticated = pam.authenticate(flags);
    if asked.more.get() {
        return Err(failed(format!(
            "PAM service {service} asks for more than one password: it has to be a first factor only, without pam_yubiotp"
        )));
    }
    authenticated.map_err(|why| match authentication(why) {
        Some(answer) => answer,
        None => fault("pam_authenticate", why),
    })?;
    if !asked.password.get() {
        return Err(failed(format!("PAM service {service} lets in without asking for the password")));
    }
    let accounted = pam.account_management(flags);
    if asked.more.get() {
        return Err(failed(format!("PAM service {service} asks for something in the account stack")));
    }
    accounted.map_err(|why| match account(why) {
        Some(reason) => PasswordAnswer::NotAllowed { reason },
        None => fault("pam_acct_mgmt", why),
    })?;
    // A module may have made somebody else of them.
    let now = pam.items().user().map_err(|why| fault("reading PAM_USER", why))?;
    if now.as_deref() != Some(user.as_ref()) {
        return Err(failed(format!("PAM service {service} changed the user's name")));
    }
    // A directory may find an account by other spellings of its name, which would be other users here.
    match nix::unistd::User::from_name(&user) {
        Ok(Some(account)) if account.name != user => Err(PasswordAnswer::Wrong),
        Ok(_) => Ok(()),
        Err(why) => Err(failed(format!("cannot look up the account: {}", why.desc()))),
    }
}

/// What an error of pam_authenticate says of the password; `None`: nothing. Whoever does not know the password is told
/// nothing about the account.
const fn authentication(why: ErrorCode) -> Option<PasswordAnswer> {
    match why {
        ErrorCode::AuthenticationError
        | ErrorCode::UserUnknown
        | ErrorCode::MaxTries
        | ErrorCode::PermissionDenied
        | ErrorCode::AccountExpired
        | ErrorCode::CredentialsError
        | ErrorCode::NewAuthTokRequired
        | ErrorCode::AuthTokExpired
        | ErrorCode::CredentialsExpired => Some(PasswordAnswer::Wrong),
        _ => None,
    }
}

/// What an error of pam_acct_mgmt says of the account; `None`: nothing.
const fn account(why: ErrorCode) -> Option<Restriction> {
    match why {
        ErrorCode::AccountExpired => Some(Restriction::AccountExpired),
        ErrorCode::NewAuthTokRequired | ErrorCode::AuthTokExpired | ErrorCode::CredentialsExpired => {
            Some(Restriction::PasswordExpired)
        }
        ErrorCode::PermissionDenied | ErrorCode::AuthenticationError | ErrorCode::UserUnknown => {
            Some(Restriction::NotPermitted)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nonstick::conv::{ErrorMsg, InfoMsg, MaskedQAndA, QAndA};

    fn conversation() -> OnePassword {
        OnePassword { password: b"\xffsecret".to_vec().into(), asked: Rc::default() }
    }

    #[test]
    fn the_password_is_given_once() {
        let conversation = conversation();
        let (info, error) = (InfoMsg::new("hello".as_ref()), ErrorMsg::new("oh".as_ref()));
        let (one, two) = (MaskedQAndA::new("Password: ".as_ref()), MaskedQAndA::new("Touch: ".as_ref()));
        conversation.communicate(&[info.exchange(), one.exchange(), error.exchange()]);
        assert!(info.answer().is_ok() && error.answer().is_ok());
        assert_eq!(one.answer().unwrap().into_vec(), b"\xffsecret");
        assert!(!conversation.asked.more.get());
        conversation.communicate(&[two.exchange()]);
        assert!(two.answer().is_err() && conversation.asked.more.get());
    }

    #[test]
    fn it_is_not_shown() {
        let conversation = conversation();
        let login = QAndA::new("login: ".as_ref());
        conversation.communicate(&[login.exchange()]);
        assert!(
            login.answer().is_err() && conversation.asked.more.get() && !conversation.asked.password.get()
        );
    }
}
