//! Advances tokens, which every accepted OTP does. `etcd.rs` explains the races.

use super::cache::{CachedMeta, CachedToken};
use super::layout::{Meta, Reached, Record};
use super::link::Link;
use super::ops;
use super::restored::OwnMark;
use super::state::{Stored, one};
use super::witness;
use crate::etcd::messages::{KeyValue, RequestOp, ResponseOp, TxnRequest};
use crate::store::batch::Batched;
use crate::store::{Advanced, Step, StoreFault};
use std::time::Duration;
use yubiotp::PublicId;
use yubiotp::key::Fingerprint;
use yubiotp::ledger::Receipt;

/// Rounds in which nothing is decided: something changes faster than it can be read.
const IDLE_ROUNDS: usize = 10;

#[expect(
    clippy::disallowed_methods,
    reason = "only for a change that the cluster answered: it is stored on a majority"
)]
const fn receipt(step: &Step) -> Receipt<PublicId> {
    Receipt::after_durable_advance(step.token, step.to)
}

impl Batched<Link> for Step {
    /// A damaged token is a fault for its caller only.
    type Answer = Result<Advanced, StoreFault>;

    /// Each is two reads, if it was not read before.
    const MOST: usize = ops::MOST_OPS / 2;
    const PATIENCE: Duration = Duration::from_secs(1);

    async fn ask(link: &Link, steps: Vec<Self>) -> Result<Vec<Self::Answer>, StoreFault> {
        let mut batch = Batch::new(link, steps);
        let mut idle = 0;
        while batch.is_open() && idle < IDLE_ROUNDS {
            let before = batch.undecided();
            if let Err(fault) = batch.round().await {
                batch.fail(&fault);
            }
            idle = if batch.undecided() < before { 0 } else { idle + 1 };
        }
        batch.fail(&link.failed("a token changes faster than it can be read"));
        let silent = || Err(link.strange());
        Ok(batch.answers.into_iter().map(|answer| answer.unwrap_or_else(silent)).collect())
    }
}

/// The steps of one token with one key, in the order of their positions. They are taken one after the other, the lowest
/// first, so that none is rejected because of another that came with it.
struct Group {
    token: PublicId,
    key: Fingerprint,
    /// With their places in the batch.
    steps: Vec<(usize, Step)>,
    /// What was read before, by which a step may succeed: the very values that it compares.
    known: Option<(CachedToken, CachedMeta)>,
}

/// What was read of a group's token.
struct Found {
    record: Option<Stored<Record>>,
    reached: Option<Stored<Reached>>,
}

struct Batch<'a> {
    link: &'a Link,
    groups: Vec<Group>,
    answers: Vec<Option<<Step as Batched<Link>>::Answer>>,
}

impl<'a> Batch<'a> {
    fn new(link: &'a Link, steps: Vec<Step>) -> Self {
        let answers = steps.iter().map(|_| None).collect();
        let mut groups: Vec<Group> = Vec::new();
        for (place, step) in steps.into_iter().enumerate() {
            let same = |group: &&mut Group| group.token == step.token && group.key == step.key;
            match groups.iter_mut().find(same) {
                Some(group) => {
                    group.known = group.known.filter(|known| may_succeed_by(&step, known));
                    group.steps.push((place, step));
                }
                None => {
                    let (token, key, known) = (step.token, step.key, known(link, &step));
                    groups.push(Group { token, key, steps: vec![(place, step)], known });
                }
            }
        }
        groups.iter_mut().for_each(|group| group.steps.sort_by_key(|(_, step)| step.to));
        Self { link, groups, answers }
    }

    fn is_open(&self) -> bool {
        !self.groups.is_empty()
    }

    fn undecided(&self) -> usize {
        self.groups.iter().map(|group| group.steps.len()).sum()
    }

    /// Nothing more is asked.
    fn fail(&mut self, fault: &StoreFault) {
        for group in std::mem::take(&mut self.groups) {
            self.answer(group.steps, |_| Err(fault.clone()));
        }
    }

    fn answer(
        &mut self,
        steps: impl IntoIterator<Item = (usize, Step)>,
        with: impl Fn(&Step) -> Result<Advanced, StoreFault>,
    ) {
        for (place, step) in steps {
            if let Some(answer) = self.answers.get_mut(place) {
                *answer = Some(with(&step));
            }
        }
    }

