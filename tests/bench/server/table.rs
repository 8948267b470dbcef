//! The aims, and the tables.

use crate::cells::{Cell, Setup};
use crate::page::{Aim, Limit, Section, figure, head, row};
use crate::yubiserver;

/// Where the aims look, unless they say otherwise.
const AT: usize = 64;

/// A line while it continues.
pub(crate) fn line(cell: &Cell) -> String {
    let (ours, hello) = (&cell.ours, &cell.hello);
    let database = if ours.database > 0.0 { format!(" + {:.0}", ours.database) } else { String::new() };
    format!(
        "{:>3} connections: {:>6.0} OK/s ({:.0} % of {:.0}), p50 {:.2} ms, p99 {:.2}, max {:.1}; \
         {:.1}{database} µs each (hello {:.1}; asking {:.1}); {:.1} MiB, at most {:.1}",
        cell.connections,
        ours.rate,
        ours.rate / hello.rate * 100.0,
        hello.rate,
        ours.p50,
        ours.p99,
        ours.longest,
        ours.processor,
        hello.processor,
        ours.asking,
        ours.resident,
        ours.most,
    )
}

/// Of all cells. `large` is the larger number of tokens.
pub(crate) fn section(cells: &[Cell], setups: &[Setup], large: usize) -> Section {
    let mut text = String::new();
    for setup in setups {
        let own: Vec<&Cell> =
            cells.iter().filter(|cell| (cell.store, cell.tokens) == (setup.store, setup.tokens)).collect();
        text += &format!("## {}, {} tokens\n\n", setup.store, thousands(setup.tokens));
        text += &format!(
            "`ykvald key import` of a YK-KSM file: {} s. From its start to `/readyz`: {} ms. The bare disk just then: {:.0} \
             times a second, {:.0} µs each.\n\n",
            figure(setup.imported),
            figure(setup.started * 1e3),
            setup.syncs,
            1e6 / setup.syncs
        );
        text += &table(&own);
        text.push('\n');
    }
    Section { aims: aims(cells, setups, large), text }
}

fn table(cells: &[&Cell]) -> String {
    let columns: Vec<String> = cells.iter().map(|cell| cell.connections.to_string()).collect();
    let columns = [&["connections"][..], &columns.iter().map(String::as_str).collect::<Vec<_>>()].concat();
    let mut text = head(&columns);
    let mut rows = |name: &str, of: &dyn Fn(&Cell) -> f64| {
        let figures: Vec<f64> = cells.iter().map(|cell| of(cell)).collect();
        if figures.iter().any(|figure| *figure > 0.0) {
            text += &row(name, &figures);
        }
    };
    rows("**durable OK a second**", &|cell| cell.ours.rate);
    rows("the ceiling, hello a second", &|cell| cell.hello.rate);
    rows("× the ceiling", &|cell| cell.ours.rate / cell.hello.rate);
    rows("p50, ms", &|cell| cell.ours.p50);
    rows("p99, ms", &|cell| cell.ours.p99);
    rows("longest, ms", &|cell| cell.ours.longest);
    rows("the ceiling's p99, ms", &|cell| cell.hello.p99);
    rows("processor time of `ykvald` for each, µs", &|cell| cell.ours.processor);
    rows("– of the database, µs", &|cell| cell.ours.database);
    rows("– of the ceiling, µs", &|cell| cell.hello.processor);
    rows("`ykvald`'s × the ceiling's", &|cell| cell.ours.processor / cell.hello.processor);
    rows("– of the load generator, µs", &|cell| cell.ours.asking);
    rows("– of the load generator at the ceiling, µs", &|cell| cell.hello.asking);
    rows("resident memory of `ykvald`, MiB", &|cell| cell.ours.resident);
    rows("– at most, MiB", &|cell| cell.ours.most);
    rows("– of the database, MiB", &|cell| cell.ours.database_memory);
    text
}

