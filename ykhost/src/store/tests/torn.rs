//! Power cuts at every moment of a login's write, on a disk that keeps what was not synced as it likes: all of it,
//! nothing, or the beginning of each write, in any order.
//!
//! The writes are those of [`LockedPosition::write`](crate::store::advance): the tests of the workspace hold it to them from
//! outside, with what it really asks of the system.

use super::*;
use crate::store::slots::FILE;
use proptest::prelude::*;

/// A position file on a disk, and as the system has it in memory.
#[derive(Clone)]
struct Disk {
    durable: Vec<u8>,
    memory: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
}

/// What the disk kept of two writes that were not synced.
#[derive(Debug, Clone, Copy)]
struct Kept {
    /// The later one came first.
    reversed: bool,
    /// How many bytes of each, from its beginning.
    bytes: [usize; 2],
}

impl Disk {
    fn new() -> Self {
        let file = new_file(&at_position(None));
        Self { durable: file.clone(), memory: file, unsynced: Vec::new() }
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        self.memory[offset..][..bytes.len()].copy_from_slice(bytes);
        self.unsynced.push((offset, bytes.to_vec()));
    }

    fn sync(&mut self) {
        self.durable.clone_from(&self.memory);
        self.unsynced.clear();
    }

    fn cut(&mut self, kept: Kept) {
        let mut writes: Vec<_> = self.unsynced.drain(..).zip(kept.bytes.into_iter().cycle()).collect();
        if kept.reversed {
            writes.reverse();
        }
        for ((offset, bytes), kept) in writes {
            let kept = kept.min(bytes.len());
            self.durable[offset..][..kept].copy_from_slice(&bytes[..kept]);
        }
        self.memory.clone_from(&self.durable);
    }

    fn slots(&self) -> PositionFile {
        PositionFile::read(&self.memory, &token()).unwrap()
    }

    /// Begins to write a position. Where.
    fn begin(&mut self, to: u64) -> usize {
        let next = self.slots().next(&at_position(Some(to)));
        self.write(next.offset as usize, &next.slot);
        next.offset as usize
    }

    /// A login that is told yes.
    fn accept(&mut self, to: u64) {
        self.begin(to);
        self.sync();
    }

    /// A login whose write fails: the slot is spoilt, and that is not synced.
    fn fail(&mut self, to: u64) {
        let offset = self.begin(to);
        self.write(offset, &[b'#'; SLOT]);
    }

    fn position(&self) -> Option<u64> {
        self.slots().state.position.map(Position::to_stored)
    }
}

fn at_position(position: Option<u64>) -> State {
    State { position: position.map(at), ..State::new(token(), Fingerprint([7; 8])) }
}

/// Every cut of one write, with what two logins before it left; then a login that is cut off in turn, and one that is
/// not.
#[test]
fn every_prefix_of_every_write() {
    let mut cuts = 0;
    for before in 0..3_u64 {
        let mut disk = Disk::new();
        (1..=before).for_each(|to| disk.accept(to));
        let told = disk.position();
        disk.begin(10);
        for bytes in 0..=SLOT {
            let mut cut = disk.clone();
            cut.cut(Kept { reversed: false, bytes: [bytes; 2] });
            let now = cut.position();
            assert!(now == told || now == Some(10), "{bytes}: {now:?}");
            // What is not yet the slot to its last byte, blanks on blanks apart, is not it.
            assert_eq!(now == Some(10), cut.durable == disk.memory, "{bytes}");
            for again in [0, 1, SLOT / 2, SLOT - 1, SLOT] {
                let mut cut = cut.clone();
                cut.begin(20);
                cut.cut(Kept { reversed: false, bytes: [again; 2] });
                assert!(cut.position() == now || cut.position() == Some(20), "{bytes}, {again}");
                cut.accept(30);
                assert_eq!(cut.position(), Some(30));
                cuts += 1;
            }
        }
    }
    println!("{cuts} pairs of power cuts");
}

/// A write that failed, and what spoilt it, neither of them synced: each to any byte, in both orders.
#[test]
fn every_prefix_of_a_write_that_failed() {
    let mut disk = Disk::new();
    (1..=2).for_each(|to| disk.accept(to));
    disk.fail(10);
    assert_eq!(disk.position(), Some(2), "nobody was told yes");
    let some = [0, 1, 100, 101, SLOT / 2, SLOT - 2, SLOT - 1, SLOT];
    let all = 0..=SLOT;
    let pairs = all.clone().flat_map(|a| some.map(|b| [a, b])).chain(all.flat_map(|a| some.map(|b| [b, a])));
    let mut cuts = 0;
    for bytes in pairs {
        for reversed in [false, true] {
            let mut cut = disk.clone();
            cut.cut(Kept { reversed, bytes });
            let now = cut.position();
            assert!([Some(2), Some(10)].contains(&now), "{bytes:?} {reversed}: {now:?}");
            cut.accept(11);
            assert_eq!(cut.position(), Some(11));
            cuts += 1;
        }
    }
    println!("{cuts} power cuts after a write that failed");
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A login that is told yes, so far above the position.
    Accept(u64),
    /// One whose write fails.
    Fail(u64),
    /// One that is cut off in its write.
    CutIn(u64, Kept),
    /// A power cut between logins.
    Cut(Kept),
}

fn step() -> impl Strategy<Value = Step> {
    let byte = || prop_oneof![Just(0), Just(SLOT), 0..=SLOT];
    let kept =
        || (any::<bool>(), byte(), byte()).prop_map(|(reversed, a, b)| Kept { reversed, bytes: [a, b] });
    prop_oneof![
        3 => (1..5_u64).prop_map(Step::Accept),
        2 => (1..5_u64).prop_map(Step::Fail),
        2 => (1..5_u64, kept()).prop_map(|(to, kept)| Step::CutIn(to, kept)),
        1 => kept().prop_map(Step::Cut),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Never below what somebody was told yes for, never above what was written, never unreadable.
    #[test]
    fn no_yes_is_forgotten(steps in proptest::collection::vec(step(), 1..30)) {
        let mut disk = Disk::new();
        let (mut told, mut written) = (0, 0);
        for step in steps {
            let now = disk.position().unwrap_or(0);
            let mut to = |above: u64| {
                written = written.max(now + above);
                now + above
            };
            match step {
                Step::Accept(above) => {
                    told = to(above);
                    disk.accept(told);
                }
                Step::Fail(above) => disk.fail(to(above)),
                Step::CutIn(above, kept) => {
                    disk.begin(to(above));
                    disk.cut(kept);
                }
                Step::Cut(kept) => disk.cut(kept),
            }
            let slots = PositionFile::read(&disk.memory, &token());
            prop_assert!(slots.is_ok(), "{step:?}: {slots:?}");
            let position = disk.position().unwrap_or(0);
            prop_assert!(told <= position && position <= written, "{step:?}: {told} {position} {written}");
            prop_assert_eq!(disk.memory.len(), FILE);
        }
    }
}
