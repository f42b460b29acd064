//! What holds for every expression: reading never panics, what is printed is read as the same
//! tree, and a program gives what the naive evaluator gives, or fails where it fails.

mod naive;

use bridge_abi::Unit;
use bridge_expr::{
    Arithmetic, Comparison, Expr, ExprKind, Function, Own, Row, Scratch, Span, Type, Value, Which,
    compile, parse, time,
};
use naive::{Columns, OFFSET, Plain};
use proptest::prelude::*;

fn expr(kind: ExprKind) -> Expr {
    Expr { at: Span::default(), kind }
}

fn boxed(part: Expr) -> Box<Expr> {
    Box::new(part)
}

const NAMES: [&str; 8] = ["a", "b", "t", "flag", "ts", "gone", "a name", "and"];

fn column(name: &str) -> ExprKind {
    ExprKind::Column(name.to_owned())
}

fn leaf() -> impl Strategy<Value = Expr> {
    let float = prop_oneof![
        -1e3..1e3_f64,
        prop::sample::select(vec![0.0, 0.5, -1.5, 9007199254740992.0, 9.3e18, 1e300, -0.0]),
    ];
    let int = prop_oneof![
        -4..5_i64,
        any::<i64>(),
        prop::sample::select(vec![i64::MAX, i64::MIN, 9007199254740993])
    ];
    prop_oneof![
        6 => prop::sample::select(NAMES.to_vec()).prop_map(column),
        1 => Just(ExprKind::Null),
        1 => any::<bool>().prop_map(ExprKind::Bool),
        2 => int.prop_map(ExprKind::Int),
        2 => float.prop_map(ExprKind::Float),
        2 => "[a-c' %]{0,3}".prop_map(ExprKind::Text),
        1 => (-4_000..4_000_i64).prop_map(|at| ExprKind::Time(at * 1_000_003, Unit::Micros)),
        1 => any::<i64>().prop_map(|at| ExprKind::Time(at, Unit::Nanos)),
        1 => Just(ExprKind::Own(Own::Offset)),
    ]
    .prop_map(expr)
}

fn negated(part: Expr) -> ExprKind {
    match part.kind {
        ExprKind::Int(value) if value != i64::MIN => ExprKind::Int(-value),
        ExprKind::Float(value) => ExprKind::Float(-value),
        _ => ExprKind::Negate(boxed(part)),
    }
}

const CALLS: [(Function, usize); 12] = [
    (Function::If, 3),
    (Function::Coalesce, 2),
    (Function::Concat, 3),
    (Function::Nullif, 2),
    (Function::Least, 3),
    (Function::Greatest, 2),
    (Function::Lower, 1),
    (Function::Length, 1),
    (Function::Contains, 2),
    (Function::Replace, 3),
    (Function::Abs, 1),
    (Function::Div, 2),
];

/// Trees as the parser makes them.
fn tree() -> impl Strategy<Value = Expr> {
    leaf().prop_recursive(5, 40, 4, |part| {
        let many = || prop::collection::vec(part.clone(), 2..4);
        let two = || (part.clone(), part.clone()).prop_map(|(a, b)| (boxed(a), boxed(b)));
        let comparisons = prop::sample::select(Comparison::ALL.map(|(how, _)| how).to_vec());
        let arithmetic = prop::sample::select(Arithmetic::ALL.map(|(how, _)| how).to_vec());
        let types = prop::sample::select(Type::NAMES.map(|(to, _)| to).to_vec());
        let calls = prop::sample::select(CALLS.to_vec());
        let which = prop::sample::select(vec![Which::Null, Which::True, Which::False]);
        let whens = prop::collection::vec((part.clone(), part.clone()), 1..3);
        let optional = || prop::option::of(part.clone().prop_map(boxed));
        prop_oneof![
            1 => part.clone().prop_map(|of| ExprKind::Not(boxed(of))),
            1 => part.clone().prop_map(negated),
            1 => many().prop_map(ExprKind::And),
            1 => many().prop_map(ExprKind::Or),
            1 => many().prop_map(ExprKind::Join),
            3 => (comparisons, two()).prop_map(|(how, (a, b))| ExprKind::Compare(how, a, b)),
            3 => (arithmetic, two()).prop_map(|(how, (a, b))| ExprKind::Arithmetic(how, a, b)),
            1 => (part.clone(), which, any::<bool>())
                .prop_map(|(of, which, not)| ExprKind::Is(boxed(of), which, not)),
            1 => (prop::sample::select(NAMES.to_vec()), any::<bool>()).prop_map(|(name, not)| {
                ExprKind::Is(boxed(expr(ExprKind::Column(name.to_owned()))), Which::Missing, not)
            }),
            1 => (part.clone(), many(), any::<bool>())
                .prop_map(|(of, list, not)| ExprKind::In(boxed(of), list, not)),
            1 => (part.clone(), two(), any::<bool>())
                .prop_map(|(of, (low, high), not)| ExprKind::Between(boxed(of), low, high, not)),
            1 => (part.clone(), "[a-c%_]{0,4}", any::<bool>())
                .prop_map(|(of, pattern, not)| ExprKind::Like(boxed(of), pattern, not)),
            1 => (optional(), whens, optional())
                .prop_map(|(of, whens, otherwise)| ExprKind::Case(of, whens, otherwise)),
            1 => (part.clone(), types, any::<bool>())
                .prop_map(|(of, to, tries)| ExprKind::Cast(boxed(of), to, tries)),
            2 => (calls, prop::collection::vec(part.clone(), 3))
                .prop_map(|((function, count), of)| {
                    ExprKind::Call(function, of.into_iter().take(count).collect())
                }),
        ]
        .prop_map(expr)
    })
}

