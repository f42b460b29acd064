// Write a transform for `bridge` in AssemblyScript: `transform.ts` beside this file has `init` and
// `record`, which are called from here.
//
//     export function init(start: Init): void { … }
//     export function record(record: Record, out: Output): void { … }
//
// Texts that are read are copies; what else a record shows lies in memory that the next batch writes
// over. A record about which nothing is said is filtered, and counted as such. What throws rejects
// the record that caused it. The contract underneath is ABI.md.
import * as transform from "./transform";

// ---- What crosses: see ABI.md ----

@unmanaged class Batch {
  abi: u16; size: u16; recordStride: u16; cellStride: u16;
  count: u32; records: u32; consumed: u32; flags: u32;
  nowUs: i64; sequence: u64;
  inLen: u32; progress: u32;
}

@unmanaged class Action {
  kind: u8; flags: u8; target: u16; record: u32; ptr: u32; len: u32;
}

/** What a cell holds. */
export enum Kind { Null, Bool, I64, F64, Text, Symbol, Timestamp, Bytes, Decimal, Array }
/** The unit of a timestamp. */
export enum Unit { Seconds, Millis, Micros, Nanos }
/** How much a log line matters. */
export enum Level { Error, Warn, Info, Debug }

/** Interned names: small numbers, from 1 on. */
export type Column = u16;
export type Table = u16;
export type Topic = u16;

const CELL: u32 = 16;
const ACTION: u32 = 16;
const RECORD: u32 = 64;
const HEADER: u32 = 16;
const KEEP: u8 = 1;
const PATCH: u8 = 2;
const ROW: u8 = 3;
const REJECT: u8 = 4;
const EMIT: u8 = 5;
const KEY_NULL: u16 = 1;
const VALUE_NULL: u16 = 2;
const NULL_LEN: u32 = u32.MAX_VALUE;
const WANT_KEY = 1;
const WANT_HEADERS = 2;
const WANT_VALUE = 4;
const WANT_ALL = 8;
const WANT_NAMED = 16;

assert(offsetof<Batch>() == 48 && offsetof<Record>() == RECORD && offsetof<Cell>() == CELL && offsetof<Action>() == ACTION);

// ---- Imports ----

@external("bridge", "column") declare function importColumn(ptr: usize, len: i32): i32;
@external("bridge", "table") declare function importTable(ptr: usize, len: i32): i32;
@external("bridge", "topic") declare function importTopic(ptr: usize, len: i32): i32;
@external("bridge", "name") declare function importName(kind: i32, id: i32, ptr: usize, cap: i32): i32;
@external("bridge", "fail") declare function importFail(ptr: usize, len: i32): void;
@external("bridge", "log") declare function importLog(level: i32, ptr: usize, len: i32): void;
@external("bridge", "metric") declare function importMetric(kind: i32, ptr: usize, len: i32, value: f64): void;

// ---- Names, log, metrics ----

/** The name of a column: a call to the bridge, so ask once a column and not once a record. */
export function columnName(column: Column): string {
  const name = new ArrayBuffer(1024);
  const len = importName(0, column, changetype<usize>(name), 1024);
  return String.UTF8.decodeUnsafe(changetype<usize>(name), max(0, min(len, 1024)));
}

/** A line in the bridge's log, limited in rate. */
export function log(level: Level, line: string): void {
  const text = String.UTF8.encode(line);
  importLog(level, changetype<usize>(text), text.byteLength);
}

/** Adds to a counter of /metrics. */
export function count(name: string, by: f64): void {
  const text = String.UTF8.encode(name);
  importMetric(0, changetype<usize>(text), text.byteLength, by);
}

/** Sets a gauge of /metrics. */
export function gauge(name: string, value: f64): void {
  const text = String.UTF8.encode(name);
  importMetric(1, changetype<usize>(text), text.byteLength, value);
}

// ---- The start ----

/** What a transform is given at its start: its options, and names. */
export class Init {
  wants: i32 = 0;
  refused: string | null = null;
  private asked: string[] = [];
  private options: Map<string, string>;

  constructor(json: string) {
    this.options = new Options(json).read();
  }

  /** Refuses to start, and says why; the first refusal counts. */
  refuse(why: string): void {
    if (this.refused == null) this.refused = why;
  }

