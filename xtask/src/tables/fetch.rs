//! Fetches the sources by their registries' ordinary clients, and reads the numbers in them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::Numbers;

/// The release of the Python package that is read.
pub(super) const SYSTEM_CALLS: &str = "system-calls==7.2";
/// The Debian packages that are read, as `linux-libc-dev-NAME-cross`.
const DEBIAN: [&str; 6] = ["armhf", "hppa", "mipsn32", "powerpc", "s390x", "sh4"];

/// The unpacked sources.
pub(super) struct Sources {
    folder: TempDir,
    raw: PathBuf,
}

impl Sources {
    pub(super) fn fetch() -> Result<Sources> {
        let folder = tempfile::tempdir()?;
        let raw = raw_sys_folder()?;
        let at = folder.path();
        run(
            at,
            "python3",
            &[
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
                "--only-binary=:all:",
                SYSTEM_CALLS,
            ],
        )?;
        let wheel = only_file(at, ".whl")?;
        run(at, "python3", &["-m", "zipfile", "-e", &wheel, "."])?;
        for name in DEBIAN {
            run(
                at,
                "apt-get",
                &[
                    "download",
                    "--quiet",
                    // As root, apt would warn that its own user may not write here.
                    "-o",
                    "APT::Sandbox::User=root",
                    &format!("linux-libc-dev-{name}-cross"),
                ],
            )?;
            let package = only_file(at, ".deb")?;
            run(at, "dpkg-deb", &["--extract", &package, name])?;
            fs::remove_file(at.join(package))?;
        }
        Ok(Sources { folder, raw })
    }

    pub(super) fn kernel_version(&self) -> Result<String> {
        let text = self.read("system_calls/linux_version.py")?;
        let version = text
            .split('"')
            .nth(1)
            .context("no version in linux_version.py")?;
        let mut parts = version.split('.');
        let (major, minor) = (
            parts.next().context("no major")?,
            parts.next().context("no minor")?,
        );
        Ok(format!("{major}.{minor}"))
    }

    /// Lines of the form `"accept": 43,`.
    pub(super) fn system_calls(&self, module: &str) -> Result<Numbers> {
        let text = self.read(&format!("system_calls/tables/{module}.py"))?;
        let entries = text.lines().filter_map(|line| {
            let (name, nr) = line.trim().strip_prefix('"')?.split_once("\": ")?;
            Some((name.to_owned(), nr.trim_end_matches(',').parse().ok()?))
        });
        Ok(entries.collect())
    }

    pub(super) fn raw_syscalls(&self, arch: &str) -> Result<Numbers> {
        let text = fs::read_to_string(self.raw.join(format!("src/{arch}/general.rs")))?;
        let numbers = rust_constants(&text, "pub const __NR_");
        let x32 = |(name, nr)| (name, if arch == "x32" { nr | 0x4000_0000 } else { nr });
        Ok(numbers.map(x32).collect())
    }

    /// The constants of a file of `linux-raw-sys`, in its order; negative ones as the kernel takes them for arguments.
    pub(super) fn raw_constants(&self, arch: &str, file: &str) -> Result<Vec<(String, u64)>> {
        let text = fs::read_to_string(self.raw.join(format!("src/{arch}/{file}.rs")))?;
        let constants = text.lines().filter_map(|line| {
            let (name, rest) = line.trim().strip_prefix("pub const ")?.split_once(": ")?;
            let (_, value) = rest.split_once(" = ")?;
            let value: i128 = value.trim_end_matches(';').parse().ok()?;
            let wide = u64::try_from(value.rem_euclid(1 << 64)).ok()?;
            Some((name.to_owned(), wide))
        });
        Ok(constants.collect())
    }

    /// `NAME = 0x1,` and `#define NAME 1` of a header that all ABIs share.
    pub(super) fn debian_enumeration(&self, header: &str) -> Result<Vec<(String, u64)>> {
        let text = fs::read_to_string(self.include(DEBIAN[0])?.join("linux").join(header))?;
        let constants = text.lines().filter_map(|line| {
            let line = line.trim();
            let (name, value) = match line.strip_prefix("#define") {
                Some(define) => define.trim().split_once(char::is_whitespace)?,
                None => line.split_once('=')?,
            };
            let value = value.split("/*").next()?.trim().trim_end_matches(',');
            Some((name.trim().to_owned(), number(value)?))
        });
        Ok(constants.collect())
    }

    pub(super) fn raw_errnos(&self, arch: &str) -> Result<Numbers> {
        let text = fs::read_to_string(self.raw.join(format!("src/{arch}/errno.rs")))?;
        Ok(rust_constants(&text, "pub const ")
            .filter(|(name, _)| is_errno(name))
            .collect())
    }

    pub(super) fn debian_syscalls(&self, package: &str, header: &str) -> Result<Numbers> {
        let text = fs::read_to_string(self.include(package)?.join("asm").join(header))?;
        let private = text.lines().filter_map(|line| {
            let (name, offset) = line
                .strip_prefix("#define __ARM_NR_")?
                .split_once(char::is_whitespace)?;
            let offset: u32 = offset
                .trim()
                .strip_prefix("(__ARM_NR_BASE+")?
                .strip_suffix(')')?
                .parse()
                .ok()?;
            Some((name.to_owned(), 0xf_0000 + offset))
        });
        Ok(defines(&text, "__NR_").chain(private).collect())
    }

