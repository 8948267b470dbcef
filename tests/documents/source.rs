//! Source files, and the string literals in them.

use crate::text_of;

/// The folders of the packages that are shipped.
pub(crate) fn packages() -> Vec<String> {
    let folders = std::fs::read_dir(crate::root()).unwrap().map(|entry| entry.unwrap());
    folders
        .filter(|folder| folder.path().join("Cargo.toml").exists())
        .map(|folder| folder.file_name().into_string().unwrap())
        .filter(|name| name != "tests")
        .collect()
}

/// Every source file of a folder, by its path in the checkout.
pub(crate) fn files(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(crate::root().join(folder)).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(crate::root()).unwrap().to_str().unwrap();
        if path.is_dir() {
            found.extend(files(name));
        } else {
            found.push(name.to_owned());
        }
    }
    found
}

/// Every string of a file, with the code before it up to the end of the string before.
pub(crate) fn literals(code: &str) -> Vec<(String, String)> {
    let (mut found, mut before) = (Vec::new(), String::new());
    let mut rest = code;
    while let Some(next) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
        } else if next == '\'' {
            // A character, which may be a quote; or a lifetime.
            let length = match rest.strip_prefix("'\\") {
                // The escaped character may be a quote.
                Some(escaped) => escaped[1..].find('\'').map(|end| end + 4),
                None => rest[1..].chars().next().map(|c| c.len_utf8() + 2),
            };
            let length = length.filter(|length| rest.get(length - 1..*length) == Some("'")).unwrap_or(1);
            before.push_str(&rest[..length]);
            rest = &rest[length..];
        } else if next == '"' {
            let (text, behind) = literal(&rest[1..]);
            found.push((before.trim_end().to_owned(), text));
            before.clear();
            rest = behind;
        } else {
            before.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    found
}

/// The string that begins here, and the text after it.
fn literal(mut rest: &str) -> (String, &str) {
    let mut text = String::new();
    loop {
        let at = rest.find(['"', '\\']).unwrap();
        text.push_str(&rest[..at]);
        if rest[at..].starts_with('"') {
            return (text, &rest[at + 1..]);
        }
        let escaped = rest[at + 1..].chars().next().unwrap();
        rest = &rest[at + 1 + escaped.len_utf8()..];
        match escaped {
            '\n' => rest = rest.trim_start(),
            'n' => text.push('\n'),
            other => text.push(other),
        }
    }
}

#[test]
fn strings_are_found() {
    let found = literals(
        "a(\"one \\\"two\\\"\", '\"', b'\"', '\\'', &'a str) // \"no\"\n#[error(\n    \"thr\\\n     ee\"\n)]",
    );
    let texts: Vec<_> = found.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, ["one \"two\"", "three"]);
    assert!(found[1].0.ends_with("error("), "{found:?}");
}

/// Two lists of the same files would come to differ.
#[test]
fn the_systems_bundles_are_listed_in_one_place() {
    let packages = packages();
    let sources = packages.iter().flat_map(|package| files(&format!("{package}/src")));
    let listed: Vec<_> =
        sources.filter(|path| text_of(path).contains("/etc/ssl/certs/ca-certificates.crt\"")).collect();
    assert_eq!(listed, ["yubiotp/src/authorities.rs"]);
}
