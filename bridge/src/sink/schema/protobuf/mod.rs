//! Rows as Protocol Buffers: a message's descriptor is compiled once into a plan, and rows are
//! written with it (`write`), field by field in the order of their numbers. A nested message takes
//! the columns below its name.

pub mod derive;
pub mod load;
mod write;

use prost_reflect::{Cardinality, FieldDescriptor, Kind, MessageDescriptor};

use super::places::Places;

/// Messages within one another.
const DEPTH_MAX: usize = 64;
/// Fields, the messages followed, that a row is looked through for.
const FIELDS_MAX: usize = 2_000;

/// How rows become values of one message.
#[derive(Debug)]
pub struct Plan {
    message: Fields,
    /// The message's place in its file, as it stands before each value.
    pub indexes: Vec<u8>,
    /// The message's full name.
    pub name: String,
}

/// What a message holds.
#[derive(Debug)]
struct Fields {
    fields: Box<[Field]>,
    /// Of each of these at most one place has something.
    oneofs: Box<[Box<[u32]>]>,
}

/// A field.
#[derive(Debug)]
struct Field {
    number: u32,
    of: Of,
}

#[derive(Debug)]
enum Of {
    /// A column.
    Value { place: u32, presence: Presence, leaf: Leaf },
    /// A message, which is there if one of these places has something.
    Message { places: Box<[u32]>, required: bool, fields: Fields },
}

/// What the absence of a field means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Presence {
    /// Nothing is there.
    Explicit,
    /// It is zero, and zero is not written.
    Implicit,
    /// It must be there.
    Required,
}

/// What a value is written as.
#[derive(Debug)]
enum Leaf {
    Double,
    Float,
    Int32(Whole),
    Int64(Whole),
    Uint32 {
        is_fixed: bool,
    },
    Uint64 {
        is_fixed: bool,
    },
    Bool,
    Text,
    Bytes,
    /// Names and numbers.
    Enum(Box<[(Box<str>, i32)]>),
    /// `google.protobuf.Timestamp`
    Timestamp,
    /// One of `google/protobuf/wrappers.proto`, which has its value in field 1.
    Wrapped(Box<Leaf>),
    /// Numbers, as one run of bytes or each by itself.
    Numbers {
        of: Box<Leaf>,
        packed: bool,
    },
}

/// How a whole number with a sign is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Whole {
    Plain,
    Zigzag,
    Fixed,
}

impl Leaf {
    /// For messages.
    fn word(&self) -> &'static str {
        match self {
            Leaf::Double => "double",
            Leaf::Float => "float",
            Leaf::Int32(_) => "int32",
            Leaf::Int64(_) => "int64",
            Leaf::Uint32 { .. } => "uint32",
            Leaf::Uint64 { .. } => "uint64",
            Leaf::Bool => "bool",
            Leaf::Text => "string",
            Leaf::Bytes => "bytes",
            Leaf::Enum(_) => "an enum",
            Leaf::Timestamp => "a timestamp",
            Leaf::Wrapped(of) => of.word(),
            Leaf::Numbers { .. } => "repeated numbers",
        }
    }
}

impl Plan {
    /// Compiles a message of a `.proto` file: by its name, or the first one. The places of its
    /// fields come out.
    pub fn compile(
        text: &str,
        message: Option<&str>,
        separator: &str,
    ) -> Result<(Plan, Places), String> {
        let found = load::message(text, message)?;
        let mut compiler = Compiler {
            separator,
            path: String::new(),
            open: Vec::new(),
            left: FIELDS_MAX,
            places: Places::default(),
        };
        let (message, _) = compiler.message(&found)?;
        let indexes = indexes(&found);
        let name = found.full_name().to_owned();
        Ok((Plan { message, indexes, name }, compiler.places))
    }
}

/// A message's place in its file, the outermost first (Confluent, "Wire format"): how many numbers,
/// and the numbers, zigzag; the first message of all is a single zero.
fn indexes(message: &MessageDescriptor) -> Vec<u8> {
    let mut numbers = Vec::new();
    let mut at = message.clone();
    loop {
        let outer = at.parent_message();
        let place = match &outer {
            Some(outer) => outer.child_messages().position(|sibling| sibling == at),
            None => at.parent_file().messages().position(|sibling| sibling == at),
        };
        numbers.push(place.unwrap_or(0) as i64);
        match outer {
            Some(outer) => at = outer,
            None => break,
        }
    }
    numbers.reverse();
    let mut out = Vec::new();
    if numbers == [0] {
        return vec![0];
    }
    write::zigzag(&mut out, numbers.len() as i64);
    numbers.into_iter().for_each(|number| write::zigzag(&mut out, number));
    out
}

struct Compiler<'a> {
    separator: &'a str,
    path: String,
    /// Messages around the one at hand.
    open: Vec<String>,
    left: usize,
    places: Places,
}

