//! A program over one record. Null stands for "unknown": what is computed from it is null, `and`
//! and `or` follow SQL's three values. Operators look at their parts from left to right and stop
//! as soon as the rest cannot matter.

use std::cmp::Ordering;

use crate::ast::{Arithmetic, Comparison, Own, Which};
use crate::compile::{Node, One, Op};
use crate::error::{Failure, Why};
use crate::number;
use crate::types::Types;
use crate::value::{Row, Scratch, Value};

type Result<T> = std::result::Result<T, Failure>;

impl Comparison {
    #[inline]
    fn holds(self, order: Ordering) -> bool {
        match self {
            Comparison::Equal => order.is_eq(),
            Comparison::NotEqual => order.is_ne(),
            Comparison::Less => order.is_lt(),
            Comparison::LessEqual => order.is_le(),
            Comparison::Greater => order.is_gt(),
            Comparison::GreaterEqual => order.is_ge(),
        }
    }
}

/// The value of a truth value that may be unknown.
fn logic<'r>(value: Option<bool>) -> Value<'r> {
    value.map_or(Value::Null, Value::Bool)
}

fn name_of(how: Arithmetic) -> &'static str {
    ["`+`", "`-`", "`*`", "`/`", "`%`"][how as usize]
}

impl Node {
    #[inline]
    pub(crate) fn fail<T>(&self, why: Why) -> Result<T> {
        Err(Failure { at: self.at, why })
    }

    /// This value is of a type that is not taken.
    #[cold]
    pub(crate) fn refuse<T>(
        &self,
        what: &'static str,
        accepted: Types,
        got: &Value<'_>,
    ) -> Result<T> {
        self.fail(Why::Takes { what, accepted, got: got.types() })
    }

