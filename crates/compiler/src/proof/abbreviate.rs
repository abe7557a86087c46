//! Long lists of rules, proved rule by rule.
//!
//! The diagram of a hundred rules over several arguments may be too large for any machine, as each rule leaves its own cells of the
//! arguments to the rules behind it. But a program that tries rules one after the other, or a few at a time, has places where all
//! that is left to do is the rules from some one on. So each such rest gets a name
//! ([`Diagrams::name`]), and where a part of the program turns out to be a few rules in front of a named rest, it is that longer rest,
//! whose name is put in its place. What remains is small all the way.
//!
//! Invariant: a name is only put where the functions are equal. A program that is made in another way than
//! rule by rule isn't taken for wrong: its diagram grows too large, or its ends don't compare, and that is said.

use std::collections::HashMap;

use super::diagram::{Diagrams, Hashing, NO, NodeId};
use super::{Built, ProofError};

/// How much larger than a function in question the rules may get that it is compared with.
const SLACK: usize = 256;

/// The rests that have names, and which functions they are.
#[derive(Debug, Default)]
pub(super) struct Abbreviations {
    /// The rests that are one rule longer than a rest.
    longer: HashMap<NodeId, Vec<NodeId>, Hashing>,
    /// Where lists of rules end.
    bases: Vec<NodeId>,
    /// The name of a function.
    name_of: HashMap<NodeId, NodeId, Hashing>,
    /// For each rest that functions were compared with: the longer ones that weren't worked out yet, as functions with that
    /// rest as an end.
    frontiers: HashMap<NodeId, Vec<Frontier>, Hashing>,
    ends: HashMap<NodeId, Ends, Hashing>,
}

/// Some of the ends of a function.
#[derive(Clone, Copy, Debug)]
struct Ends {
    /// One that lists of rules end with.
    base: Option<NodeId>,
    /// The shortest rest.
    rest: Option<NodeId>,
}

#[derive(Clone, Copy, Debug)]
struct Frontier {
    name: NodeId,
    function: NodeId,
    size: usize,
}

impl Abbreviations {
    /// Whether nothing has a name, so that different functions have different diagrams.
    pub(super) fn is_empty(&self) -> bool {
        self.bases.is_empty()
    }

    /// Names a list of rules, and each of its rests: conditions and actions in order, and what happens where none holds.
    pub(super) fn add(
        &mut self,
        diagrams: &mut Diagrams,
        rules: &[(NodeId, NodeId)],
        otherwise: NodeId,
    ) -> Built {
        if !self.bases.contains(&otherwise) {
            self.bases.push(otherwise);
        }
        let mut rest = otherwise;
        for (condition, action) in rules.iter().rev() {
            if *condition == NO || *action == rest {
                continue;
            }
            let name = diagrams.name(*condition, *action, rest)?;
            let longer = self.longer.entry(rest).or_default();
            if !longer.contains(&name) {
                longer.push(name);
            }
            rest = name;
        }
        Ok(rest)
    }

    /// The name of a function if it is found to be a rest, else the function itself.
    pub(super) fn shorten(&mut self, diagrams: &mut Diagrams, function: NodeId) -> Built {
        if self.is_empty() || !diagrams.is_of_arguments(function) {
            return Ok(function);
        }
        if let Some(name) = self.name_of.get(&function) {
            return Ok(*name);
        }
        // Where a list of rules ends is looked for first: a part of the program that tries several rules at once may well have a
        // smaller part that happens to be a rest.
        let Ends { base, rest } = self.ends(diagrams, function);
        let bases = match rest {
            Some(_) => base.into_iter().chain(rest).collect(),
            None => self.bases.clone(),
        };
        for base in bases {
            let mut known = HashMap::default();
            let Some(spelt_out) = spell_out(diagrams, function, base, &mut known)? else {
                continue;
            };
            if let Some(name) = self.find(diagrams, spelt_out, base)? {
                self.name_of.insert(function, name);
                return Ok(name);
            }
        }
        Ok(function)
    }

    /// The name of a function that has no name but that of `base` as an end.
    fn find(
        &mut self,
        diagrams: &mut Diagrams,
        function: NodeId,
        base: NodeId,
    ) -> Result<Option<NodeId>, ProofError> {
        if let Some(name) = self.name_of.get(&function) {
            return Ok(Some(*name));
        }
        let start = Frontier {
            name: base,
            function: base,
            size: 1,
        };
        let mut open = self.frontiers.remove(&base).unwrap_or(vec![start]);
        let enough = 2 * diagrams.size(function) + SLACK;
        let mut beyond = Vec::new();
        while let Some(frontier) = open.pop() {
            if frontier.size > enough {
                beyond.push(frontier);
                continue;
            }
            for name in self.longer.get(&frontier.name).into_iter().flatten() {
                let Some(named) = diagrams.named(*name) else {
                    continue;
                };
                let function = diagrams.choose(named.condition, named.action, frontier.function)?;
                // Of two names of a function, the one with more rules behind it leads on.
                self.name_of.insert(function, *name);
                open.push(Frontier {
                    name: *name,
                    function,
                    size: diagrams.size(function),
                });
            }
        }
        self.frontiers.insert(base, beyond);
        Ok(self.name_of.get(&function).copied())
    }

    fn ends(&mut self, diagrams: &Diagrams, function: NodeId) -> Ends {
        let Some(ways) = diagrams.ways(function) else {
            let is_named = diagrams.named(function).is_some();
            return Ends {
                base: Some(function).filter(|end| self.bases.contains(end)),
                rest: Some(function).filter(|_| is_named),
            };
        };
        if let Some(known) = self.ends.get(&function) {
            return *known;
        }
        let [a, b] = ways.map(|way| self.ends(diagrams, way));
        let depth = |rest: &NodeId| diagrams.named(*rest).map(|named| named.depth);
        let ends = Ends {
            base: a.base.or(b.base),
            rest: a.rest.into_iter().chain(b.rest).min_by_key(depth),
        };
        self.ends.insert(function, ends);
        ends
    }
}

/// A function with its ends spelt out down to one rest, if they all fall through to that.
fn spell_out(
    diagrams: &mut Diagrams,
    function: NodeId,
    down_to: NodeId,
    known: &mut HashMap<NodeId, Option<NodeId>, Hashing>,
) -> Result<Option<NodeId>, ProofError> {
    if function == down_to {
        return Ok(Some(function));
    }
    if let Some(known) = known.get(&function) {
        return Ok(*known);
    }
    let spelt_out = if let Some(ways) = diagrams.ways(function) {
        let [zero, one] = ways;
        let zero = spell_out(diagrams, zero, down_to, known)?;
        let one = spell_out(diagrams, one, down_to, known)?;
        match (zero, one) {
            (Some(zero), Some(one)) if [zero, one] == ways => Some(function),
            (Some(zero), Some(one)) => Some(diagrams.split(function, [zero, one])?),
            _ => None,
        }
    } else if let Some(named) = diagrams.named(function) {
        let goes_on = named.otherwise == down_to || diagrams.named(named.otherwise).is_some();
        let rest = match goes_on {
            true => spell_out(diagrams, named.otherwise, down_to, known)?,
            false => None,
        };
        match rest {
            Some(rest) => Some(diagrams.choose(named.condition, named.action, rest)?),
            None => None,
        }
    } else {
        Some(function)
    };
    known.insert(function, spelt_out);
    Ok(spelt_out)
}
