//! A Docker profile in a context: which entries it has, and which architectures.

use super::{ArchSpec, Entry, Profile, Selector};
use crate::context::Context;

impl Profile {
    /// The entries that count in a context, in the order of the document.
    pub fn entries_in<'a>(&'a self, context: &'a Context) -> impl Iterator<Item = &'a Entry> {
        self.entries
            .iter()
            .filter(|entry| is_selected(entry, context))
    }

    /// The architectures that the profile lists for a context, the native one where it is listed: those of the
    /// first `archMap` entry for the native architecture, or else `architectures`.
    #[must_use]
    pub fn architectures_in(&self, context: &Context) -> Vec<&ArchSpec> {
        let is_native = |spec: &ArchSpec| spec.arch.is_none_or(|arch| arch == context.arch);
        match self
            .arch_map
            .iter()
            .find(|entry| is_native(&entry.architecture))
        {
            Some(entry) => [&entry.architecture]
                .into_iter()
                .chain(&entry.sub_architectures)
                .collect(),
            None => self.architectures.iter().collect(),
        }
    }
}

/// An entry is left out if *one* of what it excludes is so, or if one of what it includes isn't.
fn is_selected(entry: &Entry, context: &Context) -> bool {
    let Selector {
        arches,
        caps,
        min_kernel,
    } = &entry.excludes;
    let excluded = arches.contains(&context.arch)
        || caps.iter().any(|cap| context.capabilities.contains(cap))
        || min_kernel.is_some_and(|version| context.kernel >= version);
    let Selector {
        arches,
        caps,
        min_kernel,
    } = &entry.includes;
    let included = (arches.is_empty() || arches.contains(&context.arch))
        && caps.iter().all(|cap| context.capabilities.contains(cap))
        && min_kernel.is_none_or(|version| context.kernel >= version);
    included && !excluded
}
