//! What each form of line protocol becomes, what is refused and why; that what was written is read
//! again, and that what lines before had changes nothing.

use proptest::prelude::*;

use super::value;
use crate::format::document::Document;
use crate::format::testing::{Bench, parsed};

fn bench(options: &str) -> Bench {
    Bench::new(&format!("format = \"ilp\"\n{options}"), "")
}

#[track_caller]
fn check(value: &str, expected: &str) {
    assert_eq!(bench("").told(value), expected, "{value:?}");
}

#[test]
fn lines_become_rows() {
    check(
        "cpu,host=a,cpu=cpu-total usage_idle=98.5,n=3i 1700000000000000000\n",
        "@cpu host=#a cpu=#cpu-total usage_idle=98.5 n=3i time=1700000000000000000ns",
    );
    check("m f=1", "@m f=1");
    check("m f=1\nm f=2 5\n\n# a comment\nn f=3\r\n", "@m f=1 / @m f=2 time=5ns / @n f=3");
    check("m,t=\u{e4} f=\"\u{1f600}\" -7", "@m t=#ä f=\"\u{1f600}\" time=-7ns");
    check("# nothing\n", "");
}

#[test]
fn fields_have_types() {
    check("m a=1,b=1.5,c=-1e3,d=1i,e=-5i", "@m a=1 b=1.5 c=-1000 d=1i e=-5i");
    check("m a=7u,b=18446744073709551615u", "@m a=7i b=18446744073709552000");
    check("m a=007i,b=.5,c=5.,d=+1,e=-0", "@m a=7i b=0.5 c=5 d=1 e=-0");
    check("m a=-9223372036854775808i", "@m a=-9223372036854775808i");
    check("m a=t,b=T,c=true,d=True,e=TRUE", "@m a=true b=true c=true d=true e=true");
    check("m a=f,b=F,c=false,d=False,e=FALSE", "@m a=false b=false c=false d=false e=false");
    check(r#"m a="",b="x, y=z \"q\" \\ \n""#, r#"@m a="" b="x, y=z \"q\" \\ \\n""#);
    check("m a=\"two\nlines\",b=1i\nm a=\"\"", "@m a=\"two\\nlines\" b=1i / @m a=\"\"");
}

#[test]
fn backslashes_escape_what_is_special() {
    check(r"my\ table\,x=y,a\=b=c\,d\ e f\ g=1", r"@my table,x=y a=b=#c,d e f g=1");
    check(
        r"a\b,c\d=e\\f g\=1",
        r#"format malformed: line 1: expected a field's name and `=`, found "g\\=1""#,
    );
    check(r"a\b,c\d=e\\f g\h=1", r"@a\b c\d=#e\\f g\h=1");
}

#[test]
fn what_is_refused_and_why() {
    let refused = |value: &str, expected: &str| {
        check(value, &format!("format malformed: {expected}"));
    };
    refused("m", "line 1: expected a space and fields, found the end of the line");
    refused(",a=b f=1", "line 1: expected the name of a measurement, found \",a=b f=1\"");
    refused("m f=1\nm,a f=1", "line 2: expected a tag's name and `=`, found \"a f=1\"");
    refused(
        "m,a= f=1",
        "line 1: tag `a`: expected a value behind which `,` or a space stands, found \" f=1\"",
    );
    refused(
        "m,a=b=c f=1",
        "line 1: tag `a`: expected a value behind which `,` or a space stands, found \"b=c f=1\"",
    );
    refused(
        "m,a=b\nm f=1",
        "line 1: tag `a`: expected a value behind which `,` or a space stands, found \"b\"",
    );
    let value = "expected 1.5, 1i, 1u, true, false or text in quotes, found";
    for field in ["hot", "NaN", "inf", "1.5i", "-1u", "1e999", "0x1", "9223372036854775808i", "1ii"]
    {
        refused(&format!("m f={field} 1"), &format!("line 1: field `f`: {value} \"{field} 1\""));
    }
    refused("m f= 1", &format!("line 1: field `f`: {value} \" 1\""));
    refused("m f=\"a", "line 1: field `f`: expected text that ends with a quote, found \"\\\"a\"");
    refused("m f=\"a\"b", "line 1: expected a line end, found \"b\"");
    refused("m f=1 2 3", "line 1: expected a line end, found \" 3\"");
    refused("m  f=1", "line 1: expected a field's name and `=`, found \" f=1\"");
    refused("m f=1 ", "line 1: expected a timestamp within 64 bits, found the end of the line");
    refused("m f=1 1.5", "line 1: expected a timestamp within 64 bits, found \"1.5\"");
    refused("m f=1,f=2", "line 1: `f` comes twice");
    refused("m,f=a f=2", "line 1: `f` comes twice");
    refused("m time=1 2", "line 1: `time` comes twice");
    refused(
        &format!("{} f=1", "x".repeat(1_025)),
        &format!("line 1: expected the name of a measurement, found {:?}…", "x".repeat(60)),
    );
    check("", "format empty: the value has no line");
    check("\n\n", "format empty: the value has no line");
    assert_eq!(bench("").told(b"m f=\"\xff\""), "format invalid-utf8: not UTF-8 at byte 5");
    let fields: Vec<String> = (0..=2_000).map(|n| format!("f{n}=1")).collect();
    let told = bench("").told(format!("m {}", fields.join(",")));
    assert_eq!(told, "format too-many-columns: line 1: more than 2000 tags and fields");
}

#[test]
fn measurements_and_timestamps_go_where_they_are_told() {
    let mut column = bench("measurement = \"column\"\nprecision = \"s\"");
    assert_eq!(column.told("m\\ 1,a=b f=1 5"), "measurement=#m 1 a=#b f=1 time=5s");
    assert_eq!(column.told("n f=1 6"), "measurement=#n f=1 time=6s");
    let twice = column.told("n measurement=1");
    assert_eq!(twice, "format malformed: line 1: `measurement` comes twice");
    let mut ignored =
        bench("measurement = \"ignore\"\ntimestamp_column = \"ts\"\nprecision = \"us\"");
    assert_eq!(ignored.told("m f=1,measurement=2 5"), "f=1 measurement=2 ts=5us");
    let wrong = parsed("format = \"ilp\"\ntimestamp_column = \"\"", "").expect_err("no name");
    assert!(wrong.contains("value.timestamp_column"), "{wrong}");
    let same = "format = \"ilp\"\nmeasurement = \"column\"\nmeasurement_column = \"time\"";
    let wrong = parsed(same, "").expect_err("one column for two");
    assert!(wrong.contains("value.measurement_column"), "{wrong}");
}

#[test]
fn a_key_stands_behind_every_line() {
    let mut bench = Bench::new("format = \"ilp\"", "format = \"string\"");
    assert_eq!(bench.told_of("k", "m f=1\nm f=2"), "@m f=1 key=\"k\" / @m f=2 key=\"k\"");
}

/// A value of a field: as it is written, and as it is told.
fn field() -> impl Strategy<Value = (String, String)> {
    prop_oneof![
        any::<i64>().prop_map(|value| (format!("{value}i"), format!("{value}i"))),
        any::<f64>()
            .prop_filter("line protocol has no others", |value| value.is_finite())
            .prop_map(|value| (format!("{value:e}"), format!("{value}"))),
        (-1_000_000..1_000_000_i64).prop_map(|value| {
            let value = value as f64 / 100.0;
            (format!("{value}"), format!("{value}"))
        }),
        any::<bool>().prop_map(|value| (value.to_string(), value.to_string())),
        "[a-c \",=\\\\\n\u{e4}]{0,12}".prop_map(|text| {
            let written = text.replace('\\', "\\\\").replace('"', "\\\"");
            (format!("\"{written}\""), format!("{text:?}"))
        }),
    ]
}

/// A name or a tag's value: as it is written, and as it is. It does not end with a backslash, which
/// would escape what stands behind it.
fn word(special: &'static str) -> impl Strategy<Value = (String, String)> {
    "[a-c ,=\\\\\u{e4}]{0,6}[a-z]".prop_map(move |text| {
        let mut written = String::new();
        for letter in text.chars() {
            if special.contains(letter) {
                written.push('\\');
            }
            written.push(letter);
        }
        (written, text)
    })
}

type Pairs = Vec<((String, String), (String, String))>;

/// A line, and what is told of it.
fn line() -> impl Strategy<Value = (String, String)> {
    let tag = (word(" ,="), word(" ,="));
    let tags = prop::collection::vec(tag, 0..4);
    let fields = prop::collection::vec((word(" ,="), field()), 1..5);
    let parts = (word(" ,"), tags, fields, prop::option::of(any::<i64>()));
    parts.prop_map(|(measurement, tags, fields, timestamp): (_, Pairs, Pairs, _)| {
        let (mut written, mut told) = (measurement.0, format!("@{}", measurement.1));
        // Names are told apart by their places.
        for (index, (name, value)) in tags.iter().enumerate() {
            written.push_str(&format!(",{}t{index}={}", name.0, value.0));
            told.push_str(&format!(" {}t{index}=#{}", name.1, value.1));
        }
        for (index, (name, value)) in fields.iter().enumerate() {
            let separator = if index == 0 { ' ' } else { ',' };
            written.push_str(&format!("{separator}{}f{index}={}", name.0, value.0));
            told.push_str(&format!(" {}f{index}={}", name.1, value.1));
        }
        if let Some(at) = timestamp {
            written.push_str(&format!(" {at}"));
            told.push_str(&format!(" time={at}ns"));
        }
        (written, told)
    })
}

/// A line of one of three measurements, with some of a few names, mostly in the same order.
fn resembling() -> impl Strategy<Value = String> {
    const NAMES: [&str; 8] = [
        "a",
        "a_name_of_15byt",
        "a_name_of_16byte",
        "a_name_of_17bytes",
        "a\\=b",
        "time",
        "b",
        "measurement",
    ];
    let any_name = || prop::sample::select(NAMES.to_vec());
    let name = |at: usize| prop_oneof![8 => Just(NAMES[at]), 1 => any_name(), 1 => Just("")];
    let names = [name(0), name(1), name(2), name(3), name(4), name(5), name(6)];
    let measurement = prop::sample::select(&["m", "n", "measured_by_a_long_name"][..]);
    (measurement, 0..4_usize, names, prop::option::of(0..5_i64)).prop_map(
        |(measurement, tags, names, timestamp)| {
            let names: Vec<&str> = names.into_iter().filter(|name| !name.is_empty()).collect();
            let (tags, fields) = names.split_at(tags.min(names.len().saturating_sub(1)));
            let tags: String = tags.iter().map(|name| format!(",{name}=x")).collect();
            let fields: Vec<String> = fields.iter().map(|name| format!("{name}=1i")).collect();
            let timestamp = timestamp.map(|at| format!(" {at}")).unwrap_or_default();
            format!("{measurement}{tags} {}{timestamp}", fields.join(","))
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read(lines in prop::collection::vec(line(), 1..4)) {
        let (written, told): (Vec<String>, Vec<String>) = lines.into_iter().unzip();
        prop_assume!(written.iter().all(|line| !line.starts_with('#')));
        prop_assert_eq!(bench("").told(written.join("\n")), told.join(" / "));
    }

    /// A decoder that has read other lines reads as one that has read none.
    #[test]
    fn what_came_before_changes_nothing(
        before in prop::collection::vec("[ab](,[ab]=x){0,2} [ab]{1,20}=1(,[abc]=2i){0,2}( 5)?", 0..6),
        line in "[ab](,[ab]=x){0,2} [ab]{1,20}=1(,[abc]=2i){0,2}( 5)?",
    ) {
        let mut used = bench("");
        before.iter().for_each(|line| drop(used.told(line)));
        prop_assert_eq!(used.told(&line), bench("").told(&line));
    }

    /// The same with columns that come twice, names of about sixteen bytes, and columns that a
    /// line has beside its tags and fields.
    #[test]
    fn columns_are_looked_at_whatever_came_before(
        before in prop::collection::vec(resembling(), 0..8),
        line in resembling(),
        measurement in prop::sample::select(&["table", "column"][..]),
    ) {
        let options = format!("measurement = {measurement:?}");
        let mut used = bench(&options);
        before.iter().for_each(|line| drop(used.told(line)));
        prop_assert_eq!(used.told(&line), bench(&options).told(&line));
        let all = [&before[..], &[line]].concat();
        let alone: Vec<String> = all.iter().map(|line| bench(&options).told(line)).collect();
        if !alone.iter().any(|told| told.starts_with("format ")) {
            prop_assert_eq!(bench(&options).told(all.join("\n")), alone.join(" / "));
        }
    }

    /// Values that are read where they stand, against those that are cut out first.
    #[test]
    fn plain_values_are_those_of_words(
        text in prop_oneof![
            "[+-]?[0-9]{1,20}(\\.[0-9]{0,19})?(e[0-9]{1,2})?[iu]?",
            "(true|false|t|f|T|F|tru|falsey)",
        ],
        behind in prop::sample::select(&["", ",", " ", "\n", "\r\n", "x"][..]),
    ) {
        let all = format!("{text}{behind}");
        let document = Document::new(all.as_bytes());
        let word = document.eight(0);
        let plain = match word as u8 {
            b'-' | b'0'..=b'9' => value::plain_number(document, 0, word),
            _ => value::plain_bool(document, 0, word),
        };
        let found = plain.or_else(|| value::word(document, 0));
        prop_assert_eq!(found, value::word(document, 0));
    }

    /// The same of timestamps.
    #[test]
    fn timestamps_are_whole_numbers(text in "[+-]?[0-9]{1,20}", behind in "[ \n]?") {
        let expected = text.parse::<i64>().ok().map(|value| (value, text.len()));
        let all = format!("{text}{behind}");
        prop_assert_eq!(value::integer(Document::new(all.as_bytes()), 0), expected);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        bench("").told(&bytes);
    }

    #[test]
    fn no_text_makes_it_panic(text in "[ab,= \\\\\"\n\r0-9.i#]{0,40}") {
        bench("").told(&text);
    }
}
