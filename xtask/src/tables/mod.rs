//! Tables of system calls, errnos and constants, from published packages.
//!
//! Numbers are facts of the kernel's interface, and several packages publish them. No one of them has all
//! ABIs and all names, so three are put together, and must agree wherever two have the same entry:
//!
//! - `system-calls` (PyPI): every ABI, made from a recent kernel's tables, without calls that no longer do anything;
//! - `linux-raw-sys` (crates.io): names of those calls, which profiles still have, for most ABIs; errnos;
//! - `linux-libc-dev-*-cross` (Debian): the same for the ABIs that it lacks, and arm's private calls.

mod constants;
mod fetch;
mod render;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use fetch::Sources;

/// A column of the table: numbers that one or more architectures share.
pub(crate) struct Column {
    /// What the table calls it.
    name: &'static str,
    /// Its module in `system-calls`.
    module: &'static str,
    /// Its folder in `linux-raw-sys`, if it has one.
    raw: Option<&'static str>,
    /// Its Debian package and header, if `linux-raw-sys` lacks it.
    debian: Option<(&'static str, &'static str)>,
    /// What the header's numbers leave out: the base of mips n32.
    base: u32,
}

const fn column(name: &'static str, module: &'static str, raw: Option<&'static str>) -> Column {
    Column {
        name,
        module,
        raw,
        debian: None,
        base: 0,
    }
}

/// The columns, in the order of `Arch`; endian twins share one.
pub(crate) const COLUMNS: [Column; 18] = [
    column("x86", "i386", Some("x86")),
    column("x86_64", "x86_64", Some("x86_64")),
    column("x32", "x32", Some("x32")),
    Column {
        debian: Some(("armhf", "unistd.h")),
        ..column("arm", "arm", Some("arm"))
    },
    column("aarch64", "arm64", Some("aarch64")),
    column("mips", "mipso32", Some("mips")),
    column("mips64", "mips64", Some("mips64")),
    Column {
        debian: Some(("mipsn32", "unistd_n32.h")),
        base: 6000,
        ..column("mips64n32", "mips64n32", None)
    },
    column("ppc", "powerpc", Some("powerpc")),
    column("ppc64", "powerpc64", Some("powerpc64")),
    Column {
        debian: Some(("s390x", "unistd_32.h")),
        ..column("s390", "s390", None)
    },
    column("s390x", "s390x", Some("s390x")),
    Column {
        debian: Some(("hppa", "unistd_32.h")),
        ..column("parisc", "parisc", None)
    },
    Column {
        debian: Some(("hppa", "unistd_64.h")),
        ..column("parisc64", "parisc64", None)
    },
    column("riscv64", "riscv64", Some("riscv64")),
    column("loongarch64", "loongarch64", Some("loongarch64")),
    column("m68k", "m68k", Some("m68k")),
    Column {
        debian: Some(("sh4", "unistd_32.h")),
        ..column("sh", "sh", None)
    },
];

/// Names to numbers of one ABI.
pub(crate) type Numbers = BTreeMap<String, u32>;

/// All that is generated, before it is text.
pub(crate) struct Tables {
    /// The kernel that the newest source was made from, as `7.2`.
    pub(crate) kernel: String,
    /// By column.
    pub(crate) syscalls: Vec<Numbers>,
    /// By column of errnos: common, mips, parisc, powerpc.
    pub(crate) errnos: Vec<Numbers>,
}

/// Where the generated files are, from the root.
const FILES: [&str; 3] = [
    "crates/compiler/src/syscalls/generated.rs",
    "crates/compiler/src/errno/generated.rs",
    "crates/compiler/src/signatures/generated.rs",
];

/// Writes the generated files.
///
/// # Errors
/// If a source can't be fetched, or two disagree.
pub fn write(root: &Path) -> Result<()> {
    for (path, text) in FILES.iter().zip(generate(&Sources::fetch()?)?) {
        fs::write(root.join(path), text).with_context(|| format!("writing {path}"))?;
    }
    Ok(())
}

