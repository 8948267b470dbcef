//! Several attempts of which one success is enough, so that a silent host causes no delay.

use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// Starts attempts one after the other, each when the one before it failed or had its head start, and returns the first
/// success; the others are dropped.
///
/// # Errors
/// All failed: the error of each; `None`: it had none yet.
pub async fn side_by_side<T: Send + 'static, E: Send + 'static>(
    attempts: Vec<impl Future<Output = Result<T, E>> + Send + 'static>,
    head_start: Duration,
    until: Instant,
) -> Result<T, Vec<Option<E>>> {
    let count = attempts.len();
    let mut said: Vec<Option<E>> = (0..count).map(|_| None).collect();
    let mut waiting = attempts.into_iter().enumerate();
    let mut under_way = JoinSet::new();
    loop {
        if let Some((at, next)) = waiting.next() {
            under_way.spawn(async move { (at, next.await) });
        } else if under_way.is_empty() || Instant::now() >= until {
            return Err(said);
        }
        let patience = if waiting.len() == 0 { until } else { until.min(Instant::now() + head_start) };
        let ended = timeout_at(patience, under_way.join_next()).await;
        match ended {
            Ok(Some(Ok((_, Ok(won))))) => return Ok(won),
            Ok(Some(Ok((at, Err(why))))) => {
                if let Some(said) = said.get_mut(at) {
                    *said = Some(why);
                }
            }
            // Its head start is over, or it panicked.
            Ok(_) | Err(_) => {}
        }
    }
}
