//! The grammar of the mapping once more, slowly: one line at a time, one field at a time.

/// What one line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    Nothing,
    Entry { user: Vec<u8>, ids: Vec<Vec<u8>> },
    Bad,
}

/// Every line, as it stands there and as what it says.
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

/// An id in small letters; `-` is the empty one.
fn id(field: &[u8]) -> Option<Vec<u8>> {
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

/// Whether nothing but blanks, and a byte order mark before them, stands before the name. It may begin with a blank.
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
        Line::Entry { user, .. } => !absent.is_empty() && are_one(user, absent),
    };
    lines.iter().position(|(_, line)| in_the_way(line)).map(|at| at + 1)
}

/// The same but for capitals, or but for a domain that one of the two has: `alice@domain`, `DOMAIN\alice`.
fn are_one(one: &[u8], other: &[u8]) -> bool {
    let small = |name: &[u8]| name.to_ascii_lowercase();
    let bare = |name: &[u8]| {
        let name = name.rsplit(|byte| *byte == b'\\').next().unwrap_or_default();
        small(name.split(|byte| *byte == b'@').next().unwrap_or_default())
    };
    let has_domain = |name: &[u8]| bare(name) != small(name);
    small(one) == small(other) || (!(has_domain(one) && has_domain(other)) && bare(one) == bare(other))
}
