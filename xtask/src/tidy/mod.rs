//! The house rules that a program can check, so that no reviewer has to.
//!
//! `rules` has them as tables, `source` reads a file, `modules` finds out who uses whom. The result is a list of
//! findings, empty when all is well.

mod modules;
mod rules;
mod source;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use modules::{Modules, Target, Use};
use rules::{Area, BANS, Ban, COMPILER, LONGEST};
use source::Source;

/// Something that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// From the workspace's root, with `/`.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// What is wrong, and what the rule is.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)
    }
}

/// The folders with code by hand.
const FOLDERS: [&str; 4] = ["crates", "fuzz", "peers", "xtask"];

/// Checks a workspace: every Rust file that is not generated.
///
/// # Errors
/// If a file can't be read, or isn't Rust.
pub fn tidy(root: &Path) -> Result<Vec<Finding>> {
    let mut files = Vec::new();
    for folder in FOLDERS {
        collect(root, &root.join(folder), &mut files)?;
    }
    files.sort();
    let mut findings = Vec::new();
    let mut compiler = Modules::default();
    for (name, text) in &files {
        findings.extend(form(name, text));
        if is_test(name) {
            continue;
        }
        let source = Source::read(text).with_context(|| format!("reading {name}"))?;
        findings.extend(order(name, &source));
        findings.extend(banned_words(name, &source));
        if name.starts_with(COMPILER_SOURCE) {
            compiler.add(module(name), source);
        } else {
            let mut alone = Modules::default();
            alone.add(Vec::new(), source);
            findings.extend(
                alone
                    .uses()
                    .iter()
                    .filter_map(|found| banned_path(name, found)),
            );
        }
    }
    let file = |module: &str| file_of(module, &files);
    findings.extend(dependencies(&compiler, COMPILER, file));
    findings.sort();
    findings.dedup();
    Ok(findings)
}

/// Where the compiler's modules begin.
const COMPILER_SOURCE: &str = "crates/compiler/src/";

/// All Rust files in a folder, by name and with their text, but for generated ones and built things.
fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, String)>) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path: PathBuf = entry?.path();
        let is_named = |name: &str| path.file_name().is_some_and(|found| found == name);
        if path.is_dir() {
            if !is_named("target") {
                collect(root, &path, files)?;
            }
        } else if path.extension().is_some_and(|end| end == "rs") && !is_named("generated.rs") {
            let name = path
                .strip_prefix(root)
                .unwrap_or(&path)
                .display()
                .to_string();
            let text = fs::read_to_string(&path).with_context(|| format!("reading {name}"))?;
            files.push((name, text));
        }
    }
    Ok(())
}

/// Whether a whole file is there for tests.
fn is_test(name: &str) -> bool {
    ["/tests/", "/benches/"]
        .iter()
        .any(|folder| name.contains(folder))
        || name.ends_with("/tests.rs")
}

/// How it opens, and its length.
fn form(name: &str, text: &str) -> Vec<Finding> {
    let finding = |line, message| Finding {
        file: name.to_owned(),
        line,
        message,
    };
    let mut findings = Vec::new();
    if !text.starts_with("//! ") {
        findings.push(finding(
            1,
            "opens without a `//!` that says why the file is there".to_owned(),
        ));
    }
    let lines = text.lines().count();
    if lines > LONGEST {
        findings.push(finding(
            LONGEST + 1,
            format!("{lines} lines are two things; {LONGEST} may be one"),
        ));
    }
    findings
}

fn order(name: &str, source: &Source) -> Option<Finding> {
    Some(Finding {
        file: name.to_owned(),
        line: source.after_tests?,
        message: "stands behind the tests, which come last".to_owned(),
    })
}

fn banned_words<'a>(name: &'a str, source: &'a Source) -> impl Iterator<Item = Finding> + 'a {
    source.words.iter().filter_map(move |word| {
        let ban = BANS
            .iter()
            .find(|ban| holds(ban, name) && ban.what.contains(&word.text.as_str()))?;
        Some(Finding {
            file: name.to_owned(),
            line: word.line,
            message: format!("`{}`: {}", word.text, ban.why),
        })
    })
}

fn banned_path(name: &str, found: &Use) -> Option<Finding> {
    let Target::Foreign(path) = &found.to else {
        return None;
    };
    let mut bans = BANS.iter().filter(|ban| holds(ban, name));
    let ban = bans.find(|ban| ban.what.iter().any(|what| is_within(path, what)))?;
    Some(Finding {
        file: name.to_owned(),
        line: found.line,
        message: format!("`{path}`: {}", ban.why),
    })
}