    /// Reads what is not known, and takes a step of each group that is not decided by that.
    async fn round(&mut self) -> Result<(), StoreFault> {
        let (known, unknown): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.groups).into_iter().partition(|group| group.known.is_some());
        self.groups = known;
        if !unknown.is_empty() {
            self.look(unknown).await?;
        }
        self.take().await;
        Ok(())
    }

    /// Decides by what is stored now; groups that may succeed stay.
    async fn look(&mut self, unknown: Vec<Group>) -> Result<(), StoreFault> {
        let keys = &self.link.keys;
        let of = |group: &Group| {
            [ops::get(keys.token(&group.token)), ops::get(keys.position(&group.token, group.key))]
        };
        let ranges = unknown.iter().flat_map(of).chain([ops::get(keys.meta())]);
        let read = match self.link.read(ranges).await {
            Ok(read) => read,
            Err(fault) => {
                self.groups.extend(unknown);
                return Err(fault);
            }
        };
        let meta = read.last().ok_or_else(|| self.link.strange()).and_then(|kvs| self.link.meta(kvs));
        let meta = match meta {
            Ok(meta) => meta,
            Err(fault) => {
                self.groups.extend(unknown);
                return Err(fault);
            }
        };
        self.link.cache().note_meta(CachedMeta::from(&meta));
        for (group, pair) in unknown.into_iter().zip(read.chunks_exact(2)) {
            self.decide(group, pair, &meta);
        }
        Ok(())
    }

    /// Decides what a group's token has decided: `pair` is its record and its position.
    fn decide(&mut self, mut group: Group, pair: &[Vec<KeyValue>], meta: &Stored<Meta>) {
        let found = match read(self.link, &group, pair) {
            Ok(found) => found,
            Err(fault) => return self.answer(group.steps, |_| Err(fault.clone())),
        };
        let record = found.record.as_ref().map(|record| &record.value);
        let is_this_key = match record {
            Some(record) => record.fingerprint() == group.key,
            None => group.key == Fingerprint::ELSEWHERE && meta.value.epochs.since().is_none(),
        };
        if !is_this_key {
            return self.answer(group.steps, |step| Err(StoreFault::NotThisKey(step.token)));
        }
        if record.is_some_and(|record| !record.enabled) {
            return self.answer(group.steps, |_| Ok(Advanced::Disabled));
        }
        let restored = record.and_then(|record| meta.value.epochs.of(record.restored));
        let cached = CachedToken {
            revision: found.record.as_ref().map_or(0, |record| record.revision),
            key: group.key,
            enabled: true,
            is_used: found.reached.is_some(),
            is_restored: restored.is_some(),
            epoch: meta.value.epochs.now,
        };
        self.link.cache().note(group.token, cached);
        group.known = Some((cached, CachedMeta::from(meta)));
        if let Some(reached) = found.reached {
            self.not_above(&mut group, &reached.value);
        }
        if let Some(since) = restored {
            let (stay, too_late): (_, Vec<_>) =
                group.steps.into_iter().partition(|(_, step)| step.as_restored);
            group.steps = stay;
            self.answer(too_late, |_| Ok(Advanced::Restored { since }));
        }
        if !group.steps.is_empty() {
            self.groups.push(group);
        }
    }

    /// Rejects the steps that this stored position has reached.
    fn not_above(&mut self, group: &mut Group, reached: &Reached) {
        let stored = reached.position;
        let above = group.steps.partition_point(|(_, step)| step.to <= stored);
        let not_above: Vec<_> = group.steps.drain(..above).collect();
        self.answer(not_above, |step| {
            let is_repeated = step.to == stored && !step.nonce.is_empty() && step.nonce == reached.nonce;
            Ok(if is_repeated { Advanced::SameRequest } else { Advanced::Replayed { stored } })
        });
    }

    /// Takes the lowest step of each group, in one transaction. Each is taken, or not, for itself. What was read before is
    /// compared: if it is not what is stored now, nothing was changed, and the answer has what is.
    async fn take(&mut self) {
        let groups = std::mem::take(&mut self.groups);
        if groups.is_empty() {
            return;
        }
        let first = ops::read(ops::get(self.link.keys.meta()));
        let steps = groups.iter().filter_map(|group| step(self.link, group));
        let txn = TxnRequest {
            compare: witness::is_there(self.link).into_iter().collect(),
            success: [first].into_iter().chain(steps).collect(),
            failure: Vec::new(),
        };
        let answer = match self.link.commit(txn).await {
            Ok(answer) if !answer.succeeded => {
                self.groups = groups;
                return self.fail(&self.link.was_set_back());
            }
            Ok(answer) if answer.responses.len() == groups.len() + 1 => answer,
            // Whether any was taken is unknown. They are never asked again.
            other => {
                self.groups = groups;
                return self.fail(&other.err().unwrap_or_else(|| self.link.strange()));
            }
        };
        let revision = answer.header.map_or(0, |header| header.revision);
        let mut answers = answer.responses.into_iter();
        let now = answers.next().and_then(ops::range).ok_or_else(|| self.link.strange());
        let now = now.and_then(|now| self.link.meta(&now.kvs));
        if let Ok(now) = &now {
            self.link.cache().note_meta(CachedMeta::from(now));
        }
        for (group, said) in groups.into_iter().zip(answers) {
            self.taken(group, said, &now, revision);
        }
    }

    /// Reads what became of one step.
    fn taken(
        &mut self,
        mut group: Group,
        said: ResponseOp,
        meta: &Result<Stored<Meta>, StoreFault>,
        revision: i64,
    ) {
        let (Some(said), Some((cached, known)), false) =
            (ops::txn(said), group.known, group.steps.is_empty())
        else {
            let fault = self.link.strange();
            return self.answer(group.steps, |_| Err(fault.clone()));
        };
        if said.succeeded {
            let (place, step) = group.steps.remove(0);
            let reached = Reached::plain(step.to, step.nonce.clone(), Some(step.at));
            self.answer([(place, step)], |step| Ok(Advanced::Fresh(receipt(step))));
            let made = if cached.revision == 0 { revision } else { cached.revision };
            let cached = CachedToken { revision: made, is_used: true, ..cached };
            self.link.cache().note(group.token, cached);
            group.known = Some((cached, known));
            self.not_above(&mut group, &reached);
            if !group.steps.is_empty() {
                self.groups.push(group);
            }
            return;
        }
        match (ops::ranges(said.responses), meta) {
            (Some(pair), Ok(meta)) => self.decide(group, &pair, meta),
            (Some(_), Err(fault)) => self.answer(group.steps, |_| Err(fault.clone())),
            (None, _) => {
                let fault = self.link.strange();
                self.answer(group.steps, |_| Err(fault.clone()));
            }
        }
    }
}

