//! Where the pages of `docs/` are on this host: a package puts them into a folder of its own.

use std::path::Path;

/// The folders of packages, and of `make install`.
const FOLDERS: [&str; 5] = [
    "/usr/share/doc/libpam-yubiotp/docs",
    "/usr/share/doc/pam_yubiotp/docs",
    "/usr/local/share/doc/pam_yubiotp/docs",
    "/usr/share/doc/ykvald/docs",
    "/usr/local/share/doc/ykvald/docs",
];

/// The path of a page, such as `store.md`: on this host, or in the sources if it is not installed.
#[must_use]
pub fn page(name: &str) -> String {
    in_folders(&FOLDERS, name)
}

fn in_folders(folders: &[&str], name: &str) -> String {
    let here = folders.iter().map(|folder| format!("{folder}/{name}")).find(|path| Path::new(path).is_file());
    here.unwrap_or_else(|| format!("docs/{name}"))
}

/// A text with the path of each page `docs/NAME.md` that it names.
#[must_use]
pub fn with_paths(text: &str) -> String {
    let mut parts = text.split("docs/");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(".md") {
            Some((name, rest)) if name.chars().all(|it| it.is_ascii_alphanumeric() || "-_/".contains(it)) => {
                out += &format!("{}{rest}", page(&format!("{name}.md")));
            }
            _ => out += &format!("docs/{part}"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_this_host_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("store.md"), "").unwrap();
        let path = folder.path().to_str().unwrap();
        let found =
            [in_folders(&["/nowhere", path], "store.md"), in_folders(&["/nowhere", path], "other.md")];
        assert_eq!(found, [format!("{path}/store.md"), "docs/other.md".to_owned()]);
    }

    #[test]
    fn only_pages_are_replaced() {
        let name = "docs/no-such-page.md";
        for text in ["", "a", name, "see docs/ and docs/x y.md", "(docs/reference/no-such.md)."] {
            assert_eq!(with_paths(text), text);
        }
    }
}
