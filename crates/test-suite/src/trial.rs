//! What the proof claims of mutants, and whether that is so.
//!
//! A mutant that is refuted must answer the witness otherwise than the policy, as the simulator has it. One that is said to be the policy
//! must answer every sample like it.

use std::fmt;
use std::ops::AddAssign;

use callgate::compiler::bpf::Program;
use callgate::compiler::policy::Policy;
use callgate::compiler::proof::{ProofError, prove};

use crate::mutate::{Mistake, mutations};
use crate::random::Random;
use crate::sample::Samples;

/// How much of it is done.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// One mutation of so many, chosen by the seed; 1 for each.
    pub one_in: usize,
    /// Of these, one of so many jumps to somewhere far off, of which there are many in long programs; 1 for each.
    pub one_far_in: usize,
    /// How many calls are put to each mutant that is said to be the policy.
    pub samples: usize,
    /// One refuted mutant of so many is put to the samples as well, to see whether they are any good.
    pub one_refuted_in: usize,
    /// What the choices and the samples follow from.
    pub seed: u64,
}

/// What came of mutants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many there were.
    pub mutants: usize,
    /// The kernel would not take them.
    pub rejected: usize,
    /// They compute with the call in a way that the proof doesn't follow.
    pub unsupported: usize,
    /// The proof would have taken too much.
    pub too_large: usize,
    /// They are not the policy, and the witness shows it.
    pub refuted: usize,
    /// They are the policy, and no sample says otherwise.
    pub equal: usize,
    /// Refuted ones that were put to the samples.
    pub sampled: usize,
    /// Those of them that a sample gave away.
    pub seen_by_samples: usize,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.mutants += other.mutants;
        self.rejected += other.rejected;
        self.unsupported += other.unsupported;
        self.too_large += other.too_large;
        self.refuted += other.refuted;
        self.equal += other.equal;
        self.sampled += other.sampled;
        self.seen_by_samples += other.seen_by_samples;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally {
            mutants,
            rejected,
            unsupported,
            too_large,
            refuted,
            equal,
            ..
        } = self;
        write!(
            f,
            "{mutants} mutants: {rejected} rejected, {unsupported} unsupported, {too_large} too large, {refuted} refuted, {equal} equal"
        )
    }
}

/// What a trial came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// By mistake, in the order of [`Mistake::ALL`].
    pub tallies: [Tally; Mistake::ALL.len()],
    /// Claims that aren't so.
    pub failures: Vec<String>,
}

impl Outcome {
    /// All mistakes together.
    #[must_use]
    pub fn total(&self) -> Tally {
        let mut total = Tally::default();
        self.tallies.iter().for_each(|tally| total += *tally);
        total
    }
}

impl AddAssign for Outcome {
    fn add_assign(&mut self, other: Outcome) {
        for (tally, more) in self.tallies.iter_mut().zip(other.tallies) {
            *tally += more;
        }
        self.failures.extend(other.failures);
    }
}

/// Puts the mutants of a policy's program to the proof, and its claims to the test.
#[must_use]
pub fn run(policy: &Policy, program: &Program, extent: Extent) -> Outcome {
    let mut random = Random::new(extent.seed);
    let samples = Samples::new(policy, program, extent.samples, random.next());
    let mut outcome = Outcome::default();
    if let Some(call) = samples.difference(program) {
        let failure = format!("the program itself answers {call:x?} otherwise than the policy");
        outcome.failures.push(failure);
    }
    for mutation in mutations(program) {
        let is_far = mutation.mistake == Mistake::FarTarget;
        let one_in = extent.one_in * if is_far { extent.one_far_in } else { 1 };
        if random.below(one_in) != 0 {
            continue;
        }
        let tally = &mut outcome.tallies[place(mutation.mistake)];
        tally.mutants += 1;
        let Some(mutant) = mutation.of(program) else {
            tally.rejected += 1;
            continue;
        };
        let also_sampled = random.below(extent.one_refuted_in) == 0;
        if let Err(failure) = put(policy, &mutant, &samples, also_sampled, tally) {
            let failure = format!("{:?}: {failure}", mutation.changes);
            outcome.failures.push(failure);
        }
    }
    outcome
}

fn place(mistake: Mistake) -> usize {
    let found = Mistake::ALL.iter().position(|known| *known == mistake);
    found.unwrap_or(0)
}

fn put(
    policy: &Policy,
    mutant: &Program,
    samples: &Samples,
    also_sampled: bool,
    tally: &mut Tally,
) -> Result<(), String> {
    match prove(policy, mutant) {
        Ok(_) => {
            tally.equal += 1;
            match samples.difference(mutant) {
                Some(call) => Err(format!("called equal, but not on {call:x?}")),
                None => Ok(()),
            }
        }
        Err(ProofError::Refuted {
            witness,
            expected,
            found,
        }) => {
            tally.refuted += 1;
            if also_sampled {
                tally.sampled += 1;
                tally.seen_by_samples += usize::from(samples.difference(mutant).is_some());
            }
            let says = policy.decide(&witness).action;
            let answers = mutant.simulate(&witness).action;
            if says == answers || (says, answers) != (expected, found) {
                return Err(format!(
                    "refuted by {witness:x?} ({expected}, not {found}): the policy says {says}, the mutant {answers}"
                ));
            }
            Ok(())
        }
        Err(ProofError::Unsupported(_)) => {
            tally.unsupported += 1;
            Ok(())
        }
        Err(ProofError::TooLarge) => {
            tally.too_large += 1;
            Ok(())
        }
        Err(other) => Err(other.to_string()),
    }
}
