//! Random profiles, and calls that lie where they can go wrong.
//!
//! Values lie at and about a few borders, so that conditions overlap, meet and contradict each other often.

use callgate::compiler::policy::RuleOrder;
use callgate::compiler::syscalls;
use callgate::{Arch, Call, Context};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

/// Names that many profiles of a run share, so that rules meet: plain ones, multiplexed ones, ones of few ABIs, one of none.
const NAMES: [&str; 14] = [
    "read",
    "write",
    "personality",
    "clone",
    "clone3",
    "socket",
    "connect",
    "accept",
    "shmat",
    "semop",
    "ioctl",
    "socketcall",
    "open",
    "no_such_call",
];

/// A profile as JSON.
pub fn profile(native: Arch) -> impl Strategy<Value = Value> {
    let guests: Vec<Arch> = Arch::ALL
        .into_iter()
        .filter(|arch| native.runs(*arch))
        .collect();
    let count = guests.len();
    let archs = proptest::sample::subsequence(guests, 0..=count);
    (action(), archs, prop::collection::vec(entry(), 0..8)).prop_map(
        |((action, errno), archs, entries)| {
            let names: Vec<String> = archs.into_iter().map(Arch::oci_name).collect();
            let mut profile =
                json!({ "defaultAction": action, "architectures": names, "syscalls": entries });
            if let Some(errno) = errno {
                profile["defaultErrnoRet"] = errno.into();
            }
            profile
        },
    )
}

/// What a profile may be read for.
pub fn context() -> impl Strategy<Value = Context> {
    let natives = select(
        Arch::ALL
            .into_iter()
            .filter(|arch| arch.is_native())
            .collect::<Vec<_>>(),
    );
    // Most often the one with the most to go wrong.
    let natives = prop_oneof![Just(Arch::X86_64), natives];
    (natives, any::<bool>(), prop::bool::weighted(0.8)).prop_map(|(arch, document, newer_calls)| {
        let kernel = callgate::KernelVersion {
            major: 6,
            minor: 18,
        };
        let rule_order = if document {
            RuleOrder::Document
        } else {
            RuleOrder::Runtime
        };
        Context {
            rule_order,
            newer_calls,
            ..Context::new(arch, kernel)
        }
    })
}

fn action() -> impl Strategy<Value = (&'static str, Option<u16>)> {
    let errno = select(vec![
        None,
        Some(0),
        Some(1),
        Some(13),
        Some(38),
        Some(4095),
        Some(4096),
    ]);
    let plain = select(vec![
        "SCMP_ACT_ALLOW",
        "SCMP_ACT_LOG",
        "SCMP_ACT_TRAP",
        "SCMP_ACT_KILL",
        "SCMP_ACT_KILL_PROCESS",
        "SCMP_ACT_NOTIFY",
    ]);
    prop_oneof![
        plain.prop_map(|name| (name, None)),
        errno.prop_map(|errno| ("SCMP_ACT_ERRNO", errno)),
        Just(("SCMP_ACT_ALLOW", None)),
        Just(("SCMP_ACT_TRACE", Some(7))),
    ]
}

fn entry() -> impl Strategy<Value = Value> {
    let names = prop::collection::vec(select(NAMES.to_vec()), 1..3);
    let args = prop_oneof![Just(Vec::new()), prop::collection::vec(arg(), 1..4)];
    (names, action(), args).prop_map(|(names, (action, errno), args)| {
        let mut entry = json!({ "names": names, "action": action, "args": args });
        if let Some(errno) = errno {
            entry["errnoRet"] = errno.into();
        }
        entry
    })
}

fn arg() -> impl Strategy<Value = Value> {
    let ops = [
        "NE",
        "LT",
        "LE",
        "EQ",
        "GE",
        "GT",
        "MASKED_EQ",
        "EQ",
        "MASKED_EQ",
    ];
    (0..3u8, select(ops.to_vec()), datum(), datum()).prop_map(|(index, op, value, value_two)| {
        json!({ "index": index, "op": format!("SCMP_CMP_{op}"), "value": value, "valueTwo": value_two })
    })
}

/// A value at or about a border.
pub fn datum() -> impl Strategy<Value = u64> {
    prop_oneof![
        select(BORDERS.to_vec()),
        select(BORDERS.to_vec()),
        any::<u64>()
    ]
}

/// Where comparisons of whole and half arguments change their answers.
pub const BORDERS: [u64; 13] = [
    0,
    1,
    2,
    3,
    0x7fff_ffff,
    0xffff_fffe,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0001,
    0x2_0000_0002,
    0x7fff_ffff_ffff_ffff,
    0xffff_ffff_0000_0000,
    u64::MAX,
];

/// Calls of a profile's names on all ABIs of a kernel and one other, with arguments from the borders and the profile,
/// chosen by a seed.
#[must_use]
pub fn calls(profile: &Value, native: Arch, seed: u64, count: usize) -> Vec<Call> {
    let mut random = Random(seed | 1);
    let mut values = BORDERS.to_vec();
    collect_numbers(profile, &mut values);
    let mut archs: Vec<Arch> = Arch::ALL
        .into_iter()
        .filter(|arch| native.runs(*arch))
        .collect();
    archs.push(if native == Arch::Arm {
        Arch::Sh
    } else {
        Arch::Arm
    });
    let calls = (0..count).map(|_| {
        let arch = *random.pick(&archs);
        let named = syscalls::number(arch, random.pick::<&str>(&NAMES));
        let nr = match random.next() % 8 {
            0 => *random.pick(&[
                0,
                1,
                500,
                0x3fff_ffff,
                0x4000_0000,
                0x4000_0200,
                0x8000_0000,
                0xc000_0001,
                u32::MAX,
            ]),
            1 => u32::try_from(random.next() % 600).unwrap_or(0),
            _ => named.unwrap_or(7),
        };
        let args = [0; 6].map(|_| {
            let value = *random.pick(&values);
            match random.next() % 6 {
                0 => value.wrapping_add(1),
                1 => value.wrapping_sub(1),
                2 => value ^ (1 << (random.next() % 64)),
                _ => value,
            }
        });
        Call::new(arch, nr, args)
    });
    calls.collect()
}

fn collect_numbers(value: &Value, into: &mut Vec<u64>) {
    match value {
        Value::Number(number) => into.extend(number.as_u64()),
        Value::Array(elements) => elements
            .iter()
            .for_each(|element| collect_numbers(element, into)),
        Value::Object(members) => members
            .values()
            .for_each(|member| collect_numbers(member, into)),
        _ => {}
    }
}

/// A small generator (xorshift): the same seed gives the same calls everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let length = u64::try_from(from.len()).unwrap_or(1);
        &from[usize::try_from(self.next() % length).unwrap_or(0)]
    }
}
