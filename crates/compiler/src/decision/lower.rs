//! Policy → decision graph: first the architecture, then the number, then the arguments.
//!
//! For one architecture value the policy is a function of the number that changes only at few places: at
//! numbers that have rules, where numbers newer than the profile begin, and where x32's ranges do. So it
//! becomes a list of [`Interval`]s, and a search tree over them.

use super::rules::lower_rules;
use super::search_tree::{Interval, search_tree};
use super::{Graph, GraphBuilder, NodeId, Question, Word};
use crate::action::Action;
use crate::arch::{Arch, X32_BIT};
use crate::policy::{Policy, SKIPPED_CALL};

/// The graph of a policy.
#[must_use]
pub fn lower(policy: &Policy) -> Graph {
    let mut graph = GraphBuilder::default();
    let mut node = graph.answer(policy.bad_arch());
    // The native architecture is asked for first, so it's put on last.
    let mut audits: Vec<u32> = policy.abis().map(|(arch, _)| arch.audit()).collect();
    audits.sort_by_key(|audit| (*audit == policy.native().audit(), *audit));
    audits.dedup();
    for audit in audits {
        let numbers = intervals(&mut graph, policy, audit);
        let tree = search_tree(&mut graph, Word::Nr, &numbers);
        node = graph.ask(Word::Arch, Question::Is(audit), tree, node);
    }
    graph.finish(node)
}

/// The graph of one number alone, for who wants to know how much it takes.
#[must_use]
pub fn lower_call(policy: &Policy, arch: Arch, nr: u32) -> Graph {
    let mut graph = GraphBuilder::default();
    let node = lower_number(&mut graph, policy, arch.audit(), nr);
    graph.finish(node)
}

/// What each number of an architecture value leads to.
fn intervals(graph: &mut GraphBuilder, policy: &Policy, audit: u32) -> Vec<Interval> {
    let mut intervals: Vec<Interval> = Vec::new();
    for start in starts(policy, audit) {
        let node = lower_number(graph, policy, audit, start);
        match intervals.last() {
            Some(last) if last.node == node => {}
            _ => intervals.push(Interval {
                start,
                node,
                weight: 0,
            }),
        }
    }
    weigh(graph, &mut intervals);
    intervals
}

/// Every number at which the verdict can change, ascending, 0 first.
fn starts(policy: &Policy, audit: u32) -> Vec<u32> {
    let mut starts = vec![0, 1, X32_BIT, 2 * X32_BIT, 3 * X32_BIT, SKIPPED_CALL];
    for (_, abi) in policy.abis().filter(|(arch, _)| arch.audit() == audit) {
        let after = |nr: u32| nr.checked_add(1);
        starts.extend(abi.newest().and_then(after));
        for (nr, _) in abi.rules() {
            starts.push(nr);
            starts.extend(after(nr));
        }
    }
    starts.sort_unstable();
    starts.dedup();
    starts
}

/// What one number leads to.
fn lower_number(graph: &mut GraphBuilder, policy: &Policy, audit: u32, nr: u32) -> NodeId {
    let Some(arch) = policy.abi_of(audit, nr) else {
        return graph.answer(policy.bad_arch());
    };
    if policy.is_disabled_x32(arch, nr) && nr != SKIPPED_CALL {
        return graph.answer(policy.bad_arch());
    }
    let otherwise = graph.answer(unruled(policy, arch, nr));
    lower_rules(graph, arch, policy.rules(arch, nr), otherwise)
}

/// What happens to a number where none of its rules matches.
fn unruled(policy: &Policy, arch: Arch, nr: u32) -> Action {
    match policy.newer_call() {
        Some(action) if policy.is_newer(arch, nr) && !policy.is_disabled_x32(arch, nr) => action,
        _ => policy.default_action(),
    }
}

/// How many numbers a kernel's table may have: for each of them the kernel emulates the filter when it is
/// loaded, so each pays for its path once.
const TABLE_SIZE: u32 = 480;

/// What a number that runs the filter at each call weighs, against 1 for the emulation at load time.
const RUNS_EACH_TIME: u64 = 4;

/// Weighs the intervals by how often their paths are run. A number that is always allowed is answered
/// by the kernel's cache, and runs its path once only, at load time.
fn weigh(graph: &GraphBuilder, intervals: &mut [Interval]) {
    let ends: Vec<u32> = intervals[1..].iter().map(|next| next.start).collect();
    let ends = ends.into_iter().chain([u32::MAX]);
    for (interval, end) in intervals.iter_mut().zip(ends) {
        let numbers = end.min(TABLE_SIZE).saturating_sub(interval.start);
        let cached = graph.as_answer(interval.node) == Some(Action::Allow);
        let runs = if cached { 0 } else { RUNS_EACH_TIME };
        interval.weight = u64::from(numbers) + runs;
    }
}
