//! The writer's schema read as the reader's (Avro specification 1.12, "Schema Resolution"): a
//! list of nodes, each of which says how the writer's bytes are read and what they are then. What
//! does not fit is a node that says so, for only data that comes there is at fault.

use std::collections::{HashMap, HashSet};

use bridge_abi::Unit;

use super::defaults;
use super::schema::{Field, Form, Logical, Name, Schema, Wrong};

/// Types within one another, named ones followed.
const DEPTH_MAX: usize = 100;
/// Nodes of one resolution.
const NODES_MAX: usize = 50_000;

/// A resolution.
#[derive(Debug, Default)]
pub struct Resolved {
    pub nodes: Vec<Node>,
    /// Symbols of each enum, by the writer's index; `None` where the reader has none for it.
    pub enums: Vec<Vec<Option<Box<str>>>>,
    /// Where a value begins.
    pub root: usize,
}

/// How bytes are read, and what they are.
#[derive(Debug)]
pub enum Node {
    Leaf(Leaf),
    Record(Vec<Step>),
    Array(usize),
    Map(usize),
    /// By the writer's branch.
    Union(Vec<usize>),
    /// The writer's type cannot be read as the reader's.
    Unlike(Box<str>),
}

/// What a record is made of, in the writer's order.
#[derive(Debug)]
pub enum Step {
    /// A field, by its name in the reader's schema.
    Read { name: Box<str>, node: usize },
    /// A field that the reader does not have.
    Skip(usize),
    /// A field that the writer did not have, and its default in Avro's encoding.
    Default { name: Box<str>, node: usize, bytes: Box<[u8]> },
}

/// A value without parts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leaf {
    Null,
    Boolean,
    Int(Whole),
    Long(Whole),
    Float,
    Double,
    /// `bytes` or `string`.
    Bytes(Binary),
    Fixed(usize, Binary),
    /// An index into the enums of the resolution.
    Enum(usize),
}

impl Leaf {
    /// Whether it may stand in an array of numbers.
    pub fn is_number(self) -> bool {
        use Whole::{Double, Float, Long};
        matches!(
            self,
            Leaf::Float
                | Leaf::Double
                | Leaf::Int(Long | Float | Double)
                | Leaf::Long(Long | Float | Double)
        )
    }
}

/// What a whole number becomes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whole {
    Long,
    /// Promoted to `float`.
    Float,
    /// Promoted to `double`.
    Double,
    /// Days since 1970.
    Date,
    Timestamp(Unit),
}

/// What bytes become.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Binary {
    Bytes,
    Text,
    Decimal(u8),
    Uuid,
    Duration,
}

/// Which schema is read as which.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Pair {
    Writers,
    Readers,
    Between,
}

/// Reads data of one schema as it is, or as another one.
pub fn resolve(writer: &Schema, reader: Option<&Schema>) -> Result<Resolved, Wrong> {
    let (pair, reader) = match reader {
        Some(reader) => (Pair::Between, reader),
        None => (Pair::Writers, writer),
    };
    let known = HashMap::new();
    let mut resolver = Resolver { writer, reader, known, out: Resolved::default() };
    resolver.out.root = resolver.node(pair, writer.root, reader.root, 0)?;
    Ok(resolver.out)
}

struct Resolver<'a> {
    writer: &'a Schema,
    reader: &'a Schema,
    known: HashMap<(Pair, usize, usize), usize>,
    out: Resolved,
}

impl<'a> Resolver<'a> {
    fn schemas(&self, pair: Pair) -> (&'a Schema, &'a Schema) {
        match pair {
            Pair::Writers => (self.writer, self.writer),
            Pair::Readers => (self.reader, self.reader),
            Pair::Between => (self.writer, self.reader),
        }
    }

    /// The node of the writer's type `w` that is read as the reader's type `r`.
    fn node(&mut self, pair: Pair, w: usize, r: usize, depth: usize) -> Result<usize, Wrong> {
        let (writer, reader) = self.schemas(pair);
        if let Some(id) = self.known.get(&(pair, w, r)) {
            return Ok(*id);
        }
        if depth > DEPTH_MAX {
            return Err(format!("the schema is nested deeper than {DEPTH_MAX}"));
        }
        if let Form::Union(arms) = &reader.types[r].form
            && !matches!(writer.types[w].form, Form::Union(_))
        {
            return match best(writer, w, reader, arms) {
                Some(arm) => self.node(pair, w, arm, depth + 1),
                None => {
                    let word = writer.types[w].form.word();
                    self.add(Node::Unlike(format!("the reader's union has no {word}").into()))
                }
            };
        }
        // Known before it is made, for it may hold itself.
        let id = self.add(Node::Leaf(Leaf::Null))?;
        self.known.insert((pair, w, r), id);
        let node = self.form(pair, w, r, depth)?;
        self.out.nodes[id] = node;
        Ok(id)
    }