  /** The value of an option as JSON; null where it is not given. */
  json(key: string): string | null {
    this.asked.push(key);
    return this.options.has(key) ? this.options.get(key) : null;
  }

  /** A number that must be given. */
  f64(key: string): f64 {
    if (this.json(key) == null) this.refuse("reading config: missing field `" + key + "`");
    return this.f64Or(key, 0);
  }

  /** A number; `otherwise` where it is not given. */
  f64Or(key: string, otherwise: f64): f64 {
    const json = this.json(key);
    if (json == null) return otherwise;
    const first = json.charCodeAt(0);
    if (first != 0x2d && (first < 0x30 || first > 0x39)) {
      this.refuse("reading config: `" + key + "` is not a number");
      return otherwise;
    }
    return parseFloat(json);
  }

  /** Text that must be given. */
  text(key: string): string {
    if (this.json(key) == null) this.refuse("reading config: missing field `" + key + "`");
    return this.textOr(key, "");
  }

  /** Text; `otherwise` where it is not given. */
  textOr(key: string, otherwise: string): string {
    const json = this.json(key);
    if (json == null) return otherwise;
    if (json.charCodeAt(0) == 0x22) return new Options(json).text();
    this.refuse("reading config: `" + key + "` is not text");
    return otherwise;
  }

  /** True or false; `otherwise` where it is not given. */
  boolOr(key: string, otherwise: bool): bool {
    const json = this.json(key);
    if (json == null) return otherwise;
    if (json != "true" && json != "false") this.refuse("reading config: `" + key + "` is neither true nor false");
    return json == "true";
  }

  /**
   * A column to read or to write. Unless `wantAllColumns` is asked for, records carry exactly the
   * columns that were named here. A name that the bridge refuses stops the start.
   */
  column(name: string): Column {
    this.wants |= WANT_NAMED;
    const text = String.UTF8.encode(name);
    return this.named(importColumn(changetype<usize>(text), text.byteLength), name);
  }

  /** A table to send rows to. */
  table(name: string): Table {
    const text = String.UTF8.encode(name);
    return this.named(importTable(changetype<usize>(text), text.byteLength), name);
  }

  /** A topic, to compare with a record's or to emit to. */
  topic(name: string): Topic {
    const text = String.UTF8.encode(name);
    return this.named(importTopic(changetype<usize>(text), text.byteLength), name);
  }

  /** Records carry all their columns; their key's bytes; their headers; their value's raw bytes. */
  wantAllColumns(): void { this.wants |= WANT_ALL; }
  wantKey(): void { this.wants |= WANT_KEY; }
  wantHeaders(): void { this.wants |= WANT_HEADERS; }
  wantValue(): void { this.wants |= WANT_VALUE; }

  /** After `init`: an option that nobody asked for is a mistake. */
  check(): void {
    const keys = this.options.keys();
    for (let i = 0; i < keys.length; i++) {
      if (!this.asked.includes(keys[i])) this.refuse("reading config: unknown field `" + keys[i] + "`");
    }
  }

  private named(id: i32, name: string): u16 {
    if (id <= 0) this.refuse("the bridge refuses the name `" + name + "`");
    return <u16>max(id, 0);
  }
}

/** Reads a JSON object whose values stay JSON. */
class Options {
  private at: i32 = 0;
  constructor(private json: string) {}

  read(): Map<string, string> {
    const options = new Map<string, string>();
    this.skip();
    this.at++;
    for (this.skip(); this.peek() == 0x22; this.skip()) {
      const key = this.text();
      this.skip();
      this.at++;
      this.skip();
      const start = this.at;
      this.value();
      options.set(key, this.json.substring(start, this.at).trimEnd());
      this.skip();
      if (this.peek() == 0x2c) this.at++;
    }
    return options;
  }

  /** The string that begins here. */
  text(): string {
    const start = this.at++;
    let text = "";
    for (; this.at < this.json.length && this.peek() != 0x22; this.at++) {
      let c = this.peek();
      if (c == 0x5c) {
        this.at++;
        c = this.peek();
        if (c == 0x75) {
          c = <i32>parseInt(this.json.substr(this.at + 1, 4), 16);
          this.at += 4;
        } else {
          const index = "bfnrt".indexOf(String.fromCharCode(c));
          if (index >= 0) c = "\b\f\n\r\t".charCodeAt(index);
        }
      }
      text += String.fromCharCode(c);
    }
    this.at++;
    assert(this.at > start + 1);
    return text;
  }

