//! The commands, one a file.

pub(crate) mod agent;
pub(crate) mod assemble;
pub(crate) mod check;
pub(crate) mod compile;
pub(crate) mod completions;
pub(crate) mod cost;
pub(crate) mod diff;
pub(crate) mod disassemble;
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod help;
pub(crate) mod instrument;
pub(crate) mod man;
pub(crate) mod prove;
pub(crate) mod report;
pub(crate) mod resolve;
pub(crate) mod run;
pub(crate) mod simulate;
pub(crate) mod syscalls;
pub(crate) mod why;
