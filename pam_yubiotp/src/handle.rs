//! The PAM handle as a login uses it: libpam in `sys`, a script in the tests.

use pam::constants::PamResultCode;
use std::ffi::CStr;
use std::time::{Duration, Instant};
use ykhost::store::Undisturbed;
use yubiotp::policy::OnExempt;
use zeroize::Zeroizing;

/// An answer that was typed. Wiped on drop.
pub(crate) type Answer = Zeroizing<Vec<u8>>;

/// Items of a handle that are strings and no secrets. Values as in `_pam_types.h`.
#[derive(Clone, Copy)]
#[repr(i32)]
pub(crate) enum Item {
    Service = 1,
    User = 2,
    Terminal = 3,
    RemoteHost = 4,
}

/// Priorities of syslog(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Priority {
    Error = 3,
    Warning = 4,
    Notice = 5,
    Info = 6,
    Debug = 7,
}

/// The record that `pam_sm_authenticate` leaves for `pam_sm_acct_mgmt` on the same handle.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Remembered {
    /// The user.
    pub(crate) user: Vec<u8>,
    /// The result.
    pub(crate) standing: Standing,
}

/// The state of a user after an auth line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Accepted by a token.
    Accepted,
    /// Not listed, and let pass by `nullok`.
    Excused,
    /// Let pass by the policy.
    ExcusedByPolicy(OnExempt),
    /// Neither accepted nor excused.
    Refused,
}

/// One PAM handle, seen from a module.
pub(crate) trait Handle {
    /// The user who is logging in. The application may be asked, and may ask the user.
    fn user(&mut self) -> Result<Vec<u8>, PamResultCode>;
    /// A copy of an item; `None` if it is not set.
    fn item(&self, item: Item) -> Option<Vec<u8>>;
    /// A copy of a variable in the environment that PAM keeps for the session; `None` if it is not set. It is not this
    /// process's own.
    fn environment(&self, name: &CStr) -> Option<Vec<u8>>;
    /// A copy of the password that a module before this one left (PAM_AUTHTOK).
    fn authtok(&self) -> Option<Answer>;
    /// Leaves a password for the modules behind this one, or takes away what was left.
    fn set_authtok(&mut self, password: Option<&[u8]>) -> Result<(), PamResultCode>;
    /// Asks the user. `None` if the application answered without text.
    fn ask(&self, prompt: &str, echo: bool) -> Result<Option<Answer>, PamResultCode>;
    /// Shows the user a text, without a question.
    fn tell(&self, text: &str) -> Result<(), PamResultCode>;
    /// Writes a line to syslog, facility authpriv. The line holds no NUL.
    fn log(&self, priority: Priority, line: &str);
    /// Has the application wait about so long before it says no.
    fn delay_refusal(&mut self, microseconds: u32);
    /// Blocks until `delay` has passed since `since`.
    fn wait(&self, since: Instant, delay: Duration);
    /// The way to make a call that no unprivileged user may stop.
    fn undisturbed(&self) -> Undisturbed;
    /// Keeps something on the handle until `pam_end`, in place of what was kept before.
    fn remember(&mut self, what: Remembered) -> Result<(), PamResultCode>;
    /// The thing that was kept.
    fn remembered(&self) -> Option<&Remembered>;
}
