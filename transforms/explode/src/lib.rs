//! 1:N: a record with arrays becomes a row for each element, a record with several readings a row
//! for each of them. All other columns go along into every row.

mod step;

use std::collections::BTreeMap;

use bridge_transform::{Array, Column, Init, Output, Record, Table, Transform, Value, transform};
use step::{Step, TimeOptions};

/// `config = { arrays = { samples = "value" }, index = "n", time = { column = "ts", step = "10ms" } }`
/// or `config = { readings = ["co2", "humidity"], name = "metric", value = "value" }`
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Column with an array: column that its elements go to.
    #[serde(default)]
    arrays: BTreeMap<String, String>,
    /// Column for the element's number, from 0.
    index: Option<String>,
    time: Option<TimeOptions>,
    /// Columns that are a reading each.
    #[serde(default)]
    readings: Vec<String>,
    /// Or how their names begin; what follows is the reading's name.
    prefix: Option<String>,
    #[serde(default = "name")]
    name: String,
    #[serde(default = "value")]
    value: String,
    /// Where the rows go, if not where the record would have gone.
    table: Option<String>,
}

fn name() -> String {
    "name".to_owned()
}

fn value() -> String {
    "value".to_owned()
}

/// Cells that the rows of one record may have: with what the call holds already, below what the
/// bridge takes of one answer.
const CELLS_MAX: usize = 3 << 16;

enum Explode {
    Arrays(Arrays),
    Readings(Readings),
}

/// Arrays of one length, side by side.
struct Arrays {
    /// (where the array is, where its elements go).
    columns: Vec<(Column, Column)>,
    index: Option<Column>,
    time: Option<Step>,
    table: Option<Table>,
}

/// Readings in columns of their own.
struct Readings {
    prefix: Option<String>,
    /// By column: the reading's name, empty for a column that is none, `None` while it was not
    /// looked at. Asking for a name costs a call, so each is asked for once.
    names: Vec<Option<String>>,
    name: Column,
    value: Column,
    table: Option<Table>,
}

impl Transform for Explode {
    fn init(init: &mut Init) -> Result<Self, String> {
        let options: Options = init.config()?;
        init.want_all_columns();
        let table = options.table.as_ref().map(|table| init.table(table));
        let readings = !options.readings.is_empty() || options.prefix.is_some();
        match (options.arrays.is_empty(), readings) {
            (true, true) => readings_of(init, options, table).map(Explode::Readings),
            (false, false) => {
                let column = |(from, to): (&String, &String)| (init.column(from), init.column(to));
                let columns = options.arrays.iter().map(column).collect();
                let index = options.index.as_ref().map(|index| init.column(index));
                let time = options.time.map(|time| Step::new(init, time)).transpose()?;
                Ok(Explode::Arrays(Arrays { columns, index, time, table }))
            }
            _ => Err("reading config: expected `arrays`, or `readings` or a `prefix`".to_owned()),
        }
    }

    fn record(&mut self, record: &Record, out: &mut Output) {
        let exploded = match self {
            Explode::Arrays(arrays) => arrays.record(record, out),
            Explode::Readings(readings) => readings.record(record, out),
        };
        if let Err(Refused(column, why)) = exploded {
            out.reject(format_args!("column {}: {why}", column.name().unwrap_or_default()));
        }
    }
}

