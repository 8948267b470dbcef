//! Files that the verbs read and change: mappings, and a line of input.

use super::{Context, Failure, out};
use std::collections::BTreeMap;
use std::io::BufRead as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use ykcli::typed::Hidden;
use ykhost::enrolled::{self, Lists};
use ykhost::file::Folder;
use ykhost::settings::Settings;
use ykhost::{Fault, mapping};
use yubiotp::diagnostic::cause;
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program};
use yubiotp::mapping::{BadLine, Enrolment, Line, entries};
use yubiotp::{BadTokenId, PublicId, TokenId, shown};
use zeroize::Zeroizing;

/// Changes the mapping of a user, `enrolled`, or both, as a whole, one change at a time.
pub(crate) fn edit<T>(
    settings: &Settings,
    user: &str,
    change: impl FnOnce(&mut Lists) -> Result<T, Failure>,
) -> Result<T, Failure> {
    enrolled::edit(settings, user.as_bytes(), change)
}

/// The mapping of a user and `enrolled`.
pub(crate) fn lists(settings: &Settings, user: &str) -> Result<Lists, Failure> {
    Ok(enrolled::read(settings, user.as_bytes())?)
}

/// The text of a mapping; one that is not there yet is empty.
pub(crate) fn text_of(path: &Path) -> Result<Vec<u8>, Failure> {
    match mapping::text(path) {
        Err(Fault::NoMapping { path: missing }) if missing == path => Ok(Vec::new()),
        text => Ok(text?),
    }
}

/// Fails unless this user may change the mapping and read the store, before anybody touches a YubiKey in vain. `words`
/// are the verb and its arguments, for the advice.
pub(crate) fn check_rights(
    context: &Context,
    settings: &Settings,
    mapping: &Path,
    words: &str,
) -> Result<(), Failure> {
    use rustix::fs::{Access, access};
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let may = |path: &Path, what| !matches!(access(path, what), Err(rustix::io::Errno::ACCESS));
    let folder = mapping.parent().unwrap_or(mapping);
    let refused = if !may(folder, Access::WRITE_OK | Access::EXEC_OK) {
        mapping
    } else if !may(&settings.store, Access::READ_OK | Access::EXEC_OK) {
        &settings.store
    } else {
        return Ok(());
    };
    let found = Diagnostic::error(Code::NotRoot, "you may not change it")
        .at(Location::file(refused.as_os_str().as_bytes()))
        .run_when("as root", Program::System, format!("sudo {} {words}", context.ykmap()));
    Err(found.into())
}

/// The tokens of a user by the mapping and `enrolled`, if every line of theirs can be read: a change by halves would not be
/// what was asked for.
pub(crate) fn tokens_of(settings: &Settings, user: &str) -> Result<Enrolment, Failure> {
    Ok(lists(settings, user)?.tokens(user.as_bytes())?)
}

/// The finding if a user is listed only in another spelling. `None` for everybody else.
pub(crate) fn other_spelling(settings: &Settings, user: &str) -> Option<Diagnostic> {
    match mapping::enrolment(settings, user.as_bytes(), false) {
        Err(fault @ (Fault::OtherFile { .. } | Fault::Mapping { why: BadLine::OtherSpelling, .. })) => {
            Some(fault.diagnostic())
        }
        _ => None,
    }
}

/// A YubiKey on the command line, by its public ID. The name of a user is answered with their tokens.
pub(crate) fn public_id(context: &Context, text: &str) -> Result<PublicId, Failure> {
    PublicId::parse(text.as_bytes()).map_err(|why| no_token(context, text, &why.into()))
}

/// A token on the command line that has a file in the store. The name of a user is answered with their tokens.
pub(crate) fn token_id(context: &Context, text: &str) -> Result<TokenId, Failure> {
    if let Some(token) = TokenId::of_file(text) {
        return Ok(token);
    }
    TokenId::parse(text.as_bytes()).map_err(|why| no_token(context, text, &why))
}

fn no_token(context: &Context, text: &str, why: &BadTokenId) -> Failure {
    if let Ok(settings) = context.settings()
        && let Ok(Enrolment::Listed(tokens)) = mapping::enrolment(&settings, text.as_bytes(), false)
    {
        let tokens: Vec<_> = tokens.iter().map(ToString::to_string).collect();
        let found = Diagnostic::error(Code::InputInvalid, "is a user, and a public ID is needed")
            .at(Location::user(text.as_bytes()));
        return match tokens.as_slice() {
            [] => found.advise("the user has no token"),
            tokens => found.advise(format!("name one of the user's tokens: {}", tokens.join(", "))),
        }
        .into();
    }
    let found = Diagnostic::error(Code::InputInvalid, format!("{}: {why}", shown::quoted(text)));
    found.run_when("to see the tokens of a user", Program::Ykmap, "list USER").into()
}

