//! Combining functions, and taking them apart.

use std::collections::{BTreeSet, HashMap};

use super::diagram::{Bit, Diagrams, END, Hashing, NO, Node, NodeId, Word, YES};
use super::{Built, ProofError};
use crate::action::Action;

/// So many values of a word may lead to something else than the one before.
const MOST_PIECES: usize = 1 << 16;

/// Bits that must have values, one list of them or another: (mask, value).
type Cubes = Vec<(u64, u64)>;

/// What pairs of functions come to together.
type Combined = HashMap<(NodeId, NodeId), NodeId, Hashing>;

impl Diagrams {
    /// What two filters of a process say together: the more severe answer, of equally severe ones the newer filter's.
    pub(super) fn most_severe(&mut self, newer: NodeId, older: NodeId) -> Built {
        self.more_severe(newer, older, &mut Combined::default())
    }

    fn more_severe(&mut self, newer: NodeId, older: NodeId, known: &mut Combined) -> Built {
        if newer == older {
            return Ok(newer);
        }
        if let (Some(a), Some(b)) = (self.as_action(newer), self.as_action(older)) {
            return Ok(match b.severity() < a.severity() {
                true => older,
                false => newer,
            });
        }
        if let Some(known) = known.get(&(newer, older)) {
            return Ok(*known);
        }
        let (bit, [a, b]) = self.halves([newer, older]);
        let zero = self.more_severe(a[0], b[0], known)?;
        let one = self.more_severe(a[1], b[1], known)?;
        let combined = self.node(bit, zero, one)?;
        known.insert((newer, older), combined);
        Ok(combined)
    }

    /// The first bit that two functions ask for, and where it leads each.
    fn halves(&self, functions: [NodeId; 2]) -> (Bit, [[NodeId; 2]; 2]) {
        let nodes = functions.map(|function| self.at(function));
        let bit = nodes[0].bit.min(nodes[1].bit);
        let half = |function: NodeId, node: Node| match node.bit == bit {
            true => [node.zero, node.one],
            false => [function, function],
        };
        let [a, b] = functions;
        (bit, [half(a, nodes[0]), half(b, nodes[1])])
    }

    /// The different answers that two functions give to a call, in the order of actions.
    pub(super) fn differences(&self, a: NodeId, b: NodeId) -> Vec<(Action, Action)> {
        let mut seen = BTreeSet::new();
        let mut pairs = BTreeSet::new();
        let mut open = vec![(a, b)];
        while let Some((a, b)) = open.pop() {
            if a == b || !seen.insert((a, b)) {
                continue;
            }
            if let (Some(a), Some(b)) = (self.as_action(a), self.as_action(b)) {
                pairs.insert((a, b));
                continue;
            }
            let (_, [a, b]) = self.halves([a, b]);
            open.extend([(a[0], b[0]), (a[1], b[1])]);
        }
        pairs.into_iter().collect()
    }

    /// The calls to which a function answers with an action, as a condition.
    pub(super) fn answered(&mut self, function: NodeId, action: Action) -> Built {
        self.answered_known(function, action, &mut HashMap::default())
    }

    fn answered_known(
        &mut self,
        function: NodeId,
        action: Action,
        known: &mut HashMap<NodeId, NodeId, Hashing>,
    ) -> Built {
        if let Some(own) = self.as_action(function) {
            return Ok(if own == action { YES } else { NO });
        }
        if let Some(known) = known.get(&function) {
            return Ok(*known);
        }
        let Node { bit, zero, one } = self.at(function);
        let zero = self.answered_known(zero, action, known)?;
        let one = self.answered_known(one, action, known)?;
        let answered = self.node(bit, zero, one)?;
        known.insert(function, answered);
        Ok(answered)
    }

    /// A condition for arguments whose upper halves are 0, as those of 32-bit ABIs are.
    pub(super) fn with_narrow_arguments(&mut self, condition: NodeId) -> Built {
        let mut narrow = condition;
        for word in (0..6).map(Word::ArgumentHigh) {
            narrow = self.with_zero(narrow, word, &mut HashMap::default())?;
        }
        Ok(narrow)
    }

