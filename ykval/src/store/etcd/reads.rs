//! Reads tokens.

use super::cache::{CachedMeta, CachedToken};
use super::layout::Meta;
use super::link::Link;
use super::state::{Stored, TokenState};
use super::{ops, pages};
use crate::etcd::messages::KeyValue;
use crate::guard::{Accepted, Forgotten};
use crate::store::batch::Batched;
use crate::store::{Distinct, Retired, StoreFault, Token};
use std::collections::BTreeMap;
use std::time::Duration;
use yubiotp::PublicId;

/// Tokens that are read at one moment: two reads each.
pub(super) const AT_ONCE: usize = ops::MOST_OPS / 2;

/// Tokens that are read at the same time: one request.
impl Batched<Link> for PublicId {
    /// A damaged value is a fault for its caller only.
    type Answer = Result<Option<Token>, StoreFault>;

    const MOST: usize = AT_ONCE;
    const PATIENCE: Duration = Duration::from_secs(1);

    async fn ask(link: &Link, ids: Vec<Self>) -> Result<Vec<Self::Answer>, StoreFault> {
        let Snapshot { meta, tokens, .. } = Snapshot::read(link, &ids).await?;
        let mut cache = link.cache();
        cache.note_meta(CachedMeta::from(&meta));
        let answer = |state: Result<TokenState, StoreFault>| {
            let state = state?;
            cache.note(state.id, CachedToken::of(&state, &meta.value));
            Ok(state.token(&meta.value))
        };
        Ok(tokens.into_iter().map(answer).collect())
    }
}

/// Some tokens, and what holds for all of them, as of one moment.
pub(super) struct Snapshot {
    pub(super) meta: Stored<Meta>,
    /// The last change by an administrator.
    pub(super) change: i64,
    pub(super) number: u64,
    /// In the order that was asked for.
    pub(super) tokens: Vec<Result<TokenState, StoreFault>>,
}

impl Snapshot {
    /// Up to [`AT_ONCE`] tokens.
    pub(super) async fn read(link: &Link, ids: &[PublicId]) -> Result<Self, StoreFault> {
        let keys = &link.keys;
        let common = [ops::get(keys.meta()), ops::get(keys.change())];
        let of_tokens = ids.iter().flat_map(|id| TokenState::ranges(keys, id));
        let read = link.read(common.into_iter().chain(of_tokens)).await?;
        let [meta, change, tokens @ ..] = read.as_slice() else { return Err(link.strange()) };
        let change = link.change(change)?;
        let token = |(id, pair): (&PublicId, &[Vec<KeyValue>])| match pair {
            [record, reached] => TokenState::read(link, *id, record, reached),
            _ => Err(link.strange()),
        };
        Ok(Self {
            meta: link.meta(meta)?,
            change: change.revision,
            number: change.value.0,
            tokens: ids.iter().zip(tokens.chunks_exact(2)).map(token).collect(),
        })
    }
}

/// Up to [`PAGE`] tokens after `after`, with all their positions, as of one moment.
pub(super) struct Page {
    pub(super) meta: Stored<Meta>,
    pub(super) change: i64,
    /// How many more tokens there were a moment before.
    rest: usize,
    pub(super) tokens: Vec<TokenState>,
}

impl Page {
    pub(super) async fn read(link: &Link, after: Option<&PublicId>) -> Result<Self, StoreFault> {
        let keys = &link.keys;
        let from = after.map_or_else(|| keys.tokens(), |after| keys.tokens_after(after));
        let limit = pages::limit();
        let mut names = ops::span(from.clone());
        (names.limit, names.keys_only) = (limit, true);
        let names = link.range(names).await?;
        let rest = pages::rest(link, &names)?;
        let names = names.kvs;
        pages::must_ascend(link, &names, &from)?;
        let id = |kv: &KeyValue| keys.token_of(&kv.key).map_err(|_| link.damaged(named(&kv.key)));
        let ends =
            names.first().zip(names.last()).map(|(first, last)| Ok::<_, StoreFault>((id(first)?, id(last)?)));
        let common = [ops::get(keys.meta()), ops::get(keys.change())];
        // Of those that are there now: some may have come since.
        let ends = ends.transpose()?;
        let between = ends.map(|(first, last)| keys.tokens_between(&first, &last));
        let of_tokens = match (ends, &between) {
            (Some((first, last)), Some(between)) => {
                let mut records = ops::span(between.clone());
                records.limit = limit;
                vec![records, ops::span(keys.positions_between(&first, &last))]
            }
            _ => Vec::new(),
        };
        let read = link.read_page(common.into_iter().chain(of_tokens).collect()).await?;
        let [meta, change, tokens @ ..] = read.as_slice() else { return Err(link.strange()) };
        let (meta, change) = (link.meta(meta)?, link.change(change)?.revision);
        let [records, reached] = tokens else { return Ok(Self { meta, change, rest, tokens: Vec::new() }) };
        if let Some(between) = &between {
            pages::must_ascend(link, records, between)?;
        }
        // No token is ever deleted.
        if records.len() < names.len() {
            return Err(pages::endless(link));
        }
        let mut of_each: BTreeMap<PublicId, Vec<KeyValue>> = BTreeMap::new();
        for kv in reached {
            let (id, _) = keys.position_of(&kv.key).map_err(|_| link.damaged(named(&kv.key)))?;
            of_each.entry(id).or_default().push(kv.clone());
        }
        let token = |record: &KeyValue| {
            let id = id(record)?;
            TokenState::read(
                link,
                id,
                std::slice::from_ref(record),
                of_each.get(&id).map_or(&[][..], Vec::as_slice),
            )
        };
        Ok(Self { meta, change, rest, tokens: records.iter().map(token).collect::<Result<_, _>>()? })
    }
}

