//! The data-driven suite and what answers it: [cases](case), a [second reading](naive) of profiles, the [live]
//! kernel, and [random](generate) profiles.

pub mod case;
pub mod generate;
pub mod live;
pub mod naive;
