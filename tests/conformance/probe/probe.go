// Does what the column `do` says, with every function of the SDK: see probe.rs.
package main

import "transform/bridge"

type probe struct {
	order, a, b, c, d, e, f, g, h, i, j, text bridge.Column
	other                                     bridge.Table
	alarms, audit                             bridge.Topic
}

func start(init *bridge.Init) (bridge.Transform, error) {
	if err := init.Config(&struct{}{}); err != nil {
		return nil, err
	}
	init.WantAllColumns()
	init.WantKey()
	init.WantHeaders()
	init.WantValue()
	p := &probe{order: init.Column("do")}
	letters := []*bridge.Column{&p.a, &p.b, &p.c, &p.d, &p.e, &p.f, &p.g, &p.h, &p.i, &p.j}
	for index, letter := range letters {
		*letter = init.Column(string(rune('a' + index)))
	}
	p.text, p.other = init.Column("text"), init.Table("other")
	p.alarms, p.audit = init.Topic("alarms"), init.Topic("audit")
	return p, nil
}

func (p *probe) Record(record *bridge.Record, out *bridge.Output) {
	order, _ := record.Text(p.order)
	switch order {
	case "keep":
		out.Keep()
	case "keep in":
		out.KeepIn(p.other)
	case "kinds":
		out.Row().SetF64(p.a, 1.5).SetI64(p.b, -7).SetBool(p.c, true).
			SetTimestamp(p.d, 1_700_000_000_000, bridge.Millis).SetNull(p.e).
			SetText(p.f, "grüße").SetSymbol(p.g, "s").SetBytes(p.h, []byte{0, 255, 7}).
			SetDecimal(p.i, []byte{0x04, 0xd2}, 2).
			SetArray(p.j, []uint32{2, 2}, []float64{1, -2, 0.5, 4}).SetText(p.text, "")
	case "patch":
		out.Patch().SetF64(p.b, 1).SetF64(p.a, 2).SetF64(p.b, 3).Drop(p.c).
			Set(p.d, record.Get(p.j)).ToTable(p.other)
	case "row":
		row := out.Row()
		for index := range record.Len() {
			cell := record.Cell(index)
			row.Set(cell.Column, cell)
		}
		row.Drop(p.b).SetI64(p.a, 7).ToTable(p.other)
	case "last word":
		out.Keep()
		out.Patch().SetF64(p.a, 8)
		out.KeepIn(p.other)
	case "rows":
		out.Row().SetF64(p.a, 1)
		out.Keep()
		out.Row().SetF64(p.a, 2).SetText(p.text, "zwei")
		out.Patch().SetF64(p.a, 3)
	case "reject":
		out.Row().SetF64(p.a, 1)
		out.Keep()
		out.Reject("so befohlen: größer")
		out.Keep()
		out.Row().SetF64(p.a, 1)
	case "meta":
		p.meta(record, out)
	case "read":
		p.read(record, out)
	case "names":
		for index := range record.Len() {
			out.Row().SetText(p.text, record.Cell(index).Column.Name())
		}
	case "empty row":
		out.Row().SetNull(p.e).Drop(p.e).SetSymbol(p.g, "")
	case "panic":
		panic("told to panic")
	default:
		p.emit(order, record, out)
	}
}

// Records for topics.
func (p *probe) emit(order string, record *bridge.Record, out *bridge.Output) {
	text, _ := record.Text(p.f)
	switch order {
	case "emit":
		out.Emit(p.alarms).Key([]byte("schlüssel")).ValueText(text).
			Header("größe", []byte{0, 255}).Header("f", []byte(text)).
			Header("leer", []byte{}).Header("null", nil).
			Partition(2).TimestampMs(1_700_000_000_123)
	case "tombstone":
		key := record.Key()
		if key == nil {
			key = []byte("none")
		}
		out.Emit(p.audit).ValueText("taken back").Value(nil).Key(key)
		out.Emit(p.alarms)
	case "send on":
		out.Emit(p.audit).Copy(record)
	case "send on changed":
		out.Emit(p.audit).Header("zuerst", nil).Copy(record).Key([]byte("k")).
			ValueText(text+", "+text).Header("zuletzt", []byte("x")).
			Partition(record.Partition()).TimestampMs(-1)
	case "emits":
		first := out.Emit(p.alarms).ValueText("1").Header("a", nil)
		out.Row().SetF64(p.a, 1)
		out.Patch()
		second := out.Emit(p.audit).Header("c", nil)
		out.SetF64(p.a, 2)
		first.Header("b", nil)
		second.ValueText("2")
		out.Row().SetF64(p.a, 3)
		out.Emit(p.alarms).ValueText("3")
	case "emit and reject":
		out.Emit(p.alarms).ValueText("1")
		out.Row().SetF64(p.a, 1)
		out.Reject("zurück")
		out.Emit(p.alarms).ValueText("2").Header("h", []byte("h"))
	case "empty emit":
		out.Emit(p.alarms).Key([]byte{}).ValueText("").Header("", []byte{})
	case "many emits":
		out.Row()
		for index := range 200 {
			out.Emit(p.alarms).Key([]byte(text)).ValueText(text+"!").
				Header("h", []byte("own")).TimestampMs(int64(index))
		}
		many := out.Emit(p.audit)
		for range 150 {
			many.Header("m", []byte(text))
		}
		out.SetF64(p.a, 7)
	}
}

// Where the record is from, its key, value and headers.
func (p *probe) meta(record *bridge.Record, out *bridge.Output) {
	row := out.Row().SetI64(p.a, record.Offset()).SetI64(p.b, int64(record.Partition())).
		SetTimestamp(p.d, record.TimestampMs(), bridge.Millis).SetBool(p.c, record.Table() == 0)
	if key := record.Key(); key != nil {
		row.SetBytes(p.f, key)
	}
	if value := record.Value(); value != nil {
		row.SetBytes(p.g, value)
	}
	for name, value := range record.Headers {
		row := out.Row().SetBytes(p.f, name)
		if value != nil {
			row.SetBytes(p.h, value)
		} else {
			row.SetNull(p.h)
		}
	}
}

// Every kind through its getter, and back.
func (p *probe) read(record *bridge.Record, out *bridge.Output) {
	x, _ := record.F64(p.a)
	y, _ := record.F64(p.b)
	m, _ := record.I64(p.b)
	n, ok := record.I64(p.a)
	if !ok {
		n = 100
	}
	truth, _ := record.Bool(p.c)
	time, unit, _ := record.Get(p.d).Timestamp()
	null := record.Get(p.e)
	f, _ := record.Text(p.f)
	g, _ := record.Text(p.g)
	row := out.Row().SetF64(p.a, x+y).SetI64(p.b, m+n).SetBool(p.c, !truth).
		SetTimestamp(p.d, time+1, unit).
		SetBool(p.e, null != nil && null.Kind == bridge.Null && record.Get(p.text) == nil).
		SetSymbol(p.f, f).SetText(p.g, g)
	if bytes := record.Get(p.h).Bytes(); bytes != nil {
		row.SetBytes(p.h, bytes)
	}
	if unscaled, scale, ok := record.Get(p.i).Decimal(); ok {
		row.SetDecimal(p.i, unscaled, scale+1)
	}
	if shape, values, ok := record.Get(p.j).Array(); ok {
		doubled := make([]float64, len(values))
		for index, value := range values {
			doubled[index] = value * 2
		}
		row.SetArray(p.j, shape, doubled)
	}
}

func init() { bridge.Register(start) }

func main() {}
