//! Builds requests: comparisons, reads and writes of keys.

use super::layout::{Span, Value};
use crate::etcd::messages::{
    Compare, CompareResult, CompareTarget, DeleteRangeRequest, KeyValue, PutRequest, RangeRequest,
    RangeResponse, Request, RequestOp, Response, ResponseOp, TargetUnion, TxnRequest, TxnResponse,
};

/// Operations in one request, and comparisons: what etcd allows (`--max-txn-ops`), less a few for what goes with each.
pub(super) const MOST_OPS: usize = 120;

/// One key.
pub(super) fn get(key: Vec<u8>) -> RangeRequest {
    RangeRequest { key, ..RangeRequest::default() }
}

/// All keys of a span.
pub(super) fn span((key, range_end): Span) -> RangeRequest {
    RangeRequest { key, range_end, ..RangeRequest::default() }
}

/// How many keys there are, and no key.
pub(super) fn count(of: Span) -> RangeRequest {
    RangeRequest { count_only: true, ..span(of) }
}

fn op(request: Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

pub(super) fn read(range: RangeRequest) -> RequestOp {
    op(Request::Range(range))
}

pub(super) fn nested(txn: TxnRequest) -> RequestOp {
    op(Request::Txn(txn))
}

pub(super) fn put(key: Vec<u8>, value: &impl Value) -> RequestOp {
    op(Request::Put(PutRequest { key, value: value.text().into_bytes(), ..PutRequest::default() }))
}

pub(super) fn delete((key, range_end): Span) -> RequestOp {
    op(Request::DeleteRange(DeleteRangeRequest { key, range_end, prev_kv: false }))
}

fn compare(key: Vec<u8>, target: CompareTarget, result: CompareResult, with: TargetUnion) -> Compare {
    Compare {
        result: result.into(),
        target: target.into(),
        key,
        target_union: Some(with),
        range_end: Vec::new(),
    }
}

/// Nobody has written the key since it had this revision; 0: it does not exist.
pub(super) fn is_unchanged(key: Vec<u8>, revision: i64) -> Compare {
    compare(key, CompareTarget::Mod, CompareResult::Equal, TargetUnion::ModRevision(revision))
}

/// The value is lower, bytewise. False of a key that does not exist.
pub(super) fn is_below(key: Vec<u8>, value: Vec<u8>) -> Compare {
    compare(key, CompareTarget::Value, CompareResult::Less, TargetUnion::Value(value))
}

/// The value is higher, bytewise. False of a key that does not exist.
pub(super) fn is_above(key: Vec<u8>, value: Vec<u8>) -> Compare {
    compare(key, CompareTarget::Value, CompareResult::Greater, TargetUnion::Value(value))
}

/// A request that only reads: everything as of one moment.
pub(super) fn reads(ranges: impl IntoIterator<Item = RangeRequest>) -> TxnRequest {
    TxnRequest { success: ranges.into_iter().map(read).collect(), ..TxnRequest::default() }
}

/// The answer to one read.
pub(super) fn range(answer: ResponseOp) -> Option<RangeResponse> {
    match answer.response? {
        Response::Range(range) => Some(range),
        _ => None,
    }
}

/// The answer to a request in a request.
pub(super) fn txn(answer: ResponseOp) -> Option<TxnResponse> {
    match answer.response? {
        Response::Txn(txn) => Some(txn),
        _ => None,
    }
}

/// The answers to reads only.
pub(super) fn ranges(answer: Vec<ResponseOp>) -> Option<Vec<Vec<KeyValue>>> {
    answer.into_iter().map(|answer| range(answer).map(|range| range.kvs)).collect()
}
