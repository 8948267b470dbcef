//! The verbs and options of `ykmap`, `ykvald` and `ykwebd`: what `-h` has and what their pages have is the same.

use crate::page::Page;
use crate::same;
use std::collections::BTreeSet;
use tests::help::{self, Verb};

/// The options of every verb.
const EVERYWHERE: [&str; 4] = ["--config", "--json", "-h", "--help"];

/// A verb with its own options and its arguments, in capitals: `key export --in-the-clear ID ...`.
fn of_help(verb: &Verb) -> String {
    let mut words = verb.words.clone();
    let own = |option: &&String| !EVERYWHERE.iter().any(|name| option.split(' ').next() == Some(name));
    let mut options: Vec<_> = verb.options.iter().filter(own).collect();
    options.sort();
    words.extend(options.into_iter().map(|option| option.replace(['<', '>'], "")));
    for argument in &verb.arguments {
        let argument = argument.replace("...", "|...").replace(['<', '>', '[', ']'], "");
        words.extend(argument.split('|').map(str::to_owned));
    }
    words.join(" ")
}

/// The same of a head such as `key export [--in-the-clear] [ID ...]`, or `client add --name NAME`.
fn of_manual(head: &Page) -> String {
    let marked = head.marked();
    let (mut verb, mut options, mut arguments) = (Vec::new(), Vec::new(), Vec::new());
    for piece in marked.split(['[', ']']) {
        let words: Vec<_> = piece.split_whitespace().filter_map(|word| word.split_once(':')).collect();
        let is_option = words.first().is_some_and(|(mark, _)| *mark == "Fl");
        if is_option {
            let words = words
                .iter()
                .map(|(mark, word)| if *mark == "Ar" { word.to_uppercase() } else { (*word).to_owned() });
            options.push(words.collect::<Vec<_>>().join(" "));
            continue;
        }
        let mut words = words.into_iter();
        while let Some((mark, word)) = words.next() {
            match mark {
                "Ic" => verb.push(word.to_owned()),
                "Fl" => options.push(format!("{word} {}", words.next().unwrap().1.to_uppercase())),
                _ => arguments.push(word.to_uppercase()),
            }
        }
    }
    options.sort();
    [verb, options, arguments].concat().join(" ")
}

/// Commands with verbs, and their pages.
const COMMANDS: [(&str, &str); 3] = [("ykmap", "ykmap.1"), ("ykvald", "ykvald.8"), ("ykwebd", "ykwebd.8")];

#[test]
fn the_page_has_every_verb_with_its_options_and_arguments() {
    for (command, name) in COMMANDS {
        let Some(page) = Page::read(name) else { return };
        let verbs = help::verbs(command);
        let help: BTreeSet<_> = verbs.iter().filter(|verb| verb.verbs.is_empty()).map(of_help).collect();
        let heads = page.section("VERBS").heads();
        // Of the one that clap brings there is no help to compare.
        let manual = heads.iter().map(of_manual).filter(|verb| verb != "help VERB ...");
        same((&format!("{command} -h"), &help), (name, &manual.collect()));
    }
}

#[test]
fn the_page_has_the_options_of_every_verb() {
    for (command, name) in COMMANDS {
        let Some(page) = Page::read(name) else { return };
        let verbs = help::verbs(command);
        let help = verbs[0].option_names().map(str::to_owned).collect();
        let heads = page.section("DESCRIPTION").heads();
        let manual =
            heads.iter().flat_map(|head| head.elements("code", Some("Fl"))).map(|option| option.text());
        same((&format!("{command} -h"), &help), (name, &manual.collect()));
        for verb in &verbs {
            for name in EVERYWHERE {
                assert!(verb.option_names().any(|option| option == name), "{:?} lacks {name}", verb.words);
            }
        }
    }
}

/// The shells that are known.
#[test]
fn the_page_names_the_shells() {
    for (command, name) in COMMANDS {
        let Some(page) = Page::read(name) else { return };
        let entries = page.section("VERBS").entries();
        let (_, body) = entries.iter().find(|(head, _)| head.text().starts_with("completions ")).unwrap();
        let manual: Vec<_> = body.elements("code", Some("Cm")).iter().map(Page::text).collect();
        let output = std::process::Command::new(tests::built::program(command))
            .args(["completions", "-h"])
            .output()
            .unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(help.contains(&format!("[possible values: {}]", manual.join(", "))), "{manual:?}: {help}");
    }
}
