//! Fuel of the modules of `transforms/`: what wasm instructions a record takes, as the sandbox
//! counts them. The same on every machine.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bridge::config::Section;
use bridge::modules;
use bridge::names::Names;
use bridge::observe::TransformMeter;
use bridge::transform::{LoadContext, guest};

use super::bed::{Bed, Rows, Write, batches, said, sensors};
use super::{BATCH_RECORDS, sandbox};

/// A module, its configuration, and records that it has work with.
struct Guest {
    name: &'static str,
    /// Empty for one that comes along.
    module: &'static [u8],
    config: &'static str,
    write: Write,
}

/// In order of their names, as the figures are.
const GUESTS: [Guest; 10] = [
    builtin("convert", "set = { fahrenheit = \"temperature * 9 / 5 + 32\" }"),
    builtin("dedup", "by = [\"sensor\", \"ts\"], window = \"10s\""),
    Guest {
        name: "drop_cold",
        module: modules::DROP_COLD,
        config: "min_celsius = 20.0",
        write: sensors,
    },
    Guest {
        name: "enrich_route",
        module: modules::ENRICH_ROUTE,
        config: "alarm_above = 1000.0",
        write: sensors,
    },
    Guest { write: sandbox::readings, ..builtin("explode", "prefix = \"m_\"") },
    builtin("filter", "where = \"temperature > 20 and site <> 'lab'\""),
    builtin("redact", "hash = [\"sensor\"], key = \"0123456789abcdef\""),
    builtin("route", "rules = [{ where = \"temperature > 1000\", table = \"alarms\" }]"),
    builtin("sample", "rate = 0.5"),
    Guest {
        name: "split_readings",
        module: modules::SPLIT_READINGS,
        config: "prefix = \"m_\"",
        write: sandbox::readings,
    },
];

/// A module that comes along.
const fn builtin(name: &'static str, config: &'static str) -> Guest {
    Guest { name, module: &[], config, write: sensors }
}

/// (module, fuel of a record).
pub(super) fn all() -> Result<Vec<(&'static str, f64)>> {
    let one = |guest: &Guest| {
        let fuel = of(guest).with_context(|| format!("counting the fuel of {}", guest.name))?;
        Ok((guest.name, fuel))
    };
    GUESTS.iter().map(one).collect()
}

fn of(guest: &Guest) -> Result<f64> {
    let text = format!("module = \"{}.wasm\"\nconfig = {{ {} }}\n", guest.name, guest.config);
    let section = Section::new("transform", text.parse().context("reading its section")?);
    let bed = Bed::new("")?;
    let names: Arc<Names> = bed.names();
    let context = LoadContext { names, emits: false, base: ".".into(), cache: None };
    let builtin = modules::builtin(guest.name).map_or(guest.module, |builtin| builtin.wasm);
    let loaded = guest::load_metered(&section, builtin, &context).map_err(said)?;
    let meter = Arc::new(TransformMeter::default());
    let mut transforms = [loaded.instance(Arc::clone(&meter)).map_err(said)?];
    let (mut format, mut rows) = (bed.decoder(), Rows::default());
    // The first batch meets names; the second one is what the others would be.
    let batches = batches(2 * BATCH_RECORDS as u64, BATCH_RECORDS, guest.write);
    let mut before = 0;
    for batch in &batches {
        before = meter.fuel.get();
        rows.decode(&mut *format, batch);
        rows.ensure(batch.len())?;
        rows.transform(&mut transforms, batch)?;
    }
    let fuel = meter.fuel.get() - before;
    ensure!(before > 0 && fuel > 0, "no fuel was counted");
    Ok(fuel as f64 / BATCH_RECORDS as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuel_is_the_same_every_time() {
        assert_eq!(all().expect("modules run"), all().expect("modules run again"));
    }
}
