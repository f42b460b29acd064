//! An Avro schema, read from its JSON: all types in one list, so that a type may hold itself
//! (Avro specification 1.12, "Schema Declaration"). Schemas come from registries and are hostile
//! until they are read: how many types there are and how deep they stand is bounded.

use std::collections::{HashMap, HashSet};

use bridge_abi::{DECIMAL_SCALE_MAX, Unit};
use serde_json::{Map, Value};

/// Types and fields of one schema, together: more than any that a person wrote.
const TYPES_MAX: usize = 20_000;
/// Types within one another, as the JSON has them.
const DEPTH_MAX: usize = 64;

/// Why a schema is none, for people.
pub type Wrong = String;

/// A schema.
#[derive(Debug)]
pub struct Schema {
    /// All of its types.
    pub types: Vec<Type>,
    /// The one that data has.
    pub root: usize,
}

/// One type.
#[derive(Clone, PartialEq, Debug)]
pub struct Type {
    /// What its bytes are.
    pub form: Form,
    /// What they mean; what the specification calls invalid is not there.
    pub logical: Option<Logical>,
    /// What they mean to Kafka Connect, whose converter writes it beside the type.
    pub connect: Option<Box<Connect>>,
}

/// A type's name in Kafka Connect, `connect.name`, and its parameters.
#[derive(Clone, PartialEq, Debug)]
pub struct Connect {
    pub name: String,
    pub parameters: Map<String, Value>,
}

/// What the bytes of a type are.
#[derive(Clone, PartialEq, Debug)]
pub enum Form {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Fixed { name: Name, size: usize },
    Enum { name: Name, symbols: Vec<String>, default: Option<String> },
    Record { name: Name, fields: Vec<Field> },
    Array(usize),
    Map(usize),
    Union(Vec<usize>),
}

/// The name of a named type.
#[derive(Clone, PartialEq, Debug)]
pub struct Name {
    /// With its namespace.
    pub full: String,
    /// Other full names that data may have been written under.
    pub aliases: Vec<String>,
}

/// A field of a record.
#[derive(Clone, PartialEq, Debug)]
pub struct Field {
    pub name: String,
    /// Other names that data may have been written under.
    pub aliases: Vec<String>,
    /// Its type.
    pub of: usize,
    /// What it is where the writer did not have it.
    pub default: Option<Value>,
}

/// What a type means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Logical {
    Decimal {
        /// Digits that it has at most.
        precision: u64,
        scale: u8,
    },
    Date,
    /// Of a day; its number stays as it is.
    Time,
    /// Also the local ones, as if their place had no offset.
    Timestamp(Unit),
    Uuid,
    Duration,
}

impl Name {
    /// Without its namespace.
    pub fn short(&self) -> &str {
        short(&self.full)
    }

    /// Whether data that was written under a name may be read under this one: the names without
    /// their namespaces are the same, or an alias is.
    pub fn takes(&self, writer: &Name) -> bool {
        self.short() == writer.short()
            || self.aliases.iter().any(|alias| *alias == writer.full || alias == writer.short())
    }
}

fn short(full: &str) -> &str {
    full.rsplit('.').next().unwrap_or(full)
}

impl Form {
    /// As the specification calls it.
    pub fn word(&self) -> &'static str {
        match self {
            Form::Null => "null",
            Form::Boolean => "boolean",
            Form::Int => "int",
            Form::Long => "long",
            Form::Float => "float",
            Form::Double => "double",
            Form::Bytes => "bytes",
            Form::String => "string",
            Form::Fixed { .. } => "fixed",
            Form::Enum { .. } => "enum",
            Form::Record { .. } => "record",
            Form::Array(_) => "array",
            Form::Map(_) => "map",
            Form::Union(_) => "union",
        }
    }

    fn primitive(word: &str) -> Option<Form> {
        Some(match word {
            "null" => Form::Null,
            "boolean" => Form::Boolean,
            "int" => Form::Int,
            "long" => Form::Long,
            "float" => Form::Float,
            "double" => Form::Double,
            "bytes" => Form::Bytes,
            "string" => Form::String,
            _ => return None,
        })
    }
}

