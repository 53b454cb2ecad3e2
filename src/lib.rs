//! `rhdh-pack` turns Backstage plugins into Red Hat Developer Hub (RHDH) dynamic plugins: it plans which
//! plugins to build, exports them with the RHDH CLI, packages them as OCI images and tgz archives, pushes
//! them, and reports their digests and integrity values.
//!
//! The stages run in one direction, and each is a module of its own:
//!
//! ```text
//! config, workspace ──► plan ──► export ──► package ──► push ──► report
//! ```
//!
//! `commands` is the only place where they are wired together.

pub mod artifact;
pub mod ci;
pub mod cli;
pub mod commands;
pub mod config;
pub mod diff;
pub mod digest;
pub mod doctor;
pub mod document;
pub mod draft;
pub mod explain;
pub mod export;
pub mod hidden;
pub mod import;
pub mod inspect;
pub mod install;
pub mod package;
pub mod plan;
pub mod prune;
pub mod push;
pub mod registry;
pub mod repo_path;
pub mod report;
pub mod rhdh;
pub mod suggest;
pub mod ui;
pub mod update;
pub mod verify;
pub mod workspace;

/// See `Cargo.toml`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
