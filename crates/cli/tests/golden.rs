//! The command's words: each file in `testdata/cli` is a session, held against what the command prints now.
//!
//! `$ callgate …` is run in that folder (words may be in single quotes), lines of standard error begin with `! `, and `? N` is the
//! exit status if it isn't 0. `BLESS=1` writes the files anew.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)] // A test throughout.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn sessions_are_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/cli");
    let mut sessions: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    sessions.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "session")
    });
    sessions.sort();
    assert!(sessions.len() >= 5);
    let mut differing = Vec::new();
    for path in sessions {
        let written = fs::read_to_string(&path).unwrap();
        let now = replay(&written, &folder);
        if std::env::var_os("BLESS").is_some() {
            fs::write(&path, now).unwrap();
        } else if now != written {
            differing.push(format!(
                "{}:\n--- written\n{written}\n--- now\n{now}",
                path.display()
            ));
        }
    }
    assert!(
        differing.is_empty(),
        "{}\nBLESS=1 writes them anew",
        differing.join("\n")
    );
}

fn replay(session: &str, folder: &Path) -> String {
    let mut now = String::new();
    for line in session.lines() {
        if line.starts_with('#') || line.is_empty() {
            let _ = writeln!(now, "{line}");
        }
        let Some(command) = line.strip_prefix("$ callgate") else {
            continue;
        };
        let output = Command::new(env!("CARGO_BIN_EXE_callgate"))
            .args(words(command))
            .current_dir(folder)
            .output()
            .unwrap();
        let _ = writeln!(now, "{line}");
        now.push_str(&indented(&output.stdout, ""));
        now.push_str(&indented(&output.stderr, "! "));
        match output.status.code() {
            Some(0) => {}
            Some(code) => {
                let _ = writeln!(now, "? {code}");
            }
            None => panic!("{command}: {}", output.status),
        }
    }
    now
}

/// Lines that can be told from commands, comments and blanks between them.
fn indented(bytes: &[u8], prefix: &str) -> String {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    text.lines()
        .map(|line| format!("{}\n", format!("  {prefix}{line}").trim_end()))
        .filter(|line| line != "\n")
        .collect()
}

fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (i, part) in command.split('\'').enumerate() {
        if i % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}