impl Schema {
    /// Reads a schema; `before` are those whose types it may name.
    pub fn parse<'a>(
        text: &str,
        before: impl IntoIterator<Item = &'a str>,
    ) -> Result<Schema, Wrong> {
        let json = |text: &str| -> Result<Value, Wrong> {
            serde_json::from_str(text).map_err(|error| format!("the schema is not JSON: {error}"))
        };
        let mut reader = Reader { types: Vec::new(), names: HashMap::new(), left: TYPES_MAX };
        for text in before {
            reader.read(&json(text)?, "", 0)?;
        }
        let root = reader.read(&json(text)?, "", 0)?;
        Ok(Schema { types: reader.types, root })
    }
}

struct Reader {
    types: Vec<Type>,
    /// Named types, by full name.
    names: HashMap<String, usize>,
    left: usize,
}

impl Reader {
    /// The type that a JSON value is, in the namespace around it.
    fn read(&mut self, value: &Value, space: &str, depth: usize) -> Result<usize, Wrong> {
        if depth > DEPTH_MAX {
            return Err(format!("the schema is nested deeper than {DEPTH_MAX}"));
        }
        match value {
            Value::String(word) => self.named(word, space),
            Value::Array(branches) => self.union(branches, space, depth),
            Value::Object(object) => match object.get("type") {
                Some(Value::String(word)) => {
                    let id = self.object(word, object, space, depth)?;
                    self.types[id].connect = connect(object).or(self.types[id].connect.take());
                    Ok(id)
                }
                Some(inner) => self.read(inner, space, depth + 1),
                None => Err("a type of the schema has no `type`".to_owned()),
            },
            other => Err(format!("`{other}` is no type")),
        }
    }

    /// A primitive type, or one that is known by its name.
    fn named(&mut self, word: &str, space: &str) -> Result<usize, Wrong> {
        if let Some(form) = Form::primitive(word) {
            return self.add(form, None);
        }
        let known = self.names.get(&full_name(word, space)).or_else(|| self.names.get(word));
        known.copied().ok_or_else(|| format!("there is no type `{word}`"))
    }

    fn add(&mut self, form: Form, logical: Option<Logical>) -> Result<usize, Wrong> {
        self.spend()?;
        self.types.push(Type { form, logical, connect: None });
        Ok(self.types.len() - 1)
    }

    fn spend(&mut self) -> Result<(), Wrong> {
        let left = self.left.checked_sub(1);
        self.left = left.ok_or_else(|| format!("the schema has more than {TYPES_MAX} types"))?;
        Ok(())
    }

    fn union(&mut self, branches: &[Value], space: &str, depth: usize) -> Result<usize, Wrong> {
        if branches.is_empty() {
            return Err("a union without types".to_owned());
        }
        let mut all = Vec::with_capacity(branches.len().min(64));
        for branch in branches {
            let id = self.read(branch, space, depth + 1)?;
            if matches!(self.types[id].form, Form::Union(_)) {
                return Err("a union within a union".to_owned());
            }
            all.push(id);
        }
        self.add(Form::Union(all), None)
    }

    fn object(
        &mut self,
        word: &str,
        object: &Map<String, Value>,
        space: &str,
        depth: usize,
    ) -> Result<usize, Wrong> {
        match word {
            "array" | "map" => {
                let key = if word == "array" { "items" } else { "values" };
                let inner = object.get(key).ok_or_else(|| format!("{word} without `{key}`"))?;
                let id = self.read(inner, space, depth + 1)?;
                self.add(if word == "array" { Form::Array(id) } else { Form::Map(id) }, None)
            }
            "record" | "error" => self.record(object, space, depth),
            "enum" => {
                let (name, _) = name(object, space)?;
                let symbols = symbols(object, &name)?;
                let default = text(object, "default").filter(|d| symbols.contains(d));
                self.define(Form::Enum { name, symbols, default }, None)
            }
            "fixed" => {
                let (name, _) = name(object, space)?;
                let size = object.get("size").and_then(Value::as_u64);
                let size = size.and_then(|size| u32::try_from(size).ok());
                let size = size.ok_or_else(|| format!("fixed `{}` without `size`", name.full))?;
                let form = Form::Fixed { name, size: size as usize };
                let logical = logical(object, &form);
                self.define(form, logical)
            }
            _ => match Form::primitive(word) {
                Some(form) => {
                    let logical = logical(object, &form);
                    self.add(form, logical)
                }
                None => self.named(word, space),
            },
        }
    }

