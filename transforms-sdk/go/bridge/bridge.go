// Package bridge is for transforms written in Go: implement [Transform], name it in [Register],
// compile for wasip1 as a reactor.
//
// Texts, bytes and arrays of a record lie in memory that the next batch writes over: to keep one,
// copy it (strings.Clone, slices.Clone). A record about which nothing is said is filtered, and
// counted as such. A panic rejects the record that caused it. The contract underneath is ABI.md.
package bridge

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"unsafe"
)

// Transform says what becomes of each record.
type Transform interface {
	// Record is called for every record, in order. It says what becomes of it through out; if it
	// says nothing, the record is filtered.
	Record(record *Record, out *Output)
}

// Register names the function that starts the transform: it reads the options and turns names into
// numbers. An error stops the start of the bridge, and says why. To be called from an init function.
func Register(start func(*Init) (Transform, error)) { starter = start }

// ---- What crosses: see ABI.md ----

const abi = 1

type batch struct {
	abi, size, recordStride, cellStride uint16
	count, records, consumed, flags     uint32
	nowUs                               int64
	sequence                            uint64
	inLen, progress                     uint32
}

// Record is one record of the batch.
type Record struct {
	offset, timestampMs  int64
	partition            int32
	topic, flags         uint16
	cells                uint32
	cellCount, table     uint16
	key, keyLen          uint32
	value, valueLen      uint32
	headers, headerCount uint32
	source, reserved     uint32
}

// Cell is one column of a record, or of what is made of it.
type Cell struct {
	Column Column
	Kind   Kind
	flags  uint8
	len    uint32
	value  uint64
}

type header struct{ name, nameLen, value, valueLen uint32 }

type action struct {
	kind, flags      uint8
	target           uint16
	record, ptr, len uint32
}

// Kind is what a cell holds.
type Kind uint8

// Kinds of cells.
const (
	Null Kind = iota
	Bool
	I64
	F64
	Text
	Symbol
	Timestamp
	Bytes
	Decimal
	Array
)

// Unit is the unit of a timestamp.
type Unit uint8

// Units of timestamps.
const (
	Seconds Unit = iota
	Millis
	Micros
	Nanos
)

const (
	keep, patch, row, reject, emit = 1, 2, 3, 4, 5

	wantKey, wantHeaders, wantValue, wantAll, wantNamed = 1, 2, 4, 8, 16

	keyNull, valueNull = 1, 2

	nullLen = math.MaxUint32
)

// A struct of another size does not compile: the array would have a negative length.
var _ = [1]struct{}{}[unsafe.Sizeof(batch{})-48+unsafe.Sizeof(Record{})-64]
var _ = [1]struct{}{}[unsafe.Sizeof(Cell{})-16+unsafe.Sizeof(action{})-16]
var _ = [1]struct{}{}[unsafe.Sizeof(header{})-16]

// ---- Imports ----

//go:wasmimport bridge column
func importColumn(name unsafe.Pointer, len uint32) int32

//go:wasmimport bridge table
func importTable(name unsafe.Pointer, len uint32) int32

//go:wasmimport bridge topic
func importTopic(name unsafe.Pointer, len uint32) int32

//go:wasmimport bridge name
func importName(kind, id int32, name unsafe.Pointer, cap uint32) int32

//go:wasmimport bridge fail
func importFail(message unsafe.Pointer, len uint32)

//go:wasmimport bridge log
func importLog(level int32, line unsafe.Pointer, len uint32)

//go:wasmimport bridge metric
func importMetric(kind int32, name unsafe.Pointer, len uint32, value float64)

func of(text string) (unsafe.Pointer, uint32) {
	return unsafe.Pointer(unsafe.StringData(text)), uint32(len(text))
}

func at(address uint32) unsafe.Pointer { return unsafe.Pointer(uintptr(address)) }

// ---- Names, log, metrics ----

// Column is an interned column: a small number, from 1 on.
type Column uint16

// Table is an interned table.
type Table uint16

// Topic is an interned Kafka topic.
type Topic uint16

// Name is the column's name: a call to the bridge, so ask once a column and not once a record.
func (column Column) Name() string {
	name := make([]byte, 1024)
	length := importName(0, int32(column), unsafe.Pointer(&name[0]), uint32(len(name)))
	return string(name[:min(max(int(length), 0), len(name))])
}

