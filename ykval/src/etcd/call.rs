//! Which method of etcd takes which message, and what it answers.

use super::messages::{
    AlarmRequest, AlarmResponse, AuthenticateRequest, AuthenticateResponse, MemberListRequest,
    MemberListResponse, RangeRequest, RangeResponse, ResponseHeader, StatusRequest, StatusResponse,
    TxnRequest, TxnResponse,
};
use prost::Message;

/// A request.
pub(crate) trait Call: Message {
    /// The path of the method.
    const PATH: &'static str;
    /// What it answers.
    type Answer: Answer;
    /// Whether the answer shows all that was stored before the request was sent: its revision cannot be lower.
    fn is_linearizable(&self) -> bool {
        true
    }
    /// Whether an answer without a header is one: etcd 3.4 answers so about alarms.
    fn may_lack_header() -> bool {
        Self::PATH == "/etcdserverpb.Maintenance/Alarm"
    }
}

/// An answer.
pub(crate) trait Answer: Message + Default {
    /// Its header; `None`: it has none.
    fn header(&self) -> Option<&ResponseHeader>;
}

macro_rules! calls {
    ($($request:ident => $answer:ident, $path:literal $(, $linearizable:expr)?;)*) => {$(
        impl Call for $request {
            const PATH: &'static str = $path;
            type Answer = $answer;
            $(fn is_linearizable(&self) -> bool {
                let of: fn(&Self) -> bool = $linearizable;
                of(self)
            })?
        }

        impl Answer for $answer {
            fn header(&self) -> Option<&ResponseHeader> {
                self.header.as_ref()
            }
        }
    )*};
}

calls! {
    RangeRequest => RangeResponse, "/etcdserverpb.KV/Range", |range| !range.serializable;
    TxnRequest => TxnResponse, "/etcdserverpb.KV/Txn";
    StatusRequest => StatusResponse, "/etcdserverpb.Maintenance/Status", |_| false;
    AlarmRequest => AlarmResponse, "/etcdserverpb.Maintenance/Alarm", |_| false;
    MemberListRequest => MemberListResponse, "/etcdserverpb.Cluster/MemberList", |_| false;
    AuthenticateRequest => AuthenticateResponse, "/etcdserverpb.Auth/Authenticate", |_| false;
}
