//! Write a transform for `bridge` in Zig: a struct with `init` and `record`, named in `bridge.module`.
//!
//!     const bridge = @import("bridge.zig");
//!     pub const panic = bridge.panic;
//!     comptime { bridge.module(DropCold); }
//!
//! Texts, bytes and arrays of a record lie in memory that the next batch writes over: copy what is
//! to be kept. A record about which nothing is said is filtered, and counted as such. A panic rejects
//! the record that caused it. The contract underneath is ABI.md.
const std = @import("std");

pub const abi = 1;

// ---- What crosses: see ABI.md ----

const Batch = extern struct {
    abi: u16,
    size: u16,
    record_stride: u16,
    cell_stride: u16,
    count: u32,
    records: u32,
    consumed: u32,
    flags: u32,
    now_us: i64,
    sequence: u64,
    in_len: u32,
    progress: u32,
};

const HeaderFields = extern struct { name: u32, name_len: u32, value: u32, value_len: u32 };

const Action = extern struct { kind: u8, flags: u8 = 0, target: u16, record: u32, ptr: u32, len: u32 };

comptime {
    std.debug.assert(@sizeOf(Batch) == 48 and @sizeOf(Record) == 64);
    std.debug.assert(@sizeOf(Cell) == 16 and @sizeOf(Action) == 16 and @sizeOf(HeaderFields) == 16);
}

/// What a cell holds. A bridge to come may know more.
pub const Kind = enum(u8) { null, bool, i64, f64, text, symbol, timestamp, bytes, decimal, array, _ };
pub const Unit = enum(u8) { seconds, millis, micros, nanos, _ };
pub const Level = enum(i32) { err, warn, info, debug };

const keep_action = 1;
const patch_action = 2;
const row_action = 3;
const reject_action = 4;
const emit_action = 5;

const key_null = 1;
const value_null = 2;
const null_len = std.math.maxInt(u32);

const wants = struct {
    const key = 1;
    const headers = 2;
    const value = 4;
    const all = 8;
    const named = 16;
};

fn at(comptime T: type, address: u32) T {
    return @ptrFromInt(address);
}

fn slice(comptime T: type, address: u32, len: u32) []const T {
    if (len == 0) return &.{};
    return at([*]const T, address)[0..len];
}

// ---- Imports ----

const imports = struct {
    extern "bridge" fn column(ptr: [*]const u8, len: usize) i32;
    extern "bridge" fn table(ptr: [*]const u8, len: usize) i32;
    extern "bridge" fn topic(ptr: [*]const u8, len: usize) i32;
    extern "bridge" fn name(kind: i32, id: i32, ptr: [*]u8, cap: usize) i32;
    extern "bridge" fn fail(ptr: [*]const u8, len: usize) void;
    extern "bridge" fn log(level: i32, ptr: [*]const u8, len: usize) void;
    extern "bridge" fn metric(kind: i32, ptr: [*]const u8, len: usize, value: f64) void;
};

/// Memory for what a transform learns: `bridge.allocator.dupe(u8, text)`.
pub const allocator = std.heap.wasm_allocator;

/// Tells the bridge what a panic says. Its place is in the bridge's backtrace.
/// To stand in the root file: `pub const panic = bridge.panic;`
pub const panic = std.debug.FullPanic(struct {
    fn panic(message: []const u8, _: ?usize) noreturn {
        imports.fail(message.ptr, message.len);
        @trap();
    }
}.panic);

/// A line in the bridge's log, limited in rate.
pub fn log(level: Level, line: []const u8) void {
    imports.log(@backingInt(level), line.ptr, line.len);
}

/// Adds to a counter of /metrics.
pub fn count(name: []const u8, by: f64) void {
    imports.metric(0, name.ptr, name.len, by);
}

/// Sets a gauge of /metrics.
pub fn gauge(name: []const u8, value: f64) void {
    imports.metric(1, name.ptr, name.len, value);
}

// ---- Names: small numbers, from 1 on ----

