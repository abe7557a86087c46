//! A word's intervals → the leaves of a search tree: stretches that are settled without another split.
//!
//! The values of a leaf lead to one place but for single values, which are asked for one by one: `A b A` takes one
//! question where splits would take two. Or they lead to two places that one mask tells apart: of the numbers 312
//! to 322 on x86_64, Docker denies those that have neither bit 1 nor bit 2.
//!
//! Cutting a list into leaves decides how many questions its tree has: a tree over so many leaves has one split
//! less, however it is arranged. So the cheapest cuts are found first, in one pass from the left.

use super::NodeId;
use super::search_tree::Interval;

/// What one more question costs, against one more step on a path of weight 1. A program's size is paid for at
/// every load and in every copy of it; a step, at most at every call.
pub(super) const QUESTION: u64 = 150;

/// The most single values of one leaf.
const LONGEST_CHAIN: usize = 8;

/// The most intervals that are looked at together for a mask that tells them apart.
const LONGEST_MASKED: usize = 8;

/// Neighbouring intervals `first` to `last`, both included, and how they are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    pub(super) first: usize,
    pub(super) last: usize,
    pub(super) rest: Rest,
}

/// Where the values of a leaf lead that are not asked for one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// All to one place.
    One(NodeId),
    /// To where another tree leads, whose answers are the same there.
    Beside,
    /// Those that have any bit of the mask to one place, the others to another.
    Masked {
        mask: u32,
        some: NodeId,
        none: NodeId,
    },
}

/// Intervals with what is asked of them again and again.
#[derive(Debug)]
pub(super) struct Intervals<'a> {
    pub(super) list: &'a [Interval],
    /// The last value of each.
    ends: Vec<u32>,
    /// The bits that any of its values has.
    bits: Vec<u32>,
    /// The weights of all intervals before each.
    weight_before: Vec<u64>,
}