fn plain() -> impl Strategy<Value = Plain> {
    prop_oneof![
        Just(Plain::Null),
        (-3..4_i64).prop_map(Plain::Int),
        prop::sample::select(vec![0.5, 2.0, -1.0, 9007199254740992.0]).prop_map(Plain::Float),
        "[a-c]{0,2}".prop_map(Plain::Text),
        any::<bool>().prop_map(Plain::Bool),
    ]
}

/// Most columns are of the type that their name promises, some are not, some are missing.
fn columns() -> impl Strategy<Value = Columns> {
    let number = prop_oneof![(-3..4_i64).prop_map(Plain::Int), (-2.0..2.0).prop_map(Plain::Float)];
    let text = "[a-cA é]{0,4}".prop_map(Plain::Text);
    let time = (-9..9_i64).prop_map(|at| Plain::Time(time::nanos(at, Unit::Micros)));
    (plain(), number, text, any::<bool>().prop_map(Plain::Bool), time, any::<u8>()).prop_map(
        |(a, b, t, flag, ts, there)| {
            let all = [("a", a), ("b", b), ("t", t), ("flag", flag), ("ts", ts)];
            let kept = all.into_iter().enumerate().filter(|(index, _)| there >> index & 3 != 0);
            kept.map(|(_, column)| column).collect()
        },
    )
}

struct Record<'c>(&'c Columns);

impl<'r> Row<'r> for Record<'r> {
    fn column(&self, id: u16) -> Option<bridge_abi::Value<'r>> {
        let name = NAMES[usize::from(id)];
        let (_, value) = self.0.iter().find(|(column, _)| *column == name)?;
        Some(match value {
            Plain::Null => bridge_abi::Value::Null,
            Plain::Bool(value) => bridge_abi::Value::Bool(*value),
            Plain::Int(value) => bridge_abi::Value::I64(*value),
            Plain::Float(value) => bridge_abi::Value::F64(*value),
            Plain::Text(text) => bridge_abi::Value::Symbol(text),
            Plain::Time(at) => bridge_abi::Value::Timestamp(*at as i64, Unit::Nanos),
        })
    }
    fn topic(&self) -> &'r str {
        "sensors"
    }
    fn partition(&self) -> i32 {
        3
    }
    fn offset(&self) -> i64 {
        OFFSET
    }
    fn timestamp_ms(&self) -> i64 {
        -1
    }
    fn key(&self) -> Option<&'r [u8]> {
        None
    }
    fn header(&self, _name: &str) -> Option<&'r [u8]> {
        None
    }
}

fn id(name: &str) -> Result<u16, String> {
    let index = NAMES.iter().position(|known| *known == name);
    index.map(|index| index as u16).ok_or_else(|| format!("no column {name}"))
}

/// The value of a program, as the naive one says it; `None` where it fails.
fn run(program: &bridge_expr::Program, columns: &Columns) -> Option<Plain> {
    let mut scratch = Scratch::default();
    // Twice, for the room of the first run is used again.
    let row = Record(columns);
    let _ = program.value(&row, &mut scratch);
    Some(match program.value(&row, &mut scratch).ok()? {
        Value::Null => Plain::Null,
        Value::Bool(value) => Plain::Bool(value),
        Value::Int(value) => Plain::Int(value),
        Value::Float(value) => Plain::Float(value),
        Value::Text(text) => Plain::Text(scratch.text(&text).to_owned()),
        Value::Time(at, unit) => Plain::Time(time::nanos(at, unit)),
        other => panic!("{other:?} is made by no expression"),
    })
}

