// A filter: records whose temperature is at least `min_celsius` go on unchanged, all others are
// filtered, also those without a temperature.
//
//     config = { min_celsius = 15.0, column = "temperature" }
import { Column, Init, Output, Record } from "./bridge";

let temperature: Column;
let minCelsius: f64;

export function init(start: Init): void {
  minCelsius = start.f64("min_celsius");
  temperature = start.column(start.textOr("column", "temperature"));
}

export function record(record: Record, out: Output): void {
  // NaN, where there is no temperature, compares with nothing.
  if (record.f64(temperature) >= minCelsius) out.keep();
}