// Level is how much a log line matters.
type Level int32

// Levels of log lines.
const (
	Error Level = iota
	Warn
	Info
	Debug
)

// Log writes a line to the bridge's log, limited in rate.
func Log(level Level, line string) {
	ptr, length := of(line)
	importLog(int32(level), ptr, length)
}

// Count adds to a counter of /metrics.
func Count(name string, by float64) {
	ptr, length := of(name)
	importMetric(0, ptr, length, by)
}

// Gauge sets a gauge of /metrics.
func Gauge(name string, value float64) {
	ptr, length := of(name)
	importMetric(1, ptr, length, value)
}

// ---- The start ----

// Init is what a transform is given at its start.
type Init struct {
	config  []byte
	wants   int32
	refused string
}

// Config reads the options under `config` of the configuration into a struct with json tags.
// A key that the struct does not have is refused.
func (init *Init) Config(options any) error {
	if len(init.config) == 0 {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(init.config))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(options); err != nil {
		return fmt.Errorf("reading config: %w", err)
	}
	return nil
}

func (init *Init) named(id int32, name string) uint16 {
	if id <= 0 && init.refused == "" {
		init.refused = "the bridge refuses the name `" + name + "`"
	}
	return uint16(max(id, 0))
}

// Column is a column to read or to write. Unless [Init.WantAllColumns] is asked for, records carry
// exactly the columns that were named here. A name that the bridge refuses stops the start.
func (init *Init) Column(name string) Column {
	init.wants |= wantNamed
	return Column(init.named(importColumn(of(name)), name))
}

// Table is a table to send rows to.
func (init *Init) Table(name string) Table { return Table(init.named(importTable(of(name)), name)) }

// Topic is a topic, to compare with [Record.Topic] or to emit to.
func (init *Init) Topic(name string) Topic { return Topic(init.named(importTopic(of(name)), name)) }

// WantAllColumns has records carry all their columns.
func (init *Init) WantAllColumns() { init.wants |= wantAll }

// WantKey has records carry their key's bytes.
func (init *Init) WantKey() { init.wants |= wantKey }

// WantHeaders has records carry their headers.
func (init *Init) WantHeaders() { init.wants |= wantHeaders }

// WantValue has records carry their value's raw bytes.
func (init *Init) WantValue() { init.wants |= wantValue }

// ---- A record ----

// Offset is Kafka's offset.
func (record *Record) Offset() int64 { return record.offset }

// TimestampMs is Kafka's timestamp, milliseconds since 1970; -1 for none.
func (record *Record) TimestampMs() int64 { return record.timestampMs }

// Partition is the number of the partition in its topic.
func (record *Record) Partition() int32 { return record.partition }

// Topic is the topic that it was read from.
func (record *Record) Topic() Topic { return Topic(record.topic) }

// Table is the table that a transform before this one chose, or 0.
func (record *Record) Table() Table { return Table(record.table) }

// Key is the key, if it was asked for; nil where it is null.
func (record *Record) Key() []byte {
	if record.key == 0 || record.flags&keyNull != 0 {
		return nil
	}
	return unsafe.Slice((*byte)(at(record.key)), record.keyLen)
}

// Value is the raw value, if it was asked for; nil where it is null.
func (record *Record) Value() []byte {
	if record.value == 0 || record.flags&valueNull != 0 {
		return nil
	}
	return unsafe.Slice((*byte)(at(record.value)), record.valueLen)
}

// Headers walks the headers, if they were asked for; a value is nil where it is null.
func (record *Record) Headers(each func(name, value []byte) bool) {
	for index := range record.headerCount {
		header := (*header)(unsafe.Add(at(record.headers), uintptr(index)*unsafe.Sizeof(header{})))
		var value []byte
		if header.valueLen != nullLen {
			value = unsafe.Slice((*byte)(at(header.value)), header.valueLen)
		}
		if !each(unsafe.Slice((*byte)(at(header.name)), header.nameLen), value) {
			return
		}
	}
}

// Len is the number of cells that came along.
func (record *Record) Len() int { return int(record.cellCount) }

