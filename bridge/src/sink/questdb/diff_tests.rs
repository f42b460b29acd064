//! Differences against a model of a table, and against a naive judge of what is as declared.

use proptest::prelude::*;

use super::super::wish::Designated;
use super::*;

static NAMES: [&str; 6] = ["a", "b", "c", "d", "ts", "time"];
const KINDS: [ColumnType; 9] = [
    ColumnType::Byte,
    ColumnType::Int,
    ColumnType::Long,
    ColumnType::Double,
    ColumnType::Symbol,
    ColumnType::Varchar,
    ColumnType::Timestamp,
    ColumnType::TimestampNs,
    ColumnType::Geohash,
];
const UNITS: [&str; 3] = ["HOUR", "DAY", "MONTH"];

fn kind() -> impl Strategy<Value = ColumnType> {
    proptest::sample::select(&KINDS[..])
}

fn names(of: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    proptest::sample::subsequence(of, 0..=of.len())
        .prop_map(|names| names.into_iter().map(str::to_owned).collect())
}

/// Names with types, in any order.
fn columns(of: &'static [&'static str]) -> impl Strategy<Value = Vec<(String, ColumnType)>> {
    (names(of), proptest::collection::vec(kind(), of.len()))
        .prop_map(|(names, kinds)| names.into_iter().zip(kinds).collect::<Vec<_>>())
        .prop_shuffle()
}

fn ttl() -> impl Strategy<Value = Ttl> {
    prop_oneof![(0..3_u32).prop_map(|d| Ttl::Hours(d * 24)), (1..3_u32).prop_map(Ttl::Months)]
}

fn unit() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(&UNITS[..])
}

fn wish() -> impl Strategy<Value = Wish> {
    let designated = (any::<bool>(), any::<bool>(), proptest::option::of(stamp_kind()));
    let rest = (proptest::option::of(unit()), proptest::option::of(ttl()), any::<bool>());
    (columns(&NAMES[..4]), designated, rest, names(&NAMES[..4])).prop_map(
        |(columns, (is_ts, is_declared, kind), (partition_by, ttl, strict), keys)| {
            let name = if is_ts { "ts" } else { "time" }.to_owned();
            let is_there = |key: &String| columns.iter().any(|(column, _)| column == key);
            let mut upsert_keys: Vec<String> = keys.into_iter().filter(is_there).collect();
            if !upsert_keys.is_empty() {
                upsert_keys.push(name.clone());
            }
            let wanted = |(name, kind)| Wanted { name, kind };
            Wish {
                table: "t".to_owned(),
                columns: columns.into_iter().map(wanted).collect(),
                timestamp: Designated { name, is_declared, kind },
                partition_by,
                ttl,
                upsert_keys,
                strict,
            }
        },
    )
}

fn stamp_kind() -> impl Strategy<Value = ColumnType> {
    prop_oneof![Just(ColumnType::Timestamp), Just(ColumnType::TimestampNs)]
}

fn state() -> impl Strategy<Value = State> {
    let rest = (proptest::option::of(any::<bool>()), unit(), proptest::option::of(ttl()));
    (columns(&NAMES), rest, stamp_kind(), any::<bool>(), names(&NAMES)).prop_map(
        |(mut columns, (stamp, unit, ttl), stamp_kind, wal, keys)| {
            let timestamp = stamp.map(|is_ts| if is_ts { "TS" } else { "time" }.to_owned());
            if let Some(timestamp) = &timestamp {
                columns.retain(|(name, _)| !name.eq_ignore_ascii_case(timestamp));
                columns.push((timestamp.clone(), stamp_kind));
            }
            let is_there = |key: &String| columns.iter().any(|(column, _)| column == key);
            let upsert_keys = keys.into_iter().filter(is_there).collect();
            let (table, partition_by) = ("T".to_owned(), unit.to_owned());
            State { table, columns, timestamp, partition_by, ttl, wal, upsert_keys }
        },
    )
}

