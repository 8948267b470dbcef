//! On a real PostgreSQL. The cluster's own settings are wrong in two ways (`synchronous_commit = off`, serializable), which
//! every test here goes against.

use super::cluster::shared;
use super::*;
use crate::store::contract::{self, wait};

/// A database that is not a store yet; `None` where there is no PostgreSQL.
struct Database(crate::config::Postgres);

impl contract::Fresh for Database {
    fn at(&self) -> StoreAt {
        StoreAt::Postgres(self.0.clone())
    }
}

fn database() -> Option<Database> {
    shared().map(|cluster| Database(wait(cluster.database("owner"))))
}

contract::contract!(match database() {
    Some(database) => database,
    None => return,
});
