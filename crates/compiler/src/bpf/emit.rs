//! Decision graph → instructions.
//!
//! The program is laid out from its end to its beginning, so that whatever a jump leads to has its place
//! already. Each question becomes a conditional jump; the word it is about is loaded before, unless every
//! way to it has just asked about the same word. A conditional jump reaches 255 instructions: past that the
//! way is continued by a copy of the return it leads to, or else by an unconditional jump.

use super::{Insn, op};
use crate::action::Action;
use crate::arch::ByteOrder;
use crate::decision::{Graph, Node, NodeId, Question, Word};

/// How far a conditional jump reaches.
const REACH: usize = u8::MAX as usize;

/// The instructions of a graph for kernels of a byte order. However long they come out: the caller checks.
#[must_use]
pub fn emit(graph: &Graph, byte_order: ByteOrder) -> Vec<Insn> {
    let mut emitter = Emitter::new(graph, byte_order);
    emitter.graph();
    emitter.reversed.reverse();
    emitter.reversed
}

struct Emitter<'a> {
    graph: &'a Graph,
    byte_order: ByteOrder,
    /// The program from its end: an instruction's place in here is its distance from the end.
    reversed: Vec<Insn>,
    /// By node.
    entries: Vec<Entry>,
}

/// Where a node can be entered.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// Whether some way to it must load its word first.
    needs_load: bool,
    /// Where to go with any accumulator.
    anyhow: Option<usize>,
    /// Where to go with its word in the accumulator.
    loaded: Option<usize>,
}