  private value(): void {
    let depth = 0;
    while (this.at < this.json.length) {
      const c = this.peek();
      if (c == 0x22) this.text();
      else if (depth == 0 && (c == 0x2c || c == 0x7d || c == 0x5d)) return;
      else {
        if (c == 0x7b || c == 0x5b) depth++;
        if (c == 0x7d || c == 0x5d) depth--;
        this.at++;
      }
    }
  }

  private peek(): i32 { return this.at < this.json.length ? this.json.charCodeAt(this.at) : 0; }
  private skip(): void { while (this.peek() == 0x20 || (this.peek() >= 9 && this.peek() <= 13)) this.at++; }
}

// ---- A record ----

let cellStride: u32 = CELL;

/** One record of the batch. */
@unmanaged export class Record {
  /** Kafka's offset. */
  offset: i64;
  /** Kafka's timestamp, milliseconds since 1970; -1 for none. */
  timestampMs: i64;
  /** The number of the partition in its topic. */
  partition: i32;
  /** The topic that it was read from. */
  topic: Topic;
  flags: u16;
  cells: u32;
  /** How many cells came along. */
  cellCount: u16;
  /** The table that a transform before this one chose, or 0. */
  table: Table;
  keyPtr: u32; keyLen: u32;
  valuePtr: u32; valueLen: u32;
  headersPtr: u32; headerCount: u32;
  source: u32; reserved: u32;

  /** The column's cell: null for one that is missing, of `Kind.Null` for one that is null. */
  get(column: Column): Cell | null {
    let cell = this.cells;
    for (let left = this.cellCount; left > 0; left--, cell += cellStride) {
      if (load<u16>(cell) == column) return changetype<Cell>(cell);
    }
    return null;
  }

  /** The cell at a place below `cellCount`. */
  cell(index: i32): Cell {
    assert(<u32>index < this.cellCount, "a cell outside its record");
    return changetype<Cell>(this.cells + index * cellStride);
  }

  /** Whether the column is a number: `f64` reads it then, integers turned into `f64`. */
  isNumber(column: Column): bool {
    const cell = this.get(column);
    return cell != null && cell.isNumber;
  }

  /** A number; NaN for a column that is missing, null or of another kind. */
  f64(column: Column): f64 {
    const cell = this.get(column);
    return cell == null ? NaN : cell.f64;
  }

  /** Text or symbol, copied; null for a column that is missing, null or of another kind. */
  text(column: Column): string | null {
    const cell = this.get(column);
    return cell == null ? null : cell.text;
  }

  /** The key, copied, if it was asked for; null where it is null. */
  key(): ArrayBuffer | null {
    return this.keyPtr == 0 || (this.flags & KEY_NULL) != 0 ? null : copied(this.keyPtr, this.keyLen);
  }

  /** The raw value, copied, if it was asked for; null where it is null. */
  value(): ArrayBuffer | null {
    return this.valuePtr == 0 || (this.flags & VALUE_NULL) != 0 ? null : copied(this.valuePtr, this.valueLen);
  }

  /** The name of the header at a place below `headerCount`. */
  headerName(index: i32): ArrayBuffer {
    const header = this.headersPtr + index * 16;
    return copied(load<u32>(header), load<u32>(header, 4));
  }

  /** Its value; null where it is null. */
  headerValue(index: i32): ArrayBuffer | null {
    const header = this.headersPtr + index * 16, len = load<u32>(header, 12);
    return len == NULL_LEN ? null : copied(load<u32>(header, 8), len);
  }
}

/** One column of a record. */
@unmanaged export class Cell {
  column: Column;
  kind: u8;
  /** The unit of a timestamp, the scale of a decimal. */
  flags: u8;
  /** Bytes behind the pointer. */
  len: u32;
  /** The value, or a pointer. */
  bits: u64;

