//! What a table's section says of values: those that do not fit, times, decimals, empty text; and
//! which arrays are taken apart.

use jiff::tz::TimeZone;
use schemars::JsonSchema;

use super::path::Step;
use super::{Shape, Written};

/// What happens to a value that its column does not take.
#[derive(serde::Deserialize, JsonSchema, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "lowercase")]
pub enum OnBad {
    /// Its record is rejected.
    #[default]
    Reject,
    /// The column is null; counted.
    Null,
    /// The column has the value's text, in a sink that keeps text; elsewhere the record is
    /// rejected.
    Text,
}

/// What becomes of decimals that nobody declared a column for.
#[derive(serde::Deserialize, JsonSchema, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "lowercase")]
pub enum Decimals {
    /// Decimals; in a column of doubles that is there, only what a double says all of.
    #[default]
    Exact,
    /// The nearest double.
    Double,
    /// Their digits, as text.
    Text,
}

/// What becomes of empty text.
#[derive(serde::Deserialize, JsonSchema, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "lowercase")]
pub enum EmptyText {
    /// Empty text.
    #[default]
    Keep,
    /// Null.
    Null,
}

/// How the times of a column are written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reading {
    /// The column (its name after mapping).
    pub column: String,
    /// How a time is written.
    pub written: Written,
    /// Where local times are read; UTC if not said.
    pub zone: Option<TimeZone>,
}

/// What is said of values.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Values {
    /// What happens to a value that its column does not take.
    pub on_bad: OnBad,
    /// The same for some columns (names after mapping).
    pub on_bad_of: Vec<(String, OnBad)>,
    /// What becomes of decimals.
    pub decimals: Decimals,
    /// What becomes of empty text.
    pub empty_text: EmptyText,
    /// Columns of times about which more is said than their type.
    pub readings: Vec<Reading>,
}

impl Values {
    /// What happens to a value that this column does not take.
    pub fn on_bad(&self, column: &str) -> OnBad {
        let own = self.on_bad_of.iter().find(|(name, _)| name.eq_ignore_ascii_case(column));
        own.map_or(self.on_bad, |(_, own)| *own)
    }
}

/// An element of an array that becomes a column.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pick {
    /// The array's column.
    pub array: String,
    /// From the array on.
    pub steps: Vec<Step>,
    /// The column that the element becomes, before mapping.
    pub field: String,
}

/// An array whose elements become rows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explode {
    /// The array's column.
    pub array: String,
    /// What a record without elements becomes.
    pub empty: EmptyArray,
    /// The column of an element's index, if it is wanted.
    pub index: Option<String>,
}

/// What a record becomes whose array has no elements, or is not there.
#[derive(serde::Deserialize, JsonSchema, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "lowercase")]
pub enum EmptyArray {
    /// One row of the other fields.
    #[default]
    Row,
    /// No row; the record is counted as filtered.
    Skip,
}

/// What becomes of arrays of objects.
#[derive(serde::Deserialize, JsonSchema, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "lowercase")]
pub enum Arrays {
    /// Their JSON, as text.
    #[default]
    Json,
    /// An array for each of their fields.
    Parallel,
}

/// Which arrays are taken apart before transforms see the rows.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Apart {
    /// Stands between the names of nested objects.
    pub separator: String,
    /// Elements that become columns.
    pub picks: Vec<Pick>,
    /// The array whose elements become rows.
    pub explode: Option<Explode>,
    /// What becomes of arrays of objects.
    pub arrays: Arrays,
}

impl Apart {
    /// Whether none is.
    pub fn is_nothing(&self) -> bool {
        self.picks.is_empty() && self.explode.is_none() && self.arrays == Arrays::Json
    }
}

impl Shape {
    /// The fields of the record whose numbers must not go by way of a double: their columns are
    /// declared as decimals, here or for a table.
    pub fn exact_fields(&self) -> Vec<String> {
        let shapes = std::iter::once(self).chain(self.declared.iter().map(|table| &table.shape));
        let columns = shapes.flat_map(|shape| &shape.columns);
        let decimals = columns.filter(|(_, kind)| matches!(kind, super::ColumnType::Decimal(..)));
        let mut fields: Vec<String> = Vec::new();
        for (column, _) in decimals {
            let mapped = self.mapping.iter().filter(|(_, to)| to == column);
            fields.extend(mapped.map(|(from, _)| from.clone()));
            fields.push(column.clone());
        }
        fields.sort();
        fields.dedup();
        fields
    }
}
