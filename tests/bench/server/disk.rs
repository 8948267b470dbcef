//! What one commit costs at least.

use rustix::fs::fdatasync;
use rustix::io::pwrite;
use std::fs::File;
use std::time::{Duration, Instant};

/// As much as SQLite writes ahead for one step: a page with its head.
const FRAME: usize = 4096 + 24;
const FRAMES: usize = 1000;

/// Writes and `fdatasync`s a second, by one thread, over a file that has its length already.
pub(crate) fn syncs(time: Duration) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let file = File::create(folder.path().join("log")).unwrap();
    pwrite(&file, &vec![1; FRAME * FRAMES], 0).unwrap();
    file.sync_all().unwrap();
    let (begun, mut number) = (Instant::now(), 0);
    while begun.elapsed() < time {
        pwrite(&file, &[2; FRAME], (FRAME * (number % FRAMES)) as u64).unwrap();
        fdatasync(&file).unwrap();
        number += 1;
    }
    number as f64 / begun.elapsed().as_secs_f64()
}
