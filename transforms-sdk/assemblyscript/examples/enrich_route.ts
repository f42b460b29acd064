// A patch: adds `fahrenheit` to every record with a temperature, and sends those that are too hot
// to a table of their own. Records without a temperature go on unchanged.
//
//     config = { alarm_above = 60.0, alarm_table = "alarms" }
import { Column, Init, Output, Record, Table } from "./bridge";

let temperature: Column;
let fahrenheit: Column;
let alarms: Table;
/** Degrees Celsius. */
let alarmAbove: f64;

export function init(start: Init): void {
  alarmAbove = start.f64("alarm_above");
  temperature = start.column("temperature");
  fahrenheit = start.column("fahrenheit");
  alarms = start.table(start.textOr("alarm_table", "alarms"));
}

export function record(record: Record, out: Output): void {
  const cell = record.get(temperature);
  if (cell == null || !cell.isNumber) return out.keep();
  const celsius = cell.f64;
  out.patch().setF64(fahrenheit, celsius * 9.0 / 5.0 + 32.0);
  if (celsius > alarmAbove) out.toTable(alarms);
}
