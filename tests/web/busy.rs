//! Commands beside a busy server: both write to the store, SQLite moves its log meanwhile, and nobody takes that for damage.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tests::web::ykwebd::Site;

#[test]
fn commands_and_answers_at_the_same_time() {
    let site = Site::start();
    let (until, added, answered) =
        (Instant::now() + Duration::from_secs(12), AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for command in 0..2 {
            let (site, added) = (&site, &added);
            scope.spawn(move || {
                while Instant::now() < until {
                    let name = format!("user{command}x{}", added.fetch_add(1, Ordering::Relaxed));
                    site.must(&["user", "add", &name]);
                    site.must(&["user", "new-recovery-codes", &name]);
                    site.must(&["user", "list"]);
                }
            });
        }
        for _ in 0..2 {
            let (site, answered) = (&site, &answered);
            scope.spawn(move || {
                while Instant::now() < until {
                    // An event, and a try that is taken.
                    assert_eq!(site.check("123456", "second")["verdict"], "rejected");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let (added, answered) = (added.into_inner(), answered.into_inner());
    assert!(added > 10 && answered > 10, "{added} users, {answered} answers");
    let users: serde_json::Value = serde_json::from_str(&site.must(&["--json", "user", "list"])).unwrap();
    assert_eq!(users.as_array().unwrap().len(), added + 2);
    site.must(&["check"]);
}
