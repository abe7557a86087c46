//! Rules → the condition under which one of them matches, as short as it may be said.
//!
//! Rules with one condition each, on one argument, are a set of values: said as the values that are in it, or those that
//! aren't, or as ranges, whichever takes fewest words. Other rules are said one by one.

use std::collections::BTreeMap;

use crate::arch::Arch;
use crate::policy::{Condition, Rule, Test};
use crate::signatures::{self, Argument};

/// What stands before an argument of which the lower 32 bits alone are compared.
pub(super) const INT: &str = "(int) ";
pub(super) const INT_MASK: u64 = 0xffff_ffff;
/// So many neighbours among the values of some bits are listed, and not said as a range.
const MOST_NEIGHBOURS: u64 = 64;
/// So many values at most are listed as those that are not meant.
const MOST_EXCEPTIONS: usize = 8;

/// When one of some rules matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Formula {
    Never,
    Always,
    When(String),
}

/// An argument, or some of its bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Operand {
    pub(super) arg: u8,
    pub(super) mask: u64,
}

/// Values, as ranges that don't touch, ascending.
pub(super) type Ranges = Vec<(u64, u64)>;

/// The condition under which one of the rules of a call matches.
pub(super) fn formula(arch: Arch, call: &str, rules: &[Rule]) -> Formula {
    let writer = Writer::new(arch, call);
    // In the order in which they come up.
    let mut operands: Vec<Operand> = Vec::new();
    let mut values: BTreeMap<Operand, Ranges> = BTreeMap::new();
    let mut others: Vec<String> = Vec::new();
    for rule in rules {
        match rule.conditions[..] {
            [] => return Formula::Always,
            [condition] => {
                let (operand, ranges) = writer.values(condition);
                if !operands.contains(&operand) {
                    operands.push(operand);
                }
                values.entry(operand).or_default().extend(ranges);
            }
            _ => match writer.conjunction(&rule.conditions) {
                Formula::Always => return Formula::Always,
                Formula::Never => {}
                Formula::When(text) => others.push(text),
            },
        }
    }
    let mut alternatives = Vec::new();
    for operand in operands {
        let ranges = values.remove(&operand).unwrap_or_default();
        match writer.alternatives(operand, &union(ranges)) {
            None => return Formula::Always,
            Some(texts) => alternatives.extend(texts),
        }
    }
    alternatives.extend(others);
    if alternatives.is_empty() {
        return Formula::Never;
    }
    Formula::When(alternatives.join(" or "))
}

/// Writes conditions of one call on one ABI.
pub(super) struct Writer {
    arch: Arch,
    signature: Vec<Argument>,
}

impl Writer {
    pub(super) fn new(arch: Arch, call: &str) -> Writer {
        Writer {
            arch,
            signature: signatures::arguments(arch, call),
        }
    }

    /// The values of an argument, or of some of its bits, for which a condition holds.
    fn values(&self, condition: Condition) -> (Operand, Ranges) {
        let (arg, full) = (condition.arg, self.arch.argument_mask());
        let mask = match condition.test {
            Test::Masked { mask, .. } => mask & full,
            _ => full,
        };
        let below = |datum: u64| Some((0, datum.checked_sub(1)?));
        let above = |datum: u64| Some((datum.checked_add(1).filter(|from| *from <= full)?, full));
        let ranges = match condition.test {
            Test::Masked { value, .. } => vec![Some((value & mask, value & mask))],
            Test::Eq(datum) => vec![Some((datum, datum))],
            Test::Ne(datum) => vec![below(datum), above(datum)],
            Test::Lt(datum) => vec![below(datum)],
            Test::Le(datum) => vec![Some((0, datum))],
            Test::Gt(datum) => vec![above(datum)],
            Test::Ge(datum) => vec![Some((datum, full))],
        };
        (
            Operand { arg, mask },
            ranges.into_iter().flatten().collect(),
        )
    }

    /// Conditions that must all hold.
    fn conjunction(&self, conditions: &[Condition]) -> Formula {
        self.all(conditions.iter().map(|condition| self.values(*condition)))
    }

    /// Operands that must all be in their ranges.
    pub(super) fn all(&self, operands: impl Iterator<Item = (Operand, Ranges)>) -> Formula {
        let mut parts = Vec::new();
        for (operand, ranges) in operands {
            match self.alternatives(operand, &ranges) {
                None => {}
                Some(texts) if texts.is_empty() => return Formula::Never,
                Some(texts) => parts.push(texts),
            }
        }
        let alone = parts.len() == 1;
        let parts = parts.into_iter().map(|texts| match &texts[..] {
            [text] => text.clone(),
            _ if alone => texts.join(" or "),
            _ => format!("({})", texts.join(" or ")),
        });
        let parts: Vec<String> = parts.collect();
        if parts.is_empty() {
            return Formula::Always;
        }
        Formula::When(parts.join(" and "))
    }

