//! What arguments must be, in terms that a reader can follow: ranges of values, and bits.

use std::fmt;

use super::ProofError;
use super::apply::Span;
use super::diagram::{Diagrams, NO, NodeId, Word, YES};

/// So many alternatives are written down. Beyond that it is said that there are more.
const MOST_ALTERNATIVES: usize = 32;
/// So many ranges, or alternatives of bits, describe the values of one argument.
const MOST_PIECES: usize = 16;
/// How many values are as hard to read as a mask. A range is as hard as two.
const EFFORT_OF_BITS: usize = 3;
/// A range of no more values is written as those.
const FEW: u64 = 4;

/// A condition on the arguments of a call and its instruction pointer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conditions {
    /// One of these holds, and no two at once: each a list of what arguments must be, all of it. An empty list always holds.
    pub alternatives: Vec<Vec<Values>>,
    /// Whether there are more alternatives than are listed.
    pub and_more: bool,
}

/// What an argument, or the instruction pointer, must be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Values {
    /// Which argument, 0 to 5; 6 is the instruction pointer.
    pub argument: u8,
    /// Which of its bits.
    pub part: Part,
    /// The values that these have, as a number.
    pub set: Set,
}

/// Which bits of an argument are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// All 64.
    Whole,
    /// The lower 32.
    Low,
    /// The upper 32.
    High,
}

/// A set of values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Set {
    /// Those in one of the ranges, both ends included.
    In(Vec<(u64, u64)>),
    /// Those in none of the ranges.
    NotIn(Vec<(u64, u64)>),
    /// Those whose bits of one of the masks have these values: (mask, value).
    Bits(Vec<(u64, u64)>),
    /// Those for which that holds of none of the masks.
    NotBits(Vec<(u64, u64)>),
    /// It would take too many words: a value that is in, and a value that isn't.
    Intricate(u64, u64),
}

impl Conditions {
    /// Whether every call has it.
    #[must_use]
    pub fn is_always(&self) -> bool {
        self.alternatives.iter().any(Vec::is_empty)
    }
}

/// Takes a condition apart that asks for no word before the arguments.
pub(super) fn conditions(
    diagrams: &mut Diagrams,
    condition: NodeId,
) -> Result<Conditions, ProofError> {
    let mut conditions = Conditions {
        alternatives: Vec::new(),
        and_more: false,
    };
    add(diagrams, condition, 0, &mut Vec::new(), &mut conditions)?;
    Ok(conditions)
}

fn add(
    diagrams: &mut Diagrams,
    condition: NodeId,
    argument: u8,
    before: &mut Vec<Values>,
    conditions: &mut Conditions,
) -> Result<(), ProofError> {
    if condition == NO || conditions.and_more {
        return Ok(());
    }
    if condition == YES || argument > 6 {
        match conditions.alternatives.len() < MOST_ALTERNATIVES {
            true => conditions.alternatives.push(before.clone()),
            false => conditions.and_more = true,
        }
        return Ok(());
    }
    let whole = span(argument, Part::Whole);
    if !diagrams.asks_within(condition, whole) {
        return add(diagrams, condition, argument + 1, before, conditions);
    }
    let mut parts = Vec::new();
    for (set, rest) in diagrams.by_rest(condition, whole)? {
        parts.push((values(diagrams, argument, set)?, rest));
    }
    // What is hard to say of an argument may be easy to say of its halves.
    let hard = |(values, rest): &(Option<Values>, NodeId)| {
        *rest != NO && values.as_ref().is_some_and(Values::is_hard_to_read)
    };
    if parts.iter().any(hard) {
        parts.clear();
        for (set, rest) in diagrams.by_rest(condition, span(argument, Part::High))? {
            parts.push((values(diagrams, argument, set)?, rest));
        }
    }
    for (values, rest) in parts {
        let depth = before.len();
        before.extend(values);
        // What is left of this argument is its lower half.
        add(diagrams, rest, argument, before, conditions)?;
        before.truncate(depth);
    }
    Ok(())
}

fn span(argument: u8, part: Part) -> Span {
    let (high, low) = match argument {
        0..6 => (Word::ArgumentHigh(argument), Word::ArgumentLow(argument)),
        _ => (Word::PointerHigh, Word::PointerLow),
    };
    let (word, bits) = match part {
        Part::Whole => (high, 64),
        Part::High => (high, 32),
        Part::Low => (low, 32),
    };
    Span {
        first: word.first_bit(),
        bits,
    }
}

