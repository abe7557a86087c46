//! Long lists of rules, proved without a diagram of the whole.
//!
//! A hundred rules over several arguments may have a diagram too large for any machine, as each rule leaves its own corner of the
//! arguments to the rules behind it. Here the program is followed from its start instead, once for each part of the policy, and at each
//! instruction it is kept in mind which calls may come by and which rules may still match them: a [`Claim`] that the
//! program answers those calls like those rules. Claims on one instruction are merged into one about at least all their calls, so that there are
//! few of them. At a return the claim is settled.
//!
//! Invariant: a claim never says less than what it was made from, so what is proved here is proved. That a claim fails doesn't show that
//! the program is wrong, though, as merging may have taken in calls that don't come by; only a call that the simulator answers otherwise does.

use std::collections::{BTreeMap, BTreeSet};

use super::calls::{self, COORDINATES, Calls, RuleCalls, Zone, coordinate};
use super::diagram::{Diagrams, NO, NodeId, YES};
use super::follow::{Place, Question, Reached, State, straight_on};
use super::spec::Part;
use super::{ProofError, spec};
use crate::action::Action;
use crate::bpf::Program;
use crate::call::Call;
use crate::policy::Policy;

/// How many claims are followed, and how many parts of calls looked at, before it is given up.
const MOST_STEPS: usize = 1 << 16;

/// From how many nodes on the values of a coordinate are intricate.
const INTRICATE: usize = 256;

/// Why it isn't proved.
pub(super) enum Stop {
    /// Program and policy differ on a call.
    Differs(Call),
    /// Neither a proof nor a difference was found.
    Unknown,
    /// The program can't be followed.
    Unsupported(usize),
}

/// Follows a program through all parts of a policy.
pub(super) fn prove(policy: &Policy, program: &Program, max_nodes: usize) -> Result<(), Stop> {
    let mut proof = RuleByRule {
        diagrams: Diagrams::new(max_nodes),
        max_nodes,
        policy,
        program,
        care: BTreeMap::new(),
        careless: BTreeSet::new(),
        steps: 0,
    };
    let audits = spec::audits(policy);
    for audit in &audits {
        let parts = spec::numbers(policy, *audit);
        for (i, (first, part)) in parts.iter().enumerate() {
            let zone = Zone {
                audits: &[*audit],
                is_one_of_them: true,
                first: *first,
                last: parts.get(i + 1).map_or(u32::MAX, |(next, _)| next - 1),
            };
            proof.part(zone, *part)?;
        }
    }
    let foreign = Zone {
        audits: &audits,
        is_one_of_them: false,
        first: 0,
        last: u32::MAX,
    };
    proof.part(foreign, Part::Always(policy.bad_arch()))
}

impl From<ProofError> for Stop {
    fn from(error: ProofError) -> Stop {
        match error {
            ProofError::Unsupported(at) => Stop::Unsupported(at),
            _ => Stop::Unknown,
        }
    }
}

/// That the program answers some calls with the action of the first rule that matches, from an instruction on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Claim {
    calls: Calls,
    /// The rules that may match such a call, in their order.
    rules: Vec<Open>,
    /// The last instruction where merging took in calls that are in neither claim.
    lost_at: Option<usize>,
}

/// A rule that may match, and the coordinates whose values tell whether it does, a bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Open {
    rule: usize,
    asks: u16,
}

/// When claims on an instruction are merged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Care {
    /// Always.
    #[default]
    None,
    /// If all that was settled about a rule stays so.
    ForRules,
    /// If that takes in no further calls.
    ForCalls,
}

impl Care {
    fn more(self) -> Care {
        match self {
            Care::None => Care::ForRules,
            Care::ForRules | Care::ForCalls => Care::ForCalls,
        }
    }
}

struct RuleByRule<'a> {
    diagrams: Diagrams,
    max_nodes: usize,
    policy: &'a Policy,
    program: &'a Program,
    care: BTreeMap<usize, Care>,
    /// The instructions where merging has lost too much in this round.
    careless: BTreeSet<usize>,
    steps: usize,
}

/// Where claims have come to: by instruction and state of the registers.
type OpenClaims = BTreeMap<usize, Vec<(State, Vec<Claim>)>>;

