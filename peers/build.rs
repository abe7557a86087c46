//! Links libseccomp, and says what to do where it isn't there: the linker's own message wouldn't.

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=LIBSECCOMP_LIB_PATH");
    println!("cargo::rustc-link-lib=dylib=seccomp");
    if let Ok(folder) = std::env::var("LIBSECCOMP_LIB_PATH") {
        println!("cargo::rustc-link-search=native={folder}");
        return;
    }
    let folders = ["/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/local/lib"].map(Path::new);
    let has_library = |folder: &Path| folder.join("libseccomp.so").exists();
    let multiarch = |folder: &Path| {
        let entries = folder.read_dir().into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).any(|p| has_library(&p))
    };
    if !folders.iter().any(|f| has_library(f) || multiarch(f)) {
        println!(
            "cargo::warning=libseccomp is missing and the peers can't be linked: \
             apt-get install libseccomp-dev, or name its folder in LIBSECCOMP_LIB_PATH"
        );
    }
}
