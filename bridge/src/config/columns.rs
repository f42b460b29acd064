//! What `[pipeline.NAME.table]` says of single columns: which fields they are (paths, resolved to
//! flattened names here, once), of which type, and what becomes of values that do not fit.

mod draft;

use bridge_abi::Unit;
use jiff::tz::TimeZone;

pub use self::draft::{ColumnDraft, ExplodeDraft, OnlyDraft};
use super::draft::{TableDraft, UnitDraft};
use super::mistake::Mistake;
use super::node::Value;
use super::section::Section;
use super::suggest::nearest;
use super::table::unknown_type;
use crate::shape::{
    Apart, ColumnType, Explode, OnBad, Part, Path, Pick, Reading, Shape, Template, Values, Written,
};
use crate::times;

/// Old words, and what they are called now.
const RENAMED: [(&str, &str, &str); 2] = [
    ("rename", "mapping", "such as mapping = { \"order.price\" = \"price\" }"),
    ("only", "mapping_only", "such as mapping_only = [\"sensor\", \"order.price\"]"),
];

/// The section without words that are not used any more; each is a mistake.
pub fn without_old_words(section: &Section, keep: &mut impl FnMut(Mistake)) -> Section {
    for (old, new, help) in RENAMED {
        if section.has(old) {
            let message = format!("it is called `{new}`");
            keep(section.mistake(old, message).help(help));
        }
    }
    section.clone().without(&RENAMED.map(|(old, ..)| old))
}

/// Turns paths into flattened names.
pub struct Paths<'a> {
    section: &'a Section,
    /// Between the names of nested objects; `None` where records have none, and names are taken
    /// as they are.
    separator: Option<&'a str>,
    /// Elements of arrays that were asked for.
    picks: Vec<Pick>,
    pub mistakes: Vec<Mistake>,
}

impl<'a> Paths<'a> {
    /// For the names of one section.
    pub fn new(section: &'a Section, separator: Option<&'a str>) -> Paths<'a> {
        Paths { section, separator, picks: Vec::new(), mistakes: Vec::new() }
    }

    /// The flattened name of a field that the key `at` names.
    pub fn field(&mut self, at: &str, written: &str) -> String {
        let Some(separator) = self.separator else { return written.to_owned() };
        let path = match Path::parse(written) {
            Ok(path) => path,
            Err(message) => {
                let help = "such as order.price, items[0].price; a name with dots in quotes: \
                            'order.price'.net";
                self.mistakes.push(self.section.mistake(at, message).help(help));
                return written.to_owned();
            }
        };
        let field = path.flattened(separator);
        if let Some((array, steps)) = path.into_array(separator)
            && self.picks.iter().all(|pick| pick.field != field)
        {
            self.picks.push(Pick { array, steps, field: field.clone() });
        }
        field
    }

    /// The same of a field that must be a column by itself.
    fn whole(&mut self, at: &str, written: &str) -> String {
        let known = self.picks.len();
        let field = self.field(at, written);
        if self.picks.len() > known {
            self.picks.truncate(known);
            let message = format!("`{written}` is an element of an array, and no field by itself");
            self.mistakes.push(self.section.mistake(at, message));
        }
        field
    }

    /// The places of a template.
    pub fn template(&mut self, template: Template) -> Template {
        let part = |part| match part {
            Part::Field(written) => Part::Field(self.field("name", &written)),
            other => other,
        };
        Template(template.0.into_iter().map(part).collect())
    }

    /// New names of fields, and whether all others are left out.
    pub fn mapping(&mut self, draft: &TableDraft) -> (Vec<(String, String)>, bool) {
        let mut mapping = Vec::new();
        for (written, column) in &draft.mapping.0 {
            let field = self.field(&format!("mapping.{written}"), written);
            self.column(&format!("mapping.{written}"), column);
            mapping.push((field, column.clone()));
        }
        let Some(OnlyDraft(only)) = &draft.mapping_only else { return (mapping, false) };
        if !draft.mapping.0.is_empty() {
            let message = "either `mapping` or `mapping_only`, not both";
            let help = "`mapping_only` gives new names as well: { \"a.b\" = \"c\" }";
            self.mistakes.push(self.section.mistake("mapping_only", message).help(help));
        }
        for (index, (written, column)) in only.iter().enumerate() {
            let at = match column {
                Some(_) => format!("mapping_only.{written}"),
                None => format!("mapping_only.{index}"),
            };
            let field = self.field(&at, written);
            let column = column.clone().unwrap_or_else(|| field.clone());
            self.column(&at, &column);
            mapping.push((field, column));
        }
        (mapping, true)
    }

    fn column(&mut self, at: &str, column: &str) {
        if column.is_empty() {
            self.mistakes.push(self.section.mistake(at, "a column needs a name"));
        }
    }

    /// Fields that become no columns.
    pub fn drop(&mut self, draft: &TableDraft) -> Vec<String> {
        let each = draft.drop.iter().enumerate();
        each.map(|(index, written)| self.whole(&format!("drop.{index}"), written)).collect()
    }

    /// What arrays become; asks for all elements that were named before.
    pub fn apart(mut self, draft: &TableDraft) -> (Apart, Vec<Mistake>) {
        let said = match self.section.value("explode") {
            None => None,
            Some(Value::String(field)) => {
                Some(ExplodeDraft { field: Some(field.clone()), ..ExplodeDraft::default() })
            }
            Some(_) => match self.section.below("explode").read::<ExplodeDraft>() {
                Ok(draft) => Some(draft),
                Err(mistake) => {
                    self.mistakes.push(mistake);
                    None
                }
            },
        };
        let explode = said.and_then(|ExplodeDraft { field, empty, index }| {
            let Some(field) = field.filter(|field| !field.is_empty()) else {
                let message = "`explode` needs the `field` whose elements become rows";
                self.mistakes.push(self.section.mistake("explode", message));
                return None;
            };
            let array = self.whole("explode", &field);
            Some(Explode { array, empty, index })
        });
        let Paths { separator, picks, mistakes, .. } = self;
        let separator = separator.unwrap_or("_").to_owned();
        let arrays = draft.arrays.unwrap_or_default();
        (Apart { separator, picks, explode, arrays }, mistakes)
    }
}

