//! What `ykmap -h`, or another command's, says of every verb, taken apart.

use crate::built;
use std::process::{Command, Stdio};

/// One verb, or the command itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verb {
    /// Its words, without the command's name: none for the command itself, two for `key import`.
    pub words: Vec<String>,
    /// The verbs below it, `help` among them.
    pub verbs: Vec<String>,
    /// Its options, `-h` and `--help` each by itself, with the name of the value: `--dir <DIR>`.
    pub options: Vec<String>,
    /// Its arguments as its usage has them: `<USER>`, `[OTP|ID]...`.
    pub arguments: Vec<String>,
}

impl Verb {
    /// Its options without the names of values.
    pub fn option_names(&self) -> impl Iterator<Item = &str> {
        self.options.iter().filter_map(|option| option.split(' ').next())
    }
}

/// Every verb of `ykmap`, or of another program of the workspace, the command itself first; not `help`, and the verbs
/// below it.
///
/// # Panics
/// Where the command does not run, or its help cannot be taken apart.
#[must_use]
pub fn verbs(program: &str) -> Vec<Verb> {
    let mut found = vec![verb(program, &[])];
    let mut at = 0;
    while let Some(Verb { words, verbs, .. }) = found.get(at).cloned() {
        for name in verbs.iter().filter(|name| *name != "help") {
            found.push(verb(program, &[&words[..], std::slice::from_ref(name)].concat()));
        }
        at += 1;
    }
    assert!(found.iter().all(|verb| verb.option_names().any(|name| name == "--config")), "{found:?}");
    found
}

fn verb(program: &str, words: &[String]) -> Verb {
    let mut command = Command::new(built::program(program));
    let output = command.args(words).arg("-h").stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{words:?}: {text}");
    let section = |name: &str| {
        let behind = text.split_once(&format!("\n{name}:\n")).map_or("", |(_, behind)| behind);
        behind.lines().take_while(|line| !line.is_empty()).collect::<Vec<_>>()
    };
    let usage = text.lines().find_map(|line| line.strip_prefix(&format!("Usage: {program}"))).unwrap();
    let mut before = "";
    let arguments = usage.split(' ').skip(1 + words.len()).filter(|word| {
        // A required option is shown with its value.
        let of_option = word.starts_with("--") || before.starts_with("--") || before.contains("|--");
        before = word;
        !of_option && !matches!(*word, "[OPTIONS]" | "<COMMAND>")
    });
    // An option in place of arguments, `<NUMBER|--user <NAME>>`, is among the options.
    let arguments = arguments.map(|word| word.split("|--").next().unwrap().to_owned()).collect();
    // The description of an option is wrapped, and further to the right.
    let begins = |line: &&str| line.find(|c: char| c != ' ').is_some_and(|indent| indent <= 6);
    let options = section("Options").into_iter().filter(begins).flat_map(|line| {
        let (names, _) = line.trim().split_once("  ").unwrap_or((line.trim(), ""));
        names.split(", ").map(str::to_owned).collect::<Vec<_>>()
    });
    let verbs = section("Commands").into_iter().filter(|line| !line.starts_with("   "));
    Verb {
        words: words.to_vec(),
        verbs: verbs.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect(),
        options: options.collect(),
        arguments,
    }
}
