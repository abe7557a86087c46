//! Where rules come from: a verdict names a rule, and its reader wants the line of the profile.

use super::RuleId;
use crate::notice::JsonPath;
use crate::profile::Entry;

/// Where a rule stands in the profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The entry.
    pub entry: JsonPath,
    /// The name in it.
    pub name: JsonPath,
    /// The system call.
    pub syscall: &'static str,
}

/// The sources of all rules. Hundreds of rules share few entries, so a [`Source`] is made when asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sources {
    entries: Vec<Place>,
    /// By [`RuleId`].
    rules: Vec<Named>,
}

/// Where an entry stands, and how it writes its names.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    path: JsonPath,
    single_name: bool,
}

/// A name of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Named {
    entry: usize,
    name: usize,
    syscall: &'static str,
}

impl Sources {
    /// Begins with the next entry.
    pub(super) fn entry(&mut self, entry: &Entry) {
        self.entries.push(Place {
            path: entry.path.clone(),
            single_name: entry.single_name,
        });
    }

    /// Gives an identity to a rule on the name that stands at `index` in the entry begun last.
    pub(super) fn rule(&mut self, index: usize, syscall: &'static str) -> RuleId {
        let id = RuleId(u32::try_from(self.rules.len()).unwrap_or(u32::MAX));
        self.rules.push(Named {
            entry: self.entries.len().saturating_sub(1),
            name: index,
            syscall,
        });
        id
    }

    /// How many there are.
    pub(super) fn rules(&self) -> usize {
        self.rules.len()
    }

    pub(super) fn get(&self, id: RuleId) -> Option<Source> {
        let rule = self.rules.get(usize::try_from(id.0).ok()?)?;
        let place = self.entries.get(rule.entry)?;
        Some(Source {
            entry: place.path.clone(),
            name: place.name(rule.name),
            syscall: rule.syscall,
        })
    }

    /// Where the name of a rule stands.
    pub(super) fn name(&self, id: RuleId) -> Option<JsonPath> {
        self.get(id).map(|source| source.name)
    }
}

impl Place {
    fn name(&self, index: usize) -> JsonPath {
        if self.single_name {
            self.path.member("name")
        } else {
            self.path.member("names").index(index)
        }
    }
}
