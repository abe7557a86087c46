//! What the compiler is tried with.
//!
//! The data-driven suite and what answers it: [cases](case), a [second reading](naive) of profiles, the [live] kernel, and
//! [random](generate) profiles. And trials of the proof: programs that are [mutants](mutate) of right ones, for a
//! [corpus] of filters and for policies that [grow](growth), each [claim](trial) about them held against [samples](sample). Every way [through a program](paths) can be enumerated, with calls that take it.

pub mod case;
pub mod corpus;
pub mod fuzz;
pub mod generate;
pub mod growth;
pub mod live;
pub mod mutate;
pub mod naive;
pub mod paths;
pub mod random;
pub mod sample;
pub mod trial;