impl<'a> Emitter<'a> {
    fn new(graph: &'a Graph, byte_order: ByteOrder) -> Emitter<'a> {
        let mut emitter = Emitter {
            graph,
            byte_order,
            reversed: Vec::new(),
            entries: vec![Entry::default(); graph.len()],
        };
        emitter.entries[graph.root().index()].needs_load = true;
        for id in emitter.reachable() {
            let (left, ways) = match graph.node(id) {
                Node::Answer(_) => continue,
                Node::Ask {
                    word,
                    question,
                    yes,
                    no,
                } => (left_by(word, question), [yes, no]),
                Node::Strip { next, .. } => (Some(Word::Nr), [next, next]),
            };
            for next in ways {
                if left != emitter.asked(next) {
                    emitter.entries[next.index()].needs_load = true;
                }
            }
        }
        emitter
    }

    /// Every node that the root leads to, each after one of its predecessors.
    fn reachable(&self) -> Vec<NodeId> {
        let mut seen = vec![false; self.graph.len()];
        let mut reachable = Vec::new();
        let mut open = vec![self.graph.root()];
        while let Some(id) = open.pop() {
            if std::mem::replace(&mut seen[id.index()], true) {
                continue;
            }
            reachable.push(id);
            match self.graph.node(id) {
                Node::Answer(_) => {}
                Node::Ask { yes, no, .. } => open.extend([yes, no]),
                Node::Strip { next, .. } => open.push(next),
            }
        }
        reachable
    }

    /// Emits every node after those it leads to. What is emitted last before a node is what it falls through to.
    fn graph(&mut self) {
        let mut open = vec![(self.graph.root(), false)];
        while let Some((id, successors_done)) = open.pop() {
            if self.is_emitted(id) {
                continue;
            }
            match self.graph.node(id) {
                Node::Answer(action) => self.answer(id, action),
                Node::Ask {
                    word,
                    question,
                    yes,
                    no,
                } if successors_done => {
                    self.ask(id, word, question, [yes, no]);
                }
                Node::Strip { bits, next } if successors_done => self.strip(id, bits, next),
                Node::Strip { next, .. } => open.extend([(id, true), (next, false)]),
                Node::Ask { yes, no, .. } => {
                    open.push((id, true));
                    // Taken from the end: `yes` first, `no` last, so that `no` is what a node falls through to.
                    open.extend([(no, false), (yes, false)]);
                }
            }
        }
    }

    fn is_emitted(&self, id: NodeId) -> bool {
        let entry = &self.entries[id.index()];
        entry.anyhow.is_some() || entry.loaded.is_some()
    }

    fn answer(&mut self, id: NodeId, action: Action) {
        let at = self.push(op::RET_K, 0, 0, action.to_ret());
        self.entries[id.index()].anyhow = Some(at);
    }

    fn ask(&mut self, id: NodeId, word: Word, question: Question, ways: [NodeId; 2]) {
        let left = left_by(word, question);
        let [yes, no] = self.bring_near(ways, left);
        let here = self.reversed.len();
        let at = match question {
            Question::Is(k) => self.push(op::JEQ_K, distance(here, yes), distance(here, no), k),
            Question::AtLeast(k) => {
                self.push(op::JGE_K, distance(here, yes), distance(here, no), k)
            }
            Question::HasAny(k) => {
                self.push(op::JSET_K, distance(here, yes), distance(here, no), k)
            }
            Question::Masked { mask, value } => {
                self.push(op::JEQ_K, distance(here, yes), distance(here, no), value);
                self.push(op::AND_K, 0, 0, mask)
            }
        };
        self.enter(id, word, at);
    }

    /// What comes next finds the number without the bits in the accumulator, and must not load it again.
    fn strip(&mut self, id: NodeId, bits: u32, next: NodeId) {
        let target = self.place(next, Some(Word::Nr));
        if target + 1 < self.reversed.len() {
            self.jump(target);
        }
        let at = self.push(op::AND_K, 0, 0, !bits);
        self.enter(id, Word::Nr, at);
    }

    /// Makes the entries of a node whose instruction is there, with the load of its word before it if some way needs that.
    fn enter(&mut self, id: NodeId, word: Word, loaded: usize) {
        let needs_load = self.entries[id.index()].needs_load;
        let load = needs_load.then(|| self.push(op::LD_W_ABS, 0, 0, offset(word, self.byte_order)));
        let entry = &mut self.entries[id.index()];
        entry.loaded = Some(loaded);
        entry.anyhow = load;
    }

    /// The places that the ways lead to, each within reach of the next instruction.
    fn bring_near(&mut self, ways: [NodeId; 2], left: Option<Word>) -> [usize; 2] {
        // A step inserted for one way moves the other further off: one to spare for it.
        for way in ways {
            let target = self.place(way, left);
            if self.reversed.len() - target >= REACH {
                self.step(way, target, left);
            }
        }
        ways.map(|way| self.place(way, left))
    }

    /// Continues a way that is too long for a conditional jump, for all that come after it as well.
    fn step(&mut self, way: NodeId, target: usize, left: Option<Word>) {
        let at = match self.graph.node(way) {
            Node::Answer(action) => self.push(op::RET_K, 0, 0, action.to_ret()),
            Node::Ask { .. } | Node::Strip { .. } => self.jump(target),
        };
        let loaded = self.is_entered_loaded(way, left);
        let entry = &mut self.entries[way.index()];
        if loaded {
            entry.loaded = Some(at);
        } else {
            entry.anyhow = Some(at);
        }
    }

    fn jump(&mut self, target: usize) -> usize {
        let skipped = self.reversed.len() - target - 1;
        self.push(op::JA, 0, 0, u32::try_from(skipped).unwrap_or(u32::MAX))
    }

    /// Where to enter a node, coming with this word in the accumulator.
    fn place(&self, id: NodeId, left: Option<Word>) -> usize {
        let entry = &self.entries[id.index()];
        let place = if self.is_entered_loaded(id, left) {
            entry.loaded
        } else {
            entry.anyhow
        };
        place.expect("a node is emitted after all that it leads to, with each entry that is needed")
    }

    fn is_entered_loaded(&self, id: NodeId, left: Option<Word>) -> bool {
        let asked = self.asked(id);
        asked.is_some() && asked == left
    }

    /// The word that a node asks about.
    fn asked(&self, id: NodeId) -> Option<Word> {
        match self.graph.node(id) {
            Node::Ask { word, .. } => Some(word),
            Node::Strip { .. } => Some(Word::Nr),
            Node::Answer(_) => None,
        }
    }

    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> usize {
        self.reversed.push(Insn { code, jt, jf, k });
        self.reversed.len() - 1
    }
}

/// The word that the accumulator holds behind a question.
fn left_by(word: Word, question: Question) -> Option<Word> {
    match question {
        Question::Masked { .. } => None,
        _ => Some(word),
    }
}

/// How many instructions lie between the next one and a place behind it.
fn distance(next: usize, place: usize) -> u8 {
    u8::try_from(next - place - 1)
        .expect("places are brought within reach before they are jumped to")
}

/// Where a word lies in `seccomp_data`, in bytes.
fn offset(word: Word, byte_order: ByteOrder) -> u32 {
    let (low, high) = match byte_order {
        ByteOrder::Little => (0, 4),
        ByteOrder::Big => (4, 0),
    };
    match word {
        Word::Nr => 0,
        Word::Arch => 4,
        Word::Low(arg) => 16 + 8 * u32::from(arg) + low,
        Word::High(arg) => 16 + 8 * u32::from(arg) + high,
    }
}
