//! The grammar of the mapping once more, slowly: one line at a time, one field at a time.

/// What one line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    Nothing,
    Entry { user: Vec<u8>, ids: Vec<Vec<u8>> },
    Bad,
}

/// Every line, unchanged and as what it says.
pub(crate) fn lines(text: &[u8]) -> Vec<(&[u8], Line)> {
    text.split_inclusive(|byte| *byte == b'\n').map(|line| (line, read(line))).collect()
}

fn read(line: &[u8]) -> Line {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    if line.len() > 4096 || line.contains(&0) {
        return Line::Bad;
    }
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line = trim(line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line));
    if line.is_empty() || line[0] == b'#' {
        return Line::Nothing;
    }
    let mut fields = line.split(|byte| *byte == b':').map(trim);
    let user = fields.next().unwrap_or_default().to_vec();
    if !line.contains(&b':') || user.is_empty() || user.iter().any(|byte| *byte < b' ' || *byte == 0x7f) {
        return Line::Bad;
    }
    match fields.filter(|field| !field.is_empty()).map(id).collect() {
        Some(ids) => Line::Entry { user, ids },
        None => Line::Bad,
    }
}

/// A public ID in small letters, of which `-` is the empty one; other tokens as they are.
fn id(field: &[u8]) -> Option<Vec<u8>> {
    let named = |text: &[u8], more: &[u8]| {
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || more.contains(byte);
        let begins = text.first().is_some_and(u8::is_ascii_alphanumeric);
        (begins && text.len() <= 32 && text.iter().all(allowed)).then(|| field.to_vec())
    };
    if let Some(serial) = field.strip_prefix(b"oath-") {
        return named(serial, b"-_");
    }
    if let Some(set) = field.strip_prefix(b"rec-") {
        return named(set, b"");
    }
    if field == b"-" {
        return Some(Vec::new());
    }
    let small = field.to_ascii_lowercase();
    let modhex = small.iter().all(|letter| b"cbdefghijklnrtuv".contains(letter));
    (modhex && small.len() <= 32 && small.len() % 2 == 0).then_some(small)
}

/// Without the blanks and tabs around it.
pub(crate) fn trim(text: &[u8]) -> &[u8] {
    let blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
    let begin = text.iter().position(|byte| !blank(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !blank(byte)).map_or(begin, |at| at + 1);
    &text[begin..end]
}

/// The tokens of a user, each once, in the order of the file; `None` if no line is about them.
pub(crate) fn tokens(lines: &[(&[u8], Line)], wanted: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut tokens: Option<Vec<Vec<u8>>> = None;
    for (_, line) in lines {
        if let Line::Entry { user, ids } = line
            && user == wanted
        {
            let tokens = tokens.get_or_insert_default();
            for id in ids {
                if !tokens.contains(id) {
                    tokens.push(id.clone());
                }
            }
        }
    }
    tokens
}

/// The first line that is bad and may be this user's, counted from 1.
pub(crate) fn bad_line_of(lines: &[(&[u8], Line)], user: &[u8]) -> Option<usize> {
    lines.iter().position(|(text, line)| *line == Line::Bad && begins_with(text, user)).map(|at| at + 1)
}

/// Whether only blanks, and a byte order mark before them, come before the name. It may begin with a blank.
fn begins_with(line: &[u8], user: &[u8]) -> bool {
    let begins = |line: &[u8]| {
        let blanks = line.iter().take_while(|byte| **byte == b' ' || **byte == b'\t').count();
        (0..=blanks).any(|at| line[at..].starts_with(user))
    };
    begins(line) || line.strip_prefix("\u{feff}".as_bytes()).is_some_and(begins)
}

/// The first line that keeps somebody who is not listed from being excused, counted from 1.
pub(crate) fn in_the_way(lines: &[(&[u8], Line)], absent: &[u8]) -> Option<usize> {
    let in_the_way = |line: &Line| match line {
        Line::Nothing => false,
        Line::Bad => true,
        Line::Entry { user, .. } => are_one(user, absent),
    };
    lines.iter().position(|(_, line)| in_the_way(line)).map(|at| at + 1)
}

/// Whether `nullok` can excuse this name at all.
pub(crate) fn is_plain(name: &[u8]) -> bool {
    !name.is_empty() && is_printable(name)
}

fn is_printable(name: &[u8]) -> bool {
    name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

/// Whether two names may be one account's, with or without a domain.
fn are_one(one: &[u8], other: &[u8]) -> bool {
    let is_sign = |byte: &u8| b"!\"#$%&'()*+,/:;<=>?@[\\]^`{|}~".contains(byte);
    let parts = |name: &[u8]| name.split(is_sign).map(<[u8]>::to_vec).collect::<Vec<_>>();
    match (&parts(one)[..], &parts(other)[..]) {
        ([name], parts) | (parts, [name]) => parts.iter().any(|part| are_alike(name, part)),
        _ => {
            let account = |name: &[u8]| {
                let at = name.iter().position(|byte| *byte == b'@').unwrap_or(name.len());
                parts(&name[..at]).pop().unwrap()
            };
            are_alike(&account(one), &account(other))
        }
    }
}

fn are_alike(one: &[u8], other: &[u8]) -> bool {
    let folded = |name: &[u8]| -> Vec<char> {
        let text = String::from_utf8_lossy(name).to_lowercase().to_uppercase();
        // Not of the whole text: where a word ends would decide about sigma.
        text.chars().flat_map(char::to_lowercase).collect()
    };
    match (is_printable(one), is_printable(other)) {
        (true, true) => one.to_ascii_lowercase() == other.to_ascii_lowercase(),
        (false, false) => folded(one) == folded(other),
        (true, false) => becomes(&folded(other), one),
        (false, true) => becomes(&folded(one), other),
    }
}

/// Whether the second can be made of the first: each character that cannot be printed in ASCII stands for up to two.
fn becomes(name: &[char], plain: &[u8]) -> bool {
    // From the end: of which ends of `plain` the rest of the name can be made.
    let mut fits: Vec<bool> = (0..=plain.len()).map(|at| at == plain.len()).collect();
    for letter in name.iter().rev() {
        fits = (0..=plain.len())
            .map(|at| match letter {
                '!'..='~' => {
                    at < plain.len() && plain[at].to_ascii_lowercase() == *letter as u8 && fits[at + 1]
                }
                '\u{370}'..='\u{1cff}'
                | '\u{2e80}'..='\u{a71f}'
                | '\u{ac00}'..='\u{d7ff}'
                | '\u{20000}'..
                    if letter.is_alphabetic() =>
                {
                    false
                }
                _ => (at..=at + 2).any(|next| fits.get(next) == Some(&true)),
            })
            .collect();
    }
    fits[0]
}