// Cell is the cell at a place below [Record.Len].
func (record *Record) Cell(index int) *Cell {
	if uint(index) >= uint(record.cellCount) {
		panic("a cell outside its record")
	}
	return (*Cell)(unsafe.Add(at(record.cells), index*cellStride))
}

// Get is the column's cell: nil for one that is missing, of kind [Null] for one that is null.
func (record *Record) Get(column Column) *Cell {
	cell := at(record.cells)
	for range record.cellCount {
		if (*Cell)(cell).Column == column {
			return (*Cell)(cell)
		}
		cell = unsafe.Add(cell, cellStride)
	}
	return nil
}

// F64 is a number; integers are turned into float64. False for a column that is missing, null or of
// another kind, as with all of these.
func (record *Record) F64(column Column) (float64, bool) { return record.Get(column).F64() }

// I64 is an integer.
func (record *Record) I64(column Column) (int64, bool) { return record.Get(column).I64() }

// Bool is true or false.
func (record *Record) Bool(column Column) (value, ok bool) { return record.Get(column).Bool() }

// Text is text or symbol.
func (record *Record) Text(column Column) (string, bool) { return record.Get(column).Text() }

// F64 is the cell's number.
func (cell *Cell) F64() (float64, bool) {
	switch {
	case cell == nil:
		return 0, false
	case cell.Kind == F64:
		return math.Float64frombits(cell.value), true
	case cell.Kind == I64:
		return float64(int64(cell.value)), true
	}
	return 0, false
}

// I64 is the cell's integer.
func (cell *Cell) I64() (int64, bool) {
	if cell == nil || cell.Kind != I64 {
		return 0, false
	}
	return int64(cell.value), true
}

// Bool is the cell's truth.
func (cell *Cell) Bool() (value, ok bool) {
	return cell != nil && cell.value == 1, cell != nil && cell.Kind == Bool
}

// Text is the cell's text or symbol.
func (cell *Cell) Text() (string, bool) {
	if cell == nil || (cell.Kind != Text && cell.Kind != Symbol) {
		return "", false
	}
	return unsafe.String((*byte)(at(uint32(cell.value))), cell.len), true
}

// Bytes is the cell's bytes; nil for another kind.
func (cell *Cell) Bytes() []byte {
	if cell == nil || cell.Kind != Bytes {
		return nil
	}
	return unsafe.Slice((*byte)(at(uint32(cell.value))), cell.len)
}

// Timestamp is a time since 1970, and its unit.
func (cell *Cell) Timestamp() (since1970 int64, unit Unit, ok bool) {
	if cell == nil || cell.Kind != Timestamp {
		return 0, 0, false
	}
	return int64(cell.value), Unit(cell.flags), true
}

// Decimal is unscaled (big-endian two's complement) times ten to the power of -scale.
func (cell *Cell) Decimal() (unscaled []byte, scale uint8, ok bool) {
	if cell == nil || cell.Kind != Decimal {
		return nil, 0, false
	}
	return unsafe.Slice((*byte)(at(uint32(cell.value))), cell.len), cell.flags, true
}

// Array is the array's shape, and its values row by row.
func (cell *Cell) Array() (shape []uint32, values []float64, ok bool) {
	if cell == nil || cell.Kind != Array {
		return nil, nil, false
	}
	start := at(uint32(cell.value))
	dims := *(*uint32)(start)
	head := (4 + 4*dims + 7) &^ 7
	shape = unsafe.Slice((*uint32)(unsafe.Add(start, 4)), dims)
	return shape, unsafe.Slice((*float64)(unsafe.Add(start, head)), (cell.len-head)/8), true
}

// ---- What becomes of it ----

// Where a call ends, to be continued: far below the bridge's own limits.
const full, bytesFull = 1 << 16, 1 << 20

// Set in the value of a cell that points into `bytes`: the low half is a position there.
const own = 1 << 32

// Output takes what becomes of the records. The last word on a record counts; a reject stands.
// Its buffers grow and move while a batch runs, so pointers into them are positions until the end.
type Output struct {
	actions []action
	cells   []Cell
	bytes   []byte
	// The current record; its first action, its keep, patch or reject, and the patch or row that
	// columns are set in: -1 for none.
	record            uint32
	first, said, open int
	rejected          bool
	// The highest column so far of what is open.
	highest Column
	// Where the input lies: text that is a part of it is not copied.
	input, inputLen uint32
	// Records for topics and their headers. An address in them is one of the input, or, counted from
	// the input's end, a position in `bytes`.
	emits   []Record
	headers []header
	// The bytes that these point to: the bridge copies all of them.
	pointed int
}

