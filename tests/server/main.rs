//! The validation server from outside: the real `ykvald`, asked by programs that nobody here wrote and by raw sockets,
//! with SQLite, with PostgreSQL, and with etcd where what happens differs there. One topic a file.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints what it measured for --nocapture"
)]

/// Each of these tests once with SQLite and once with PostgreSQL.
macro_rules! on_both_stores {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[test] fn $test() { super::$test(&tests::ykvald::Site::sqlite()); })+
        }
        mod postgres {
            $(#[test] fn $test() {
                match tests::ykvald::Site::postgres() {
                    Ok(site) => super::$test(&site),
                    Err(why) => tests::skip(&why),
                }
            })+
        }
    };
}

/// Each of these tests with etcd.
macro_rules! on_etcd {
    ($($test:ident),+ $(,)?) => {
        mod etcd {
            $(#[test] fn $test() {
                match tests::ykvald::Site::etcd() {
                    Ok(site) => super::$test(&site),
                    Err(why) => tests::skip(&why),
                }
            })+
        }
    };
}

mod answers;
mod crash;
mod crowd;
mod failover;
mod forgot;
mod fuzz;
mod ksm;
mod late;
mod load;
mod malformed;
mod members;
mod moved;
mod peers;
mod race;
mod radius;
mod replays;
mod restored;
mod rotate;
mod secrets;
mod siege;
mod stop;
mod systemd;
mod tls;
