//! Profiles that can't be taken are refused, each with its place and what is wrong with it; nothing panics.
//!
//! `testdata/profiles/broken/` has one document for each mistake, and `expected.txt` beside them what is said of it.
//! `BLESS=1 cargo test -p callgate-compiler --test broken` writes that file anew. Mistakes that take megabytes are
//! made here.
#![allow(clippy::unwrap_used, clippy::panic)] // It is a test throughout.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use callgate_compiler::notice::{Code, JsonPath, Place, Segment};
use callgate_compiler::{Arch, CompileError, Context, Filter, Profile, ProfileError};
use proptest::prelude::*;
use proptest::sample::Index;

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/profiles/broken")
}

fn context(arch: Arch) -> Context {
    Context::new(arch, "6.18".parse().unwrap())
}

fn compile(bytes: &[u8], arch: Arch) -> Result<Filter, CompileError> {
    Filter::compile(&Profile::parse(bytes)?, &context(arch))
}

/// The documents by name, sorted.
fn documents() -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(testdata())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut documents: Vec<_> = entries
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read(path).unwrap())
        })
        .collect();
    documents.sort();
    documents
}

fn refusal(name: &str, bytes: &[u8]) -> ProfileError {
    match compile(bytes, Arch::X86_64) {
        Err(CompileError::Profile(error)) => error,
        other => panic!("{name}: expected a refusal, got {other:?}"),
    }
}

/// Whether a path leads to something in a document.
fn leads_somewhere(document: &serde_json::Value, path: &JsonPath) -> bool {
    let step = |value: &serde_json::Value, segment: &Segment| match segment {
        Segment::Member(name) => value.get(name.as_str()).cloned(),
        Segment::Index(index) => value.get(index).cloned(),
    };
    path.segments()
        .iter()
        .try_fold(document.clone(), |value, segment| step(&value, segment))
        .is_some()
}

#[test]
fn every_mistake_is_located_and_named() {
    let documents = documents();
    assert!(documents.len() >= 130, "the corpus is not there");
    let mut said = String::new();
    for (name, bytes) in &documents {
        let error = refusal(name, bytes);
        assert!(error.code.is_error(), "{name}: {error}");
        match &error.place {
            Place::Position { line, column } => assert!(*line > 0 && *column > 0, "{name}"),
            Place::Path(path) => {
                let document = serde_json::from_slice(bytes).unwrap();
                let related = error.related.iter().map(|(path, _)| path);
                for path in [path].into_iter().chain(related) {
                    assert!(leads_somewhere(&document, path), "{name}: {path}");
                }
            }
        }
        writeln!(said, "{name}\n  {error}").unwrap();
        for (path, how) in &error.related {
            writeln!(said, "  {path}: {how}").unwrap();
        }
    }
    let golden = testdata().join("expected.txt");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&golden, &said).unwrap();
    }
    let expected = fs::read_to_string(&golden).unwrap();
    let difference = said
        .lines()
        .zip(expected.lines())
        .find(|(said, expected)| said != expected);
    assert_eq!(difference, None, "BLESS=1 writes {}", golden.display());
    assert_eq!(said.lines().count(), expected.lines().count());
}

/// Each is refused in little time, whatever its size.
#[test]
fn megabytes_are_refused_as_well() {
    let nested = "[".repeat(10 << 20);
    let nested_in = format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":{nested}"#);
    let objects = r#"{"linux":"#.repeat(1 << 20);
    let one_string = format!(r#"{{"defaultAction":"{}"}}"#, "A".repeat(10 << 20));
    let zeros = vec![0; 10 << 20];
    let blank = " ".repeat((16 << 20) + 1);
    let members: String = (0..500_000).map(|i| format!(r#""m{i}":0,"#)).collect();
    let many_members = format!(r#"{{{members}"m0":0}}"#);
    let cases: [(&str, &[u8], Code); 7] = [
        ("nested arrays", nested.as_bytes(), Code::Syntax),
        ("nested in a profile", nested_in.as_bytes(), Code::Syntax),
        ("nested objects", objects.as_bytes(), Code::Syntax),
        ("one string", one_string.as_bytes(), Code::UnknownName),
        ("zeros", &zeros, Code::Syntax),
        ("too large", blank.as_bytes(), Code::TooLarge),
        (
            "many members",
            many_members.as_bytes(),
            Code::DuplicateMember,
        ),
    ];
    for (name, bytes, code) in cases {
        let start = Instant::now();
        let error = refusal(name, bytes);
        assert_eq!(error.code, code, "{name}: {}", error.message);
        let long = error.to_string().len();
        assert!(long < 1000, "{name}: a message of {long} bytes");
        assert!(start.elapsed() < Duration::from_secs(20), "{name}");
    }
}

/// Profiles that are taken, to be broken.
fn profiles() -> Vec<String> {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/profiles");
    let mut profiles = vec![callgate_compiler::profile::DEFAULT.to_owned()];
    for name in ["moby-default.json", "containers-common-default.json"] {
        match fs::read_to_string(shared.join(name)) {
            Ok(profile) => profiles.push(profile),
            Err(error) => eprintln!("skipped: breaking {name}: {error}"),
        }
    }
    profiles
}

/// What is put into a profile to break it.
const SPLINTERS: [&str; 28] = [
    "",
    "\"",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "null",
    "-1",
    "1e400",
    "0.5",
    "4095",
    "4096",
    "65536",
    "4294967296",
    "18446744073709551615",
    "18446744073709551616",
    "\"SCMP_ACT_NOTIFY\"",
    "\"SCMP_ACT_TRACE\"",
    "\"SCMP_CMP_GE\"",
    "\"write\"",
    "\"index\"",
    "\"valueTwo\"",
    "\"\"",
    "\u{0}",
    "\\u0000",
    "é",
];

/// Replaces the token that begins at or after a place.
fn splinter(profile: &mut Vec<u8>, place: Index, with: &str) {
    let start = place.index(profile.len().max(1));
    let delimits = |byte: &u8| b",:[]{}\n".contains(byte);
    let rest = profile.get(start..).unwrap_or_default();
    let begin = start + rest.iter().take_while(|byte| delimits(byte)).count();
    let rest = profile.get(begin..).unwrap_or_default();
    let end = begin + rest.iter().take_while(|byte| !delimits(byte)).count();
    profile.splice(begin..end, with.bytes());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 150 } else { 3000 }))]

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = compile(&bytes, Arch::X86_64);
    }

    #[test]
    fn no_text_of_json_letters_panics(text in r#"[\[\]{}",:0-9a-z\\\n -]{0,200}"#) {
        let _ = compile(text.as_bytes(), Arch::X86_64);
    }

    /// Tokens replaced, then perhaps bytes: either it compiles or it is refused.
    #[test]
    fn no_broken_profile_panics(
        which in any::<Index>(),
        arch in any::<Index>(),
        tokens in prop::collection::vec((any::<Index>(), any::<Index>()), 0..4),
        bytes in prop::collection::vec((any::<Index>(), any::<u8>()), 0..2),
    ) {
        let profiles = profiles();
        let mut profile = profiles[which.index(profiles.len())].clone().into_bytes();
        for (place, with) in tokens {
            splinter(&mut profile, place, SPLINTERS[with.index(SPLINTERS.len())]);
        }
        for (place, byte) in bytes {
            let place = place.index(profile.len());
            profile[place] = byte;
        }
        // Those that live only beside another one are no kernel's, but must not panic either.
        let _ = compile(&profile, Arch::ALL[arch.index(Arch::ALL.len())]);
    }
}
