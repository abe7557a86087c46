//! In which order a container runtime's rules come to be tried.
//!
//! Profiles are lists, but the runtimes hand them to a library that keeps each call's rules sorted, so two
//! rules that overlap are not tried as written. This is that order, as an order of condition lists.

use std::cmp::Ordering;

use super::{Condition, Rule, Test};

/// Which of two rules of one number is tried first. Rules that come out equal keep the order of the document.
pub(super) fn runtime_order(a: &Rule, b: &Rule) -> Ordering {
    let pairs = a.conditions.iter().zip(&b.conditions);
    let first_difference = pairs
        .map(|(a, b)| order_of_conditions(a, b))
        .find(|o| o.is_ne());
    // Where one list is the beginning of the other, the shorter comes first.
    first_difference.unwrap_or_else(|| a.conditions.len().cmp(&b.conditions.len()))
}

fn order_of_conditions(a: &Condition, b: &Condition) -> Ordering {
    let class = class(a.test).cmp(&class(b.test));
    let datum = a.test.datum().cmp(&b.test.datum());
    let datum = match a.test {
        Test::Lt(_) | Test::Le(_) => datum,
        _ => datum.reverse(),
    };
    // The higher argument first.
    b.arg.cmp(&a.arg).then(class).then(datum)
}

fn class(test: Test) -> u8 {
    match test {
        Test::Eq(_) | Test::Ne(_) | Test::Masked { .. } => 0,
        Test::Lt(_) | Test::Le(_) => 1,
        Test::Gt(_) | Test::Ge(_) => 2,
    }
}