fn holds(ban: &Ban, name: &str) -> bool {
    let begins = |begins: &[&str]| begins.iter().any(|begin| name.starts_with(begin));
    begins(ban.within) && !begins(ban.except)
}

/// Who uses whom in a crate, against its areas.
fn dependencies(modules: &Modules, areas: &[Area], file: impl Fn(&str) -> String) -> Vec<Finding> {
    let mut findings = Vec::new();
    for module in modules.names().filter(|module| !module.is_empty()) {
        if area(areas, &module).is_none() {
            findings.push(Finding {
                file: file(&module),
                line: 1,
                message: format!(
                    "`{module}` has no area: say in xtask/src/tidy/rules.rs whom it may use"
                ),
            });
        }
    }
    for found in modules.uses() {
        let name = file(&found.from);
        findings.extend(banned_path(&name, &found));
        findings.extend(forbidden(areas, &found).map(|message| Finding {
            file: name,
            line: found.line,
            message,
        }));
    }
    findings
}

/// Why a use is against the rules, if it is.
fn forbidden(areas: &[Area], found: &Use) -> Option<String> {
    let Target::Module(target) = &found.to else {
        return None;
    };
    let from = area(areas, &found.from)?;
    let is_own_child = !found.from.is_empty() && is_within(target, &found.from);
    let Some(to) = area(areas, target) else {
        return Some(format!("`{}` reaches into the crate's root", from.name));
    };
    let may = from.name == to.name || is_own_child || from.may_use.contains(&to.name);
    (!may).then(|| {
        format!(
            "`{}` may not use `{}` (ARCHITECTURE.md)",
            from.name, to.name
        )
    })
}

/// The smallest area that a module is in.
fn area<'a>(areas: &'a [Area], module: &str) -> Option<&'a Area> {
    let around = areas.iter().filter(|area| is_within(module, area.name));
    around.max_by_key(|area| area.name.len())
}

