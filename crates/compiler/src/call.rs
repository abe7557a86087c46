//! What the kernel shows a filter of a call: `struct seccomp_data`.

use crate::arch::{Arch, ByteOrder, byte_order_of};

/// One system call as a filter sees it (`struct seccomp_data`, `include/uapi/linux/seccomp.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Call {
    /// The number, with the x32 bit if it is an x32 call.
    pub nr: u32,
    /// `AUDIT_ARCH_*` of the calling convention.
    pub audit: u32,
    /// The caller's instruction pointer.
    pub instruction_pointer: u64,
    /// The six argument registers, zero-extended on 32-bit ABIs.
    pub args: [u64; 6],
}

impl Call {
    /// The size of `struct seccomp_data` in bytes.
    pub const SIZE: u32 = 64;

    /// A call of an ABI by its number, with instruction pointer 0.
    #[must_use]
    pub fn new(arch: Arch, nr: u32, args: [u64; 6]) -> Call {
        Call {
            nr,
            audit: arch.audit(),
            instruction_pointer: 0,
            args,
        }
    }

    /// The 32-bit word at a byte offset, as `BPF_LD | BPF_W | BPF_ABS` loads it, or `None` if the offset isn't a
    /// multiple of 4 below 64. The byte order is that of the call's own architecture.
    ///
    /// ```
    /// use callgate_compiler::{Arch, Call};
    /// let call = Call::new(Arch::S390x, 4, [0x1_0000_0002, 0, 0, 0, 0, 0]);
    /// assert_eq!(call.word(16), Some(1)); // big endian: the high half comes first
    /// assert_eq!(call.word(20), Some(2));
    /// ```
    #[must_use]
    pub fn word(&self, offset: u32) -> Option<u32> {
        self.word_in(offset, byte_order_of(self.audit))
    }

    /// As [`word`](Self::word), in the byte order of a given kernel.
    #[must_use]
    pub fn word_in(&self, offset: u32, byte_order: ByteOrder) -> Option<u32> {
        if offset % 4 != 0 || offset >= Call::SIZE {
            return None;
        }
        let wide = match offset {
            0 => return Some(self.nr),
            4 => return Some(self.audit),
            8 | 12 => self.instruction_pointer,
            _ => self.args[usize::try_from((offset - 16) / 8).ok()?],
        };
        let first = offset % 8 == 0;
        let high = first == (byte_order == ByteOrder::Big);
        Some(if high {
            high_half(wide)
        } else {
            low_half(wide)
        })
    }
}

/// Bits 32 to 63.
#[must_use]
pub fn high_half(value: u64) -> u32 {
    low_half(value >> 32)
}

/// Bits 0 to 31.
#[must_use]
#[allow(clippy::cast_possible_truncation)] // Cutting is what it is for.
pub fn low_half(value: u64) -> u32 {
    value as u32
}