  get isNull(): bool { return this.kind == Kind.Null; }
  get isNumber(): bool { return this.kind == Kind.F64 || this.kind == Kind.I64; }
  /** A number; NaN for another kind. */
  get f64(): f64 {
    if (this.kind == Kind.F64) return reinterpret<f64>(this.bits);
    return this.kind == Kind.I64 ? <f64><i64>this.bits : NaN;
  }
  /** An integer, or a timestamp's number; 0 for another kind. */
  get i64(): i64 { return this.kind == Kind.I64 || this.kind == Kind.Timestamp ? <i64>this.bits : 0; }
  get bool(): bool { return this.kind == Kind.Bool && this.bits == 1; }
  /** Text or symbol, copied; null for another kind. */
  get text(): string | null {
    if (this.kind != Kind.Text && this.kind != Kind.Symbol) return null;
    return String.UTF8.decodeUnsafe(<usize>this.bits, this.len);
  }
  /** Bytes, or the unscaled number of a decimal, copied; null for another kind. */
  get bytes(): ArrayBuffer | null {
    return this.kind == Kind.Bytes || this.kind == Kind.Decimal ? copied(<u32>this.bits, this.len) : null;
  }
  /** An array's shape, copied; empty for another kind. */
  get shape(): StaticArray<u32> {
    const dims = this.kind == Kind.Array ? load<u32>(<usize>this.bits) : 0;
    const shape = new StaticArray<u32>(dims);
    memory.copy(changetype<usize>(shape), <usize>this.bits + 4, dims << 2);
    return shape;
  }
  /** An array's values row by row, copied; empty for another kind. */
  get values(): StaticArray<f64> {
    if (this.kind != Kind.Array) return new StaticArray<f64>(0);
    const head = (4 + 4 * load<u32>(<usize>this.bits) + 7) & ~7;
    const values = new StaticArray<f64>((this.len - head) >> 3);
    memory.copy(changetype<usize>(values), <usize>this.bits + head, this.len - head);
    return values;
  }
}

function copied(ptr: usize, len: u32): ArrayBuffer {
  const copy = new ArrayBuffer(len);
  memory.copy(changetype<usize>(copy), ptr, len);
  return copy;
}

// ---- What becomes of it ----

/** Where a call ends, to be continued: far below the bridge's own limits. */
const FULL: u32 = 1 << 16;
const BYTES_FULL: u32 = 1 << 20;
/** Set in the bits of a cell that points into `bytes`: the low half is a position there. */
const OWN: u64 = 1 << 32;

/**
 * Bytes that grow; they move then, so what points into them is a position until the batch's end. The
 * collector knows nothing of them: they are the bridge's to read, and cost no bookkeeping.
 */
@unmanaged class Buffer {
  ptr: usize;
  cap: u32;
  len: u32 = 0;

  constructor(cap: u32) {
    this.ptr = heap.alloc(cap);
    this.cap = cap;
  }

  /** The position of so many new bytes. */
  @inline take(len: u32): u32 {
    const at = this.len;
    if (len > this.cap - at) this.grow(len);
    this.len = at + len;
    return at;
  }

  @inline at(position: u32): usize { return this.ptr + position; }

  grow(len: u32): void {
    this.cap = max(this.len + len, 2 * this.cap);
    this.ptr = heap.realloc(this.ptr, this.cap);
  }
}

/** Takes what becomes of the records. The last word on a record counts; a reject stands. */
@unmanaged export class Output {
  actions: Buffer = new Buffer(16384);
  cells: Buffer = new Buffer(16384);
  bytes: Buffer = new Buffer(16384);
  /** Records for topics and their headers; addresses in them are as `place` says. */
  emits: Buffer = new Buffer(RECORD);
  headers: Buffer = new Buffer(HEADER);
  /** The bytes that these point to: the bridge copies all of them. */
  pointed: u32 = 0;
  private input: u32 = 0;
  private inputLen: u32 = 0;
  /** The current record; its first action, and its keep, patch or reject: positions, or -1. */
  private record: u32 = 0;
  private first: u32 = 0;
  private said: u32 = u32.MAX_VALUE;
  private rejected: bool = false;
  /** The patch or row that columns are set in, and its highest column so far. */
  private open: u32 = u32.MAX_VALUE;
  private highest: u16 = 0;

  /** The record goes on unchanged. */
  keep(): void { this.keepIn(0); }