/// A set of values of an argument in the fewest words; `None` if it is all of them.
fn values(
    diagrams: &mut Diagrams,
    argument: u8,
    set: NodeId,
) -> Result<Option<Values>, ProofError> {
    if set == YES {
        return Ok(None);
    }
    let [high, low] = [Part::High, Part::Low].map(|part| span(argument, part));
    let part = match diagrams.asks_within(set, high) {
        false => Part::Low,
        true if diagrams.asks_only_within(set, high) => Part::High,
        true => Part::Whole,
    };
    let span = match part {
        Part::Low => low,
        Part::High => high,
        Part::Whole => span(argument, part),
    };
    let others = diagrams.not(set)?;
    let ranges = |set: NodeId| {
        let ranges = diagrams.ranges_of(set, span, 2 * MOST_PIECES + 1)?;
        let ranges = ranges.into_iter().filter(|(.., is_in)| *is_in == YES);
        Some(ranges.map(|(first, last, _)| (first, last)).collect())
    };
    let of_ranges = |ranges: &Vec<(u64, u64)>| {
        let efforts = ranges.iter().map(|(a, b)| if a == b { 1 } else { 2 });
        efforts.sum::<usize>()
    };
    let of_bits = |bits: &Vec<(u64, u64)>| EFFORT_OF_BITS * bits.len();
    // Of equally easy ways the first.
    let mut ways: Vec<(usize, Set)> = Vec::new();
    ways.extend(ranges(set).map(|r| (of_ranges(&r), Set::In(r))));
    ways.extend(ranges(others).map(|r| (of_ranges(&r), Set::NotIn(r))));
    let bits = diagrams.alternatives(set, span, MOST_PIECES)?;
    ways.extend(bits.map(|b| (of_bits(&b), Set::Bits(b))));
    let bits = diagrams.alternatives(others, span, MOST_PIECES)?;
    ways.extend(bits.map(|b| (of_bits(&b), Set::NotBits(b))));
    let easiest = ways.into_iter().min_by_key(|(effort, _)| *effort);
    let set = match easiest {
        Some((_, set)) => set,
        None => Set::Intricate(
            value(diagrams, argument, set),
            value(diagrams, argument, others),
        ),
    };
    Ok(Some(Values {
        argument,
        part,
        set,
    }))
}

/// One of the values of a set.
fn value(diagrams: &Diagrams, argument: u8, set: NodeId) -> u64 {
    let call = diagrams.difference(set, NO);
    let value = call.args.get(usize::from(argument)).copied();
    value.unwrap_or(call.instruction_pointer)
}

/// Without names: `arg0 & 0x10000000 == 0 and arg1 in {1, 5-7}`; nothing if it always holds.
impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_always() {
            return Ok(());
        }
        for (i, alternative) in self.alternatives.iter().enumerate() {
            f.write_str(if i == 0 { "" } else { " or " })?;
            for (i, values) in alternative.iter().enumerate() {
                f.write_str(if i == 0 { "" } else { " and " })?;
                values.fmt(f)?;
            }
        }
        f.write_str(if self.and_more { " or …" } else { "" })
    }
}

impl fmt::Display for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.argument {
            0..6 => format!("{}arg{}", self.prefix(), self.argument),
            _ => format!("{}instruction pointer", self.prefix()),
        };
        f.write_str(&self.text(&name, &|value| number(value), &|mask| number(mask)))
    }
}

impl Values {
    /// With a name for the argument, and ways to write its values and masks of its bits.
    #[must_use]
    pub fn text(
        &self,
        name: &str,
        value: &dyn Fn(u64) -> String,
        mask: &dyn Fn(u64) -> String,
    ) -> String {
        let (ranges, bits, is_in) = match &self.set {
            Set::In(ranges) => (ranges.as_slice(), &[][..], true),
            Set::NotIn(ranges) => (ranges.as_slice(), &[][..], false),
            Set::Bits(bits) => (&[][..], bits.as_slice(), true),
            Set::NotBits(bits) => (&[][..], bits.as_slice(), false),
            Set::Intricate(with, without) => {
                return format!(
                    "{name} in many values, {} among them and {} not",
                    value(*with),
                    value(*without)
                );
            }
        };
        match (ranges, bits) {
            ([], [(bits, wanted)]) => {
                let compared = if is_in { "==" } else { "!=" };
                let wanted = if *wanted == 0 {
                    "0".to_owned()
                } else {
                    mask(*wanted)
                };
                format!(
                    "{name} & {} {compared} {wanted}",
                    parenthesised(mask(*bits))
                )
            }
            ([], bits) => {
                let each = bits.iter().map(|(bits, wanted)| {
                    let wanted = if *wanted == 0 {
                        "0".to_owned()
                    } else {
                        mask(*wanted)
                    };
                    format!("{name} & {} == {wanted}", parenthesised(mask(*bits)))
                });
                let all = each.collect::<Vec<_>>().join(" or ");
                if is_in {
                    format!("({all})")
                } else {
                    format!("not ({all})")
                }
            }
            ([(first, last)], _) if first == last => {
                let compared = if is_in { "==" } else { "!=" };
                format!("{name} {compared} {}", value(*first))
            }
            ([(0, last)], _) if is_in => format!("{name} <= {}", number(*last)),
            ([(first, last)], _) if is_in && *last == self.largest() => {
                format!("{name} >= {}", number(*first))
            }
            (ranges, _) => {
                let each = ranges
                    .iter()
                    .flat_map(|&(first, last)| match last - first < FEW {
                        true => (first..=last).map(value).collect(),
                        false => vec![format!("{}-{}", number(first), number(last))],
                    });
                let all = each.collect::<Vec<_>>().join(", ");
                format!("{name} {} {{{all}}}", if is_in { "in" } else { "not in" })
            }
        }
    }