func (out *Output) act(kind uint8, target Table, ptr int) {
	out.open = -1
	if out.rejected {
		return
	}
	action := action{kind: kind, target: uint16(target), record: out.record, ptr: uint32(ptr)}
	if kind != row && out.said >= 0 {
		out.open = out.said
		out.actions[out.said] = action
		return
	}
	out.open = len(out.actions)
	if kind != row {
		out.said = out.open
	}
	out.actions = append(out.actions, action)
}

// Keep: the record goes on unchanged.
func (out *Output) Keep() {
	out.act(keep, 0, 0)
	out.open = -1
}

// KeepIn: the record goes on unchanged, to this table.
func (out *Output) KeepIn(table Table) {
	out.act(keep, table, 0)
	out.open = -1
}

// Patch: the record goes on with the columns changed that are set next.
func (out *Output) Patch() *Output {
	out.act(patch, 0, len(out.cells))
	out.highest = 0
	return out
}

// Row makes a new row of the record, with the columns that are set next and no others. As often as
// wanted; the record itself only goes on if it is kept or patched as well.
func (out *Output) Row() *Output {
	out.act(row, 0, len(out.cells))
	out.highest = 0
	return out
}

// Emit makes a record for a Kafka topic, as it is to stand there: key and value are null until they are
// set. As often as wanted, and beside all else that is said; the record itself only goes on if it is kept
// or patched as well. It needs the sink `kafka`; without it the record is refused.
func (out *Output) Emit(topic Topic) Emit {
	if out.rejected {
		return Emit{out, -1}
	}
	index := len(out.emits)
	out.emits = append(out.emits, Record{timestampMs: -1, partition: -1, flags: keyNull | valueNull})
	out.actions = append(out.actions, action{
		kind: emit, target: uint16(topic), record: out.record,
		ptr: uint32(index), len: uint32(unsafe.Sizeof(Record{})),
	})
	return Emit{out, index}
}

// Reject: the record is refused, with its rows and what was emitted. It goes to the dead letters, with the reason.
func (out *Output) Reject(reason string) {
	start := len(out.bytes)
	out.bytes = append(out.bytes, reason...)
	out.actions = out.actions[:out.first]
	out.said, out.rejected = -1, false
	out.act(reject, 0, start)
	out.actions[out.open].len = uint32(len(reason))
	out.open, out.rejected = -1, true
}

// ToTable sends the patch or row that was begun last to this table.
func (out *Output) ToTable(table Table) *Output {
	if out.open >= 0 {
		out.actions[out.open].target = uint16(table)
	}
	return out
}

// Set takes a column over as a cell holds it.
func (out *Output) Set(column Column, cell *Cell) *Output {
	return out.put(Cell{column, cell.Kind, cell.flags, cell.len, cell.value})
}

// SetF64 sets a column to a number.
func (out *Output) SetF64(column Column, value float64) *Output {
	return out.put(Cell{Column: column, Kind: F64, value: math.Float64bits(value)})
}

// SetI64 sets a column to an integer.
func (out *Output) SetI64(column Column, value int64) *Output {
	return out.put(Cell{Column: column, Kind: I64, value: uint64(value)})
}

// SetBool sets a column to true or false.
func (out *Output) SetBool(column Column, value bool) *Output {
	bit := uint64(0)
	if value {
		bit = 1
	}
	return out.put(Cell{Column: column, Kind: Bool, value: bit})
}

// SetTimestamp sets a column to a time since 1970.
func (out *Output) SetTimestamp(column Column, since1970 int64, unit Unit) *Output {
	return out.put(Cell{Column: column, Kind: Timestamp, flags: uint8(unit), value: uint64(since1970)})
}

// SetNull sets a column to null.
func (out *Output) SetNull(column Column) *Output { return out.put(Cell{Column: column}) }

// SetText sets a column to text. Text that is a part of the record is not copied.
func (out *Output) SetText(column Column, value string) *Output {
	return out.pointing(column, Text, 0, value)
}