impl RuleByRule<'_> {
    /// Proves that the program answers calls of an architecture and of some numbers as a part of the policy does.
    fn part(&mut self, zone: Zone, part: Part) -> Result<(), Stop> {
        self.care.clear();
        self.steps = 0;
        loop {
            // What other rounds built would only be in the way.
            self.diagrams = Diagrams::new(self.max_nodes);
            self.round(zone, part)?;
            if self.careless.is_empty() {
                return Ok(());
            }
            for at in std::mem::take(&mut self.careless) {
                let care = self.care.entry(at).or_default();
                *care = care.more();
            }
        }
    }

    /// Follows the program for a part of the policy. If merging was careless somewhere, it isn't proved yet.
    fn round(&mut self, zone: Zone, part: Part) -> Result<(), Stop> {
        let rules = calls::of_rules(&mut self.diagrams, part)?;
        let calls = calls::of_zone(&mut self.diagrams, zone)?;
        let claim = self.claim(&rules, 0..rules.len(), calls)?;
        let mut open = OpenClaims::new();
        self.arrive(&rules, (0, State::default()), claim, &mut open)?;
        // Jumps only go forward, so when an instruction's turn comes all claims on it have arrived.
        while let Some((at, by_state)) = open.pop_first() {
            for (state, claims) in by_state {
                let claims = self.merged(&rules, at, claims)?;
                let Reached::Branch { question, ways } = straight_on(self.program, (at, state))?
                else {
                    continue; // Claims are settled where they arrive.
                };
                for claim in claims {
                    self.follow(&rules, (question, ways.clone()), &claim, &mut open)?;
                }
            }
        }
        Ok(())
    }

    /// Takes a claim from a branch to both places that it leads to. What returns there is settled.
    fn follow(
        &mut self,
        rules: &[RuleCalls],
        branch: (Question, [Place; 2]),
        claim: &Claim,
        open: &mut OpenClaims,
    ) -> Result<(), Stop> {
        let (question, ways) = branch;
        let yes = question.condition(&mut self.diagrams)?;
        let no = self.diagrams.not(yes)?;
        for (values, place) in [yes, no].into_iter().zip(ways) {
            self.step()?;
            let asked = coordinate(question.word);
            let values = self.diagrams.both(claim.calls[asked], values)?;
            if values == NO {
                continue;
            }
            let claim = self.narrowed(rules, claim, asked, values)?;
            self.arrive(rules, place, claim, open)?;
        }
        Ok(())
    }

    /// Settles a claim if its instruction leads straight to a return; else it waits for the instruction's turn.
    fn arrive(
        &mut self,
        rules: &[RuleCalls],
        place: Place,
        claim: Claim,
        open: &mut OpenClaims,
    ) -> Result<(), Stop> {
        if let Reached::Return(ret) = straight_on(self.program, place.clone())? {
            return self.settle(rules, &claim, Action::from_ret(ret));
        }
        let (at, state) = place;
        let by_state = open.entry(at).or_default();
        match by_state.iter_mut().find(|(known, _)| *known == state) {
            Some((_, claims)) if claims.contains(&claim) => {}
            Some((_, claims)) => claims.push(claim),
            None => by_state.push((state, vec![claim])),
        }
        Ok(())
    }

    /// The claim about those calls that have some of the values of a coordinate.
    fn narrowed(
        &mut self,
        rules: &[RuleCalls],
        claim: &Claim,
        asked: usize,
        values: NodeId,
    ) -> Result<Claim, ProofError> {
        let mut calls = claim.calls;
        calls[asked] = values;
        let mut open = Vec::with_capacity(claim.rules.len());
        for Open { rule, asks } in &claim.rules {
            let Some(asks_it) =
                calls::asks_of(&mut self.diagrams, values, rules[*rule].calls[asked])?
            else {
                continue;
            };
            let asks = asks & !(1 << asked) | u16::from(asks_it) << asked;
            open.push(Open { rule: *rule, asks });
            if asks == 0 {
                break;
            }
        }
        Ok(Claim {
            calls,
            rules: open,
            lost_at: claim.lost_at,
        })
    }

    /// The claim about some calls that some of the rules, and no others, may match.
    fn claim(
        &mut self,
        rules: &[RuleCalls],
        among: impl Iterator<Item = usize>,
        calls: Calls,
    ) -> Result<Claim, ProofError> {
        let mut open = Vec::new();
        for rule in among {
            let Some(asks) = calls::asks(&mut self.diagrams, &calls, &rules[rule].calls)? else {
                continue;
            };
            open.push(Open { rule, asks });
            if asks == 0 {
                break;
            }
        }
        Ok(Claim {
            calls,
            rules: open,
            lost_at: None,
        })
    }

    /// Merges claims on an instruction, with as much care as has been found to be needed there.
    fn merged(
        &mut self,
        rules: &[RuleCalls],
        at: usize,
        claims: Vec<Claim>,
    ) -> Result<Vec<Claim>, ProofError> {
        let meet = claims.len() > 1;
        let care = self.care.get(&at).copied().unwrap_or_default();
        let mut merged: Vec<Claim> = Vec::new();
        'claims: for claim in claims {
            for other in &mut merged {
                self.step()?;
                // If only one coordinate differs, the calls are those of the two, and no more.
                let differing = other.calls.iter().zip(&claim.calls).filter(|(a, b)| a != b);
                let exact = differing.count() <= 1;
                if care == Care::ForCalls && !exact {
                    continue;
                }
                let mut both = self.both(rules, other, &claim)?;
                let reopens = || both.reopens(other) || both.reopens(&claim);
                let may_be = care != Care::ForRules || !reopens();
                if may_be {
                    both.lost_at = match exact {
                        false => Some(at),
                        true => other.lost_at.max(claim.lost_at),
                    };
                    *other = both;
                    continue 'claims;
                }
            }
            merged.push(claim);
        }
        if meet && care == Care::None {
            for claim in &mut merged {
                self.forget(rules, at, claim)?;
            }
        }
        Ok(merged)
    }

    /// Drops what is known of a coordinate where that has become too intricate.
    fn forget(
        &mut self,
        rules: &[RuleCalls],
        at: usize,
        claim: &mut Claim,
    ) -> Result<(), ProofError> {
        for i in 0..COORDINATES {
            if self.diagrams.is_larger(claim.calls[i], INTRICATE) {
                *claim = self.narrowed(rules, claim, i, YES)?;
                claim.lost_at = Some(at);
            }
        }
        Ok(())
    }

    /// A claim about at least the calls of two.
    fn both(&mut self, rules: &[RuleCalls], a: &Claim, b: &Claim) -> Result<Claim, ProofError> {
        let mut calls = a.calls;
        let mut differing = Vec::new();
        for (i, (values, others)) in calls.iter_mut().zip(&b.calls).enumerate() {
            if values != others {
                *values = self.diagrams.either(*values, *others)?;
                differing.push(i);
            }
        }
        let both = a.rules.iter().chain(&b.rules);
        let both: BTreeMap<usize, u16> = both.map(|open| (open.rule, open.asks)).collect();
        let mut open = Vec::with_capacity(both.len());
        for (rule, mut asks) in both {
            // What coordinates tell where the two agree, they tell of both.
            for i in &differing {
                let asks_it = calls::asks_of(&mut self.diagrams, calls[*i], rules[rule].calls[*i])?;
                asks = asks & !(1 << i) | u16::from(asks_it != Some(false)) << i;
            }
            open.push(Open { rule, asks });
            if asks == 0 {
                break;
            }
        }
        Ok(Claim {
            calls,
            rules: open,
            lost_at: None,
        })
    }

    /// Whether the first rules that match a claim's calls all have an action.
    fn settle(&mut self, rules: &[RuleCalls], claim: &Claim, action: Action) -> Result<(), Stop> {
        let mut with_it = Vec::new();
        for Open { rule, .. } in &claim.rules {
            let RuleCalls {
                calls,
                action: other,
                ..
            } = &rules[*rule];
            if *other == action {
                with_it.push(calls);
                continue;
            }
            let mut matching = claim.calls;
            for (values, wanted) in matching.iter_mut().zip(calls) {
                *values = self.diagrams.both(*values, *wanted)?;
            }
            if let Some(calls) = self.outside(matching, &with_it)? {
                self.failed(claim, calls::one_of(&self.diagrams, &calls))?;
            }
        }
        Ok(())
    }

    /// What it means that a claim doesn't hold for a call: a difference, or else too much was lost, and there must be another round.
    fn failed(&mut self, claim: &Claim, call: Call) -> Result<(), Stop> {
        if super::differ(self.policy, self.program, &call) {
            return Err(Stop::Differs(call));
        }
        self.careless.insert(claim.lost_at.ok_or(Stop::Unknown)?);
        Ok(())
    }

    /// Some of the calls that are in none of the sets.
    fn outside(&mut self, calls: Calls, sets: &[&Calls]) -> Result<Option<Calls>, ProofError> {
        self.step()?;
        let Some((first, others)) = sets.split_first() else {
            return Ok(Some(calls));
        };
        if calls::asks(&mut self.diagrams, &calls, first)?.is_none() {
            return self.outside(calls, others);
        }
        let mut inside = calls;
        for i in 0..COORDINATES {
            let within = self.diagrams.both(inside[i], first[i])?;
            if within == inside[i] {
                continue;
            }
            let mut beside = inside;
            beside[i] = self.diagrams.choose(first[i], NO, inside[i])?;
            if let Some(found) = self.outside(beside, others)? {
                return Ok(Some(found));
            }
            inside[i] = within;
        }
        Ok(None)
    }

    fn step(&mut self) -> Result<(), ProofError> {
        self.steps += 1;
        match self.steps > MOST_STEPS {
            true => Err(ProofError::TooLarge),
            false => Ok(()),
        }
    }
}

