//! Program → diagram.
//!
//! What an instruction comes to depends on its place and on what the registers hold there, and is worked out once for each. Jumps
//! only go forward, so that ends.

use std::collections::HashMap;

use super::diagram::{Diagrams, Hashing};
use super::follow::{Place, Question, Reached, State, straight_on};
use super::pieces::Function;
use super::{Built, ProofError};
use crate::action::Action;
use crate::bpf::Program;

/// The function that a program is.
pub(super) fn program(diagrams: &mut Diagrams, program: &Program) -> Built {
    let known = HashMap::default();
    let mut lift = Lift {
        diagrams,
        program,
        known,
    };
    lift.from((0, State::default()))?.whole(lift.diagrams)
}

struct Lift<'a> {
    diagrams: &'a mut Diagrams,
    program: &'a Program,
    known: HashMap<Place, Function, Hashing>,
}

impl Lift<'_> {
    /// The function from an instruction on. What it waits for is kept on a stack of its own, as paths may be as long
    /// as programs.
    fn from(&mut self, start: Place) -> Result<Function, ProofError> {
        let mut open = vec![start.clone()];
        while let Some(place) = open.last() {
            if self.known.contains_key(place) {
                open.pop();
                continue;
            }
            let place = place.clone();
            let function = match straight_on(self.program, place.clone())? {
                Reached::Return(ret) => {
                    Function::Whole(self.diagrams.action(Action::from_ret(ret))?)
                }
                Reached::Branch { question, ways } => {
                    let known = ways.each_ref().map(|way| self.known.get(way).cloned());
                    let [Some(yes), Some(no)] = known else {
                        open.extend(ways);
                        continue;
                    };
                    self.choose(question, &yes, &no)?
                }
            };
            self.known.insert(place, function);
        }
        self.known
            .remove(&start)
            .ok_or(ProofError::Unsupported(start.0))
    }

    fn choose(
        &mut self,
        question: Question,
        yes: &Function,
        no: &Function,
    ) -> Result<Function, ProofError> {
        if let Some(within) = question.within(self.diagrams)? {
            if let Some(joined) = Function::join(self.diagrams, &within, yes, no)? {
                return Ok(joined);
            }
        }
        let condition = question.condition(self.diagrams)?;
        let (yes, no) = (yes.whole(self.diagrams)?, no.whole(self.diagrams)?);
        Ok(Function::Whole(self.diagrams.choose(condition, yes, no)?))
    }
}
