//! Tokens that were restored and have not yet proved that they are fresh.

use crate::cli::{Failure, out, restore};
use ykcli::report::Report;
use ykval::store::Store;
use yubiotp::diagnostic::{Code, Diagnostic};

pub(super) async fn check(report: &mut Report, store: &Store) -> Result<(), Failure> {
    let count = store.restored_count().await?;
    if count > 0 {
        let tokens = out::count(count, "restored token");
        let problem = format!("{tokens}: accepted again after two touches each");
        let found = Diagnostic::warning(Code::TokensRestored, problem);
        report.add("keys", restore::how_they_come_back(found));
    }
    Ok(())
}
