//! The decision graph: a policy as yes-or-no questions about 32-bit words.
//!
//! A filter can compare one 32-bit word of `seccomp_data` with a constant at a time. The graph is the policy
//! cut down to such questions, with equal parts shared: i386 and x32 ask the same of `clone`, so they share
//! the node that asks. Nothing here knows of instructions, jumps or offsets.
//!
//! [`lower`](lower::lower) makes it from a policy: the architecture first, then the number by a
//! [search tree](search_tree), then the arguments by `rules`.
//!
//! Invariant: a graph is acyclic, because a node can only name nodes that were there before it.

mod leaves;
pub mod lower;
mod rules;
pub mod search_tree;
pub mod workload;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::RangeInclusive;

use crate::action::Action;
use crate::call::{Call, high_half, low_half};

/// A word of `seccomp_data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Word {
    /// The `AUDIT_ARCH_*` value.
    Arch,
    /// The number.
    Nr,
    /// Bits 0 to 31 of an argument, 0 to 5.
    Low(u8),
    /// Bits 32 to 63 of an argument, 0 to 5.
    High(u8),
}

/// A question about a word, unsigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    /// Is it this value?
    Is(u32),
    /// Is it this value or above?
    AtLeast(u32),
    /// Has it any of these bits?
    HasAny(u32),
    /// Is it this value in the bits of the mask?
    Masked {
        /// The bits that count.
        mask: u32,
        /// What they must be.
        value: u32,
    },
}

/// Where to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

/// One step of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Node {
    /// The end.
    Answer(Action),
    /// A question, and where each answer leads.
    Ask {
        /// What it is about.
        word: Word,
        /// What is asked.
        question: Question,
        /// Where to go if so.
        yes: NodeId,
        /// Where to go if not.
        no: NodeId,
    },
    /// From here on the number counts without these bits: x32's are those of x86_64 with a bit more, and lead to the
    /// same for the most part.
    Strip {
        /// The bits.
        bits: u32,
        /// Where to go on.
        next: NodeId,
    },
}

/// A whole decision, from its root.
#[derive(Clone, Debug)]
pub struct Graph {
    nodes: Vec<Node>,
    root: NodeId,
}

impl Graph {
    /// What it answers to a call.
    #[must_use]
    pub fn evaluate(&self, call: &Call) -> Action {
        let mut at = self.root;
        let mut call = *call;
        loop {
            match self.node(at) {
                Node::Answer(action) => return action,
                Node::Ask {
                    word,
                    question,
                    yes,
                    no,
                } => {
                    let so = question.holds(word.of(&call));
                    at = if so { yes } else { no };
                }
                Node::Strip { bits, next } => {
                    call.nr &= !bits;
                    at = next;
                }
            }
        }
    }

    /// Where it begins.
    #[must_use]
    pub fn root(&self) -> NodeId {
        self.root
    }

    /// A node by its name, which must come from this graph.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Node {
        self.nodes[id.index()]
    }

    /// How many nodes there are; names are below it ([`NodeId::index`]).
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Never: a graph has at least an answer.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}

impl NodeId {
    /// Its place among the nodes. Successors have smaller ones.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl Word {
    /// Its value in a call.
    #[must_use]
    pub fn of(self, call: &Call) -> u32 {
        match self {
            Word::Arch => call.audit,
            Word::Nr => call.nr,
            Word::Low(arg) => low_half(call.args[usize::from(arg)]),
            Word::High(arg) => high_half(call.args[usize::from(arg)]),
        }
    }
}

impl Question {
    /// The answer for all values of a range that isn't empty, if it's the same for all as far as is easily seen.
    fn holds_for_all(self, values: &RangeInclusive<u32>) -> Option<bool> {
        match self {
            Question::Is(k) if !values.contains(&k) => Some(false),
            Question::AtLeast(k) if *values.start() >= k => Some(true),
            Question::AtLeast(k) if *values.end() < k => Some(false),
            _ if values.start() == values.end() => Some(self.holds(*values.start())),
            _ => None,
        }
    }

    /// The answer for a value.
    #[must_use]
    pub fn holds(self, value: u32) -> bool {
        match self {
            Question::Is(k) => value == k,
            Question::AtLeast(k) => value >= k,
            Question::HasAny(bits) => value & bits != 0,
            Question::Masked {
                mask,
                value: wanted,
            } => value & mask == wanted,
        }
    }
}