    fn with_zero(
        &mut self,
        function: NodeId,
        word: Word,
        known: &mut HashMap<NodeId, NodeId, Hashing>,
    ) -> Built {
        let Node { bit, zero, one } = self.at(function);
        if bit >= word.first_bit() + 32 {
            return Ok(function);
        }
        if bit >= word.first_bit() {
            return self.with_zero(zero, word, known);
        }
        if let Some(known) = known.get(&function) {
            return Ok(*known);
        }
        let zero = self.with_zero(zero, word, known)?;
        let one = self.with_zero(one, word, known)?;
        let made = self.node(bit, zero, one)?;
        known.insert(function, made);
        Ok(made)
    }

    /// The values of a word by where they lead: ranges in order, and what the function is there. It asks for no word before that one.
    pub(super) fn by_values(
        &self,
        function: NodeId,
        word: Word,
    ) -> Result<Vec<(u32, u32, NodeId)>, ProofError> {
        let span = Span {
            first: word.first_bit(),
            bits: 32,
        };
        let ranges = self.ranges_of(function, span, MOST_PIECES);
        let ranges = ranges.ok_or(ProofError::TooLarge)?.into_iter();
        let cut = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        Ok(ranges.map(|(a, b, node)| (cut(a), cut(b), node)).collect())
    }

    /// The values of a word for which a condition on it holds, if they are no more than `most` ranges.
    pub(super) fn few_values(
        &self,
        condition: NodeId,
        word: Word,
        most: usize,
    ) -> Option<Vec<(u32, u32)>> {
        let span = Span {
            first: word.first_bit(),
            bits: 32,
        };
        let ranges = self.ranges_of(condition, span, 2 * most)?.into_iter();
        let cut = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let held = ranges.filter(|(.., holds)| *holds == YES);
        Some(
            held.map(|(first, last, _)| (cut(first), cut(last)))
                .collect(),
        )
    }

    /// As [`by_values`](Self::by_values) for neighbouring words as one number, if there are no more than `most` ranges.
    pub(super) fn ranges_of(
        &self,
        function: NodeId,
        span: Span,
        most: usize,
    ) -> Option<Vec<(u64, u64, NodeId)>> {
        let mut ranges = Vec::new();
        self.add_ranges(function, span, span.bits, 0, most, &mut ranges)
            .then_some(ranges)
    }

    fn add_ranges(
        &self,
        function: NodeId,
        span: Span,
        bits: u16,
        prefix: u64,
        most: usize,
        ranges: &mut Vec<(u64, u64, NodeId)>,
    ) -> bool {
        let node = self.at(function);
        if node.bit >= span.first + span.bits {
            let last = prefix | 1_u64.checked_shl(bits.into()).unwrap_or(0).wrapping_sub(1);
            match ranges.last_mut() {
                Some(before) if before.2 == function => before.1 = last,
                _ => ranges.push((prefix, last, function)),
            }
            return ranges.len() <= most;
        }
        let bits = bits - 1;
        let asks_here = node.bit == span.first + span.bits - 1 - bits;
        let [zero, one] = match asks_here {
            true => [node.zero, node.one],
            false => [function, function],
        };
        self.add_ranges(zero, span, bits, prefix, most, ranges)
            && self.add_ranges(one, span, bits, prefix | 1 << bits, most, ranges)
    }

    /// The functions that the values of a span lead to, each with the values that do. The function asks for nothing before the span.
    pub(super) fn by_rest(
        &mut self,
        function: NodeId,
        span: Span,
    ) -> Result<Vec<(NodeId, NodeId)>, ProofError> {
        self.by_rest_known(function, span, &mut HashMap::default())
    }