// SetSymbol sets a column to text with few distinct values.
func (out *Output) SetSymbol(column Column, value string) *Output {
	return out.pointing(column, Symbol, 0, value)
}

// SetBytes sets a column to bytes.
func (out *Output) SetBytes(column Column, value []byte) *Output {
	return out.pointing(column, Bytes, 0, unsafe.String(unsafe.SliceData(value), len(value)))
}

// SetDecimal sets a column to unscaled (big-endian two's complement, 1 to 32 bytes) times ten to
// the power of -scale (to 76).
func (out *Output) SetDecimal(column Column, unscaled []byte, scale uint8) *Output {
	text := unsafe.String(unsafe.SliceData(unscaled), len(unscaled))
	return out.pointing(column, Decimal, scale, text)
}

// SetArray sets a column to an array of this shape, its values row by row.
func (out *Output) SetArray(column Column, shape []uint32, values []float64) *Output {
	start, count := len(out.bytes), 1
	out.bytes = le32(out.bytes, uint32(len(shape)))
	for _, length := range shape {
		out.bytes = le32(out.bytes, length)
		count *= int(length)
	}
	if len(shape)%2 == 0 {
		out.bytes = le32(out.bytes, 0)
	}
	if count != len(values) || len(shape) == 0 {
		out.Reject(fmt.Sprint(len(values), " values in an array of ", shape))
		return out
	}
	for _, value := range values {
		bits := math.Float64bits(value)
		out.bytes = le32(le32(out.bytes, uint32(bits)), uint32(bits>>32))
	}
	length := uint32(len(out.bytes) - start)
	return out.put(Cell{column, Array, 0, length, own | uint64(start)})
}

func le32(to []byte, value uint32) []byte {
	return append(to, byte(value), byte(value>>8), byte(value>>16), byte(value>>24))
}

// Drop leaves a column out, as if the record had never had it.
func (out *Output) Drop(column Column) *Output {
	if out.open < 0 {
		return out
	}
	action := &out.actions[out.open]
	if action.kind == patch {
		return out.put(Cell{Column: column, flags: 1})
	}
	for index := int(action.ptr); index < len(out.cells); index++ {
		if out.cells[index].Column == column {
			out.cells = append(out.cells[:index], out.cells[index+1:]...)
			action.len--
			break
		}
	}
	return out
}

func (out *Output) pointing(column Column, kind Kind, flags uint8, text string) *Output {
	length := uint32(len(text))
	address := uint32(uintptr(unsafe.Pointer(unsafe.StringData(text))))
	value := uint64(address)
	if address < out.input || address-out.input > out.inputLen || length > out.inputLen-(address-out.input) {
		value = own | uint64(len(out.bytes))
		out.bytes = append(out.bytes, text...)
	}
	if length == 0 {
		value = 0
	}
	return out.put(Cell{column, kind, flags, length, value})
}

// Adds a cell, or replaces the one that its column has.
func (out *Output) put(cell Cell) *Output {
	if out.open < 0 {
		return out
	}
	action := &out.actions[out.open]
	if cell.Column > out.highest {
		out.highest = cell.Column
	} else {
		cells := out.cells[action.ptr:]
		for index := range cells {
			if cells[index].Column == cell.Column {
				cells[index] = cell
				return out
			}
		}
	}
	out.cells = append(out.cells, cell)
	action.len++
	return out
}

// Where bytes of a record for a topic lie; never 0, which is a part that was not asked for.
func (out *Output) place(bytes []byte) uint32 {
	out.pointed += len(bytes)
	if len(bytes) == 0 {
		return out.input
	}
	length := uint32(len(bytes))
	offset := uint32(uintptr(unsafe.Pointer(unsafe.SliceData(bytes)))) - out.input
	if offset < out.inputLen && length <= out.inputLen-offset {
		return out.input + offset
	}
	position := uint32(len(out.bytes))
	out.bytes = append(out.bytes, bytes...)
	return out.input + out.inputLen + position
}

// The address of such a place.
func (out *Output) placed(place uint32) uint32 {
	offset := place - out.input
	if place == 0 || offset < out.inputLen {
		return place
	}
	return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(out.bytes)))) + (offset - out.inputLen)
}

