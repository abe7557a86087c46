//! Published profiles, where they are at hand.

use std::path::Path;

/// The profiles that people run, by the name of their file, with their bytes. Those that aren't there are skipped, and
/// a line on standard error says so.
pub(crate) fn profiles() -> Vec<(&'static str, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/profiles");
    let read = |file| match std::fs::read(folder.join(file)) {
        Ok(json) => Some((file, json)),
        Err(error) => {
            eprintln!("skipped: {file}: {}: {error}", folder.display());
            None
        }
    };
    ["moby-default.json", "containers-common-default.json"]
        .into_iter()
        .filter_map(read)
        .collect()
}
