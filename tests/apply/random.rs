//! Random hosts and random declarations.

use crate::host::{Host, id};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The same numbers in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % 1_000_003).unwrap() % sides
    }

    fn one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }
}

const USERS: [&str; 6] = ["alice", "bob", "carol", "dave", "eve", "two words"];
/// Of these, the store has the keys of all but the last.
const KEYS: u32 = 5;

/// Some tokens of a user, as a mapping has them.
fn tokens(dice: &mut Dice, known: u32) -> Vec<String> {
    (0..known).filter(|_| dice.one_in(3)).map(id).collect()
}

type Lists = BTreeMap<String, Vec<String>>;

fn lists(dice: &mut Dice, likely: usize) -> Lists {
    let mut lists = Lists::new();
    for user in USERS {
        if !dice.one_in(likely) {
            lists.insert(user.to_owned(), tokens(dice, KEYS + 1));
        }
    }
    lists
}

fn text_of(lists: &Lists) -> String {
    let mut text = "# list\n".to_owned();
    for (user, tokens) in lists {
        writeln!(text, "{user}:{}", tokens.join(":")).unwrap();
    }
    text
}

fn read(text: &str) -> Lists {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let entries = lines.map(|line| {
        let (user, tokens) = line.split_once(':').unwrap();
        let tokens = tokens.split(':').filter(|token| !token.is_empty()).map(str::to_owned);
        (user.to_owned(), tokens.collect())
    });
    entries.collect()
}

const POLICIES: [&str; 5] = [
    "",
    "[policy]\nrequire = \"enrolled\"\n",
    "[policy]\nrequire = [\"alice\", \"bob\"] # these\nuntil = 2030-01-01\n",
    "[groups]\nops = [\"alice\"]\n[policy]\nexempt = [{ who = [\"@ops\"], from = [\"10.0.0.0/8\"] }]\n",
    "[service.sudo]\nrequire = \"enrolled\"\n[service.sshd]\nmethods = [\"yubikey\"]\n",
];

/// A declaration, and what it says of users.
struct Declared {
    text: String,
    exclusive: bool,
    adopt: bool,
    users: BTreeMap<&'static str, Option<Vec<String>>>,
}

fn declare(dice: &mut Dice) -> Declared {
    let (exclusive, adopt) = (dice.one_in(2), dice.one_in(2));
    let mut text = format!("version = 1\nexclusive = {exclusive}\nadopt = {adopt}\n");
    let mut users = BTreeMap::new();
    for user in USERS {
        match dice.roll(6) {
            0 => {}
            1 => writeln!(text, "[users.\"{user}\"]").unwrap(),
            2 => {
                users.insert(user, None);
                writeln!(text, "[users.\"{user}\"]\nstate = \"absent\"").unwrap();
            }
            _ => {
                // Now and then one whose key is not here.
                let tokens = if dice.one_in(12) { vec![id(KEYS)] } else { tokens(dice, KEYS) };
                writeln!(text, "[users.\"{user}\"]\ntokens = {tokens:?}").unwrap();
                users.insert(user, Some(tokens));
            }
        }
    }
    for n in 0..KEYS {
        if dice.one_in(3) {
            let state = if dice.one_in(2) { "enabled" } else { "disabled" };
            writeln!(text, "[tokens.{}]\nstate = \"{state}\"", id(n)).unwrap();
        }
    }
    text += POLICIES[dice.roll(POLICIES.len())];
    Declared { text, exclusive, adopt, users }
}

fn set(tokens: Option<&Vec<String>>) -> BTreeSet<String> {
    tokens.into_iter().flatten().cloned().collect()
}

/// The users are as they were declared.
fn is_as_declared(declared: &Declared, before: (&Lists, &Lists), after: (&Lists, &Lists)) {
    for user in USERS {
        let of = |lists: &Lists| set(lists.get(user));
        match declared.users.get(user) {
            Some(Some(tokens)) => {
                let mut expected = set(Some(tokens));
                if !declared.adopt {
                    assert_eq!(of(after.1), of(before.1), "{user}: enrolled");
                    expected.extend(of(before.1));
                }
                let has: BTreeSet<_> = of(after.0).union(&of(after.1)).cloned().collect();
                assert_eq!(has, expected, "{user}");
                assert!(after.0.contains_key(user) || after.1.contains_key(user), "{user}");
            }
            Some(None) => {
                assert!(!after.0.contains_key(user), "{user}");
                assert!(!declared.adopt || !after.1.contains_key(user), "{user}");
            }
            None if declared.exclusive && !declared.text.contains(&format!("[users.\"{user}\"]")) => {
                assert!(of(after.0).is_empty(), "{user}");
                assert_eq!(after.0.contains_key(user), before.0.contains_key(user), "{user}");
            }
            None => assert_eq!(after.0.get(user), before.0.get(user), "{user}"),
        }
    }
}

