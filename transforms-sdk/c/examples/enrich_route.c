// A patch: adds `fahrenheit` to every record with a temperature, and sends those that are too hot
// to a table of their own. Records without a temperature go on unchanged.
//
//     config = { alarm_above = 60.0, alarm_table = "alarms" }
#include "bridge.h"

static bridge_column_t temperature, fahrenheit;
static bridge_table_t alarms;
static double alarm_above; // degrees Celsius

static void transform_init(bridge_init_t *init) {
    alarm_above = bridge_config_f64(init, "alarm_above");
    temperature = bridge_column(init, bridge_lit("temperature"));
    fahrenheit = bridge_column(init, bridge_lit("fahrenheit"));
    alarms = bridge_table(init, bridge_config_text_or(init, "alarm_table", bridge_lit("alarms")));
}

static void transform_record(const bridge_record_t *record, bridge_output_t *out) {
    double celsius;
    if (!bridge_f64(record, temperature, &celsius)) {
        bridge_keep(out);
        return;
    }
    bridge_patch(out);
    bridge_set_f64(out, fahrenheit, celsius * 9.0 / 5.0 + 32.0);
    if (celsius > alarm_above) bridge_to_table(out, alarms);
}
