//! The page for a review: whole, with nothing from elsewhere, and working in a browser.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)] // A test throughout.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const CONTEXT: [&str; 4] = ["--arch", "x86_64", "--kernel", "6.18"];

fn report(args: &[&str], to: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_callgate"))
        .arg("report")
        .args(args)
        .args(CONTEXT)
        .arg("-o")
        .arg(to)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/cli"))
        .output()
        .unwrap()
}

fn page(args: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("page.html");
    let output = report(args, &path);
    assert!(output.status.success(), "{output:?}");
    fs::read_to_string(&path).unwrap()
}

#[test]
fn a_page_has_every_call_and_needs_nothing_else() {
    let page = page(&["small.json"]);
    let rows = page.matches("<tr data-verdict=").count();
    let named = callgate::compiler::syscalls::table(callgate::Arch::X86_64).count();
    assert_eq!(rows, named);
    assert!(page.contains(
        "<td class=\"code\">ALLOW if personality == PER_LINUX32; ERRNO(EPERM) otherwise</td>"
    ));
    assert!(page.contains("<svg ") && page.contains("by arguments"));
    // Addresses stand only where an XML name space is named.
    let without = page.replace("http://www.w3.org/2000/svg", "");
    for outside in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!without.contains(outside), "{outside}");
    }
}

#[test]
fn what_a_profile_says_is_text_and_no_markup() {
    let folder = tempfile::tempdir().unwrap();
    let profile = folder.path().join("<img src=x onerror=alert(1)>.json");
    let text = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read","<script>alert(1)</script>"],"action":"SCMP_ACT_ALLOW"}]}"#;
    fs::write(&profile, text).unwrap();
    let page = page(&[profile.to_str().unwrap()]);
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(!page.contains("<script>alert") && !page.contains("<img"));
}

#[test]
fn two_filters_stand_side_by_side() {
    let same = page(&["small.json", "--against", "small.json"]);
    assert!(same.contains("Proved: both answer alike on every call."));
    let differing = page(&["small.json", "--against", "odd.json"]);
    assert!(differing.contains("They differ, as on "));
    let row = "<tr><td class=\"code\">write</td><td>x86_64</td><td class=\"code\">ALLOW</td><td class=\"code\">ERRNO(EPERM)</td></tr>";
    assert!(differing.contains(row), "{differing}");
}

#[test]
fn a_browser_searches_it_without_a_complaint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("page.html");
    assert!(
        report(&["default", "--against", "small.json"], &path)
            .status
            .success()
    );
    for width in ["1200", "390"] {
        let url = format!("file://{}#q=socket+family", path.display()).replace('+', "%20");
        let browser = Command::new("chromium")
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--enable-logging=stderr",
                "--v=0",
                "--dump-dom",
            ])
            .arg(format!("--window-size={width},900"))
            .arg(format!(
                "--user-data-dir={}",
                folder.path().join("browser").display()
            ))
            .arg(url)
            .output();
        let output = match browser {
            Ok(output) if output.status.success() => output,
            Ok(output) => {
                eprintln!(
                    "skipped: a_browser_searches_it_without_a_complaint: chromium ended with {}",
                    output.status
                );
                return;
            }
            Err(error) => {
                eprintln!("skipped: a_browser_searches_it_without_a_complaint: chromium: {error}");
                return;
            }
        };
        let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!complaints.contains("CONSOLE"), "{complaints}");
        let dom = String::from_utf8(output.stdout).unwrap();
        assert!(
            dom.contains("data-overflow=\"no\""),
            "it overflows at {width}"
        );
        let rows = dom.split("<tr data-verdict=").skip(1);
        let shown: Vec<&str> = rows
            .filter(|row| !row[..row.find('>').unwrap()].contains("hidden"))
            .collect();
        assert!(!shown.is_empty() && shown.len() < 5, "{}", shown.len());
        assert!(
            shown
                .iter()
                .all(|row| row.contains("socket") && row.contains("family")),
            "{shown:?}"
        );
        assert!(dom.contains(&format!("{} of ", shown.len())));
    }
}
