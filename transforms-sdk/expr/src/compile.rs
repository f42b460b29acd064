//! A tree into a program: names become ids, what is constant is computed, and what can never be
//! right is refused before the first record.

use bridge_abi::Unit;

use crate::ast::{Arithmetic, Comparison, Expr, ExprKind, Own, Type, Which};
use crate::error::{Error, Failed, Failure, Span, Why};
use crate::functions::{self, Function};
use crate::like::Pattern;
use crate::parse::parse;
use crate::types::Types;
use crate::units::Linear;
use crate::value::{Row, Scratch, Text, Value};

/// An expression that is ready to run.
#[derive(Clone, Debug)]
pub struct Program {
    pub(crate) root: Node,
    source: String,
    types: Types,
    owns: [bool; Own::ALL.len()],
    headers: bool,
    only_column: Option<u16>,
}

/// One step of a program, and where it stands in the text.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) at: Span,
    pub(crate) op: Op,
}

/// A constant.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Constant {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Box<str>),
    Time(i64, Unit),
}

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Constant(Constant),
    Column(u16),
    Own(Own),
    Header(Box<str>),
    /// An operator on one part.
    One(Box<Node>, One),
    And(Box<[Node]>),
    Or(Box<[Node]>),
    Compare(Comparison, Box<[Node; 2]>),
    Arithmetic(Arithmetic, Box<[Node; 2]>),
    Join(Box<[Node]>),
    Missing(u16, bool),
    In(Box<Node>, Box<[Node]>, bool),
    Between(Box<[Node; 3]>, bool),
    Case(Option<Box<Node>>, Box<[(Node, Node)]>, Option<Box<Node>>),
    Call(Function, Box<[Node]>),
}

/// What is made of one part; a `bool` is true for `not`, and for `try_cast`.
#[derive(Clone, Debug)]
pub(crate) enum One {
    Not,
    Negate,
    Is(Which, bool),
    Like(Pattern, bool),
    Cast(Type, bool),
    Convert(Linear),
}

impl Program {
    /// The text it was made of.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What its value may be.
    pub fn types(&self) -> Types {
        self.types
    }

    /// Whether it reads this of the record.
    pub fn reads(&self, own: Own) -> bool {
        self.owns[own as usize]
    }

    /// Whether it reads headers.
    pub fn reads_headers(&self) -> bool {
        self.headers
    }

    /// The column, if the expression is nothing but its name: its value may then be of any kind.
    pub fn only_column(&self) -> Option<u16> {
        self.only_column
    }

    /// Refuses a program whose value can never be true, for conditions.
    pub fn must_be_condition(&self) -> Result<(), Error> {
        if self.types.may_be(Types::BOOL) && self.types != Types::NULL {
            return Ok(());
        }
        let message = format!("a condition is true or false, and this is {}", self.types);
        Err(Error::new(&self.source, self.root.at, message))
    }

    /// The value for a record. Texts that were made lie in the scratch, which begins anew.
    #[inline]
    pub fn value<'r, R: Row<'r>>(
        &'r self,
        row: &R,
        scratch: &mut Scratch,
    ) -> Result<Value<'r>, Failure> {
        scratch.clear();
        self.root.value(row, scratch)
    }

    /// Whether the condition is true; neither false nor null is.
    #[inline]
    pub fn holds<'r, R: Row<'r>>(
        &'r self,
        row: &R,
        scratch: &mut Scratch,
    ) -> Result<bool, Failure> {
        match self.value(row, scratch)? {
            Value::Bool(value) => Ok(value),
            Value::Null => Ok(false),
            other => {
                let why =
                    Why::Takes { what: "a condition", accepted: Types::BOOL, got: other.types() };
                Err(Failure { at: self.root.at, why })
            }
        }
    }

    /// A failure in words.
    pub fn failed(&self, failure: Failure) -> Failed<'_> {
        Failed { source: &self.source, failure }
    }
}

/// Reads and compiles an expression. `column` gives a column's id, or says why there is none
/// (`closest` finds what was meant).
pub fn compile(
    source: &str,
    column: &mut dyn FnMut(&str) -> Result<u16, String>,
) -> Result<Program, Error> {
    let expr = parse(source)?;
    let (owns, headers) = Default::default();
    let mut compiler = Compiler { source, column, owns, headers };
    let (root, types) = compiler.node(&expr)?;
    let Compiler { owns, headers, .. } = compiler;
    let only_column = match root.op {
        Op::Column(id) => Some(id),
        _ => None,
    };
    Ok(Program { root, source: source.to_owned(), types, owns, headers, only_column })
}

