//! What one meets first: scripts that shells load, manual pages, and answers that lead on.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)] // A test throughout.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn callgate(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_callgate"))
        .args(args)
        .output()
        .unwrap()
}

fn stdout(args: &[&str]) -> String {
    String::from_utf8(callgate(args).stdout).unwrap()
}

/// What a program says on both streams, or nothing if it isn't there, which is said.
fn said(test: &str, program: &str, args: &[&str]) -> Option<String> {
    match Command::new(program).args(args).output() {
        Ok(output) => {
            Some(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
        }
        Err(error) => {
            eprintln!("skipped: {test}: {program}: {error}");
            None
        }
    }
}

#[test]
fn completion_scripts_load_and_complete() {
    let folder = tempfile::tempdir().unwrap();
    let script = |shell: &str| {
        let path = folder.path().join(format!("callgate.{shell}"));
        fs::write(&path, stdout(&["completions", shell])).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let bash = format!(
        "source {}; COMP_WORDS=(callgate disas); COMP_CWORD=1; _callgate callgate disas callgate; echo \"$COMPREPLY\"",
        script("bash")
    );
    let zsh = format!(
        "autoload -U compinit; compinit -u -D; source {}; echo $_comps[callgate]",
        script("zsh")
    );
    let fish = format!("source {}; complete -C 'callgate disas'", script("fish"));
    let expected = [
        ("bash", &["--norc", "-c", &bash][..], "disassemble\n"),
        ("zsh", &["-fc", &zsh], "_callgate\n"),
        (
            "fish",
            &["--no-config", "-c", &fish],
            "disassemble\tPrint a filter's instructions, with jump targets and what its constants are\n",
        ),
    ];
    for (shell, args, answer) in expected {
        if let Some(said) = said("completion_scripts_load_and_complete", shell, args) {
            assert_eq!(said, answer, "{shell}");
        }
    }
}

#[test]
fn manual_pages_render_without_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let written = callgate(&["man", "--folder", folder.path().to_str().unwrap()]);
    assert!(written.status.success());
    let pages: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(pages.len() > 10);
    for page in pages {
        let page = page.to_str().unwrap();
        let Some(warnings) = said(
            "manual_pages_render_without_a_word",
            "groff",
            &["-Kutf8", "-man", "-Tutf8", "-ww", "-z", page],
        ) else {
            return;
        };
        assert_eq!(warnings, "", "{page}");
    }
}

#[test]
fn every_command_has_help_with_examples() {
    let help = stdout(&["help"]);
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    // A long description goes on in the next line, further in.
    let names = listed
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            let name = line.strip_prefix("  ")?.split(' ').next()?;
            Some(name).filter(|name| !name.is_empty())
        });
    let commands: Vec<&str> = names.collect();
    assert!(commands.len() >= 12, "{help}");
    for command in commands {
        let help = stdout(&["help", command]);
        assert!(help.contains("Usage: callgate"), "{command}");
        assert!(help.contains("Example"), "{command} has no example");
        assert!(callgate(&[command, "--help"]).status.success(), "{command}");
    }
}

#[test]
fn instructions_go_round() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for arch in ["x86_64", "s390x"] {
        let context = ["--arch", arch, "--kernel", "6.18"];
        let compiled = callgate(&[&["compile", "default"], &context[..]].concat()).stdout;
        fs::write(
            path("text"),
            stdout(&[&["disassemble", "default"], &context[..]].concat()),
        )
        .unwrap();
        let assembled = callgate(&[
            "assemble",
            &path("text"),
            "-o",
            &path("raw"),
            "--arch",
            arch,
        ]);
        assert!(assembled.status.success(), "{assembled:?}");
        assert_eq!(fs::read(path("raw")).unwrap(), compiled);
    }
    fs::write(path("text"), "ld [0]\nfrobnicate\n").unwrap();
    let refused = callgate(&["assemble", &path("text"), "-o", &path("other")]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        String::from_utf8(refused.stderr)
            .unwrap()
            .contains("line 2")
    );
    assert!(!Path::new(&path("other")).exists());
}

#[test]
fn the_doctor_says_the_same_in_both_forms() {
    let text = stdout(&["doctor"]);
    let json: serde_json::Value = serde_json::from_str(&stdout(&["doctor", "--json"])).unwrap();
    assert_eq!(json["schema"], "callgate.doctor.v1");
    let facts = json["facts"].as_array().unwrap();
    assert!(facts.len() >= 12);
    for fact in facts {
        let value = fact["value"].as_str().unwrap();
        assert!(text.contains(value.lines().next().unwrap_or("")), "{fact}");
    }
    let filters = facts.iter().find(|fact| fact["name"] == "filters").unwrap();
    let status = callgate(&["doctor"]).status.code().unwrap();
    assert_eq!(filters["good"], status == 0);
}