func (out *Output) isFull() bool {
	return len(out.actions) >= full || len(out.cells) >= full || len(out.bytes) >= bytesFull ||
		len(out.headers) >= full || out.pointed >= bytesFull
}

// Positions become addresses: nothing moves any more.
func (out *Output) settle() {
	if len(out.cells) == 0 && len(out.bytes) == 0 && len(out.emits) == 0 {
		return
	}
	cells := uint32(uintptr(unsafe.Pointer(unsafe.SliceData(out.cells))))
	bytes := uint32(uintptr(unsafe.Pointer(unsafe.SliceData(out.bytes))))
	emits := uint32(uintptr(unsafe.Pointer(unsafe.SliceData(out.emits))))
	headers := uint32(uintptr(unsafe.Pointer(unsafe.SliceData(out.headers))))
	for index := range out.actions {
		switch action := &out.actions[index]; action.kind {
		case patch, row:
			action.ptr = cells + action.ptr*uint32(unsafe.Sizeof(Cell{}))
		case reject:
			action.ptr += bytes
		case emit:
			action.ptr = emits + action.ptr*uint32(unsafe.Sizeof(Record{}))
		}
	}
	for index := range out.emits {
		record := &out.emits[index]
		record.key, record.value = out.placed(record.key), out.placed(record.value)
		record.headers = headers + record.headers*uint32(unsafe.Sizeof(header{}))
	}
	for index := range out.headers {
		header := &out.headers[index]
		header.name, header.value = out.placed(header.name), out.placed(header.value)
	}
	if len(out.bytes) == 0 {
		return
	}
	for index := range out.cells {
		if cell := &out.cells[index]; cell.value>>32 == 1 && cell.Kind >= Text && cell.Kind != Timestamp {
			cell.value = uint64(bytes) + uint64(uint32(cell.value))
		}
	}
}

// Emit is a record for a topic that is being made; from [Output.Emit]. Bytes that are a part of the
// record it is made from are not copied.
type Emit struct {
	out *Output
	// Its place in `emits`; -1 after a reject.
	index int
}

// Copy takes key, value, headers and timestamp over from a record; no bytes are copied. What is set
// afterwards replaces them, headers are added. Ask for all three ([Init.WantKey], [Init.WantValue],
// [Init.WantHeaders]): without key or value the record is refused, for a null in their place would be a
// tombstone. The partition is not taken over, for the other topic may have fewer.
func (e Emit) Copy(from *Record) Emit {
	to := e.record()
	if to == nil {
		return e
	}
	to.flags, to.timestampMs = from.flags&(keyNull|valueNull), from.timestampMs
	to.key, to.keyLen, to.value, to.valueLen = from.key, from.keyLen, from.value, from.valueLen
	e.out.pointed += int(from.keyLen) + int(from.valueLen)
	if from.headerCount == 0 {
		return e
	}
	for _, header := range unsafe.Slice((*header)(at(from.headers)), from.headerCount) {
		e.out.pointed += int(header.nameLen)
		if header.valueLen != nullLen {
			e.out.pointed += int(header.valueLen)
		}
		e.add(header)
	}
	return e
}

// Key sets the key; nil is null.
func (e Emit) Key(key []byte) Emit {
	if to := e.record(); to != nil {
		to.flags, to.key, to.keyLen = to.flags|keyNull, 0, 0
		if key != nil {
			to.flags, to.key, to.keyLen = to.flags&^keyNull, e.out.place(key), uint32(len(key))
		}
	}
	return e
}

// Value sets the value; nil is null, a tombstone.
func (e Emit) Value(value []byte) Emit {
	if to := e.record(); to != nil {
		to.flags, to.value, to.valueLen = to.flags|valueNull, 0, 0
		if value != nil {
			to.flags, to.value, to.valueLen = to.flags&^valueNull, e.out.place(value), uint32(len(value))
		}
	}
	return e
}

// ValueText sets the value to text.
func (e Emit) ValueText(text string) Emit {
	if text == "" {
		return e.Value([]byte{})
	}
	return e.Value(unsafe.Slice(unsafe.StringData(text), len(text)))
}

