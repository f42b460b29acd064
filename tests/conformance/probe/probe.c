// Does what the column `do` says, with every function of the SDK: see probe.rs.
#include "bridge.h"

static bridge_column_t order, a, b, c, d, e, f, g, h, i, j, text;
static bridge_table_t other;
static bridge_topic_t alarms, audit;

static void transform_init(bridge_init_t *init) {
    bridge_want_all_columns(init);
    bridge_want_key(init);
    bridge_want_headers(init);
    bridge_want_value(init);
    order = bridge_column(init, bridge_lit("do"));
    bridge_column_t *letters[] = {&a, &b, &c, &d, &e, &f, &g, &h, &i, &j};
    for (char n = 0; n < 10; n++) {
        char name = 'a' + n;
        *letters[(int)n] = bridge_column(init, (bridge_text_t){&name, 1});
    }
    text = bridge_column(init, bridge_lit("text"));
    other = bridge_table(init, bridge_lit("other"));
    alarms = bridge_topic(init, bridge_lit("alarms"));
    audit = bridge_topic(init, bridge_lit("audit"));
}

static void kinds(bridge_output_t *out) {
    bridge_row(out);
    bridge_set_f64(out, a, 1.5);
    bridge_set_i64(out, b, -7);
    bridge_set_bool(out, c, true);
    bridge_set_timestamp(out, d, 1700000000000, BRIDGE_MILLIS);
    bridge_set_null(out, e);
    bridge_set_text(out, f, bridge_lit("grüße"));
    bridge_set_symbol(out, g, bridge_lit("s"));
    bridge_set_bytes(out, h, bridge_lit("\0\xff\7"));
    bridge_set_decimal(out, i, bridge_lit("\4\xd2"), 2);
    bridge_set_array(out, j, (uint32_t[]){2, 2}, 2, (double[]){1.0, -2.0, 0.5, 4.0});
    bridge_set_text(out, text, bridge_lit(""));
}

// Where the record is from, its key, value and headers.
static void meta(const bridge_record_t *record, bridge_output_t *out) {
    bridge_text_t key, value, name;
    bridge_row(out);
    bridge_set_i64(out, a, record->offset);
    bridge_set_i64(out, b, record->partition);
    bridge_set_timestamp(out, d, record->timestamp_ms, BRIDGE_MILLIS);
    bridge_set_bool(out, c, record->table == 0);
    if (bridge_key(record, &key)) bridge_set_bytes(out, f, key);
    if (bridge_value(record, &value)) bridge_set_bytes(out, g, value);
    for (uint32_t index = 0; index < record->header_count; index++) {
        bridge_header(record, index, &name, &value);
        bridge_row(out);
        bridge_set_bytes(out, f, name);
        if (value.at) bridge_set_bytes(out, h, value);
        else bridge_set_null(out, h);
    }
}

// Every kind through its getter, and back.
static void read(const bridge_record_t *record, bridge_output_t *out) {
    double x = -1, y = -1;
    int64_t m = -1, n = 100, time = 0;
    bool truth = false;
    enum bridge_unit unit = BRIDGE_NANOS;
    bridge_text_t words = bridge_lit("");
    uint8_t scale;
    bridge_array_t array;
    bridge_row(out);
    bridge_f64(record, a, &x), bridge_f64(record, b, &y);
    bridge_set_f64(out, a, x + y);
    bridge_i64(record, b, &m), bridge_i64(record, a, &n);
    bridge_set_i64(out, b, m + n);
    bridge_bool(record, c, &truth);
    bridge_set_bool(out, c, !truth);
    bridge_timestamp(record, d, &time, &unit);
    bridge_set_timestamp(out, d, time + 1, unit);
    const bridge_cell_t *null = bridge_cell(record, e);
    bridge_set_bool(out, e, null && null->kind == BRIDGE_NULL && !bridge_cell(record, text));
    bridge_text(record, f, &words);
    bridge_set_symbol(out, f, words);
    bridge_text(record, g, &words);
    bridge_set_text(out, g, words);
    if (bridge_cell_bytes(bridge_cell(record, h), &words)) bridge_set_bytes(out, h, words);
    if (bridge_cell_decimal(bridge_cell(record, i), &words, &scale)) bridge_set_decimal(out, i, words, scale + 1);
    if (bridge_cell_array(bridge_cell(record, j), &array)) {
        double doubled[16];
        bridge_assert(array.count <= 16);
        for (uint32_t index = 0; index < array.count; index++) doubled[index] = array.values[index] * 2;
        bridge_set_array(out, j, array.shape, array.dims, doubled);
    }
}