/// What the database makes of a change, as a model.
fn apply(change: &Change, state: &mut Option<State>) {
    if let Change::Create(wish) = change {
        assert!(state.is_none(), "it is there");
        let kind = wish.timestamp.kind.unwrap_or(ColumnType::Timestamp);
        let mut columns = vec![(wish.timestamp.name.clone(), kind)];
        columns.extend(wish.columns.iter().map(|wanted| (wanted.name.clone(), wanted.kind)));
        *state = Some(State {
            table: wish.table.clone(),
            columns,
            timestamp: Some(wish.timestamp.name.clone()),
            partition_by: wish.partition_by.unwrap_or("DAY").to_owned(),
            ttl: Some(wish.ttl.unwrap_or(Ttl::Hours(0))),
            wal: true,
            upsert_keys: wish.upsert_keys.clone(),
        });
        return;
    }
    let state = state.as_mut().expect("it is made first");
    match change {
        Change::Create(_) => {}
        Change::Add(wanted) => {
            assert_eq!(state.kind(&wanted.name), None, "it is there");
            state.columns.push((wanted.name.clone(), wanted.kind));
        }
        Change::Widen(column, kind) => {
            let mut columns = state.columns.iter_mut();
            let found = columns.find(|(name, _)| name.eq_ignore_ascii_case(column));
            found.expect("it is there").1 = *kind;
        }
        Change::Keep(ttl) => state.ttl = Some(*ttl),
        Change::Upsert(keys) => {
            assert!(state.wal && keys.iter().all(|key| state.kind(key).is_some()), "{keys:?}");
            let timestamp = state.timestamp.clone().expect("keys need one");
            assert!(keys.contains(&timestamp), "{keys:?} lack {timestamp}");
            state.upsert_keys.clone_from(keys);
        }
    }
}

/// Whether a table is as declared, said once more without any care for how to get there.
fn agrees(wish: &Wish, state: &State) -> bool {
    let lower = |names: &[String]| {
        names.iter().map(|name| name.to_lowercase()).collect::<std::collections::BTreeSet<_>>()
    };
    let Some(timestamp) = &state.timestamp else { return false };
    let timestamp = timestamp.to_lowercase();
    let stamp_is_right = (!wish.timestamp.is_declared || timestamp == wish.timestamp.name)
        && wish.timestamp.kind.is_none_or(|kind| state.kind(&timestamp) == Some(kind));
    let columns_are_right = wish
        .columns
        .iter()
        .all(|wanted| wanted.name == timestamp || state.kind(&wanted.name) == Some(wanted.kind));
    let mut keys = lower(&wish.upsert_keys);
    if keys.remove(&wish.timestamp.name) {
        keys.insert(timestamp.clone());
    }
    let mut known = vec![timestamp];
    known.extend(wish.columns.iter().map(|wanted| wanted.name.clone()));
    let has_more = !lower(&names_of(state)).is_subset(&lower(&known));
    state.wal
        && stamp_is_right
        && columns_are_right
        && wish.partition_by.is_none_or(|unit| unit == state.partition_by)
        && wish.ttl.is_none_or(|ttl| state.ttl.is_none_or(|kept| kept == ttl))
        && (keys.is_empty() || keys == lower(&state.upsert_keys))
        && !(wish.strict && has_more)
}

fn names_of(state: &State) -> Vec<String> {
    state.columns.iter().map(|(name, _)| name.clone()).collect()
}

