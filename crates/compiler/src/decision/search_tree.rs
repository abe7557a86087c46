//! A word's intervals → the search tree that is cheapest to ask.
//!
//! A tree may ask "is it k or above?", which splits a range in two, and "is it k?", which takes one value
//! out of it. Both cost one instruction. The second pays where a single value interrupts a range that goes
//! on behind it: `A b A` takes one question instead of two. The best tree over up to [`EXACT`] intervals is
//! found by dynamic programming over runs of them; its base case is a run that is one range but for
//! single values, which are then asked for one after the other, the heaviest first. Longer lists are first halved
//! by weight.

use std::cmp::Reverse;
use std::ops::RangeInclusive;

use super::{GraphBuilder, NodeId, Question, Word};

/// From `start` up to where the next one begins.
#[derive(Clone, Copy, Debug)]
pub struct Interval {
    /// Its first value.
    pub start: u32,
    /// Where its values lead.
    pub node: NodeId,
    /// How often a path to it is run, relative to the others.
    pub weight: u64,
}

/// The longest list for which the best tree is looked for: the search takes room with its second power.
pub const EXACT: usize = 128;

/// What one more instruction costs, against one more step on a path of weight 1. A program's size is paid
/// for at every load and in every copy of it; a step, at most at every call.
const INSTRUCTION: u64 = 150;

/// How far beyond the bounds to look for a split.
const MARGIN: usize = 4;

/// The most single values that are asked for in a row.
const LONGEST_CHAIN: usize = 12;

/// The tree over intervals that cover all values: the first starts at 0, the rest ascend.
pub fn search_tree(graph: &mut GraphBuilder, word: Word, intervals: &[Interval]) -> NodeId {
    search_tree_up_to(graph, word, intervals, u32::MAX)
}

/// As [`search_tree`], where the word is known to be within the intervals, the last of which ends at `last`.
fn search_tree_up_to(
    graph: &mut GraphBuilder,
    word: Word,
    intervals: &[Interval],
    last: u32,
) -> NodeId {
    if intervals.len() <= EXACT {
        let plan = Plan::new(intervals, last);
        return plan.build(graph, word, Run::all(intervals.len()));
    }
    let (below, above) = intervals.split_at(middle_by_weight(intervals));
    let start = above[0].start;
    let below = search_tree_up_to(graph, word, below, start - 1);
    let above = search_tree_up_to(graph, word, above, last);
    graph.ask(word, Question::AtLeast(start), above, below)
}

/// Where to cut a list of at least two so that both parts weigh about the same and neither is empty.
fn middle_by_weight(intervals: &[Interval]) -> usize {
    let total: u64 = intervals.iter().map(|i| i.weight + 1).sum();
    let mut sum = 0;
    let below_half = |i: &&Interval| {
        sum += i.weight + 1;
        sum * 2 <= total
    };
    let middle = intervals.iter().take_while(below_half).count();
    middle.clamp(1, intervals.len() - 1)
}

/// Intervals `first` to `last`, both included.
#[derive(Clone, Copy)]
struct Run {
    first: usize,
    last: usize,
}

/// How to go on with a run.
#[derive(Clone, Copy)]
enum Step {
    /// All its values lead to the same.
    Done,
    /// Ask whether the value is in this interval or above.
    Split(usize),
    /// Ask for each single value; all others lead where this interval does.
    Singles(usize),
}

/// The best step for every run, and its cost.
struct Plan<'a> {
    intervals: &'a [Interval],
    /// Whether an interval is one value.
    single: Vec<bool>,
    /// The weights of all intervals before each.
    weight_before: Vec<u64>,
    /// By first and last interval.
    best: Vec<Best>,
}

/// What is best for a run.
#[derive(Clone, Copy)]
struct Best {
    cost: u64,
    step: Step,
    /// Where it would be split, if it is to be split.
    split: usize,
}

