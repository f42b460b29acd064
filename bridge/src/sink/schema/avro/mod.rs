//! Rows as Avro: a schema is compiled once into a plan, and rows are written with it (`write`). It
//! is the way back of how Avro is read: field `b` of record `a` takes the column `a_b`.
//!
//! ```text
//! schema ──compile──▶ Plan ──write──▶ value
//!    ▲ derive: a schema out of columns, and one that grows by them
//! ```

pub mod derive;
mod write;

use serde_json::Value;

use super::places::Places;
use crate::format::avro::defaults::encode;
use crate::format::avro::schema::{Form, Logical, Schema, Type};

/// Records within one another.
const DEPTH_MAX: usize = 64;
/// Fields of a schema, its types followed, that a row is looked through for.
const FIELDS_MAX: usize = 2_000;
/// Dimensions of arrays of numbers.
const DIMS_MAX: usize = 3;

/// How rows become values of one schema.
#[derive(Debug)]
pub struct Plan {
    fields: Box<[Node]>,
    /// What text that is JSON is encoded by.
    schema: Schema,
    /// The record's name, its namespace included, if it is a record.
    pub name: Option<String>,
}

/// A field, or what it holds.
#[derive(Debug)]
enum Node {
    /// A column.
    Value(Column),
    /// A record, of which something is there if one of these places has something.
    Record {
        /// The union's branch that is null.
        null: Option<u32>,
        /// And the one that is this.
        branch: Option<u32>,
        default: Option<Box<[u8]>>,
        places: Box<[u32]>,
        fields: Box<[Node]>,
    },
    /// What no column can become: always the same.
    Always(Box<[u8]>),
}

/// A column's value.
#[derive(Debug)]
struct Column {
    place: u32,
    /// The union's branch that is null, or that the field is null at all times.
    null: Option<Option<u32>>,
    /// What it may be otherwise, each with its branch, if the field is a union.
    arms: Box<[(Option<u32>, Leaf)]>,
    /// What is written where there is no value.
    default: Option<Box<[u8]>>,
}

/// What a value is written as.
#[derive(Debug)]
enum Leaf {
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Text,
    Bytes,
    Fixed(usize),
    Enum(Box<[Box<str>]>),
    Decimal {
        size: Option<usize>,
        precision: u64,
        scale: u8,
    },
    Date,
    Time {
        is_millis: bool,
    },
    Timestamp(bridge_abi::Unit),
    Uuid {
        is_fixed: bool,
    },
    /// So many dimensions, and what the numbers are.
    Numbers {
        dims: usize,
        item: Item,
    },
    /// Text that is JSON, as this type.
    Json(usize),
}

/// A number of an array.
#[derive(Clone, Copy, Debug)]
struct Item {
    form: Number,
    /// Branch of the number, if it may be null, and of the null.
    branches: Option<(u32, u32)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Number {
    Int,
    Long,
    Float,
    Double,
}

/// The schema's name of a leaf, for messages.
impl Leaf {
    fn word(&self) -> &'static str {
        match self {
            Leaf::Boolean => "boolean",
            Leaf::Int => "int",
            Leaf::Long => "long",
            Leaf::Float => "float",
            Leaf::Double => "double",
            Leaf::Text => "string",
            Leaf::Bytes => "bytes",
            Leaf::Fixed(_) => "fixed",
            Leaf::Enum(_) => "enum",
            Leaf::Decimal { .. } => "decimal",
            Leaf::Date => "date",
            Leaf::Time { .. } => "a time of the day",
            Leaf::Timestamp(_) => "a timestamp",
            Leaf::Uuid { .. } => "uuid",
            Leaf::Numbers { .. } => "an array of numbers",
            Leaf::Json(_) => "an array or a map",
        }
    }
}

