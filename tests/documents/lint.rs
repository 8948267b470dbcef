//! What can be said of the pages without knowing what they are about.

use crate::page::{PAGES, Page};
use crate::root;
use std::collections::BTreeSet;
use std::process::Command;
use ykhost::settings::{ASK, CONFIG, ENROLL, MAPPING, STORE, STORE_KEY};

fn source(name: &str) -> String {
    crate::text_of(&format!("packaging/man/{name}"))
}

#[test]
fn every_page_is_in_the_list() {
    let there = std::fs::read_dir(root().join("packaging/man")).unwrap();
    let there: BTreeSet<_> = there.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(there, PAGES.into_iter().map(str::to_owned).collect());
}

/// Pages that are not installed where this runs are not missed: our own are looked at below, and others may be
/// anywhere.
#[test]
fn mandoc_has_nothing_to_say() {
    for name in PAGES {
        let path = root().join("packaging/man").join(name);
        let Ok(output) = Command::new("mandoc").args(["-T", "lint", "-W", "style"]).arg(&path).output()
        else {
            return tests::skip("needs mandoc");
        };
        let said = String::from_utf8(output.stdout).unwrap();
        let said: Vec<_> =
            said.lines().filter(|line| !line.contains("referenced manual not found")).collect();
        assert!(said.is_empty(), "{said:#?}");
    }
}

/// man(1) of Debian and Fedora is of groff.
#[test]
fn groff_has_nothing_to_say() {
    for name in PAGES {
        let path = root().join("packaging/man").join(name);
        let Ok(output) =
            Command::new("groff").args(["-mandoc", "-Tutf8", "-ww", "-P-cbou"]).arg(&path).output()
        else {
            return tests::skip("needs groff");
        };
        let (shown, said) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && said.is_empty(), "{name}: {said}");
        assert!(shown.contains("\nSEE ALSO\n") && shown.len() > 1500, "{name}: {shown:.600}");
    }
}

/// `.Dt` and `.Nm` are the file's name; all pages have one date.
#[test]
fn names_and_dates() {
    for name in PAGES {
        let text = source(name);
        let (title, section) = name.rsplit_once('.').unwrap();
        let head = format!(
            ".Dd November 22, 2026\n.Dt {} {section}\n.Os\n.Sh NAME\n.Nm {title}\n.Nd ",
            title.to_uppercase()
        );
        assert!(text.starts_with(&head), "{name} does not begin with {head}");
    }
}

/// A reference to a page of ours is to one that there is; every page is found by SEE ALSO of another.
#[test]
fn references_between_the_pages() {
    let of = |name: &str| {
        let text = source(name);
        let references = text.lines().filter_map(|line| line.split_once(".Xr ").or(line.split_once(" Xr ")));
        let words = references.map(|(_, behind)| behind.split(' ').take(2).collect::<Vec<_>>().join("."));
        words.collect::<BTreeSet<_>>()
    };
    let all: BTreeSet<_> = PAGES.iter().flat_map(|name| of(name)).collect();
    for page in PAGES {
        assert!(all.contains(page), "no page refers to {page}");
        let see_also = source(page);
        assert!(see_also.contains(".Sh SEE ALSO\n"), "{page} has no SEE ALSO");
    }
    let stems: BTreeSet<_> = PAGES.iter().map(|name| name.rsplit_once('.').unwrap().0).collect();
    for reference in &all {
        let (stem, _) = reference.rsplit_once('.').unwrap();
        let ours = stems.contains(stem) || stem.contains("yubi") && stem != "pam_yubico";
        assert!(!ours || PAGES.contains(&reference.as_str()), "{reference}: there is no such page");
    }
}

/// FILES names the default paths of the code, and no other path of ours.
#[test]
fn files_are_those_of_the_code() {
    let known = [CONFIG, MAPPING, STORE, STORE_KEY, ASK, ENROLL, "/usr/libexec/yubiotp/yubiotp-try"];
    let mut named = BTreeSet::new();
    for name in PAGES {
        let Some(page) = Page::read(name) else { return };
        for head in page.section("FILES").heads() {
            named.extend(head.text().split(", ").map(str::to_owned));
        }
    }
    for path in known {
        assert!(named.contains(path), "no page has {path} under FILES");
    }
    assert!(named.contains(ykval::config::CONFIG), "no page has {} under FILES", ykval::config::CONFIG);
    for path in named.iter().filter(|path| path.contains("yubiotp")) {
        let below_the_store = path.strip_prefix(STORE).is_some_and(|rest| {
            rest.ends_with("/ID")
                || ["/changes/name", "/guesses/user", "/notices/user", "/pending/user", "/enrolled", "/lost"]
                    .contains(&rest)
        });
        // What packages bring along is in packaging, under the folder's own name.
        let brought = path.strip_prefix("/usr/share/").is_some_and(|rest| {
            let rest = rest.replace("/extra-profiles/", "/");
            root().join("packaging").join(rest).is_file()
        });
        let of_systemd =
            path.strip_prefix("/usr/lib/sysusers.d/").and_then(|name| name.strip_suffix(".conf"));
        let of_systemd = of_systemd.map(|name| format!("{name}.sysusers"));
        let unit = path.strip_prefix("/usr/lib/systemd/system/").map(str::to_owned);
        let of_systemd =
            of_systemd.or(unit).is_some_and(|file| root().join("packaging/systemd").join(file).is_file());
        assert!(
            known.contains(&path.as_str()) || below_the_store || brought || of_systemd,
            "what is {path}?"
        );
    }
}

/// Numbers that pages tell and the code has.
#[test]
fn limits_are_those_of_the_code() {
    let Some(page) = Page::read("authorized_yubikeys.5") else { return };
    let limits = page.section("Limits").text();
    assert!(limits.contains(&format!("at most {} bytes", yubiotp::mapping::MAX_LINE)), "{limits}");
    let Some(page) = Page::read("yubiotp-config.toml.5") else { return };
    let servers = page.section("Validation servers").text();
    assert!(servers.contains(&format!("1 to {}, in the order", yubiotp::ask::MAX_SERVERS)), "{servers}");
}
