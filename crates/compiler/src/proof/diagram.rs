//! Decision diagrams: functions from the bits of a call to an action, each in one form only.
//!
//! A node asks for one bit, the most significant of a word first, and has a successor for each answer. Bits are asked for in one
//! order, no node has two equal successors, and no two nodes are equal; so two functions are equal exactly when
//! their nodes are the same one. A condition is such a function too, with the answers no and yes.
//!
//! The order is architecture, number, arguments, instruction pointer, because that is how profiles are
//! made: what an argument means depends on the number, and never the other way round.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use super::{Built, ProofError};
use crate::action::Action;
use crate::call::Call;

/// A function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct NodeId(u32);

/// The condition that never holds, and the one that always does.
pub(super) const NO: NodeId = NodeId(0);
pub(super) const YES: NodeId = NodeId(1);

/// A bit of a call, by its place in the order; the end has the last.
pub(super) type Bit = u16;
pub(super) const END: Bit = Bit::MAX;

/// A 32-bit word of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Word {
    Arch,
    Nr,
    ArgumentHigh(u8),
    ArgumentLow(u8),
    PointerHigh,
    PointerLow,
}

impl Word {
    /// The place of its most significant bit in the order.
    pub(super) fn first_bit(self) -> Bit {
        let word = match self {
            Word::Arch => 0,
            Word::Nr => 1,
            Word::ArgumentHigh(arg) => 2 + 2 * Bit::from(arg),
            Word::ArgumentLow(arg) => 3 + 2 * Bit::from(arg),
            Word::PointerHigh => 14,
            Word::PointerLow => 15,
        };
        word * 32
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Node {
    pub(super) bit: Bit,
    /// Where a bit of 0 leads; of an end, the index of its action.
    pub(super) zero: NodeId,
    pub(super) one: NodeId,
}

/// All functions of one comparison.
#[derive(Debug)]
pub(super) struct Diagrams {
    nodes: Vec<Node>,
    known: HashMap<Node, NodeId, Hashing>,
    chosen: HashMap<(NodeId, NodeId, NodeId), NodeId, Hashing>,
    actions: Vec<Action>,
    max: usize,
}

impl Diagrams {
    pub(super) fn new(max: usize) -> Diagrams {
        let end = |index| Node {
            bit: END,
            zero: NodeId(index),
            one: NodeId(index),
        };
        Diagrams {
            // The two conditions that are settled. Actions come behind them.
            nodes: vec![end(u32::MAX - 1), end(u32::MAX)],
            known: HashMap::default(),
            chosen: HashMap::default(),
            actions: Vec::new(),
            max,
        }
    }

    /// The function that always answers with this action.
    pub(super) fn action(&mut self, action: Action) -> Built {
        let index = self
            .actions
            .iter()
            .position(|known| *known == action)
            .unwrap_or_else(|| {
                self.actions.push(action);
                self.actions.len() - 1
            });
        let index = NodeId(u32::try_from(index).map_err(|_| ProofError::TooLarge)?);
        self.intern(Node {
            bit: END,
            zero: index,
            one: index,
        })
    }

    /// The action of a function that is one; `None` if it asks for a bit, or is a condition.
    pub(super) fn as_action(&self, id: NodeId) -> Option<Action> {
        let node = self.at(id);
        let index = usize::try_from(node.zero.0).ok()?;
        self.actions.get(index).copied().filter(|_| node.bit == END)
    }

    /// Whether it asks neither for a word nor for any before it.
    pub(super) fn asks_only_behind(&self, id: NodeId, word: Word) -> bool {
        self.at(id).bit >= word.first_bit() + 32
    }

    /// How many nodes there are by now.
    pub(super) fn count(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn node(&mut self, bit: Bit, zero: NodeId, one: NodeId) -> Built {
        if zero == one {
            return Ok(zero);
        }
        self.intern(Node { bit, zero, one })
    }

    fn intern(&mut self, node: Node) -> Built {
        if let Some(id) = self.known.get(&node) {
            return Ok(*id);
        }
        if self.nodes.len() >= self.max {
            return Err(ProofError::TooLarge);
        }
        let id = NodeId(u32::try_from(self.nodes.len()).map_err(|_| ProofError::TooLarge)?);
        self.nodes.push(node);
        self.known.insert(node, id);
        Ok(id)
    }

    pub(super) fn at(&self, id: NodeId) -> Node {
        self.nodes[id.0 as usize]
    }

    /// `yes` where the condition holds, `no` elsewhere.
    pub(super) fn choose(&mut self, condition: NodeId, yes: NodeId, no: NodeId) -> Built {
        if condition == YES || yes == no {
            return Ok(yes);
        }
        if condition == NO {
            return Ok(no);
        }
        if yes == YES && no == NO {
            return Ok(condition);
        }
        let key = (condition, yes, no);
        if let Some(chosen) = self.chosen.get(&key) {
            return Ok(*chosen);
        }
        let parts = [condition, yes, no].map(|id| self.at(id));
        let bit = parts.iter().map(|node| node.bit).min().unwrap_or(END);
        let part = |one: bool| {
            let pairs = parts.iter().zip([condition, yes, no]);
            let mut part = pairs.map(|(node, id)| match node.bit == bit {
                true if one => node.one,
                true => node.zero,
                false => id,
            });
            [(); 3].map(|()| part.next().unwrap_or(NO))
        };
        let ([c0, y0, n0], [c1, y1, n1]) = (part(false), part(true));
        let zero = self.choose(c0, y0, n0)?;
        let one = self.choose(c1, y1, n1)?;
        let chosen = self.node(bit, zero, one)?;
        if self.chosen.len() >= 2 * self.max {
            return Err(ProofError::TooLarge);
        }
        self.chosen.insert(key, chosen);
        Ok(chosen)
    }

    /// Whether the bits of a word that the mask has are, as a number, equal to `k`.
    pub(super) fn equal(&mut self, word: Word, mask: u32, k: u32) -> Built {
        if k & !mask != 0 {
            return Ok(NO);
        }
        self.word(word, mask, YES, |bit, rest, _| {
            if k >> bit & 1 == 1 {
                [NO, rest]
            } else {
                [rest, NO]
            }
        })
    }

    /// Whether that number is `k` or above.
    pub(super) fn at_least(&mut self, word: Word, mask: u32, k: u32) -> Built {
        // Seen from the least significant bit: whether the bits so far are at least those of k.
        let mut so_far = YES;
        for bit in 0..32 {
            let one_wanted = k >> bit & 1 == 1;
            let has_bit = mask >> bit & 1 == 1;
            so_far = match (has_bit, one_wanted) {
                (false, true) => NO,
                (false, false) => so_far,
                (true, true) => self.node(place(word, bit), NO, so_far)?,
                (true, false) => self.node(place(word, bit), so_far, YES)?,
            };
        }
        Ok(so_far)
    }

    /// Whether a word has any of these bits.
    pub(super) fn has_any(&mut self, word: Word, bits: u32) -> Built {
        self.word(word, bits, NO, |_, rest, _| [rest, YES])
    }

    /// Builds a condition on the bits of a mask from the least significant up: `step` says where 0 and 1 lead.
    fn word(
        &mut self,
        word: Word,
        mask: u32,
        last: NodeId,
        step: impl Fn(u32, NodeId, u32) -> [NodeId; 2],
    ) -> Built {
        let mut rest = last;
        for bit in (0..32).filter(|bit| mask >> bit & 1 == 1) {
            let [zero, one] = step(bit, rest, mask);
            rest = self.node(place(word, bit), zero, one)?;
        }
        Ok(rest)
    }

    /// Both conditions.
    pub(super) fn both(&mut self, a: NodeId, b: NodeId) -> Built {
        self.choose(a, b, NO)
    }

    /// One condition or the other.
    pub(super) fn either(&mut self, a: NodeId, b: NodeId) -> Built {
        self.choose(a, YES, b)
    }

    /// The opposite of a condition.
    pub(super) fn not(&mut self, a: NodeId) -> Built {
        self.choose(a, NO, YES)
    }

    /// A function of a word that is given by where its values begin to lead elsewhere: starts ascend from 0.
    pub(super) fn ranges(&mut self, word: Word, starts: &[(u32, NodeId)]) -> Built {
        self.ranges_below(word, starts, 32, 0)
    }

    /// As [`ranges`](Self::ranges), for the values that have `prefix` above their lowest `bits` bits.
    fn ranges_below(
        &mut self,
        word: Word,
        starts: &[(u32, NodeId)],
        bits: u32,
        prefix: u32,
    ) -> Built {
        let [(_, first), rest @ ..] = starts else {
            return Ok(NO);
        };
        if rest.is_empty() {
            return Ok(*first);
        }
        let bit = bits - 1;
        let middle = prefix | 1 << bit;
        let below = starts.partition_point(|(start, _)| *start < middle);
        // The upper half begins with the last start at or before it.
        let above = if starts.get(below).is_some_and(|(start, _)| *start == middle) {
            below
        } else {
            below - 1
        };
        let zero = self.ranges_below(word, &starts[..below], bit, prefix)?;
        let one = self.ranges_below(word, &starts[above..], bit, middle)?;
        self.node(place(word, bit), zero, one)
    }

    /// A call on which two different functions differ.
    pub(super) fn difference(&self, a: NodeId, b: NodeId) -> Call {
        let mut words = [0_u32; 16];
        let (mut a, mut b) = (a, b);
        loop {
            let (left, right) = (self.at(a), self.at(b));
            let bit = left.bit.min(right.bit);
            if bit == END {
                return call(words);
            }
            let step = |id: NodeId, node: Node| {
                if node.bit == bit {
                    [node.zero, node.one]
                } else {
                    [id, id]
                }
            };
            let ([a0, a1], [b0, b1]) = (step(a, left), step(b, right));
            // Different functions differ in one half at least.
            (a, b) = if a0 == b0 {
                words[usize::from(bit / 32)] |= 1 << (31 - bit % 32);
                (a1, b1)
            } else {
                (a0, b0)
            };
        }
    }

    /// Whether a function has more nodes than that.
    pub(super) fn is_larger(&self, function: NodeId, than: usize) -> bool {
        let mut seen: HashSet<NodeId, Hashing> = HashSet::default();
        let mut open = vec![function];
        while let Some(id) = open.pop() {
            let node = self.at(id);
            if seen.insert(id) && node.bit != END {
                open.extend([node.zero, node.one]);
            }
            if seen.len() > than {
                return true;
            }
        }
        false
    }

    /// How many nodes a function has.
    pub(super) fn size(&self, function: NodeId) -> usize {
        self.nodes_of(function).len()
    }

    pub(super) fn nodes_of(&self, function: NodeId) -> BTreeSet<NodeId> {
        let mut seen = BTreeSet::new();
        let mut open = vec![function];
        while let Some(id) = open.pop() {
            let node = self.at(id);
            if seen.insert(id) && node.bit != END {
                open.extend([node.zero, node.one]);
            }
        }
        seen
    }
}

/// The place in the order of a word's bit, which is counted from the least significant.
fn place(word: Word, bit: u32) -> Bit {
    word.first_bit() + 31 - Bit::try_from(bit & 31).unwrap_or(0)
}

/// A call from its words in the order of the bits.
fn call(words: [u32; 16]) -> Call {
    let wide = |high: usize| u64::from(words[high]) << 32 | u64::from(words[high + 1]);
    Call {
        audit: words[0],
        nr: words[1],
        instruction_pointer: wide(14),
        args: [2, 4, 6, 8, 10, 12].map(wide),
    }
}

/// Multiplies and rotates: keys are small numbers of our own making, not anybody's input.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Quick(u64);

pub(super) type Hashing = BuildHasherDefault<Quick>;

impl Hasher for Quick {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u16(&mut self, value: u16) {
        self.write_u64(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(26) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(u64::try_from(value).unwrap_or(u64::MAX));
    }
}
