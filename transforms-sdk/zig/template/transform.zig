//! NAME: keeps the records that have a value in `column`, and filters the others.
//!
//!     config = { column = "sensor" }
const bridge = @import("bridge.zig");

pub const panic = bridge.panic;
comptime {
    bridge.module(Transform);
}

const Options = struct { column: []const u8 };

const Transform = struct {
    column: bridge.Column,

    pub fn init(start: *bridge.Init) bridge.Refused!Transform {
        const options = try start.config(Options);
        return .{ .column = start.column(options.column) };
    }

    pub fn record(self: *Transform, in: *const bridge.Record, out: *bridge.Output) void {
        const cell = in.get(self.column) orelse return;
        if (cell.kind != .null) out.keep();
    }
};
