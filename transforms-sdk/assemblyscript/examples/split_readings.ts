// 1:N: a wide record becomes one row for each of its readings. A reading is a number in a column
// whose name begins with `prefix`; its row has `metric` (the name behind the prefix), `value`, and
// all columns that are no readings. A record without readings is filtered.
//
//     config = { prefix = "m_" }
import { Column, Init, Output, Record, columnName } from "./bridge";

let prefix = "";
let metric: Column;
let value: Column;
/** By column: its metric, empty for a column that is no reading; asked for once. */
const metrics = new Map<Column, string>();

export function init(start: Init): void {
  prefix = start.textOr("prefix", "m_");
  start.wantAllColumns();
  metric = start.column("metric");
  value = start.column("value");
}

function metricOf(column: Column): string {
  if (!metrics.has(column)) {
    const name = columnName(column);
    metrics.set(column, name.startsWith(prefix) ? name.substring(prefix.length) : "");
  }
  return metrics.get(column);
}

export function record(record: Record, out: Output): void {
  for (let i = 0; i < <i32>record.cellCount; i++) {
    const reading = record.cell(i);
    const name = metricOf(reading.column);
    if (name.length == 0 || reading.isNull) continue;
    if (!reading.isNumber) return out.reject("reading " + name + " is not a number");
    out.row();
    for (let j = 0; j < <i32>record.cellCount; j++) {
      const cell = record.cell(j);
      if (metricOf(cell.column).length == 0) out.set(cell.column, cell);
    }
    out.setSymbol(metric, name).setF64(value, reading.f64);
  }
}