/// Whether a path is another, or leads on from it.
fn is_within(path: &str, begin: &str) -> bool {
    path.strip_prefix(begin)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The module that a file of the compiler is: `bpf/check.rs` is `bpf::check`, `bpf/mod.rs` is `bpf`.
fn module(name: &str) -> Vec<String> {
    let path = name
        .trim_start_matches(COMPILER_SOURCE)
        .trim_end_matches(".rs");
    let mut module: Vec<String> = path.split('/').map(String::from).collect();
    if module.last().is_some_and(|last| last == "mod") || module == ["lib"] {
        module.pop();
    }
    module
}

fn file_of(name: &str, files: &[(String, String)]) -> String {
    let is_it = |file: &&(String, String)| {
        file.0.starts_with(COMPILER_SOURCE) && module(&file.0).join("::") == name
    };
    files
        .iter()
        .find(is_it)
        .map_or_else(|| name.to_owned(), |file| file.0.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found in a workspace of these files.
    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("//! Why.\n{text}")).unwrap();
        }
        let findings = tidy(root.path()).unwrap();
        findings.iter().map(ToString::to_string).collect()
    }

    /// The findings of one file of the compiler, in a crate that has every area.
    fn found_in(module: &str, text: &str) -> Vec<String> {
        let name = |module: &str| format!("{COMPILER_SOURCE}{}.rs", module.replace("::", "/"));
        let mut files: Vec<(String, &str)> =
            COMPILER.iter().map(|area| (name(area.name), "")).collect();
        files.retain(|(file, _)| *file != name(module));
        files.push((name(module), text));
        files.push((
            format!("{COMPILER_SOURCE}lib.rs"),
            "pub use decision::Graph;",
        ));
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(file, text)| (file.as_str(), *text))
            .collect();
        found(&files)
    }

    #[test]
    fn what_keeps_the_rules_is_not_found() {
        assert_eq!(
            found_in("policy", "use crate::syscalls::number; use std::fmt;"),
            [""; 0]
        );
        assert_eq!(
            found_in("bpf::emit", "use super::Insn; use crate::Graph;"),
            [""; 0]
        );
        assert_eq!(found_in("bpf", "pub use check::check; mod check;"), [""; 0]);
        let tests = "fn f() {}\n#[cfg(test)]\nmod tests { use crate::decision::Graph; fn g() { f().unwrap() } }";
        assert_eq!(found_in("proof", tests), [""; 0]);
        assert_eq!(
            found(&[("crates/callgate/src/sys.rs", "unsafe fn f() {}")]),
            [""; 0]
        );
        assert_eq!(
            found(&[(
                "crates/cli/src/main.rs",
                "use std::fs; fn main() { println!() }"
            )]),
            [""; 0]
        );
        assert_eq!(
            found(&[("crates/cli/tests/all.rs", "fn f() { g().unwrap() }")]),
            [""; 0]
        );
    }

    #[test]
    fn who_may_not_use_whom() {
        for (module, text, other) in [
            ("profile", "use crate::syscalls;", "syscalls"),
            ("proof", "use crate::decision::Graph;", "decision"),
            ("proof", "use crate::Graph as Other;", "decision"),
            (
                "proof",
                "use crate::bpf; fn f() { bpf::emit::emit() }",
                "bpf::emit",
            ),
            (
                "proof",
                "fn f() { assert!(crate::bpf::emit::emit()) }",
                "bpf::emit",
            ),
            ("bpf::check", "use super::simulate;", "bpf::simulate"),
            ("bpf::simulate", "use crate::policy::Policy;", "policy"),
            (
                "bpf::disassemble",
                "use crate::{arch::Arch, decision};",
                "decision",
            ),
            ("arch", "use crate::action::Action;", "action"),
            ("policy", "use crate::decision::*;", "decision"),
        ] {
            let findings = found_in(module, text);
            let expected = format!(
                "{COMPILER_SOURCE}{}.rs:2: `{module}` may not use `{other}` (ARCHITECTURE.md)",
                module.replace("::", "/")
            );
            assert_eq!(findings, [expected], "{text}");
        }
    }

    #[test]
    fn a_new_module_must_have_an_area() {
        let findings = found_in("surprise", "");
        assert!(
            findings[0].contains("`surprise` has no area"),
            "{findings:?}"
        );
    }

    #[test]
    fn the_root_is_followed_or_refused() {
        let findings = found_in("proof", "use crate::Surprise;");
        assert!(
            findings[0].ends_with("`proof` reaches into the crate's root"),
            "{findings:?}"
        );
    }

    #[test]
    fn words_and_paths_that_have_their_places() {
        for (name, text, what) in [
            (
                "crates/callgate/src/load.rs",
                "fn f() { unsafe { g() } }",
                "`unsafe`",
            ),
            (
                "crates/cli/src/main.rs",
                "fn main() { f().unwrap() }",
                "`unwrap()`",
            ),
            ("xtask/src/main.rs", "fn main() { todo!() }", "`todo!`"),
            ("crates/compiler/src/arch.rs", "use std::fs;", "`std::fs`"),
            (
                "crates/compiler/src/arch.rs",
                "use std::{fmt, env}; ",
                "`std::env`",
            ),
            (
                "crates/compiler/src/arch.rs",
                "fn f() { println!() }",
                "`println!`",
            ),
            (
                "crates/callgate/src/load.rs",
                "use serde_json::Value;",
                "`serde_json::Value`",
            ),
            (
                "crates/callgate/src/load.rs",
                "use std::process; fn f() { process::exit(1) }",
                "`std::process::exit`",
            ),
        ] {
            let findings = found(&[(name, text)]);
            assert_eq!(findings.len(), 1, "{text}: {findings:?}");
            assert!(
                findings[0].starts_with(&format!("{name}:2: {what}")),
                "{findings:?}"
            );
        }
    }

    #[test]
    fn length_opening_and_order() {
        let long = "\n".repeat(LONGEST);
        let findings = found(&[("peers/src/main.rs", &long)]);
        assert!(findings[0].contains("601 lines"), "{findings:?}");
        assert_eq!(found(&[("peers/src/main.rs", &long[1..])]), [""; 0]);
        assert_eq!(found(&[("peers/src/generated.rs", &long)]), [""; 0]);
        assert_eq!(form("a.rs", "use b;").len(), 1);
        let findings = found(&[(
            "peers/src/main.rs",
            "#[cfg(test)]\nmod tests {}\nfn late() {}",
        )]);
        assert!(
            findings[0].starts_with("peers/src/main.rs:4: stands behind the tests"),
            "{findings:?}"
        );
    }
}
