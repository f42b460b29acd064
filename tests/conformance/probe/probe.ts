// Does what the column `do` says, with every function of the SDK: see probe.rs.
import { Column, Init, Kind, Output, Record, Table, Topic, Unit, columnName } from "./bridge";

let order: Column, a: Column, b: Column, c: Column, d: Column, e: Column;
let f: Column, g: Column, h: Column, i: Column, j: Column, text: Column;
let other: Table, alarms: Topic, audit: Topic;

export function init(start: Init): void {
  start.wantAllColumns();
  start.wantKey();
  start.wantHeaders();
  start.wantValue();
  order = start.column("do");
  a = start.column("a");
  b = start.column("b");
  c = start.column("c");
  d = start.column("d");
  e = start.column("e");
  f = start.column("f");
  g = start.column("g");
  h = start.column("h");
  i = start.column("i");
  j = start.column("j");
  text = start.column("text");
  other = start.table("other");
  alarms = start.topic("alarms");
  audit = start.topic("audit");
}

function bytes(values: u8[]): ArrayBuffer {
  const buffer = new Uint8Array(values.length);
  buffer.set(values);
  return buffer.buffer;
}

export function record(record: Record, out: Output): void {
  const told = record.text(order);
  if (told == "keep") {
    out.keep();
  } else if (told == "keep in") {
    out.keepIn(other);
  } else if (told == "kinds") {
    out.row().setF64(a, 1.5).setI64(b, -7).setBool(c, true).setTimestamp(d, 1700000000000, Unit.Millis)
      .setNull(e).setText(f, "grüße").setSymbol(g, "s").setBytes(h, bytes([0, 255, 7]))
      .setDecimal(i, bytes([0x04, 0xd2]), 2).setArray(j, [2, 2], [1, -2, 0.5, 4]).setText(text, "");
  } else if (told == "patch") {
    out.patch().setF64(b, 1).setF64(a, 2).setF64(b, 3).drop(c).set(d, record.get(j)!).toTable(other);
  } else if (told == "row") {
    out.row();
    for (let n = 0; n < <i32>record.cellCount; n++) out.set(record.cell(n).column, record.cell(n));
    out.drop(b).setI64(a, 7).toTable(other);
  } else if (told == "last word") {
    out.keep();
    out.patch().setF64(a, 8);
    out.keepIn(other);
  } else if (told == "rows") {
    out.row().setF64(a, 1);
    out.keep();
    out.row().setF64(a, 2).setText(text, "zwei");
    out.patch().setF64(a, 3);
  } else if (told == "reject") {
    out.row().setF64(a, 1);
    out.keep();
    out.reject("so befohlen: größer");
    out.keep();
    out.row().setF64(a, 1);
  } else if (told == "meta") {
    meta(record, out);
  } else if (told == "read") {
    read(record, out);
  } else if (told == "names") {
    for (let n = 0; n < <i32>record.cellCount; n++) out.row().setText(text, columnName(record.cell(n).column));
  } else if (told == "empty row") {
    out.row().setNull(e).drop(e).setSymbol(g, "");
  } else if (told == "panic") {
    throw new Error("told to panic");
  } else if (told != null) {
    emit(told, record, out);
  }
}

/** Records for topics. */
function emit(told: string, record: Record, out: Output): void {
  if (told == "emit") {
    const text = record.text(f)!;
    out.emit(alarms).keyText("schlüssel").valueText(text).header("größe", bytes([0, 255]))
      .header("f", String.UTF8.encode(text)).header("leer", bytes([])).header("null", null)
      .partition(2).timestampMs(1700000000123);
  } else if (told == "tombstone") {
    const key = record.key();
    out.emit(audit).valueText("taken back").value(null).key(key == null ? String.UTF8.encode("none") : key);
    out.emit(alarms);
  } else if (told == "send on") {
    out.emit(audit).copy(record);
  } else if (told == "send on changed") {
    const text = record.text(f)!;
    out.emit(audit).header("zuerst", null).copy(record).key(String.UTF8.encode("k"))
      .valueText(text + ", " + text).header("zuletzt", String.UTF8.encode("x"))
      .partition(record.partition).timestampMs(-1);
  } else if (told == "emits") {
    out.emit(alarms).valueText("1").header("a", null).header("b", null);
    out.row().setF64(a, 1);
    out.patch();
    const second = out.emit(audit).header("c", null);
    out.setF64(a, 2);
    second.valueText("2");
    out.row().setF64(a, 3);
    out.emit(alarms).valueText("3");
  } else if (told == "emit and reject") {
    out.emit(alarms).valueText("1");
    out.row().setF64(a, 1);
    out.reject("zurück");
    out.emit(alarms).valueText("2").header("h", String.UTF8.encode("h"));
  } else if (told == "empty emit") {
    out.emit(alarms).keyText("").value(bytes([])).header("", bytes([]));
  } else if (told == "many emits") {
    const text = record.text(f)!;
    out.row();
    for (let n = 0; n < 200; n++) {
      out.emit(alarms).keyText(text).valueText(text + "!").header("h", String.UTF8.encode("own")).timestampMs(n);
    }
    const many = out.emit(audit);
    for (let n = 0; n < 150; n++) many.header("m", String.UTF8.encode(text));
    out.setF64(a, 7);
  }
}

/** Where the record is from, its key, value and headers. */
function meta(record: Record, out: Output): void {
  out.row().setI64(a, record.offset).setI64(b, record.partition)
    .setTimestamp(d, record.timestampMs, Unit.Millis).setBool(c, record.table == 0);
  const key = record.key(), value = record.value();
  if (key != null) out.setBytes(f, key);
  if (value != null) out.setBytes(g, value);
  for (let n: u32 = 0; n < record.headerCount; n++) {
    out.row().setBytes(f, record.headerName(n));
    const value = record.headerValue(n);
    if (value == null) out.setNull(h);
    else out.setBytes(h, value);
  }
}

/** Every kind through its getter, and back. */
function read(record: Record, out: Output): void {
  const time = record.get(d)!, empty = record.get(e);
  const n: i64 = record.get(a)!.kind == Kind.I64 ? record.get(a)!.i64 : 100;
  out.row().setF64(a, record.f64(a) + record.f64(b)).setI64(b, record.get(b)!.i64 + n)
    .setBool(c, !record.get(c)!.bool).setTimestamp(d, time.i64 + 1, <Unit>time.flags)
    .setBool(e, empty != null && empty.isNull && record.get(text) == null)
    .setSymbol(f, record.text(f)!).setText(g, record.text(g)!)
    .setBytes(h, record.get(h)!.bytes!).setDecimal(i, record.get(i)!.bytes!, record.get(i)!.flags + 1);
  const values = record.get(j)!.values;
  for (let n = 0; n < values.length; n++) values[n] *= 2;
  out.setArray(j, record.get(j)!.shape, values);
}
