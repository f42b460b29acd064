//! Does what the column `do` says, with every function of the SDK: `probe` of the other languages
//! does the same.

use bridge_transform::{
    Column, Init, Output, Record, Table, Topic, Transform, Unit, Value, transform,
};

struct Probe {
    order: Column,
    by_letter: [Column; 10],
    text: Column,
    other: Table,
    alarms: Topic,
    audit: Topic,
}

impl Transform for Probe {
    fn init(init: &mut Init) -> Result<Self, String> {
        init.want_all_columns();
        init.want_key();
        init.want_headers();
        init.want_value();
        let letters = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
        Ok(Probe {
            order: init.column("do"),
            by_letter: letters.map(|name| init.column(name)),
            text: init.column("text"),
            other: init.table("other"),
            alarms: init.topic("alarms"),
            audit: init.topic("audit"),
        })
    }

    fn record(&mut self, record: &Record, out: &mut Output) {
        let [a, b, c, d, e, f, g, h, i, j] = self.by_letter;
        match record.text(self.order).unwrap_or_default() {
            "keep" => out.keep(),
            "keep in" => out.keep_in(self.other),
            "kinds" => out
                .row()
                .set_f64(a, 1.5)
                .set_i64(b, -7)
                .set_bool(c, true)
                .set_timestamp(d, 1_700_000_000_000, Unit::Millis)
                .set_null(e)
                .set_text(f, "grüße")
                .set_symbol(g, "s")
                .set_bytes(h, &[0, 255, 7])
                .set_decimal(i, &[0x04, 0xd2], 2)
                .set_shaped(j, &[2, 2], &[1.0, -2.0, 0.5, 4.0])
                .set_text(self.text, "")
                .done(),
            "patch" => out
                .patch()
                .set_f64(b, 1.0)
                .set_f64(a, 2.0)
                .set_f64(b, 3.0)
                .drop(c)
                .set(d, record.get(j).unwrap_or(Value::Null))
                .table(self.other)
                .done(),
            "row" => out.row().copy(record).drop(b).set_i64(a, 7).table(self.other).done(),
            "last word" => {
                out.keep();
                out.patch().set_f64(a, 8.0).done();
                out.keep_in(self.other);
            }
            "rows" => {
                out.row().set_f64(a, 1.0).done();
                out.keep();
                out.row().set_f64(a, 2.0).set_text(self.text, "zwei").done();
                out.patch().set_f64(a, 3.0).done();
            }
            "reject" => {
                out.row().set_f64(a, 1.0).done();
                out.keep();
                out.reject("so befohlen: größer");
                out.keep();
                out.row().set_f64(a, 1.0).done();
            }
            "meta" => self.meta(record, out),
            "read" => self.read(record, out),
            "names" => {
                for (column, _) in record.columns() {
                    let name = column.name().unwrap_or_default();
                    out.row().set_text(self.text, &name).done();
                }
            }
            "empty row" => out.row().set_null(e).drop(e).set_symbol(g, "").done(),
            "panic" => panic!("told to panic"),
            told => self.emit(told, record, out),
        }
        let _ = h;
    }
}

impl Probe {
    /// Where the record is from, its key, value and headers.
    fn meta(&self, record: &Record, out: &mut Output) {
        let [a, b, c, d, _, f, g, h, ..] = self.by_letter;
        let mut row = out
            .row()
            .set_i64(a, record.offset())
            .set_i64(b, i64::from(record.partition()))
            .set_timestamp(d, record.timestamp_ms(), Unit::Millis)
            .set_bool(c, record.table().is_none());
        if let Some(key) = record.key() {
            row = row.set_bytes(f, key);
        }
        if let Some(value) = record.value() {
            row = row.set_bytes(g, value);
        }
        row.done();
        for header in record.headers() {
            let row = out.row().set_bytes(f, header.name);
            match header.value {
                Some(value) => row.set_bytes(h, value).done(),
                None => row.set_null(h).done(),
            }
        }
    }

    /// Records for topics.
    fn emit(&self, told: &str, record: &Record, out: &mut Output) {
        let [a, _, _, _, _, f, ..] = self.by_letter;
        let text = record.text(f).unwrap_or_default();
        match told {
            "emit" => out
                .emit(self.alarms)
                .key("schlüssel")
                .value(text)
                .header("größe", Some(&[0, 255]))
                .header("f", Some(text.as_bytes()))
                .header("leer", Some(b""))
                .header("null", None)
                .partition(2)
                .timestamp_ms(1_700_000_000_123)
                .done(),
            "tombstone" => {
                out.emit(self.audit).key(record.key().unwrap_or(b"none")).done();
                out.emit(self.alarms).done();
            }
            "send on" => out.emit(self.audit).copy(record).done(),
            "send on changed" => out
                .emit(self.audit)
                .header("zuerst", None)
                .copy(record)
                .key("k")
                .value_format(format_args!("{text}, {text}"))
                .header("zuletzt", Some(b"x"))
                .partition(record.partition())
                .timestamp_ms(-1)
                .done(),
            "emits" => {
                out.emit(self.alarms).value("1").header("a", None).header("b", None).done();
                out.row().set_f64(a, 1.0).done();
                out.patch().set_f64(a, 2.0).done();
                out.emit(self.audit).value("2").header("c", None).done();
                out.row().set_f64(a, 3.0).done();
                out.emit(self.alarms).value("3").done();
            }
            "emit and reject" => {
                out.emit(self.alarms).value("1").done();
                out.row().set_f64(a, 1.0).done();
                out.reject("zurück");
                out.emit(self.alarms).value("2").header("h", Some(b"h")).done();
            }
            "empty emit" => out.emit(self.alarms).key("").value("").header("", Some(b"")).done(),
            "many emits" => {
                out.row().set_f64(a, 7.0).done();
                for index in 0..200 {
                    let value = format_args!("{text}!");
                    let emit = out.emit(self.alarms).key(text).value_format(value);
                    emit.header("h", Some(b"own")).timestamp_ms(index).done();
                }
                let many = out.emit(self.audit);
                (0..150).fold(many, |emit, _| emit.header("m", Some(text.as_bytes()))).done();
            }
            _ => {}
        }
    }

    /// Every kind through its getter, and back.
    fn read(&self, record: &Record, out: &mut Output) {
        let [a, b, c, d, e, f, g, h, i, j] = self.by_letter;
        let (time, unit) = record.timestamp(d).unwrap_or((0, Unit::Nanos));
        let mut row = out
            .row()
            .set_f64(a, record.f64(a).unwrap_or(-1.0) + record.f64(b).unwrap_or(-1.0))
            .set_i64(b, record.i64(b).unwrap_or(-1) + record.i64(a).unwrap_or(100))
            .set_bool(c, !record.bool(c).unwrap_or(false))
            .set_timestamp(d, time + 1, unit)
            .set_bool(e, record.get(e) == Some(Value::Null) && record.get(self.text).is_none())
            .set_symbol(f, record.text(f).unwrap_or_default())
            .set_text(g, record.text(g).unwrap_or_default());
        if let Some(Value::Bytes(bytes)) = record.get(h) {
            row = row.set_bytes(h, bytes);
        }
        if let Some(Value::Decimal { scale, unscaled }) = record.get(i) {
            row = row.set_decimal(i, unscaled, scale + 1);
        }
        if let Some(array) = record.array(j) {
            let shape: Vec<u32> = array.shape().collect();
            let values: Vec<f64> = array.values().map(|value| value * 2.0).collect();
            row = row.set_shaped(j, &shape, &values);
        }
        row.done();
    }
}

transform!(Probe);
