//! `ykvald`.
fn main() {}
