//! Every code is provoked by a profile of its own, and shown in the documentation as it is shown to whoever makes that mistake.
//!
//! `testdata/cli/codes/CG0107.json` provokes CG0107. `docs/diagnostics.md` is made of the codes' stories, those profiles, and what
//! `callgate check` says of them; `BLESS=1` writes it anew.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)] // A test throughout.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use callgate::compiler::notice::Code;
use serde_json::Value;

const INTRODUCTION: &str = "# Diagnostics

What `callgate check` says of a profile. Each message has a code that stays: errors end the reading of a profile, warnings say that
it comes to something else than one may think. `callgate help CG0107` prints what is written here.
";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn check(args: &[&str]) -> Output {
    let arch: &[&str] = if args.contains(&"--arch") {
        &[]
    } else {
        &["--arch", "x86_64"]
    };
    Command::new(env!("CARGO_BIN_EXE_callgate"))
        .args(["check", "--kernel", "6.18"])
        .args(arch)
        .args(args)
        .current_dir(root().join("testdata/cli/codes"))
        .output()
        .unwrap()
}

/// What a code's profile is checked with beside the context.
fn options(code: Code) -> &'static [&'static str] {
    match code {
        Code::StrictSyscall => &["--strict"],
        Code::MovedArgument => &["--arch", "s390x"],
        Code::NewerThanTarget => &["--target", "linux-5.10"],
        Code::MissingEquivalent => &["--target", "aarch64"],
        Code::MissingFeature => &["--target", "linux-4.4,runc-1.0"],
        Code::MissingArchitecture => &["--target", "x86"],
        Code::UnknownTarget => &["--target", "crun-1.8"],
        _ => &[],
    }
}

/// Codes that no profile shows that one would want to read.
fn has_no_example(code: Code) -> bool {
    matches!(code, Code::TooLarge | Code::FilterTooLong | Code::NotProved)
}

#[test]
fn every_code_is_shown_in_the_documentation() {
    let mut page = INTRODUCTION.to_owned();
    for code in Code::ALL {
        let _ = write!(
            page,
            "\n## {code}: {}\n\n{}\n",
            code.title(),
            code.explanation()
        );
        let name = format!("{code}.json");
        let path = root().join("testdata/cli/codes").join(&name);
        assert_eq!(path.exists(), !has_no_example(code), "{name}");
        if has_no_example(code) {
            continue;
        }
        let options = options(code);
        let output = check(&[options, &[&name]].concat());
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains(&format!("[{code}]")), "{name}:\n{said}");
        assert_eq!(
            output.status.code(),
            Some(if code.is_error() { 2 } else { 0 }),
            "{name}"
        );
        let words = [&["$ callgate check"], options, &[&name]]
            .concat()
            .join(" ");
        let _ = write!(page, "\n```console\n{words}\n{}\n```\n", said.trim_end());
    }
    let path = root().join("docs/diagnostics.md");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/diagnostics.md is not what comes of the codes; BLESS=1 writes it anew"
    );
}

#[test]
fn a_log_has_what_the_standard_asks_for() {
    let output = check(&[
        "--format",
        "sarif",
        "CG0107.json",
        "CG0012.json",
        "CG0001.json",
    ]);
    let log: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(log["version"], "2.1.0");
    assert!(log["$schema"].as_str().unwrap().contains("sarif-2.1.0"));
    let run = &log["runs"][0];
    let driver = &run["tool"]["driver"];
    assert_eq!(driver["name"], "callgate");
    let rules = driver["rules"].as_array().unwrap();
    let ids: Vec<&str> = rules
        .iter()
        .map(|rule| rule["id"].as_str().unwrap())
        .collect();
    assert!(ids.is_sorted_by(|a, b| a < b));
    for rule in rules {
        assert!(rule["shortDescription"]["text"].is_string() && rule["help"]["text"].is_string());
        assert!(
            ["error", "warning"].contains(&rule["defaultConfiguration"]["level"].as_str().unwrap())
        );
    }
    let results = run["results"].as_array().unwrap();
    assert!(results.len() >= 3);
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(result["ruleId"], ids[index]);
        assert!(["error", "warning"].contains(&result["level"].as_str().unwrap()));
        assert!(!result["message"]["text"].as_str().unwrap().is_empty());
        let related = result["relatedLocations"].as_array().into_iter().flatten();
        for location in result["locations"]
            .as_array()
            .unwrap()
            .iter()
            .chain(related)
        {
            let physical = &location["physicalLocation"];
            let uri = physical["artifactLocation"]["uri"].as_str().unwrap();
            assert!(uri.starts_with("CG") && !uri.contains(' '));
            let number = |name| physical["region"][name].as_u64().unwrap();
            let [line, column] = ["startLine", "startColumn"].map(number);
            let [end_line, end_column] = ["endLine", "endColumn"].map(number);
            assert!(line >= 1 && column >= 1 && (end_line, end_column) > (line, column));
        }
    }
    let conflict = results
        .iter()
        .find(|result| result["ruleId"] == "CG0012")
        .unwrap();
    assert_eq!(
        conflict["relatedLocations"][0]["message"]["text"],
        "the other rule"
    );
}