/// Compares the generated files with what they would be now. Where the sources are out of reach there is nothing to
/// compare with: it says that it skips.
///
/// # Errors
/// If the files differ, or two sources disagree.
pub fn check(root: &Path) -> Result<()> {
    let sources = match Sources::fetch() {
        Ok(sources) => sources,
        Err(error) => {
            println!("skipped: tables: {error:#}");
            return Ok(());
        }
    };
    for (path, text) in FILES.iter().zip(generate(&sources)?) {
        let there =
            fs::read_to_string(root.join(path)).with_context(|| format!("reading {path}"))?;
        ensure!(
            there == text,
            "{path} is not what `cargo xtask tables` writes"
        );
    }
    println!("tables: up to date");
    Ok(())
}

fn generate(sources: &Sources) -> Result<[String; 3]> {
    let tables = collect(sources)?;
    Ok([
        render::syscalls(&tables),
        render::errnos(&tables),
        constants::generate(sources, &render::head())?,
    ])
}

fn collect(sources: &Sources) -> Result<Tables> {
    let syscalls = COLUMNS.iter().map(|column| {
        numbers(sources, column).with_context(|| format!("the numbers of {}", column.name))
    });
    let syscalls = syscalls.collect::<Result<Vec<_>>>()?;
    let errnos = ["x86_64", "mips"].map(|arch| sources.raw_errnos(arch));
    let [common, mips] = errnos;
    let (parisc, powerpc) = (
        sources.debian_errnos("hppa")?,
        sources.debian_errnos("powerpc")?,
    );
    Ok(Tables {
        kernel: sources.kernel_version()?,
        syscalls,
        errnos: vec![common?, mips?, parisc, powerpc],
    })
}

/// One ABI's numbers from all sources that have it.
fn numbers(sources: &Sources, column: &Column) -> Result<Numbers> {
    let mut numbers = sources.system_calls(column.module)?;
    if let Some(raw) = column.raw {
        merge(&mut numbers, sources.raw_syscalls(raw)?)?;
    }
    if let Some((package, header)) = column.debian {
        let header = sources.debian_syscalls(package, header)?;
        merge(
            &mut numbers,
            header
                .into_iter()
                .map(|(name, nr)| (name, nr + column.base))
                .collect(),
        )?;
    }
    let names: BTreeSet<_> = numbers
        .keys()
        .filter(|name| is_marker(name))
        .cloned()
        .collect();
    numbers.retain(|name, _| !names.contains(name));
    ensure!(numbers.len() > 250, "only {} calls", numbers.len());
    Ok(numbers)
}

/// What headers define under the prefix of numbers, and isn't one.
fn is_marker(name: &str) -> bool {
    let first = name.chars().next();
    first.is_some_and(|c| c.is_ascii_uppercase())
        || name.ends_with("_Linux")
        || name == "syscalls"
        || name.starts_with("reserved")
        || name.starts_with("unused")
}

fn merge(numbers: &mut Numbers, other: Numbers) -> Result<()> {
    for (name, nr) in other {
        match numbers.get(&name) {
            Some(known) if *known != nr => {
                bail!("{name} is {known} in one source and {nr} in another")
            }
            _ => numbers.insert(name, nr),
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(entries: &[(&str, u32)]) -> Numbers {
        let own = entries.iter().map(|(name, nr)| ((*name).to_owned(), *nr));
        own.collect()
    }

    #[test]
    fn sources_that_disagree_are_an_error() {
        let mut known = numbers(&[("read", 0)]);
        merge(&mut known, numbers(&[("read", 0), ("write", 1)])).unwrap();
        assert_eq!(known, numbers(&[("read", 0), ("write", 1)]));
        let error = merge(&mut known, numbers(&[("write", 2)])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "write is 1 in one source and 2 in another"
        );
    }

    #[test]
    fn what_headers_define_beside_calls_is_left_out() {
        for marker in ["Linux", "N32_Linux", "syscalls", "reserved221", "unused18"] {
            assert!(is_marker(marker), "{marker}");
        }
        for name in ["_llseek", "read", "syscall"] {
            assert!(!is_marker(name), "{name}");
        }
    }
}