impl<'a> Plan<'a> {
    fn new(intervals: &'a [Interval], last: u32) -> Plan<'a> {
        let n = intervals.len();
        let ends = intervals[1..].iter().map(|next| next.start - 1);
        let ends = ends.chain([last]);
        let mut weight_before = vec![0];
        for interval in intervals {
            let sum = weight_before[weight_before.len() - 1];
            weight_before.push(sum + interval.weight);
        }
        let mut plan = Plan {
            intervals,
            single: intervals
                .iter()
                .zip(ends)
                .map(|(i, end)| i.start == end)
                .collect(),
            weight_before,
            best: vec![
                Best {
                    cost: 0,
                    step: Step::Done,
                    split: 0
                };
                n * n
            ],
        };
        for length in 2..=n {
            for first in 0..=n - length {
                let run = Run {
                    first,
                    last: first + length - 1,
                };
                plan.best[run.first * n + run.last] = plan.best(run);
            }
        }
        plan
    }

    fn best(&self, run: Run) -> Best {
        let splits = self.promising_splits(run).map(|at| {
            let (below, above) = run.split(at);
            (self.at(below).cost + self.at(above).cost, at)
        });
        let (parts, split) = splits.min().unwrap_or((0, run.last));
        let cost = parts + self.weight(run) + INSTRUCTION;
        let (cost, step) = match self.singles(run) {
            Some((singles, rest)) if singles <= cost => (singles, Step::Singles(rest)),
            _ => (cost, Step::Split(split)),
        };
        Best { cost, step, split }
    }

    /// Where to look for the best split: about where it was for the run without its last, and without its first
    /// interval. That holds for trees of splits alone (Knuth's bound), and nearly so here; looking everywhere
    /// would take time with the third power of the length.
    fn promising_splits(&self, run: Run) -> RangeInclusive<usize> {
        let Run { first, last } = run;
        if last - first < 2 {
            return last..=last;
        }
        let low = self
            .at(Run {
                last: last - 1,
                ..run
            })
            .split;
        let high = self
            .at(Run {
                first: first + 1,
                ..run
            })
            .split;
        let low = low.saturating_sub(MARGIN).max(first + 1);
        low..=(high + MARGIN).min(last)
    }

    /// The cost of asking for every single value in turn, and an interval of the rest, if the rest leads
    /// to one place and the singles aren't too many.
    fn singles(&self, run: Run) -> Option<(u64, usize)> {
        if run.last - run.first > 2 * LONGEST_CHAIN {
            return None; // More singles than allowed, or neighbours that lead to the same.
        }
        let rest = self.rest(run)?;
        let mut weights = [0; LONGEST_CHAIN];
        let mut count = 0;
        for single in self.besides(run, rest) {
            *weights.get_mut(count)? = self.intervals[single].weight;
            count += 1;
        }
        weights[..count].sort_unstable();
        let mut cost = 0;
        let mut weight = self.weight(run);
        for single in weights[..count].iter().rev() {
            cost += INSTRUCTION + weight;
            weight -= single;
        }
        Some((cost, rest))
    }

    /// The interval that what is left leads to: the first that is more than one value, or else just the first.
    fn rest(&self, run: Run) -> Option<usize> {
        let mut wide = run.intervals().filter(|i| !self.single[*i]);
        let rest = wide.next().unwrap_or(run.first);
        let same = wide.all(|i| self.intervals[i].node == self.intervals[rest].node);
        same.then_some(rest)
    }

    /// The intervals of a run that lead elsewhere than one of them.
    fn besides(&self, run: Run, rest: usize) -> impl Iterator<Item = usize> {
        let node = self.intervals[rest].node;
        run.intervals()
            .filter(move |i| self.intervals[*i].node != node)
    }

    fn build(&self, graph: &mut GraphBuilder, word: Word, run: Run) -> NodeId {
        match self.at(run).step {
            Step::Done => self.intervals[run.first].node,
            Step::Split(at) => {
                let (below, above) = run.split(at);
                let below = self.build(graph, word, below);
                let above = self.build(graph, word, above);
                let start = self.intervals[at].start;
                graph.ask(word, Question::AtLeast(start), above, below)
            }
            Step::Singles(rest) => {
                let mut singles: Vec<usize> = self.besides(run, rest).collect();
                singles.sort_by_key(|i| Reverse(self.intervals[*i].weight));
                let mut node = self.intervals[rest].node;
                for single in singles.into_iter().rev() {
                    let Interval {
                        start, node: yes, ..
                    } = self.intervals[single];
                    node = graph.ask(word, Question::Is(start), yes, node);
                }
                node
            }
        }
    }

    fn at(&self, run: Run) -> Best {
        self.best[run.first * self.intervals.len() + run.last]
    }

    fn weight(&self, run: Run) -> u64 {
        self.weight_before[run.last + 1] - self.weight_before[run.first]
    }
}

impl Run {
    fn all(length: usize) -> Run {
        Run {
            first: 0,
            last: length - 1,
        }
    }

    fn intervals(self) -> impl Iterator<Item = usize> {
        self.first..=self.last
    }

    fn split(self, at: usize) -> (Run, Run) {
        let below = Run {
            last: at - 1,
            ..self
        };
        let above = Run { first: at, ..self };
        (below, above)
    }
}
