//! One number's ordered rules → questions about argument words.
//!
//! Rules that stand together and compare one argument with constants are not tried one by one: the values of
//! the argument are cut into cells within which the same of them match, and a search tree finds the cell. Where
//! that can't be done, or would take more room than it saves, a rule is a chain of questions that falls
//! through to the rules behind it, which are shared by all that fall.

use super::search_tree::{Interval, search_tree};
use super::{GraphBuilder, NodeId, Word};
use crate::arch::Arch;
use crate::call::{high_half, low_half};
use crate::policy::{Condition, Rule, Test};

/// What an argument's cell weighs in a search tree: each time a call with checked arguments is made, its path is run.
const CELL_WEIGHT: u64 = 8;

/// Up to so many single values are looked up in two ways, to take the shorter one.
const FEW_POINTS: usize = 32;

/// A rule as far as it is still open: some of its conditions may be decided already.
#[derive(Clone, Debug)]
struct Open {
    conditions: Vec<Condition>,
    node: NodeId,
}

/// Values `low` to `high`, both included.
#[derive(Clone, Copy, Debug)]
struct Range {
    low: u64,
    high: u64,
}

/// Values of one argument, from `start` up to the next cell, that lead to the same node.
#[derive(Clone, Copy, Debug)]
struct Cell {
    start: u64,
    node: NodeId,
}

/// Where a call of an ABI goes that reaches these rules: to the action of the first that matches, or else to `otherwise`.
pub(super) fn lower_rules(
    graph: &mut GraphBuilder,
    arch: Arch,
    rules: &[Rule],
    otherwise: NodeId,
) -> NodeId {
    let open = rules.iter().map(|rule| Open {
        conditions: rule.conditions.clone(),
        node: graph.answer(rule.action),
    });
    let open: Vec<Open> = open.collect();
    Lowering { graph, arch }.rules(open, otherwise)
}

struct Lowering<'a> {
    graph: &'a mut GraphBuilder,
    arch: Arch,
}

