//! Does what the column `do` says, with every function of the SDK: `probe` of the other languages
//! does the same.

use bridge_transform::{Column, Init, Output, Record, Table, Transform, Unit, Value, transform};

struct Probe {
    order: Column,
    by_letter: [Column; 10],
    text: Column,
    other: Table,
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
            _ => {}
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