struct Compiler<'c> {
    source: &'c str,
    column: &'c mut dyn FnMut(&str) -> Result<u16, String>,
    owns: [bool; Own::ALL.len()],
    headers: bool,
}

type Made = Result<(Op, Types), Error>;

impl Compiler<'_> {
    /// A node and what its value may be.
    fn node(&mut self, expr: &Expr) -> Result<(Node, Types), Error> {
        let (op, types) = self.op(expr)?;
        let node = Node { at: expr.at, op };
        if !node.is_constant() {
            return Ok((node, types));
        }
        let constant = self.fold(&node)?;
        let types = constant.value().types();
        Ok((Node { at: expr.at, op: Op::Constant(constant) }, types))
    }

    /// The value of a node whose parts are constants.
    fn fold(&self, node: &Node) -> Result<Constant, Error> {
        let mut scratch = Scratch::default();
        let wrong = |failure: Failure| {
            Error::new(
                self.source,
                failure.at,
                format!("this fails for every record: {}", failure.why),
            )
        };
        Ok(match node.value(&Nothing, &mut scratch).map_err(wrong)? {
            Value::Bool(value) => Constant::Bool(value),
            Value::Int(value) => Constant::Int(value),
            Value::Float(value) => Constant::Float(value),
            Value::Text(text) => Constant::Text(scratch.text(&text).into()),
            Value::Time(since_1970, unit) => Constant::Time(since_1970, unit),
            // No constant is any of the others.
            Value::Null | Value::Bytes(_) | Value::Decimal(..) | Value::Array(_) => Constant::Null,
        })
    }

    /// Refuses a part that can never be what is taken here.
    fn need(&self, at: Span, types: Types, accepted: Types, what: &str) -> Result<(), Error> {
        if types.may_be(accepted) {
            return Ok(());
        }
        let message = format!("{what} takes {accepted}, and this is {types}");
        Err(Error::new(self.source, at, message))
    }

    fn taking(&mut self, expr: &Expr, accepted: Types, what: &str) -> Result<Node, Error> {
        let (node, types) = self.node(expr)?;
        self.need(expr.at, types, accepted, what)?;
        Ok(node)
    }

    fn all(&mut self, parts: &[Expr], accepted: Types, what: &str) -> Result<Box<[Node]>, Error> {
        parts.iter().map(|part| self.taking(part, accepted, what)).collect()
    }

    fn boxed(&mut self, expr: &Expr, accepted: Types, what: &str) -> Result<Box<Node>, Error> {
        Ok(Box::new(self.taking(expr, accepted, what)?))
    }

    /// Refuses two parts that can never be compared.
    fn comparable(&self, (a, of_a): (Span, Types), (b, of_b): (Span, Types)) -> Result<(), Error> {
        let (left, right) = (of_a.without_null(), of_b.without_null());
        let never = left != Types(0) && right != Types(0) && left.and(right) == Types(0);
        if !never {
            return Ok(());
        }
        let message = format!("{of_a} and {of_b} cannot be compared");
        let error = Error::new(self.source, a.to(b), message);
        let own =
            [(a, of_b), (b, of_a)].into_iter().find(|(at, _)| at.of(self.source) == "timestamp");
        Err(match own {
            Some((_, Types::TEXT)) => {
                error.help("a time is written timestamp '2026-01-31T12:00:00Z'")
            }
            Some(_) => error.help("a column of this name is written \"timestamp\""),
            None if of_a == Types::TIME || of_b == Types::TIME => {
                error.help("a time is written timestamp '2026-01-31T12:00:00Z'")
            }
            None => error.help("make them one type with cast(… as …)"),
        })
    }

    fn op(&mut self, expr: &Expr) -> Made {
        Ok(match &expr.kind {
            ExprKind::Null => (Op::Constant(Constant::Null), Types::NULL),
            ExprKind::Bool(value) => (Op::Constant(Constant::Bool(*value)), Types::BOOL),
            ExprKind::Int(value) => (Op::Constant(Constant::Int(*value)), Types::NUMBER),
            ExprKind::Float(value) => (Op::Constant(Constant::Float(*value)), Types::NUMBER),
            ExprKind::Text(text) => {
                (Op::Constant(Constant::Text(text.as_str().into())), Types::TEXT)
            }
            ExprKind::Time(since_1970, unit) => {
                (Op::Constant(Constant::Time(*since_1970, *unit)), Types::TIME)
            }
            ExprKind::Column(name) => (Op::Column(self.id(name, expr.at)?), Types::ANY),
            ExprKind::Own(own) => self.own(*own),
            ExprKind::Header(name) => {
                self.headers = true;
                (Op::Header(name.as_str().into()), KAFKA_BYTES)
            }
            ExprKind::Not(of) => (Op::One(self.boxed(of, Types::BOOL, "`not`")?, One::Not), LOGIC),
            ExprKind::Negate(of) => {
                (Op::One(self.boxed(of, Types::NUMBER, "`-`")?, One::Negate), NUMBER)
            }
            ExprKind::And(parts) => (Op::And(self.all(parts, Types::BOOL, "`and`")?), LOGIC),
            ExprKind::Or(parts) => (Op::Or(self.all(parts, Types::BOOL, "`or`")?), LOGIC),
            ExprKind::Arithmetic(how, a, b) => {
                let what = ["`+`", "`-`", "`*`", "`/`", "`%`"][*how as usize];
                let a = self.taking(a, Types::NUMBER, what)?;
                let b = self.taking(b, Types::NUMBER, what)?;
                (Op::Arithmetic(*how, Box::new([a, b])), NUMBER)
            }
            ExprKind::Join(parts) => (Op::Join(self.all(parts, Types::PLAIN, "`||`")?), TEXT),
            ExprKind::Like(of, pattern, negated) => {
                let of = self.boxed(of, Types::TEXT, "`like`")?;
                (Op::One(of, One::Like(Pattern::new(pattern), *negated)), LOGIC)
            }
            ExprKind::Cast(of, to, tries) => {
                let types = [NUMBER, NUMBER, TEXT, LOGIC, Types::TIME.or(Types::NULL)];
                (Op::One(Box::new(self.node(of)?.0), One::Cast(*to, *tries)), types[*to as usize])
            }
            ExprKind::Compare(..) | ExprKind::In(..) | ExprKind::Between(..) | ExprKind::Is(..) => {
                return self.comparison(expr);
            }
            ExprKind::Case(of, whens, otherwise) => {
                return self.case(of.as_deref(), whens, otherwise.as_deref());
            }
            ExprKind::Call(function, arguments) => return self.call(*function, arguments),
        })
    }

    fn id(&mut self, name: &str, at: Span) -> Result<u16, Error> {
        (self.column)(name).map_err(|message| Error::new(self.source, at, message))
    }

    fn own(&mut self, own: Own) -> (Op, Types) {
        self.owns[own as usize] = true;
        let types = match own {
            Own::Topic => Types::TEXT,
            Own::Partition | Own::Offset => Types::NUMBER,
            Own::Timestamp => Types::TIME.or(Types::NULL),
            Own::Key => KAFKA_BYTES,
        };
        (Op::Own(own), types)
    }

    fn comparison(&mut self, expr: &Expr) -> Made {
        let op = match &expr.kind {
            ExprKind::Compare(how, a, b) => {
                let ((left, of_left), (right, of_right)) = (self.node(a)?, self.node(b)?);
                self.comparable((a.at, of_left), (b.at, of_right))?;
                Op::Compare(*how, Box::new([left, right]))
            }
            ExprKind::In(of, list, negated) => {
                let (node, types) = self.node(of)?;
                let one = |compiler: &mut Self, part: &Expr| {
                    let (node, of_part) = compiler.node(part)?;
                    compiler.comparable((of.at, types), (part.at, of_part))?;
                    Ok(node)
                };
                let list = list.iter().map(|part| one(self, part)).collect::<Result<_, Error>>()?;
                Op::In(Box::new(node), list, *negated)
            }
            ExprKind::Between(of, low, high, negated) => {
                let (node, types) = self.node(of)?;
                let ((from, of_from), (to, of_to)) = (self.node(low)?, self.node(high)?);
                self.comparable((of.at, types), (low.at, of_from))?;
                self.comparable((of.at, types), (high.at, of_to))?;
                Op::Between(Box::new([node, from, to]), *negated)
            }
            ExprKind::Is(of, Which::Missing, negated) => {
                let ExprKind::Column(name) = &of.kind else {
                    let error = Error::new(self.source, of.at, "only a column can be missing");
                    return Err(error.help("ask `is null`"));
                };
                Op::Missing(self.id(name, of.at)?, *negated)
            }
            ExprKind::Is(of, which, negated) => {
                let accepted = if *which == Which::Null { Types::ANY } else { Types::BOOL };
                Op::One(self.boxed(of, accepted, "`is`")?, One::Is(*which, *negated))
            }
            _ => Op::Constant(Constant::Null),
        };
        Ok((op, LOGIC))
    }

    fn case(
        &mut self,
        of: Option<&Expr>,
        whens: &[(Expr, Expr)],
        otherwise: Option<&Expr>,
    ) -> Made {
        let of = of.map(|of| Ok((self.node(of)?, of.at))).transpose()?;
        let mut types = Types::NULL;
        let mut nodes = Vec::new();
        for (when, then) in whens {
            let (when_node, of_when) = self.node(when)?;
            match &of {
                None => self.need(when.at, of_when, Types::BOOL, "`when`")?,
                Some(((_, of_case), at)) => {
                    self.comparable((*at, *of_case), (when.at, of_when))?;
                }
            }
            let (then, of_then) = self.node(then)?;
            types = types.or(of_then);
            nodes.push((when_node, then));
        }
        let otherwise = otherwise.map(|otherwise| self.node(otherwise)).transpose()?;
        if let Some((_, of_otherwise)) = &otherwise {
            types = types.or(*of_otherwise);
        }
        let of = of.map(|((node, _), _)| Box::new(node));
        let otherwise = otherwise.map(|(node, _)| Box::new(node));
        Ok((Op::Case(of, nodes.into(), otherwise), types))
    }

    fn call(&mut self, function: Function, arguments: &[Expr]) -> Made {
        let info = function.info();
        let what = format!("`{}`", info.name);
        if function == Function::Convert {
            let linear = functions::units_of(self.source, arguments)?;
            let of = self.boxed(&arguments[0], Types::NUMBER, &what)?;
            return Ok((Op::One(of, One::Convert(linear)), NUMBER));
        }
        let mut nodes = Vec::new();
        let mut all = Vec::new();
        for (index, argument) in arguments.iter().enumerate() {
            let (node, types) = self.node(argument)?;
            self.need(argument.at, types, info.takes(index), &what)?;
            nodes.push(node);
            all.push((argument.at, types));
        }
        let compares = matches!(function, Function::Least | Function::Greatest | Function::Nullif);
        for other in all.iter().skip(1).filter(|_| compares) {
            self.comparable(all[0], *other)?;
        }
        let from = usize::from(function == Function::If);
        let given = all[from..].iter().fold(Types::NULL, |types, (_, other)| types.or(*other));
        let types = match function {
            Function::Nullif => all[0].1.or(Types::NULL),
            _ if info.gives == Types::ANY => given,
            _ => info.gives.or(Types::NULL),
        };
        Ok((Op::Call(function, nodes.into()), types))
    }
}

