mod format;
mod sockets;

use super::record::{Head, kind};
use super::*;
use params::Pairs;

/// One record.
fn record(kind: u8, request: u16, content: &[u8], padding: u8) -> Vec<u8> {
    let head = Head { kind, request, content: content.len().try_into().unwrap(), padding };
    [&head.write()[..], content, &vec![7; padding.into()]].concat()
}

fn begin(request: u16, role: u16, flags: u8) -> Vec<u8> {
    let [role1, role0] = role.to_be_bytes();
    record(kind::BEGIN_REQUEST, request, &[role1, role0, flags, 0, 0, 0, 0, 0], 0)
}

fn pairs(of: &[(&str, &str)]) -> Vec<u8> {
    let mut text = Vec::new();
    for (name, value) in of {
        params::write(&mut text, name.as_bytes(), value.as_bytes());
    }
    text
}

/// Parameters in records of at most so many bytes, and the empty one that ends them.
fn params(request: u16, text: &[u8], most: usize, padding: u8) -> Vec<u8> {
    let mut records: Vec<u8> =
        text.chunks(most).flat_map(|content| record(kind::PARAMS, request, content, padding)).collect();
    records.extend(record(kind::PARAMS, request, &[], padding));
    records
}

/// A whole request to an authorizer, as Apache sends it.
fn request(id: u16, keep: bool, of: &[(&str, &str)]) -> Vec<u8> {
    [begin(id, 2, keep.into()), params(id, &pairs(of), 16 << 10, 0)].concat()
}

/// A record: type, request and content.
type Record = (u8, u16, Vec<u8>);

/// The records in a text.
fn records(mut text: &[u8]) -> Vec<Record> {
    let mut all = Vec::new();
    while let Some(head) = Head::read(text).unwrap() {
        let content = &text[8..][..head.length()];
        all.push((head.kind, head.request, content.to_vec()));
        text = &text[8 + head.length() + usize::from(head.padding)..];
    }
    assert_eq!(text, b"", "cut off");
    all
}

/// Reads a text that arrives in pieces of this size, each as large as there is room; `look` is called with the capacity after
/// each.
fn feed(text: &[u8], piece: usize, mut look: impl FnMut(&mut input::Input, usize)) {
    let mut input = input::Input::new(64);
    for mut piece in text.chunks(piece.max(1)) {
        while !piece.is_empty() {
            let room = input.room();
            let (now, later) = piece.split_at((room.capacity() - room.len()).min(piece.len()));
            room.extend_from_slice(now);
            piece = later;
            let capacity = room.capacity();
            look(&mut input, capacity);
        }
    }
}

/// The parameter `name` of each request in a text, what was answered, and what ended it.
fn requests(text: &[u8], piece: usize, name: &str) -> (Vec<Option<String>>, Vec<u8>, Option<BadRecord>) {
    let (mut found, mut answered, mut ended) = (Vec::new(), Vec::new(), None);
    feed(text, piece, |input, _| {
        while ended.is_none() {
            match input.next() {
                Ok(Some(input::Arrived::Request(request))) => {
                    found.push(request.params.get(name).map(str::to_owned));
                }
                Ok(Some(input::Arrived::Answered { bytes, .. })) => answered.extend(bytes),
                Ok(None) => return,
                Err(bad) => ended = Some(bad),
            }
        }
    });
    (found, answered, ended)
}