  /** The record goes on unchanged, to this table. */
  keepIn(table: Table): void {
    this.act(KEEP, table, 0, 0);
    this.open = u32.MAX_VALUE;
  }

  /** The record goes on with the columns changed that are set next. */
  patch(): Output { return this.draft(PATCH); }

  /**
   * A new row of the record, with the columns that are set next and no others. As often as wanted;
   * the record itself only goes on if it is kept or patched as well.
   */
  row(): Output { return this.draft(ROW); }

  /**
   * A record for a Kafka topic, as it is to stand there: key and value are null until they are set. As
   * often as wanted, and beside all else that is said; the record itself only goes on if it is kept or
   * patched as well. It needs the sink `kafka`; without it the record is refused.
   */
  emit(topic: Topic): Emit {
    const emit = emitting;
    emit.at = u32.MAX_VALUE;
    if (this.rejected) return emit;
    emit.at = this.emits.take(RECORD);
    const record = emit.record;
    memory.fill(changetype<usize>(record), 0, RECORD);
    record.timestampMs = -1;
    record.partition = -1;
    record.flags = KEY_NULL | VALUE_NULL;
    const action = this.actions.at(this.actions.take(ACTION));
    store<u64>(action, <u64>EMIT | <u64>topic << 16 | <u64>this.record << 32);
    store<u64>(action, <u64>emit.at | <u64>RECORD << 32, 8);
    return emit;
  }

  /** The record is refused, with its rows and what was emitted: it goes to the dead letters, with the reason. */
  reject(reason: string): void {
    const len = <u32>String.UTF8.byteLength(reason), at = this.utf8(reason, len);
    this.actions.len = this.first;
    this.said = u32.MAX_VALUE;
    this.rejected = false;
    this.act(REJECT, 0, at, len);
    this.open = emitting.at = u32.MAX_VALUE;
    this.rejected = true;
  }

  /** The patch or row that was begun last goes to this table. */
  toTable(table: Table): Output {
    if (this.open != u32.MAX_VALUE) changetype<Action>(this.actions.at(this.open)).target = table;
    return this;
  }

  /** Takes a column over as a cell holds it; nothing that it points to is copied. */
  set(column: Column, cell: Cell): Output { return this.put(column, cell.kind, cell.flags, cell.len, cell.bits); }
  setF64(column: Column, value: f64): Output { return this.put(column, <u8>Kind.F64, 0, 0, reinterpret<u64>(value)); }
  setI64(column: Column, value: i64): Output { return this.put(column, <u8>Kind.I64, 0, 0, value); }
  setBool(column: Column, value: bool): Output { return this.put(column, <u8>Kind.Bool, 0, 0, value ? 1 : 0); }
  setNull(column: Column): Output { return this.put(column, <u8>Kind.Null, 0, 0, 0); }

  setTimestamp(column: Column, since1970: i64, unit: Unit): Output {
    return this.put(column, <u8>Kind.Timestamp, <u8>unit, 0, since1970);
  }

  setText(column: Column, value: string): Output { return this.setString(column, <u8>Kind.Text, value); }
  /** Text with few distinct values. */
  setSymbol(column: Column, value: string): Output { return this.setString(column, <u8>Kind.Symbol, value); }
  setBytes(column: Column, value: ArrayBuffer): Output { return this.setBuffer(column, <u8>Kind.Bytes, 0, value); }

  /** `unscaled` (big-endian two's complement, 1 to 32 bytes) times ten to the power of `-scale`. */
  setDecimal(column: Column, unscaled: ArrayBuffer, scale: u8): Output {
    return this.setBuffer(column, <u8>Kind.Decimal, scale, unscaled);
  }

  /** An array of this shape, its values row by row; with another number of values it is rejected. */
  setArray(column: Column, shape: StaticArray<u32>, values: StaticArray<f64>): Output {
    let product = <u32>(shape.length > 0);
    for (let i = 0; i < shape.length; i++) product *= shape[i];
    if (shape.length == 0 || product != <u32>values.length) {
      this.reject(values.length.toString() + " values in an array of " + shape.toString());
      return this;
    }
    const dims = <u32>shape.length, head = (4 + 4 * dims + 7) & ~7, len = head + 8 * product;
    const at = this.bytes.take(len), to = this.bytes.at(at);
    memory.fill(to, 0, head);
    store<u32>(to, dims);
    memory.copy(to + 4, changetype<usize>(shape), dims << 2);
    memory.copy(to + head, changetype<usize>(values), product << 3);
    return this.put(column, <u8>Kind.Array, 0, len, OWN | at);
  }