const LOGIC: Types = Types::BOOL.or(Types::NULL);
const NUMBER: Types = Types::NUMBER.or(Types::NULL);
const TEXT: Types = Types::TEXT.or(Types::NULL);
const KAFKA_BYTES: Types = Types::TEXT.or(Types::BYTES).or(Types::NULL);

impl Node {
    fn is_constant(&self) -> bool {
        let constant = |node: &Node| matches!(node.op, Op::Constant(_));
        let all = |nodes: &[Node]| nodes.iter().all(constant);
        match &self.op {
            Op::Constant(_) | Op::Column(_) | Op::Own(_) | Op::Header(_) | Op::Missing(..) => false,
            Op::One(of, _) => constant(of),
            Op::And(parts) | Op::Or(parts) | Op::Join(parts) | Op::Call(_, parts) => all(parts),
            Op::Compare(_, parts) | Op::Arithmetic(_, parts) => all(&parts[..]),
            Op::Between(parts, _) => all(&parts[..]),
            Op::In(of, parts, _) => constant(of) && all(parts),
            Op::Case(of, whens, otherwise) => {
                let ends = of.iter().chain(otherwise).all(|node| constant(node));
                ends && whens.iter().all(|(when, then)| constant(when) && constant(then))
            }
        }
    }
}

impl Constant {
    #[inline]
    pub(crate) fn value(&self) -> Value<'_> {
        match self {
            Constant::Null => Value::Null,
            Constant::Bool(value) => Value::Bool(*value),
            Constant::Int(value) => Value::Int(*value),
            Constant::Float(value) => Value::Float(*value),
            Constant::Text(text) => Value::Text(Text::Found(text)),
            Constant::Time(since_1970, unit) => Value::Time(*since_1970, *unit),
        }
    }
}

/// A record of which nothing is known, for constants.
struct Nothing;

impl<'r> Row<'r> for Nothing {
    fn column(&self, _id: u16) -> Option<bridge_abi::Value<'r>> {
        None
    }
    fn topic(&self) -> &'r str {
        ""
    }
    fn partition(&self) -> i32 {
        0
    }
    fn offset(&self) -> i64 {
        0
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