impl Plan {
    /// Compiles a schema, whose root is a record, or what the lone column becomes; the places of
    /// its fields come out.
    pub fn compile(
        text: &str,
        separator: &str,
        lone: Option<&str>,
    ) -> Result<(Plan, Places), String> {
        let schema = Schema::parse(text, [])?;
        let name = match (&schema.types[schema.root].form, lone) {
            (Form::Record { name, .. }, _) => Some(name.full.clone()),
            (_, Some(_)) => None,
            (other, None) => {
                return Err(format!("the schema is {}, and rows are records", other.word()));
            }
        };
        let mut compiler = Compiler {
            schema: &schema,
            separator,
            path: String::new(),
            open: Vec::new(),
            left: FIELDS_MAX,
            places: Places::default(),
        };
        let fields = match lone.filter(|_| name.is_none()) {
            None => compiler.record(schema.root)?.0,
            Some(column) => {
                compiler.path.push_str(column);
                [compiler.field(schema.root, None, &mut Vec::new())?].into()
            }
        };
        let places = compiler.places;
        Ok((Plan { fields, schema, name }, places))
    }
}

struct Compiler<'a> {
    schema: &'a Schema,
    separator: &'a str,
    path: String,
    /// Records around the one at hand.
    open: Vec<usize>,
    left: usize,
    places: Places,
}