pub const Column = enum(u16) {
    none = 0,
    _,

    /// The column's name, in memory of its own: ask once a column, not once a record.
    pub fn name(column: Column) []const u8 {
        var room: [1024]u8 = undefined;
        const len = imports.name(0, @backingInt(column), &room, room.len);
        const known = room[0..@intCast(@min(@max(len, 0), room.len))];
        return allocator.dupe(u8, known) catch @panic("out of memory");
    }
};
pub const Table = enum(u16) { none = 0, _ };
pub const Topic = enum(u16) { none = 0, _ };

// ---- The start ----

/// Why a transform does not start; `init.refuse` says it in words.
pub const Refused = error{Refused};

/// What a transform is given at its start.
pub const Init = struct {
    json: []const u8,
    wants: i32 = 0,
    refused: bool = false,

    /// Refuses to start, and says why; the first refusal counts.
    pub fn refuse(init: *Init, comptime format: []const u8, args: anytype) Refused {
        if (!init.refused) {
            const why = std.fmt.allocPrint(allocator, format, args) catch "out of memory";
            imports.fail(why.ptr, why.len);
        }
        init.refused = true;
        return error.Refused;
    }

    /// The options under `config` of the configuration, as a struct. Fields with a default need not
    /// be given; a key that the struct does not have is refused.
    pub fn config(init: *Init, comptime Options: type) Refused!Options {
        const text = if (init.json.len == 0) "{}" else init.json;
        const root = std.json.parseFromSliceLeaky(std.json.Value, allocator, text, .{}) catch |err|
            return init.refuse("reading config: {t}", .{err});
        if (root != .object) return init.refuse("reading config: it is no table", .{});
        const names = comptime std.meta.fieldNames(Options);
        for (root.object.keys()) |key| {
            const known = inline for (names) |name| {
                if (std.mem.eql(u8, name, key)) break true;
            } else false;
            if (!known) return init.refuse("reading config: unknown field `{s}`", .{key});
        }
        inline for (names) |name| {
            if (root.object.get(name)) |value| {
                // The parser would take a list of numbers for text, too.
                const is_text = @FieldType(Options, name) == []const u8;
                if (is_text and value != .string) return init.refuse("reading config: `{s}` is not text", .{name});
            } else if (!hasDefault(Options, name)) {
                return init.refuse("reading config: missing field `{s}`", .{name});
            }
        }
        return std.json.parseFromValueLeaky(Options, allocator, root, .{}) catch |err|
            return init.refuse("reading config: {t}", .{err});
    }

    /// A column to read or to write. Unless `wantAllColumns` is asked for, records carry exactly the
    /// columns that were named here. A name that the bridge refuses stops the start.
    pub fn column(init: *Init, text: []const u8) Column {
        init.wants |= wants.named;
        return @fromBackingInt(@intCast(init.named(imports.column(text.ptr, text.len), text)));
    }

    /// A table to send rows to.
    pub fn table(init: *Init, text: []const u8) Table {
        return @fromBackingInt(@intCast(init.named(imports.table(text.ptr, text.len), text)));
    }

    /// A topic, to compare with a record's or to emit to.
    pub fn topic(init: *Init, text: []const u8) Topic {
        return @fromBackingInt(@intCast(init.named(imports.topic(text.ptr, text.len), text)));
    }

    /// Records carry all their columns.
    pub fn wantAllColumns(init: *Init) void {
        init.wants |= wants.all;
    }

    /// Records carry their key's bytes.
    pub fn wantKey(init: *Init) void {
        init.wants |= wants.key;
    }

    /// Records carry their headers.
    pub fn wantHeaders(init: *Init) void {
        init.wants |= wants.headers;
    }

    /// Records carry their value's raw bytes.
    pub fn wantValue(init: *Init) void {
        init.wants |= wants.value;
    }

    fn named(init: *Init, id: i32, text: []const u8) u16 {
        if (id > 0) return @intCast(id);
        init.refuse("the bridge refuses the name `{s}`", .{text}) catch {};
        return 0;
    }
};

// ---- A record ----

var cell_stride: u32 = @sizeOf(Cell);

