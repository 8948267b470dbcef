//! The time in answers.

use crate::clock;

/// Now, as the field `t` of answers: `2026-11-22T00:30:01Z0284`, in UTC, followed by a zero and the milliseconds.
pub(crate) fn t() -> String {
    let now = clock::written_in_milliseconds(clock::now_in_milliseconds());
    now.replace('.', "Z0").trim_end_matches('Z').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_answers_have_it() {
        let t = t();
        assert_eq!(t.len(), "2026-11-22T00:30:01Z0284".len(), "{t}");
        let body = format!("t={t}\r\nstatus=OK\r\n");
        let read = yubiotp::protocol::time_of(body.as_bytes()).unwrap();
        assert!(i64::try_from(read).unwrap().abs_diff(clock::now()) <= 1, "{t}");
    }
}