#[test]
fn check_differs_if_and_only_if_apply_changes_something() {
    let host = Host::new(KEYS);
    let config = host.read("config.toml");
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut seen = BTreeMap::<i32, usize>::new();
    for _ in 0..60 {
        let (mapping, enrolled) = (lists(&mut dice, 4), lists(&mut dice, 2));
        host.map(&text_of(&mapping));
        host.write("enrolled", &text_of(&enrolled));
        host.write("config.toml", &format!("{config}\n{}", POLICIES[dice.roll(POLICIES.len())]));
        for n in 0..KEYS {
            let verb = if dice.one_in(3) { "disable" } else { "enable" };
            host.run(&["key", verb, &id(n)]).exits(0);
        }
        let before = host.snapshot();
        exports_itself(&host);

        let declared = declare(&mut dice);
        let path = host.declare(&declared.text);
        let looked = host.json_of_any(&["apply", "--dry-run", &path]);
        // It says how many users an exclusive file leaves out.
        let confirm = looked.1["problems"].to_string();
        let number = confirm
            .split_once("--yes-remove ")
            .map(|(_, rest)| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
        let more: Vec<_> =
            number.iter().flat_map(|number| ["--yes-remove".to_owned(), number.clone()]).collect();
        let with = |words: &[&str]| -> Vec<String> {
            words.iter().map(|word| (*word).to_owned()).chain(more.clone()).chain([path.clone()]).collect()
        };
        let (status, shown) = host.json_of_any(&with(&["apply", "--dry-run"]));
        assert_eq!(host.snapshot(), before, "--dry-run changed something: {}", declared.text);
        let (applied, done) = host.json_of_any(&with(&["apply"]));
        let after = host.snapshot();
        *seen.entry(status).or_default() += 1;
        match status {
            0 => assert_eq!((applied, &after), (0, &before), "{}", declared.text),
            1 => assert_eq!((applied, &after), (1, &before), "{}", declared.text),
            3 => {
                assert_eq!(applied, 0, "{done}");
                assert_ne!(after, before, "{}", declared.text);
                assert_eq!(shown["changes"], done["changes"]);
            }
            other => panic!("{other}: {shown}"),
        }
        if status == 1 {
            continue;
        }
        is_as_declared(
            &declared,
            (&mapping, &enrolled),
            (&read(&host.mapping()), &read(&host.read("enrolled"))),
        );
        assert_eq!(host.json_of_any(&with(&["apply", "--dry-run"])).0, 0, "{}", declared.text);
        let again = host.json_of_any(&with(&["apply"]));
        assert_eq!((again.0, &again.1["changed"]), (0, &false.into()));
        assert_eq!(host.snapshot(), after, "applied twice: {}", declared.text);
    }
    assert!(seen[&3] > 30 && seen[&1] > 3, "{seen:?}");
}

/// A host is as its own export declares it.
fn exports_itself(host: &Host) {
    for arguments in [&["apply", "--export"][..], &["--json", "apply", "--export"]] {
        let text = host.run(arguments).exits(0).out;
        let said = host.run_reading(&["apply", "--dry-run", "-"], text.as_bytes());
        assert_eq!(said.code, Some(0), "{text}\n{said:#?}");
        let adopted = match arguments.len() {
            2 => text.replace("exclusive = true", "exclusive = true\nadopt = true"),
            _ => text.replace("\"exclusive\": true", "\"exclusive\": true, \"adopt\": true"),
        };
        host.run_reading(&["apply", "--dry-run", "-"], adopted.as_bytes()).exits(0);
    }
}

#[test]
fn a_host_with_recovery_codes_exports_itself() {
    let host = Host::new(1);
    host.map("alice:#0\nbob:\n");
    for user in ["alice", "bob"] {
        host.run(&["recovery", "new", user]).exits(0);
    }
    exports_itself(&host);
    // bob has nothing else.
    let text = host.run(&["apply", "--export"]).out;
    assert_eq!(text.matches("rec-").count(), 1, "{text}");
}
