// NAME: keeps the records that have a value in `column`, and filters the others.
//
//     config = { column = "sensor" }
#include "bridge.h"

static bridge_column_t column;

static void transform_init(bridge_init_t *init) {
    column = bridge_column(init, bridge_config_text(init, "column"));
}

static void transform_record(const bridge_record_t *record, bridge_output_t *out) {
    const bridge_cell_t *cell = bridge_cell(record, column);
    if (cell && cell->kind != BRIDGE_NULL) bridge_keep(out);
}