    fn add(&mut self, node: Node) -> Result<usize, Wrong> {
        if self.out.nodes.len() >= NODES_MAX {
            return Err(format!("the schemas need more than {NODES_MAX} nodes"));
        }
        self.out.nodes.push(node);
        Ok(self.out.nodes.len() - 1)
    }

    fn form(&mut self, pair: Pair, w: usize, r: usize, depth: usize) -> Result<Node, Wrong> {
        let (writer, reader) = self.schemas(pair);
        let (from, to) = (&writer.types[w], &reader.types[r]);
        let unlike = || {
            let (from, to) = (from.form.word(), to.form.word());
            Node::Unlike(format!("the writer's {from} cannot be read as the reader's {to}").into())
        };
        Ok(match (&from.form, &to.form) {
            (Form::Union(branches), _) => {
                let same = pair != Pair::Between;
                let mut arms = Vec::with_capacity(branches.len());
                for branch in branches {
                    let to = if same { *branch } else { r };
                    arms.push(self.node(pair, *branch, to, depth + 1)?);
                }
                Node::Union(arms)
            }
            (Form::Record { fields: theirs, .. }, Form::Record { name, fields }) => {
                self.record(pair, theirs, (name, fields), depth)?
            }
            (Form::Array(w), Form::Array(r)) => Node::Array(self.node(pair, *w, *r, depth + 1)?),
            (Form::Map(w), Form::Map(r)) => Node::Map(self.node(pair, *w, *r, depth + 1)?),
            (Form::Enum { symbols, name: theirs, .. }, Form::Enum { .. }) => {
                match self.symbols(symbols, theirs, &to.form)? {
                    Some(index) => Node::Leaf(Leaf::Enum(index)),
                    None => unlike(),
                }
            }
            (from_form, to_form) => {
                let leaf = leaf(from_form, to_form, from.logical, to.logical);
                leaf.map_or_else(unlike, Node::Leaf)
            }
        })
    }

    fn symbols(
        &mut self,
        theirs: &[String],
        name: &Name,
        reader: &Form,
    ) -> Result<Option<usize>, Wrong> {
        let Form::Enum { name: own, symbols, default } = reader else { return Ok(None) };
        if !own.takes(name) {
            return Ok(None);
        }
        let known: HashSet<&str> = symbols.iter().map(String::as_str).collect();
        let read = |symbol: &String| -> Option<Box<str>> {
            match known.contains(symbol.as_str()) {
                true => Some(symbol.as_str().into()),
                false => default.as_deref().map(Into::into),
            }
        };
        self.out.enums.push(theirs.iter().map(read).collect());
        Ok(Some(self.out.enums.len() - 1))
    }

    /// Records are told apart by their fields alone, as Java's reader does: services rename them.
    fn record(
        &mut self,
        pair: Pair,
        theirs: &[Field],
        (name, fields): (&Name, &[Field]),
        depth: usize,
    ) -> Result<Node, Wrong> {
        let mut by_name: HashMap<&str, usize> = HashMap::new();
        for (index, field) in fields.iter().enumerate() {
            for alias in &field.aliases {
                by_name.entry(alias.as_str()).or_insert(index);
            }
        }
        // A field's own name comes before another one's alias.
        by_name.extend(fields.iter().enumerate().map(|(index, f)| (f.name.as_str(), index)));
        let own = if pair == Pair::Readers { Pair::Readers } else { Pair::Writers };
        let (mut steps, mut read) = (Vec::new(), vec![false; fields.len()]);
        for field in theirs {
            let found = by_name.get(field.name.as_str()).copied().filter(|index| !read[*index]);
            steps.push(match found {
                Some(index) => {
                    read[index] = true;
                    let node = self.node(pair, field.of, fields[index].of, depth + 1)?;
                    Step::Read { name: fields[index].name.as_str().into(), node }
                }
                None => Step::Skip(self.node(own, field.of, field.of, depth + 1)?),
            });
        }
        for (field, _) in fields.iter().zip(read).filter(|(_, read)| !read) {
            let Some(default) = &field.default else {
                let (record, field) = (name.short(), &field.name);
                let why = format!("`{field}` of `{record}` is not written and has no default");
                return Ok(Node::Unlike(why.into()));
            };
            let bytes = match defaults::encode(self.reader, field.of, default) {
                Ok(bytes) => bytes,
                Err(why) => {
                    let why = format!("the default of `{}`: {why}", field.name);
                    return Ok(Node::Unlike(why.into()));
                }
            };
            let node = self.node(Pair::Readers, field.of, field.of, depth + 1)?;
            let (name, bytes) = (field.name.as_str().into(), bytes.into());
            steps.push(Step::Default { name, node, bytes });
        }
        Ok(Node::Record(steps))
    }
}