impl Compiler<'_> {
    /// What a message holds, and the places of all that is in it.
    fn message(&mut self, message: &MessageDescriptor) -> Result<(Fields, Vec<u32>), String> {
        if self.open.len() >= DEPTH_MAX {
            return Err(format!("messages nested deeper than {DEPTH_MAX}"));
        }
        self.open.push(message.full_name().to_owned());
        let mut all: Vec<FieldDescriptor> = message.fields().collect();
        all.sort_by_key(FieldDescriptor::number);
        let (mut fields, mut places) = (Vec::new(), Vec::new());
        let mut oneofs: Vec<(String, Vec<u32>)> = Vec::new();
        for field in all {
            let too_many = || format!("the schema has more than {FIELDS_MAX} fields");
            self.left = self.left.checked_sub(1).ok_or_else(too_many)?;
            let outer = self.path.len();
            if outer > 0 {
                self.path.push_str(self.separator);
            }
            self.path.push_str(field.name());
            let before = places.len();
            if let Some(of) = self.field(&field, &mut places)? {
                if let (Some(oneof), Of::Value { place, .. }) = (field.containing_oneof(), &of) {
                    match oneofs.iter_mut().find(|(name, _)| name == oneof.name()) {
                        Some((_, members)) => members.push(*place),
                        None => oneofs.push((oneof.name().to_owned(), vec![*place])),
                    }
                }
                fields.push(Field { number: field.number(), of });
            } else if field.cardinality() == Cardinality::Required {
                return Err(format!(
                    "no column can become field `{}`, which is required",
                    self.path
                ));
            }
            debug_assert!(places.len() >= before);
            self.path.truncate(outer);
        }
        self.open.pop();
        let oneofs = oneofs.into_iter().filter(|(_, members)| members.len() > 1);
        let oneofs = oneofs.map(|(_, members)| members.into()).collect();
        Ok((Fields { fields: fields.into(), oneofs }, places))
    }

    /// How a field is written; `None` if no column can be that: it is left out.
    fn field(
        &mut self,
        field: &FieldDescriptor,
        places: &mut Vec<u32>,
    ) -> Result<Option<Of>, String> {
        let required = field.cardinality() == Cardinality::Required;
        if let (Kind::Message(of), false) = (field.kind(), field.is_list() || field.is_map())
            && well_known(&of).is_none()
        {
            if field.is_group() || self.open.iter().any(|name| name == of.full_name()) {
                return Ok(None);
            }
            let (fields, own) = self.message(&of)?;
            places.extend(&own);
            return Ok(Some(Of::Message { places: own.into(), required, fields }));
        }
        let Some(leaf) = leaf_of(field) else { return Ok(None) };
        let presence = match (required, field.supports_presence() || field.is_list()) {
            (true, _) => Presence::Required,
            (false, true) => Presence::Explicit,
            (false, false) => Presence::Implicit,
        };
        let place = self.places.of(&self.path);
        places.push(place);
        Ok(Some(Of::Value { place, presence, leaf }))
    }
}

fn leaf_of(field: &FieldDescriptor) -> Option<Leaf> {
    if field.is_map() {
        return None;
    }
    let leaf = match field.kind() {
        Kind::Message(of) => well_known(&of)?,
        kind => scalar(&kind)?,
    };
    if !field.is_list() {
        return Some(leaf);
    }
    let is_number = matches!(
        leaf,
        Leaf::Double
            | Leaf::Float
            | Leaf::Int32(_)
            | Leaf::Int64(_)
            | Leaf::Uint32 { .. }
            | Leaf::Uint64 { .. }
    );
    is_number.then(|| Leaf::Numbers { of: Box::new(leaf), packed: field.is_packed() })
}

fn scalar(kind: &Kind) -> Option<Leaf> {
    Some(match kind {
        Kind::Double => Leaf::Double,
        Kind::Float => Leaf::Float,
        Kind::Int32 => Leaf::Int32(Whole::Plain),
        Kind::Sint32 => Leaf::Int32(Whole::Zigzag),
        Kind::Sfixed32 => Leaf::Int32(Whole::Fixed),
        Kind::Int64 => Leaf::Int64(Whole::Plain),
        Kind::Sint64 => Leaf::Int64(Whole::Zigzag),
        Kind::Sfixed64 => Leaf::Int64(Whole::Fixed),
        Kind::Uint32 => Leaf::Uint32 { is_fixed: false },
        Kind::Fixed32 => Leaf::Uint32 { is_fixed: true },
        Kind::Uint64 => Leaf::Uint64 { is_fixed: false },
        Kind::Fixed64 => Leaf::Uint64 { is_fixed: true },
        Kind::Bool => Leaf::Bool,
        Kind::String => Leaf::Text,
        Kind::Bytes => Leaf::Bytes,
        Kind::Enum(of) => {
            Leaf::Enum(of.values().map(|value| (value.name().into(), value.number())).collect())
        }
        Kind::Message(_) => return None,
    })
}

/// A message of Google's that stands for one value.
fn well_known(message: &MessageDescriptor) -> Option<Leaf> {
    let wrapped = |leaf: Leaf| Some(Leaf::Wrapped(Box::new(leaf)));
    match message.full_name() {
        "google.protobuf.Timestamp" => Some(Leaf::Timestamp),
        "google.protobuf.DoubleValue" => wrapped(Leaf::Double),
        "google.protobuf.FloatValue" => wrapped(Leaf::Float),
        "google.protobuf.Int64Value" => wrapped(Leaf::Int64(Whole::Plain)),
        "google.protobuf.UInt64Value" => wrapped(Leaf::Uint64 { is_fixed: false }),
        "google.protobuf.Int32Value" => wrapped(Leaf::Int32(Whole::Plain)),
        "google.protobuf.UInt32Value" => wrapped(Leaf::Uint32 { is_fixed: false }),
        "google.protobuf.BoolValue" => wrapped(Leaf::Bool),
        "google.protobuf.StringValue" => wrapped(Leaf::Text),
        "google.protobuf.BytesValue" => wrapped(Leaf::Bytes),
        _ => None,
    }
}
