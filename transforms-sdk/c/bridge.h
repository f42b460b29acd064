// Write a transform for `bridge` in C: include this header in one file, define `transform_init` and
// `transform_record` there, compile for wasm32. It needs no libc, and nothing has to be linked.
//
//     #include "bridge.h"
//
//     static bridge_column_t temperature;
//     static double min_celsius;
//
//     static void transform_init(bridge_init_t *init) {
//         min_celsius = bridge_config_f64(init, "min_celsius");
//         temperature = bridge_column(init, bridge_lit("temperature"));
//     }
//
//     static void transform_record(const bridge_record_t *record, bridge_output_t *out) {
//         double celsius;
//         if (bridge_f64(record, temperature, &celsius) && celsius >= min_celsius) bridge_keep(out);
//     }
//
// A record about which nothing is said is filtered, and counted as such. Names that end in `_` are
// the header's own. The contract underneath is ABI.md.
#ifndef BRIDGE_H
#define BRIDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BRIDGE_ABI 1

// ---- What crosses: see ABI.md -----------------------------------------------------------------

typedef struct {
    uint16_t abi, size, record_stride, cell_stride;
    uint32_t count, records, consumed, flags;
    int64_t now_us;
    uint64_t sequence;
    uint32_t in_len, progress;
} bridge_batch_t;

// One record: where it is from, and what it holds. Read columns with the functions below.
typedef struct {
    int64_t offset;       // Kafka's offset
    int64_t timestamp_ms; // Kafka's timestamp since 1970, -1 for none
    int32_t partition;    // number of the partition in its topic
    uint16_t topic;       // to be compared with `bridge_topic`
    uint16_t flags;
    uint32_t cells;
    uint16_t cell_count;
    uint16_t table; // the table that a transform before this one chose, or 0
    uint32_t key, key_len, value, value_len, headers, header_count, source, reserved;
} bridge_record_t;

typedef struct {
    uint16_t column;
    uint8_t kind;  // a `bridge_kind`
    uint8_t flags; // the unit of a timestamp, the scale of a decimal
    uint32_t len;
    uint64_t value; // the value, or a pointer
} bridge_cell_t;

typedef struct {
    uint32_t name, name_len, value, value_len;
} bridge_header_t;

typedef struct {
    uint8_t kind, flags;
    uint16_t target;
    uint32_t record, ptr, len;
} bridge_action_t;

_Static_assert(sizeof(bridge_batch_t) == 48 && sizeof(bridge_record_t) == 64, "ABI.md");
_Static_assert(sizeof(bridge_cell_t) == 16 && sizeof(bridge_action_t) == 16, "ABI.md");

enum bridge_kind {
    BRIDGE_NULL, BRIDGE_BOOL, BRIDGE_I64, BRIDGE_F64, BRIDGE_TEXT, BRIDGE_SYMBOL,
    BRIDGE_TIMESTAMP, BRIDGE_BYTES, BRIDGE_DECIMAL, BRIDGE_ARRAY
};
enum bridge_unit { BRIDGE_SECONDS, BRIDGE_MILLIS, BRIDGE_MICROS, BRIDGE_NANOS };
enum bridge_level { BRIDGE_ERROR, BRIDGE_WARN, BRIDGE_INFO, BRIDGE_DEBUG };
enum { BRIDGE_KEEP_ = 1, BRIDGE_PATCH_, BRIDGE_ROW_, BRIDGE_REJECT_, BRIDGE_EMIT_ };
enum { BRIDGE_KEY_ = 1, BRIDGE_HEADERS_ = 2, BRIDGE_VALUE_ = 4, BRIDGE_ALL_ = 8, BRIDGE_NAMED_ = 16 };

// Bytes that belong to somebody else: UTF-8 where it is text, and no zero at its end.
typedef struct {
    const char *at;
    uint32_t len;
} bridge_text_t;

typedef uint16_t bridge_column_t; // interned names: small numbers, from 1 on
typedef uint16_t bridge_table_t;
typedef uint16_t bridge_topic_t;

typedef struct bridge_init_t bridge_init_t;
typedef struct bridge_output_t bridge_output_t;

// What you write. Called once an instance: read the options, turn names into numbers.
static void transform_init(bridge_init_t *init);
// Called for every record, in order: say what becomes of it.
static void transform_record(const bridge_record_t *record, bridge_output_t *out);

// ---- Imports ----------------------------------------------------------------------------------

#define BRIDGE_IMPORT_(name) __attribute__((import_module("bridge"), import_name(name))) extern
BRIDGE_IMPORT_("column") int32_t bridge_import_column_(const char *at, uint32_t len);
BRIDGE_IMPORT_("table") int32_t bridge_import_table_(const char *at, uint32_t len);
BRIDGE_IMPORT_("topic") int32_t bridge_import_topic_(const char *at, uint32_t len);
BRIDGE_IMPORT_("name") int32_t bridge_import_name_(int32_t kind, int32_t id, char *at, uint32_t cap);
BRIDGE_IMPORT_("fail") void bridge_import_fail_(const char *at, uint32_t len);
BRIDGE_IMPORT_("log") void bridge_import_log_(int32_t level, const char *at, uint32_t len);
BRIDGE_IMPORT_("metric") void bridge_import_metric_(int32_t kind, const char *at, uint32_t len, double value);

#define BRIDGE_FN static inline __attribute__((unused))

// ---- Text and memory --------------------------------------------------------------------------

// The text of a literal.
#define bridge_lit(literal) ((bridge_text_t){"" literal, sizeof(literal) - 1})

BRIDGE_FN bridge_text_t bridge_str(const char *text) {
    uint32_t len = 0;
    while (text[len]) len++;
    return (bridge_text_t){text, len};
}

BRIDGE_FN bool bridge_equal(bridge_text_t a, bridge_text_t b) {
    if (a.len != b.len) return false;
    for (uint32_t i = 0; i < a.len; i++) {
        if (a.at[i] != b.at[i]) return false;
    }
    return true;
}

