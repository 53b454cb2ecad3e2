//! What the tests share: real registries, OCI layouts made by hand.

#![allow(dead_code, reason = "each test file uses a part of this")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

pub(crate) mod layout;
pub(crate) mod registry;
