//! A patch: adds `fahrenheit` to every record with a temperature, and sends those that are too hot
//! to a table of their own. Records without a temperature go on unchanged.
//!
//!     config = { alarm_above = 60.0, alarm_table = "alarms" }
const bridge = @import("bridge.zig");

pub const panic = bridge.panic;
comptime {
    bridge.module(EnrichRoute);
}

const Options = struct {
    /// Degrees Celsius.
    alarm_above: f64,
    alarm_table: []const u8 = "alarms",
};

const EnrichRoute = struct {
    temperature: bridge.Column,
    fahrenheit: bridge.Column,
    alarms: bridge.Table,
    alarm_above: f64,

    pub fn init(start: *bridge.Init) bridge.Refused!EnrichRoute {
        const options = try start.config(Options);
        return .{
            .temperature = start.column("temperature"),
            .fahrenheit = start.column("fahrenheit"),
            .alarms = start.table(options.alarm_table),
            .alarm_above = options.alarm_above,
        };
    }

    pub fn record(self: *EnrichRoute, in: *const bridge.Record, out: *bridge.Output) void {
        const celsius = in.float(self.temperature) orelse return out.keep();
        const patch = out.patch().setFloat(self.fahrenheit, celsius * 9.0 / 5.0 + 32.0);
        if (celsius > self.alarm_above) _ = patch.toTable(self.alarms);
    }
};
