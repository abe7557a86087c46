//! Policy → decision graph: first the architecture, then the number, then the arguments.
//!
//! For one ABI the policy is a function of the number that changes only at few places: at numbers that have
//! rules, and where numbers newer than the profile begin. So it becomes a list of intervals, and a
//! [search tree](super::search_tree) over them. Where another ABI's numbers lead to the same as the native one's, as all
//! newer ones do, its tree goes on in the native one's. So does x32's, without the bit that makes a number x32's.

use super::rules::lower_rules;
use super::search_tree::{HEAVY, Interval, search_tree, search_tree_beside};
use super::workload::Workload;
use super::{Graph, GraphBuilder, Node, NodeId, Question, Word};
use crate::action::Action;
use crate::arch::{Arch, X32_BIT};
use crate::policy::{Abi, Policy, Rule, SKIPPED_CALL};

/// The graph of a policy.
#[must_use]
pub fn lower(policy: &Policy) -> Graph {
    lower_for(policy, &Workload::default())
}

/// The graph of a policy whose paths are short for calls that were counted.
#[must_use]
pub fn lower_for(policy: &Policy, workload: &Workload) -> Graph {
    let mut graph = GraphBuilder::default();
    // ABIs with 32-bit arguments first: what they ask, those with 64-bit ones may ask of lower halves.
    let mut abis: Vec<(Arch, &Abi)> = policy.abis().collect();
    abis.sort_by_key(|(arch, _)| arch.has_64bit_arguments());
    let lists = abis.into_iter().map(|(arch, abi)| {
        let intervals = Numbers::new(&mut graph, policy, arch).intervals(abi, workload);
        (arch, intervals)
    });
    let mut lists: Vec<(Arch, Vec<Interval>)> = lists.collect();
    let is_native = |(arch, _): &(Arch, _)| *arch == policy.native();
    let native = lists.iter().position(is_native);
    let (_, native) = native
        .map(|at| lists.remove(at))
        .expect("a policy has its native ABI");
    let tree = search_tree(&mut graph, Word::Nr, &native);

    let mut node = graph.answer(policy.bad_arch());
    let mut native_tree = tree;
    for (arch, mut intervals) in lists {
        mark_shared(&mut intervals, &native);
        let beside = search_tree_beside(&mut graph, Word::Nr, &intervals, Some(tree));
        if arch == Arch::X32 {
            let x32 = graph.strip(X32_BIT, beside);
            native_tree = with_x32(&mut graph, tree, x32, SPLITS_ABOVE_X32);
        } else {
            node = graph.ask(Word::Arch, Question::Is(arch.audit()), beside, node);
        }
    }
    let is_native = Question::Is(policy.native().audit());
    let root = graph.ask(Word::Arch, is_native, native_tree, node);
    graph.finish(root)
}

/// Puts x32 into the tree of x86_64: below so many splits, on the way of its numbers, which are above all others.
fn with_x32(graph: &mut GraphBuilder, tree: NodeId, x32: NodeId, splits: usize) -> NodeId {
    match graph.node(tree) {
        Node::Ask {
            word: Word::Nr,
            question: question @ Question::AtLeast(k),
            yes,
            no,
        } if splits > 0 && k <= X32_BIT => {
            let yes = with_x32(graph, yes, x32, splits - 1);
            graph.ask(Word::Nr, question, yes, no)
        }
        Node::Ask {
            word: Word::Nr,
            question: question @ Question::Is(k),
            yes,
            no,
        } if splits > 0 && k < X32_BIT => {
            let no = with_x32(graph, no, x32, splits);
            graph.ask(Word::Nr, question, yes, no)
        }
        _ => graph.ask(Word::Nr, Question::HasAny(X32_BIT), x32, tree),
    }
}

/// How far down the tree of x86_64 the question for x32 stands: it is one more step for all that is below it.
const SPLITS_ABOVE_X32: usize = 1;

/// The graph of one number alone, for who wants to know how much it takes.
#[must_use]
pub fn lower_call(policy: &Policy, arch: Arch, nr: u32) -> Graph {
    let mut graph = GraphBuilder::default();
    let node = match policy.abis().find(|(other, _)| *other == arch) {
        Some(_) => {
            Numbers::new(&mut graph, policy, arch)
                .ruled(nr, policy.rules(arch, nr))
                .0
        }
        None => graph.answer(policy.bad_arch()),
    };
    graph.finish(node)
}

/// Where the numbers of one ABI lead.
struct Numbers<'a> {
    graph: &'a mut GraphBuilder,
    policy: &'a Policy,
    arch: Arch,
    /// Where numbers without rules lead, and those that are newer than the profile.
    default: NodeId,
    newer: NodeId,
}