    /// That an operand is in some ranges, as alternatives; nothing if it always is.
    fn alternatives(&self, operand: Operand, ranges: &Ranges) -> Option<Vec<String>> {
        if operand.mask == 0 {
            return if ranges.is_empty() {
                Some(Vec::new())
            } else {
                None
            };
        }
        let full = operand.mask;
        let name = self.operand(operand);
        let value = |value: u64| self.value(operand, value);
        let all = |values: &[u64]| {
            let values: Vec<String> = values.iter().map(|v| value(*v)).collect();
            values.join(", ")
        };
        let missing = complement(ranges, full);
        if missing.is_empty() {
            return None;
        }
        let (exceptions, wide) = self.listed(operand, &missing);
        let few = wide.is_empty() && exceptions.len() <= MOST_EXCEPTIONS;
        if few && !self.listed(operand, ranges).1.is_empty() {
            return Some(vec![match exceptions[..] {
                [one] => format!("{name} != {}", value(one)),
                _ => format!("{name} not in {{{}}}", all(&exceptions)),
            }]);
        }
        let (single, wide) = self.listed(operand, ranges);
        let mut texts: Vec<String> = match single[..] {
            [] => Vec::new(),
            [one] => vec![format!("{name} == {}", value(one))],
            _ => vec![format!("{name} in {{{}}}", all(&single))],
        };
        texts.extend(wide.into_iter().map(|(from, to)| match (from, to) {
            // Constants have no order that would mean anything.
            (0, to) => format!("{name} <= {}", number(to)),
            (from, to) if to == full => format!("{name} >= {}", number(from)),
            (from, to) => format!("{} <= {name} <= {}", number(from), number(to)),
        }));
        Some(texts)
    }

    /// The values that are better listed, and the ranges that are better said as such: of an argument with constants a few
    /// neighbours are a list, and of some bits all values are.
    fn listed(&self, operand: Operand, ranges: &Ranges) -> (Vec<u64>, Ranges) {
        let has_set = self
            .argument(operand)
            .is_some_and(|argument| argument.set.is_some());
        let most = match operand.mask == self.arch.argument_mask() {
            false => MOST_NEIGHBOURS,
            true if has_set => 8,
            true => 1,
        };
        let short = |range: &&(u64, u64)| range.1 - range.0 < most;
        let single = ranges
            .iter()
            .filter(short)
            .flat_map(|(from, to)| *from..=*to);
        let wide = ranges.iter().filter(|range| !short(range));
        (single.collect(), wide.copied().collect())
    }

    fn argument(&self, operand: Operand) -> Option<&Argument> {
        self.signature.get(usize::from(operand.arg))
    }

    fn operand(&self, operand: Operand) -> String {
        let name = self
            .argument(operand)
            .map(|argument| argument.name.to_owned());
        let name = name.unwrap_or_else(|| format!("arg{}", operand.arg));
        let int = u64::from(u32::MAX);
        match operand.mask {
            mask if mask == self.arch.argument_mask() => name,
            mask if mask == int => format!("{INT}{name}"),
            mask => match self.argument(operand).and_then(|argument| argument.set) {
                Some(set) => {
                    let mask = set.display_mask(self.arch, mask);
                    match mask.contains('|') {
                        true => format!("{name} & ({mask})"),
                        false => format!("{name} & {mask}"),
                    }
                }
                None => format!("{name} & {mask:#x}"),
            },
        }
    }

    fn value(&self, operand: Operand, value: u64) -> String {
        let set = self.argument(operand).and_then(|argument| argument.set);
        let some_bits = ![self.arch.argument_mask(), u64::from(u32::MAX)].contains(&operand.mask);
        match set {
            // No bit set of some is no constant of its own.
            Some(set) if value != 0 || !some_bits => set.display(self.arch, value),
            _ => number(value),
        }
    }
}

/// Small ones decimal, others hexadecimal.
fn number(value: u64) -> String {
    if value < 1024 {
        value.to_string()
    } else {
        format!("{value:#x}")
    }
}

/// Sorted, with those joined that overlap or touch.
pub(super) fn union(mut ranges: Ranges) -> Ranges {
    ranges.sort_unstable();
    let mut joined: Ranges = Vec::new();
    for (from, to) in ranges {
        match joined.last_mut() {
            Some((_, end)) if from <= end.saturating_add(1) => *end = to.max(*end),
            _ => joined.push((from, to)),
        }
    }
    joined
}

/// What is not in some joined ranges, up to a largest value.
pub(super) fn complement(ranges: &Ranges, largest: u64) -> Ranges {
    let mut missing = Vec::new();
    let mut next = Some(0);
    for (from, to) in ranges {
        if let Some(start) = next.filter(|start| start < from) {
            missing.push((start, from - 1));
        }
        next = to.checked_add(1);
    }
    missing.extend(
        next.filter(|start| *start <= largest)
            .map(|start| (start, largest)),
    );
    missing
}