impl<'a> Compiler<'a> {
    fn type_of(&self, id: usize) -> &'a Type {
        &self.schema.types[id]
    }

    /// The fields of a record, and the places of all that is in it.
    fn record(&mut self, id: usize) -> Result<(Box<[Node]>, Vec<u32>), String> {
        let Form::Record { fields, .. } = &self.type_of(id).form else {
            return Err("a record is none".to_owned());
        };
        if self.open.len() >= DEPTH_MAX {
            return Err(format!("records nested deeper than {DEPTH_MAX}"));
        }
        self.open.push(id);
        let (mut nodes, mut places) = (Vec::with_capacity(fields.len()), Vec::new());
        for field in fields {
            let outer = self.path.len();
            if outer > 0 {
                self.path.push_str(self.separator);
            }
            self.path.push_str(&field.name);
            nodes.push(self.field(field.of, field.default.as_ref(), &mut places)?);
            self.path.truncate(outer);
        }
        self.open.pop();
        Ok((nodes.into(), places))
    }

    fn field(
        &mut self,
        of: usize,
        default: Option<&Value>,
        places: &mut Vec<u32>,
    ) -> Result<Node, String> {
        let too_many = || format!("the schema has more than {FIELDS_MAX} fields");
        self.left = self.left.checked_sub(1).ok_or_else(too_many)?;
        let default = default.map(|value| encode(self.schema, of, value)).transpose();
        let default = default.map_err(|why| format!("the default of `{}`: {why}", self.path))?;
        let default = default.map(Vec::into_boxed_slice);
        let is_union = matches!(self.type_of(of).form, Form::Union(_));
        let arms: Vec<(u32, usize)> = match &self.type_of(of).form {
            Form::Union(arms) => (0..).zip(arms.iter().copied()).collect(),
            _ => vec![(0, of)],
        };
        let is_null = |id: usize| matches!(self.type_of(id).form, Form::Null);
        let branch = |number: u32| is_union.then_some(number);
        let null = arms.iter().find(|(_, id)| is_null(*id)).map(|(number, _)| branch(*number));
        let others: Vec<(u32, usize)> =
            arms.iter().copied().filter(|(_, id)| !is_null(*id)).collect();
        if let [(number, id)] = others[..]
            && matches!(self.type_of(id).form, Form::Record { .. })
            && !self.open.contains(&id)
        {
            let (fields, own) = self.record(id)?;
            places.extend(&own);
            let (null, branch) = (null.flatten(), branch(number));
            return Ok(Node::Record { null, branch, default, places: own.into(), fields });
        }
        let mut leaves = Vec::new();
        for (number, id) in others {
            leaves.extend(self.leaf(id).map(|leaf| (branch(number), leaf)));
        }
        if leaves.is_empty() && arms.iter().any(|(_, id)| !is_null(*id)) {
            // Nothing that a row has can be this.
            return match (default, null) {
                (Some(default), _) => Ok(Node::Always(default)),
                (None, Some(branch)) => Ok(Node::Always(branch_bytes(branch))),
                (None, None) => {
                    let word = self.type_of(of).form.word();
                    let path = &self.path;
                    Err(format!("no column can become field `{path}`, which is {word}"))
                }
            };
        }
        let place = self.places.of(&self.path);
        places.push(place);
        Ok(Node::Value(Column { place, null, arms: leaves.into(), default }))
    }

    /// What a value of a type is written as; `None` if no column can be that.
    fn leaf(&self, id: usize) -> Option<Leaf> {
        let Type { form, logical, .. } = self.type_of(id);
        Some(match (form, logical) {
            (Form::Boolean, _) => Leaf::Boolean,
            (Form::Int, Some(Logical::Date)) => Leaf::Date,
            (Form::Int, Some(Logical::Time)) => Leaf::Time { is_millis: true },
            (Form::Long, Some(Logical::Time)) => Leaf::Time { is_millis: false },
            (Form::Long, Some(Logical::Timestamp(unit))) => Leaf::Timestamp(*unit),
            (Form::Int, _) => Leaf::Int,
            (Form::Long, _) => Leaf::Long,
            (Form::Float, _) => Leaf::Float,
            (Form::Double, _) => Leaf::Double,
            (Form::String, Some(Logical::Uuid)) => Leaf::Uuid { is_fixed: false },
            (Form::String, _) => Leaf::Text,
            (Form::Bytes, Some(Logical::Decimal { precision, scale })) => {
                Leaf::Decimal { size: None, precision: *precision, scale: *scale }
            }
            (Form::Fixed { size, .. }, Some(Logical::Decimal { precision, scale })) => {
                Leaf::Decimal { size: Some(*size), precision: *precision, scale: *scale }
            }
            (Form::Fixed { .. }, Some(Logical::Uuid)) => Leaf::Uuid { is_fixed: true },
            (Form::Fixed { .. }, Some(Logical::Duration)) => return None,
            (Form::Bytes, _) => Leaf::Bytes,
            (Form::Fixed { size, .. }, _) => Leaf::Fixed(*size),
            (Form::Enum { symbols, .. }, _) => {
                Leaf::Enum(symbols.iter().map(|symbol| symbol.as_str().into()).collect())
            }
            (Form::Array(item), _) => match self.numbers(*item) {
                Some((dims, item)) => Leaf::Numbers { dims, item },
                None => return self.is_json(id).then_some(Leaf::Json(id)),
            },
            (Form::Map(_) | Form::Record { .. }, _) => {
                return self.is_json(id).then_some(Leaf::Json(id));
            }
            (Form::Null | Form::Union(_), _) => return None,
        })
    }

    /// Dimensions and numbers of an array, if it is one of numbers.
    fn numbers(&self, mut item: usize) -> Option<(usize, Item)> {
        let mut dims = 1;
        while let Form::Array(inner) = self.type_of(item).form {
            (dims, item) = (dims + 1, inner);
            if dims > DIMS_MAX {
                return None;
            }
        }
        let number = |id: usize| match (&self.type_of(id).form, self.type_of(id).logical) {
            (Form::Int, None) => Some(Number::Int),
            (Form::Long, None) => Some(Number::Long),
            (Form::Float, _) => Some(Number::Float),
            (Form::Double, _) => Some(Number::Double),
            _ => None,
        };
        let is_null = |id: usize| matches!(self.type_of(id).form, Form::Null);
        Some(match &self.type_of(item).form {
            Form::Union(arms) => match arms[..] {
                [null, of] if is_null(null) => {
                    (dims, Item { form: number(of)?, branches: Some((1, 0)) })
                }
                [of, null] if is_null(null) => {
                    (dims, Item { form: number(of)?, branches: Some((0, 1)) })
                }
                _ => return None,
            },
            _ => (dims, Item { form: number(item)?, branches: None }),
        })
    }

    /// Whether JSON says all that there is in a type: it says bytes in more ways than one.
    fn is_json(&self, id: usize) -> bool {
        let mut seen = vec![false; self.schema.types.len()];
        let mut left = vec![id];
        while let Some(id) = left.pop() {
            if std::mem::replace(&mut seen[id], true) {
                continue;
            }
            match &self.type_of(id).form {
                Form::Bytes | Form::Fixed { .. } => return false,
                Form::Array(item) | Form::Map(item) => left.push(*item),
                Form::Union(arms) => left.extend(arms),
                Form::Record { fields, .. } => left.extend(fields.iter().map(|field| field.of)),
                _ => {}
            }
        }
        true
    }
}

/// A null: its branch, if it is of a union.
fn branch_bytes(branch: Option<u32>) -> Box<[u8]> {
    let mut out = Vec::new();
    if let Some(branch) = branch {
        write::long(&mut out, i64::from(branch));
    }
    out.into()
}
