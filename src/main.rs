//! The process: parse the command line, run the command, turn its outcome into an exit code.

fn main() {}