impl Lowering<'_> {
    fn rules(&mut self, mut rules: Vec<Open>, otherwise: NodeId) -> NodeId {
        if let Some(last) = rules.iter().position(|rule| rule.conditions.is_empty()) {
            rules.truncate(last + 1);
        }
        self.gather(&mut rules);
        let mut node = otherwise;
        // From the back, so that what a rule falls through to is there already.
        while let Some((start, pivot)) = self.last_group(&rules) {
            let group = rules.split_off(start);
            node = self.group(group, pivot, node);
        }
        node
    }

    /// Brings rules on one argument together where their order doesn't matter: among neighbours with one action.
    fn gather(&self, rules: &mut [Open]) {
        for same in rules.chunk_by_mut(|a, b| a.node == b.node) {
            same.sort_by_key(|rule| self.pivot(rule).map_or(u8::MAX, |arg| arg));
        }
    }

    /// The argument that a rule can be looked up by: the first that it compares with constants.
    fn pivot(&self, rule: &Open) -> Option<u8> {
        let ranged = |c: &&Condition| self.ranges(c.test).is_some();
        rule.conditions.iter().find(ranged).map(|c| c.arg)
    }

    /// The last rules that can be looked up by one argument: where they start, and the argument. A rule for
    /// which there is none is a group of its own.
    fn last_group(&self, rules: &[Open]) -> Option<(usize, Option<u8>)> {
        let pivot = self.pivot(rules.last()?);
        if pivot.is_none() {
            return Some((rules.len() - 1, None));
        }
        let alike = rules
            .iter()
            .rev()
            .take_while(|rule| self.pivot(rule) == pivot);
        Some((rules.len() - alike.count(), pivot))
    }

    fn group(&mut self, group: Vec<Open>, pivot: Option<u8>, otherwise: NodeId) -> NodeId {
        let looked_up = pivot.and_then(|arg| self.look_up(&group, arg, otherwise));
        looked_up.unwrap_or_else(|| self.chain(group, otherwise))
    }

    /// One rule after the other.
    fn chain(&mut self, rules: Vec<Open>, otherwise: NodeId) -> NodeId {
        let mut node = otherwise;
        for rule in rules.into_iter().rev() {
            let no = node;
            node = rule.node;
            for condition in rule.conditions.into_iter().rev() {
                node = self.condition(condition, node, no);
            }
        }
        node
    }

    fn condition(&mut self, condition: Condition, yes: NodeId, no: NodeId) -> NodeId {
        let Condition { arg, test } = condition;
        if let Some(ranges) = self.ranges(test) {
            let cells = cells_of(&ranges, self.arch.argument_mask(), yes, no);
            return self.cells(arg, &cells);
        }
        let Test::Masked { mask, value } = test else {
            return no; // Every other test has ranges.
        };
        let (low, high) = (Word::Low(arg), Word::High(arg));
        let on_high = (high_half(mask), high_half(value));
        let on_low = (low_half(mask), low_half(value));
        let node = self.graph.ask_masked(low, on_low, yes, no);
        self.graph.ask_masked(high, on_high, node, no)
    }

    /// The rules by the cells of an argument, unless that takes too much room.
    fn look_up(&mut self, rules: &[Open], arg: u8, otherwise: NodeId) -> Option<NodeId> {
        let ranges: Vec<Vec<Range>> = rules.iter().map(|r| self.ranges_of(r, arg)).collect();
        let starts = starts(&ranges, self.arch.argument_mask());
        let mut within = Cells::new(starts.len());
        let closes = |rule: &Open| rule.conditions.iter().all(|c| self.decides(c, arg));
        for (i, rule) in rules.iter().enumerate() {
            for range in &ranges[i] {
                let first = starts.partition_point(|s| *s < range.low);
                let behind = starts.partition_point(|s| *s <= range.high);
                within.put(i, first..behind, closes(rule));
            }
            // Each step may not make more of the rules than there were, or six arguments would multiply them.
            if within.still_open > rules.len() {
                return None;
            }
        }
        let nodes = within.rules.into_iter().map(|cell| {
            let left = cell.into_iter().map(|i| self.left(&rules[i], arg));
            let left = left.collect();
            self.rules(left, otherwise)
        });
        let nodes: Vec<NodeId> = nodes.collect();
        let cells = starts.iter().zip(nodes).map(|(start, node)| Cell {
            start: *start,
            node,
        });
        let mut cells: Vec<Cell> = cells.collect();
        cells.dedup_by_key(|cell| cell.node);
        Some(self.cells(arg, &cells))
    }

    /// Whether a condition is settled once the cell of the argument is known.
    fn decides(&self, condition: &Condition, arg: u8) -> bool {
        condition.arg == arg && self.ranges(condition.test).is_some()
    }

    /// What is left of a rule once the cell of the argument is known.
    fn left(&self, rule: &Open, arg: u8) -> Open {
        let open = |c: &&Condition| !self.decides(c, arg);
        Open {
            conditions: rule.conditions.iter().filter(open).copied().collect(),
            node: rule.node,
        }
    }

    /// The values of the argument for which the rule's conditions on it hold, as far as they compare.
    fn ranges_of(&self, rule: &Open, arg: u8) -> Vec<Range> {
        let on_arg = rule.conditions.iter().filter(|c| c.arg == arg);
        let all = vec![Range {
            low: 0,
            high: self.arch.argument_mask(),
        }];
        on_arg
            .filter_map(|c| self.ranges(c.test))
            .fold(all, |a, b| intersection(&a, &b))
    }

    /// The values for which a test holds, if they are at most two ranges.
    fn ranges(&self, test: Test) -> Option<Vec<Range>> {
        let max = self.arch.argument_mask();
        let up_to = |high: Option<u64>| high.map(|high| Range { low: 0, high });
        let from = |low: Option<u64>| {
            let low = low.filter(|low| *low <= max);
            low.map(|low| Range { low, high: max })
        };
        let (first, second) = match test {
            Test::Eq(datum) => (
                Some(Range {
                    low: datum,
                    high: datum,
                }),
                None,
            ),
            Test::Ne(datum) => (up_to(datum.checked_sub(1)), from(datum.checked_add(1))),
            Test::Lt(datum) => (up_to(datum.checked_sub(1)), None),
            Test::Le(datum) => (up_to(Some(datum)), None),
            Test::Ge(datum) => (from(Some(datum)), None),
            Test::Gt(datum) => (from(datum.checked_add(1)), None),
            Test::Masked { mask, value } => {
                let free = max & !mask;
                if free & free.wrapping_add(1) != 0 {
                    return None;
                }
                // The mask's bits are the highest ones.
                let low = value & mask;
                (
                    Some(Range {
                        low,
                        high: low | free,
                    }),
                    None,
                )
            }
        };
        Some(first.into_iter().chain(second).collect())
    }

    /// The tree that finds the cell of an argument's value. The cells begin at 0 and cover all values.
    fn cells(&mut self, arg: u8, cells: &[Cell]) -> NodeId {
        if !self.arch.has_64bit_arguments() {
            let low = cells.iter().map(|cell| (low_half(cell.start), cell.node));
            return self.tree(Word::Low(arg), low.collect());
        }
        match points(cells) {
            Some((points, elsewhere)) if points.len() > FEW_POINTS => {
                self.points(arg, points, elsewhere)
            }
            Some((points, elsewhere)) => {
                // As short by itself, but what then is asked of the low half, 32-bit ABIs may ask as well.
                let made = self.graph.made();
                let low_first = self.points(arg, points, elsewhere);
                let nodes = self.graph.undo(made);
                let high_first = self.by_high_half(arg, cells);
                if self.graph.made() < made + nodes.len() {
                    return high_first;
                }
                self.graph.undo(made);
                self.graph.redo(nodes);
                low_first
            }
            None => self.by_high_half(arg, cells),
        }
    }

    /// Single values in a sea: the low half first, as it mostly settles the matter.
    fn points(&mut self, arg: u8, mut points: Vec<Cell>, elsewhere: NodeId) -> NodeId {
        points.sort_by_key(|point| (low_half(point.start), point.start));
        let mut lows = vec![(0, elsewhere)];
        for same_low in points.chunk_by(|a, b| low_half(a.start) == low_half(b.start)) {
            let mut highs = vec![(0, elsewhere)];
            for point in same_low {
                put_point(&mut highs, high_half(point.start), point.node, elsewhere);
            }
            let node = self.tree(Word::High(arg), highs);
            put_point(&mut lows, low_half(same_low[0].start), node, elsewhere);
        }
        self.tree(Word::Low(arg), lows)
    }

    /// The high half first; where it doesn't settle the matter, the low half.
    fn by_high_half(&mut self, arg: u8, cells: &[Cell]) -> NodeId {
        let mut highs: Vec<(u32, NodeId)> = Vec::new();
        let mut before = cells[0].node;
        for same_high in cells.chunk_by(|a, b| high_half(a.start) == high_half(b.start)) {
            let high = high_half(same_high[0].start);
            let mut lows = vec![(0, before)];
            for cell in same_high {
                set(&mut lows, low_half(cell.start), cell.node);
                before = cell.node;
            }
            let node = self.tree(Word::Low(arg), lows);
            set(&mut highs, high, node);
            if let Some(next) = high.checked_add(1) {
                highs.push((next, before));
            }
        }
        self.tree(Word::High(arg), highs)
    }

    fn tree(&mut self, word: Word, mut starts: Vec<(u32, NodeId)>) -> NodeId {
        starts.dedup_by_key(|(_, node)| *node);
        let weight = CELL_WEIGHT;
        let interval = |(start, node)| Interval {
            start,
            node,
            weight,
            shared: false,
        };
        let intervals: Vec<Interval> = starts.into_iter().map(interval).collect();
        search_tree(self.graph, word, &intervals)
    }
}