    fn by_rest_known(
        &mut self,
        function: NodeId,
        span: Span,
        known: &mut HashMap<NodeId, Vec<(NodeId, NodeId)>, Hashing>,
    ) -> Result<Vec<(NodeId, NodeId)>, ProofError> {
        let Node { bit, zero, one } = self.at(function);
        if bit >= span.first + span.bits {
            return Ok(vec![(YES, function)]);
        }
        if let Some(known) = known.get(&function) {
            return Ok(known.clone());
        }
        let zeros = self.by_rest_known(zero, span, known)?;
        let ones = self.by_rest_known(one, span, known)?;
        let values = |parts: &[(NodeId, NodeId)], rest: NodeId| {
            let part = parts.iter().find(|(_, other)| *other == rest);
            part.map_or(NO, |(values, _)| *values)
        };
        let mut parts = Vec::new();
        for (_, rest) in zeros.iter().chain(&ones) {
            if parts.iter().all(|(_, known)| known != rest) {
                let set = self.node(bit, values(&zeros, *rest), values(&ones, *rest))?;
                parts.push((set, *rest));
            }
        }
        known.insert(function, parts.clone());
        Ok(parts)
    }

    /// A condition on a span as alternatives of bits that must have values: (mask, value); `None` if they are more than `most`. No alternative is
    /// needless (Minato's irredundant sums of products).
    pub(super) fn alternatives(
        &mut self,
        condition: NodeId,
        span: Span,
        most: usize,
    ) -> Result<Option<Cubes>, ProofError> {
        let mut left = 64 * most;
        let found = self.cover(condition, condition, span, &mut left)?;
        Ok(found
            .map(|(cubes, _)| cubes)
            .filter(|cubes| cubes.len() <= most))
    }

    /// Alternatives that hold at least where `needed` does and at most where `allowed` does, and the condition that they are.
    fn cover(
        &mut self,
        needed: NodeId,
        allowed: NodeId,
        span: Span,
        left: &mut usize,
    ) -> Result<Option<(Cubes, NodeId)>, ProofError> {
        if needed == NO {
            return Ok(Some((Vec::new(), NO)));
        }
        if allowed == YES {
            return Ok(Some((vec![(0, 0)], YES)));
        }
        let Some(fewer) = left.checked_sub(1) else {
            return Ok(None);
        };
        *left = fewer;
        let (bit, [n, a]) = self.halves([needed, allowed]);
        let only_zero = self.choose(a[1], NO, n[0])?;
        let only_one = self.choose(a[0], NO, n[1])?;
        let Some((zeros, by_zero)) = self.cover(only_zero, a[0], span, left)? else {
            return Ok(None);
        };
        let Some((ones, by_one)) = self.cover(only_one, a[1], span, left)? else {
            return Ok(None);
        };
        let left_zero = self.choose(by_zero, NO, n[0])?;
        let left_one = self.choose(by_one, NO, n[1])?;
        let left_over = self.either(left_zero, left_one)?;
        let both = self.both(a[0], a[1])?;
        let Some((rest, by_rest)) = self.cover(left_over, both, span, left)? else {
            return Ok(None);
        };
        let mask = 1_u64 << (span.first + span.bits - 1 - bit);
        let zeros = zeros.into_iter().map(|(m, v)| (m | mask, v));
        let ones = ones.into_iter().map(|(m, v)| (m | mask, v | mask));
        let cubes = zeros.chain(ones).chain(rest).collect();
        let zero = self.either(by_zero, by_rest)?;
        let one = self.either(by_one, by_rest)?;
        Ok(Some((cubes, self.node(bit, zero, one)?)))
    }

    /// Whether it asks for no bit behind a span.
    pub(super) fn asks_only_within(&self, function: NodeId, span: Span) -> bool {
        let mut bits = self
            .nodes_of(function)
            .into_iter()
            .map(|id| self.at(id).bit);
        bits.all(|bit| bit == END || bit < span.first + span.bits)
    }

    /// Whether it asks for a bit of a span; it asks for none before that.
    pub(super) fn asks_within(&self, function: NodeId, span: Span) -> bool {
        let bit = self.at(function).bit;
        bit != END && bit < span.first + span.bits
    }
}

/// Neighbouring bits in the order, as one number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) first: Bit,
    pub(super) bits: u16,
}
