//! 1:N: a wide record becomes one row for each of its readings. A reading is a number in a column
//! whose name begins with `prefix`; its row has `metric` (the name behind the prefix), `value`, and
//! all columns that are no readings. A record without readings is filtered.
//!
//!     config = { prefix = "m_" }
const std = @import("std");
const bridge = @import("bridge.zig");

pub const panic = bridge.panic;
comptime {
    bridge.module(SplitReadings);
}

const Options = struct { prefix: []const u8 = "m_" };

const SplitReadings = struct {
    prefix: []const u8,
    metric: bridge.Column,
    value: bridge.Column,
    /// By column: its metric, empty for a column that is no reading, null while its name was not
    /// asked for. Asking costs a call, so each is asked for once.
    metrics: std.ArrayList(?[]const u8) = .empty,

    pub fn init(start: *bridge.Init) bridge.Refused!SplitReadings {
        const options = try start.config(Options);
        start.wantAllColumns();
        return .{
            .prefix = options.prefix,
            .metric = start.column("metric"),
            .value = start.column("value"),
        };
    }

    pub fn record(self: *SplitReadings, in: *const bridge.Record, out: *bridge.Output) void {
        var readings = in.cells();
        while (readings.next()) |reading| {
            const metric = self.metricOf(reading.column);
            if (metric.len == 0 or reading.kind == .null) continue;
            const value = reading.float() orelse
                return out.reject("reading {s} is not a number", .{metric});
            var row = out.row();
            var others = in.cells();
            while (others.next()) |cell| {
                if (self.metricOf(cell.column).len == 0) row = row.set(cell.column, cell);
            }
            _ = row.setSymbol(self.metric, metric).setFloat(self.value, value);
        }
    }

    fn metricOf(self: *SplitReadings, column: bridge.Column) []const u8 {
        const index = @intFromEnum(column);
        if (index < self.metrics.items.len) if (self.metrics.items[index]) |known| return known;
        while (self.metrics.items.len <= index) {
            self.metrics.append(bridge.allocator, null) catch @panic("out of memory");
        }
        const name = column.name();
        const metric = if (std.mem.startsWith(u8, name, self.prefix)) name[self.prefix.len..] else "";
        self.metrics.items[index] = metric;
        return metric;
    }
};
