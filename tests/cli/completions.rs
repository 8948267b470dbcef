//! What bash, zsh and fish complete: each shell is asked itself, and offers what `-h` has, no more and no less.

use crate::desk::{run, ykmap};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Stdio};
use tempfile::TempDir;
use tests::built;
use tests::help::{self, Verb};

/// The commands that shells complete.
const COMMANDS: [&str; 3] = ["ykmap", "ykvald", "ykwebd"];

/// A folder with a command's completions for a shell, under the file name of the packages.
fn written(command: &str, shell: &str, name: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let said = run(Command::new(built::program(command)).args(["completions", shell])).exits(0);
    assert_eq!(said.err, "", "{shell}");
    fs::write(folder.path().join(name), said.out).unwrap();
    folder
}

/// The shell as nobody has set it up, in that folder. `None` if it is not here.
fn shell(program: &str, folder: &TempDir, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder.path()).stdin(Stdio::null());
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", folder.path()).env("TERM", "dumb");
    let Ok(output) = command.output() else {
        tests::skip(&format!("needs {program}"));
        return None;
    };
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && err.is_empty(), "{program}: {}{out}{err}", output.status);
    Some(out.into_owned())
}

/// The verbs and options that can follow a verb.
fn offered(verb: &Verb) -> BTreeSet<String> {
    verb.option_names().map(str::to_owned).chain(verb.verbs.iter().cloned()).collect()
}

/// Two sets with their verb, so that one failure shows all differences.
fn differences(command: &str, of: &[(String, BTreeSet<String>, BTreeSet<String>)]) -> String {
    let mut told = String::new();
    for (verb, offered, wanted) in of {
        for lacks in wanted.difference(offered) {
            writeln!(told, "{command} {verb}: {lacks} is not offered").unwrap();
        }
        for more in offered.difference(wanted) {
            writeln!(told, "{command} {verb}: {more} is offered, and -h does not have it").unwrap();
        }
    }
    told
}

#[test]
fn bash_completes_every_verb_and_option() {
    COMMANDS.iter().for_each(|command| in_bash(command));
}

fn in_bash(command: &str) {
    let folder = written(command, "bash", command);
    let verbs = help::verbs(command);
    let mut script = format!(". ./{command}\ncomplete -p {command} >/dev/null || exit 9\n");
    for verb in &verbs {
        // As readline calls it: the words before, the typed part of the next, and the word before that.
        let words = [&[command.to_owned()], &verb.words[..]].concat();
        let (line, before, count) = (words.join(" "), words.last().unwrap(), words.len());
        for typed in ["", "-"] {
            writeln!(
                script,
                "COMP_WORDS=({line} {typed:?}) COMP_CWORD={count}; _{command} {command} {typed:?} {before}; \
                 echo \"{line}|${{COMPREPLY[*]}}\""
            )
            .unwrap();
        }
    }
    let Some(said) = shell("bash", &folder, &["--norc", "-c", &script]) else { return };
    let mut found = Vec::new();
    for (verb, lines) in verbs.iter().zip(said.lines().collect::<Vec<_>>().chunks(2)) {
        let mut here = BTreeSet::new();
        for line in lines {
            here.extend(line.split_once('|').unwrap().1.split_whitespace().map(str::to_owned));
        }
        let mut wanted = offered(verb);
        if verb.words == ["completions"] {
            wanted.extend(["bash", "zsh", "fish"].map(str::to_owned));
        }
        if verb.words == ["explain-code"] {
            wanted.extend(yubiotp::diagnostic::Code::ALL.iter().map(ToString::to_string));
        }
        found.push((verb.words.join(" "), here, wanted));
    }
    assert_eq!(found.len(), verbs.len(), "{said}");
    assert_eq!(differences(command, &found), "");
}

#[test]
fn fish_completes_every_verb_and_option() {
    COMMANDS.iter().for_each(|command| in_fish(command));
}

fn in_fish(command: &str) {
    let folder = written(command, "fish", &format!("{command}.fish"));
    let verbs = help::verbs(command);
    let mut script = format!("source {command}.fish\n");
    for verb in &verbs {
        let line = [&[command.to_owned()], &verb.words[..]].concat().join(" ");
        for typed in if verb.verbs.is_empty() { &["-", "--"][..] } else { &["", "-", "--"] } {
            writeln!(
                script,
                "for it in (complete -C '{line} {typed}'); echo '{}|'$it; end",
                verb.words.join(" ")
            )
            .unwrap();
        }
    }
    let Some(said) = shell("fish", &folder, &["--no-config", "-c", &script]) else { return };
    // What clap_complete writes for fish knows no options below two words.
    let known = verbs.iter().filter(|verb| verb.words.len() < 3);
    let found: Vec<_> = known
        .map(|verb| {
            let words = verb.words.join(" ");
            let of = said.lines().filter_map(|line| line.split_once('|')).filter(|(of, _)| *of == words);
            let names = of.filter_map(|(_, it)| it.split(['\t', '=']).next()).map(str::to_owned);
            let names: BTreeSet<_> = names.collect();
            (words, names, offered(verb))
        })
        .collect();
    assert_eq!(differences(command, &found), "");
}

