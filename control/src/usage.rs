//! Words of the command line that its definition alone cannot judge.

/// They are wrong: what is wrong with them, and what was expected. The exit code is 2, as for what clap refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);