/// A zone by its name.
pub fn zone(
    section: &Section,
    key: &str,
    name: Option<&str>,
    keep: &mut impl FnMut(Mistake),
) -> Option<TimeZone> {
    let name = name?;
    let zone = times::zone(name);
    if zone.is_none() {
        let mistake = section.mistake(key, format!("`{name}` is no time zone"));
        let known = jiff::tz::TimeZoneDatabase::bundled();
        let names: Vec<String> = known.available().map(|name| name.as_str().to_owned()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let near = nearest(name, names);
        let help = near.map_or_else(
            || "a name such as \"Europe/Berlin\", or an offset such as \"+05:30\"".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        keep(mistake.help(help));
    }
    zone
}

/// How a time is written, by its unit or its pattern.
pub fn written(
    section: &Section,
    at: &str,
    unit: Option<UnitDraft>,
    pattern: Option<String>,
) -> Result<Written, Mistake> {
    if let Some(pattern) = &pattern
        && let Some(fault) = times::pattern_fault(pattern)
    {
        let message = format!("not a pattern: {fault}");
        let help = "strftime's letters, such as \"%Y-%m-%d %H:%M:%S\"";
        return Err(section.mistake(&format!("{at}.pattern"), message).help(help));
    }
    Ok(match (unit, pattern) {
        (Some(_), Some(_)) => {
            let message = "`unit` is for numbers, `pattern` for text: only one of them";
            return Err(section.mistake(&format!("{at}.unit"), message));
        }
        (None, Some(pattern)) => Written::Pattern(pattern),
        (None | Some(UnitDraft::Auto), None) => Written::Auto,
        (Some(UnitDraft::S), None) => Written::Number(Unit::Seconds),
        (Some(UnitDraft::Ms), None) => Written::Number(Unit::Millis),
        (Some(UnitDraft::Us), None) => Written::Number(Unit::Micros),
        (Some(UnitDraft::Ns), None) => Written::Number(Unit::Nanos),
    })
}

/// What the section says of columns.
#[derive(Default)]
pub struct Columns {
    pub types: Vec<(String, ColumnType)>,
    pub values: Values,
}

/// Types of columns, and what becomes of their values.
pub fn columns(section: &Section, draft: &TableDraft, keep: &mut impl FnMut(Mistake)) -> Columns {
    let mut columns = Columns::default();
    let values = &mut columns.values;
    values.on_bad = draft.on_bad.unwrap_or_default();
    values.decimals = draft.decimals.unwrap_or_default();
    values.empty_text = draft.empty_text.unwrap_or_default();
    let default_zone = zone(section, "zone", draft.zone.as_deref(), keep);
    let own = section.below("columns");
    for (name, its) in own.tables() {
        let said = match own.value(&name) {
            Some(Value::String(kind)) => {
                Ok(ColumnDraft { kind: Some(kind.clone()), ..ColumnDraft::default() })
            }
            _ => its.read::<ColumnDraft>(),
        };
        match said.and_then(|said| column(section, &name, said, &default_zone, &mut columns)) {
            Ok(()) => {}
            Err(mistake) => keep(mistake),
        }
    }
    columns
}

fn column(
    section: &Section,
    name: &str,
    draft: ColumnDraft,
    default_zone: &Option<TimeZone>,
    columns: &mut Columns,
) -> Result<(), Mistake> {
    let at = format!("columns.{name}");
    let kind = match &draft.kind {
        Some(written) => {
            Some(ColumnType::parse(written).ok_or_else(|| unknown_type(section, name, written))?)
        }
        None => None,
    };
    let is_time =
        matches!(kind, Some(ColumnType::Timestamp | ColumnType::TimestampNs | ColumnType::Date));
    let says_more = draft.zone.is_some() || draft.pattern.is_some() || draft.unit.is_some();
    if says_more && !is_time {
        let message = format!("`{name}` is no time: `zone`, `pattern` and `unit` are of times");
        return Err(section.mistake(&at, message).help("type = \"timestamp\""));
    }
    let mut found = Vec::new();
    let own_zone = zone(section, &format!("{at}.zone"), draft.zone.as_deref(), &mut |mistake| {
        found.push(mistake);
    });
    if let Some(mistake) = found.pop() {
        return Err(mistake);
    }
    if is_time && (says_more || default_zone.is_some()) {
        let written = written(section, &at, draft.unit, draft.pattern)?;
        let zone = own_zone.or_else(|| default_zone.clone());
        columns.values.readings.push(Reading { column: name.to_owned(), written, zone });
    }
    columns.types.extend(kind.map(|kind| (name.to_owned(), kind)));
    columns.values.on_bad_of.extend(draft.on_bad.map(|on_bad| (name.to_owned(), on_bad)));
    Ok(())
}

/// Whether every column has one field, and every field is mapped once.
pub fn mapped(section: &Section, shape: &Shape, mistakes: &mut Vec<Mistake>) {
    let key = if shape.mapping_only { "mapping_only" } else { "mapping" };
    let entries = section.below(key).tables();
    let at = |index: usize| match entries.get(index) {
        Some((written, _)) => format!("{key}.{written}"),
        None => format!("{key}.{index}"),
    };
    for (index, (field, column)) in shape.mapping.iter().enumerate() {
        let before = &shape.mapping[..index];
        if let Some((other, _)) = before.iter().find(|(_, name)| name.eq_ignore_ascii_case(column))
        {
            let message = format!("`{other}` and `{field}` would both be `{column}`");
            mistakes.push(section.mistake(&at(index), message));
        }
        if before.iter().any(|(other, _)| other == field) {
            let message = format!("`{field}` is mapped already");
            mistakes.push(section.mistake(&at(index), message));
        }
        if column == field {
            continue;
        }
        let is_target = shape.mapping.iter().any(|(_, name)| name == field);
        if !is_target && shape.columns.iter().any(|(name, _)| name == field) {
            let message = format!("`{field}` is mapped to `{column}`");
            let mistake = section.mistake(&format!("columns.{field}"), message);
            mistakes.push(mistake.help(format!("declare `{column}`: types are by the new name")));
        }
        let symbol = shape.symbols.iter().position(|name| name == field);
        if let (false, Some(symbol)) = (is_target, symbol) {
            let message = format!("`{field}` is mapped to `{column}`");
            let mistake = section.mistake(&format!("symbols.{symbol}"), message);
            mistakes.push(mistake.help(format!("write `{column}`: symbols are by the new name")));
        }
    }
}

/// Whether no two columns that are declared differ in case alone, which most databases do not
/// tell apart.
pub fn told_apart(section: &Section, shape: &Shape, mistakes: &mut Vec<Mistake>) {
    let mut known: Vec<&str> = Vec::new();
    for (name, _) in &shape.columns {
        if let Some(other) = known.iter().find(|other| other.eq_ignore_ascii_case(name)) {
            let message = format!("`{name}` and `{other}` are one column: case does not count");
            mistakes.push(section.mistake(&format!("columns.{name}"), message));
        }
        known.push(name);
    }
}

/// Where `on_bad = "text"` is asked for although a sink has columns of other types.
pub fn kept_as_text(section: &Section, shape: &Shape) -> Vec<Mistake> {
    let values = &shape.values;
    let own = values.on_bad_of.iter().filter(|(_, own)| *own == OnBad::Text);
    let own = own.map(|(column, _)| format!("columns.{column}.on_bad"));
    let all = (values.on_bad == OnBad::Text).then(|| "on_bad".to_owned());
    let mistake = |key: String| {
        let message = "the sink has columns of one type each, which keep no other text";
        let help = "\"null\", or declare such a column as varchar, which takes everything";
        section.mistake(&key, message).help(help)
    };
    all.into_iter().chain(own).map(mistake).collect()
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{check, parse, readings};
    use crate::shape::{
        Arrays, ColumnType, EmptyArray, OnBad, Part, Shape, Step, Timestamp, Written,
    };

    fn shape(table: &str, more: &str) -> Shape {
        let text = readings(&format!("{more}\n[pipeline.readings.table]\n{table}"));
        let plan = parse(&text).unwrap_or_else(|error| panic!("{error}"));
        plan.pipelines.into_iter().next().expect("one pipeline").shape
    }

    #[test]
    fn paths_are_flattened_as_the_format_does() {
        let table = "name = \"{field.o.kind}\"\ntimestamp = { field = \"meta.at\" }\n\
                     mapping = { \"order.id\" = \"id\", \"'a.b'\" = \"c\", \"items[0].p\" = \"p\" }\n\
                     drop = [\"x.y\"]\nexplode = { field = \"o.list\", empty = \"skip\" }\n\
                     arrays = \"parallel\"";
        let own = shape(table, "");
        let field = |field: &str| own.column_of(field);
        assert_eq!(field("order_id").as_deref(), Some("id"));
        assert_eq!(field("a.b").as_deref(), Some("c"));
        assert_eq!(field("items[0]_p").as_deref(), Some("p"));
        assert_eq!((field("x_y"), field("z").as_deref()), (None, Some("z")));
        assert_eq!(own.table.0, [Part::Field("o_kind".into())]);
        let written = Written::Auto;
        assert_eq!(own.timestamp, Timestamp::Field { field: "meta_at".into(), written });
        assert_eq!(own.timestamp_column, "meta_at");
        let [pick] = own.apart.picks.as_slice() else { panic!("{:?}", own.apart) };
        assert_eq!((pick.array.as_str(), pick.field.as_str()), ("items", "items[0]_p"));
        assert_eq!(pick.steps, [Step::Index(0), Step::Name("p".into())]);
        let explode = own.apart.explode.as_ref().expect("there is one");
        assert_eq!((explode.array.as_str(), explode.empty), ("o_list", EmptyArray::Skip));
        assert_eq!(own.apart.arrays, Arrays::Parallel);
        // With another separator, and where names are taken as they are.
        let map = "mapping = { \"order.id\" = \"id\" }";
        let dotted = shape(map, "value = { format = \"json\", separator = \".\" }");
        assert_eq!(dotted.column_of("order.id").as_deref(), Some("id"));
        let csv = "value = { format = \"csv\", columns = [\"order.id\", \"b[0]\"] }";
        let flat = shape("mapping = { \"order.id\" = \"id\", \"b[0]\" = \"b\" }", csv);
        assert_eq!(flat.column_of("order.id").as_deref(), Some("id"));
        assert!(flat.apart.is_nothing());
    }

    #[test]
    fn only_some_fields_become_columns() {
        let own = shape("mapping_only = [\"a\", \"o.b\"]", "");
        assert_eq!(own.column_of("a").as_deref(), Some("a"));
        assert_eq!(own.column_of("o_b").as_deref(), Some("o_b"));
        assert_eq!(own.column_of("c"), None);
        let own = shape("mapping_only = { a = \"x\" }", "");
        assert_eq!((own.column_of("a").as_deref(), own.column_of("b")), (Some("x"), None));
    }

    #[test]
    fn columns_say_more_than_their_type() {
        let own = shape(
            "on_bad = \"null\"\nzone = \"Europe/Berlin\"\nmapping = { \"o.p\" = \"price\" }\n\
             [pipeline.readings.table.columns]\nprice = \"decimal(9,2)\"\nat = \"timestamp\"\n\
             paid = { type = \"date\", zone = \"+05:30\", unit = \"s\", on_bad = \"reject\" }\n\
             free = { on_bad = \"reject\" }",
            "",
        );
        let names: Vec<&str> = own.columns.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["price", "at", "paid"]);
        assert_eq!(own.kind_of("paid"), Some(ColumnType::Date));
        let on_bad = |column: &str| own.values.on_bad(column);
        assert_eq!(
            (on_bad("at"), on_bad("paid"), on_bad("FREE")),
            (OnBad::Null, OnBad::Reject, OnBad::Reject,)
        );
        let read: Vec<&str> = own.values.readings.iter().map(|r| r.column.as_str()).collect();
        assert_eq!(read, ["at", "paid"]);
        assert_ne!(own.values.readings[0].zone, own.values.readings[1].zone);
        assert_eq!(own.exact_fields(), ["o_p", "price"]);
    }

    #[test]
    fn mistakes_are_shown_where_they_stand() {
        check(
            &readings(
                "[pipeline.readings.table]\nrename = { a = \"b\" }\nonly = [\"a\"]\n\
                 zone = \"Europe/Berlim\"\ndrop = [\"a[0]\", \"b..c\"]",
            ),
            r#"
error: pipeline.readings.table.rename: it is called `mapping`
 --> bridge.toml:4:10
  |
4 | rename = { a = "b" }
  |          ^^^^^^^^^^^ such as mapping = { "order.price" = "price" }

error: pipeline.readings.table.only: it is called `mapping_only`
 --> bridge.toml:5:8
  |
5 | only = ["a"]
  |        ^^^^^ such as mapping_only = ["sensor", "order.price"]

error: pipeline.readings.table.zone: `Europe/Berlim` is no time zone
 --> bridge.toml:6:8
  |
6 | zone = "Europe/Berlim"
  |        ^^^^^^^^^^^^^^^ did you mean `Europe/Berlin`?

error: pipeline.readings.table.drop.0: `a[0]` is an element of an array, and no field by itself
 --> bridge.toml:7:9
  |
7 | drop = ["a[0]", "b..c"]
  |         ^^^^^^

error: pipeline.readings.table.drop.1: `b..c` has a part without a name
 --> bridge.toml:7:17
  |
7 | drop = ["a[0]", "b..c"]
  |                 ^^^^^^
  = help: such as order.price, items[0].price; a name with dots in quotes: 'order.price'.net
"#,
        );
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (table, word) in [
            ("on_bad = \"text\"", "no other text"),
            ("columns = { a = { type = \"long\", on_bad = \"text\" } }", "no other text"),
            ("mapping = { a = \"c\", b = \"C\" }", "would both be"),
            ("mapping = { a = \"\" }", "needs a name"),
            ("mapping = { \"a.b\" = \"c\", a_b = \"d\" }", "mapped already"),
            ("mapping = { a = \"b\" }\nmapping_only = [\"c\"]", "not both"),
            ("columns = { a = \"long\", A = \"int\" }", "case does not count"),
            ("explode = {}", "needs the `field`"),
            ("explode = \"a[0]\"", "no field by itself"),
            (
                "columns = { a = { type = \"timestamp\", unit = \"s\", pattern = \"%s\" } }",
                "only one",
            ),
            ("columns = { a = { type = \"timestamp\", pattern = \"%Z\" } }", "not a pattern"),
            ("columns = { a = { type = \"timestamp\", zone = \"Moon\" } }", "no time zone"),
            ("columns = { a = { type = \"long\", zone = \"UTC\" } }", "is no time"),
            ("columns = { a = { kind = \"long\" } }", "unknown key `kind`"),
            ("timestamp = { field = \"a\", zone = \"Moon\" }", "no time zone"),
            ("zone = \"Moon\"\ntimestamp = { field = \"a\" }", "no time zone"),
        ] {
            let text = readings(&format!("[pipeline.readings.table]\n{table}"));
            let mistakes = parse(&text).expect_err(table);
            assert_eq!(mistakes.list.len(), 1, "{mistakes}");
            assert!(mistakes.to_string().contains(word), "{mistakes}");
        }
        let sink = "sink = { kind = \"file\", path = \"{table}\" }";
        assert_eq!(shape("on_bad = \"text\"", sink).values.on_bad, OnBad::Text);
    }
}
