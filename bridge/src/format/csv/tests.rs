//! What each form of CSV becomes, what is refused and why; against another parser of it.

use proptest::prelude::*;

use crate::format::testing::{Bench, parsed};

/// A decoder with these options, which name the columns.
fn bench(options: &str) -> Bench {
    Bench::new(&format!("format = \"csv\"\n{options}"), "")
}

#[track_caller]
fn check(options: &str, value: &str, expected: &str) {
    assert_eq!(bench(options).told(value), expected, "{options}: {value:?}");
}

const ABC: &str = "columns = [\"a\", \"b\", \"c\"]";

#[test]
fn lines_become_rows() {
    check(ABC, "1,x,2.5", r#"a="1" b="x" c="2.5""#);
    check(ABC, "1,2,3\n4,5,6\n", r#"a="1" b="2" c="3" / a="4" b="5" c="6""#);
    check(ABC, "\r\n1,2,3\r\n\r\n4,5,6\r\n\r\n", r#"a="1" b="2" c="3" / a="4" b="5" c="6""#);
    check(ABC, "1,2,3\r", r#"a="1" b="2" c="3""#);
    check(ABC, "1,,", r#"a="1" b=null c=null"#);
    check(ABC, ",,\n", "a=null b=null c=null");
    check(
        ABC,
        r#""a,b","say ""hi""","two
lines""#,
        r#"a="a,b" b="say \"hi\"" c="two\nlines""#,
    );
    check(ABC, r#""","",x"#, r#"a="" b="" c="x""#);
    check(ABC, "ä, b ,\u{1f600}", "a=\"ä\" b=\" b \" c=\"\u{1f600}\"");
    check("columns = [\"a\"]", "x\n\ny", r#"a="x" / a="y""#);
    check("columns = [\"a\", \"\", \"c\"]", "1,2,3", r#"a="1" c="3""#);
}

#[test]
fn columns_have_types() {
    let types = "columns = [\"l\", \"d\", \"b\"]\n\
                 types = { l = \"long\", d = \"double\", b = \"boolean\" }";
    check(types, "1,2.5,true", "l=1i d=2.5 b=true");
    check(types, "-7,3,0", "l=-7i d=3 b=false");
    check(types, "+7,1e-3,YES", "l=7i d=0.001 b=true");
    check(types, "007,-0,f", "l=7i d=-0 b=false");
    check(types, "\"1\",\"2\",\"n\"", "l=1i d=2 b=false");
    check(types, "9223372036854775807,inf,", "l=9223372036854775807i d=inf b=null");
    check(types, "-9223372036854775808,NaN,t", "l=-9223372036854775808i d=NaN b=true");
    let auto = format!("{ABC}\ndefault_type = \"auto\"\ntypes = {{ c = \"text\" }}");
    check(&auto, "1,2.5,3", r#"a=1i b=2.5 c="3""#);
    check(&auto, "true,false,true", r#"a=true b=false c="true""#);
    check(&auto, "007,1e3,", r#"a="007" b=1000 c=null"#);
    check(&auto, "99999999999999999999,-,x", r#"a=100000000000000000000 b="-" c="x""#);
}

#[test]
fn bad_cells_are_named() {
    let types = "columns = [\"ts\", \"temperature\"]\ntypes = { temperature = \"double\" }";
    let expected = "format wrong-type: line 2, column `temperature`: \"hot\" is not a number \
                    (`double`)";
    check(types, "1,2\n3,hot\n", expected);
    let kept = |becomes: &str| format!("{types}\nbad_cell = \"{becomes}\"");
    check(&kept("null"), "1,hot", r#"ts="1" temperature=null"#);
    check(&kept("text"), "1,hot", r#"ts="1" temperature="hot""#);
    let long = "columns = [\"n\"]\ntypes = { n = \"long\" }";
    let refused = "is not a whole number within 64 bits (`long`)";
    for cell in ["1.5", "9223372036854775808", "1 ", "0x1", "1e3"] {
        check(long, cell, &format!("format wrong-type: line 1, column `n`: {cell:?} {refused}"));
    }
    check(long, "\"\"", &format!("format wrong-type: line 1, column `n`: \"\" {refused}"));
    let double = "columns = [\"n\"]\ntypes = { n = \"double\" }";
    let told = bench(double).told("1e999");
    assert!(told.starts_with("format wrong-type: "), "{told}");
}

#[test]
fn ragged_lines_and_stray_quotes_are_refused() {
    let refused = |value: &str, expected: &str| {
        check(ABC, value, &format!("format malformed: {expected}"));
    };
    refused("1,2,3\n1,2", "line 2 has 2 of 3 cells, `c` is missing");
    refused("1,2,3,4", "line 1 has more than 3 cells, the last column is `c`");
    refused("1,2,3,", "line 1 has more than 3 cells, the last column is `c`");
    refused("1,\"2,3", "line 1, column `b`: a quote that is not closed");
    refused("1,\"2\"x,3", "line 1, column `b`: more text behind the closing quote");
    refused("1,2\"x,3", "line 1, column `b`: a quote in a cell that does not begin with one");
    refused("1,2\r3,4", "line 1, column `b`: a carriage return without a line feed");
    check(ABC, "", "format empty: the value has no line with a cell");
    check(ABC, "\n\r\n", "format empty: the value has no line with a cell");
    assert_eq!(bench(ABC).told(b"1,2,\xff"), "format invalid-utf8: not UTF-8 at byte 4");
}

#[test]
fn dialects() {
    check(&format!("{ABC}\ndelimiter = \"\\t\""), "1\t2,\t 3", r#"a="1" b="2," c=" 3""#);
    check(
        &format!("{ABC}\ndelimiter = \";\"\nquote = \"'\""),
        "'a;b';\"x\";c",
        r#"a="a;b" b="\"x\"" c="c""#,
    );
    check(&format!("{ABC}\nquote = \"\""), "\"1\",2\",3", r#"a="\"1\"" b="2\"" c="3""#);
    let escape = format!("{ABC}\nescape = \"\\\\\"");
    check(&escape, r#""a\"b","c\\","d""e""#, r#"a="a\"b" b="c\\" c="d\"e""#);
    check(&escape, r#""a\"#, "format malformed: line 1, column `a`: a quote that is not closed");
    check(&format!("{ABC}\ntrim = true"), "  1 , \"x\" ,\t2\t", r#"a="1" b="x" c="2""#);
    check(&format!("{ABC}\ntrim = true\ndelimiter = \"\\t\""), " 1 \t\t2", r#"a="1" b=null c="2""#);
    let nulls = format!("{ABC}\nnull = [\"NULL\", \"-999\"]\ndefault_type = \"auto\"");
    check(&nulls, "NULL,-999,", r#"a=null b=null c="""#);
    check(&nulls, "\"NULL\",-99,1", r#"a="NULL" b=-99i c=1i"#);
}

#[test]
fn the_first_line_may_name_the_columns() {
    let mut bench = bench("types = { n = \"long\" }");
    assert_eq!(bench.told("n,name\n1,x\n2,y\n"), r#"n=1i name="x" / n=2i name="y""#);
    assert_eq!(bench.told("n,name\n3,z\n"), r#"n=3i name="z""#);
    assert_eq!(bench.told("n,name,more\n3,z,1\n"), r#"n=3i name="z" more="1""#);
    assert_eq!(bench.told("\"name\",,n\r\nx,left out,4"), r#"name="x" n=4i"#);
    assert_eq!(bench.told("name,n"), "", "a first line alone is no row");
    let twice = bench.told("n,n\n1,2\n");
    assert_eq!(twice, "format malformed: the first line names the column `n` twice");
    assert_eq!(bench.told("n,name\n5,x"), r#"n=5i name="x""#);
    let ragged = bench.told("n,name\n1\n");
    assert_eq!(ragged, "format malformed: line 2 has 1 of 2 cells, `name` is missing");
    check(&format!("{ABC}\nheader = \"skip\""), "x,y\n1,2,3", r#"a="1" b="2" c="3""#);
}

#[test]
fn mistakes_in_options() {
    let refused = |options: &str, words: &str| {
        let wrong = parsed(&format!("format = \"csv\"\n{options}"), "").expect_err("refused");
        assert!(wrong.contains(words), "{wrong}");
    };
    refused(&format!("{ABC}\nheader = \"names\""), "value.header");
    refused("header = \"none\"", "nothing names the columns");
    refused("columns = [\"a\", \"b\", \"a\"]", "value.columns.2");
    refused(&format!("{ABC}\ntypes = {{ d = \"long\" }}"), "`d` is none of the columns");
    refused(&format!("{ABC}\ntypes = {{ a = \"int\" }}"), "unknown word `int`");
    refused(&format!("{ABC}\ndelimiter = \"ab\""), "cannot be the delimiter");
    refused(&format!("{ABC}\ndelimiter = \"\""), "cannot be the delimiter");
    refused(&format!("{ABC}\nquote = \",\""), "the delimiter as well");
    refused(&format!("{ABC}\nquote = \"\"\nescape = \"\\\\\""), "value.escape");
}

/// What the reference reads: all rows.
fn reference(text: &[u8]) -> Vec<Vec<String>> {
    let mut reader = csv_core::Reader::new();
    let (mut bytes, mut ends) = (vec![0; text.len() + 8], vec![0; text.len() + 8]);
    let (mut rest, mut rows) = (text, Vec::new());
    let (mut len, mut count) = (0, 0);
    loop {
        let (result, read, written, ended) =
            reader.read_record(rest, &mut bytes[len..], &mut ends[count..]);
        rest = &rest[read..];
        len += written;
        count += ended;
        match result {
            csv_core::ReadRecordResult::InputEmpty => {}
            csv_core::ReadRecordResult::Record => {
                let mut start = 0;
                let cells = ends[..count].iter().map(|end| {
                    let cell = String::from_utf8(bytes[start..*end].to_vec()).expect("text");
                    start = *end;
                    cell
                });
                rows.push(cells.collect());
                (len, count) = (0, 0);
            }
            csv_core::ReadRecordResult::End => return rows,
            other => panic!("{other:?}"),
        }
    }
}

/// Rows as a bench tells them.
fn shown(rows: &[Vec<String>]) -> String {
    let row = |row: &Vec<String>| {
        let cells = row.iter().zip(["a", "b", "c"]).map(|(cell, name)| format!("{name}={cell:?}"));
        cells.collect::<Vec<_>>().join(" ")
    };
    rows.iter().map(row).collect::<Vec<_>>().join(" / ")
}

fn written(cell: &str, quote: bool) -> String {
    match quote || cell.contains(['"', ',', '\r', '\n']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_owned(),
    }
}

/// A cell as it is written: usual, unusual and wrong.
fn cell() -> impl Strategy<Value = String> {
    let word = |word: &str| Just(word.to_owned());
    prop_oneof![
        4 => "[a-z0-9 \u{e4}]{0,20}",
        4 => "[+-]?[0-9]{1,20}(\\.[0-9]{0,19})?(e[0-9]{1,2})?",
        4 => "[0-9]{1,3}(\\.[0-9]{1,2})?",
        2 => "(true|false)[ x]?",
        2 => word(""),
        1 => word("TRUE"),
        1 => word("\"a\"\"b,c\""),
        1 => word("\"1\""),
        1 => word("a\"b"),
        1 => word("a\rb"),
    ]
}

const ALL_TEXT: &str = "columns = [\"a\", \"b\", \"c\"]\nnull = []";

proptest! {
    /// What anybody may write is read as it was, and as the reference reads it.
    #[test]
    fn rows_are_those_of_the_reference(
        rows in prop::collection::vec(
            prop::collection::vec(("[a-c,\"\r\n \u{e4}]{0,20}", any::<bool>()), 3), 1..5,
        ),
        crlf in any::<bool>(),
        ends in any::<bool>(),
    ) {
        let line = |row: &Vec<(String, bool)>| {
            row.iter().map(|(cell, quote)| written(cell, *quote)).collect::<Vec<_>>().join(",")
        };
        let end = if crlf { "\r\n" } else { "\n" };
        let mut text = rows.iter().map(line).collect::<Vec<_>>().join(end);
        if ends {
            text.push_str(end);
        }
        let cells: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|(cell, _)| cell.clone()).collect()).collect();
        prop_assert_eq!(reference(text.as_bytes()), cells.clone());
        prop_assert_eq!(bench(ALL_TEXT).told(&text), shown(&cells));
    }

    /// Whatever is taken is taken as the reference takes it.
    #[test]
    fn what_is_taken_is_what_it_says(text in "[a,,\"\r\n]{0,24}") {
        let told = bench(ALL_TEXT).told(&text);
        if !told.starts_with("format ") {
            prop_assert_eq!(told, shown(&reference(text.as_bytes())));
        }
    }

    /// Numbers that are read where they stand, against the standard library.
    #[test]
    fn numbers_are_the_nearest(text in "[+-]?[0-9]{1,20}(\\.[0-9]{0,19})?(e[0-9]{1,2})?") {
        let double = "columns = [\"a\"]\ntypes = { a = \"double\" }";
        let expected: f64 = text.parse().expect("a number");
        prop_assert_eq!(bench(double).told(&text), format!("a={expected}"));
        let long = "columns = [\"a\"]\ntypes = { a = \"long\" }\nbad_cell = \"null\"";
        let expected = text.parse::<i64>().map_or("null".to_owned(), |value| format!("{value}i"));
        prop_assert_eq!(bench(long).told(&text), format!("a={expected}"));
    }

    /// Cells that are read where they stand, against those that are found first: a null text that
    /// no cell has makes a decoder look at each.
    #[test]
    fn plain_cells_are_those_that_are_found(
        cells in prop::collection::vec(cell(), 1..16),
        separators in prop::collection::vec(prop::sample::select(&[",", ",", ",", "\n"][..]), 16),
        nulls in prop::sample::select(&["\"\", ", ""][..]),
        bad_cell in prop::sample::select(&["reject", "null", "text"][..]),
        quote in prop::sample::select(&["'\"'", "''"][..]),
        trim in any::<bool>(),
    ) {
        let options = |more: &str| format!(
            "columns = [\"a\", \"l\", \"d\", \"b\"]\nbad_cell = {bad_cell:?}\nquote = {quote}\n\
             types = {{ l = \"long\", d = \"double\", b = \"boolean\" }}\ntrim = {trim}\n\
             null = [{nulls}{more}]",
        );
        let pairs = cells.iter().zip(separators);
        let text: String = pairs.map(|(cell, separator)| format!("{cell}{separator}")).collect();
        let found = bench(&options("\"NO CELL\"")).told(&text);
        prop_assert_eq!(bench(&options("")).told(&text), found, "{:?}", text);
        // Rows that have a cell for each column.
        let rows: Vec<String> = cells.chunks_exact(4).map(|cells| cells.join(",")).collect();
        let rows = rows.join("\r\n");
        let found = bench(&options("\"NO CELL\"")).told(&rows);
        prop_assert_eq!(bench(&options("")).told(&rows), found, "{:?}", rows);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        bench(ABC).told(&bytes);
        bench("trim = true\nescape = \"\\\\\"\ndefault_type = \"auto\"").told(&bytes);
    }
}