/// A key that is not one of a store, for people.
pub(super) fn named(key: &[u8]) -> String {
    format!("the key {}", String::from_utf8_lossy(key).escape_debug())
}

/// Looks at every token, page by page: not at one moment.
pub(super) async fn each_page(
    link: &Link,
    mut look: impl FnMut(&Page) -> Result<(), StoreFault>,
) -> Result<(), StoreFault> {
    let mut after: Option<PublicId> = None;
    let mut before: Option<(i64, usize)> = None;
    let mut was_quiet = false;
    loop {
        let page = Page::read(link, after.as_ref()).await?;
        // While nobody enrolls anything, each page leaves fewer than the one before.
        let is_quiet = before.is_some_and(|(change, _)| change == page.change);
        let is_nearer = page.tokens.is_empty() || before.is_none_or(|(_, rest)| page.rest < rest);
        if is_quiet && was_quiet && !is_nearer {
            return Err(pages::endless(link));
        }
        (before, was_quiet) = (Some((page.change, page.rest)), is_quiet);
        look(&page)?;
        match page.tokens.last() {
            Some(last) => after = Some(last.id),
            None => return Ok(()),
        }
    }
}

pub(super) async fn retired(link: &Link) -> Result<Vec<Retired>, StoreFault> {
    let mut retired = Vec::new();
    each_page(link, |page| {
        retired.extend(page.tokens.iter().flat_map(TokenState::retired));
        Ok(())
    })
    .await?;
    Ok(retired)
}

pub(super) async fn restored_count(link: &Link) -> Result<u64, StoreFault> {
    let mut count = 0_u64;
    each_page(link, |page| {
        let epochs = &page.meta.value.epochs;
        let records = page.tokens.iter().filter_map(|token| token.record.as_ref());
        let restored = records.filter(|record| epochs.of(record.restored).is_some()).count();
        count = count.saturating_add(restored as u64);
        Ok(())
    })
    .await?;
    Ok(count)
}

/// Compares with every key that the store has or had. Returns the change as of which that is: as long as there was no later
/// one, nobody has enrolled anything else.
pub(super) async fn compare(link: &Link, distinct: &mut Distinct) -> Result<i64, StoreFault> {
    loop {
        let (mut change, mut retired) = (None, Vec::new());
        let mut is_stable = true;
        each_page(link, |page| {
            is_stable &= *change.get_or_insert(page.change) == page.change;
            for state in &page.tokens {
                if let Some(token) = state.token(&page.meta.value) {
                    distinct.is_here(&token)?;
                }
                retired.extend(state.retired());
            }
            Ok(())
        })
        .await?;
        if let (true, Some(change)) = (is_stable, change) {
            return match distinct.were_here(&retired).first() {
                Some(same) => Err((*same).into()),
                None => Ok(change),
            };
        }
    }
}

pub(super) async fn forgotten(link: &Link, accepted: &[Accepted]) -> Result<Vec<Forgotten>, StoreFault> {
    let mut forgotten = Vec::new();
    for some in accepted.chunks(AT_ONCE) {
        let mut ids: Vec<_> = some.iter().map(|one| one.token).collect();
        ids.sort();
        ids.dedup();
        let tokens = Snapshot::read(link, &ids).await?.tokens;
        let tokens: BTreeMap<_, _> = ids.into_iter().zip(tokens).collect();
        for one in some {
            let stored = match tokens.get(&one.token) {
                Some(Ok(state)) => state.position_with(one.key),
                // A fault for whoever asks for this token; nobody accepts an OTP of it.
                Some(Err(StoreFault::Damaged { .. })) => continue,
                Some(Err(fault)) => return Err(fault.clone()),
                None => return Err(link.strange()),
            };
            if stored < Some(one.position) {
                forgotten.push(Forgotten { accepted: *one, stored });
            }
        }
    }
    Ok(forgotten)
}
