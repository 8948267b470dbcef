//! Questions on the terminal.

use crate::enroll::talk::{Gone, Talk, trimmed};
use crate::{files, out};
use yubiotp::dialogue::Answer;
use zeroize::Zeroizing;

/// The person at this terminal.
pub(super) struct Console;

impl Talk for Console {
    fn say(&mut self, text: &str) -> Result<(), Gone> {
        out::lines(text.strip_suffix('\n').unwrap_or(text));
        Ok(())
    }

    fn ask(&mut self, prompt: &str, echo: bool) -> Result<Answer, Gone> {
        let line = files::answer(prompt, echo).map_err(|_| Gone)?;
        // Not even the end of a line: Ctrl-D, or the terminal is gone.
        if line.is_empty() {
            out::line("");
            return Err(Gone);
        }
        let text = line.trim_end_matches(['\r', '\n']);
        Ok(Answer(Zeroizing::new(text.as_bytes().to_vec())))
    }
}

/// A line of text, without blanks around it. `q` stops.
pub(super) fn line(talk: &mut impl Talk, prompt: &str) -> Result<String, Gone> {
    let answer = talk.ask(prompt, true)?;
    let text = String::from_utf8_lossy(trimmed(&answer)).into_owned();
    if text == "q" { Err(Gone) } else { Ok(text) }
}

/// Yes or no; only Enter is `usual`.
pub(super) fn yes(talk: &mut impl Talk, question: &str, usual: bool) -> Result<bool, Gone> {
    let hint = if usual { "[Y/n]" } else { "[y/N]" };
    loop {
        match line(talk, &format!("{question} {hint} "))?.to_ascii_lowercase().as_str() {
            "" => return Ok(usual),
            "y" | "yes" => return Ok(true),
            "n" | "no" => return Ok(false),
            _ => talk.say("Type y or n.\n")?,
        }
    }
}

/// One of some choices, by its number from 1; only Enter is the first.
pub(super) fn choose(talk: &mut impl Talk, choices: &[String]) -> Result<usize, Gone> {
    loop {
        menu(talk, choices)?;
        let last = choices.len();
        let prompt = match last {
            1 => "Press Enter for 1: ".to_owned(),
            _ => format!("Type a number, 1 to {last}, or press Enter for 1: "),
        };
        match numbers(&line(talk, &prompt)?, last).as_deref() {
            Some([]) => return Ok(0),
            Some([one]) => return Ok(*one),
            _ => talk.say("That is none of them.\n")?,
        }
    }
}

/// Some of some choices, by numbers from 1; only Enter is `usual`.
pub(super) fn choose_some(
    talk: &mut impl Talk,
    choices: &[String],
    (usual, in_words): (&[usize], &str),
) -> Result<Vec<usize>, Gone> {
    loop {
        menu(talk, choices)?;
        let prompt = format!("Type numbers, such as 1 2, or press Enter for {in_words}: ");
        match numbers(&line(talk, &prompt)?, choices.len()) {
            Some(none) if none.is_empty() => return Ok(usual.to_vec()),
            Some(some) => return Ok(some),
            None => talk.say("Those are not numbers of the list.\n")?,
        }
    }
}

fn menu(talk: &mut impl Talk, choices: &[String]) -> Result<(), Gone> {
    let lines = (1..).zip(choices).map(|(number, choice)| format!("  {number}  {choice}\n"));
    talk.say(&format!("{}\n", lines.collect::<String>()))
}

/// The places that numbers from 1 to `last` name, each once. `None` if one is no such number.
fn numbers(typed: &str, last: usize) -> Option<Vec<usize>> {
    let mut places = Vec::new();
    for word in typed.split([' ', ',']).filter(|word| !word.is_empty()) {
        let place = word.parse::<usize>().ok().filter(|number| *number <= last)?.checked_sub(1)?;
        if !places.contains(&place) {
            places.push(place);
        }
    }
    Some(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Types these lines, and then is gone.
    struct Script(Vec<&'static str>);

    impl Talk for Script {
        fn say(&mut self, _: &str) -> Result<(), Gone> {
            Ok(())
        }

        fn ask(&mut self, _: &str, _: bool) -> Result<Answer, Gone> {
            if self.0.is_empty() {
                Err(Gone)
            } else {
                Ok(crate::enroll::talk::answer(self.0.remove(0).as_bytes()))
            }
        }
    }

    fn script(lines: &[&'static str]) -> Script {
        Script(lines.to_vec())
    }

    #[test]
    fn numbers_are_of_the_list() {
        assert_eq!(numbers("", 3), Some(vec![]));
        assert_eq!(numbers(" 2,1 2 ", 3), Some(vec![1, 0]));
        for bad in ["0", "4", "1 x", "-1", "1.5", "99999999999999999999"] {
            assert_eq!(numbers(bad, 3), None, "{bad}");
        }
    }

    #[test]
    fn what_is_not_understood_is_asked_again() {
        let choices = ["a".to_owned(), "b".to_owned()];
        assert_eq!(choose(&mut script(&[""]), &choices), Ok(0));
        assert_eq!(choose(&mut script(&["3", "1 2", "b", "2"]), &choices), Ok(1));
        assert_eq!(choose(&mut script(&["3", "q"]), &choices), Err(Gone));
        assert_eq!(choose_some(&mut script(&["0", ""]), &choices, (&[1], "b")), Ok(vec![1]));
        assert_eq!(choose_some(&mut script(&["2 1"]), &choices, (&[], "none")), Ok(vec![1, 0]));
        assert_eq!(yes(&mut script(&[""]), "?", true), Ok(true));
        assert_eq!(yes(&mut script(&["what", "No"]), "?", true), Ok(false));
        assert_eq!(yes(&mut script(&[]), "?", true), Err(Gone));
    }
}