impl<'a> Intervals<'a> {
    /// The list covers all values: the first starts at 0, the rest ascend.
    pub(super) fn new(list: &'a [Interval]) -> Intervals<'a> {
        let ends = list.iter().skip(1).map(|next| next.start - 1);
        let ends: Vec<u32> = ends.chain([u32::MAX]).collect();
        let mut sum = 0;
        let sums = list.iter().map(|interval| {
            sum += interval.weight;
            sum
        });
        Intervals {
            list,
            bits: list
                .iter()
                .zip(&ends)
                .map(|(i, end)| bits(i.start, *end))
                .collect(),
            ends,
            weight_before: [0].into_iter().chain(sums).collect(),
        }
    }

    /// The cheapest leaves that cover the list.
    pub(super) fn leaves(&self) -> Vec<Leaf> {
        // By how many intervals are covered: the cost up to there, and the leaf that ends there.
        let mut best: Vec<(u64, Option<Leaf>)> = vec![(0, None)];
        for last in 0..self.list.len() {
            let mut cheapest = Cheapest {
                before: &best,
                cost: u64::MAX,
                leaf: None,
            };
            self.chains(last, &mut cheapest);
            self.masked(last, &mut cheapest);
            let found = (cheapest.cost, cheapest.leaf);
            best.push(found);
        }
        let mut leaves = Vec::new();
        let mut at = self.list.len();
        while let Some(leaf) = best[at].1 {
            leaves.push(leaf);
            at = leaf.first;
        }
        leaves.reverse();
        leaves
    }

    /// Leaves that lead to one place but for single values. The rest is where the last of them leads, for if that one
    /// were asked for by itself, it might as well be split off.
    fn chains(&self, last: usize, cheapest: &mut Cheapest<'_>) {
        let beside = self.list[last].shared.then_some(Rest::Beside);
        for rest in [Some(Rest::One(self.list[last].node)), beside]
            .into_iter()
            .flatten()
        {
            let mut singles = 0;
            for first in (0..=last).rev() {
                if self.fits(first, rest) {
                    let leaf = Leaf { first, last, rest };
                    cheapest.offer(leaf, singles, self.weight(first, last));
                } else if self.is_single(first) && singles < LONGEST_CHAIN {
                    singles += 1;
                } else {
                    break;
                }
            }
        }
    }

    /// Leaves that lead to two places but for single values, by a mask. The first and the last interval are not among
    /// those: they might as well be split off.
    fn masked(&self, last: usize, cheapest: &mut Cheapest<'_>) {
        let mut places = Places::default();
        let longest = (last + 1).min(LONGEST_MASKED);
        for first in (last + 1 - longest..=last).rev() {
            if !places.add(self.list[first].node, self.bits[first]) {
                break;
            }
            // What two intervals take a mask for, a split does as well.
            if first + 2 > last {
                continue;
            }
            let Some(most) = cheapest.most_questions(first) else {
                continue;
            };
            let mut offer = |none: NodeId, bits: u32| {
                let run = Leaf {
                    first,
                    last,
                    rest: Rest::One(none),
                };
                if let Some((leaf, singles)) = self.told_apart(run, none, !bits, most - 1) {
                    cheapest.offer(leaf, singles + 1, self.weight(first, last));
                }
            };
            for (none, bits) in places.all() {
                offer(none, bits);
                if most < 2 {
                    continue;
                }
                // Without one of the single values that lead there, the mask may have a bit more.
                for left_out in first + 1..last {
                    if self.list[left_out].node == none && self.is_single(left_out) {
                        let others =
                            (first..=last).filter(|i| *i != left_out && self.list[*i].node == none);
                        let fewer = others.fold(0, |bits, i| bits | self.bits[i]);
                        if fewer != bits {
                            offer(none, fewer);
                        }
                    }
                }
            }
        }
    }

    /// A run as two places that a mask tells apart, `none` being that of values without its bits, and how many single
    /// values have to be asked for besides, at most `most`.
    fn told_apart(&self, run: Leaf, none: NodeId, mask: u32, most: usize) -> Option<(Leaf, usize)> {
        let ends = [run.first, run.last].map(|end| self.list[end].node);
        let other = ends.into_iter().find(|node| *node != none);
        let inside = || (run.first..=run.last).map(|i| self.list[i].node);
        let some = other.or_else(|| inside().find(|node| *node != none))?;
        let rest = Rest::Masked { mask, some, none };
        if !self.fits(run.first, rest) || !self.fits(run.last, rest) {
            return None;
        }
        let mut singles = 0;
        for i in run.first + 1..run.last {
            if !self.fits(i, rest) {
                singles += 1;
                if singles > most || !self.is_single(i) {
                    return None;
                }
            }
        }
        Some((Leaf { rest, ..run }, singles))
    }

    /// Whether an interval leads where the rest does.
    fn fits(&self, i: usize, rest: Rest) -> bool {
        let node = self.list[i].node;
        match rest {
            Rest::One(one) => node == one,
            Rest::Beside => self.list[i].shared,
            Rest::Masked { mask, some, none } => {
                if node == none {
                    self.bits[i] & mask == 0
                } else {
                    node == some && self.has_any(i, mask)
                }
            }
        }
    }

    /// The intervals of a leaf that are asked for one by one.
    pub(super) fn singles(&self, leaf: Leaf) -> impl Iterator<Item = usize> {
        (leaf.first..=leaf.last).filter(move |i| !self.fits(*i, leaf.rest))
    }

    pub(super) fn is_single(&self, i: usize) -> bool {
        self.list[i].start == self.ends[i]
    }

    /// The last value of an interval.
    pub(super) fn end(&self, i: usize) -> u32 {
        self.ends[i]
    }

    /// The weights of all intervals before one.
    pub(super) fn weight_before(&self, i: usize) -> u64 {
        self.weight_before[i]
    }

    /// The weights of a run together.
    pub(super) fn weight(&self, first: usize, last: usize) -> u64 {
        self.weight_before[last + 1] - self.weight_before[first]
    }

    /// Whether every value of an interval has a bit of the mask.
    fn has_any(&self, i: usize, mask: u32) -> bool {
        let (low, high) = (self.list[i].start, self.ends[i]);
        if low & mask == 0 {
            return false;
        }
        // The next value that has none: above the highest bit that `low` has of the mask, counted up without the mask.
        let below = u32::MAX >> (low & mask).leading_zeros();
        let next = (low | below | mask).checked_add(1);
        next.is_none_or(|next| next & !mask > high)
    }
}

/// The bits that any of some values has.
fn bits(low: u32, high: u32) -> u32 {
    // Below the highest bit in which the two differ, all occur.
    let differ = u32::MAX.checked_shr((low ^ high).leading_zeros());
    low | differ.unwrap_or(0)
}

/// Up to three places, and the bits that any of the values has that lead there.
#[derive(Default)]
struct Places {
    places: [Option<(NodeId, u32)>; 3],
}

impl Places {
    /// Adds values; whether there was room for their place.
    fn add(&mut self, node: NodeId, bits: u32) -> bool {
        for place in &mut self.places {
            match place {
                Some((known, of_all)) if *known == node => *of_all |= bits,
                Some(_) => continue,
                None => *place = Some((node, bits)),
            }
            return true;
        }
        false
    }