/// Sets what a word's values from `start` on lead to; the starts so far are not above it.
fn set(starts: &mut Vec<(u32, NodeId)>, start: u32, node: NodeId) {
    match starts.last_mut() {
        Some(last) if last.0 == start => last.1 = node,
        _ => starts.push((start, node)),
    }
}

/// Sets what a single value leads to; those behind it lead elsewhere.
fn put_point(starts: &mut Vec<(u32, NodeId)>, at: u32, node: NodeId, elsewhere: NodeId) {
    set(starts, at, node);
    if let Some(next) = at.checked_add(1) {
        starts.push((next, elsewhere));
    }
}

/// The cells that are a single value, and where all others lead, if those lead to one place.
fn points(cells: &[Cell]) -> Option<(Vec<Cell>, NodeId)> {
    let ends = cells[1..]
        .iter()
        .map(|next| next.start - 1)
        .chain([u64::MAX]);
    let (points, wide): (Vec<_>, Vec<_>) =
        cells.iter().zip(ends).partition(|(c, end)| c.start == *end);
    let elsewhere = wide.first()?.0.node;
    let same = wide.iter().all(|(cell, _)| cell.node == elsewhere);
    let points = points.into_iter().map(|(cell, _)| *cell);
    same.then(|| (points.filter(|p| p.node != elsewhere).collect(), elsewhere))
}

