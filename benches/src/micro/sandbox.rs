//! Rows to rows, in the sandbox: records are kept, dropped, given a column, made several of, and
//! sent through a chain of four modules.

use std::io::Write as _;

use anyhow::{Result, ensure};
use bridge::batch::RecordBatch;
use bridge::format::Format;
use bridge::transform::Transform;

use super::Stage;
use super::bed::{Bed, Rows};

/// A chain of modules, and what comes out of a record.
pub(super) struct Sandbox {
    name: &'static str,
    format: Box<dyn Format>,
    transforms: Vec<Box<dyn Transform>>,
    rows: Rows,
    /// The fewest and the most rows of 100 records.
    percent: (usize, usize),
    _bed: Bed,
}

/// A filter and where it cuts: readings have 5 to 35 degrees.
fn drop_cold(min_celsius: i32) -> String {
    step("drop_cold", &format!("min_celsius = {min_celsius}.0"))
}

fn enrich_route() -> String {
    step("enrich_route", "alarm_above = 1000.0")
}

/// The section of the module that adds a column.
pub(super) fn computed_column() -> String {
    enrich_route()
}

fn step(module: &str, config: &str) -> String {
    section(&format!("{module}.wasm"), config)
}

/// A module that comes along, configured by an expression.
fn builtin(name: &str, config: &str) -> String {
    section(&format!("builtin:{name}"), config)
}

fn section(module: &str, config: &str) -> String {
    format!("[[pipeline.bench.transform]]\nmodule = \"{module}\"\nconfig = {{ {config} }}\n")
}

impl Sandbox {
    pub(super) fn keep() -> Result<Sandbox> {
        Sandbox::new("sandbox keep", &[drop_cold(-100)], (100, 100))
    }

    pub(super) fn drop() -> Result<Sandbox> {
        Sandbox::new("sandbox drop", &[drop_cold(100)], (0, 0))
    }

    pub(super) fn computed() -> Result<Sandbox> {
        Sandbox::new("sandbox computed column", &[enrich_route()], (100, 100))
    }

    /// Works on records of [`readings`].
    pub(super) fn several() -> Result<Sandbox> {
        let split = step("split_readings", "prefix = \"m_\"");
        Sandbox::new("sandbox 1:3", &[split], (300, 300))
    }

    pub(super) fn chain() -> Result<Sandbox> {
        let steps = [drop_cold(-100), enrich_route(), drop_cold(20), enrich_route()];
        Sandbox::new("sandbox chain of four", &steps, (45, 55))
    }

    pub(super) fn filter() -> Result<Sandbox> {
        let filter = builtin("filter", "where = \"temperature > 20 and sensor <> 'lab'\"");
        Sandbox::new("sandbox builtin:filter", &[filter], (45, 55))
    }

    pub(super) fn convert() -> Result<Sandbox> {
        let convert = builtin("convert", "set = { fahrenheit = \"temperature * 9 / 5 + 32\" }");
        Sandbox::new("sandbox builtin:convert", &[convert], (100, 100))
    }

    fn new(name: &'static str, steps: &[String], percent: (usize, usize)) -> Result<Sandbox> {
        let bed = Bed::new(&steps.concat())?;
        let (format, transforms) = (bed.decoder(), bed.transforms()?);
        Ok(Sandbox { name, format, transforms, rows: Rows::default(), percent, _bed: bed })
    }
}

/// A record with three readings in columns of their own.
pub(super) fn readings(seq: u64, key: &mut Vec<u8>, value: &mut Vec<u8>) {
    key.clear();
    value.clear();
    let (ts, sensor) = (1_700_000_000_000_000 + seq, seq.wrapping_mul(0x9E37_79B9) % 1_000);
    let written = write!(key, "s-{sensor:05}").and_then(|()| {
        write!(
            value,
            "{{\"ts\":{ts},\"sensor\":\"s-{sensor:05}\",\"m_temperature\":{}.{:02},\
             \"m_humidity\":{}.{},\"m_pressure\":{}.{}}}",
            5 + seq % 30,
            seq % 100,
            20 + seq % 70,
            seq % 10,
            980 + seq % 50,
            seq % 7,
        )
    });
    written.expect("a vector takes any bytes");
}

impl Stage for Sandbox {
    fn name(&self) -> &str {
        self.name
    }

    fn prepare(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows.decode(&mut *self.format, batch);
        self.rows.ensure(batch.len())
    }

    fn work(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows.transform(&mut self.transforms, batch)
    }

    fn settle(&mut self, batch: &RecordBatch) -> Result<()> {
        let (kept, (low, high)) = (self.rows.rows.rows.len() * 100, self.percent);
        let within = (batch.len() * low..=batch.len() * high).contains(&kept);
        ensure!(within, "{} rows of {} records", kept / 100, batch.len());
        self.rows.ensure(kept / 100)
    }
}