impl<'a> Numbers<'a> {
    fn new(graph: &'a mut GraphBuilder, policy: &'a Policy, arch: Arch) -> Numbers<'a> {
        let default = graph.answer(policy.default_action());
        let newer = graph.answer(policy.newer_call().unwrap_or(policy.default_action()));
        Numbers {
            graph,
            policy,
            arch,
            default,
            newer,
        }
    }

    /// A list that covers all numbers. Those of x32 are without their bit: it is up to the caller to look at it.
    fn intervals(&mut self, abi: &Abi, workload: &Workload) -> Vec<Interval> {
        let bit = if self.arch == Arch::X32 { X32_BIT } else { 0 };
        let mut list = Vec::new();
        let mut put = |nr: u32, (node, runs): (NodeId, u64)| put(&mut list, nr & !bit, node, runs);
        put(bit, self.unruled(bit));
        if abi.rules().next().is_none_or(|(nr, _)| nr != bit) {
            // On s390, 0 stands for no number, and is not as those behind it.
            put(bit + 1, self.unruled(bit + 1));
        }
        for (nr, rules) in abi.rules() {
            put(nr, self.ruled(nr, rules));
            if let Some(next) = nr.checked_add(1) {
                put(next, self.unruled(next));
            }
        }
        // No rule is about a newer number.
        if let Some(newer) = abi.newest().and_then(|newest| newest.checked_add(1)) {
            put(newer, (self.unruled(newer).0, RUNS_TO_PROBE));
        }
        if self.policy.is_disabled_x32(self.arch, X32_BIT) {
            let bad_arch = self.graph.answer(self.policy.bad_arch());
            put(X32_BIT, (bad_arch, RUNS_SELDOM));
            put(SKIPPED_CALL, (self.default, RUNS_SELDOM));
        }
        if !workload.is_empty() {
            self.weigh_counted(&mut list, workload, bit);
        }
        weigh_numbers(&mut list);
        list
    }

    /// Weighs intervals by how often their calls were counted instead. Those that the kernel's cache answers don't run the filter.
    fn weigh_counted(&self, list: &mut [Interval], workload: &Workload, bit: u32) {
        for interval in list.iter_mut() {
            interval.weight = 0;
        }
        let mut total: u128 = 0;
        for (nr, count) in workload.calls(self.arch) {
            let behind = list.partition_point(|interval| interval.start <= nr & !bit);
            let interval = &mut list[behind - 1];
            if self.graph.as_answer(interval.node) != Some(Action::Allow) {
                interval.weight = interval.weight.saturating_add(count);
                total += u128::from(count);
            }
        }
        for interval in list.iter_mut() {
            let part = u128::from(interval.weight) * u128::from(RUNS_COUNTED) / total.max(1);
            interval.weight = u64::try_from(part).unwrap_or(RUNS_COUNTED);
        }
    }

    /// Where a number with rules leads, and how often the filter is run for it.
    fn ruled(&mut self, nr: u32, rules: &[Rule]) -> (NodeId, u64) {
        let node = match rules {
            [first, ..] if first.is_unconditional() => self.graph.answer(first.action),
            _ => {
                let (otherwise, _) = self.unruled(nr);
                lower_rules(self.graph, self.arch, rules, otherwise)
            }
        };
        let cached = self.graph.as_answer(node) == Some(Action::Allow);
        (node, if cached { 0 } else { RUNS_OFTEN })
    }

    /// The same for a number without rules.
    fn unruled(&self, nr: u32) -> (NodeId, u64) {
        let node = if self.policy.is_newer(self.arch, nr) {
            self.newer
        } else {
            self.default
        };
        let cached = self.graph.as_answer(node) == Some(Action::Allow);
        (node, if cached { 0 } else { RUNS_SELDOM })
    }
}

/// How many numbers a kernel's table may have: for each of them the kernel emulates the filter when it is
/// loaded, so each pays for its path once.
const TABLE_SIZE: u32 = 480;

/// How often the filter is run for a number that a rule doesn't simply allow, against one emulation at load
/// time: its arguments are checked, or callers go by its errno. Numbers that are simply allowed are answered by the kernel's
/// cache.
const RUNS_OFTEN: u64 = HEAVY;

/// How often it is run for a range of numbers that no rule is about.
const RUNS_SELDOM: u64 = 4;

/// How often it is run for numbers above all that the profile knows: C libraries try new calls.
const RUNS_TO_PROBE: u64 = 32;

/// How often the filter is run for all counted numbers together: so much for each emulation at load time that their paths count
/// for more, and not so much that those of all others don't count.
const RUNS_COUNTED: u64 = 8 * HEAVY;

/// Sets where the numbers from one on lead; the list so far isn't above it.
fn put(list: &mut Vec<Interval>, start: u32, node: NodeId, runs: u64) {
    if list.last().is_some_and(|last| last.start == start) {
        list.pop();
    }
    match list.last_mut() {
        Some(last) if last.node == node => last.weight = last.weight.max(runs),
        _ => list.push(Interval {
            start,
            node,
            weight: runs,
            shared: false,
        }),
    }
}

/// Adds to how often the filter is run for the numbers of each interval how many of them are in the kernel's table.
fn weigh_numbers(list: &mut [Interval]) {
    let mut end = TABLE_SIZE;
    for interval in list.iter_mut().rev() {
        interval.weight += u64::from(end.saturating_sub(interval.start));
        end = end.min(interval.start);
    }
}

/// Marks the intervals all of whose values lead to the same in another list that covers all numbers.
fn mark_shared(intervals: &mut [Interval], other: &[Interval]) {
    // From the back: where an interval begins, the one before it has ended.
    let mut other = other.iter().rev().peekable();
    for interval in intervals.iter_mut().rev() {
        interval.shared = true;
        // Those of the others that have values in the interval.
        while let Some(there) = other.next_if(|there| there.start > interval.start) {
            interval.shared &= there.node == interval.node;
        }
        // The one that goes on below it, or begins with it.
        interval.shared &= other
            .peek()
            .is_some_and(|there| there.node == interval.node);
        other.next_if(|there| there.start == interval.start);
    }
}