fn aims(cells: &[Cell], setups: &[Setup], large: usize) -> Vec<Aim> {
    let mut aims = Vec::new();
    let setup = setups.iter().find(|setup| (setup.store, setup.tokens) == ("SQLite", large));
    let syncs = setup.map_or(0.0, |setup| setup.syncs);
    let sqlite: Vec<&Cell> = cells.iter().filter(|cell| cell.store == "SQLite").collect();
    for cell in sqlite.iter().filter(|cell| cell.tokens == large) {
        let one = cell.connections == 1;
        aims.push(Aim {
            what: format!("SQLite, {} connections: OK a second to the ceiling", cell.connections),
            limit: Limit::AtLeast(0.40),
            measured: cell.ours.rate / cell.hello.rate,
            unit: " ×",
            bound: if one {
                format!("each waits for a sync of its own, {:.0} µs on this disk", 1e6 / syncs)
            } else {
                format!(
                    "{:.0} µs of processor time each, of which the ceiling takes {:.0}, and the load generator {:.0} more",
                    cell.ours.processor, cell.hello.processor, cell.ours.asking
                )
            },
        });
    }
    let at = |tokens| sqlite.iter().find(|cell| cell.connections == AT && cell.tokens == tokens);
    if let Some(cell) = at(large) {
        let mut aim = |what: &str, limit, measured, unit, bound: &str| {
            let what = format!("SQLite, {AT} connections: {what}");
            aims.push(Aim { what, limit, measured, unit, bound: bound.to_owned() });
        };
        let ours = &cell.ours;
        aim(
            "durable OK a second",
            Limit::AtLeast(10_000.0),
            ours.rate,
            "",
            "two processors, shared with the load generator",
        );
        aim("p99", Limit::AtMost(20.0), ours.p99, " ms", "two commits");
        aim(
            "processor time of each",
            Limit::AtMost(100.0),
            ours.processor,
            " µs",
            "HTTP, AES, two HMACs, SQLite's tree",
        );
        if let Some(small) = at(1000) {
            let what = format!("OK a second with {} tokens to those with 1,000", thousands(large));
            aim(
                &what,
                Limit::AtLeast(0.90),
                ours.rate / small.ours.rate,
                " ×",
                "a page of its own for each token",
            );
        }
    }
    let postgres = |cell: &&Cell| cell.store == "PostgreSQL" && cell.connections == AT;
    for cell in cells.iter().filter(postgres) {
        let mut aim = |what: &str, limit, measured, unit| {
            let what = format!("PostgreSQL, {AT} connections, {} tokens: {what}", thousands(cell.tokens));
            let bound = format!(
                "{:.0} µs of processor time each, PostgreSQL's {:.0} more, and the load generator {:.0}",
                cell.ours.processor, cell.ours.database, cell.ours.asking
            );
            aims.push(Aim { what, limit, measured, unit, bound });
        };
        aim("durable OK a second", Limit::AtLeast(15_000.0), cell.ours.rate, "");
        aim("p99", Limit::AtMost(20.0), cell.ours.p99, " ms");
    }
    for cell in cells.iter().filter(|cell| cell.store == "etcd, three members") {
        let mut aim = |what: &str, limit, measured, unit| {
            let what = format!("etcd, three members, {} connections: {what}", cell.connections);
            let bound = format!(
                "{:.0} µs of processor time each, the three members' {:.0} more, and the load generator {:.0}",
                cell.ours.processor, cell.ours.database, cell.ours.asking
            );
            aims.push(Aim { what, limit, measured, unit, bound });
        };
        if cell.connections == AT {
            aim("durable OK a second", Limit::AtLeast(10_000.0), cell.ours.rate, "");
            aim("p99", Limit::AtMost(60.0), cell.ours.p99, " ms");
        } else if cell.connections == 1 {
            aim("p99", Limit::AtMost(15.0), cell.ours.p99, " ms");
        }
    }
    let most = cells.iter().max_by(|one, other| one.ours.most.total_cmp(&other.ours.most));
    if let Some(cell) = most {
        aims.push(Aim {
            what: "the most resident memory of `ykvald` in any of the tables".to_owned(),
            limit: Limit::AtMost(64.0),
            measured: cell.ours.most,
            unit: " MiB",
            bound: format!(
                "{}, {} tokens, {} connections",
                cell.store,
                thousands(cell.tokens),
                cell.connections
            ),
        });
    }
    aims
}

/// Of Debian's yubiserver.
pub(crate) fn yubiserver(rows: &Result<Vec<yubiserver::Row>, String>) -> String {
    let mut text = format!(
        "## Debian's yubiserver 0.6\n\n\
         {} tokens, a server anew for each number of connections. It syncs too (SQLite's rollback journal, four times \
         a question), answers a connection once (HTTP/1.0), in one thread, keeps AES keys in the clear, and leaves the \
         position out of what it signs. Asked by more than one at a time, it tells one what it found for another.\n\n",
        yubiserver::TOKENS
    );
    let rows = match rows {
        Ok(rows) => rows,
        Err(why) => return format!("{text}Not measured: {why}.\n"),
    };
    text += &head(&[
        "connections",
        "OK a second",
        "p50, ms",
        "p99, ms",
        "longest, ms",
        "processor time, µs",
        "memory, MiB",
    ]);
    for (connections, figures) in rows {
        match figures {
            Ok(figures) => text += &row(&connections.to_string(), figures),
            Err(why) => text += &format!("| {connections} | none: {why} | | | | | |\n"),
        }
    }
    text
}

/// With commas.
pub(crate) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
