//! Wall time and processor time of a whole process, its children included.

use super::sides::Side;
use nix::sys::resource::{UsageWho, getrusage};
use std::process::Stdio;
use std::time::{Duration, Instant};

#[derive(Default)]
pub(crate) struct Times {
    wall: Vec<Duration>,
    processor: Vec<Duration>,
}

impl Times {
    /// The median, in milliseconds.
    pub(crate) fn wall(&self) -> f64 {
        median(&self.wall)
    }

    /// User and system together: the median, in milliseconds.
    pub(crate) fn processor(&self) -> f64 {
        median(&self.processor)
    }
}

fn median(times: &[Duration]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2].as_secs_f64() * 1000.0
}

/// In turns, so that what else the machine does is everybody's.
pub(crate) fn measure(sides: &mut [Side], runs: usize) {
    for run in 0..runs + 2 {
        for side in &mut *sides {
            let mut login = side.login();
            login.stdin(Stdio::null()).stdout(Stdio::null());
            let (before, begun) = (processor(), Instant::now());
            let status = login.status().unwrap();
            let (wall, after) = (begun.elapsed(), processor());
            assert!(status.success(), "{}: a login failed", side.name);
            // The first two read the files into memory.
            if run >= 2 {
                side.times.wall.push(wall);
                side.times.processor.push(after.saturating_sub(before));
            }
        }
    }
}

/// Of all children that have been waited for, and theirs.
fn processor() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let micros =
        [usage.user_time(), usage.system_time()].map(|time| time.tv_sec() * 1_000_000 + time.tv_usec());
    Duration::from_micros(micros.iter().sum::<i64>().unsigned_abs())
}