// Whether `text` begins with `prefix`; `rest` is then what follows it.
BRIDGE_FN bool bridge_strip(bridge_text_t text, bridge_text_t prefix, bridge_text_t *rest) {
    if (text.len < prefix.len || !bridge_equal((bridge_text_t){text.at, prefix.len}, prefix)) return false;
    *rest = (bridge_text_t){text.at + prefix.len, text.len - prefix.len};
    return true;
}

// Ends the instance: the record that it is at is refused, with this message and its place.
#define bridge_panic(message) bridge_panic_(__FILE_NAME__ ":" BRIDGE_QUOTE_(__LINE__) ": " message)
#define bridge_assert(condition) \
    do { if (!(condition)) bridge_panic("expected " #condition); } while (0)
#define BRIDGE_QUOTE_(x) BRIDGE_QUOTED_(x)
#define BRIDGE_QUOTED_(x) #x
#ifndef __FILE_NAME__
#define __FILE_NAME__ __FILE__
#endif

__attribute__((noinline, noreturn, unused)) static void bridge_panic_(const char *message) {
    bridge_text_t text = bridge_str(message);
    bridge_import_fail_(text.at, text.len);
    __builtin_trap();
}

// Memory that is never given back, 8-aligned; grown by the module itself, never by the bridge.
static uint32_t bridge_top_, bridge_end_;

__attribute__((noinline)) static void *bridge_take_(uint32_t bytes) {
    if (bytes > 1u << 30) return NULL;
    bytes = (bytes + 7) & ~7u;
    if (bridge_end_ - bridge_top_ < bytes) {
        uint32_t pages = (bytes + 0xffff) >> 16;
        size_t before = __builtin_wasm_memory_grow(0, pages);
        if (before == (size_t)-1) return NULL;
        // What was left of the pages before goes on being used only if nobody grew in between.
        if (before << 16 != bridge_end_) bridge_top_ = (uint32_t)before << 16;
        bridge_end_ = (uint32_t)(before + pages) << 16;
    }
    void *at = (void *)(uintptr_t)bridge_top_;
    bridge_top_ += bytes;
    return at;
}

// Memory for what a transform learns; it stays. NULL where there is none left.
BRIDGE_FN void *bridge_memory(uint32_t bytes) { return bridge_take_(bytes); }

__attribute__((noinline, unused)) static bridge_text_t bridge_kept_(const char *at, uint32_t len) {
    char *copy = bridge_take_(len);
    if (!copy) bridge_panic("out of memory");
    __builtin_memcpy(copy, at, len);
    return (bridge_text_t){copy, len};
}

// ---- The start: options and names -------------------------------------------------------------

#define BRIDGE_ASKED_MAX_ 64

struct bridge_init_t {
    const char *at, *end; // the options, as JSON
    int32_t wants;
    bool refused;
    uint32_t asked_count;
    bridge_text_t asked[BRIDGE_ASKED_MAX_];
};

// Refuses to start, and says why; the first refusal counts.
BRIDGE_FN void bridge_refuse(bridge_init_t *init, bridge_text_t why) {
    if (!init->refused) bridge_import_fail_(why.at, why.len);
    init->refused = true;
}

__attribute__((noinline, unused)) static bridge_text_t bridge_joined_(const bridge_text_t *parts, uint32_t count) {
    uint32_t len = 0;
    for (uint32_t i = 0; i < count; i++) len += parts[i].len;
    char *at = bridge_take_(len + 1);
    if (!at) bridge_panic("out of memory");
    uint32_t next = 0;
    for (uint32_t i = 0; i < count; i++) {
        __builtin_memcpy(at + next, parts[i].at, parts[i].len);
        next += parts[i].len;
    }
    return (bridge_text_t){at, len};
}

BRIDGE_FN void bridge_refuse_key_(bridge_init_t *init, const char *before, bridge_text_t key, const char *behind) {
    bridge_text_t parts[] = {bridge_lit("reading config: "), bridge_str(before), key, bridge_str(behind)};
    bridge_refuse(init, bridge_joined_(parts, 4));
}

BRIDGE_FN const char *bridge_json_space_(const char *at, const char *end) {
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r')) at++;
    return at;
}

// Behind the string that begins at `at`.
BRIDGE_FN const char *bridge_json_string_end_(const char *at, const char *end) {
    for (at++; at < end && *at != '"'; at++) at += *at == '\\';
    return at < end ? at + 1 : end;
}

// Behind the value that begins at `at`.
static const char *bridge_json_value_end_(const char *at, const char *end) {
    uint32_t depth = 0;
    while (at < end) {
        if (*at == '"') {
            at = bridge_json_string_end_(at, end);
        } else if (*at == '{' || *at == '[') {
            depth++, at++;
        } else if (*at == '}' || *at == ']') {
            if (depth == 0) return at;
            depth--, at++;
        } else if (depth == 0 && *at == ',') {
            return at;
        } else {
            at++;
            continue;
        }
        if (depth == 0) return at;
    }
    return end;
}

BRIDGE_FN uint32_t bridge_json_hex_(const char *at) {
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        char c = at[i];
        value = value << 4 | (uint32_t)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
    }
    return value;
}

BRIDGE_FN char *bridge_utf8_(char *to, uint32_t c) {
    if (c < 0x80) {
        *to++ = (char)c;
    } else if (c < 0x800) {
        *to++ = (char)(0xc0 | c >> 6), *to++ = (char)(0x80 | (c & 63));
    } else if (c < 0x10000) {
        *to++ = (char)(0xe0 | c >> 12), *to++ = (char)(0x80 | (c >> 6 & 63)), *to++ = (char)(0x80 | (c & 63));
    } else {
        *to++ = (char)(0xf0 | c >> 18), *to++ = (char)(0x80 | (c >> 12 & 63));
        *to++ = (char)(0x80 | (c >> 6 & 63)), *to++ = (char)(0x80 | (c & 63));
    }
    return to;
}

// The text of the string that begins at `at`, in memory that stays.
__attribute__((noinline, unused)) static bridge_text_t bridge_json_text_(const char *at, const char *end) {
    const char *stop = bridge_json_string_end_(at, end) - 1;
    char *text = bridge_take_((uint32_t)(stop - at)), *to = text;
    if (!text) bridge_panic("out of memory");
    for (at++; at < stop; at++) {
        if (*at != '\\') {
            *to++ = *at;
            continue;
        }
        char c = *++at;
        if (c == 'u' && stop - at > 4) {
            uint32_t point = bridge_json_hex_(at + 1);
            at += 4;
            if (point >> 10 == 0x36 && stop - at > 6 && at[1] == '\\' && at[2] == 'u') {
                point = 0x10000 + ((point & 0x3ff) << 10 | (bridge_json_hex_(at + 3) & 0x3ff));
                at += 6;
            }
            to = bridge_utf8_(to, point);
        } else {
            *to++ = c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c == 'b' ? '\b' : c == 'f' ? '\f' : c;
        }
    }
    return (bridge_text_t){text, (uint32_t)(to - text)};
}

// Walks the keys of the options: the value of `key`, or, without one, the first key not asked for.
__attribute__((noinline, unused)) static bool bridge_config_walk_(
    bridge_init_t *init, const bridge_text_t *key, bridge_text_t *found) {
    const char *at = bridge_json_space_(init->at, init->end), *end = init->end;
    if (at < end && *at == '{') at++;
    while ((at = bridge_json_space_(at, end)) < end && *at == '"') {
        bridge_text_t name = bridge_json_text_(at, end);
        at = bridge_json_space_(bridge_json_string_end_(at, end), end);
        if (at < end && *at == ':') at++;
        at = bridge_json_space_(at, end);
        const char *stop = bridge_json_value_end_(at, end);
        bool asked = false;
        for (uint32_t i = 0; !key && i < init->asked_count; i++) asked |= bridge_equal(name, init->asked[i]);
        if (key ? bridge_equal(name, *key) : !asked) {
            *found = key ? (bridge_text_t){at, (uint32_t)(stop - at)} : name;
            return true;
        }
        at = bridge_json_space_(stop, end);
        if (at < end && *at == ',') at++;
    }
    return false;
}

// The value of an option as JSON, without spaces around it; false where it is not given.
BRIDGE_FN bool bridge_config_json(bridge_init_t *init, const char *key, bridge_text_t *json) {
    bridge_text_t name = bridge_str(key);
    if (init->asked_count < BRIDGE_ASKED_MAX_) init->asked[init->asked_count++] = name;
    return bridge_config_walk_(init, &name, json);
}

BRIDGE_FN bool bridge_json_number_(bridge_text_t json, double *number) {
    const char *at = json.at, *end = json.at + json.len;
    bool minus = at < end && *at == '-';
    uint64_t digits = 0;
    int32_t exponent = 0, written = 0;
    if ((at += minus) >= end || *at < '0' || *at > '9') return false;
    for (bool point = false; at < end && (*at == '.' || (*at >= '0' && *at <= '9')); at++) {
        if (*at == '.') { point = true; continue; }
        if (digits < 1000000000000000000u) digits = digits * 10 + (uint64_t)(*at - '0'), exponent -= point;
        else exponent += !point;
    }
    if (at < end && (*at | 32) == 'e') {
        bool down = ++at < end && *at == '-';
        at += at < end && (*at == '-' || *at == '+');
        for (; at < end && *at >= '0' && *at <= '9' && written < 10000; at++) written = written * 10 + (*at - '0');
        exponent += down ? -written : written;
    }
    // Exact for up to 15 digits and powers up to 22, which is what people write into options.
    double value = (double)digits, power = 1;
    for (int32_t i = exponent < 0 ? -exponent : exponent; i > 0 && power < 1e300; i--) power *= 10;
    value = exponent < 0 ? value / power : value * power;
    *number = minus ? -value : value;
    return true;
}

// A number; `otherwise` where it is not given.
BRIDGE_FN double bridge_config_f64_or(bridge_init_t *init, const char *key, double otherwise) {
    bridge_text_t json;
    double number = otherwise;
    if (bridge_config_json(init, key, &json) && !bridge_json_number_(json, &number)) {
        bridge_refuse_key_(init, "`", bridge_str(key), "` is not a number");
    }
    return number;
}

// A number that must be given.
BRIDGE_FN double bridge_config_f64(bridge_init_t *init, const char *key) {
    bridge_text_t json;
    if (!bridge_config_json(init, key, &json)) bridge_refuse_key_(init, "missing field `", bridge_str(key), "`");
    return bridge_config_f64_or(init, key, 0);
}

// Text that stays; `otherwise` where it is not given.
BRIDGE_FN bridge_text_t bridge_config_text_or(bridge_init_t *init, const char *key, bridge_text_t otherwise) {
    bridge_text_t json;
    if (!bridge_config_json(init, key, &json)) return otherwise;
    if (json.len && json.at[0] == '"') return bridge_json_text_(json.at, json.at + json.len);
    bridge_refuse_key_(init, "`", bridge_str(key), "` is not text");
    return otherwise;
}

// Text that must be given.
BRIDGE_FN bridge_text_t bridge_config_text(bridge_init_t *init, const char *key) {
    bridge_text_t json;
    if (!bridge_config_json(init, key, &json)) bridge_refuse_key_(init, "missing field `", bridge_str(key), "`");
    return bridge_config_text_or(init, key, bridge_lit(""));
}

// True or false; `otherwise` where it is not given.
BRIDGE_FN bool bridge_config_bool_or(bridge_init_t *init, const char *key, bool otherwise) {
    bridge_text_t json;
    if (!bridge_config_json(init, key, &json)) return otherwise;
    if (bridge_equal(json, bridge_lit("true"))) return true;
    if (bridge_equal(json, bridge_lit("false"))) return false;
    bridge_refuse_key_(init, "`", bridge_str(key), "` is neither true nor false");
    return otherwise;
}

BRIDGE_FN uint16_t bridge_named_(bridge_init_t *init, int32_t id, bridge_text_t name) {
    if (id > 0) return (uint16_t)id;
    bridge_text_t parts[] = {bridge_lit("the bridge refuses the name `"), name, bridge_lit("`")};
    bridge_refuse(init, bridge_joined_(parts, 3));
    return 0;
}

// A column to read or to write. Unless `bridge_want_all_columns` is asked for, records carry exactly
// the columns that were named here. A name that the bridge refuses stops the start.
BRIDGE_FN bridge_column_t bridge_column(bridge_init_t *init, bridge_text_t name) {
    init->wants |= BRIDGE_NAMED_;
    return bridge_named_(init, bridge_import_column_(name.at, name.len), name);
}

// A table to send rows to.
BRIDGE_FN bridge_table_t bridge_table(bridge_init_t *init, bridge_text_t name) {
    return bridge_named_(init, bridge_import_table_(name.at, name.len), name);
}

// A topic, to compare with a record's.
BRIDGE_FN bridge_topic_t bridge_topic(bridge_init_t *init, bridge_text_t name) {
    return bridge_named_(init, bridge_import_topic_(name.at, name.len), name);
}

// Records carry all their columns; their key's bytes; their headers; their value's raw bytes.
BRIDGE_FN void bridge_want_all_columns(bridge_init_t *init) { init->wants |= BRIDGE_ALL_; }
BRIDGE_FN void bridge_want_key(bridge_init_t *init) { init->wants |= BRIDGE_KEY_; }
BRIDGE_FN void bridge_want_headers(bridge_init_t *init) { init->wants |= BRIDGE_HEADERS_; }
BRIDGE_FN void bridge_want_value(bridge_init_t *init) { init->wants |= BRIDGE_VALUE_; }

// ---- Names, log, metrics at any time ----------------------------------------------------------

// The name of a column, in memory that stays: ask once a column, not once a record.
BRIDGE_FN bridge_text_t bridge_column_name(bridge_column_t column) {
    char name[1024];
    int32_t len = bridge_import_name_(0, column, name, sizeof name);
    return bridge_kept_(name, len < 0 ? 0 : len > (int32_t)sizeof name ? sizeof name : (uint32_t)len);
}

// A line in the bridge's log, limited in rate.
BRIDGE_FN void bridge_log(enum bridge_level level, bridge_text_t line) {
    bridge_import_log_((int32_t)level, line.at, line.len);
}

// Adds to a counter, sets a gauge, of /metrics.
BRIDGE_FN void bridge_count(bridge_text_t name, double by) { bridge_import_metric_(0, name.at, name.len, by); }
BRIDGE_FN void bridge_gauge(bridge_text_t name, double value) { bridge_import_metric_(1, name.at, name.len, value); }

// ---- A record ---------------------------------------------------------------------------------

static uint32_t bridge_record_stride_, bridge_cell_stride_;

#define BRIDGE_AT_(type, address) ((type)(uintptr_t)(address))

BRIDGE_FN const bridge_cell_t *bridge_next_cell_(const bridge_cell_t *cell) {
    return (const bridge_cell_t *)((const char *)cell + bridge_cell_stride_);
}

// Walks all cells of a record that came along:
// `bridge_each_cell(record, cell) { if (cell->column == …) … }`
#define bridge_each_cell(record, cell)                                                             \
    for (const bridge_cell_t *cell = BRIDGE_AT_(const bridge_cell_t *, (record)->cells),           \
                             *cell##_end_ = BRIDGE_AT_(const bridge_cell_t *, (record)->cells +    \
                                 (record)->cell_count * bridge_cell_stride_);                      \
         cell < cell##_end_; cell = bridge_next_cell_(cell))

// The column's cell: NULL for one that is missing; of kind BRIDGE_NULL for one that is null.
BRIDGE_FN const bridge_cell_t *bridge_cell(const bridge_record_t *record, bridge_column_t column) {
    bridge_each_cell(record, cell) {
        if (cell->column == column) return cell;
    }
    return NULL;
}

BRIDGE_FN double bridge_bits_f64_(uint64_t bits) {
    double value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}

// What a cell holds; false where it is NULL, null or of another kind.
BRIDGE_FN bool bridge_cell_f64(const bridge_cell_t *cell, double *value) {
    if (!cell || (cell->kind != BRIDGE_F64 && cell->kind != BRIDGE_I64)) return false;
    *value = cell->kind == BRIDGE_F64 ? bridge_bits_f64_(cell->value) : (double)(int64_t)cell->value;
    return true;
}
BRIDGE_FN bool bridge_cell_i64(const bridge_cell_t *cell, int64_t *value) {
    if (!cell || cell->kind != BRIDGE_I64) return false;
    *value = (int64_t)cell->value;
    return true;
}
BRIDGE_FN bool bridge_cell_bool(const bridge_cell_t *cell, bool *value) {
    if (!cell || cell->kind != BRIDGE_BOOL) return false;
    *value = cell->value == 1;
    return true;
}
BRIDGE_FN bool bridge_cell_text(const bridge_cell_t *cell, bridge_text_t *value) {
    if (!cell || (cell->kind != BRIDGE_TEXT && cell->kind != BRIDGE_SYMBOL)) return false;
    *value = (bridge_text_t){BRIDGE_AT_(const char *, cell->value), cell->len};
    return true;
}
BRIDGE_FN bool bridge_cell_bytes(const bridge_cell_t *cell, bridge_text_t *value) {
    if (!cell || cell->kind != BRIDGE_BYTES) return false;
    *value = (bridge_text_t){BRIDGE_AT_(const char *, cell->value), cell->len};
    return true;
}
BRIDGE_FN bool bridge_cell_timestamp(const bridge_cell_t *cell, int64_t *since_1970, enum bridge_unit *unit) {
    if (!cell || cell->kind != BRIDGE_TIMESTAMP) return false;
    *since_1970 = (int64_t)cell->value;
    *unit = (enum bridge_unit)cell->flags;
    return true;
}
// The unscaled number, big-endian two's complement; it counts 10 to the power of -scale.
BRIDGE_FN bool bridge_cell_decimal(const bridge_cell_t *cell, bridge_text_t *unscaled, uint8_t *scale) {
    if (!cell || cell->kind != BRIDGE_DECIMAL) return false;
    *unscaled = (bridge_text_t){BRIDGE_AT_(const char *, cell->value), cell->len};
    *scale = cell->flags;
    return true;
}

typedef struct {
    uint32_t dims, count;
    const uint32_t *shape; // `dims` of them
    const double *values;  // `count` of them, row by row
} bridge_array_t;

BRIDGE_FN bool bridge_cell_array(const bridge_cell_t *cell, bridge_array_t *value) {
    if (!cell || cell->kind != BRIDGE_ARRAY) return false;
    const uint32_t *head = BRIDGE_AT_(const uint32_t *, cell->value);
    uint32_t skip = (4 + 4 * head[0] + 7) & ~7u;
    *value = (bridge_array_t){head[0], (cell->len - skip) / 8, head + 1, (const double *)((const char *)head + skip)};
    return true;
}

// The same by column. Integers are turned into doubles; text is text or symbol.
BRIDGE_FN bool bridge_f64(const bridge_record_t *record, bridge_column_t column, double *value) {
    return bridge_cell_f64(bridge_cell(record, column), value);
}
BRIDGE_FN bool bridge_i64(const bridge_record_t *record, bridge_column_t column, int64_t *value) {
    return bridge_cell_i64(bridge_cell(record, column), value);
}
BRIDGE_FN bool bridge_bool(const bridge_record_t *record, bridge_column_t column, bool *value) {
    return bridge_cell_bool(bridge_cell(record, column), value);
}
BRIDGE_FN bool bridge_text(const bridge_record_t *record, bridge_column_t column, bridge_text_t *value) {
    return bridge_cell_text(bridge_cell(record, column), value);
}
BRIDGE_FN bool bridge_timestamp(
    const bridge_record_t *record, bridge_column_t column, int64_t *since_1970, enum bridge_unit *unit) {
    return bridge_cell_timestamp(bridge_cell(record, column), since_1970, unit);
}

// Key and raw value, if they were asked for; false where they are null.
BRIDGE_FN bool bridge_key(const bridge_record_t *record, bridge_text_t *key) {
    *key = (bridge_text_t){BRIDGE_AT_(const char *, record->key), record->key_len};
    return record->key && !(record->flags & 1);
}
BRIDGE_FN bool bridge_value(const bridge_record_t *record, bridge_text_t *value) {
    *value = (bridge_text_t){BRIDGE_AT_(const char *, record->value), record->value_len};
    return record->value && !(record->flags & 2);
}

// A header by its place, below `record->header_count`; its value is NULL where it is null.
BRIDGE_FN void bridge_header(const bridge_record_t *record, uint32_t index, bridge_text_t *name, bridge_text_t *value) {
    const bridge_header_t *header = BRIDGE_AT_(const bridge_header_t *, record->headers) + index;
    bool null = header->value_len == UINT32_MAX;
    *name = (bridge_text_t){BRIDGE_AT_(const char *, header->name), header->name_len};
    *value = (bridge_text_t){null ? NULL : BRIDGE_AT_(const char *, header->value), null ? 0 : header->value_len};
}

// ---- What becomes of it -----------------------------------------------------------------------

// Buffers grow by a new piece twice as large; the piece before stays where it is, so what points
// into it holds until the next batch.
struct bridge_output_t {
    bridge_action_t *actions;
    bridge_cell_t *cells;
    char *bytes;
    uint32_t action_count, action_cap, cell_count, cell_cap, byte_count, byte_cap;
    // What this call used of all pieces.
    uint32_t cells_used, bytes_used;
    // The current record; its first action, and its keep, patch or reject.
    uint32_t record, first, said;
    bool rejected;
    bridge_action_t *open; // the patch or row that columns are set in
    uint16_t highest;      // its highest column so far
    uint32_t input, input_end;
    // Records for topics and their headers, and the one that was begun last.
    bridge_record_t *emits, *emit;
    bridge_header_t *headers;
    uint32_t emit_count, emit_cap, header_count, header_cap;
};

static bridge_output_t bridge_output_;
#define BRIDGE_NONE_ UINT32_MAX
// Where a call ends, to be continued: far below the bridge's own limits.
#define BRIDGE_FULL_ 65536
#define BRIDGE_BYTES_FULL_ (1 << 20)

__attribute__((noinline)) static void bridge_grow_actions_(bridge_output_t *out) {
    uint32_t cap = out->action_cap ? 2 * out->action_cap : 1024;
    bridge_action_t *at = bridge_take_(cap * sizeof *at);
    if (!at) bridge_panic("out of memory");
    __builtin_memcpy(at, out->actions, out->action_count * sizeof *at);
    if (out->open) out->open = at + (out->open - out->actions);
    out->actions = at, out->action_cap = cap;
}

// The cells of the row that is being made move along, for they must lie together.
__attribute__((noinline)) static void bridge_grow_cells_(bridge_output_t *out) {
    uint32_t cap = out->cell_cap ? 2 * out->cell_cap : 1024, len = out->open->len;
    bridge_cell_t *at = bridge_take_(cap * sizeof *at);
    if (!at) bridge_panic("out of memory");
    __builtin_memcpy(at, BRIDGE_AT_(const void *, out->open->ptr), len * sizeof *at);
    out->open->ptr = (uint32_t)(uintptr_t)at;
    out->cells = at, out->cell_cap = cap, out->cell_count = len;
}

// Room for so many bytes that stay until the next batch.
BRIDGE_FN char *bridge_room_(bridge_output_t *out, uint32_t len) {
    if (out->byte_cap - out->byte_count < len) {
        uint32_t cap = out->byte_cap ? 2 * out->byte_cap : 4096;
        while (cap < len) cap *= 2;
        char *at = len > 1u << 30 ? NULL : bridge_take_(cap);
        if (!at) bridge_panic("out of memory");
        out->bytes = at, out->byte_cap = cap, out->byte_count = 0;
    }
    char *at = out->bytes + out->byte_count;
    out->byte_count += len, out->bytes_used += len;
    return at;
}

// The address of bytes that stay: those of the input do already.
BRIDGE_FN uint32_t bridge_point_(bridge_output_t *out, bridge_text_t bytes) {
    uint32_t at = (uint32_t)(uintptr_t)bytes.at;
    if (at >= out->input && at < out->input_end && bytes.len <= out->input_end - at) return at;
    if (bytes.len == 0) return 0;
    char *copy = bridge_room_(out, bytes.len);
    __builtin_memcpy(copy, bytes.at, bytes.len);
    return (uint32_t)(uintptr_t)copy;
}

BRIDGE_FN bridge_action_t *bridge_act_(bridge_output_t *out, uint8_t kind, uint16_t target) {
    out->open = NULL;
    if (out->rejected) return NULL;
    uint32_t index = kind == BRIDGE_ROW_ ? BRIDGE_NONE_ : out->said;
    if (index == BRIDGE_NONE_) {
        if (out->action_count == out->action_cap) bridge_grow_actions_(out);
        index = out->action_count++;
        if (kind != BRIDGE_ROW_) out->said = index;
    }
    out->actions[index] = (bridge_action_t){.kind = kind, .target = target, .record = out->record};
    return &out->actions[index];
}

// The record goes on unchanged; to this table.
BRIDGE_FN void bridge_keep(bridge_output_t *out) { bridge_act_(out, BRIDGE_KEEP_, 0); }
BRIDGE_FN void bridge_keep_in(bridge_output_t *out, bridge_table_t table) { bridge_act_(out, BRIDGE_KEEP_, table); }

BRIDGE_FN void bridge_draft_(bridge_output_t *out, uint8_t kind) {
    bridge_action_t *action = bridge_act_(out, kind, 0);
    if (!action) return;
    action->ptr = (uint32_t)(uintptr_t)(out->cells + out->cell_count);
    out->open = action, out->highest = 0;
}

// The record goes on with the columns changed that are set next.
BRIDGE_FN void bridge_patch(bridge_output_t *out) { bridge_draft_(out, BRIDGE_PATCH_); }
// A new row of the record, with the columns that are set next and no others.
BRIDGE_FN void bridge_row(bridge_output_t *out) { bridge_draft_(out, BRIDGE_ROW_); }
// The patch or row that was begun last goes to this table.
BRIDGE_FN void bridge_to_table(bridge_output_t *out, bridge_table_t table) {
    if (out->open) out->open->target = table;
}

// The record is refused, with its rows and what was emitted: it goes to the dead letters, with the reason.
BRIDGE_FN void bridge_reject(bridge_output_t *out, bridge_text_t reason) {
    uint32_t at = bridge_point_(out, reason);
    out->action_count = out->first, out->said = BRIDGE_NONE_, out->rejected = false, out->emit = NULL;
    bridge_action_t *action = bridge_act_(out, BRIDGE_REJECT_, 0);
    action->ptr = at, action->len = reason.len;
    out->rejected = true;
}

// Texts behind each other, for a reason or a value: `bridge_join(out, bridge_lit("a "), text)`.
#define bridge_join(out, ...)                                                                      \
    bridge_join_(out, (const bridge_text_t[]){__VA_ARGS__},                                        \
                 sizeof((const bridge_text_t[]){__VA_ARGS__}) / sizeof(bridge_text_t))
BRIDGE_FN bridge_text_t bridge_join_(bridge_output_t *out, const bridge_text_t *parts, size_t count) {
    uint32_t len = 0, next = 0;
    for (size_t i = 0; i < count; i++) len += parts[i].len;
    if (len == 0) return bridge_lit("");
    char *at = bridge_room_(out, len);
    for (size_t i = 0; i < count; i++) {
        __builtin_memcpy(at + next, parts[i].at, parts[i].len);
        next += parts[i].len;
    }
    return (bridge_text_t){at, len};
}

// Sets a column of the patch or row that was begun last; the second time counts.
BRIDGE_FN void bridge_put_(bridge_output_t *out, bridge_cell_t cell) {
    bridge_action_t *open = out->open;
    if (!open) return;
    if (cell.column > out->highest) {
        out->highest = cell.column;
    } else {
        bridge_cell_t *cells = BRIDGE_AT_(bridge_cell_t *, open->ptr);
        for (uint32_t i = 0; i < open->len; i++) {
            if (cells[i].column == cell.column) { cells[i] = cell; return; }
        }
    }
    if (out->cell_count == out->cell_cap) bridge_grow_cells_(out);
    out->cells[out->cell_count++] = cell;
    out->cells_used++, open->len++;
}

BRIDGE_FN void bridge_put_bytes_(
    bridge_output_t *out, bridge_column_t column, uint8_t kind, uint8_t flags, bridge_text_t bytes) {
    bridge_put_(out, (bridge_cell_t){column, kind, flags, bytes.len, bridge_point_(out, bytes)});
}

BRIDGE_FN void bridge_set_f64(bridge_output_t *out, bridge_column_t column, double value) {
    uint64_t bits;
    __builtin_memcpy(&bits, &value, sizeof bits);
    bridge_put_(out, (bridge_cell_t){column, BRIDGE_F64, 0, 0, bits});
}
BRIDGE_FN void bridge_set_i64(bridge_output_t *out, bridge_column_t column, int64_t value) {
    bridge_put_(out, (bridge_cell_t){column, BRIDGE_I64, 0, 0, (uint64_t)value});
}
BRIDGE_FN void bridge_set_bool(bridge_output_t *out, bridge_column_t column, bool value) {
    bridge_put_(out, (bridge_cell_t){column, BRIDGE_BOOL, 0, 0, value});
}
BRIDGE_FN void bridge_set_timestamp(
    bridge_output_t *out, bridge_column_t column, int64_t since_1970, enum bridge_unit unit) {
    bridge_put_(out, (bridge_cell_t){column, BRIDGE_TIMESTAMP, (uint8_t)unit, 0, (uint64_t)since_1970});
}
BRIDGE_FN void bridge_set_null(bridge_output_t *out, bridge_column_t column) {
    bridge_put_(out, (bridge_cell_t){column, BRIDGE_NULL, 0, 0, 0});
}
// Text that is a part of the record is not copied; a symbol is text with few distinct values.
BRIDGE_FN void bridge_set_text(bridge_output_t *out, bridge_column_t column, bridge_text_t value) {
    bridge_put_bytes_(out, column, BRIDGE_TEXT, 0, value);
}
BRIDGE_FN void bridge_set_symbol(bridge_output_t *out, bridge_column_t column, bridge_text_t value) {
    bridge_put_bytes_(out, column, BRIDGE_SYMBOL, 0, value);
}
BRIDGE_FN void bridge_set_bytes(bridge_output_t *out, bridge_column_t column, bridge_text_t value) {
    bridge_put_bytes_(out, column, BRIDGE_BYTES, 0, value);
}
// `unscaled` (big-endian two's complement, 1 to 32 bytes) times 10 to the power of -scale (to 76).
BRIDGE_FN void bridge_set_decimal(bridge_output_t *out, bridge_column_t column, bridge_text_t unscaled, uint8_t scale) {
    bridge_put_bytes_(out, column, BRIDGE_DECIMAL, scale, unscaled);
}
// An array of this shape, its values row by row.
BRIDGE_FN void bridge_set_array(
    bridge_output_t *out, bridge_column_t column, const uint32_t *shape, uint32_t dims, const double *values) {
    uint32_t skip = (4 + 4 * dims + 7) & ~7u, count = 1;
    for (uint32_t i = 0; i < dims; i++) count *= shape[i];
    uint32_t len = skip + 8 * count;
    char *at = bridge_room_(out, len);
    __builtin_memset(at, 0, skip);
    __builtin_memcpy(at, &dims, 4);
    __builtin_memcpy(at + 4, shape, 4 * dims);
    __builtin_memcpy(at + skip, values, 8 * count);
    bridge_put_(out, (bridge_cell_t){column, BRIDGE_ARRAY, 0, len, (uint32_t)(uintptr_t)at});
}
// A column as a cell of the record holds it: its own column, or another.
BRIDGE_FN void bridge_set_cell(bridge_output_t *out, bridge_column_t column, const bridge_cell_t *cell) {
    bridge_put_(out, (bridge_cell_t){column, cell->kind, cell->flags, cell->len, cell->value});
}

// Leaves a column out, as if the record had never had it.
BRIDGE_FN void bridge_drop(bridge_output_t *out, bridge_column_t column) {
    bridge_action_t *open = out->open;
    if (!open) return;
    if (open->kind == BRIDGE_PATCH_) {
        bridge_put_(out, (bridge_cell_t){column, BRIDGE_NULL, 1, 0, 0});
        return;
    }
    bridge_cell_t *cells = BRIDGE_AT_(bridge_cell_t *, open->ptr);
    for (uint32_t i = 0; i < open->len; i++) {
        if (cells[i].column != column) continue;
        for (; i + 1 < open->len; i++) cells[i] = cells[i + 1];
        open->len--, out->cell_count--;
    }
}

// ---- Records for topics -----------------------------------------------------------------------

__attribute__((noinline, unused)) static void bridge_grow_emits_(bridge_output_t *out) {
    uint32_t cap = out->emit_cap ? 2 * out->emit_cap : 64;
    out->emits = bridge_take_(cap * sizeof *out->emits);
    if (!out->emits) bridge_panic("out of memory");
    out->emit_cap = cap, out->emit_count = 0;
}

// The headers of the record that is being made move along, for they must lie together.
__attribute__((noinline, unused)) static void bridge_grow_headers_(bridge_output_t *out) {
    uint32_t cap = out->header_cap ? 2 * out->header_cap : 64, len = out->emit->header_count;
    while (cap <= len) cap *= 2;
    bridge_header_t *at = bridge_take_(cap * sizeof *at);
    if (!at) bridge_panic("out of memory");
    if (len) __builtin_memcpy(at, BRIDGE_AT_(const void *, out->emit->headers), len * sizeof *at);
    out->emit->headers = (uint32_t)(uintptr_t)at;
    out->headers = at, out->header_cap = cap, out->header_count = len;
}

// A record for a Kafka topic, as it is to stand there, with the key, the value and the headers that are
// set next; without them it has none: a null key, a null value (a tombstone). As often as wanted, and beside
// all else that is said. It needs the sink `kafka`; without it the record is refused.
BRIDGE_FN void bridge_emit(bridge_output_t *out, bridge_topic_t topic) {
    out->emit = NULL;
    if (out->rejected) return;
    if (out->action_count == out->action_cap) bridge_grow_actions_(out);
    if (out->emit_count == out->emit_cap) bridge_grow_emits_(out);
    bridge_record_t *emit = &out->emits[out->emit_count++];
    *emit = (bridge_record_t){.timestamp_ms = -1, .partition = -1, .flags = 1 | 2};
    out->actions[out->action_count++] = (bridge_action_t){
        .kind = BRIDGE_EMIT_, .target = topic, .record = out->record,
        .ptr = (uint32_t)(uintptr_t)emit, .len = sizeof *emit};
    out->emit = emit;
}

// The address of bytes that are not null: never 0. Those of the input count as well, for the bridge copies
// them.
BRIDGE_FN uint32_t bridge_emit_point_(bridge_output_t *out, bridge_text_t bytes) {
    uint32_t used = out->bytes_used, at = bridge_point_(out, bytes);
    if (out->bytes_used == used) out->bytes_used += bytes.len;
    return at ? at : out->input;
}

BRIDGE_FN void bridge_emit_put_(bridge_output_t *out, bridge_header_t header) {
    bridge_record_t *emit = out->emit;
    if (out->header_count == out->header_cap) bridge_grow_headers_(out);
    if (!emit->header_count) emit->headers = (uint32_t)(uintptr_t)(out->headers + out->header_count);
    out->headers[out->header_count++] = header;
    out->cells_used++, emit->header_count++;
}

// Key and value of the record that was begun last; null where they are at NULL. Bytes that are a part of
// the record are not copied.
BRIDGE_FN void bridge_emit_key(bridge_output_t *out, bridge_text_t key) {
    if (!out->emit) return;
    out->emit->key = key.at ? bridge_emit_point_(out, key) : 0, out->emit->key_len = key.len;
    out->emit->flags = (out->emit->flags & 2) | (key.at ? 0 : 1);
}
BRIDGE_FN void bridge_emit_value(bridge_output_t *out, bridge_text_t value) {
    if (!out->emit) return;
    out->emit->value = value.at ? bridge_emit_point_(out, value) : 0, out->emit->value_len = value.len;
    out->emit->flags = (out->emit->flags & 1) | (value.at ? 0 : 2);
}
// One more header; its name is UTF-8, its value null where it is at NULL.
BRIDGE_FN void bridge_emit_header(bridge_output_t *out, bridge_text_t name, bridge_text_t value) {
    if (!out->emit) return;
    uint32_t at = bridge_emit_point_(out, name);
    bridge_header_t header = {at, name.len, 0, UINT32_MAX};
    if (value.at) header.value = bridge_emit_point_(out, value), header.value_len = value.len;
    bridge_emit_put_(out, header);
}
// Without these the partition is chosen by the key, and the timestamp is the time of writing.
BRIDGE_FN void bridge_emit_partition(bridge_output_t *out, int32_t partition) {
    if (out->emit) out->emit->partition = partition;
}
BRIDGE_FN void bridge_emit_timestamp_ms(bridge_output_t *out, int64_t since_1970) {
    if (out->emit) out->emit->timestamp_ms = since_1970;
}
// Takes key, value, headers and timestamp over from a record; no bytes are copied. What is set afterwards
// replaces them, headers are added. All three are to be asked for (`bridge_want_key` and so on): without key
// or value the record is refused, for a null in their place would be a tombstone. The partition is not taken
// over, for the other topic may have fewer.
BRIDGE_FN void bridge_emit_copy(bridge_output_t *out, const bridge_record_t *record) {
    bridge_record_t *emit = out->emit;
    if (!emit) return;
    emit->flags = record->flags & (1 | 2), emit->timestamp_ms = record->timestamp_ms;
    emit->key = record->key, emit->key_len = record->key_len;
    emit->value = record->value, emit->value_len = record->value_len;
    out->bytes_used += record->key_len + record->value_len;
    for (uint32_t index = 0; index < record->header_count; index++) {
        bridge_header_t header = BRIDGE_AT_(const bridge_header_t *, record->headers)[index];
        out->bytes_used += header.name_len + (header.value_len == UINT32_MAX ? 0 : header.value_len);
        bridge_emit_put_(out, header);
    }
}

// ---- Exports ----------------------------------------------------------------------------------

__attribute__((export_name("bridge_abi"))) int32_t bridge_abi(void) { return BRIDGE_ABI; }

__attribute__((export_name("bridge_alloc"))) int32_t bridge_alloc(int32_t len) {
    static uint32_t at, size;
    if ((uint32_t)len > size) {
        void *arena = bridge_take_((uint32_t)len);
        if (!arena) return 0;
        at = (uint32_t)(uintptr_t)arena, size = (uint32_t)len;
    }
    return (int32_t)at;
}

__attribute__((export_name("bridge_init"))) int32_t bridge_init(int32_t ptr, int32_t len) {
    static bridge_init_t init;
    init.at = BRIDGE_AT_(const char *, ptr), init.end = init.at + len;
    transform_init(&init);
    bridge_text_t unknown;
    if (!init.refused && bridge_config_walk_(&init, NULL, &unknown)) {
        bridge_refuse_key_(&init, "unknown field `", unknown, "`");
    }
    return init.refused ? -1 : init.wants;
}

__attribute__((export_name("bridge_batch"))) int64_t bridge_batch(int32_t ptr) {
    bridge_batch_t *batch = BRIDGE_AT_(bridge_batch_t *, ptr);
    bridge_output_t *out = &bridge_output_;
    bridge_record_stride_ = batch->record_stride, bridge_cell_stride_ = batch->cell_stride;
    out->action_count = out->cell_count = out->byte_count = out->cells_used = out->bytes_used = 0;
    out->emit_count = out->header_count = 0;
    out->input = (uint32_t)ptr, out->input_end = (uint32_t)ptr + batch->in_len;
    const char *at = BRIDGE_AT_(const char *, batch->records);
    for (uint32_t i = 0, count = batch->count; i < count; i++, at += bridge_record_stride_) {
        // Volatile: nobody in here reads it, and it may not be put off past a trap.
        *(volatile uint32_t *)&batch->progress = i;
        out->record = i, out->first = out->action_count, out->said = BRIDGE_NONE_;
        out->rejected = false, out->open = NULL, out->emit = NULL;
        transform_record((const bridge_record_t *)at, out);
        if (out->action_count >= BRIDGE_FULL_ || out->cells_used >= BRIDGE_FULL_ ||
            out->bytes_used >= BRIDGE_BYTES_FULL_) {
            batch->consumed = i + 1;
            break;
        }
    }
    return (int64_t)((uint64_t)(uintptr_t)out->actions << 32 | out->action_count);
}

#endif
