//! What a plan says, on real git repositories that the tests make.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
#![allow(clippy::expect_used, reason = "a test that cannot go on ends here")]

#[path = "../common/mod.rs"]
mod common;

mod changes;
mod dependencies;
mod events;
mod links;
mod memory;
mod program;
mod property;
mod repo;
mod states;
