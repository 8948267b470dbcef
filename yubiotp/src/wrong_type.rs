//! A setting with a value of a wrong type, in the words of the file.

/// What the value must be, by what serde says about it: `true or false`. `None` if serde says something else. The value itself
/// is left out, because it may be a secret.
#[must_use]
pub fn expected(message: &str) -> Option<&str> {
    let (_, expected) = message.strip_prefix("invalid type: ")?.rsplit_once(", expected ")?;
    Some(match expected {
        "a boolean" => "true or false",
        "a string" => "text in quotes",
        "a sequence" => "a list",
        "path string" => "the path of a file, in quotes",
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_named_in_the_words_of_the_file() {
        for (message, words) in [
            ("invalid type: string \"yes, expected no\", expected a boolean", Some("true or false")),
            ("invalid type: integer `1`, expected a table", Some("a table")),
            ("invalid type: integer `1`, expected path string", Some("the path of a file, in quotes")),
            ("duplicate key", None),
        ] {
            assert_eq!(expected(message), words, "{message}");
        }
    }
}
