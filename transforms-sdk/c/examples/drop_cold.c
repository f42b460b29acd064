// A filter: records whose temperature is at least `min_celsius` go on unchanged, all others are
// filtered, also those without a temperature.
//
//     config = { min_celsius = 15.0, column = "temperature" }
#include "bridge.h"

static bridge_column_t temperature;
static double min_celsius;

static void transform_init(bridge_init_t *init) {
    min_celsius = bridge_config_f64(init, "min_celsius");
    temperature = bridge_column(init, bridge_config_text_or(init, "column", bridge_lit("temperature")));
}

static void transform_record(const bridge_record_t *record, bridge_output_t *out) {
    double celsius;
    if (bridge_f64(record, temperature, &celsius) && celsius >= min_celsius) bridge_keep(out);
}