    fn all(&self) -> impl Iterator<Item = (NodeId, u32)> {
        self.places.into_iter().flatten()
    }
}

/// The cheapest leaf so far that ends somewhere.
struct Cheapest<'a> {
    before: &'a [(u64, Option<Leaf>)],
    cost: u64,
    leaf: Option<Leaf>,
}

impl Cheapest<'_> {
    /// Takes a leaf with so many questions if it is cheaper. Nearly all of its weight goes past all of its questions.
    fn offer(&mut self, leaf: Leaf, questions: usize, weight: u64) {
        let questions = questions as u64;
        let cost = self.before[leaf.first].0 + QUESTION * (questions + 1) + weight * questions;
        if cost < self.cost {
            self.cost = cost;
            self.leaf = Some(leaf);
        }
    }

    /// How many questions a leaf from `first` on may have at most to be cheaper.
    fn most_questions(&self, first: usize) -> Option<usize> {
        let left = self.cost.checked_sub(self.before[first].0 + QUESTION)?;
        usize::try_from(left / QUESTION)
            .ok()
            .filter(|most| *most > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::Action;
    use crate::decision::GraphBuilder;

    fn interval(start: u32, node: NodeId) -> Interval {
        Interval {
            start,
            node,
            weight: 1,
            shared: false,
        }
    }

    #[test]
    fn bits_of_ranges() {
        let node = GraphBuilder::default().answer(Action::Allow);
        for low in 0..40u32 {
            for high in low..40 {
                assert_eq!(
                    bits(low, high),
                    (low..=high).fold(0, |all, v| all | v),
                    "{low} to {high}"
                );
                let list = [interval(low, node), interval(high + 1, node)];
                let intervals = Intervals::new(&list);
                for mask in 0..64 {
                    let each = (low..=high).all(|value| value & mask != 0);
                    assert_eq!(
                        intervals.has_any(0, mask),
                        each,
                        "{low} to {high}, {mask:#x}"
                    );
                }
            }
        }
        assert_eq!(bits(0, u32::MAX), u32::MAX);
        let list = [interval(u32::MAX - 1, node)];
        assert!(Intervals::new(&list).has_any(0, 2));
        assert!(!Intervals::new(&list).has_any(0, 1));
    }

    #[test]
    fn one_mask_tells_apart_what_would_take_several_splits() {
        let mut graph = GraphBuilder::default();
        let [allow, deny] = [Action::Allow, Action::Errno(1)].map(|action| graph.answer(action));
        let starts = [(0, allow), (1, deny), (8, allow), (9, deny)];
        let starts = starts
            .into_iter()
            .chain([(0x2_0000, allow), (0x2_0001, deny)]);
        let starts = starts.chain([(0x2_0008, allow), (0x2_0009, deny), (u32::MAX, allow)]);
        let list: Vec<Interval> = starts.map(|(start, node)| interval(start, node)).collect();
        let intervals = Intervals::new(&list);
        let leaves = intervals.leaves();
        let questions = leaves.len() - 1
            + leaves
                .iter()
                .map(|leaf| {
                    intervals.singles(*leaf).count()
                        + usize::from(matches!(leaf.rest, Rest::Masked { .. }))
                })
                .sum::<usize>();
        assert_eq!(questions, 2, "{leaves:?}");
    }
}