/// What was read before, if a step may succeed by it. If not, what is stored now is read first: nothing is rejected by
/// what was stored before.
fn known(link: &Link, step: &Step) -> Option<(CachedToken, CachedMeta)> {
    let cache = link.cache();
    let known = cache.get(&step.token).zip(cache.meta());
    known.filter(|known| may_succeed_by(step, known))
}

fn may_succeed_by(step: &Step, (token, meta): &(CachedToken, CachedMeta)) -> bool {
    let is_made = token.revision != 0 || !meta.is_restored;
    let is_as_told = step.as_restored || (!token.is_restored && token.epoch == meta.epoch);
    token.key == step.key && token.enabled && is_made && is_as_told
}

/// Reads the record and the position of a group's token.
fn read(link: &Link, group: &Group, pair: &[Vec<KeyValue>]) -> Result<Found, StoreFault> {
    let [record, reached] = pair else { return Err(link.strange()) };
    let name = || format!("token {}", group.token);
    Ok(Found { record: one(link, record, name)?, reached: one(link, reached, name)? })
}

/// The lowest step of a group: if nothing that it was decided by has changed, and the position is lower, stores the position.
fn step(link: &Link, group: &Group) -> Option<RequestOp> {
    let (_, Step { token, key, to, nonce, at, .. }) = group.steps.first()?;
    let (cached, meta) = group.known?;
    let keys = &link.keys;
    let (record, position) = (keys.token(token), keys.position(token, *key));
    let mut compare = vec![
        ops::is_unchanged(record.clone(), cached.revision),
        ops::is_unchanged(keys.meta(), meta.revision),
    ];
    if cached.is_used {
        compare.push(ops::is_below(position.clone(), Reached::bound(*to)));
        // A value that no version of this program writes may be lower than any position.
        compare.push(ops::is_above(position.clone(), Reached::below_all()));
    } else {
        compare.push(ops::is_unchanged(position.clone(), 0));
    }
    let reached = Reached::plain(*to, nonce.clone(), Some(*at));
    let mut success = vec![ops::put(position.clone(), &reached)];
    if cached.revision == 0 {
        // Only a key storage module knew it.
        let restored = OwnMark { epoch: meta.epoch, since: None };
        success.push(ops::put(record.clone(), &Record { key: None, enabled: true, restored }));
    }
    let failure = vec![ops::read(ops::get(record)), ops::read(ops::get(position))];
    Some(ops::nested(TxnRequest { compare, success, failure }))
}