/// One record of the batch. Its fields may be read; columns are read by its functions.
pub const Record = extern struct {
    /// Kafka's offset.
    offset: i64,
    /// Kafka's timestamp, milliseconds since 1970; -1 for none.
    timestamp_ms: i64,
    /// The number of the partition in its topic.
    partition: i32,
    /// The topic that it was read from.
    topic: Topic,
    flags: u16,
    cells_at: u32,
    cell_count: u16,
    /// The table that a transform before this one chose.
    table: Table,
    key_at: u32,
    key_len: u32,
    value_at: u32,
    value_len: u32,
    headers_at: u32,
    header_count: u32,
    source: u32,
    reserved: u32,

    /// A number; integers are turned into `f64`. Null for a column that is missing, null or of
    /// another kind, as with all of these.
    pub fn float(record: *const Record, column: Column) ?f64 {
        return (record.get(column) orelse return null).float();
    }

    /// An integer.
    pub fn int(record: *const Record, column: Column) ?i64 {
        return (record.get(column) orelse return null).int();
    }

    /// True or false.
    pub fn boolean(record: *const Record, column: Column) ?bool {
        return (record.get(column) orelse return null).boolean();
    }

    /// Text or symbol.
    pub fn text(record: *const Record, column: Column) ?[]const u8 {
        return (record.get(column) orelse return null).text();
    }

    /// The column's cell: null for one that is missing, of kind `.null` for one that is null.
    pub fn get(record: *const Record, column: Column) ?*const Cell {
        var all = record.cells();
        while (all.next()) |cell| if (cell.column == column) return cell;
        return null;
    }

    /// Walks all cells that came along.
    pub fn cells(record: *const Record) Cells {
        return .{ .at = record.cells_at, .left = record.cell_count };
    }

    /// The key, if it was asked for and is not null.
    pub fn key(record: *const Record) ?[]const u8 {
        if (record.key_at == 0 or record.flags & key_null != 0) return null;
        return slice(u8, record.key_at, record.key_len);
    }

    /// The raw value, if it was asked for and is not null.
    pub fn value(record: *const Record) ?[]const u8 {
        if (record.value_at == 0 or record.flags & value_null != 0) return null;
        return slice(u8, record.value_at, record.value_len);
    }

    /// The header at a place below `header_count`.
    pub fn header(record: *const Record, index: u32) Header {
        const fields = slice(HeaderFields, record.headers_at, record.header_count)[index];
        const null_value = fields.value_len == null_len;
        return .{
            .name = slice(u8, fields.name, fields.name_len),
            .value = if (null_value) null else slice(u8, fields.value, fields.value_len),
        };
    }
};

pub const Header = struct { name: []const u8, value: ?[]const u8 };
pub const Decimal = struct { unscaled: []const u8, scale: u8 };
pub const Timestamp = struct { since_1970: i64, unit: Unit };
pub const Array = struct { shape: []const u32, values: []const f64 };

/// The cells of a record, one after the other.
pub const Cells = struct {
    at: u32,
    left: u16,

    pub fn next(cells: *Cells) ?*const Cell {
        if (cells.left == 0) return null;
        const cell = at(*const Cell, cells.at);
        cells.at +%= cell_stride;
        cells.left -= 1;
        return cell;
    }
};