proptest! {
    /// What is proposed leads to the declared table, or as near as can be.
    #[test]
    fn a_plan_that_is_made_leaves_nothing_to_do(
        wish in wish(),
        found in proptest::option::of(state()),
    ) {
        let first = diff(&wish, found.as_ref());
        let mut made = found.clone();
        first.changes.iter().for_each(|change| apply(change, &mut made));
        let made = made.expect("there is a table now");
        let second = diff(&wish, Some(&made));
        prop_assert!(second.changes.is_empty(), "{:?}", second.changes);
        prop_assert_eq!(first.obstacles.is_empty(), second.obstacles.is_empty());
        prop_assert_eq!(second.obstacles.is_empty(), agrees(&wish, &made), "{:?}", made);
    }

    /// No difference means as declared, and as declared means no difference.
    #[test]
    fn a_plan_is_empty_where_all_is_as_declared(wish in wish(), found in state()) {
        let difference = diff(&wish, Some(&found));
        let is_empty = difference.changes.is_empty() && difference.obstacles.is_empty();
        prop_assert_eq!(is_empty, agrees(&wish, &found), "{:?}", difference);
    }

    /// No column goes, and none gets a type that holds less.
    #[test]
    fn nothing_is_lost(wish in wish(), found in state()) {
        let mut made = Some(found.clone());
        diff(&wish, Some(&found)).changes.iter().for_each(|change| apply(change, &mut made));
        let made = made.expect("it was there");
        for (name, before) in &found.columns {
            let after = made.kind(name).expect("it is still there");
            prop_assert!(after == *before || holds(after, *before), "{name}: {before} to {after}");
        }
    }
}

#[test]
fn differences_are_said_in_statements() {
    let wanted = |name: &str, kind| Wanted { name: name.to_owned(), kind };
    let wish = Wish {
        table: "readings".into(),
        columns: vec![
            wanted("site", ColumnType::Symbol),
            wanted("seq", ColumnType::Long),
            wanted("note", ColumnType::Int),
        ],
        timestamp: Designated { name: "ts".into(), is_declared: true, kind: None },
        partition_by: Some("DAY"),
        ttl: Some(Ttl::Hours(720)),
        upsert_keys: vec!["ts".into(), "site".into()],
        strict: false,
    };
    let column = |name: &str, kind| (name.to_owned(), kind);
    let found = State {
        table: "readings".into(),
        columns: vec![
            column("ts", ColumnType::Timestamp),
            column("seq", ColumnType::Int),
            column("note", ColumnType::Varchar),
            column("old", ColumnType::Byte),
        ],
        timestamp: Some("ts".into()),
        partition_by: "HOUR".into(),
        ttl: Some(Ttl::Hours(0)),
        wal: true,
        upsert_keys: vec![],
    };
    let migration = diff(&wish, Some(&found)).migration(&wish, Some(&found));
    assert_eq!(
        migration.statements,
        [
            "ALTER TABLE \"readings\" ADD COLUMN IF NOT EXISTS \"site\" SYMBOL",
            "ALTER TABLE \"readings\" ALTER COLUMN \"seq\" TYPE LONG",
            "ALTER TABLE \"readings\" SET TTL 30 DAYS",
            "ALTER TABLE \"readings\" DEDUP ENABLE UPSERT KEYS(\"ts\", \"site\")",
        ]
    );
    let obstacles: Vec<&str> = migration.obstacles.iter().map(|o| o.what.as_str()).collect();
    assert_eq!(
        obstacles,
        [
            "it is partitioned by HOUR, declared is DAY: that cannot be altered",
            "column note is VARCHAR, declared is INT, which cannot hold every value of it",
        ]
    );
    assert_eq!(migration.beside, ["old"]);
    assert_eq!(migration.summary(), "4 statements, 2 things that cannot be done");
    let made = diff(&wish, None).migration(&wish, None);
    assert_eq!(
        made.statements,
        [
            "CREATE TABLE IF NOT EXISTS \"readings\" (\"ts\" TIMESTAMP, \"site\" SYMBOL, \"seq\" LONG, \
          \"note\" INT) TIMESTAMP(\"ts\") PARTITION BY DAY TTL 30 DAYS WAL DEDUP UPSERT \
          KEYS(\"ts\", \"site\")"
        ]
    );
}
