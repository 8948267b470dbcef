//! What is known of a user who signed in, and what a place asks for.
//!
//! A session is [`Evidence`] with times. The portal knows it by the key in one cookie, and each protected host by the key in
//! another, which a [`ticket`] hands over: an application that is broken into cannot be its users elsewhere. [`Sessions`] has
//! those that are alive, in memory, and in the store before anybody is told.

mod evidence;
mod key;
mod requirement;
mod table;
pub mod ticket;

pub use evidence::{Evidence, Means};
pub use key::{Key, KeyHash};
pub use requirement::{BadRequirement, Factor, Lack, Requirement};
pub(crate) use requirement::{BadTime, parse_time};
pub use table::{MOST_GROUPS, Passed, Place, Session, SessionFault, Sessions};
