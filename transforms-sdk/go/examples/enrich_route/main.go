// A patch: adds fahrenheit to every record with a temperature, and sends those that are too hot to a
// table of their own. Records without a temperature go on unchanged.
//
//	config = { alarm_above = 60.0, alarm_table = "alarms" }
package main

import (
	"errors"

	"transform/bridge"
)

type options struct {
	AlarmAbove *float64 `json:"alarm_above"` // degrees Celsius
	AlarmTable string   `json:"alarm_table"`
}

type enrichRoute struct {
	temperature, fahrenheit bridge.Column
	alarms                  bridge.Table
	alarmAbove              float64
}

func start(init *bridge.Init) (bridge.Transform, error) {
	options := options{AlarmTable: "alarms"}
	if err := init.Config(&options); err != nil {
		return nil, err
	}
	if options.AlarmAbove == nil {
		return nil, errors.New("reading config: missing field `alarm_above`")
	}
	return &enrichRoute{
		temperature: init.Column("temperature"),
		fahrenheit:  init.Column("fahrenheit"),
		alarms:      init.Table(options.AlarmTable),
		alarmAbove:  *options.AlarmAbove,
	}, nil
}

func (t *enrichRoute) Record(record *bridge.Record, out *bridge.Output) {
	celsius, ok := record.F64(t.temperature)
	if !ok {
		out.Keep()
		return
	}
	out.Patch().SetF64(t.fahrenheit, celsius*9.0/5.0+32.0)
	if celsius > t.alarmAbove {
		out.ToTable(t.alarms)
	}
}

func init() { bridge.Register(start) }

func main() {}
