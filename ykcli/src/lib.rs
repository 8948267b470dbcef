//! What the commands `ykmap` and `ykvald` share: where they [print](out), how they show [findings](diagnostic) and
//! [many of them](report), what shells [complete](completions), how they read what an administrator types ([`mod@line`]) or
//! [names](input), and what they show of an [import] of keys. No login loads it.
#![forbid(unsafe_code)]

pub mod completions;
pub mod diagnostic;
pub mod import;
pub mod input;
pub mod line;
pub mod out;
pub mod report;