/// Every mapping there is: one, or with `%u` in the file's name one a user.
pub(crate) fn mappings(settings: &Settings) -> Result<Vec<PathBuf>, Failure> {
    let setting = Path::new(&settings.mapping);
    if !settings.mapping.contains("%u") {
        return Ok(vec![setting.to_owned()]);
    }
    let name = setting.file_name().and_then(|name| name.to_str()).and_then(|name| name.split_once("%u"));
    let parent = setting.parent().filter(|parent| !parent.to_string_lossy().contains("%u"));
    let (Some((before, after)), Some(parent)) = (name, parent) else {
        let found = Diagnostic::error(Code::InputInvalid, "each user has a mapping in a folder of their own")
            .at(Location::file(settings.mapping.as_bytes()))
            .advise("name one user");
        return Err(found.into());
    };
    let folder = Folder::open(parent)?;
    let mut files: Vec<_> = folder
        .names()?
        .into_iter()
        .filter(|name| name.starts_with(before) && name.ends_with(after))
        .map(|name| parent.join(name))
        .collect();
    files.sort_unstable();
    Ok(files)
}

/// Every mapping there is, and `enrolled`, with their contents.
pub(crate) fn texts(settings: &Settings) -> Result<Vec<(PathBuf, Vec<u8>)>, Failure> {
    let mut texts = Vec::new();
    for path in mappings(settings)? {
        let text = text_of(&path)?;
        texts.push((path, text));
    }
    texts.extend(enrolled_text(settings)?);
    Ok(texts)
}

/// Where `enrolled` is, and its contents; `None` if nobody enrolled.
pub(crate) fn enrolled_text(settings: &Settings) -> Result<Option<(PathBuf, Vec<u8>)>, Failure> {
    Ok(mapping::enrolled_text(settings)?.map(|text| (enrolled::path(settings), text)))
}

/// The owners of each token, by every mapping that can be read, and `enrolled`.
pub(crate) fn owners(settings: &Settings) -> BTreeMap<TokenId, Vec<String>> {
    let mappings = mappings(settings).unwrap_or_default();
    let mappings = mappings.iter().map(|path| text_of(path).unwrap_or_default());
    let enrolled = enrolled_text(settings).ok().flatten().map(|(_, text)| text);
    owners_in(mappings.chain(enrolled))
}

/// The owners of each token, by these texts.
pub(crate) fn owners_in(texts: impl Iterator<Item = impl AsRef<[u8]>>) -> BTreeMap<TokenId, Vec<String>> {
    let mut owners = BTreeMap::<_, Vec<String>>::new();
    for text in texts {
        for (_, line) in entries(text.as_ref()) {
            let Ok(Line::Entry { user, fields }) = line else { continue };
            let user = shown::text(user).to_string();
            for id in fields.tokens() {
                let of_token = owners.entry(id).or_default();
                if !of_token.contains(&user) {
                    of_token.push(user.clone());
                }
            }
        }
    }
    owners
}

/// The finding about a verb that needs the key of a token, or its position. Where no user has the token, either, its ID is
/// more likely a wrong one than the key is missing.
pub(crate) fn if_unknown(settings: &Settings, id: &TokenId, found: Diagnostic) -> Diagnostic {
    if found.code == Code::KeyMissing && !owners(settings).contains_key(id) { not_here(id) } else { found }
}

/// This host has neither a key nor a position of that token.
pub(crate) fn not_here(id: &TokenId) -> Diagnostic {
    let found = Diagnostic::error(Code::TokenNotHere, "this host has neither a key nor a position of it")
        .at(Location::Token(id.to_string()));
    found.advise("check the ID").run_when("to see which tokens have a key here", Program::Ykmap, "key list")
}

/// The answer to a prompt, as a login reads it: shown only if the settings say so.
pub(crate) fn answer(question: &str, echo: bool) -> Result<Zeroizing<String>, Failure> {
    let _hidden = if echo { None } else { Hidden::begin() };
    input_line(question)
}

/// One line from standard input, without its end. Wiped on drop.
pub(crate) fn input_line(question: &str) -> Result<Zeroizing<String>, Failure> {
    out::question(question);
    let mut line = Zeroizing::new(String::with_capacity(1024));
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|why| Failure::input(format!("standard input: {}", cause(&why))))?;
    Ok(line)
}
