//! A filter: records whose temperature is at least `min_celsius` go on unchanged, all others are
//! filtered, also those without a temperature.
//!
//!     config = { min_celsius = 15.0, column = "temperature" }
const bridge = @import("bridge.zig");

pub const panic = bridge.panic;
comptime {
    bridge.module(DropCold);
}

const Options = struct {
    min_celsius: f64,
    column: []const u8 = "temperature",
};

const DropCold = struct {
    temperature: bridge.Column,
    min_celsius: f64,

    pub fn init(start: *bridge.Init) bridge.Refused!DropCold {
        const options = try start.config(Options);
        return .{ .temperature = start.column(options.column), .min_celsius = options.min_celsius };
    }

    pub fn record(self: *DropCold, in: *const bridge.Record, out: *bridge.Output) void {
        const celsius = in.float(self.temperature) orelse return;
        if (celsius >= self.min_celsius) out.keep();
    }
};