  /** Leaves a column out, as if the record had never had it. */
  drop(column: Column): Output {
    if (this.open == u32.MAX_VALUE) return this;
    const action = changetype<Action>(this.actions.at(this.open));
    if (action.kind == PATCH) return this.put(column, <u8>Kind.Null, 1, 0, 0);
    const end = this.cells.at(this.cells.len);
    for (let cell = this.cells.at(action.ptr); cell < end; cell += CELL) {
      if (load<u16>(cell) != column) continue;
      memory.copy(cell, cell + CELL, end - cell - CELL);
      this.cells.len -= CELL;
      action.len--;
      break;
    }
    return this;
  }

  private act(kind: u8, target: Table, ptr: u32, len: u32): void {
    this.open = u32.MAX_VALUE;
    if (this.rejected) return;
    let at = kind == ROW ? u32.MAX_VALUE : this.said;
    if (at == u32.MAX_VALUE) {
      at = this.actions.take(ACTION);
      if (kind != ROW) this.said = at;
    }
    // kind, flags, target and record; ptr and len.
    const action = this.actions.at(at);
    store<u64>(action, <u64>kind | <u64>target << 16 | <u64>this.record << 32);
    store<u64>(action, <u64>ptr | <u64>len << 32, 8);
    this.open = at;
  }

  private draft(kind: u8): Output {
    this.act(kind, 0, this.cells.len, 0);
    this.highest = 0;
    return this;
  }

  utf8(text: string, len: u32): u32 {
    const at = this.bytes.take(len);
    String.UTF8.encodeUnsafe(changetype<usize>(text), text.length, this.bytes.at(at));
    return at;
  }

  private setString(column: Column, kind: u8, text: string): Output {
    const len = <u32>String.UTF8.byteLength(text);
    return this.put(column, kind, 0, len, len == 0 ? 0 : OWN | this.utf8(text, len));
  }

  private setBuffer(column: Column, kind: u8, flags: u8, bytes: ArrayBuffer): Output {
    const len = <u32>bytes.byteLength, at = this.bytes.take(len);
    memory.copy(this.bytes.at(at), changetype<usize>(bytes), len);
    return this.put(column, kind, flags, len, len == 0 ? 0 : OWN | at);
  }

  /** Adds a cell, or replaces the one that its column has. */
  private put(column: Column, kind: u8, flags: u8, len: u32, bits: u64): Output {
    if (this.open == u32.MAX_VALUE) return this;
    const action = changetype<Action>(this.actions.at(this.open));
    let cell: usize = 0;
    if (column > this.highest) {
      this.highest = column;
    } else {
      const end = this.cells.at(this.cells.len);
      for (let known = this.cells.at(action.ptr); known < end; known += CELL) {
        if (load<u16>(known) == column) { cell = known; break; }
      }
    }
    if (cell == 0) {
      cell = this.cells.at(this.cells.take(CELL));
      action.len++;
    }
    store<u64>(cell, <u64>column | <u64>kind << 16 | <u64>flags << 24 | <u64>len << 32);
    store<u64>(cell, bits, 8);
    return this;
  }

  /** Bytes of a record for a topic, copied: where they lie. Never 0, which is a part that was not asked for. */
  place(ptr: usize, len: u32): u32 {
    this.pointed += len;
    const at = this.bytes.take(len);
    memory.copy(this.bytes.at(at), ptr, len);
    return this.placeOf(at);
  }

  /** The same of text. */
  placeText(text: string, len: u32): u32 {
    this.pointed += len;
    return this.placeOf(this.utf8(text, len));
  }

  /** A position in `bytes`, counted from the input's end: what is below is an address in the input. */
  private placeOf(position: u32): u32 { return this.input + this.inputLen + position; }

  /** The address of such a place. */
  private placed(place: u32, bytes: u32): u32 {
    const offset = place - this.input;
    return place == 0 || offset < this.inputLen ? place : bytes + (offset - this.inputLen);
  }

