//! A word's intervals → the search tree that is cheapest to ask.
//!
//! A tree may ask "is it k or above?", which splits a range in two, "is it k?", which takes one value out of
//! it, and "has it any of these bits?"; each costs one instruction. Four steps find it:
//!
//! 1. Values that weigh much are taken out of the list: they are asked for with `==`, near the root. That takes no
//!    more questions than to split at both sides of them.
//! 2. The rest is cut into `leaves`: that decides the number of questions.
//! 3. Dynamic programming arranges the leaves so that the mean path is shortest.
//! 4. Each heavy value gets its question where that makes the mean path shortest.

use std::cmp::Reverse;

use super::leaves::{Intervals, Leaf, Rest};
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
    /// Whether the tree beside this one leads all its values to the same.
    pub shared: bool,
}

/// The weight from which on a single value is worth a question near the root.
pub const HEAVY: u64 = 256;

/// The most values that are asked for near the root.
const MOST_HEAVY: usize = 6;

/// The longest list of leaves for which the best tree is looked for: the search takes room with its second power.
/// Longer lists are first halved by weight.
const EXACT: usize = 128;

/// The tree over intervals that cover all values: the first starts at 0, the rest ascend.
pub fn search_tree(graph: &mut GraphBuilder, word: Word, intervals: &[Interval]) -> NodeId {
    search_tree_beside(graph, word, intervals, None)
}

/// As [`search_tree`], where another tree asks about the same word, and leads to the same for the values of intervals
/// that are [`shared`](Interval::shared): for them this one may go on there.
pub fn search_tree_beside(
    graph: &mut GraphBuilder,
    word: Word,
    intervals: &[Interval],
    beside: Option<NodeId>,
) -> NodeId {
    let (heavy, rest) = heavy_and_rest(intervals);
    let intervals = Intervals::new(&rest);
    let leaves = intervals.leaves();
    let mut tree = Tree {
        graph,
        word,
        intervals: &intervals,
        beside,
    };
    tree.over(&leaves, &heavy)
}

/// Takes the heaviest single values out of a list, the heaviest first. What is left covers all values again; where the
/// values taken out lead does not count in it.
fn heavy_and_rest(intervals: &[Interval]) -> (Vec<Interval>, Vec<Interval>) {
    let ends = intervals.iter().skip(1).map(|next| next.start - 1);
    let singles = intervals.iter().zip(ends.chain([u32::MAX]));
    let is_heavy = |i: &Interval| i.weight >= HEAVY && !i.shared;
    let heavy = singles.filter(|(i, end)| is_heavy(i) && i.start == *end);
    let mut heavy: Vec<Interval> = heavy.map(|(i, _)| *i).collect();
    heavy.sort_by_key(|i| (Reverse(i.weight), i.start));
    heavy.truncate(MOST_HEAVY.min(intervals.len() - 1));
    let mut rest: Vec<Interval> = Vec::with_capacity(intervals.len());
    for interval in intervals {
        if heavy.iter().any(|heavy| heavy.start == interval.start) {
            continue;
        }
        match rest.last_mut() {
            Some(last) if last.node == interval.node && last.shared == interval.shared => {
                last.weight += interval.weight;
            }
            _ => rest.push(*interval),
        }
    }
    if let Some(first) = rest.first_mut() {
        first.start = 0;
    }
    (heavy, rest)
}

/// A tree that is being built.
struct Tree<'a> {
    graph: &'a mut GraphBuilder,
    word: Word,
    intervals: &'a Intervals<'a>,
    beside: Option<NodeId>,
}

/// A heavy value, and how many splits there are above its question.
#[derive(Clone, Copy)]
struct Heavy {
    interval: Interval,
    level: usize,
}