#[test]
fn annotations_are_one_line_each() {
    let output = check(&["--format", "github", "CG0107.json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.lines()
            .all(|line| line.starts_with("::warning file=CG0107.json,line=")),
        "{text}"
    );
    assert!(text.contains("%0Anote: shown by the call"), "{text}");
}

#[test]
fn the_exit_status_says_what_was_found() {
    let status = |args: &[&str]| check(args).status.code();
    assert_eq!(status(&["CG0107.json"]), Some(0));
    assert_eq!(status(&["-D", "warnings", "CG0107.json"]), Some(1));
    assert_eq!(status(&["-D", "CG0107", "CG0107.json"]), Some(1));
    assert_eq!(status(&["-D", "CG0102", "CG0107.json"]), Some(0));
    assert_eq!(
        status(&["-D", "CG0107", "-A", "CG0107", "CG0107.json"]),
        Some(0)
    );
    assert_eq!(status(&["-D", "warnings", "CG0004.json"]), Some(2));
    assert_eq!(status(&["no-such-file", "CG0107.json"]), Some(2));
    assert_eq!(status(&["-D", "CG9999", "CG0107.json"]), Some(2));
}

#[test]
fn places_count_in_characters_and_survive_comments() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("profile.json");
    let text = "{ \"defaultAction\": \"SCMP_ACT_ERRNO\", /* größer */ \"syscalls\": [\n  { \"comment\": \"größer\", \"names\": [\"größer\", \"reed\",], \"action\": \"SCMP_ACT_ALLOW\" }\n] }";
    fs::write(&path, text).unwrap();
    let output = check(&["--json", path.to_str().unwrap()]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let diagnostics = document["profiles"][0]["diagnostics"].as_array().unwrap();
    let place = |code: &str, nth: usize| {
        let found = diagnostics
            .iter()
            .filter(|d| d["code"] == code)
            .nth(nth)
            .unwrap();
        ["line", "column", "end_column"].map(|name| found[name].as_u64().unwrap())
    };
    assert_eq!(place("CG0130", 0), [1, 38, 39]);
    assert_eq!(place("CG0102", 1), [2, 46, 52]);
    assert_eq!(place("CG0130", 1), [2, 52, 53]);
}

#[test]
fn a_fix_leaves_less_to_be_said_and_nothing_else_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("profile.json");
    let name = path.to_str().unwrap();
    let text = "{
  \"defaultAction\": \"SCMP_ACT_ALLOW\",
  \"flags\": [\"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV\"],
  \"syscalls\": [
    { \"names\": [\"ptrace\", \"wriet\"], \"action\": \"SCMP_ACT_LOG\" },
    { \"names\": [\"ptrace\", \"keyctl\",], \"action\": \"SCMP_ACT_LOG\" },
    { \"names\": [], \"action\": \"SCMP_ACT_ERRNO\" },
    { \"names\": [\"personality\"], \"action\": \"SCMP_ACT_ERRNO\",
      \"args\": [{ \"index\": 0, \"value\": 8, \"valueTwo\": 1, \"op\": \"SCMP_CMP_EQ\" }] }
  ]
}
";
    let fixed = "{
  \"defaultAction\": \"SCMP_ACT_ALLOW\",
  \"flags\": [],
  \"syscalls\": [
    { \"names\": [\"ptrace\", \"wriet\"], \"action\": \"SCMP_ACT_LOG\" },
    { \"names\": [\"keyctl\"], \"action\": \"SCMP_ACT_LOG\" },
    { \"names\": [\"personality\"], \"action\": \"SCMP_ACT_ERRNO\",
      \"args\": [{ \"index\": 0, \"value\": 4294967295, \"valueTwo\": 8, \"op\": \"SCMP_CMP_MASKED_EQ\" }] }
  ]
}
";
    fs::write(&path, text).unwrap();
    let shown = check(&["--fix", "--diff", name]);
    assert_eq!(shown.status.code(), Some(1));
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    let diff = String::from_utf8(shown.stdout).unwrap();
    let lines = |sign: char| diff.lines().filter(|line| line.starts_with(sign)).count();
    assert_eq!((lines('-'), lines('+')), (1 + 4, 1 + 3), "{diff}");
    let mended = check(&["--fix", name]);
    assert_eq!(mended.status.code(), Some(0));
    assert_eq!(fs::read_to_string(&path).unwrap(), fixed);
    let left = String::from_utf8(mended.stdout).unwrap();
    assert!(
        left.contains("[CG0102]") && !left.contains("[CG0108]"),
        "{left}"
    );
    // What there is no file for is not lost either.
    assert_eq!(check(&["--fix", name]).status.code(), Some(0));
    assert_eq!(fs::read_to_string(&path).unwrap(), fixed);
}

#[test]
fn of_the_default_profile_there_is_one_thing_to_say_in_every_context() {
    for arch in ["x86_64", "aarch64", "s390x", "riscv64", "mips64"] {
        for caps in ["none", "all", "CAP_SYS_ADMIN", "CAP_BPF"] {
            let output = check(&["default", "--json", "--arch", arch, "--cap", caps]);
            let document: Value = serde_json::from_slice(&output.stdout).unwrap();
            let said = document["profiles"][0]["diagnostics"].as_array().unwrap();
            // Which its page describes.
            assert!(
                said.iter().all(|d| d["code"] == "CG0204"),
                "{arch} {caps}: {said:?}"
            );
            assert_eq!(
                said.len(),
                usize::from(!["aarch64", "riscv64"].contains(&arch)),
                "{arch}"
            );
        }
    }
}
