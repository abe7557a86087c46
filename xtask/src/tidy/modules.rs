//! Which module of a crate uses which: paths followed to the module where a thing lives.
//!
//! Imports, re-exports and modules within a file are followed, so that a rule can't be walked around by another
//! name for the same thing.

use std::collections::BTreeMap;

use super::source::{Path, Source};

/// The files of a crate, by module; `[]` is the root.
#[derive(Debug, Default)]
pub(super) struct Modules {
    sources: BTreeMap<Vec<String>, Source>,
}

/// That a module names something of another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Use {
    /// As `bpf::check`; empty for the root.
    pub(super) from: String,
    pub(super) to: Target,
    pub(super) line: usize,
}

/// What is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A module of the same crate.
    Module(String),
    /// A path into another crate, or one that begins with a name of the file's own.
    Foreign(String),
}

/// Re-exports of re-exports are followed so far.
const DEEPEST: usize = 16;

impl Modules {
    pub(super) fn add(&mut self, module: Vec<String>, source: Source) {
        self.sources.insert(module, source);
    }

    /// All modules, as `bpf::check`; the root is empty.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        self.sources.keys().map(|module| module.join("::"))
    }

    /// All uses, in the order of modules and lines.
    pub(super) fn uses(&self) -> Vec<Use> {
        let each = self.sources.iter().flat_map(|(module, source)| {
            let to_use = move |path: &Path| Use {
                from: module.join("::"),
                to: self.target(module, path),
                line: path.line,
            };
            source.paths.iter().map(to_use)
        });
        each.collect()
    }

    fn target(&self, module: &[String], path: &Path) -> Target {
        match self.absolute(module, path, DEEPEST) {
            Some(absolute) => Target::Module(self.home(&absolute, DEEPEST).join("::")),
            None => Target::Foreign(self.foreign(module, path)),
        }
    }

    /// The path from the crate's root, if it leads into this crate.
    fn absolute(&self, module: &[String], path: &Path, depth: usize) -> Option<Vec<String>> {
        let mut here = [module, &path.within].concat();
        let mut rest = path.segments.as_slice();
        let (first, tail) = rest.split_first()?;
        match first.as_str() {
            "crate" => return Some(tail.to_vec()),
            "self" => rest = tail,
            "super" => {
                while let Some((_, tail)) = rest.split_first().filter(|(word, _)| *word == "super")
                {
                    here.pop();
                    rest = tail;
                }
            }
            _ if self
                .sources
                .contains_key(&[module, &path.segments[..1]].concat()) =>
            {
                here = module.to_vec();
            }
            name => {
                let import = self.import(module, path, name).filter(|_| depth > 0)?;
                here = self.absolute(module, import, depth - 1)?;
                rest = tail;
            }
        }
        here.extend_from_slice(rest);
        Some(here)
    }

    /// The path with its first name's import put in.
    fn foreign(&self, module: &[String], path: &Path) -> String {
        let import = self.import(module, path, &path.segments[0]);
        let begin = import.map_or(&path.segments[..1], |import| &import.segments);
        [begin, &path.segments[1..]].concat().join("::")
    }

    /// What brought a name into a file.
    fn import(&self, module: &[String], path: &Path, name: &str) -> Option<&Path> {
        let imports = self.sources.get(module)?.paths.iter();
        let mut named = imports.filter(|import| import.imported_as.as_deref() == Some(name));
        named.find(|import| *import != path && import.within == path.within)
    }

    /// The module that a path's thing lives in.
    fn home(&self, absolute: &[String], depth: usize) -> Vec<String> {
        let is_module = |length: &usize| self.sources.contains_key(&absolute[..*length]);
        let length = (0..=absolute.len()).rev().find(is_module).unwrap_or(0);
        let (module, rest) = absolute.split_at(length);
        let (Some(name), true) = (rest.first(), depth > 0) else {
            return module.to_vec();
        };
        let reached = self.exports(module, name).find_map(|export| {
            let mut target = self.absolute(module, export, depth - 1)?;
            // All that is in a module: the thing itself comes behind.
            let is_all = export.imported_as.as_deref() == Some("*");
            target.extend_from_slice(&rest[usize::from(!is_all)..]);
            let home = self.home(&target, depth - 1);
            (!is_all || home != module).then_some(home)
        });
        reached.unwrap_or_else(|| module.to_vec())
    }

    /// The imports by which a module passes a name on. Private ones count too: its children see them.
    fn exports<'a>(&'a self, module: &[String], name: &'a str) -> impl Iterator<Item = &'a Path> {
        let paths = self
            .sources
            .get(module)
            .map_or(&[][..], |source| &source.paths);
        paths
            .iter()
            .filter(move |path| path.imported_as.as_deref() == Some(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modules(files: &[(&str, &str)]) -> Modules {
        let mut modules = Modules::default();
        for (module, text) in files {
            let module = module
                .split("::")
                .filter(|name| !name.is_empty())
                .map(String::from);
            modules.add(module.collect(), Source::read(text).unwrap());
        }
        modules
    }

    /// What the module `b::c` uses, by a line of its own.
    fn of(line: &str) -> Vec<Target> {
        let modules = modules(&[
            ("", "pub use a::Thing; pub use b::c::Own as Renamed;"),
            ("a", "pub struct Thing; pub use crate::b::inner;"),
            ("b", "use crate::a::Thing as Inherited;"),
            ("b::c", line),
            ("b::d", ""),
        ]);
        let uses = modules.uses().into_iter();
        uses.filter(|found| found.from == "b::c")
            .map(|found| found.to)
            .collect()
    }

    fn module(name: &str) -> Target {
        Target::Module(name.to_owned())
    }

    fn foreign(path: &str) -> Target {
        Target::Foreign(path.to_owned())
    }

    #[test]
    fn paths_lead_to_modules() {
        assert_eq!(of("use crate::a::Thing;"), [module("a")]);
        assert_eq!(of("use super::d::X;"), [module("b::d")]);
        assert_eq!(of("use super::super::a;"), [module("a")]);
        assert_eq!(of("fn f() { crate::a::g() }"), [module("a")]);
        assert_eq!(of("mod inner { use super::X; }"), [module("b::c")]);
    }

    #[test]
    fn other_names_lead_there_too() {
        assert_eq!(of("use crate::Thing;"), [module("a")]);
        assert_eq!(of("use crate::Renamed;"), [module("b::c")]);
        assert_eq!(of("use super::Inherited;"), [module("a")]);
        assert_eq!(
            of("use crate::a; fn f() { a::g() }"),
            [module("a"), module("a")]
        );
        assert_eq!(
            of("use crate::b as x; fn f() { x::d::g() }"),
            [module("b"), module("b::d")]
        );
    }

    #[test]
    fn other_crates_are_foreign() {
        assert_eq!(of("use std::fs;"), [foreign("std::fs")]);
        assert_eq!(
            of("use std::fs; fn f() { fs::read() }")[1],
            foreign("std::fs::read")
        );
    }
}