/// The cells of one argument that a test with these ranges has.
fn cells_of(ranges: &[Range], max: u64, yes: NodeId, no: NodeId) -> Vec<Cell> {
    let within = |start: u64| ranges.iter().any(|r| r.low <= start && start <= r.high);
    let starts = starts(&[ranges.to_vec()], max);
    let cells = starts.into_iter().map(|start| Cell {
        start,
        node: if within(start) { yes } else { no },
    });
    cells.collect()
}

/// Every value up to `max` at which one of the ranges begins or has ended, ascending, 0 first.
fn starts(ranges: &[Vec<Range>], max: u64) -> Vec<u64> {
    let borders = ranges
        .iter()
        .flatten()
        .flat_map(|r| [Some(r.low), r.high.checked_add(1)]);
    let borders = borders.flatten().filter(|border| *border <= max);
    let mut starts: Vec<u64> = borders.chain([0]).collect();
    starts.sort_unstable();
    starts.dedup();
    starts
}

/// The values that are in both.
fn intersection(a: &[Range], b: &[Range]) -> Vec<Range> {
    let pairs = a.iter().flat_map(|a| b.iter().map(move |b| (a, b)));
    let common = pairs.map(|(a, b)| Range {
        low: a.low.max(b.low),
        high: a.high.min(b.high),
    });
    common.filter(|r| r.low <= r.high).collect()
}

/// Which rules match in which cell, in the order in which they are tried.
struct Cells {
    rules: Vec<Vec<usize>>,
    /// For each cell the first one from there on to which rules can still be added.
    next_open: Vec<usize>,
    /// How often a rule was put that doesn't close its cell.
    still_open: usize,
}

impl Cells {
    fn new(count: usize) -> Cells {
        Cells {
            rules: vec![Vec::new(); count],
            next_open: (0..=count).collect(),
            still_open: 0,
        }
    }

    /// Adds a rule to the cells; if it closes them, no later one can be reached there.
    fn put(&mut self, rule: usize, cells: std::ops::Range<usize>, closes: bool) {
        let mut cell = self.open_from(cells.start);
        while cell < cells.end {
            self.rules[cell].push(rule);
            if closes {
                self.next_open[cell] = cell + 1;
            } else {
                self.still_open += 1;
            }
            cell = self.open_from(cell + 1);
        }
    }

    fn open_from(&mut self, cell: usize) -> usize {
        let mut open = cell;
        while self.next_open[open] != open {
            open = self.next_open[open];
        }
        // Shortens the way for whoever comes next.
        let mut at = cell;
        while self.next_open[at] != at {
            at = std::mem::replace(&mut self.next_open[at], open);
        }
        open
    }
}
