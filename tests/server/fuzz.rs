//! Questions that are nearly right: none of them is OK but the one that is.

use std::thread;
use tests::soft_yubikey::SoftYubiKey;
use tests::validation::Fields;
use tests::ykvald::{Client, Connection, Question, Site};

on_both_stores!(mutated_questions);

const THREADS: u64 = 4;
const EACH: u64 = 1000;

/// The same in every run.
struct Noise(u64);

impl Noise {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

const TEXTS: &[&str] = &[
    "",
    "0",
    "1",
    "-1",
    "2",
    "00000001",
    "4294967296",
    "9999999999",
    "99999999999",
    "fast",
    "cccccccccccc",
    "\0",
    "\r\n",
    "status=OK",
    "&",
    "=",
    "%",
    "'",
    "\"; DROP TABLE token; --",
    "ü",
    "\u{202e}",
    "1 OR 1=1",
    "$1",
    "\\",
    "nonce",
];
const NAMES: &[&str] =
    &["id", "otp", "nonce", "h", "timestamp", "sl", "timeout", "status", "t", "", "ID", "otp ", "otp\0"];

/// One change of the question.
fn mutate(question: &mut Fields, noise: &mut Noise) {
    let at = noise.below(question.len().max(1));
    let kind = noise.below(9);
    let Some((name, value)) = question.get_mut(at) else { return };
    match kind {
        0 => drop(question.remove(at)),
        1 => {
            let twice = question[at].clone();
            question.insert(noise.below(question.len()), twice);
        }
        2 => (*noise.pick(TEXTS)).clone_into(value),
        3 => (*noise.pick(NAMES)).clone_into(name),
        4 => question.push(((*noise.pick(NAMES)).to_owned(), (*noise.pick(TEXTS)).to_owned())),
        5 if !value.is_empty() => {
            let mut characters: Vec<char> = value.chars().collect();
            let place = noise.below(characters.len());
            characters[place] = *noise.pick(&['c', 'b', 'v', 'C', '=', '+', 'x', '0', '\n', ' ', 'ı']);
            *value = characters.into_iter().collect();
        }
        6 => *value = value.chars().skip(noise.below(3)).collect(),
        7 => {
            let more = TEXTS[noise.below(TEXTS.len())];
            value.push_str(more);
        }
        _ => {
            let other = noise.below(question.len());
            question.swap(at, other);
        }
    }
}

/// A change of the URL; always ASCII, so that HTTP accepts it.
fn mutate_query(query: &str, noise: &mut Noise) -> String {
    let mut bytes = query.as_bytes().to_vec();
    for _ in 0..noise.below(3) {
        let place = noise.below(bytes.len());
        match noise.below(4) {
            0 => bytes[place] = b"%&=+0aZ;.~"[noise.below(10)],
            1 => bytes.insert(place, b"%&=+0aZ;.~"[noise.below(10)]),
            2 => drop(bytes.remove(place)),
            _ => bytes.truncate(place.max(1)),
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// As a form is decoded.
fn decode(query: &str) -> Fields {
    let text = |text: &str| {
        let mut decoded = Vec::new();
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let escaped = bytes.get(at + 1..at + 3).and_then(|digits| {
                let digits = std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'))?;
                u8::from_str_radix(digits, 16).ok()
            });
            match (bytes[at], escaped) {
                (b'%', Some(byte)) => {
                    decoded.push(byte);
                    at += 2;
                }
                (b'+', _) => decoded.push(b' '),
                (byte, _) => decoded.push(byte),
            }
            at += 1;
        }
        String::from_utf8_lossy(&decoded).into_owned()
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}

fn mutated_questions(site: &Site) {
    let strict = site.add_client(&["--require-signature", "yes"]);
    let keys = site.keys(2500..2500 + u32::try_from(THREADS).unwrap());
    let mut server = site.start();
    let address = server.address();
    let (tried, accepted) = thread::scope(|scope| {
        let fuzzing: Vec<_> = keys
            .into_iter()
            .zip(1..)
            .map(|(key, seed)| {
                let strict = &strict;
                scope.spawn(move || fuzz(address, strict, key, seed))
            })
            .collect();
        fuzzing
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    });
    println!("{tried} mutated questions; {accepted} said the same as the right one");
    assert!(server.is_alive() && !server.log().contains("panicked"), "{}", server.log());
}

fn fuzz(address: std::net::SocketAddr, client: &Client, mut key: SoftYubiKey, seed: u64) -> (usize, usize) {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15 ^ seed);
    let mut connection = Connection::open(address).unwrap();
    let mut right = Question::new(client, &key.press()).with("timestamp", "1").signed(&client.key);
    let (mut tried, mut accepted) = (0, 0);
    for _ in 0..EACH {
        let mut asked = right.clone();
        for _ in 0..noise.below(3) {
            mutate(&mut asked.parameters, &mut noise);
        }
        let query =
            if noise.below(2) == 0 { asked.query() } else { mutate_query(&asked.query(), &mut noise) };
        tried += 1;
        let reply = if noise.below(3) == 0 {
            connection.post("/wsapi/2.0/verify", &query)
        } else {
            connection.get(&format!("/wsapi/2.0/verify?{query}"))
        };
        let Ok(reply) = reply else {
            connection = Connection::open(address).unwrap();
            continue;
        };
        let [mut sent, mut meant] = [decode(&query), right.parameters.clone()];
        // All but the signature is under it; blanks around it do not count, as at YK-VAL.
        for (_, h) in sent.iter_mut().filter(|(name, _)| name == "h") {
            *h = h.trim_matches([' ', '\t', '\n', '\r', '\0', '\x0b']).to_owned();
        }
        sent.sort();
        meant.sort();
        assert_eq!(reply.says() == "OK", sent == meant, "{query}\n{reply:?}\n{right:?}");
        // A client that reads the answer line by line reads the server's decision.
        assert_eq!(reply.fields().iter().filter(|(name, _)| name == "status").count(), 1, "{reply:?}");
        if reply.says() == "OK" {
            accepted += 1;
            right = Question::new(client, &key.press()).with("timestamp", "1").signed(&client.key);
        }
    }
    assert_eq!(connection.ask(&right).unwrap().says(), "OK", "the right one at the end");
    (tried, accepted)
}
