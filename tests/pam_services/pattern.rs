//! Lines whose numbers differ from run to run.

/// Whether `text` is `pattern`, in which `*` stands for anything.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == text };
    let Some(rest) = text.strip_prefix(head) else { return false };
    rest.char_indices().map(|(at, _)| at).chain([rest.len()]).any(|at| matches(tail, rest.split_at(at).1))
}

#[test]
fn a_star_is_anything() {
    assert!(matches("tty=/dev/pts/* reason=*", "tty=/dev/pts/12 reason="));
    assert!(matches("a*b", "abab"));
    for wrong in ["a", "ab ", "xab"] {
        assert!(!matches("a*b", wrong), "{wrong}");
    }
}