    pub(crate) fn value<'r, R: Row<'r>>(
        &'r self,
        row: &R,
        scratch: &mut Scratch,
    ) -> Result<Value<'r>> {
        match &self.op {
            Op::Constant(constant) => Ok(constant.value()),
            Op::Column(id) => Ok(row.column(*id).map_or(Value::Null, Value::of)),
            Op::Own(own) => Ok(own_value(*own, row)),
            Op::Header(name) => Ok(Value::of_bytes(row.header(name))),
            Op::Compare(how, parts) => {
                let [a, b] = &**parts;
                let (a, b) = (a.value(row, scratch)?, b.value(row, scratch)?);
                let order = self.compare(&a, &b, scratch)?;
                Ok(logic(order.map(|order| how.holds(order))))
            }
            Op::Arithmetic(how, parts) => {
                let [a, b] = &**parts;
                let (left, right) = (a.value(row, scratch)?, b.value(row, scratch)?);
                self.arithmetic(*how, (a, left), (b, right))
            }
            Op::And(parts) => self.chain(parts, false, "`and`", row, scratch),
            Op::Or(parts) => self.chain(parts, true, "`or`", row, scratch),
            Op::One(of, one) => self.one(one, of, row, scratch),
            Op::Missing(id, negated) => Ok(Value::Bool(row.column(*id).is_none() != *negated)),
            Op::In(of, list, negated) => self.is_in((of, list, *negated), row, scratch),
            Op::Between(parts, negated) => self.is_between((parts, *negated), row, scratch),
            Op::Case(of, whens, otherwise) => {
                self.case((of.as_deref(), whens, otherwise.as_deref()), row, scratch)
            }
            Op::Join(parts) => self.join(parts, true, row, scratch),
            Op::Call(function, arguments) => self.call(*function, arguments, row, scratch),
        }
    }

    /// An operator on one part.
    fn one<'r, R: Row<'r>>(
        &'r self,
        one: &'r One,
        of: &'r Node,
        row: &R,
        scratch: &mut Scratch,
    ) -> Result<Value<'r>> {
        let value = of.value(row, scratch)?;
        let answer = match (one, value) {
            (One::Is(which, negated), value) => {
                let is = match (which, value) {
                    (Which::Null | Which::Missing, value) => value == Value::Null,
                    (which, Value::Bool(value)) => value == (*which == Which::True),
                    (_, Value::Null) => false,
                    (_, other) => return of.refuse("`is`", Types::BOOL, &other),
                };
                Ok(Value::Bool(is != *negated))
            }
            (_, Value::Null) => Ok(Value::Null),
            (One::Not, Value::Bool(value)) => Ok(Value::Bool(!value)),
            (One::Not, other) => return of.refuse("`not`", Types::BOOL, &other),
            (One::Negate, Value::Int(value)) => {
                value.checked_neg().map(Value::Int).ok_or(Why::Overflow)
            }
            (One::Negate, Value::Float(value)) => Ok(Value::Float(-value)),
            (One::Negate, other) => return of.refuse("`-`", Types::NUMBER, &other),
            (One::Like(pattern, negated), Value::Text(text)) => {
                Ok(Value::Bool(pattern.matches(scratch.text(&text)) != *negated))
            }
            (One::Like(..), other) => return of.refuse("`like`", Types::TEXT, &other),
            (One::Cast(to, tries), value) => match crate::call::cast(value, *to, scratch) {
                Err(_) if *tries => Ok(Value::Null),
                cast => cast,
            },
            (One::Convert(linear), value) => match value.float() {
                Some(value) => number::finite(linear.of(value)),
                None => return of.refuse("`convert`", Types::NUMBER, &value),
            },
        };
        answer.or_else(|why| self.fail(why))
    }

    /// True, false or unknown.
    pub(crate) fn truth<'r, R: Row<'r>>(
        &'r self,
        what: &'static str,
        row: &R,
        scratch: &mut Scratch,
    ) -> Result<Option<bool>> {
        match self.value(row, scratch)? {
            Value::Bool(value) => Ok(Some(value)),
            Value::Null => Ok(None),
            other => self.refuse(what, Types::BOOL, &other),
        }
    }

    /// The order of two values, unknown where one is null.
    #[inline]
    pub(crate) fn compare(
        &self,
        a: &Value<'_>,
        b: &Value<'_>,
        scratch: &Scratch,
    ) -> Result<Option<Ordering>> {
        if matches!(a, Value::Null) || matches!(b, Value::Null) {
            return Ok(None);
        }
        scratch.compare(a, b).map(Some).or_else(|why| self.fail(why))
    }

    /// `and` ends at the first false, `or` at the first true.
    fn chain<'r, R: Row<'r>>(
        &'r self,
        parts: &'r [Node],
        ends: bool,
        what: &'static str,
        row: &R,
        scratch: &mut Scratch,
    ) -> Result<Value<'r>> {
        let mut result = Some(!ends);
        for part in parts {
            match part.truth(what, row, scratch)? {
                Some(value) if value == ends => return Ok(Value::Bool(ends)),
                Some(_) => {}
                None => result = None,
            }
        }
        Ok(logic(result))
    }

    #[inline]
    fn arithmetic<'r>(
        &self,
        how: Arithmetic,
        (a, left): (&Node, Value<'r>),
        (b, right): (&Node, Value<'r>),
    ) -> Result<Value<'r>> {
        let result = match (&left, &right) {
            (Value::Float(left), Value::Float(right)) => number::arithmetic(how, *left, *right),
            (Value::Int(left), Value::Int(right)) => number::of_integers(how, *left, *right),
            _ => {
                // What is no number is told of, also beside a null.
                for (node, value) in [(a, &left), (b, &right)] {
                    if value.float().is_none() && *value != Value::Null {
                        return node.refuse(name_of(how), Types::NUMBER, value);
                    }
                }
                match (left.float(), right.float()) {
                    (Some(left), Some(right)) => number::arithmetic(how, left, right),
                    _ => return Ok(Value::Null),
                }
            }
        };
        result.or_else(|why| self.fail(why))
    }

    fn is_in<'r, R: Row<'r>>(
        &'r self,
        (of, list, negated): (&'r Node, &'r [Node], bool),
        row: &R,
        scratch: &mut Scratch,
    ) -> Result<Value<'r>> {
        let value = of.value(row, scratch)?;
        let mut found = Some(false);
        for part in list {
            let other = part.value(row, scratch)?;
            match self.compare(&value, &other, scratch)? {
                Some(Ordering::Equal) => return Ok(Value::Bool(!negated)),
                Some(_) => {}
                None => found = None,
            }
        }
        Ok(logic(found.map(|found| found != negated)))
    }

    fn is_between<'r, R: Row<'r>>(
        &'r self,
        (parts, negated): (&'r [Node; 3], bool),
        row: &R,
        scratch: &mut Scratch,
    ) -> Result<Value<'r>> {
        let [of, low, high] = parts;
        let value = of.value(row, scratch)?;
        let (low, high) = (low.value(row, scratch)?, high.value(row, scratch)?);
        let above = self.compare(&value, &low, scratch)?.map(Ordering::is_ge);
        let below = self.compare(&value, &high, scratch)?.map(Ordering::is_le);
        let both = match (above, below) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        };
        Ok(logic(both.map(|both| both != negated)))
    }

    fn case<'r, R: Row<'r>>(
        &'r self,
        (of, whens, otherwise): (Option<&'r Node>, &'r [(Node, Node)], Option<&'r Node>),
        row: &R,
        scratch: &mut Scratch,
    ) -> Result<Value<'r>> {
        let of = of.map(|of| of.value(row, scratch)).transpose()?;
        for (when, then) in whens {
            let is = match &of {
                None => when.truth("`when`", row, scratch)? == Some(true),
                Some(of) => {
                    let value = when.value(row, scratch)?;
                    when.compare(of, &value, scratch)? == Some(Ordering::Equal)
                }
            };
            if is {
                return then.value(row, scratch);
            }
        }
        otherwise.map_or(Ok(Value::Null), |otherwise| otherwise.value(row, scratch))
    }
}

fn own_value<'r, R: Row<'r>>(own: Own, row: &R) -> Value<'r> {
    match own {
        Own::Topic => Value::found(row.topic()),
        Own::Partition => Value::Int(i64::from(row.partition())),
        Own::Offset => Value::Int(row.offset()),
        Own::Timestamp => match row.timestamp_ms() {
            -1 => Value::Null,
            timestamp_ms => Value::Time(timestamp_ms, bridge_abi::Unit::Millis),
        },
        Own::Key => Value::of_bytes(row.key()),
    }
}