  beginBatch(input: u32, inputLen: u32): void {
    this.actions.len = this.cells.len = this.bytes.len = this.emits.len = this.headers.len = this.pointed = 0;
    this.input = input;
    this.inputLen = inputLen;
  }

  beginRecord(record: u32): void {
    this.record = record;
    this.first = this.actions.len;
    this.said = this.open = emitting.at = u32.MAX_VALUE;
    this.rejected = false;
  }

  isFull(): bool {
    return this.actions.len >= FULL * ACTION || this.cells.len >= FULL * CELL || this.bytes.len >= BYTES_FULL ||
      this.headers.len >= FULL * HEADER || this.pointed >= BYTES_FULL;
  }

  /** Positions become addresses: nothing moves any more. */
  settle(): void {
    if (this.cells.len == 0 && this.bytes.len == 0 && this.emits.len == 0) return;
    const cells = <u32>this.cells.at(0), bytes = <u32>this.bytes.at(0);
    const emits = <u32>this.emits.at(0), headers = <u32>this.headers.at(0);
    for (let at = this.actions.at(0), end = this.actions.at(this.actions.len); at < end; at += ACTION) {
      const action = changetype<Action>(at);
      if (action.kind == PATCH || action.kind == ROW) action.ptr += cells;
      else if (action.kind == REJECT) action.ptr += bytes;
      else if (action.kind == EMIT) action.ptr += emits;
    }
    for (let at = this.emits.at(0), end = this.emits.at(this.emits.len); at < end; at += RECORD) {
      const record = changetype<Record>(at);
      record.keyPtr = this.placed(record.keyPtr, bytes);
      record.valuePtr = this.placed(record.valuePtr, bytes);
      record.headersPtr += headers;
    }
    for (let at = this.headers.at(0), end = this.headers.at(this.headers.len); at < end; at += HEADER) {
      store<u32>(at, this.placed(load<u32>(at), bytes));
      store<u32>(at, this.placed(load<u32>(at, 8), bytes), 8);
    }
    if (this.bytes.len == 0) return;
    for (let at = this.cells.at(0), end = this.cells.at(this.cells.len); at < end; at += CELL) {
      const kind = load<u8>(at, 2);
      if (load<u32>(at, 12) == 1 && kind >= <u8>Kind.Text && kind != <u8>Kind.Timestamp) {
        store<u64>(at, <u64>bytes + load<u32>(at, 8), 8);
      }
    }
  }
}

/** The record for a topic that was begun last; from `Output.emit`. Bytes that are set are copied. */
@unmanaged export class Emit {
  /** Its position in `emits`; -1 after a reject. */
  at: u32 = u32.MAX_VALUE;

  /**
   * Takes key, value, headers and timestamp over from a record; no bytes are copied. What is set afterwards
   * replaces them, headers are added. Ask for all three (`wantKey`, `wantValue`, `wantHeaders`): without key
   * or value the record is refused, for a null in their place would be a tombstone. The partition is not
   * taken over, for the other topic may have fewer.
   */
  copy(from: Record): Emit {
    if (this.at == u32.MAX_VALUE) return this;
    const to = this.record;
    to.flags = from.flags & (KEY_NULL | VALUE_NULL);
    to.timestampMs = from.timestampMs;
    to.keyPtr = from.keyPtr;
    to.keyLen = from.keyLen;
    to.valuePtr = from.valuePtr;
    to.valueLen = from.valueLen;
    output.pointed += from.keyLen + from.valueLen;
    for (let header: usize = from.headersPtr, left = from.headerCount; left > 0; left--, header += HEADER) {
      const len = load<u32>(header, 12);
      output.pointed += load<u32>(header, 4) + (len == NULL_LEN ? 0 : len);
      this.add(load<u64>(header), load<u64>(header, 8));
    }
    return this;
  }

  key(bytes: ArrayBuffer | null): Emit {
    if (this.at == u32.MAX_VALUE) return this;
    const len = bytes == null ? 0 : <u32>bytes.byteLength;
    return this.setKey(bytes == null ? 0 : output.place(changetype<usize>(bytes), len), len);
  }