impl Tree<'_> {
    /// The tree over neighbouring leaves and the heavy values among them.
    fn over(&mut self, leaves: &[Leaf], heavy: &[Interval]) -> NodeId {
        if leaves.len() <= EXACT {
            let plan = Plan::new(self.intervals, leaves);
            let heavy = self.placed(leaves, &plan, heavy);
            return self.planned(leaves, &plan, (0, leaves.len() - 1), &heavy, 0);
        }
        let middle = self.middle_by_weight(leaves);
        let (below, above) = leaves.split_at(middle);
        let start = self.start(above[0]);
        let heavy = heavy.iter().partition(|value| value.start < start);
        let (heavy_below, heavy_above): (Vec<Interval>, Vec<Interval>) = heavy;
        let below = self.over(below, &heavy_below);
        let above = self.over(above, &heavy_above);
        let question = Question::AtLeast(start);
        self.graph.ask(self.word, question, above, below)
    }

    /// Where to cut a list of at least two so that both parts weigh about the same and neither is empty.
    fn middle_by_weight(&self, leaves: &[Leaf]) -> usize {
        let weight = |leaf: &Leaf| self.intervals.weight(leaf.first, leaf.last) + 1;
        let total: u64 = leaves.iter().map(weight).sum();
        let mut sum = 0;
        let below_half = |leaf: &&Leaf| {
            sum += weight(leaf);
            sum * 2 <= total
        };
        let middle = leaves.iter().take_while(below_half).count();
        middle.clamp(1, leaves.len() - 1)
    }

    /// Puts each heavy value where it makes paths shortest: each split above its question is one more step for it, and its question
    /// is one more for all else that is below it.
    fn placed(&self, leaves: &[Leaf], plan: &Plan, heavy: &[Interval]) -> Vec<Heavy> {
        let mut placed: Vec<Heavy> = Vec::new();
        for (i, interval) in heavy.iter().enumerate() {
            let value = interval.start;
            let mut run = (0, leaves.len() - 1);
            let mut best = (u64::MAX, 0);
            for level in 0.. {
                let is_below = |other: u32| self.is_within(leaves, run, other);
                let asked_below = placed.iter().filter(|heavy| heavy.level >= level);
                let others = asked_below
                    .map(|heavy| &heavy.interval)
                    .chain(&heavy[i + 1..]);
                let others = others
                    .filter(|other| is_below(other.start))
                    .map(|other| other.weight);
                let cost = plan.weight(run.0, run.1)
                    + others.sum::<u64>()
                    + interval.weight * level as u64;
                best = best.min((cost, level));
                if run.0 == run.1 {
                    break;
                }
                let at = plan.split(run.0, run.1);
                run = if value < self.start(leaves[at]) {
                    (run.0, at - 1)
                } else {
                    (at, run.1)
                };
            }
            placed.push(Heavy {
                interval: *interval,
                level: best.1,
            });
        }
        placed
    }

    /// Whether a value lies among the values of a run of leaves.
    fn is_within(&self, leaves: &[Leaf], (first, last): (usize, usize), value: u32) -> bool {
        let (first, last) = (leaves[first], leaves[last]);
        (self.start(first)..=self.intervals.end(last.last)).contains(&value)
    }

    /// The tree over a run of leaves with so many splits above it.
    fn planned(
        &mut self,
        leaves: &[Leaf],
        plan: &Plan,
        run: (usize, usize),
        heavy: &[Heavy],
        level: usize,
    ) -> NodeId {
        let (first, last) = run;
        let mut node = if first == last {
            self.leaf(leaves[first])
        } else {
            let at = plan.split(first, last);
            let below = self.planned(leaves, plan, (first, at - 1), heavy, level + 1);
            let above = self.planned(leaves, plan, (at, last), heavy, level + 1);
            let question = Question::AtLeast(self.start(leaves[at]));
            self.graph.ask(self.word, question, above, below)
        };
        // The heaviest is asked for first, so it's put on last.
        for value in heavy.iter().rev().filter(|value| value.level == level) {
            let Interval {
                start, node: yes, ..
            } = value.interval;
            if self.is_within(leaves, run, start) {
                node = self.graph.ask(self.word, Question::Is(start), yes, node);
            }
        }
        node
    }

    fn leaf(&mut self, leaf: Leaf) -> NodeId {
        let mut node = match leaf.rest {
            Rest::One(node) => node,
            Rest::Masked { mask, some, none } => {
                self.graph
                    .ask(self.word, Question::HasAny(mask), some, none)
            }
            Rest::Beside => self.beside(leaf),
        };
        let mut singles: Vec<Interval> = self
            .intervals
            .singles(leaf)
            .map(|i| self.intervals.list[i])
            .collect();
        singles.sort_by_key(|single| single.weight);
        for single in singles {
            node = self
                .graph
                .ask(self.word, Question::Is(single.start), single.node, node);
        }
        node
    }

    /// Where to go on in the tree beside this one with a value of a leaf.
    fn beside(&self, leaf: Leaf) -> NodeId {
        let values = self.start(leaf)..=self.intervals.end(leaf.last);
        let node = self.intervals.list[leaf.first].node;
        self.beside
            .map_or(node, |root| self.graph.descend(root, self.word, &values))
    }

    fn start(&self, leaf: Leaf) -> u32 {
        self.intervals.list[leaf.first].start
    }
}

