//! What the portal and the authorizers share: the protected hosts, and who is signed in.

use crate::authorize::Hosts;
use crate::config::Origin;
use crate::session::Sessions;
use crate::session::ticket::Tickets;

/// The protected hosts, and who is signed in.
pub struct Site {
    /// The portal as browsers see it.
    pub public_url: Origin,
    /// The protected hosts.
    pub hosts: Hosts,
    /// Who is signed in.
    pub sessions: Sessions,
    /// Who is on the way back to a protected host.
    pub tickets: Tickets,
}