/// Whether a time is written as text somewhere, which the naive one cannot: its unit is not known.
fn writes_times(text: &str) -> bool {
    let writes = ["||", "concat", "as text", "as timestamp"].iter().any(|word| text.contains(word));
    writes && (text.contains("ts") || text.contains("timestamp"))
}

#[test]
fn hostile_nesting_is_refused_and_what_is_allowed_runs() {
    let nested =
        |levels: usize, inner: &str| format!("{}{inner}{}", "(".repeat(levels), ")".repeat(levels));
    let sums = format!("a{}", " + 1".repeat(256));
    let deepest = nested(98, &sums);
    let program = compile(&deepest, &mut |name| id(name)).expect("as deep as may be");
    assert_eq!(run(&program, &vec![("a", Plain::Int(1))]), Some(Plain::Int(257)));
    let refused = |text: &str| compile(text, &mut |name| id(name)).expect_err("refused").message;
    assert!(refused(&nested(100, "a")).contains("nested deeper"));
    assert!(refused(&nested(8_000, "a")).contains("nested deeper"));
    assert!(refused(&"(".repeat(16_000)).contains("nested deeper"));
    assert!(refused(&"not ".repeat(4_000)).contains("nested deeper"));
    assert!(refused(&"- ".repeat(8_000)).contains("nested deeper"));
    assert!(refused(&("1 + ".repeat(257) + "a")).contains("at most 256"));
    assert!(refused(&"a".repeat(16_385)).contains("at most 16384 bytes"));
    let text = "case when a then ".repeat(900) + "a";
    assert!(refused(&text).contains("nested deeper"));
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn reading_never_panics(text in "\\PC{0,60}") {
        if let Err(error) = compile(&text, &mut |_| Ok(1)) {
            let _ = (error.to_string(), error.drawn());
        }
    }

    #[test]
    fn reading_words_in_any_order_never_panics(
        words in prop::collection::vec(prop::sample::select(vec![
            "a", "and", "or", "not", "(", ")", "1", "-", "+", "||", "in", "between", "is", "null",
            "like", "'%'", "case", "when", "then", "else", "end", "cast", "as", "int", ",", "if",
            "timestamp", "'2026-01-01'", "\"b\"", "=", "<", "lower", "header", "1e5", "é", "'",
        ]), 0..14),
    ) {
        let text = words.join(" ");
        match parse(&text) {
            Ok(tree) => prop_assert_eq!(parse(&tree.to_string()), Ok(tree)),
            Err(error) => {
                prop_assert!(error.at.start as usize <= text.len());
                let _ = (error.to_string(), error.drawn());
            }
        }
    }

    #[test]
    fn what_is_printed_is_read_as_the_same(tree in tree()) {
        let text = tree.to_string();
        prop_assert_eq!(parse(&text), Ok(tree), "{}", text);
    }

    #[test]
    fn programs_give_what_the_definition_gives(
        tree in tree(),
        records in prop::collection::vec(columns(), 1..4),
    ) {
        let text = tree.to_string();
        // What is refused at the start is refused for a reason: it is seen by the other tests.
        let Ok(program) = compile(&text, &mut |name| id(name)) else { return Ok(()) };
        prop_assume!(!writes_times(&text));
        for columns in records {
            let (found, expected) = (run(&program, &columns), naive::value(&tree, &columns));
            prop_assert_eq!(found, expected, "{} of {:?}", text, columns);
        }
    }

    /// A refusal at the start because of a constant is one that the definition agrees with, for
    /// every record: here all parts that matter are constants.
    #[test]
    fn what_is_refused_as_constant_never_has_a_value(tree in tree(), columns in columns()) {
        let text = tree.to_string();
        let Err(error) = compile(&text, &mut |name| id(name)) else { return Ok(()) };
        // The part that is refused fails by itself; what is around it may not look at it.
        let part = error.at.of(&error.source);
        if error.message.starts_with("this fails for every record")
            && let Ok(tree) = parse(part)
            && !writes_times(part)
        {
            prop_assert_eq!(naive::value(&tree, &columns), None, "{} in {}", part, text);
        }
    }
}