/// One column of a record, or of what is made of it.
pub const Cell = extern struct {
    column: Column,
    kind: Kind,
    flags: u8 = 0,
    len: u32 = 0,
    bits: u64 = 0,

    pub fn float(cell: *const Cell) ?f64 {
        return switch (cell.kind) {
            .f64 => @bitCast(cell.bits),
            .i64 => @floatFromInt(@as(i64, @bitCast(cell.bits))),
            else => null,
        };
    }

    pub fn int(cell: *const Cell) ?i64 {
        return if (cell.kind == .i64) @bitCast(cell.bits) else null;
    }

    pub fn boolean(cell: *const Cell) ?bool {
        return if (cell.kind == .bool) cell.bits == 1 else null;
    }

    pub fn text(cell: *const Cell) ?[]const u8 {
        return if (cell.kind == .text or cell.kind == .symbol) cell.pointed() else null;
    }

    pub fn bytes(cell: *const Cell) ?[]const u8 {
        return if (cell.kind == .bytes) cell.pointed() else null;
    }

    pub fn timestamp(cell: *const Cell) ?Timestamp {
        if (cell.kind != .timestamp) return null;
        return .{ .since_1970 = @bitCast(cell.bits), .unit = @fromBackingInt(@intCast(cell.flags)) };
    }

    /// `unscaled` (big-endian two's complement) times ten to the power of `-scale`.
    pub fn decimal(cell: *const Cell) ?Decimal {
        return if (cell.kind == .decimal) .{ .unscaled = cell.pointed(), .scale = cell.flags } else null;
    }

    /// The array's shape, and its values row by row.
    pub fn array(cell: *const Cell) ?Array {
        if (cell.kind != .array) return null;
        const start: u32 = @truncate(cell.bits);
        const dims = at(*const u32, start).*;
        const head = std.mem.alignForward(u32, 4 + 4 * dims, 8);
        return .{
            .shape = slice(u32, start + 4, dims),
            .values = slice(f64, start + head, (cell.len - head) / 8),
        };
    }

    fn pointed(cell: *const Cell) []const u8 {
        return slice(u8, @truncate(cell.bits), cell.len);
    }
};

// ---- What becomes of it ----

/// Where a call ends, to be continued: far below the bridge's own limits.
const full = 1 << 16;
const bytes_full = 1 << 20;

/// Set in the bits of a cell that points into `bytes`: the low half is a position there.
const own: u64 = 1 << 32;

