//! Arrays: of numbers, regular and of one to three dimensions, they become arrays of doubles; all
//! others become their own JSON, as text.

use bridge_abi::{Cell, Kind, build};
use simd_json::{Node, StaticNode};

use super::flatten::after;
use crate::batch::RowBatch;

/// Dimensions that are told apart.
const DIMS_MAX: usize = 3;

/// The cell of an array.
pub(super) fn cell(tape: &[Node<'_>], node: usize, column: u16, rows: &mut RowBatch) -> Cell {
    let mut shape = [0_u32; DIMS_MAX];
    if let Some(dims) = shape_of(tape, node, &mut shape)
        && let Some(cell) = numbers(tape, node, column, &shape[..dims], rows)
    {
        return cell;
    }
    let at = rows.arena.len();
    write_json(tape, node, &mut rows.arena);
    let len = (rows.arena.len() - at) as u32;
    Cell { column, kind: Kind::Text as u8, flags: 0, len, value: at as u64 }
}

fn numbers(
    tape: &[Node<'_>],
    node: usize,
    column: u16,
    shape: &[u32],
    rows: &mut RowBatch,
) -> Option<Cell> {
    let len = build::array_bytes(shape)?;
    let at = build::align8(rows.arena.len());
    rows.arena.resize(at + len, 0);
    let end = after(tape, node);
    let values = tape[node..end].iter().filter_map(number);
    build::write_array(&mut rows.arena, at, shape, values).ok()?;
    Some(Cell { column, kind: Kind::Array as u8, flags: 0, len: len as u32, value: at as u64 })
}

/// A node that is a number.
pub(in super::super) fn number(node: &Node<'_>) -> Option<f64> {
    match node {
        Node::Static(StaticNode::I64(value)) => Some(*value as f64),
        Node::Static(StaticNode::U64(value)) => Some(*value as f64),
        Node::Static(StaticNode::F64(value)) => Some(*value),
        _ => None,
    }
}

/// The dimensions of a regular array of numbers, if it is one.
fn shape_of(tape: &[Node<'_>], node: usize, shape: &mut [u32; DIMS_MAX]) -> Option<usize> {
    let mut dims = 0;
    let mut at = node;
    while let Node::Array { len, .. } = tape[at] {
        if dims == DIMS_MAX || len == 0 {
            return None;
        }
        shape[dims] = u32::try_from(len).ok()?;
        dims += 1;
        at += 1;
    }
    is_regular(tape, node, &shape[..dims]).then_some(dims)
}

fn is_regular(tape: &[Node<'_>], node: usize, shape: &[u32]) -> bool {
    let Some((first, inner)) = shape.split_first() else { return number(&tape[node]).is_some() };
    let Node::Array { len, .. } = tape[node] else { return false };
    if len != *first as usize {
        return false;
    }
    let mut at = node + 1;
    (0..len).all(|_| {
        let regular = is_regular(tape, at, inner);
        at = after(tape, at);
        regular
    })
}

/// Appends a node as compact JSON.
pub(in super::super) fn write_json(tape: &[Node<'_>], node: usize, out: &mut Vec<u8>) {
    match tape[node] {
        Node::String(text) => write_string(text, out),
        Node::Static(StaticNode::Null) => out.extend_from_slice(b"null"),
        Node::Static(StaticNode::Bool(value)) => {
            out.extend_from_slice(if value { b"true" } else { b"false" });
        }
        Node::Static(StaticNode::I64(value)) => {
            out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        }
        Node::Static(StaticNode::U64(value)) => {
            out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        }
        Node::Static(StaticNode::F64(value)) => {
            out.extend_from_slice(zmij::Buffer::new().format(value).as_bytes());
        }
        Node::Array { len, .. } => {
            let mut at = node + 1;
            out.push(b'[');
            for index in 0..len {
                if index > 0 {
                    out.push(b',');
                }
                write_json(tape, at, out);
                at = after(tape, at);
            }
            out.push(b']');
        }
        Node::Object { len, .. } => {
            let mut at = node + 1;
            out.push(b'{');
            for index in 0..len {
                if index > 0 {
                    out.push(b',');
                }
                write_json(tape, at, out);
                out.push(b':');
                write_json(tape, at + 1, out);
                at = after(tape, at + 1);
            }
            out.push(b'}');
        }
    }
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}