    /// What is to be said before the argument's name where not all of it is asked for.
    #[must_use]
    pub fn prefix(&self) -> &'static str {
        match (self.part, &self.set) {
            // The masks say so.
            (Part::Whole, _) | (Part::Low, Set::Bits(_) | Set::NotBits(_)) => "",
            (Part::Low, _) => "(int) ",
            (Part::High, _) => "high half of ",
        }
    }

    fn is_hard_to_read(&self) -> bool {
        let easy = match &self.set {
            Set::In(_) | Set::NotIn(_) => true,
            Set::Bits(bits) | Set::NotBits(bits) => bits.len() < 3,
            Set::Intricate(..) => false,
        };
        self.part == Part::Whole && !easy
    }

    fn largest(&self) -> u64 {
        match self.part {
            Part::Whole => u64::MAX,
            Part::Low | Part::High => u64::from(u32::MAX),
        }
    }
}

/// Several flags need them.
fn parenthesised(text: String) -> String {
    match text.contains('|') {
        true => format!("({text})"),
        false => text,
    }
}

/// Small numbers are easier to read in decimal.
fn number(value: u64) -> String {
    match value {
        0..1024 => value.to_string(),
        _ => format!("{value:#x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The condition that an argument is one of a few values, said of all its bits.
    fn one_of(diagrams: &mut Diagrams, values: &[u64]) -> NodeId {
        let mut condition = NO;
        for value in values {
            let low = diagrams.equal(
                Word::ArgumentLow(1),
                u32::MAX,
                crate::call::low_half(*value),
            );
            let high = diagrams.equal(
                Word::ArgumentHigh(1),
                u32::MAX,
                crate::call::high_half(*value),
            );
            let both = diagrams.both(high.unwrap(), low.unwrap()).unwrap();
            condition = diagrams.either(condition, both).unwrap();
        }
        condition
    }

    fn text(diagrams: &mut Diagrams, condition: NodeId) -> String {
        conditions(diagrams, condition).unwrap().to_string()
    }

    #[test]
    fn sets_are_said_in_the_fewest_words() {
        let mut d = Diagrams::new(1 << 16);
        let few = one_of(&mut d, &[1, 2, 10, 16, 17, 38, 40]);
        assert_eq!(text(&mut d, few), "arg1 in {1, 2, 10, 16, 17, 38, 40}");
        let others = d.not(few).unwrap();
        assert_eq!(
            text(&mut d, others),
            "arg1 not in {1, 2, 10, 16, 17, 38, 40}"
        );
        let bits = d.equal(Word::ArgumentLow(0), 0x1002_0000, 0).unwrap();
        assert_eq!(text(&mut d, bits), "arg0 & 0x10020000 == 0");
        let not_bits = d.not(bits).unwrap();
        assert_eq!(text(&mut d, not_bits), "arg0 & 0x10020000 != 0");
        let large = d.at_least(Word::ArgumentLow(2), u32::MAX, 5).unwrap();
        assert_eq!(text(&mut d, large), "(int) arg2 >= 5");
        let both = d.both(not_bits, large).unwrap();
        assert_eq!(
            text(&mut d, both),
            "arg0 & 0x10020000 != 0 and (int) arg2 >= 5"
        );
        // One compares 64 bits, the other 32.
        let low =
            [1, 5, 9, 12].map(|value| d.equal(Word::ArgumentLow(1), u32::MAX, value).unwrap());
        let low = low.into_iter().fold(NO, |a, b| d.either(a, b).unwrap());
        let not_few = d.not(few).unwrap();
        let mixed = d.both(low, not_few).unwrap();
        assert_eq!(
            text(&mut d, mixed),
            "high half of arg1 == 0 and (int) arg1 in {5, 9, 12} or \
             high half of arg1 != 0 and (int) arg1 in {1, 5, 9, 12}"
        );
    }
}
