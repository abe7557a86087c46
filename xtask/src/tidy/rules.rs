//! The house rules as tables: who may use whom, and which words stand where.
//!
//! ARCHITECTURE.md has the reasons. Change both together.

/// A part of a crate, and the other parts that it may use besides itself.
#[derive(Debug)]
pub(super) struct Area {
    /// A module; what is in it belongs to it, but for what has an area of its own.
    pub(super) name: &'static str,
    pub(super) may_use: &'static [&'static str],
}

const fn area(name: &'static str, may_use: &'static [&'static str]) -> Area {
    Area { name, may_use }
}

/// The areas of the compiler, in the order of the data. The root may use all.
pub(super) const COMPILER: &[Area] = &[
    area("similar", &[]),
    area("limits", &[]),
    area("arch", &["similar"]),
    area("errno", &["arch"]),
    area("action", &["arch", "errno", "limits", "similar"]),
    area("call", &["arch", "limits"]),
    area("notice", &["arch", "action", "call"]),
    area("syscalls", &["arch", "similar"]),
    // A profile has no numbers.
    area(
        "profile",
        &[
            "arch", "action", "errno", "limits", "similar", "context", "notice",
        ],
    ),
    area("context", &["arch", "policy", "profile", "similar"]),
    area(
        "policy",
        &[
            "arch", "action", "errno", "call", "limits", "similar", "syscalls", "profile",
            "context", "notice",
        ],
    ),
    area("decision", &["arch", "action", "call", "limits", "policy"]),
    area("bpf", &["arch", "action", "call", "limits"]),
    // Readers of programs, each for itself.
    area("bpf::check", &["arch", "action", "call", "limits", "bpf"]),
    area(
        "bpf::simulate",
        &["arch", "action", "call", "limits", "bpf"],
    ),
    area(
        "bpf::disassemble",
        &["arch", "action", "call", "limits", "bpf"],
    ),
    area("bpf::cost", &["arch", "action", "call", "limits", "bpf"]),
    // Makers of programs: check is the only way to one.
    area(
        "bpf::assemble",
        &["arch", "action", "call", "limits", "bpf", "bpf::check"],
    ),
    area(
        "bpf::encode",
        &["arch", "action", "call", "limits", "bpf", "bpf::check"],
    ),
    area(
        "bpf::emit",
        &["arch", "action", "call", "limits", "bpf", "decision"],
    ),
    // A checker that knew the compiler could share its mistakes.
    area(
        "proof",
        &[
            "arch",
            "action",
            "call",
            "limits",
            "policy",
            "bpf",
            "bpf::check",
        ],
    ),
    area("signatures", &["arch", "call", "syscalls", "similar"]),
    area(
        "summary",
        &[
            "arch",
            "action",
            "call",
            "policy",
            "bpf",
            "bpf::disassemble",
            "signatures",
            "syscalls",
        ],
    ),
    area(
        "findings",
        &[
            "arch",
            "action",
            "errno",
            "call",
            "limits",
            "syscalls",
            "profile",
            "context",
            "notice",
            "policy",
            "bpf",
            "proof",
            "signatures",
        ],
    ),
    area(
        "instrument",
        &[
            "arch", "action", "call", "syscalls", "profile", "context", "notice", "policy",
        ],
    ),
    area(
        "filter",
        &[
            "arch",
            "action",
            "errno",
            "call",
            "limits",
            "syscalls",
            "profile",
            "context",
            "notice",
            "policy",
            "bpf",
            "bpf::check",
            "bpf::emit",
            "bpf::cost",
            "decision",
            "proof",
            "findings",
        ],
    ),
];

/// Words or paths that may not stand in some place.
#[derive(Debug)]
pub(super) struct Ban {
    /// Paths by their beginning, or words with `()` or `!`.
    pub(super) what: &'static [&'static str],
    /// Files by the beginning of their path from the workspace's root.
    pub(super) within: &'static [&'static str],
    pub(super) except: &'static [&'static str],
    pub(super) why: &'static str,
}

pub(super) const BANS: &[Ban] = &[
    Ban {
        what: &["unsafe"],
        within: &["crates/", "xtask/"],
        // The suite makes system calls by number; it isn't published.
        except: &[
            "crates/callgate/src/sys.rs",
            "crates/test-suite/src/live.rs",
        ],
        why: "unsafe code lives in crates/callgate/src/sys.rs alone",
    },
    Ban {
        what: &[
            "unwrap()",
            "unwrap_err()",
            "todo!",
            "unimplemented!",
            "dbg!",
        ],
        within: &["crates/", "peers/", "xtask/"],
        except: &[],
        why: "outside tests every failure is an error that says what to do",
    },
    Ban {
        what: &[
            "std::fs",
            "std::io",
            "std::net",
            "std::process",
            "std::env",
            "std::os",
            "libc",
            "rustix",
        ],
        within: &["crates/compiler/src/"],
        except: &[],
        why: "the compiler is pure: no I/O, and nothing of the running system",
    },
    Ban {
        what: &[
            "print!",
            "println!",
            "eprint!",
            "eprintln!",
            "std::process::exit",
        ],
        within: &["crates/compiler/src/", "crates/callgate/src/"],
        except: &[],
        why: "only the command prints, and chooses exit codes",
    },
    Ban {
        what: &["serde_json"],
        within: &["crates/callgate/src/"],
        except: &[
            "crates/callgate/src/handoff.rs",
            "crates/callgate/src/oci.rs",
        ],
        why: "the kernel's edge sees programs and actions; JSON is read in oci.rs, and what runtimes send in handoff.rs",
    },
];

/// The most lines that a file may have which people write.
pub(super) const LONGEST: usize = 600;