/// The cheapest tree of splits over every run of leaves.
struct Plan {
    leaves: usize,
    /// The weights of all leaves before each.
    weight_before: Vec<u64>,
    /// By first and last leaf: what its paths cost, and before which leaf to split it.
    best: Vec<(u64, usize)>,
}

impl Plan {
    fn new(intervals: &Intervals<'_>, leaves: &[Leaf]) -> Plan {
        let n = leaves.len();
        let borders = leaves.iter().map(|leaf| leaf.first);
        let borders = borders.chain([leaves[n - 1].last + 1]);
        let mut plan = Plan {
            leaves: n,
            weight_before: borders.map(|at| intervals.weight_before(at)).collect(),
            best: vec![(0, 0); n * n],
        };
        for first in (0..n).rev() {
            plan.best[first * n + first].1 = first;
            for last in first + 1..n {
                plan.best[first * n + last] = plan.find(first, last);
            }
        }
        plan
    }

    /// The best split of a run lies between those of the run without its last and without its first leaf (Knuth's bound).
    fn find(&self, first: usize, last: usize) -> (u64, usize) {
        let low = self.split(first, last - 1).max(first + 1);
        let high = self.split(first + 1, last);
        let splits = (low..=high).map(|at| (self.cost(first, at - 1) + self.cost(at, last), at));
        let (cost, at) = splits.min().unwrap_or((0, low));
        (cost + self.weight(first, last), at)
    }

    fn split(&self, first: usize, last: usize) -> usize {
        self.best[first * self.leaves + last].1
    }

    fn cost(&self, first: usize, last: usize) -> u64 {
        self.best[first * self.leaves + last].0
    }