// Header adds a header; a value of nil is null.
func (e Emit) Header(name string, value []byte) Emit {
	if e.index < 0 {
		return e
	}
	header := header{
		name:    e.out.place(unsafe.Slice(unsafe.StringData(name), len(name))),
		nameLen: uint32(len(name)), valueLen: nullLen,
	}
	if value != nil {
		header.value, header.valueLen = e.out.place(value), uint32(len(value))
	}
	e.add(header)
	return e
}

// Partition sets the partition; without it, it is chosen by the key.
func (e Emit) Partition(partition int32) Emit {
	if to := e.record(); to != nil {
		to.partition = partition
	}
	return e
}

// TimestampMs sets the timestamp, milliseconds since 1970; without it, it is the time of writing.
func (e Emit) TimestampMs(since1970 int64) Emit {
	if to := e.record(); to != nil {
		to.timestampMs = since1970
	}
	return e
}

func (e Emit) record() *Record {
	if e.index < 0 {
		return nil
	}
	return &e.out.emits[e.index]
}

// Its headers lie together: those of a record that is not the last one move to the end.
func (e Emit) add(known header) {
	out, to := e.out, e.record()
	start, end := to.headers, to.headers+to.headerCount
	if int(end) != len(out.headers) {
		to.headers = uint32(len(out.headers))
		out.headers = append(out.headers, out.headers[start:end]...)
	}
	out.headers = append(out.headers, known)
	to.headerCount++
}

// ---- Exports ----

// All that the bridge reads or writes is reachable from here until the next call: an address in a
// number keeps nothing alive.
var (
	starter    func(*Init) (Transform, error)
	transform  Transform
	arena      []uint64
	output     Output
	cellStride int
)

//go:wasmexport bridge_abi
func exportAbi() int32 { return abi }

//go:wasmexport bridge_alloc
func exportAlloc(length int32) int32 {
	if words := (int(length) + 7) / 8; words > len(arena) {
		arena = make([]uint64, words)
	}
	return int32(uintptr(unsafe.Pointer(unsafe.SliceData(arena))))
}

//go:wasmexport bridge_init
func exportInit(ptr, length int32) int32 {
	defer fail()
	if starter == nil {
		return refuse("no transform was registered: call bridge.Register from an init function")
	}
	init := Init{config: bytes.Clone(unsafe.Slice((*byte)(at(uint32(ptr))), length))}
	started, err := starter(&init)
	switch {
	case err != nil:
		return refuse(err.Error())
	case init.refused != "":
		return refuse(init.refused)
	}
	transform = started
	output.actions = make([]action, 0, 1024)
	return init.wants
}

func refuse(why string) int32 {
	importFail(of(why))
	return -1
}

//go:wasmexport bridge_batch
func exportBatch(ptr int32) int64 {
	defer fail()
	batch, out := (*batch)(at(uint32(ptr))), &output
	cellStride = int(batch.cellStride)
	out.actions, out.cells, out.bytes = out.actions[:0], out.cells[:0], out.bytes[:0]
	out.emits, out.headers, out.pointed = out.emits[:0], out.headers[:0], 0
	out.input, out.inputLen = uint32(ptr), batch.inLen
	record, stride := at(batch.records), uintptr(batch.recordStride)
	for index := range batch.count {
		batch.progress = index
		out.record, out.first = index, len(out.actions)
		out.said, out.open, out.rejected = -1, -1, false
		transform.Record((*Record)(record), out)
		if out.isFull() {
			batch.consumed = index + 1
			break
		}
		record = unsafe.Add(record, stride)
	}
	out.settle()
	actions := uint32(uintptr(unsafe.Pointer(unsafe.SliceData(out.actions))))
	return int64(uint64(actions)<<32 | uint64(len(out.actions)))
}

// A panic's message and place reach the bridge; the instance ends.
func fail() {
	cause := recover()
	if cause == nil {
		return
	}
	message := "panic: " + fmt.Sprint(cause)
	for skip := 1; ; skip++ {
		caller, file, line, ok := runtime.Caller(skip)
		if !ok {
			break
		}
		name := runtime.FuncForPC(caller).Name()
		if !strings.HasPrefix(name, "runtime.") && !strings.Contains(name, "/bridge.") {
			message += " at " + filepath.Base(file) + ":" + strconv.Itoa(line)
			break
		}
	}
	importFail(of(message))
	os.Exit(2)
}
