//! Errors of the system, as people read them.

/// An error of the system in words, without its number.
#[must_use]
pub fn in_words(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error ").map_or(text.clone(), |(words, _)| words.to_owned())
}