    fn weight(&self, first: usize, last: usize) -> u64 {
        self.weight_before[last + 1] - self.weight_before[first]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::Node;
    use super::super::leaves::QUESTION;
    use super::*;
    use crate::action::Action;

    /// A list of intervals, and what trees over it cost. A set of intervals has a bit for each.
    struct List {
        intervals: Vec<Interval>,
        known: HashMap<u32, u64>,
    }

    impl List {
        /// A list that looks like those of profiles: two places mostly, many single values, some of them heavy.
        fn random(graph: &mut GraphBuilder, seed: u64) -> List {
            let mut state = seed;
            let mut random = move |below: usize| {
                state = state
                    .wrapping_mul(0x5851_f42d_4c95_7f2d)
                    .wrapping_add(0x1405_7b7e_f767_814f);
                usize::try_from(state >> 33).unwrap() % below
            };
            let actions = [
                Action::Allow,
                Action::Errno(1),
                Action::Errno(38),
                Action::Log,
            ];
            let nodes = actions.map(|action| graph.answer(action));
            let mut intervals: Vec<Interval> = Vec::new();
            let mut start = 0;
            for _ in 0..2 + random(8) {
                let width = [1, 1, 1, 2, 7, 30][random(6)];
                // What is heavy has its arguments checked, or an errno of its own.
                let heavy = width == 1 && random(5) == 0;
                let before = intervals.last().map(|interval| interval.node);
                let node = loop {
                    let place = if heavy {
                        2 + random(2)
                    } else {
                        [0, 1, 0, 1, 0, 1, 2][random(7)]
                    };
                    if Some(nodes[place]) != before {
                        break nodes[place];
                    }
                };
                intervals.push(Interval {
                    start,
                    node,
                    weight: if heavy { HEAVY } else { u64::from(width) },
                    shared: false,
                });
                start += width;
            }
            List {
                intervals,
                known: HashMap::new(),
            }
        }

        fn members(&self, set: u32) -> impl Iterator<Item = usize> {
            (0..self.intervals.len()).filter(move |i| set & 1 << i != 0)
        }

        fn weight(&self, set: u32) -> u64 {
            self.members(set).map(|i| self.intervals[i].weight).sum()
        }

        /// The least that a tree of `>=` and `==` over some of the intervals can cost: all are tried.
        fn optimum(&mut self, set: u32) -> u64 {
            let members: Vec<usize> = self.members(set).collect();
            let node = |i: usize| self.intervals[i].node;
            if members
                .windows(2)
                .all(|pair| node(pair[0]) == node(pair[1]))
            {
                return 0;
            }
            if let Some(cost) = self.known.get(&set) {
                return *cost;
            }
            let mut least = u64::MAX;
            for (place, i) in members.iter().enumerate() {
                let below = set & ((1 << i) - 1);
                if place > 0 {
                    least = least.min(self.optimum(below) + self.optimum(set & !below));
                }
                let ends = self.intervals.get(i + 1).map(|next| next.start - 1);
                if ends == Some(self.intervals[*i].start) {
                    least = least.min(self.optimum(set & !(1 << i)));
                }
            }
            let cost = least + QUESTION + self.weight(set);
            self.known.insert(set, cost);
            cost
        }

        /// What a tree costs for some of the intervals, which must lead where they should.
        fn cost(&self, graph: &GraphBuilder, at: NodeId, set: u32) -> u64 {
            let Node::Ask {
                question, yes, no, ..
            } = graph.node(at)
            else {
                assert!(self.members(set).all(|i| self.intervals[i].node == at));
                return 0;
            };
            let (mut above, mut below) = (0, 0);
            for i in self.members(set) {
                if question.holds(self.intervals[i].start) {
                    above |= 1 << i;
                } else {
                    below |= 1 << i;
                }
            }
            QUESTION + self.weight(set) + self.cost(graph, yes, above) + self.cost(graph, no, below)
        }
    }

    #[test]
    fn trees_cost_next_to_nothing_more_than_the_best_ones() {
        let (mut emitted, mut optimum) = (0, 0);
        for seed in 0..2000 {
            let mut graph = GraphBuilder::default();
            let mut list = List::random(&mut graph, seed);
            let tree = search_tree(&mut graph, Word::Nr, &list.intervals);
            let all = (1 << list.intervals.len()) - 1;
            let (cost, best) = (list.cost(&graph, tree, all), list.optimum(all));
            assert!(cost * 2 <= best * 3, "seed {seed}: {cost} against {best}");
            emitted += cost;
            optimum += best;
        }
        println!(
            "cost of the trees ÷ of the best ones: {:.4}",
            emitted as f64 / optimum as f64
        );
        assert!(
            emitted * 100 <= optimum * 102,
            "{emitted} against {optimum}"
        );
    }
}
