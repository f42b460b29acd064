//! Does what the column `do` says, with every function of the SDK: see probe.rs.
const std = @import("std");
const bridge = @import("bridge.zig");

pub const panic = bridge.panic;
comptime {
    bridge.module(Probe);
}

const Letters = struct { a: C, b: C, c: C, d: C, e: C, f: C, g: C, h: C, i: C, j: C };
const C = bridge.Column;

const Probe = struct {
    order: C,
    letters: Letters,
    text: C,
    other: bridge.Table,
    alarms: bridge.Topic,
    audit: bridge.Topic,

    pub fn init(start: *bridge.Init) bridge.Refused!Probe {
        _ = try start.config(struct {});
        start.wantAllColumns();
        start.wantKey();
        start.wantHeaders();
        start.wantValue();
        const order = start.column("do");
        var letters: Letters = undefined;
        inline for (comptime std.meta.fieldNames(Letters)) |name| {
            @field(letters, name) = start.column(name);
        }
        return .{
            .order = order,
            .letters = letters,
            .text = start.column("text"),
            .other = start.table("other"),
            .alarms = start.topic("alarms"),
            .audit = start.topic("audit"),
        };
    }

    pub fn record(self: *Probe, in: *const bridge.Record, out: *bridge.Output) void {
        const told = in.text(self.order) orelse "";
        inline for (.{
            .{ "keep", keep },   .{ "keep in", keepIn }, .{ "kinds", kinds },
            .{ "patch", patch }, .{ "row", row },        .{ "last word", lastWord },
            .{ "rows", rows },   .{ "reject", reject },  .{ "meta", meta },
            .{ "read", read },   .{ "names", names },    .{ "empty row", emptyRow },
            .{ "emit", emit },
            .{ "tombstone", tombstone },
            .{ "send on", sendOn },
            .{ "send on changed", sendOnChanged },
            .{ "emits", emits },
            .{ "emit and reject", emitAndReject },
            .{ "empty emit", emptyEmit },
            .{ "many emits", manyEmits },
            .{ "panic", fail },
        }) |order| {
            if (std.mem.eql(u8, told, order[0])) return order[1](self, in, out);
        }
    }

    fn keep(_: *Probe, _: *const bridge.Record, out: *bridge.Output) void {
        out.keep();
    }

    fn keepIn(self: *Probe, _: *const bridge.Record, out: *bridge.Output) void {
        out.keepIn(self.other);
    }

    fn kinds(self: *Probe, _: *const bridge.Record, out: *bridge.Output) void {
        const l = self.letters;
        _ = out.row()
            .setFloat(l.a, 1.5)
            .setInt(l.b, -7)
            .setBool(l.c, true)
            .setTimestamp(l.d, 1_700_000_000_000, .millis)
            .setNull(l.e)
            .setText(l.f, "grüße")
            .setSymbol(l.g, "s")
            .setBytes(l.h, &.{ 0, 255, 7 })
            .setDecimal(l.i, .{ .unscaled = &.{ 0x04, 0xd2 }, .scale = 2 })
            .setArray(l.j, .{ .shape = &.{ 2, 2 }, .values = &.{ 1, -2, 0.5, 4 } })
            .setText(self.text, "");
    }

    fn patch(self: *Probe, in: *const bridge.Record, out: *bridge.Output) void {
        const l = self.letters;
        _ = out.patch().setFloat(l.b, 1).setFloat(l.a, 2).setFloat(l.b, 3).drop(l.c)
            .set(l.d, in.get(l.j).?).toTable(self.other);
    }

    fn row(self: *Probe, in: *const bridge.Record, out: *bridge.Output) void {
        _ = out.row();
        var cells = in.cells();
        while (cells.next()) |cell| _ = out.set(cell.column, cell);
        _ = out.drop(self.letters.b).setInt(self.letters.a, 7).toTable(self.other);
    }

    fn lastWord(self: *Probe, _: *const bridge.Record, out: *bridge.Output) void {
        out.keep();
        _ = out.patch().setFloat(self.letters.a, 8);
        out.keepIn(self.other);
    }

    fn rows(self: *Probe, _: *const bridge.Record, out: *bridge.Output) void {
        _ = out.row().setFloat(self.letters.a, 1);
        out.keep();
        _ = out.row().setFloat(self.letters.a, 2).setFormat(self.text, "{s}", .{"zwei"});
        _ = out.patch().setFloat(self.letters.a, 3);
    }

    fn reject(self: *Probe, _: *const bridge.Record, out: *bridge.Output) void {
        _ = out.row().setFloat(self.letters.a, 1);
        out.keep();
        out.reject("so befohlen: {s}", .{"größer"});
        out.keep();
        _ = out.row().setFloat(self.letters.a, 1);
    }

    /// Where the record is from, its key, value and headers.
    fn meta(self: *Probe, in: *const bridge.Record, out: *bridge.Output) void {
        const l = self.letters;
        _ = out.row()
            .setInt(l.a, in.offset)
            .setInt(l.b, in.partition)
            .setTimestamp(l.d, in.timestamp_ms, .millis)
            .setBool(l.c, in.table == .none);
        if (in.key()) |key| _ = out.setBytes(l.f, key);
        if (in.value()) |value| _ = out.setBytes(l.g, value);
        for (0..in.header_count) |index| {
            const header = in.header(index);
            _ = out.row().setBytes(l.f, header.name);
            _ = if (header.value) |value| out.setBytes(l.h, value) else out.setNull(l.h);
        }
    }

    /// Every kind through its getter, and back.
    fn read(self: *Probe, in: *const bridge.Record, out: *bridge.Output) void {
        const l = self.letters;
        const time = in.get(l.d).?.timestamp().?;
        const no_text = in.get(self.text) == null;
        _ = out.row()
            .setFloat(l.a, in.float(l.a).? + in.float(l.b).?)
            .setInt(l.b, in.int(l.b).? + (in.int(l.a) orelse 100))
            .setBool(l.c, !in.boolean(l.c).?)
            .setTimestamp(l.d, time.since_1970 + 1, time.unit)
            .setBool(l.e, in.get(l.e).?.kind == .null and no_text)
            .setSymbol(l.f, in.text(l.f).?)
            .setText(l.g, in.text(l.g).?)
            .setBytes(l.h, in.get(l.h).?.bytes().?);
        const decimal = in.get(l.i).?.decimal().?;
        _ = out.setDecimal(l.i, .{ .unscaled = decimal.unscaled, .scale = decimal.scale + 1 });
        const array = in.get(l.j).?.array().?;
        var doubled: [16]f64 = undefined;
        for (array.values, doubled[0..array.values.len]) |value, *to| to.* = value * 2;
        _ = out.setArray(l.j, .{ .shape = array.shape, .values = doubled[0..array.values.len] });
    }

    fn names(self: *Probe, in: *const bridge.Record, out: *bridge.Output) void {
        var cells = in.cells();
        while (cells.next()) |cell| _ = out.row().setText(self.text, cell.column.name());
    }

    fn emptyRow(self: *Probe, _: *const bridge.Record, out: *bridge.Output) void {
        const l = self.letters;
        _ = out.row().setNull(l.e).drop(l.e).setSymbol(l.g, "");
    }

    fn emit(self: *Probe, in: *const bridge.Record, out: *bridge.Output) void {
        const text = in.text(self.letters.f).?;
        _ = out.emit(self.alarms)
            .key("schlüssel")
            .value(text)
            .header("größe", &.{ 0, 255 })
            .header("f", text)
            .header("leer", "")
            .header("null", null)
            .partition(2)
            .timestampMs(1_700_000_000_123);
    }

    fn tombstone(self: *Probe, in: *const bridge.Record, out: *bridge.Output) void {
        _ = out.emit(self.audit).value("taken back").value(null).key(in.key() orelse "none");
        _ = out.emit(self.alarms);
    }

    fn sendOn(self: *Probe, in: *const bridge.Record, out: *bridge.Output) void {
        _ = out.emit(self.audit).copy(in);
    }

    fn sendOnChanged(self: *Probe, in: *const bridge.Record, out: *bridge.Output) void {
        const text = in.text(self.letters.f).?;
        _ = out.emit(self.audit)
            .header("zuerst", null)
            .copy(in)
            .key("k")
            .valueFormat("{s}, {s}", .{ text, text })
            .header("zuletzt", "x")
            .partition(in.partition)
            .timestampMs(-1);
    }

    fn emits(self: *Probe, _: *const bridge.Record, out: *bridge.Output) void {
        const first = out.emit(self.alarms).value("1").header("a", null);
        _ = out.row().setFloat(self.letters.a, 1);
        _ = out.patch();
        const second = out.emit(self.audit).header("c", null);
        _ = out.setFloat(self.letters.a, 2);
        _ = first.header("b", null);
        _ = second.value("2");
        _ = out.row().setFloat(self.letters.a, 3);
        _ = out.emit(self.alarms).value("3");
    }

    fn emitAndReject(self: *Probe, _: *const bridge.Record, out: *bridge.Output) void {
        _ = out.emit(self.alarms).value("1");
        _ = out.row().setFloat(self.letters.a, 1);
        out.reject("zurück", .{});
        _ = out.emit(self.alarms).value("2").header("h", "h");
    }

    fn emptyEmit(self: *Probe, _: *const bridge.Record, out: *bridge.Output) void {
        _ = out.emit(self.alarms).key("").valueFormat("", .{}).header("", "");
    }

    fn manyEmits(self: *Probe, in: *const bridge.Record, out: *bridge.Output) void {
        const text = in.text(self.letters.f).?;
        _ = out.row();
        for (0..200) |index| {
            const one = out.emit(self.alarms).key(text).valueFormat("{s}!", .{text});
            _ = one.header("h", "own").timestampMs(@intCast(index));
        }
        const many = out.emit(self.audit);
        for (0..150) |_| _ = many.header("m", text);
        _ = out.setFloat(self.letters.a, 7);
    }

    fn fail(_: *Probe, _: *const bridge.Record, _: *bridge.Output) void {
        @panic("told to panic");
    }
};
