// 1:N: a wide record becomes one row for each of its readings. A reading is a number in a column
// whose name begins with prefix; its row has metric (the name behind the prefix), value, and all
// columns that are no readings. A record without readings is filtered.
//
//	config = { prefix = "m_" }
package main

import (
	"strings"

	"transform/bridge"
)

type options struct {
	Prefix string `json:"prefix"`
}

type splitReadings struct {
	prefix        string
	metric, value bridge.Column
	// By column: its metric, empty for a column that is no reading, nil while its name was not asked
	// for. Asking costs a call, so each is asked for once.
	metrics []*string
}

func start(init *bridge.Init) (bridge.Transform, error) {
	options := options{Prefix: "m_"}
	if err := init.Config(&options); err != nil {
		return nil, err
	}
	init.WantAllColumns()
	metric, value := init.Column("metric"), init.Column("value")
	return &splitReadings{prefix: options.Prefix, metric: metric, value: value}, nil
}

func (t *splitReadings) metricOf(column bridge.Column) string {
	for len(t.metrics) <= int(column) {
		t.metrics = append(t.metrics, nil)
	}
	if t.metrics[column] == nil {
		metric, found := strings.CutPrefix(column.Name(), t.prefix)
		if !found {
			metric = ""
		}
		t.metrics[column] = &metric
	}
	return *t.metrics[column]
}

func (t *splitReadings) Record(record *bridge.Record, out *bridge.Output) {
	for index := range record.Len() {
		reading := record.Cell(index)
		metric := t.metricOf(reading.Column)
		if metric == "" || reading.Kind == bridge.Null {
			continue
		}
		value, ok := reading.F64()
		if !ok {
			out.Reject("reading " + metric + " is not a number")
			return
		}
		out.Row()
		for other := range record.Len() {
			if cell := record.Cell(other); t.metricOf(cell.Column) == "" {
				out.Set(cell.Column, cell)
			}
		}
		out.SetSymbol(t.metric, metric).SetF64(t.value, value)
	}
}

func init() { bridge.Register(start) }

func main() {}
