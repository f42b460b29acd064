// 1:N: a wide record becomes one row for each of its readings. A reading is a number in a column
// whose name begins with `prefix`; its row has `metric` (the name behind the prefix), `value`, and
// all columns that are no readings. A record without readings is filtered.
//
//     config = { prefix = "m_" }
#include "bridge.h"

static bridge_text_t prefix;
static bridge_column_t metric, value;

// By column: its metric, empty for a column that is no reading, at NULL while its name was not
// asked for. Asking costs a call, so each is asked for once.
static bridge_text_t metrics[UINT16_MAX + 1];

static void transform_init(bridge_init_t *init) {
    prefix = bridge_config_text_or(init, "prefix", bridge_lit("m_"));
    bridge_want_all_columns(init);
    metric = bridge_column(init, bridge_lit("metric"));
    value = bridge_column(init, bridge_lit("value"));
}

static bridge_text_t metric_of(bridge_column_t column) {
    if (!metrics[column].at && !bridge_strip(bridge_column_name(column), prefix, &metrics[column])) {
        metrics[column] = bridge_lit("");
    }
    return metrics[column];
}

static void transform_record(const bridge_record_t *record, bridge_output_t *out) {
    bridge_each_cell(record, reading) {
        bridge_text_t name = metric_of(reading->column);
        double number;
        if (name.len == 0 || reading->kind == BRIDGE_NULL) continue;
        if (!bridge_cell_f64(reading, &number)) {
            bridge_reject(out, bridge_join(out, bridge_lit("reading "), name, bridge_lit(" is not a number")));
            return;
        }
        bridge_row(out);
        bridge_each_cell(record, cell) {
            if (metric_of(cell->column).len == 0) bridge_set_cell(out, cell->column, cell);
        }
        bridge_set_symbol(out, metric, name);
        bridge_set_f64(out, value, number);
    }
}