  keyText(text: string): Emit {
    if (this.at == u32.MAX_VALUE) return this;
    const len = <u32>String.UTF8.byteLength(text);
    return this.setKey(output.placeText(text, len), len);
  }

  /** Null is a tombstone. */
  value(bytes: ArrayBuffer | null): Emit {
    if (this.at == u32.MAX_VALUE) return this;
    const len = bytes == null ? 0 : <u32>bytes.byteLength;
    return this.setValue(bytes == null ? 0 : output.place(changetype<usize>(bytes), len), len);
  }

  valueText(text: string): Emit {
    if (this.at == u32.MAX_VALUE) return this;
    const len = <u32>String.UTF8.byteLength(text);
    return this.setValue(output.placeText(text, len), len);
  }

  /** One more header. */
  header(name: string, value: ArrayBuffer | null): Emit {
    if (this.at == u32.MAX_VALUE) return this;
    const nameLen = <u32>String.UTF8.byteLength(name), at = output.placeText(name, nameLen);
    const len = value == null ? NULL_LEN : <u32>value.byteLength;
    const valueAt = value == null ? 0 : output.place(changetype<usize>(value), len);
    this.add(<u64>at | <u64>nameLen << 32, <u64>valueAt | <u64>len << 32);
    return this;
  }

  /** Without it the partition is chosen by the key. */
  partition(partition: i32): Emit {
    if (this.at != u32.MAX_VALUE) this.record.partition = partition;
    return this;
  }

  /** Milliseconds since 1970; without it the time of writing. */
  timestampMs(since1970: i64): Emit {
    if (this.at != u32.MAX_VALUE) this.record.timestampMs = since1970;
    return this;
  }

  get record(): Record { return changetype<Record>(output.emits.at(this.at)); }

  private setKey(place: u32, len: u32): Emit {
    const record = this.record;
    record.flags = (record.flags & VALUE_NULL) | (place == 0 ? KEY_NULL : 0);
    record.keyPtr = place;
    record.keyLen = len;
    return this;
  }

  private setValue(place: u32, len: u32): Emit {
    const record = this.record;
    record.flags = (record.flags & KEY_NULL) | (place == 0 ? VALUE_NULL : 0);
    record.valuePtr = place;
    record.valueLen = len;
    return this;
  }

  /** Name and value with their lengths. The headers of the record begun last are the last ones. */
  private add(name: u64, value: u64): void {
    const at = output.headers.take(HEADER), header = output.headers.at(at), record = this.record;
    if (record.headerCount++ == 0) record.headersPtr = at;
    store<u64>(header, name);
    store<u64>(header, value, 8);
  }
}

// ---- Exports ----

// The arena is reachable from here until the next one: an address in a number keeps nothing alive. What
// is unmanaged lives until it is freed.
let arena = new ArrayBuffer(0);
const output = new Output();
const emitting = new Emit();

export function bridge_abi(): i32 { return 1; }

export function bridge_alloc(len: i32): usize {
  // A block of the runtime is 16-aligned. What is too large is refused here, for `new` would trap.
  if (len < 0 || len > 1 << 29) return 0;
  if (len > arena.byteLength) arena = new ArrayBuffer(len);
  return changetype<usize>(arena);
}

export function bridge_init(ptr: usize, len: i32): i32 {
  const start = new Init(String.UTF8.decodeUnsafe(ptr, len));
  transform.init(start);
  if (start.refused == null) start.check();
  const refused = start.refused;
  if (refused == null) return start.wants;
  const why = String.UTF8.encode(refused);
  importFail(changetype<usize>(why), why.byteLength);
  return -1;
}

export function bridge_batch(ptr: usize): u64 {
  const batch = changetype<Batch>(ptr), out = output, count = batch.count;
  cellStride = batch.cellStride;
  out.beginBatch(<u32>ptr, batch.inLen);
  let record: usize = batch.records;
  for (let index: u32 = 0; index < count; index++, record += batch.recordStride) {
    batch.progress = index;
    out.beginRecord(index);
    transform.record(changetype<Record>(record), out);
    if (out.isFull()) {
      batch.consumed = index + 1;
      break;
    }
  }
  out.settle();
  return <u64>out.actions.at(0) << 32 | <u64>(out.actions.len / ACTION);
}
