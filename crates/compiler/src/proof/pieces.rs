//! Functions while they are put together: as a list of where the values of one word begin to lead elsewhere.
//!
//! Programs find a number by comparing it over and over, and a diagram for each comparison on the way would be thrown away again.
//! Lists are joined instead, and only the whole becomes a diagram.

use std::rc::Rc;

use super::diagram::{Diagrams, NodeId, Word};
use super::{Built, ProofError};

/// A function, finished or in pieces.
#[derive(Clone, Debug)]
pub(super) enum Function {
    Whole(NodeId),
    Pieces(Word, Pieces),
}

/// Where values begin to lead elsewhere: starts ascend from 0, and what they lead to doesn't ask for the word, nor for any before it.
type Pieces = Rc<[(u32, NodeId)]>;

/// Values of a word: ranges in order that don't touch, both ends included.
pub(super) struct Within {
    pub(super) word: Word,
    pub(super) ranges: Vec<(u32, u32)>,
}

impl Function {
    /// As a diagram.
    pub(super) fn whole(&self, diagrams: &mut Diagrams) -> Built {
        match self {
            Function::Whole(node) => Ok(*node),
            Function::Pieces(word, pieces) => diagrams.ranges(*word, pieces),
        }
    }

    /// `yes` for the values that are within, `no` for the others; `None` if one of them asks for something before that.
    pub(super) fn join(
        diagrams: &mut Diagrams,
        within: &Within,
        yes: &Function,
        no: &Function,
    ) -> Result<Option<Function>, ProofError> {
        let word = within.word;
        let (Some(yes), Some(no)) = (
            yes.in_pieces_of(diagrams, word)?,
            no.in_pieces_of(diagrams, word)?,
        ) else {
            return Ok(None);
        };
        let mut joined = Vec::with_capacity(yes.len() + no.len() + 2);
        let mut begin = Some(0);
        for &(first, last) in &within.ranges {
            if let (Some(begin), Some(before)) = (begin, first.checked_sub(1)) {
                append(&mut joined, &no, begin, before);
            }
            append(&mut joined, &yes, first, last);
            begin = last.checked_add(1);
        }
        if let Some(begin) = begin {
            append(&mut joined, &no, begin, u32::MAX);
        }
        Ok(Some(Function::Pieces(word, joined.into())))
    }

    /// Its pieces by the values of a word, unless it asks for a word before that.
    fn in_pieces_of(
        &self,
        diagrams: &mut Diagrams,
        word: Word,
    ) -> Result<Option<Pieces>, ProofError> {
        if let Function::Pieces(own, pieces) = self {
            if *own == word {
                return Ok(Some(pieces.clone()));
            }
            if own.first_bit() < word.first_bit() {
                return Ok(None);
            }
        }
        let whole = self.whole(diagrams)?;
        Ok(diagrams
            .asks_only_behind(whole, word)
            .then(|| [(0, whole)].into()))
    }
}

/// Takes over what the values from `first` to `last` lead to, if there are any.
fn append(joined: &mut Vec<(u32, NodeId)>, pieces: &[(u32, NodeId)], first: u32, last: u32) {
    if first > last {
        return;
    }
    // The pieces begin at 0, so there is one that `first` falls in.
    let begin = pieces.partition_point(|(start, _)| *start <= first).max(1) - 1;
    for (start, node) in &pieces[begin..] {
        if *start > last {
            break;
        }
        if joined.last().is_none_or(|(_, before)| before != node) {
            joined.push((first.max(*start), *node));
        }
    }
}
