//! The pages and `--help` have none of the phrases that readers stumble over, and one word for one thing.

use crate::markdown::pages;
use crate::page::PAGES;
use crate::{root, text_of};
use std::process::Command;
use tests::{built, help};

/// A phrase in lower case, and what to write instead.
const AVOIDED: [(&str, &str); 16] = [
    (" is told ", "returns, gets"),
    (" are told ", "gets"),
    (" mend ", "fix"),
    (" mended ", "fixed"),
    (" denies ", "rejects"),
    (" good again ", "valid again"),
    (" stands there ", "is there"),
    (" what stands ", "the text"),
    (" how far it has come ", "its position"),
    (" how far the token has come ", "the token's position"),
    (" press the yubikey ", "touch"),
    (" presses ", "touches"),
    (" settings file ", "configuration file"),
    (" public id ", "public ID"),
    (" private id ", "private ID"),
    (" whoever ", "anyone who"),
];

/// Prose of a page, in one line: without blocks of code, code in a line, and heads that quote the program.
fn prose(path: &str) -> String {
    let text = text_of(path);
    let (mut lines, mut in_code) = (Vec::new(), false);
    for line in text.lines() {
        if line.starts_with("```") || line.starts_with(".Bd -literal") || line == ".Ed" {
            in_code = line.starts_with(".Bd") || line.starts_with("```") && !in_code;
        } else if !in_code && !line.starts_with(".It ") {
            lines.push(line.trim_start_matches(['#', '>', '-', '|', ' ']));
        }
    }
    lines.join(" ").split('`').step_by(2).collect::<Vec<_>>().join("`")
}

/// The phrases that `text` has, with some words around.
fn found(text: &str) -> Vec<String> {
    let words = text.split_whitespace().map(|word| word.replace(['(', ')', ',', '*', '.', ':', ';'], ""));
    let words: Vec<_> = words.collect();
    let line = format!(" {} ", words.join(" "));
    // "ID" is right and "id" is not; everything else counts in capitals, too.
    let lower = line.replace(" ID", " \u{1}").to_lowercase();
    let mut found = Vec::new();
    for (phrase, instead) in AVOIDED {
        for (at, _) in lower.match_indices(phrase) {
            let from = lower[..at].char_indices().rev().nth(39).map_or(0, |(from, _)| from);
            let around: String = lower[from..].chars().take(phrase.len() + 80).collect();
            found.push(format!("{around:?}: write {instead:?}"));
        }
    }
    found
}

#[test]
fn pages_and_help_are_in_plain_words() {
    let mut texts: Vec<_> = pages().into_iter().map(|page| (prose(&page), page)).collect();
    texts.push((prose("CHANGELOG.md"), "CHANGELOG.md".to_owned()));
    texts.extend(PAGES.map(|name| (prose(&format!("packaging/man/{name}")), name.to_owned())));
    for entry in std::fs::read_dir(root().join("pam.d-examples")).unwrap() {
        let path = format!("pam.d-examples/{}", entry.unwrap().file_name().into_string().unwrap());
        texts.push((prose(&path), path));
    }
    for program in ["ykmap", "ykvald", "ykwebd"] {
        for verb in help::verbs(program) {
            let output =
                Command::new(built::program(program)).args(&verb.words).arg("--help").output().unwrap();
            let name = format!("{program} {} --help", verb.words.join(" "));
            texts.push((String::from_utf8(output.stdout).unwrap(), name));
        }
    }
    assert!(texts.len() > 60);
    let found: Vec<_> = texts
        .iter()
        .flat_map(|(text, name)| found(text).into_iter().map(move |what| format!("{name}: {what}")))
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn the_phrases_are_found() {
    let has = |text: &str| found(text).len();
    assert_eq!(has("What the server is told.\nWhoever has a (public id) can use it."), 3);
    assert_eq!(has("Users who touch a YubiKey with this public ID are told apart."), 1);
    assert_eq!(has("Anyone who has the public ID can tell: it stands for a token."), 0);
}
