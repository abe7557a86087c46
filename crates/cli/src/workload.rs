//! A file that says how often which calls are made: `NAME COUNT` a line, or what `strace -c` prints.

use std::fs;
use std::path::Path;

use callgate::Arch;
use callgate::compiler::decision::workload::Workload;
use callgate::compiler::syscalls;

use crate::failure::Failure;

/// Reads a workload of the native ABI.
pub(crate) fn read(path: &Path, arch: Arch) -> Result<Workload, Failure> {
    let refused = |what: String| Failure::new(format!("{}: {what}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
    let mut workload = Workload::default();
    for (index, line) in text.lines().enumerate() {
        let Some((name, count)) =
            counted(line).map_err(|what| refused(format!("line {}: {what}", index + 1)))?
        else {
            continue;
        };
        let Some(nr) = syscalls::number(arch, name) else {
            let similar = syscalls::similar(name).map(|name| format!(": did you mean `{name}`?"));
            let message = format!(
                "line {}: {arch} has no system call `{name}`{}",
                index + 1,
                similar.unwrap_or_default()
            );
            return Err(refused(message));
        };
        workload.add(arch, nr, count);
    }
    if workload.is_empty() {
        return Err(refused("no calls are counted in it".to_owned()));
    }
    Ok(workload)
}

/// The call that a line counts, and how often it was made. Headings, totals, comments and empty lines count none.
fn counted(line: &str) -> Result<Option<(&str, u64)>, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let is_heading = |word: &str| word.starts_with(['#', '%', '-']);
    let (name, count) = match words[..] {
        [] => return Ok(None),
        [first, ..] if is_heading(first) => return Ok(None),
        [name, count] => (name, count),
        // % time, seconds, usecs/call, calls, errors if there were any, syscall.
        [.., "total"] => return Ok(None),
        [_, _, _, count, name] | [_, _, _, count, _, name] => (name, count),
        _ => return Err("neither NAME COUNT nor a line of strace -c".to_owned()),
    };
    match count.parse() {
        Ok(count) => Ok(Some((name, count))),
        Err(_) => Err(format!("`{count}` is not a count")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let lines = [
            ("socket 12", Ok(Some(("socket", 12)))),
            ("  ", Ok(None)),
            ("# comment", Ok(None)),
            (
                "% time     seconds  usecs/call     calls    errors syscall",
                Ok(None),
            ),
            (
                "------ ----------- ----------- --------- --------- ----------------",
                Ok(None),
            ),
            (
                " 61.54    0.000016           0        21         4 openat",
                Ok(Some(("openat", 21))),
            ),
            (
                " 38.46    0.000010           1         8           read",
                Ok(Some(("read", 8))),
            ),
            (
                "100.00    0.000026           0        29         4 total",
                Ok(None),
            ),
            ("socket many", Err("`many` is not a count".to_owned())),
            (
                "socket",
                Err("neither NAME COUNT nor a line of strace -c".to_owned()),
            ),
        ];
        for (line, expected) in lines {
            assert_eq!(counted(line), expected, "{line}");
        }
    }
}