impl Claim {
    /// Whether it leaves something open about a rule of another claim that was settled there.
    fn reopens(&self, other: &Claim) -> bool {
        let mut others = other.rules.iter().peekable();
        self.rules.iter().any(|open| {
            while others.next_if(|other| other.rule < open.rule).is_some() {}
            let before = others.next_if(|other| other.rule == open.rule);
            before.is_some_and(|before| open.asks & !before.asks != 0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Arch;
    use crate::filter::compile;
    use crate::policy::{Condition, PolicyBuilder, RuleId, Test};
    use crate::proof::by_diagrams;

    /// A small generator (xorshift).
    fn random(state: &mut u64, below: u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state % below
    }

    /// Policies that are near enough to each other for some to be equal.
    fn policy(seed: &mut u64) -> Policy {
        let native = [Arch::X86_64, Arch::M68k][usize::try_from(random(seed, 2)).unwrap()];
        let mut builder = PolicyBuilder::new(native, Action::Errno(1));
        for i in 0..u32::try_from(random(seed, 7)).unwrap() {
            let conditions: Vec<Condition> = (0..random(seed, 3))
                .map(|_| {
                    let data = [0, 1, 2, 3, u64::MAX, 1 << 32, 1 << 32 | 1];
                    let datum = data[usize::try_from(random(seed, 7)).unwrap()];
                    let test = match random(seed, 7) {
                        0 => Test::Eq(datum),
                        1 => Test::Ne(datum),
                        2 => Test::Lt(datum),
                        3 => Test::Le(datum),
                        4 => Test::Gt(datum),
                        5 => Test::Ge(datum),
                        _ => Test::Masked {
                            mask: datum,
                            value: random(seed, 4),
                        },
                    };
                    let arg = u8::try_from(random(seed, 2)).unwrap();
                    Condition { arg, test }
                })
                .collect();
            let action = [Action::Allow, Action::Trap][usize::try_from(random(seed, 2)).unwrap()];
            let nr = u32::try_from(random(seed, 2)).unwrap();
            // A conflict leaves the rule out.
            let _ = builder.rule(native, nr, RuleId(i), action, &conditions);
        }
        builder.build()
    }

    /// What diagrams prove is proved, and what they refute isn't.
    #[test]
    fn it_agrees_with_diagrams() {
        let mut seed = 0x5eed;
        let (mut proved, mut refuted) = (0, 0);
        for _ in 0..400 {
            let (a, b) = (policy(&mut seed), policy(&mut seed));
            for program in [compile(&a).unwrap(), compile(&b).unwrap()] {
                let outcome = prove(&a, &program, 1 << 16);
                if by_diagrams(&a, &program).is_ok() {
                    assert!(outcome.is_ok(), "{a:?}");
                    proved += 1;
                } else {
                    let Err(Stop::Differs(call)) = outcome else {
                        panic!("a difference was not found: {a:?} {b:?}");
                    };
                    assert!(super::super::differ(&a, &program, &call), "{call:x?}");
                    refuted += 1;
                }
            }
        }
        assert!(proved > 400 && refuted > 100, "{proved} {refuted}");
    }
}
