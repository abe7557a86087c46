//! What fuzzing has gathered, put to the functions that it was gathered with: each input of the corpus, and each that once failed.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)] // A test throughout.

use std::fs;
use std::panic::catch_unwind;

use callgate_test_suite::case;
use callgate_test_suite::fuzz::TARGETS;
use callgate_test_suite::random::Random;

#[test]
fn nothing_that_fuzzing_found_fails() {
    let mut failed = Vec::new();
    for (name, target) in TARGETS {
        let mut inputs = 0;
        for folder in ["corpus", "regressions"] {
            let folder = case::workspace().join("fuzz").join(folder).join(name);
            let Ok(entries) = fs::read_dir(&folder) else {
                assert!(
                    folder.ends_with(format!("regressions/{name}")),
                    "no {}",
                    folder.display()
                );
                continue;
            };
            for entry in entries {
                let path = entry.unwrap().path();
                let data = fs::read(&path).unwrap();
                inputs += 1;
                if catch_unwind(|| target(&data)).is_err() {
                    failed.push(path);
                }
            }
        }
        println!("{name}: {inputs} inputs");
        assert!(inputs >= 10, "{name}: only {inputs} inputs");
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// A little of the fuzzing itself: bytes without any plan.
#[test]
fn random_bytes_do_no_harm() {
    let mut random = Random::new(0xf022);
    for (_, target) in TARGETS {
        for _ in 0..200 {
            let length = random.below(400);
            let data = std::iter::repeat_with(|| u8::try_from(random.below(256)).unwrap());
            target(&data.take(length).collect::<Vec<_>>());
        }
    }
}
