//! Tokens that were restored and have not proved yet that they are fresh.

use super::report::Report;
use crate::cli::{Context, Failure, out};
use ykval::store::Store;

pub(super) async fn look(report: &mut Report, context: &Context, store: &Store) -> Result<(), Failure> {
    let count = store.restored_count().await?;
    if count > 0 {
        let (tokens, ykvald) = (out::count(count, "restored token"), context.ykvald());
        report.warning(
            "keys",
            format!(
                "{tokens}: accepted again after two touches (RESTORED TOKENS in ykvald(8)). To accept the risk that used \
                 OTPs are accepted instead: {ykvald} token accept-risk"
            ),
        );
    }
    Ok(())
}