// Records for topics.
static void emit(bridge_text_t told, const bridge_record_t *record, bridge_output_t *out) {
    bridge_text_t words = bridge_lit(""), key, null = {0};
    bridge_text(record, f, &words);
#define IS(what) bridge_equal(told, bridge_lit(what))
    if (IS("emit")) {
        bridge_emit(out, alarms);
        bridge_emit_key(out, bridge_lit("schlüssel"));
        bridge_emit_value(out, words);
        bridge_emit_header(out, bridge_lit("größe"), bridge_lit("\0\xff"));
        bridge_emit_header(out, bridge_lit("f"), words);
        bridge_emit_header(out, bridge_lit("leer"), bridge_lit(""));
        bridge_emit_header(out, bridge_lit("null"), null);
        bridge_emit_partition(out, 2);
        bridge_emit_timestamp_ms(out, 1700000000123);
    } else if (IS("tombstone")) {
        bridge_emit(out, audit);
        bridge_emit_value(out, bridge_lit("taken back"));
        bridge_emit_value(out, null);
        bridge_emit_key(out, bridge_key(record, &key) ? key : bridge_lit("none"));
        bridge_emit(out, alarms);
    } else if (IS("send on")) {
        bridge_emit(out, audit);
        bridge_emit_copy(out, record);
    } else if (IS("send on changed")) {
        bridge_emit(out, audit);
        bridge_emit_header(out, bridge_lit("zuerst"), null);
        bridge_emit_copy(out, record);
        bridge_emit_key(out, bridge_lit("k"));
        bridge_emit_value(out, bridge_join(out, words, bridge_lit(", "), words));
        bridge_emit_header(out, bridge_lit("zuletzt"), bridge_lit("x"));
        bridge_emit_partition(out, record->partition);
        bridge_emit_timestamp_ms(out, -1);
    } else if (IS("emits")) {
        bridge_emit(out, alarms);
        bridge_emit_value(out, bridge_lit("1"));
        bridge_emit_header(out, bridge_lit("a"), null);
        bridge_emit_header(out, bridge_lit("b"), null);
        bridge_row(out);
        bridge_set_f64(out, a, 1);
        bridge_patch(out);
        bridge_emit(out, audit);
        bridge_set_f64(out, a, 2);
        bridge_emit_value(out, bridge_lit("2"));
        bridge_emit_header(out, bridge_lit("c"), null);
        bridge_row(out);
        bridge_set_f64(out, a, 3);
        bridge_emit(out, alarms);
        bridge_emit_value(out, bridge_lit("3"));
    } else if (IS("emit and reject")) {
        bridge_emit(out, alarms);
        bridge_emit_value(out, bridge_lit("1"));
        bridge_row(out);
        bridge_set_f64(out, a, 1);
        bridge_reject(out, bridge_lit("zurück"));
        bridge_emit(out, alarms);
        bridge_emit_value(out, bridge_lit("2"));
        bridge_emit_header(out, bridge_lit("h"), bridge_lit("h"));
    } else if (IS("empty emit")) {
        bridge_emit(out, alarms);
        bridge_emit_key(out, bridge_lit(""));
        bridge_emit_value(out, bridge_join(out, bridge_lit("")));
        bridge_emit_header(out, bridge_lit(""), bridge_lit(""));
    } else if (IS("many emits")) {
        bridge_row(out);
        for (int64_t index = 0; index < 200; index++) {
            bridge_emit(out, alarms);
            bridge_emit_key(out, words);
            bridge_emit_value(out, bridge_join(out, words, bridge_lit("!")));
            bridge_emit_header(out, bridge_lit("h"), bridge_lit("own"));
            bridge_emit_timestamp_ms(out, index);
        }
        bridge_emit(out, audit);
        for (int n = 0; n < 150; n++) bridge_emit_header(out, bridge_lit("m"), words);
        // The row is still the one that was begun, wherever its action lies by now.
        bridge_set_f64(out, a, 7);
    }
}

static void transform_record(const bridge_record_t *record, bridge_output_t *out) {
    bridge_text_t told = bridge_lit("");
    bridge_text(record, order, &told);
    if (IS("keep")) {
        bridge_keep(out);
    } else if (IS("keep in")) {
        bridge_keep_in(out, other);
    } else if (IS("kinds")) {
        kinds(out);
    } else if (IS("patch")) {
        bridge_patch(out);
        bridge_set_f64(out, b, 1);
        bridge_set_f64(out, a, 2);
        bridge_set_f64(out, b, 3);
        bridge_drop(out, c);
        bridge_set_cell(out, d, bridge_cell(record, j));
        bridge_to_table(out, other);
    } else if (IS("row")) {
        bridge_row(out);
        bridge_each_cell(record, cell) bridge_set_cell(out, cell->column, cell);
        bridge_drop(out, b);
        bridge_set_i64(out, a, 7);
        bridge_to_table(out, other);
    } else if (IS("last word")) {
        bridge_keep(out);
        bridge_patch(out);
        bridge_set_f64(out, a, 8);
        bridge_keep_in(out, other);
    } else if (IS("rows")) {
        bridge_row(out);
        bridge_set_f64(out, a, 1);
        bridge_keep(out);
        bridge_row(out);
        bridge_set_f64(out, a, 2);
        bridge_set_text(out, text, bridge_lit("zwei"));
        bridge_patch(out);
        bridge_set_f64(out, a, 3);
    } else if (IS("reject")) {
        bridge_row(out);
        bridge_set_f64(out, a, 1);
        bridge_keep(out);
        bridge_reject(out, bridge_join(out, bridge_lit("so befohlen: "), bridge_lit("größer")));
        bridge_keep(out);
        bridge_row(out);
        bridge_set_f64(out, a, 1);
    } else if (IS("meta")) {
        meta(record, out);
    } else if (IS("read")) {
        read(record, out);
    } else if (IS("names")) {
        bridge_each_cell(record, cell) {
            bridge_row(out);
            bridge_set_text(out, text, bridge_column_name(cell->column));
        }
    } else if (IS("empty row")) {
        bridge_row(out);
        bridge_set_null(out, e);
        bridge_drop(out, e);
        bridge_set_symbol(out, g, bridge_lit(""));
    } else if (IS("panic")) {
        bridge_panic("told to panic");
    } else {
        emit(told, record, out);
    }
}
