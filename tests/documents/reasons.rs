//! Every reason that the log of ykvald can have stands under DIAGNOSTICS, and nothing else does: the sentences in the source, and
//! the heads in the pages.

mod server;

use crate::page::Page;
use std::collections::BTreeSet;

/// One log: what can be in it, and the pages that explain it.
struct Log {
    pages: &'static [&'static str],
    /// The words that a line begins with, which have heads of their own.
    words: &'static [&'static str],
    /// Every sentence of the source.
    said: BTreeSet<String>,
    /// Texts that are joined from several sentences: the head, and its parts.
    together: &'static [(&'static str, &'static [&'static str])],
    /// What is among the sentences and no reason.
    no_reason: &'static [&'static str],
    /// Fewer of either would be a mistake of the test.
    at_least: usize,
}

impl Log {
    /// Everything under DIAGNOSTICS.
    fn heads(&self) -> Option<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        for name in self.pages {
            let page = Page::read(name)?;
            if crate::text_of(&format!("packaging/man/{name}")).contains("\n.Sh DIAGNOSTICS\n") {
                let heads = page.section("DIAGNOSTICS").heads();
                let heads = heads.iter().map(Page::template);
                // A path, and what is listed elsewhere.
                found.extend(heads.filter(|head| head.contains(|c: char| c.is_ascii_alphabetic())));
            }
        }
        for word in self.words {
            assert!(found.remove(*word), "{word}");
        }
        Some(found)
    }
}

fn logs() -> [Log; 1] {
    [server::log()]
}

#[test]
fn every_reason_of_a_log_is_explained_and_no_other() {
    for log in logs() {
        let Some(heads) = log.heads() else { return };
        let mut missing = Vec::new();
        let part = |text: &str| log.together.iter().any(|(_, parts)| parts.contains(&text));
        for sentence in &log.said {
            if !heads.contains(sentence) && !part(sentence) && !log.no_reason.contains(&sentence.as_str()) {
                missing.push(sentence);
            }
        }
        let together = |head: &str| log.together.iter().any(|(whole, _)| *whole == head);
        let unsaid: Vec<_> =
            heads.iter().filter(|head| !log.said.contains(*head) && !together(head)).collect();
        assert!(
            missing.is_empty() && unsaid.is_empty(),
            "said, and not under DIAGNOSTICS: {missing:#?}\nunder DIAGNOSTICS, and not said: {unsaid:#?}"
        );
        assert!(log.said.len() > log.at_least && heads.len() > log.at_least);
    }
}

/// What is put together is of these parts, and none of these lists has more than there is.
#[test]
fn nothing_is_left_over() {
    for log in logs() {
        let Some(heads) = log.heads() else { return };
        for (whole, parts) in log.together {
            assert!(heads.contains(*whole), "no page has: {whole}");
            for part in *parts {
                assert!(log.said.contains(*part), "nothing says: {part}");
                for literal in part.split("{}").map(str::trim) {
                    assert!(whole.contains(literal), "{literal:?} is no part of: {whole}");
                }
            }
        }
        for text in log.no_reason {
            assert!(log.said.contains(*text), "nothing says: {text}");
        }
    }
}
