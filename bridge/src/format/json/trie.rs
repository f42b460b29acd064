//! What stood between the values of earlier records: names, brackets, commas and white space, as
//! paths of a trie. A record whose bytes follow a path to its end has the structure, the names and
//! the columns of the record that the path was made from, whatever its values are:
//!
//! ```text
//! {"ts": ──ts──▶ ,"site": ──site──▶ ,"ok": ──ok──▶ }
//!                          └──────▶ }
//! ```
//!
//! Invariant: no path has a column twice, for none is added that has.

use crate::format::document::Document;

/// Nodes, at most: twice the fields that a record may have.
const NODES_MAX: usize = 4_096;
/// Bytes of all literals, at most.
const LITERALS_BYTES_MAX: usize = 128 * 1_024;
/// Literals between which a record may choose at one place; each costs a comparison.
const CHOICES_MAX: usize = 8;

/// The index of no node.
const NONE: u32 = u32::MAX;

/// What stands before a value, or behind the last one.
#[derive(Clone, Copy)]
pub(super) struct Node {
    /// Its first sixteen bytes, and which of them count.
    first: u128,
    mask: u128,
    /// Where all of it begins in the literals.
    literal: u32,
    pub(super) len: u32,
    /// The value's column; 0 behind the last value.
    pub(super) column: u16,
    /// The longest of those that may follow its value.
    pub(super) next: u32,
    /// The next one in length that may stand in its place.
    other: u32,
}

/// The paths.
pub(super) struct Trie {
    nodes: Vec<Node>,
    literals: Vec<u8>,
    first: u32,
}

impl Default for Trie {
    fn default() -> Trie {
        Trie { nodes: Vec::new(), literals: Vec::new(), first: NONE }
    }
}

impl Trie {
    /// Where paths begin.
    #[inline(always)]
    pub(super) fn first(&self) -> u32 {
        self.first
    }

    /// The one of the nodes at one place that the document goes on with.
    #[inline(always)]
    pub(super) fn find(&self, place: u32, document: Document<'_>, at: usize) -> Option<&Node> {
        let window = document.sixteen(at);
        let mut place = place;
        loop {
            let node = self.nodes.get(place as usize)?;
            if (window ^ node.first) & node.mask == 0
                && (node.len <= 16 || self.is_long(node, document, at))
                && (node.column != 0 || at + node.len as usize == document.bytes().len())
            {
                return Some(node);
            }
            place = node.other;
        }
    }

    /// Compares what is beyond sixteen bytes.
    fn is_long(&self, node: &Node, document: Document<'_>, at: usize) -> bool {
        document.bytes()[at + 16..].starts_with(&self.literal(node)[16..])
    }

    fn literal(&self, node: &Node) -> &[u8] {
        &self.literals[node.literal as usize..(node.literal + node.len) as usize]
    }

    /// Adds the path of a record: each literal with its value's column, and 0 for the last. Paths
    /// that have become too many are forgotten first.
    pub(super) fn add<'a>(&mut self, path: impl Iterator<Item = (&'a [u8], u16)> + Clone) {
        if self.try_add(path.clone()).is_none() {
            *self = Trie::default();
            // One that is too large alone leaves a part of a path, which never comes to its end.
            let _too_large = self.try_add(path);
        }
    }

    fn try_add<'a>(&mut self, path: impl Iterator<Item = (&'a [u8], u16)>) -> Option<()> {
        let mut parent = NONE;
        for (literal, column) in path {
            parent = self.step(parent, literal, column)?;
        }
        Some(())
    }

    /// The node of a literal below its parent, made if there is none.
    fn step(&mut self, parent: u32, literal: &[u8], column: u16) -> Option<u32> {
        // The longest come first: `"a":` would take what begins with `"a":{"b":`.
        let (mut before, mut behind) = (NONE, self.next_of(parent));
        let mut choices = 1;
        while let Some(node) = self.nodes.get(behind as usize) {
            if self.literal(node) == literal {
                return Some(behind);
            }
            if node.len as usize >= literal.len() {
                before = behind;
            }
            choices += 1;
            behind = node.other;
        }
        let room = self.literals.len() + literal.len() <= LITERALS_BYTES_MAX;
        if choices > CHOICES_MAX || self.nodes.len() >= NODES_MAX || !room {
            return None;
        }
        let link = match self.nodes.get(before as usize) {
            Some(node) => node.other,
            None => self.next_of(parent),
        };
        let index = self.nodes.len() as u32;
        self.nodes.push(node(literal, self.literals.len(), column, link));
        self.literals.extend_from_slice(literal);
        if let Some(node) = self.nodes.get_mut(before as usize) {
            node.other = index;
        } else if let Some(node) = self.nodes.get_mut(parent as usize) {
            node.next = index;
        } else {
            self.first = index;
        }
        Some(index)
    }

    /// Room for nodes and literals.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.nodes.capacity(), self.literals.capacity())
    }

    fn next_of(&self, parent: u32) -> u32 {
        self.nodes.get(parent as usize).map_or(self.first, |node| node.next)
    }
}

fn node(literal: &[u8], at: usize, column: u16, other: u32) -> Node {
    let len = literal.len();
    let mask = if len < 16 { (1 << (8 * len)) - 1 } else { u128::MAX };
    let first = Document::new(literal).sixteen(0);
    Node { first, mask, literal: at as u32, len: len as u32, column, next: NONE, other }
}
