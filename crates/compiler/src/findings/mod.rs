//! What can be found out about a profile and its policy beyond what each call comes to: for the people who write it.

pub mod change;
