//! What the commands `ykmap` and `ykvald` share: where they [print](out), how they show [findings](diagnostic), [report] many
//! of them and [explain] their codes, what shells [complete](completions), and how they read what an administrator types
//! ([`mod@line`]) or [names](input). No login loads
//! it.
#![forbid(unsafe_code)]

pub mod completions;
pub mod diagnostic;
pub mod explain;
pub mod import;
pub mod input;
pub mod line;
pub mod out;
pub mod report;
pub mod time;
mod words;
