// NAME: keeps the records that have a value in `column`, and filters the others.
//
//     config = { column = "sensor" }
import { Column, Init, Output, Record } from "./bridge";

let column: Column;

export function init(start: Init): void {
  column = start.column(start.text("column"));
}

export function record(record: Record, out: Output): void {
  const cell = record.get(column);
  if (cell != null && !cell.isNull) out.keep();
}
