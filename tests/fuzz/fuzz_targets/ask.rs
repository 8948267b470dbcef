//! The messages between the login process and `yubiotp-ask`: either may be compromised, or have another version.
//!
//! What is read as events is written back to the same bytes, and is the same in whatever pieces it came. What is read
//! as a question is written to one that reads the same.
//!
//! Input: `q` and a question, or any other byte and events; of that byte the pieces are made.
#![no_main]

use libfuzzer_sys::fuzz_target;
use yubiotp::ask::{BadEvent, Event, Events, FailureKind, MAX_REPLY, MAX_SERVERS, Obstacle, Question};

fuzz_target!(|input: &[u8]| {
    match input.split_first() {
        Some((b'q', text)) => question(text.strip_prefix(b"\n").unwrap_or(text)),
        Some((pieces, text)) => events(usize::from(*pieces), text.strip_prefix(b"\n").unwrap_or(text)),
        None => {}
    }
});

/// All events up to where more would have to arrive, and whether something is there that is none.
fn read(text: &[u8], piece: usize) -> (Vec<Event>, Option<BadEvent>, bool) {
    let (mut events, mut read) = (Events::default(), Vec::new());
    for piece in text.chunks(piece.max(1)) {
        events.feed(piece);
        while let Some(event) = events.next() {
            match event {
                Ok(event) => read.push(event),
                Err(bad) => return (read, Some(bad), true),
            }
        }
    }
    (read, None, events.is_cut_off())
}

fn events(piece: usize, text: &[u8]) {
    let (events, bad, cut_off) = read(text, usize::MAX);
    assert_eq!(read(text, piece), (events.clone(), bad, cut_off), "in pieces of {piece}");
    let mut written = Vec::new();
    for event in &events {
        let (server, length) = match event {
            Event::Asked { server } => (*server, 0),
            Event::Reply { server, body, .. } => (*server, body.len()),
            Event::Failed { server, why, .. } => (*server, why.len()),
            Event::Note { what } => (0, what.len()),
            Event::Unable { why, .. } => (0, why.len()),
        };
        assert!(server < MAX_SERVERS && length <= MAX_REPLY, "{event:?}");
        written.extend(event.write());
    }
    assert_eq!(read(&written, usize::MAX), (events.clone(), None, false));
    // The word of a kind that is not known is not kept.
    let is_unknown = |event: &Event| {
        matches!(
            event,
            Event::Failed { kind: FailureKind::Other, .. } | Event::Unable { kind: Obstacle::Other, .. }
        )
    };
    if !events.iter().any(is_unknown) {
        assert_eq!(text.get(..written.len()), Some(&written[..]), "{events:?}");
        assert!(cut_off || written.len() == text.len(), "{events:?}");
    }
}

fn question(text: &[u8]) {
    let Ok(question) = Question::read(text) else { return };
    let written = question.write();
    let Ok(again) = Question::read(written.as_bytes()) else {
        panic!("cannot be read again: {:?}", &*written)
    };
    assert_eq!(*again.write(), *written);
    assert_eq!((again.deadline, again.hedge), (question.deadline, question.hedge));
    // A value ends with its line, and a carriage return counts as a line end when writing.
    let kept = |value: &str| value.split('\r').next().map(str::to_owned);
    let file = |value: &Option<String>| value.as_deref().and_then(kept);
    for (one, other) in [
        (&question.ca, &again.ca),
        (&question.client_cert, &again.client_cert),
        (&question.client_key, &again.client_key),
        (&question.client_key_passphrase_file, &again.client_key_passphrase_file),
    ] {
        assert_eq!(file(one), *other);
    }
    assert_eq!(
        question.proxy.as_ref().and_then(|proxy| kept(proxy)),
        again.proxy.as_ref().map(|proxy| proxy.to_string())
    );
    let urls = |question: &Question| question.urls.iter().map(|url| kept(url)).collect::<Vec<_>>();
    assert_eq!(urls(&question), urls(&again));
}
