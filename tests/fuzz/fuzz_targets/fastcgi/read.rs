//! The files of `ykweb`, of which nothing else is needed here: no database, and no network.

#[path = "../../../../ykweb/src/fastcgi/input.rs"]
pub mod input;
#[path = "../../../../ykweb/src/fastcgi/params.rs"]
pub mod params;
#[path = "../../../../ykweb/src/fastcgi/record.rs"]
pub mod record;

/// Each request as it is written again, what was answered, and what ended it.
pub type Read = (Vec<Vec<u8>>, Vec<u8>, Option<record::BadRecord>);

pub fn read(text: &[u8], piece: usize) -> Read {
    let (mut input, mut found, mut answered) = (input::Input::new(64), Vec::new(), Vec::new());
    for mut piece in text.chunks(piece.max(1)) {
        while !piece.is_empty() {
            let room = input.room();
            assert!(room.capacity() <= 256 << 10, "{} bytes for one request", room.capacity());
            let fits = (room.capacity() - room.len()).min(piece.len());
            room.extend_from_slice(&piece[..fits]);
            piece = &piece[fits..];
            loop {
                match input.next() {
                    Ok(Some(input::Arrived::Request(request))) => found.push(written(&request)),
                    Ok(Some(input::Arrived::Answered { bytes, .. })) => answered.extend(bytes),
                    Ok(None) => break,
                    Err(bad) => return (found, answered, Some(bad)),
                }
            }
        }
    }
    (found, answered, None)
}

/// A request as a web server would send it.
fn written(request: &input::Request) -> Vec<u8> {
    assert!(request.params.len() <= params::MOST_PAIRS);
    let mut pairs = Vec::new();
    for (name, value) in request.params.all() {
        params::write(&mut pairs, name, value);
        let text = str::from_utf8(name).ok().and_then(|name| request.params.get(name));
        assert_eq!(text, str::from_utf8(value).ok().filter(|_| str::from_utf8(name).is_ok()));
    }
    let begin = [0, 2, request.keep.into(), 0, 0, 0, 0, 0];
    let mut text = record::Head::new(record::kind::BEGIN_REQUEST, request.id, 8).write().to_vec();
    text.extend(begin);
    for content in pairs.chunks(0xffff) {
        text.extend(record::Head::new(record::kind::PARAMS, request.id, content.len() as u16).write());
        text.extend(content);
    }
    text.extend(record::Head::new(record::kind::PARAMS, request.id, 0).write());
    text
}
