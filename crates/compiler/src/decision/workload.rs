//! How often which calls are made: whoever has counted them can have the filter's paths laid out for that.
//!
//! It changes the lengths of paths, never what a filter means. Without one a default is assumed: calls whose arguments
//! are checked, or that a rule answers with something else than ALLOW, are made often, others seldom.

use std::collections::BTreeMap;

use crate::arch::Arch;

/// Counted calls.
///
/// ```
/// use callgate_compiler::decision::workload::Workload;
/// use callgate_compiler::{Arch, syscalls};
///
/// let mut workload = Workload::default();
/// let socket = syscalls::number(Arch::X86_64, "socket").expect("x86_64 has it");
/// workload.add(Arch::X86_64, socket, 120);
/// workload.add(Arch::X86_64, socket, 3);
/// assert_eq!(workload.calls(Arch::X86_64).collect::<Vec<_>>(), [(socket, 123)]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    counts: BTreeMap<(Arch, u32), u64>,
}

impl Workload {
    /// Adds calls of a number on an ABI to those counted so far.
    pub fn add(&mut self, arch: Arch, nr: u32, count: u64) {
        let sum = self.counts.entry((arch, nr)).or_default();
        *sum = sum.saturating_add(count);
    }

    /// Whether nothing has been counted, so that the default is assumed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// The numbers of an ABI that were counted, ascending, and how often each was.
    pub fn calls(&self, arch: Arch) -> impl Iterator<Item = (u32, u64)> {
        let range = self.counts.range((arch, 0)..=(arch, u32::MAX));
        range.map(|((_, nr), count)| (*nr, *count))
    }
}