    fn record(
        &mut self,
        object: &Map<String, Value>,
        space: &str,
        depth: usize,
    ) -> Result<usize, Wrong> {
        let (name, space) = name(object, space)?;
        let listed = object.get("fields").and_then(Value::as_array);
        let listed = listed.ok_or_else(|| format!("record `{}` without `fields`", name.full))?;
        let full = name.full.clone();
        // Known before its fields are read, for it may be among them.
        let id = self.define(Form::Record { name, fields: Vec::new() }, None)?;
        let (mut read, mut seen) = (Vec::new(), HashSet::new());
        for field in listed {
            self.spend()?;
            let field = field.as_object().ok_or_else(|| format!("a field of `{full}` is none"))?;
            let name = text(field, "name").filter(|name| !name.is_empty());
            let name = name.ok_or_else(|| format!("a field of `{full}` has no name"))?;
            let of = field.get("type");
            let of = of.ok_or_else(|| format!("field `{name}` of `{full}` has no type"))?;
            if !seen.insert(name.clone()) {
                return Err(format!("`{full}` has two fields `{name}`"));
            }
            let of = self.read(of, &space, depth + 1)?;
            let default = field.get("default").cloned();
            read.push(Field { name, aliases: texts(field, "aliases"), of, default });
        }
        if let Form::Record { fields, .. } = &mut self.types[id].form {
            *fields = read;
        }
        Ok(id)
    }

    /// Adds a named type.
    fn define(&mut self, form: Form, logical: Option<Logical>) -> Result<usize, Wrong> {
        let (Form::Fixed { name, .. } | Form::Enum { name, .. } | Form::Record { name, .. }) =
            &form
        else {
            return self.add(form, logical);
        };
        let full = name.full.clone();
        let id = self.add(form, logical)?;
        match self.names.insert(full.clone(), id) {
            None => Ok(id),
            Some(_) => Err(format!("`{full}` is defined twice")),
        }
    }
}

/// The name of a named type, and the namespace within it.
fn name(object: &Map<String, Value>, space: &str) -> Result<(Name, String), Wrong> {
    let written = text(object, "name").filter(|name| !name.is_empty());
    let written = written.ok_or_else(|| "a named type has no name".to_owned())?;
    let own = text(object, "namespace");
    let full = full_name(&written, own.as_deref().unwrap_or(space));
    let space = full.rsplit_once('.').map_or("", |(space, _)| space).to_owned();
    let aliases = texts(object, "aliases");
    let aliases = aliases.iter().map(|alias| full_name(alias, &space)).collect();
    Ok((Name { full, aliases }, space))
}

fn full_name(name: &str, space: &str) -> String {
    match name.contains('.') || space.is_empty() {
        true => name.to_owned(),
        false => format!("{space}.{name}"),
    }
}

