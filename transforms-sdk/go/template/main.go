// NAME: keeps the records that have a value in a column, and filters the others.
//
//	config = { column = "sensor" }
package main

import (
	"errors"

	"transform/bridge"
)

type options struct {
	Column string `json:"column"`
}

type transform struct {
	column bridge.Column
}

func start(init *bridge.Init) (bridge.Transform, error) {
	var options options
	if err := init.Config(&options); err != nil {
		return nil, err
	}
	if options.Column == "" {
		return nil, errors.New("reading config: missing field `column`")
	}
	return &transform{init.Column(options.Column)}, nil
}

func (t *transform) Record(record *bridge.Record, out *bridge.Output) {
	if cell := record.Get(t.column); cell != nil && cell.Kind != bridge.Null {
		out.Keep()
	}
}

func init() { bridge.Register(start) }

func main() {}
