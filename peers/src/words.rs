//! The order of overlapping rules where they are cut into 32-bit words.
//!
//! callgate orders the rules of a call by whole arguments. libseccomp has a tree of words: of a 64-bit argument the upper
//! comes first, a word whose mask is empty isn't there at all, rules that begin with the same word share it, and words
//! that differ in nothing but their mask are tried as they came. This computes a verdict in that order, so that a
//! difference in order can be told from a fault.

use std::cmp::Ordering;

use callgate::{Action, Call};

use crate::reference::{Reference, Rule, rank};
use crate::rules::{Arg, Operator};

/// The verdict of a call's conditional rules in this order.
pub(crate) fn decide(reference: &Reference, call: &Call) -> Option<Action> {
    let mut tree = Vec::new();
    for rule in reference.rules_of(call) {
        insert(&mut tree, &words(rule), rule.action);
    }
    first_match(&tree, call)
}

/// The lower 32 bits.
const LOW: u64 = 0xffff_ffff;

/// A question about a word.
#[derive(Clone, Copy, Debug)]
struct Word {
    /// In bits: 32 for the upper word.
    shift: u32,
    /// What of the shifted argument counts: 32 bits if it is one of equality or the ABI has no more, else all.
    mask: u64,
    /// Cut in the same way.
    arg: Arg,
}

#[derive(Debug)]
struct Node {
    word: Word,
    action: Option<Action>,
    behind: Vec<Node>,
}

/// The conditions of a rule, those of equality cut in two on a 64-bit ABI.
fn words(rule: &Rule) -> Vec<Word> {
    let mut words = Vec::new();
    for arg in &rule.args {
        let (mask, datum) = match arg.op {
            Operator::Eq => (u64::MAX, arg.value),
            Operator::MaskedEq => (arg.value, arg.value_two),
            _ => {
                words.push(Word {
                    shift: 0,
                    mask: rule.arch.argument_mask(),
                    arg: *arg,
                });
                continue;
            }
        };
        let is_wide = rule.arch.has_64bit_arguments();
        for shift in if is_wide { &[32, 0][..] } else { &[0] } {
            let [mask, datum] = [mask, datum].map(|value| value >> shift & LOW);
            let value = if arg.op == Operator::Eq { datum } else { mask };
            let arg = Arg {
                value,
                value_two: datum,
                ..*arg
            };
            if mask != 0 {
                words.push(Word {
                    shift: *shift,
                    mask: LOW,
                    arg,
                });
            }
        }
    }
    words
}

fn insert(nodes: &mut Vec<Node>, words: &[Word], action: Action) {
    let Some((word, rest)) = words.split_first() else {
        return;
    };
    let same = |node: &Node| node.word.shift == word.shift && node.word.arg.is_same(&word.arg);
    let place = nodes.iter().position(same).unwrap_or_else(|| {
        let after = |node: &Node| order(word, &node.word).is_lt();
        let place = nodes.iter().position(after).unwrap_or(nodes.len());
        let node = Node {
            word: *word,
            action: None,
            behind: Vec::new(),
        };
        nodes.insert(place, node);
        place
    });
    if rest.is_empty() {
        nodes[place].action.get_or_insert(action);
    } else {
        insert(&mut nodes[place].behind, rest, action);
    }
}

/// The two words of one argument have no order.
fn order(a: &Word, b: &Word) -> Ordering {
    if a.arg.index == b.arg.index && a.shift != b.shift {
        return Ordering::Equal;
    }
    rank(&a.arg).cmp(&rank(&b.arg))
}

fn first_match(nodes: &[Node], call: &Call) -> Option<Action> {
    let matching = nodes.iter().filter(|node| node.word.holds(call));
    matching
        .filter_map(|node| node.action.or_else(|| first_match(&node.behind, call)))
        .next()
}

impl Word {
    fn holds(&self, call: &Call) -> bool {
        let given = call.args[usize::from(self.arg.index)];
        self.arg.holds(given >> self.shift & self.mask)
    }
}