/// Takes what becomes of the records. The last word on a record counts; a reject stands. Its buffers
/// grow and move while a batch runs, so pointers into them are positions until the end.
pub const Output = struct {
    actions: std.ArrayList(Action) = .empty,
    cells: std.ArrayList(Cell) = .empty,
    bytes: std.ArrayList(u8) = .empty,
    /// The current record; its first action, its keep, patch or reject, and the patch or row that
    /// columns are set in.
    record: u32 = 0,
    first: usize = 0,
    said: ?usize = null,
    open: ?usize = null,
    rejected: bool = false,
    /// The highest column so far of what is open.
    highest: u16 = 0,
    /// Where the input lies: text that is a part of it is not copied.
    input: u32 = 0,
    input_len: u32 = 0,
    /// Records for topics and their headers. An address in them is one of the input, or, counted
    /// from the input's end, a position in `bytes`.
    emits: std.ArrayList(Record) = .empty,
    headers: std.ArrayList(HeaderFields) = .empty,
    /// The bytes that these point to: the bridge copies all of them.
    pointed: usize = 0,

    /// The record goes on unchanged.
    pub fn keep(out: *Output) void {
        out.keepIn(.none);
    }

    /// The record goes on unchanged, to this table.
    pub fn keepIn(out: *Output, table: Table) void {
        _ = out.act(keep_action, table, 0, 0);
    }

    /// The record goes on with the columns changed that are set next.
    pub fn patch(out: *Output) *Output {
        return out.draft(patch_action);
    }

    /// A new row of the record, with the columns that are set next and no others. As often as
    /// wanted; the record itself only goes on if it is kept or patched as well.
    pub fn row(out: *Output) *Output {
        return out.draft(row_action);
    }

    /// A record for a Kafka topic, as it is to stand there: key and value are null until they are set.
    /// As often as wanted, and beside all else that is said; the record itself only goes on if it is
    /// kept or patched as well. It needs the sink `kafka`; without it the record is refused.
    pub fn emit(out: *Output, topic: Topic) Emit {
        if (out.rejected) return .{ .out = out, .index = null };
        const index: u32 = @intCast(out.emits.items.len);
        var fields = std.mem.zeroes(Record);
        fields.timestamp_ms = -1;
        fields.partition = -1;
        fields.flags = key_null | value_null;
        out.emits.append(allocator, fields) catch @panic("out of memory");
        out.actions.append(allocator, .{
            .kind = emit_action,
            .target = @backingInt(topic),
            .record = out.record,
            .ptr = index,
            .len = @sizeOf(Record),
        }) catch @panic("out of memory");
        return .{ .out = out, .index = index };
    }

    /// The record is refused, with its rows and what was emitted: it goes to the dead letters, with
    /// the reason.
    pub fn reject(out: *Output, comptime reason: []const u8, args: anytype) void {
        const start = out.bytes.items.len;
        out.bytes.print(allocator, reason, args) catch @panic("out of memory");
        out.actions.shrinkRetainingCapacity(out.first);
        out.said = null;
        out.rejected = false;
        _ = out.act(reject_action, .none, start, out.bytes.items.len - start);
        out.rejected = true;
    }

    /// The patch or row that was begun last goes to this table.
    pub fn toTable(out: *Output, table: Table) *Output {
        if (out.open) |open| out.actions.items[open].target = @backingInt(table);
        return out;
    }

    /// Takes a column over as a cell holds it.
    pub fn set(out: *Output, column: Column, cell: *const Cell) *Output {
        var copy = cell.*;
        copy.column = column;
        return out.put(copy);
    }

    pub fn setFloat(out: *Output, column: Column, value: f64) *Output {
        return out.put(.{ .column = column, .kind = .f64, .bits = @bitCast(value) });
    }

    pub fn setInt(out: *Output, column: Column, value: i64) *Output {
        return out.put(.{ .column = column, .kind = .i64, .bits = @bitCast(value) });
    }

    pub fn setBool(out: *Output, column: Column, value: bool) *Output {
        return out.put(.{ .column = column, .kind = .bool, .bits = @intFromBool(value) });
    }

    pub fn setTimestamp(out: *Output, column: Column, since_1970: i64, unit: Unit) *Output {
        const bits: u64 = @bitCast(since_1970);
        return out.put(.{ .column = column, .kind = .timestamp, .flags = @backingInt(unit), .bits = bits });
    }

    pub fn setNull(out: *Output, column: Column) *Output {
        return out.put(.{ .column = column, .kind = .null });
    }

    /// Text that is a part of the record is not copied.
    pub fn setText(out: *Output, column: Column, value: []const u8) *Output {
        return out.pointing(column, .text, 0, value);
    }

    /// Text with few distinct values.
    pub fn setSymbol(out: *Output, column: Column, value: []const u8) *Output {
        return out.pointing(column, .symbol, 0, value);
    }

    /// Formatted text, without an allocation of its own.
    pub fn setFormat(out: *Output, column: Column, comptime text: []const u8, args: anytype) *Output {
        const start = out.bytes.items.len;
        out.bytes.print(allocator, text, args) catch @panic("out of memory");
        const len: u32 = @intCast(out.bytes.items.len - start);
        const bits = if (len == 0) 0 else own | start;
        return out.put(.{ .column = column, .kind = .text, .len = len, .bits = bits });
    }

    pub fn setBytes(out: *Output, column: Column, value: []const u8) *Output {
        return out.pointing(column, .bytes, 0, value);
    }

    /// `unscaled` (1 to 32 bytes, big-endian two's complement) times ten to the power of `-scale`.
    pub fn setDecimal(out: *Output, column: Column, value: Decimal) *Output {
        return out.pointing(column, .decimal, value.scale, value.unscaled);
    }

    /// An array, its values row by row. Where their number is not the shape's product the record is
    /// rejected.
    pub fn setArray(out: *Output, column: Column, value: Array) *Output {
        var product: usize = @intFromBool(value.shape.len > 0);
        for (value.shape) |len| product *= len;
        if (product != value.values.len or product == 0) {
            out.reject("{d} values in an array of {any}", .{ value.values.len, value.shape });
            return out;
        }
        const start = out.bytes.items.len;
        const dims: u32 = @intCast(value.shape.len);
        out.append(std.mem.asBytes(&dims));
        out.append(std.mem.sliceAsBytes(value.shape));
        if (value.shape.len % 2 == 0) out.append(&.{ 0, 0, 0, 0 });
        out.append(std.mem.sliceAsBytes(value.values));
        const len: u32 = @intCast(out.bytes.items.len - start);
        return out.put(.{ .column = column, .kind = .array, .len = len, .bits = own | start });
    }

    /// Leaves a column out, as if the record had never had it.
    pub fn drop(out: *Output, column: Column) *Output {
        const open = out.open orelse return out;
        const action = &out.actions.items[open];
        if (action.kind == patch_action) {
            return out.put(.{ .column = column, .kind = .null, .flags = 1 });
        }
        for (out.cells.items[action.ptr..], action.ptr..) |cell, index| {
            if (cell.column != column) continue;
            _ = out.cells.orderedRemove(index);
            action.len -= 1;
            break;
        }
        return out;
    }

    /// Notes an action of the current record; the place of it, if it counts.
    fn act(out: *Output, kind: u8, target: Table, ptr: usize, len: usize) ?usize {
        out.open = null;
        if (out.rejected) return null;
        const action: Action = .{
            .kind = kind,
            .target = @backingInt(target),
            .record = out.record,
            .ptr = @intCast(ptr),
            .len = @intCast(len),
        };
        if (kind != row_action) if (out.said) |said| {
            out.actions.items[said] = action;
            return said;
        };
        out.actions.append(allocator, action) catch @panic("out of memory");
        const index = out.actions.items.len - 1;
        if (kind != row_action) out.said = index;
        return index;
    }

    fn draft(out: *Output, kind: u8) *Output {
        out.open = out.act(kind, .none, out.cells.items.len, 0);
        out.highest = 0;
        return out;
    }

    fn append(out: *Output, bytes: []const u8) void {
        out.bytes.appendSlice(allocator, bytes) catch @panic("out of memory");
    }

    fn pointing(out: *Output, column: Column, kind: Kind, flags: u8, bytes: []const u8) *Output {
        const address: u32 = @intFromPtr(bytes.ptr);
        const len: u32 = @intCast(bytes.len);
        const offset = address -% out.input;
        var bits: u64 = address;
        if (len == 0) {
            bits = 0;
        } else if (offset > out.input_len or len > out.input_len - offset) {
            bits = own | out.bytes.items.len;
            out.append(bytes);
        }
        return out.put(.{ .column = column, .kind = kind, .flags = flags, .len = len, .bits = bits });
    }

    /// Adds a cell, or replaces the one that its column has.
    fn put(out: *Output, cell: Cell) *Output {
        const action = &out.actions.items[out.open orelse return out];
        const column = @backingInt(cell.column);
        if (column > out.highest) {
            out.highest = column;
        } else for (out.cells.items[action.ptr..]) |*known| {
            if (known.column != cell.column) continue;
            known.* = cell;
            return out;
        }
        out.cells.append(allocator, cell) catch @panic("out of memory");
        action.len += 1;
        return out;
    }

    /// Where bytes of a record for a topic lie; never 0, which is a part that was not asked for.
    fn place(out: *Output, bytes: []const u8) u32 {
        const len: u32 = @intCast(bytes.len);
        const offset = @as(u32, @intFromPtr(bytes.ptr)) -% out.input;
        out.pointed += len;
        if (len == 0) return out.input;
        if (offset < out.input_len and len <= out.input_len - offset) return out.input +% offset;
        const position: u32 = @intCast(out.bytes.items.len);
        out.append(bytes);
        return out.input +% out.input_len +% position;
    }

    /// The address of such a place.
    fn placed(out: *const Output, place_of: u32) u32 {
        const offset = place_of -% out.input;
        if (place_of == 0 or offset < out.input_len) return place_of;
        return @as(u32, @intFromPtr(out.bytes.items.ptr)) + (offset - out.input_len);
    }

    fn begin(out: *Output, input: u32, input_len: u32) void {
        out.emits.clearRetainingCapacity();
        out.headers.clearRetainingCapacity();
        out.pointed = 0;
        out.actions.clearRetainingCapacity();
        out.cells.clearRetainingCapacity();
        out.bytes.clearRetainingCapacity();
        out.input = input;
        out.input_len = input_len;
    }

    fn isFull(out: *const Output) bool {
        return out.actions.items.len >= full or out.cells.items.len >= full or
            out.bytes.items.len >= bytes_full or out.headers.items.len >= full or out.pointed >= bytes_full;
    }

    /// Positions become addresses: nothing moves any more.
    fn settle(out: *Output) void {
        const cells: u32 = @intFromPtr(out.cells.items.ptr);
        const bytes: u32 = @intFromPtr(out.bytes.items.ptr);
        const emits: u32 = @intFromPtr(out.emits.items.ptr);
        const headers: u32 = @intFromPtr(out.headers.items.ptr);
        for (out.actions.items) |*action| switch (action.kind) {
            patch_action, row_action => action.ptr = cells + action.ptr * @sizeOf(Cell),
            reject_action => action.ptr += bytes,
            emit_action => action.ptr = emits + action.ptr * @sizeOf(Record),
            else => {},
        };
        for (out.emits.items) |*fields| {
            fields.key_at = out.placed(fields.key_at);
            fields.value_at = out.placed(fields.value_at);
            fields.headers_at = headers + fields.headers_at * @sizeOf(HeaderFields);
        }
        for (out.headers.items) |*fields| {
            fields.name = out.placed(fields.name);
            fields.value = out.placed(fields.value);
        }
        if (out.bytes.items.len == 0) return;
        for (out.cells.items) |*cell| {
            const points = switch (cell.kind) {
                .text, .symbol, .bytes, .decimal, .array => true,
                else => false,
            };
            if (points and cell.bits >> 32 == 1) cell.bits = bytes + (cell.bits & 0xffff_ffff);
        }
    }
};

