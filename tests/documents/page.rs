//! The pages of the manual, as mandoc understands them: its HTML tells an argument from a word, and a head from a body.

use crate::root;
use std::process::Command;

/// The pages, by the names of their files.
pub(crate) const PAGES: [&str; 13] = [
    "pam_yubiotp.8",
    "authorized_yubikeys.5",
    "yubiotp-config.toml.5",
    "ykmap.1",
    "yubiotp-ask.8",
    "yubiotp-enroll.8",
    "yubiotp-try.8",
    "ykvald.8",
    "ykvald-config.toml.5",
    "ykwebd.8",
    "ykwebd-config.toml.5",
    "ykweb-check.8",
    "ykweb-password.8",
];

/// One page, or a part of one, as HTML.
pub(crate) struct Page(String);

impl Page {
    /// A page by the name of its file. `None` if there is no mandoc here.
    pub(crate) fn read(name: &str) -> Option<Self> {
        let path = root().join("packaging/man").join(name);
        let Ok(output) = Command::new("mandoc").args(["-T", "html", "-O", "fragment"]).arg(&path).output()
        else {
            tests::skip("needs mandoc");
            return None;
        };
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        Some(Self(String::from_utf8(output.stdout).unwrap()))
    }

    /// The section, or part of a section, with this title, up to the next one of its kind.
    #[track_caller]
    pub(crate) fn section(&self, title: &str) -> Self {
        for (element, ends) in [("h1", &["<h1 "][..]), ("h2", &["<h1 ", "<h2 "])] {
            for (at, _) in self.0.match_indices(&format!("<{element} ")) {
                let (head, behind) = self.0[at..].split_once(&format!("</{element}>")).unwrap();
                if Self(head.to_owned()).text() == title {
                    let end = ends.iter().filter_map(|next| behind.find(next)).min();
                    return Self(behind[..end.unwrap_or(behind.len())].to_owned());
                }
            }
        }
        panic!("no section {title}")
    }

    /// The contents of every such element, of this class if one is given.
    pub(crate) fn elements(&self, element: &str, class: Option<&str>) -> Vec<Self> {
        let mut found = Vec::new();
        for piece in self.0.split(&format!("<{element}")).skip(1) {
            let Some((tag, inside)) = piece.split_once('>') else { continue };
            if !tag.is_empty() && !tag.starts_with(' ') {
                continue; // another element whose name begins alike
            }
            let own = class.is_none_or(|class| tag.contains(&format!("class=\"{class}\"")));
            if let Some((inside, _)) = inside.split_once(&format!("</{element}>")).filter(|_| own) {
                found.push(Self(inside.to_owned()));
            }
        }
        found
    }

    /// The heads of its lists.
    pub(crate) fn heads(&self) -> Vec<Self> {
        self.elements("dt", None)
    }

    /// The heads of its lists with the text below each, up to the next head.
    pub(crate) fn entries(&self) -> Vec<(Self, Self)> {
        let pieces =
            self.0.split("<dt").skip(1).filter_map(|piece| piece.split_once('>')?.1.split_once("</dt>"));
        pieces.map(|(head, body)| (Self(head.to_owned()), Self(body.to_owned()))).collect()
    }

    /// The words, each blank and line end being one blank.
    pub(crate) fn text(&self) -> String {
        self.lines_of_text().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The same with `{}` in place of each argument.
    pub(crate) fn template(&self) -> String {
        let mut with = String::new();
        for (at, piece) in self.0.split("<var ").enumerate() {
            match piece.split_once("</var>").filter(|_| at > 0) {
                Some((_, behind)) => {
                    with.push_str("{}");
                    with.push_str(behind);
                }
                None => with.push_str(piece),
            }
        }
        Self(with).text()
    }

    /// The words of a head, with what they are: `Ic:key Ic:export [ Fl:--in-the-clear ]`.
    pub(crate) fn marked(&self) -> String {
        let mut marked = String::new();
        for piece in self.0.split('<') {
            let (tag, words) = piece.split_once('>').unwrap_or(("", piece));
            let class =
                ["Ic", "Fl", "Ar"].into_iter().find(|class| tag.contains(&format!("class=\"{class}\"")));
            match class {
                Some(class) => marked.extend(words.split_whitespace().map(|word| format!("{class}:{word} "))),
                None => marked.push_str(words),
            }
        }
        Self(marked).text()
    }

    /// What was written as it is typed: displays of several lines, and those of one, as
    /// they follow each other.
    pub(crate) fn displays(&self) -> Vec<String> {
        const SEVERAL: (&str, &str) = ("<pre>", "</pre>");
        const ONE: (&str, &str) = ("<div class=\"Bd Bd-indent\"><code class=\"Li\">", "</code></div>");
        let (mut found, mut rest) = (Vec::new(), self.0.as_str());
        let next =
            |rest: &str| [SEVERAL, ONE].into_iter().filter_map(|kind| Some((rest.find(kind.0)?, kind))).min();
        while let Some((at, (begin, end))) = next(rest) {
            let (inside, behind) = rest[at + begin.len()..].split_once(end).unwrap();
            let inside = Self(inside.to_owned());
            // A display of one line is wrapped in the HTML.
            found.push(if begin == SEVERAL.0 { inside.lines_of_text() } else { inside.text() });
            rest = behind;
        }
        found
    }

    /// Without tags; lines stay.
    fn lines_of_text(&self) -> String {
        let mut text = String::new();
        for (at, piece) in self.0.split('<').enumerate() {
            let piece = if at == 0 { piece } else { piece.split_once('>').map_or("", |(_, behind)| behind) };
            text.push_str(piece);
        }
        unescaped(&text)
    }
}

fn unescaped(text: &str) -> String {
    let mut plain = String::new();
    for (at, piece) in text.split('&').enumerate() {
        let Some((name, behind)) = piece.split_once(';').filter(|_| at > 0) else {
            plain.push_str(piece);
            continue;
        };
        plain.push(match name {
            "lt" => '<',
            "gt" => '>',
            "amp" => '&',
            "quot" => '"',
            number => {
                let number = number.strip_prefix("#x").unwrap_or_else(|| panic!("&{number};"));
                match char::from_u32(u32::from_str_radix(number, 16).unwrap()).unwrap() {
                    '\u{2019}' => '\'',
                    '\u{a0}' => ' ',
                    other => other,
                }
            }
        });
        plain.push_str(behind);
    }
    plain
}
