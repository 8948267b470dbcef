//! What the commands share: where they [print](out), how they show [findings](diagnostic),
//! [many of them](report), what [validation servers](servers)
//! answer a check, and [explain] their codes, how they [fail](failure), what shells [complete](completions), how
//! they read what an administrator types ([`mod@line`]) or [names](input), what they show of an [import] of keys, how a key
//! of [a new token](new_key) is made, how a former [store key](store_key) is kept, how a [QR code](qr) is drawn, and where
//! [pages](docs) are. No login loads it.
#![forbid(unsafe_code)]

pub mod completions;
pub mod diagnostic;
pub mod docs;
pub mod explain;
pub mod failure;
pub mod import;
pub mod input;
pub mod line;
pub mod new_key;
pub mod out;
pub mod qr;
pub mod report;
pub mod servers;
pub mod store_key;
pub mod time;
pub mod typed;
