//! `ykvald key list`

use super::Pages;
use crate::cli::out::{self, Field};
use crate::cli::{Context, Done, Opened, wait};
use serde_json::json;
use std::io::IsTerminal;
use ykval::clock;
use ykval::store::{PAGE, Token};
use yubiotp::diagnostic::{Code, Diagnostic, Program};

pub(crate) fn run(context: &Context) -> Done {
    wait(async {
        let Opened { store, .. } = context.open().await?;
        let mut pages = Pages::of(&store);
        let first = pages.next().await?;
        if context.json {
            json_of(first, pages).await?;
        } else if first.is_empty() {
            context.note(
                &Diagnostic::note(Code::NoKeys, "the store has no tokens")
                    .run(Program::Ykvald, "key import FILE"),
            );
        } else if first.len() < PAGE && std::io::stdout().is_terminal() {
            let loud = |token: &Token| state(token) != "enabled";
            let rows = first.iter().map(|token| {
                let state = |text: String| if loud(token) { Field::Loud(text) } else { Field::Plain(text) };
                let [id, serial, is, counter, session, used] = fields(token);
                let plain = [counter, session, used].map(Field::Plain);
                [Field::Plain(id), Field::Plain(serial), state(is)].into_iter().chain(plain).collect()
            });
            out::table(&HEADER, rows.collect());
        } else {
            columns(first, pages).await?;
        }
        store.close().await;
        Ok(())
    })
}

const HEADER: [&str; 6] = ["Token", "Serial", "State", "Usage counter", "Session counter", "Last use"];

fn state(token: &Token) -> &'static str {
    match (token.enabled, token.restored, &token.key) {
        (false, ..) => "disabled",
        (true, Some(_), _) => "restored",
        (true, None, Some(_)) => "enabled",
        (true, None, None) => "no key",
    }
}

fn fields(token: &Token) -> [String; 6] {
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    [
        token.id.to_string(),
        or_dash(token.id.serial().map(|serial| serial.to_string())),
        state(token).to_owned(),
        or_dash(token.position.map(|position| position.usage_counter().to_string())),
        or_dash(token.position.map(|position| position.session_use().to_string())),
        or_dash(token.modified.map(clock::written)),
    ]
}

/// For pipes, and for lists that no table could hold: a page at a time.
async fn columns(first: Vec<Token>, mut pages: Pages<'_>) -> Done {
    let row = |fields: [&str; 6]| {
        let [id, serial, state, counter, session, used] = fields;
        format!("{id:<14} {serial:<15} {state:<9} {counter:>13} {session:>15}  {used}\n")
    };
    out::raw(&row(HEADER));
    let mut page = first;
    while !page.is_empty() && out::failed().is_none() {
        let rows = page.iter().map(|token| {
            let fields = fields(token);
            row(fields.each_ref().map(String::as_str))
        });
        out::raw(&rows.collect::<String>());
        page = pages.next().await?;
    }
    Ok(())
}

async fn json_of(first: Vec<Token>, mut pages: Pages<'_>) -> Done {
    let mut page = first;
    let mut before = "[\n";
    if page.is_empty() {
        out::raw(before);
    }
    while !page.is_empty() && out::failed().is_none() {
        let mut text = String::new();
        for token in &page {
            let one = json!({
                "id": token.id.to_string(),
                "serial": token.id.serial(),
                "enabled": token.enabled,
                "restored": token.restored.map(clock::written),
                "key": token.key.is_some(),
                "usage_counter": token.position.map(|position| position.usage_counter()),
                "session_use": token.position.map(|position| position.session_use()),
                "used": token.modified.map(clock::written),
            });
            text.push_str(before);
            text.push_str(&format!("  {one}"));
            before = ",\n";
        }
        out::raw(&text);
        page = pages.next().await?;
    }
    out::raw("\n]\n");
    Ok(())
}