/// The branch of the reader's union that data of the writer's type is read as: one of the same
/// type and name, else the first that it can be promoted to.
fn best(writer: &Schema, w: usize, reader: &Schema, arms: &[usize]) -> Option<usize> {
    let form = |arm: &usize| &reader.types[*arm].form;
    let from = &writer.types[w].form;
    let named = |arm: &usize| match (from, form(arm)) {
        (
            Form::Record { name: theirs, .. }
            | Form::Enum { name: theirs, .. }
            | Form::Fixed { name: theirs, .. },
            Form::Record { name, .. } | Form::Enum { name, .. } | Form::Fixed { name, .. },
        ) => name.takes(theirs),
        _ => true,
    };
    let same = |arm: &usize| from.word() == form(arm).word();
    let exact = |arm: &&usize| same(arm) && named(arm);
    let promoted = |arm: &&usize| leaf(from, form(arm), None, None).is_some();
    // A record under another name is read by its fields.
    let alike = |arm: &&usize| matches!(from, Form::Record { .. }) && same(arm);
    let mut found = arms.iter().find(exact);
    found = found.or_else(|| arms.iter().find(promoted));
    found.or_else(|| arms.iter().find(alike)).copied()
}

/// A type without parts, read as another.
fn leaf(from: &Form, to: &Form, written: Option<Logical>, wanted: Option<Logical>) -> Option<Leaf> {
    let logical = match (written, wanted) {
        // The moment counts, and the writer knows its unit.
        (Some(Logical::Timestamp(unit)), Some(Logical::Timestamp(_))) => {
            Some(Logical::Timestamp(unit))
        }
        // The specification: decimals match if their scales do.
        (Some(Logical::Decimal { scale, .. }), Some(Logical::Decimal { scale: wanted, .. }))
            if scale != wanted =>
        {
            return None;
        }
        (_, wanted) => wanted,
    };
    let whole = match (to, logical) {
        (Form::Float, _) => Whole::Float,
        (Form::Double, _) => Whole::Double,
        (_, Some(Logical::Date)) => Whole::Date,
        (_, Some(Logical::Timestamp(unit))) => Whole::Timestamp(unit),
        _ => Whole::Long,
    };
    let binary = match (to, logical) {
        (Form::String, _) => Binary::Text,
        (_, Some(Logical::Decimal { scale, .. })) => Binary::Decimal(scale),
        (_, Some(Logical::Uuid)) => Binary::Uuid,
        (_, Some(Logical::Duration)) => Binary::Duration,
        _ => Binary::Bytes,
    };
    Some(match (from, to) {
        (Form::Null, Form::Null) => Leaf::Null,
        (Form::Boolean, Form::Boolean) => Leaf::Boolean,
        (Form::Int, Form::Int | Form::Long | Form::Float | Form::Double) => Leaf::Int(whole),
        (Form::Long, Form::Long | Form::Float | Form::Double) => Leaf::Long(whole),
        (Form::Float, Form::Float | Form::Double) => Leaf::Float,
        (Form::Double, Form::Double) => Leaf::Double,
        (Form::Bytes | Form::String, Form::Bytes | Form::String) => Leaf::Bytes(binary),
        (Form::Fixed { name: theirs, size: one }, Form::Fixed { name, size: other })
            if one == other && name.takes(theirs) =>
        {
            Leaf::Fixed(*one, binary)
        }
        _ => return None,
    })
}