/// In a terminal of zsh's own: all but the last letter of each name is typed, and the completed line is run.
#[test]
fn zsh_completes_every_verb_and_option() {
    COMMANDS.iter().for_each(|command| in_zsh(command));
}

fn in_zsh(command: &str) {
    let folder = written(command, "zsh", &format!("_{command}"));
    let mut script = ZSH.replace("ykmap", command);
    let mut wanted = Vec::new();
    for verb in help::verbs(command) {
        let offered = offered(&verb);
        // `-h` is whole as it is.
        for name in offered.iter().filter(|name| name.len() > 2) {
            let line = [&[command.to_owned()], &verb.words[..]].concat().join(" ");
            let typed = &name[..name.len() - 1];
            // What two begin with, as --password-fd and --password-file, is not completed.
            if offered.iter().any(|other| other != name && other.starts_with(typed)) {
                continue;
            }
            writeln!(script, "typed '{line} {typed}'").unwrap();
            wanted.push(format!("{line} {name}"));
        }
    }
    // Values: of a list, users, files, folders.
    let file = format!("key import _{command}");
    for (typed, became) in [
        ("completions fi", "completions fish"),
        ("verify roo", "verify root"),
        ("key import _yk", &file),
        ("init --dir=fol", "init --dir=folder"),
    ] {
        let has_verb = match typed.split(' ').next() {
            Some("verify") => command == "ykmap",
            Some("key") => command != "ykwebd",
            _ => true,
        };
        if has_verb {
            writeln!(script, "typed '{command} {typed}'").unwrap();
            wanted.push(format!("{command} {became}"));
        }
    }
    fs::create_dir(folder.path().join("folder")).unwrap();
    fs::write(folder.path().join("folio"), "").unwrap();
    script.push_str("zpty -d z\n");
    let Some(_) = shell("zsh", &folder, &["-f", "-n", &format!("_{command}")]) else { return };
    let Some(said) = shell("zsh", &folder, &["-f", "-c", &script]) else { return };
    let became: Vec<_> = said.lines().map(|line| line.trim_end_matches(['=', ' '])).collect();
    assert_eq!(became.len(), wanted.len(), "{said}");
    let other: Vec<_> = became.iter().zip(&wanted).filter(|(became, wanted)| became != wanted).collect();
    assert!(other.is_empty(), "what became of the line, and should have: {other:#?}");
}

/// `ykmap` there, or the other command in its place, is a function that says what it was called with.
const ZSH: &str = r#"
zmodload zsh/zpty || exit 9
zpty z zsh -f -i
tell() { zpty -w z "$1"; }
# The line is put together where it is run, so that the terminal's echo of it is not taken for that.
await() { zpty -r z heard "*<$1>*" || exit 8; }
tell 'PS1= PROMPT_EOL_MARK=; unsetopt zle_bracketed_paste; stty -echo; fpath=($PWD $fpath)'
tell 'autoload -Uz compinit; compinit -u -D; bindkey "^I" complete-word'
tell 'ykmap() { print -r -- "<${(j: :):-ykmap $@}>"; }; print -r -- "<rea""dy>"'
await ready
typed() {
    zpty -w -n z "$1"$'\t\n'
    await 'ykmap *'
    print -r -- "${${heard##*<}%%>*}"
}
"#;

/// Nothing is written for an unknown shell.
#[test]
fn another_shell_is_refused() {
    run(ykmap().args(["completions", "tcsh"])).exits(2).notes("[possible values: bash, zsh, fish]");
    run(ykmap().arg("completions")).exits(2).notes("Usage: ykmap completions");
}

/// `ykmap completions bash | head -1`, and a disk that is full.
#[test]
fn a_reader_that_goes_away_is_no_error_and_a_full_disk_is() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let said = run(ykmap().args(["completions", "bash"]).stdout(writer));
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    run(ykmap().args(["completions", "bash"]).stdout(full)).exits(2).notes("standard output: No space left");
}
