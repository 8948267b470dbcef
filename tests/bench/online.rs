//! One online login of ours beside one of Debian's pam_yubico: one validation server, each login in a process of its own.

mod resources;
mod sides;
mod table;
mod time;

use crate::instructions::under_callgrind;
use crate::page::Section;
use crate::stepping;
use sides::{OURS, PAM_PERMIT, PAM_YUBICO, Sides};

/// What one login takes.
#[derive(Default)]
struct Instructions {
    login: u64,
    ask: u64,
    /// Of the login process by stepping, where both ways were tried.
    stepped: Option<u64>,
}

pub(crate) fn measure(_large: u32) -> Section {
    let mut sides = Sides::new();
    time::measure(&mut sides.all, 30);
    time::measure(&mut sides.troubled, 10);
    resources::measure(&mut sides.all);
    stepping::bound(|| count(&mut sides));
    table::section(&sides)
}

/// To show how far they agree, pam_permit's are counted both ways. A count that fails is left out, and the table keeps
/// the rest. TLS would take too long.
fn count(sides: &mut Sides) {
    let url = sides.question();
    for side in &mut sides.all {
        side.instructions.login = match side.name {
            PAM_PERMIT | PAM_YUBICO => under_callgrind(&side.login(), &[0]),
            OURS => stepping::login(&side.login()).unwrap_or(0),
            _ => 0,
        };
        if side.name == PAM_PERMIT {
            side.instructions.stepped = stepping::login(&side.login());
        }
        if side.name == OURS {
            side.instructions.ask = stepping::ask(&side.program(), &url).unwrap_or(0);
        }
    }
}
