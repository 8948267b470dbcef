//! Whether the first factor of a login is proven.

use crate::doctor::pam::first_factor as stack;
use ykhost::settings::LoginSettings;
use yubiotp::diagnostic::{Code, Diagnostic};
use yubiotp::dialogue::LoginFacts;

/// The methods of sshd that prove who the user is.
const METHODS: [&[u8]; 4] = [b"publickey", b"password", b"hostbased", b"gssapi-with-mic"];

/// Fails unless the first factor is proven: sshd says by what, or a password was asked for above the line in pam.d, and no way
/// through the lines leads past a wrong one.
pub(super) fn check(facts: &LoginFacts, settings: &LoginSettings) -> Result<(), Diagnostic> {
    if facts.ssh_auth_info.as_deref().is_some_and(sshd_has_proof) {
        return Ok(());
    }
    let Ok(service) = str::from_utf8(&facts.service) else { return Err(nothing()) };
    if !facts.has_password {
        return Err(nothing());
    }
    stack::of(&settings.enroll.pam_dirs, service)
}

fn nothing() -> Diagnostic {
    Diagnostic::error(
        Code::EnrollWithoutFirstFactor,
        "no first factor is proven: anybody could enroll a token for the user",
    )
}

/// Whether sshd names a method that succeeded: `SSH_AUTH_INFO_0` has one in a line.
pub(super) fn sshd_has_proof(info: &[u8]) -> bool {
    info.split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b' ').next())
        .any(|method| METHODS.contains(&method))
}