/// Which column is wrong, and how.
struct Refused(Column, &'static str);

impl Arrays {
    fn record(&self, record: &Record, out: &mut Output) -> Result<(), Refused> {
        let Some(length) = self.length(record)? else { return Ok(()) };
        if length.saturating_mul(record.columns().count() + 1) > CELLS_MAX {
            return Err(Refused(self.columns[0].0, "has too many elements for one record"));
        }
        let start = self.time.as_ref().map(|step| step.start(record)).transpose()?;
        for element in 0..length {
            let mut any = false;
            let mut row = out
                .row()
                .copy_if(record, |column| !self.columns.iter().any(|(array, _)| *array == column));
            for (array, to) in &self.columns {
                let Some(array) = array_of(record, *array)? else { continue };
                // By place: an iterator of all values would walk from the start each time. A number
                // that is none is how a missing element is written.
                let bits = array.data().as_chunks::<8>().0.get(element);
                let value = bits.map(|bits| f64::from_le_bytes(*bits));
                if let Some(value) = value.filter(|value| !value.is_nan()) {
                    row = row.set_f64(*to, value);
                    any = true;
                }
            }
            if let Some(index) = self.index {
                row = row.set_i64(index, element as i64);
            }
            if let (Some(step), Some(start)) = (&self.time, start) {
                row = step.set(row, start, element)?;
            }
            row = match self.table {
                Some(table) => row.table(table),
                None => row,
            };
            match any {
                true => row.done(),
                false => row.cancel(),
            }
        }
        Ok(())
    }

    /// The length that all arrays of the record share; none where it has no array.
    fn length(&self, record: &Record) -> Result<Option<usize>, Refused> {
        let mut length = None;
        for (column, _) in &self.columns {
            let Some(array) = array_of(record, *column)? else { continue };
            let own = array.values().len();
            if length.is_some_and(|length| length != own) {
                return Err(Refused(*column, "has another number of elements than the others"));
            }
            length = Some(own);
        }
        Ok(length)
    }
}

fn array_of<'r>(record: &Record<'r>, column: Column) -> Result<Option<Array<'r>>, Refused> {
    match record.get(column) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(array)) if array.dims() == 1 => Ok(Some(array)),
        Some(Value::Array(_)) => Err(Refused(column, "is an array of several dimensions")),
        Some(_) => Err(Refused(column, "is no array of numbers")),
    }
}

fn readings_of(
    init: &mut Init,
    options: Options,
    table: Option<Table>,
) -> Result<Readings, String> {
    if options.index.is_some() || options.time.is_some() {
        return Err("reading config: `index` and `time` are for `arrays`".to_owned());
    }
    let mut names = Vec::new();
    for reading in options.readings {
        let id = usize::from(init.column(&reading).id());
        names.resize(names.len().max(id + 1), None);
        names[id] = Some(reading);
    }
    let (name, value) = (init.column(&options.name), init.column(&options.value));
    let prefix = options.prefix;
    Ok(Readings { prefix, names, name, value, table })
}

impl Readings {
    fn learn(&mut self, column: Column) {
        let index = usize::from(column.id());
        self.names.resize(self.names.len().max(index + 1), None);
        let prefix = &self.prefix;
        self.names[index].get_or_insert_with(|| {
            let Some(prefix) = prefix else { return String::new() };
            let name = column.name().unwrap_or_default();
            name.strip_prefix(prefix).unwrap_or_default().to_owned()
        });
    }

    fn name(&self, column: Column) -> Option<&str> {
        self.names[usize::from(column.id())].as_deref().filter(|name| !name.is_empty())
    }

    fn record(&mut self, record: &Record, out: &mut Output) -> Result<(), Refused> {
        record.columns().for_each(|(column, _)| self.learn(column));
        let readings = record.columns().filter(|(column, _)| self.name(*column).is_some()).count();
        if readings.saturating_mul(record.columns().count() - readings + 2) > CELLS_MAX {
            return Err(Refused(self.value, "would be that of too many readings of one record"));
        }
        for (column, value) in record.columns() {
            let Some(name) = self.name(column) else { continue };
            let value = match value {
                Value::F64(value) => value,
                // Beyond this a double has no digits left for an integer.
                Value::I64(value) if value.unsigned_abs() <= 1 << 53 => value as f64,
                Value::I64(_) => return Err(Refused(column, "is an integer beyond 2^53")),
                Value::Null => continue,
                _ => return Err(Refused(column, "is no number")),
            };
            let row = out.row().copy_if(record, |column| self.name(column).is_none());
            let row = row.set_symbol(self.name, name).set_f64(self.value, value);
            match self.table {
                Some(table) => row.table(table).done(),
                None => row.done(),
            }
        }
        Ok(())
    }
}

transform!(Explode);

#[cfg(test)]
mod tests;
