// A filter: records whose temperature is at least min_celsius go on unchanged, all others are
// filtered, also those without a temperature.
//
//	config = { min_celsius = 15.0, column = "temperature" }
package main

import (
	"errors"

	"transform/bridge"
)

type options struct {
	MinCelsius *float64 `json:"min_celsius"`
	Column     string   `json:"column"`
}

type dropCold struct {
	temperature bridge.Column
	minCelsius  float64
}

func start(init *bridge.Init) (bridge.Transform, error) {
	options := options{Column: "temperature"}
	if err := init.Config(&options); err != nil {
		return nil, err
	}
	if options.MinCelsius == nil {
		return nil, errors.New("reading config: missing field `min_celsius`")
	}
	return &dropCold{init.Column(options.Column), *options.MinCelsius}, nil
}

func (t *dropCold) Record(record *bridge.Record, out *bridge.Output) {
	if celsius, ok := record.F64(t.temperature); ok && celsius >= t.minCelsius {
		out.Keep()
	}
}

func init() { bridge.Register(start) }

func main() {}
