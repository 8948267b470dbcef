//! Tokens that were restored and have not proved yet that they are fresh.

use super::report::Report;
use crate::cli::{Context, Failure, out, restore};
use ykval::store::Store;

pub(super) async fn look(report: &mut Report, context: &Context, store: &Store) -> Result<(), Failure> {
    let count = store.restored_count().await?;
    if count > 0 {
        let tokens = out::count(count, "restored token");
        let accepting = restore::accepting(context, store.restored_since().await?);
        report.warning(
            "keys",
            format!("{tokens}: accepted again after two touches (RESTORED TOKENS in ykvald(8)). {accepting}"),
        );
    }
    Ok(())
}
