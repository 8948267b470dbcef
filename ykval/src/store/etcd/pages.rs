//! Lists that take several answers. Each answer has to get further, and all of them together cannot have more keys than the
//! cluster said at first that there are: what is broken, or only passes for a member, does not make a list grow for ever.

use super::layout::{Span, after};
use super::link::Link;
use super::ops;
use crate::etcd::messages::{KeyValue, RangeRequest, RangeResponse};
use crate::store::{PAGE, StoreFault};
use yubiotp::diagnostic::{Code, Diagnostic};

/// The most keys of one answer.
pub(super) fn limit() -> i64 {
    i64::try_from(PAGE).unwrap_or(i64::MAX)
}

/// Reads all of a span as of one moment, page by page.
///
/// # Errors
/// A page is not in order, or together they are not what the first one said.
pub(super) async fn all(link: &Link, (first, end): Span) -> Result<Vec<KeyValue>, StoreFault> {
    let (mut all, mut from) = (Vec::new(), first);
    // At this revision there are so many keys.
    let mut whole: Option<(i64, usize)> = None;
    loop {
        let revision = whole.map_or(0, |(revision, _)| revision);
        let span = (from, end.clone());
        let page = link.range(RangeRequest { limit: limit(), revision, ..ops::span(span.clone()) }).await?;
        must_ascend(link, &page.kvs, &span)?;
        let rest = rest(link, &page)?;
        let revision = page.header.map_or(0, |header| header.revision);
        let (_, count) = *whole.get_or_insert((revision, page.kvs.len().saturating_add(rest)));
        let last = page.kvs.last().map(|kv| kv.key.clone());
        all.extend(page.kvs);
        match last {
            _ if all.len().saturating_add(rest) != count => return Err(endless(link)),
            _ if rest == 0 => return Ok(all),
            Some(last) => from = after(last),
            None => return Err(endless(link)),
        }
    }
}

/// How many keys the span has behind this page. Only the last page is not full.
///
/// # Errors
/// The keys, `count` and `more` do not fit together.
pub(super) fn rest(link: &Link, page: &RangeResponse) -> Result<usize, StoreFault> {
    let rest = usize::try_from(page.count).ok().and_then(|count| count.checked_sub(page.kvs.len()));
    let fits = |rest: &usize| if page.more { *rest > 0 && page.kvs.len() == PAGE } else { *rest == 0 };
    rest.filter(fits).ok_or_else(|| endless(link))
}

/// Fails unless each of these keys is in the span, and after the one before it.
pub(super) fn must_ascend(link: &Link, kvs: &[KeyValue], (first, end): &Span) -> Result<(), StoreFault> {
    let mut from = first.clone();
    for kv in kvs {
        if kv.key < from || kv.key >= *end {
            return Err(endless(link));
        }
        from = after(kv.key.clone());
    }
    Ok(())
}

/// The finding about answers that do not fit together.
pub(super) fn endless(link: &Link) -> StoreFault {
    let problem =
        "answered with a list that contradicts itself: keys are missing, twice in it, or more than it says";
    let remedy =
        "check that store names the members of etcd and nothing else, and look at the logs of the members";
    link.fault(Diagnostic::error(Code::DatabaseFailed, problem).advise(remedy))
}