    /// The errnos of a header and of the common ones that it includes.
    pub(super) fn debian_errnos(&self, package: &str) -> Result<Numbers> {
        let include = self.include(package)?;
        let own = fs::read_to_string(include.join("asm/errno.h"))?;
        let mut texts = vec![fs::read_to_string(
            include.join("asm-generic/errno-base.h"),
        )?];
        if own.contains("<asm-generic/errno.h>") {
            texts.push(fs::read_to_string(include.join("asm-generic/errno.h"))?);
        }
        texts.push(own);
        let mut numbers = Numbers::new();
        for text in &texts {
            numbers.extend(defines(text, "").filter(|(name, _)| is_errno(name)));
        }
        let aliases = texts
            .iter()
            .flat_map(|text| text.lines())
            .filter_map(|line| {
                let mut words = line.strip_prefix("#define")?.split_whitespace();
                Some((words.next()?, words.next()?)).filter(|(_, of)| is_errno(of))
            });
        for (name, of) in aliases {
            let number = *numbers
                .get(of)
                .with_context(|| format!("{name} is {of}, which is nothing"))?;
            numbers.entry(name.to_owned()).or_insert(number);
        }
        Ok(numbers)
    }

    fn include(&self, package: &str) -> Result<PathBuf> {
        let usr = self.folder.path().join(package).join("usr");
        let with_headers = |path: &PathBuf| path.join("include/asm").is_dir();
        let folders = fs::read_dir(usr)?.filter_map(|entry| entry.ok().map(|entry| entry.path()));
        let found = folders.into_iter().find(with_headers);
        Ok(found
            .with_context(|| format!("no headers in {package}"))?
            .join("include"))
    }

    fn read(&self, path: &str) -> Result<String> {
        fs::read_to_string(self.folder.path().join(path)).with_context(|| format!("reading {path}"))
    }
}

/// A number, decimal or 0x….
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

fn is_errno(name: &str) -> bool {
    name.starts_with('E')
        && name
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
}

/// `pub const PREFIXname: u32 = 1;`
fn rust_constants<'a>(text: &'a str, prefix: &'a str) -> impl Iterator<Item = (String, u32)> + 'a {
    text.lines().filter_map(move |line| {
        let (name, number) = line.strip_prefix(prefix)?.split_once(": u32 = ")?;
        Some((name.to_owned(), number.trim_end_matches(';').parse().ok()?))
    })
}

/// `#define PREFIXname 1`, or `(__NR_Linux + 1)`.
fn defines<'a>(text: &'a str, prefix: &'a str) -> impl Iterator<Item = (String, u32)> + 'a {
    text.lines().filter_map(move |line| {
        let mut words = line
            .strip_prefix("#define")?
            .trim()
            .splitn(2, char::is_whitespace);
        let name = words.next()?.strip_prefix(prefix)?;
        let value = words.next()?.split("/*").next()?.trim();
        let value = value
            .strip_prefix("(__NR_Linux + ")
            .map_or(value, |offset| offset.trim_end_matches(')'));
        Some((name.to_owned(), value.parse().ok()?))
    })
}

/// Where cargo keeps the source of linux-raw-sys.
fn raw_sys_folder() -> Result<PathBuf> {
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1"])
        .output()?;
    ensure!(metadata.status.success(), "cargo metadata failed");
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout)?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    let pinned = |p: &&serde_json::Value| p["name"] == "linux-raw-sys" && p["version"] == "0.12.1";
    let package = packages
        .iter()
        .find(pinned)
        .context("no linux-raw-sys 0.12.1")?;
    let manifest = package["manifest_path"].as_str().context("no path")?;
    Ok(Path::new(manifest)
        .parent()
        .context("no folder")?
        .to_owned())
}

fn run(at: &Path, program: &str, args: &[&str]) -> Result<()> {
    let mut command = Command::new(program);
    let status = command
        .args(args)
        .current_dir(at)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    let status = status.with_context(|| format!("running {program}"))?;
    ensure!(
        status.success(),
        "{program} {} ended with {status}",
        args.join(" ")
    );
    Ok(())
}

fn only_file(at: &Path, ending: &str) -> Result<String> {
    let names = fs::read_dir(at)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names = names.filter(|name| name.ends_with(ending));
    names
        .next()
        .with_context(|| format!("no {ending} file came"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_of_rust_are_read() {
        let text =
            "pub const __NR_read: u32 = 63;\npub const EPERM: u32 = 1;\npub const __NR_x: i32 = 2;";
        let syscalls: Vec<_> = rust_constants(text, "pub const __NR_").collect();
        assert_eq!(syscalls, [("read".to_owned(), 63)]);
    }

    #[test]
    fn defines_of_headers_are_read() {
        let text = "#define __NR_read 3\n#define\t__NR_write\t(__NR_Linux + 1)\n#define __NR_syscalls __NR_last\n\
                    #define\tEPERM\t\t 1\t/* Operation not permitted */\n#define _ASM_H";
        let syscalls: Vec<_> = defines(text, "__NR_").collect();
        assert_eq!(syscalls, [("read".to_owned(), 3), ("write".to_owned(), 1)]);
        let errnos: Vec<_> = defines(text, "")
            .filter(|(name, _)| is_errno(name))
            .collect();
        assert_eq!(errnos, [("EPERM".to_owned(), 1)]);
    }
}