/// A record for a topic that is being made; from `Output.emit`.
pub const Emit = struct {
    out: *Output,
    /// Its place in `emits`; null after a reject.
    index: ?u32,

    /// Takes key, value, headers and timestamp over from a record; no bytes are copied. What is set
    /// afterwards replaces them, headers are added. Ask for all three (`wantKey`, `wantValue`,
    /// `wantHeaders`): without key or value the record is refused, for a null in their place would be
    /// a tombstone. The partition is not taken over, for the other topic may have fewer.
    pub fn copy(emit: Emit, from: *const Record) Emit {
        const to = emit.fields() orelse return emit;
        to.flags = from.flags & (key_null | value_null);
        to.timestamp_ms = from.timestamp_ms;
        to.key_at = from.key_at;
        to.key_len = from.key_len;
        to.value_at = from.value_at;
        to.value_len = from.value_len;
        emit.out.pointed += from.key_len;
        emit.out.pointed += from.value_len;
        for (slice(HeaderFields, from.headers_at, from.header_count)) |known| {
            emit.out.pointed += known.name_len;
            if (known.value_len != null_len) emit.out.pointed += known.value_len;
            emit.add(known);
        }
        return emit;
    }

    /// Bytes that are a part of the record are not copied.
    pub fn key(emit: Emit, bytes: ?[]const u8) Emit {
        const to = emit.fields() orelse return emit;
        to.flags &= ~@as(u16, key_null);
        if (bytes == null) to.flags |= key_null;
        to.key_at = if (bytes) |known| emit.out.place(known) else 0;
        to.key_len = if (bytes) |known| @intCast(known.len) else 0;
        return emit;
    }

    /// The value; null is a tombstone.
    pub fn value(emit: Emit, bytes: ?[]const u8) Emit {
        const to = emit.fields() orelse return emit;
        to.flags &= ~@as(u16, value_null);
        if (bytes == null) to.flags |= value_null;
        to.value_at = if (bytes) |known| emit.out.place(known) else 0;
        to.value_len = if (bytes) |known| @intCast(known.len) else 0;
        return emit;
    }

    /// Formatted text, without an allocation of its own.
    pub fn valueFormat(emit: Emit, comptime text: []const u8, args: anytype) Emit {
        const out = emit.out;
        const to = emit.fields() orelse return emit;
        const start: u32 = @intCast(out.bytes.items.len);
        out.bytes.print(allocator, text, args) catch @panic("out of memory");
        to.flags &= ~@as(u16, value_null);
        to.value_at = out.input +% out.input_len +% start;
        to.value_len = @intCast(out.bytes.items.len - start);
        out.pointed += to.value_len;
        return emit;
    }

    /// One more header; its name is UTF-8.
    pub fn header(emit: Emit, name: []const u8, bytes: ?[]const u8) Emit {
        if (emit.index == null) return emit;
        emit.add(.{
            .name = emit.out.place(name),
            .name_len = @intCast(name.len),
            .value = if (bytes) |known| emit.out.place(known) else 0,
            .value_len = if (bytes) |known| @intCast(known.len) else null_len,
        });
        return emit;
    }

    /// Without it the partition is chosen by the key.
    pub fn partition(emit: Emit, number: i32) Emit {
        const to = emit.fields() orelse return emit;
        to.partition = number;
        return emit;
    }

    /// Milliseconds since 1970; without it the time of writing.
    pub fn timestampMs(emit: Emit, since_1970: i64) Emit {
        const to = emit.fields() orelse return emit;
        to.timestamp_ms = since_1970;
        return emit;
    }

    fn fields(emit: Emit) ?*Record {
        return &emit.out.emits.items[emit.index orelse return null];
    }

    /// Its headers lie together: those of a record that is not the last one move to the end.
    fn add(emit: Emit, known: HeaderFields) void {
        const headers = &emit.out.headers;
        const to = emit.fields() orelse return;
        const end: u32 = @intCast(headers.items.len);
        if (to.headers_at + to.header_count != end) {
            headers.ensureUnusedCapacity(allocator, to.header_count) catch @panic("out of memory");
            headers.appendSliceAssumeCapacity(headers.items[to.headers_at..][0..to.header_count]);
            to.headers_at = end;
        }
        headers.append(allocator, known) catch @panic("out of memory");
        to.header_count += 1;
    }
};