/// Makes the nodes of a graph, each once.
#[derive(Debug, Default)]
pub struct GraphBuilder {
    nodes: Vec<Node>,
    known: HashMap<Node, NodeId, BuildHasherDefault<Quick>>,
}

impl GraphBuilder {
    /// The end with this answer.
    pub fn answer(&mut self, action: Action) -> NodeId {
        self.intern(Node::Answer(action))
    }

    /// A question; where both answers lead to the same, that is all there is.
    pub fn ask(&mut self, word: Word, question: Question, yes: NodeId, no: NodeId) -> NodeId {
        if yes == no {
            return yes;
        }
        // Each question in one form only.
        let (question, yes, no) = match question {
            Question::AtLeast(0) => return yes,
            Question::AtLeast(1) => (Question::Is(0), no, yes),
            Question::AtLeast(u32::MAX) => (Question::Is(u32::MAX), yes, no),
            other => (other, yes, no),
        };
        self.intern(Node::Ask {
            word,
            question,
            yes,
            no,
        })
    }

    /// Whether a word has the given value in the bits of a mask, by the cheapest question for it.
    pub fn ask_masked(
        &mut self,
        word: Word,
        (mask, value): (u32, u32),
        yes: NodeId,
        no: NodeId,
    ) -> NodeId {
        let value = value & mask;
        match mask {
            0 => yes,
            u32::MAX => self.ask(word, Question::Is(value), yes, no),
            _ if value == 0 => self.ask(word, Question::HasAny(mask), no, yes),
            _ if mask.is_power_of_two() => self.ask(word, Question::HasAny(mask), yes, no),
            _ => self.ask(word, Question::Masked { mask, value }, yes, no),
        }
    }

    /// Goes on without some bits of the number; where no question follows, that is all there is.
    pub fn strip(&mut self, bits: u32, next: NodeId) -> NodeId {
        match self.nodes[next.index()] {
            Node::Answer(_) => next,
            _ => self.intern(Node::Strip { bits, next }),
        }
    }

    /// The answer of a node that is an end.
    #[must_use]
    pub fn as_answer(&self, id: NodeId) -> Option<Action> {
        match self.nodes[id.index()] {
            Node::Answer(action) => Some(action),
            _ => None,
        }
    }

    /// How far a tree of questions about one word can be gone down when of that word only a range is known.
    #[must_use]
    pub fn descend(&self, root: NodeId, word: Word, values: &RangeInclusive<u32>) -> NodeId {
        let mut at = root;
        while let Node::Ask {
            word: asked,
            question,
            yes,
            no,
        } = self.nodes[at.index()]
        {
            let answer = question.holds_for_all(values).filter(|_| asked == word);
            at = match answer {
                Some(true) => yes,
                Some(false) => no,
                None => break,
            };
        }
        at
    }

    /// A node by its name.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Node {
        self.nodes[id.index()]
    }

    /// How many nodes there are so far.
    #[must_use]
    pub fn made(&self) -> usize {
        self.nodes.len()
    }

    /// Takes back all nodes behind so many, for [`redo`](Self::redo).
    pub fn undo(&mut self, made: usize) -> Vec<Node> {
        let nodes = self.nodes.split_off(made);
        for node in &nodes {
            self.known.remove(node);
        }
        nodes
    }

    /// Makes nodes that were taken back from here again: they get their names back.
    pub fn redo(&mut self, nodes: Vec<Node>) {
        for node in nodes {
            self.intern(node);
        }
    }

    /// The graph that begins at `root`.
    #[must_use]
    pub fn finish(self, root: NodeId) -> Graph {
        Graph {
            nodes: self.nodes,
            root,
        }
    }

    fn intern(&mut self, node: Node) -> NodeId {
        let next =
            NodeId(u32::try_from(self.nodes.len()).expect("fewer than 2^32 nodes fit in memory"));
        let id = *self.known.entry(node).or_insert(next);
        if id == next {
            self.nodes.push(node);
        }
        id
    }
}

/// A hash function for nodes: they are few, and nobody gains by choosing ones that collide.
#[derive(Clone, Copy, Debug, Default)]
struct Quick(u64);

impl Hasher for Quick {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }

    fn write_u16(&mut self, value: u16) {
        self.write_u64(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        // Bits go up with the product; hash maps look at the highest and the lowest ones.
        let product = (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ (product >> 32);
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }
}