fn symbols(object: &Map<String, Value>, name: &Name) -> Result<Vec<String>, Wrong> {
    let listed = object.get("symbols").and_then(Value::as_array);
    let texts = listed.map(|listed| {
        listed.iter().map(|symbol| symbol.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
    });
    texts.flatten().ok_or_else(|| format!("enum `{}` without `symbols`", name.full))
}

/// What the `logicalType` of a type means; the specification has invalid ones ignored.
fn logical(object: &Map<String, Value>, form: &Form) -> Option<Logical> {
    let word = object.get("logicalType")?.as_str()?;
    Some(match (word, form) {
        ("decimal", Form::Bytes | Form::Fixed { .. }) => {
            let precision = object.get("precision")?.as_u64()?;
            let scale = object.get("scale").map_or(Some(0), Value::as_u64)?;
            let scale = u8::try_from(scale).ok().filter(|scale| *scale <= DECIMAL_SCALE_MAX)?;
            (precision > 0 && u64::from(scale) <= precision).then_some(())?;
            Logical::Decimal { precision, scale }
        }
        ("date", Form::Int) => Logical::Date,
        ("time-millis", Form::Int) | ("time-micros", Form::Long) => Logical::Time,
        ("timestamp-millis" | "local-timestamp-millis", Form::Long) => {
            Logical::Timestamp(Unit::Millis)
        }
        ("timestamp-micros" | "local-timestamp-micros", Form::Long) => {
            Logical::Timestamp(Unit::Micros)
        }
        ("timestamp-nanos" | "local-timestamp-nanos", Form::Long) => {
            Logical::Timestamp(Unit::Nanos)
        }
        ("uuid", Form::String | Form::Fixed { size: 16, .. }) => Logical::Uuid,
        ("duration", Form::Fixed { size: 12, .. }) => Logical::Duration,
        _ => return None,
    })
}

fn connect(object: &Map<String, Value>) -> Option<Box<Connect>> {
    let name = text(object, "connect.name")?;
    let parameters = object.get("connect.parameters").and_then(Value::as_object);
    Some(Box::new(Connect { name, parameters: parameters.cloned().unwrap_or_default() }))
}

fn text(object: &Map<String, Value>, key: &str) -> Option<String> {
    object.get(key)?.as_str().map(str::to_owned)
}

fn texts(object: &Map<String, Value>, key: &str) -> Vec<String> {
    let listed = object.get(key).and_then(Value::as_array).into_iter().flatten();
    listed.filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Schema, Wrong> {
        Schema::parse(text, [])
    }

    fn wrong(text: &str) -> Wrong {
        parse(text).map(|_| ()).expect_err("it is none")
    }

    #[test]
    fn names_stand_in_the_namespace_around_them() {
        let text = r#"{"type":"record","name":"R","namespace":"a.b","fields":[
            {"name":"x","type":{"type":"enum","name":"E","symbols":["A"],"aliases":["F","c.G"]}},
            {"name":"y","type":{"type":"fixed","name":"o.F","size":2}},
            {"name":"z","type":["null","E","a.b.E","R","o.F"]}]}"#;
        let schema = parse(text).expect("a schema");
        let names = schema.types.iter().filter_map(|t| match &t.form {
            Form::Enum { name, .. } | Form::Record { name, .. } | Form::Fixed { name, .. } => {
                Some(format!("{} {:?}", name.full, name.aliases))
            }
            _ => None,
        });
        let names: Vec<String> = names.collect();
        assert_eq!(names, ["a.b.R []", r#"a.b.E ["a.b.F", "c.G"]"#, "o.F []"]);
    }

    #[test]
    fn invalid_logical_types_are_ignored() {
        let of = |text: &str| parse(text).expect("a schema").types[0].logical;
        let decimal = r#"{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}"#;
        assert_eq!(of(decimal), Some(Logical::Decimal { precision: 4, scale: 2 }));
        assert_eq!(of(&decimal.replace("\"scale\":2", "\"scale\":5")), None);
        assert_eq!(of(r#"{"type":"int","logicalType":"timestamp-millis"}"#), None);
        assert_eq!(of(r#"{"type":"int","logicalType":"date"}"#), Some(Logical::Date));
        assert_eq!(of(r#"{"type":"long","logicalType":"unheard-of"}"#), None);
    }

    #[test]
    fn what_is_no_schema_is_refused_in_words() {
        assert!(wrong("{").contains("not JSON"));
        assert_eq!(wrong("\"nope\""), "there is no type `nope`");
        assert_eq!(wrong(r#"{"type":"array"}"#), "array without `items`");
        assert_eq!(wrong("[]"), "a union without types");
        assert_eq!(wrong(r#"["null",["int"]]"#), "a union within a union");
        let twice =
            r#"[{"type":"fixed","name":"F","size":1},{"type":"fixed","name":"F","size":1}]"#;
        assert_eq!(wrong(twice), "`F` is defined twice");
        let same = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"},
            {"name":"a","type":"int"}]}"#;
        assert_eq!(wrong(same), "`R` has two fields `a`");
        let deep = format!("{}\"int\"{}", "{\"type\":".repeat(80), "}".repeat(80));
        assert!(wrong(&deep).contains("nested deeper"));
        let wide = format!("[{}\"int\"]", "\"int\",".repeat(30_000));
        assert!(wrong(&wide).contains("more than"));
    }

    #[test]
    fn types_of_other_schemas_may_be_named() {
        let before = r#"{"type":"fixed","name":"a.F","size":2}"#;
        let schema = Schema::parse("\"a.F\"", [before]).expect("a schema");
        assert!(matches!(schema.types[schema.root].form, Form::Fixed { size: 2, .. }));
    }
}