// ---- Exports ----

/// Makes a module of a struct with `pub fn init(*Init) Refused!T` and
/// `pub fn record(*T, *const Record, *Output) void`.
pub fn module(comptime T: type) void {
    const exports = struct {
        var transform: T = undefined;
        var arena: []align(8) u8 = &.{};
        var output: Output = .{};

        fn bridgeAbi() callconv(.c) i32 {
            return abi;
        }

        fn bridgeAlloc(len: i32) callconv(.c) u32 {
            const bytes: u32 = @bitCast(len);
            if (bytes > arena.len) {
                const larger = allocator.alignedAlloc(u8, .@"8", bytes) catch return 0;
                allocator.free(arena);
                arena = larger;
            }
            return @intFromPtr(arena.ptr);
        }

        fn bridgeInit(ptr: u32, len: u32) callconv(.c) i32 {
            const json = allocator.dupe(u8, slice(u8, ptr, len)) catch return -1;
            var start: Init = .{ .json = json };
            transform = T.init(&start) catch return -1;
            return if (start.refused) -1 else start.wants;
        }

        fn bridgeBatch(ptr: u32) callconv(.c) u64 {
            const batch = at(*Batch, ptr);
            const progress: *volatile u32 = &batch.progress;
            cell_stride = batch.cell_stride;
            output.begin(ptr, batch.in_len);
            var next = batch.records;
            for (0..batch.count) |index| {
                progress.* = @intCast(index);
                output.record = @intCast(index);
                output.first = output.actions.items.len;
                output.said = null;
                output.open = null;
                output.rejected = false;
                transform.record(at(*const Record, next), &output);
                next +%= batch.record_stride;
                if (output.isFull()) {
                    batch.consumed = @intCast(index + 1);
                    break;
                }
            }
            output.settle();
            const actions: u64 = @intFromPtr(output.actions.items.ptr);
            return actions << 32 | output.actions.items.len;
        }
    };
    @export(&exports.bridgeAbi, .{ .name = "bridge_abi" });
    @export(&exports.bridgeAlloc, .{ .name = "bridge_alloc" });
    @export(&exports.bridgeInit, .{ .name = "bridge_init" });
    @export(&exports.bridgeBatch, .{ .name = "bridge_batch" });
}

fn hasDefault(comptime T: type, comptime name: []const u8) bool {
    const info = @typeInfo(T).@"struct";
    for (info.field_names, info.field_attrs) |known, attrs| {
        if (std.mem.eql(u8, known, name)) return attrs.default_value_ptr != null;
    }
    return false;
}
