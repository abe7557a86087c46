//! A stand-in until the kernel's rules are written down here.
