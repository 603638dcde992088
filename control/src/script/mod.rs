//! Programs that shunt runs for the operator: checks, notifications, readers of pipes.
//!
//! From the outside in: [`prepare`] finds the program, the user it runs as and every reason not to run it;
//! [`Program::run`] runs it and leaves nothing behind. Both are made so that a program cannot do harm by hanging, by
//! printing without end or by leaving children, and that one which is not run says why in words that lead to the fault.
//!
//! *Invariants*
//! - a program runs with the rights of its user and none of the director's: user, group, supplementary groups, signals,
//!   descriptors and environment are its own;
//! - with `enable_script_security` nothing runs that everybody can change, and nothing as root that others than root
//!   can (`security` has the rules);
//! - every program is the leader of a process group, which ends with it at the time limit, or when nobody waits for
//!   it any more; its zombie is always collected.

mod output;
mod process;
mod search;
mod security;
mod user;

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinError;
use tokio::time::error::Elapsed;

use crate::model::{Command, Scripts};
pub use process::{Ended, Outcome, Running};
use user::Identity;

/// Where programs are found that are named without a path, and the `PATH` that they get (keepalived's default).
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Threads that may be busy with finding programs and users. Users can be asked for over a network (LDAP), and that
/// can hang.
const SEARCHES: usize = 4;

/// How long a program and its user may be searched for, if nothing else limits it.
const SEARCH: Duration = Duration::from_secs(30);

/// A program that may be run, and how.
#[derive(Debug, Clone)]
pub struct Program {
    /// The file that is executed: free of symbolic links, so that what was examined is what runs.
    file: PathBuf,
    /// What the program is told of its own name and arguments.
    argv: Vec<String>,
    identity: Identity,
    warning: Option<String>,
}

/// A program that is not run, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("script {program} refused: {reason}")]
pub struct Refused {
    /// As it is named in the configuration.
    pub program: String,
    /// What is wrong, where, and what to do about it.
    pub reason: String,
}

/// Why a program has not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not run.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The kernel has not started it.
    #[error("{program} could not be run: {error}{}", process::advice(.error))]
    Start {
        /// As it is named in the configuration.
        program: String,
        /// The kernel's answer.
        error: std::io::Error,
    },
    /// Nobody said in time who its user is: the user database of this machine hangs.
    #[error("{0} could not be run: the user database of this machine does not answer")]
    Users(String),
}

/// Finds the program and the user it runs as, and makes sure that it can be run.
///
/// It reads files, and asks for users: [`run`] does it on another thread.
///
/// # Errors
/// Everything that speaks against running it, the first thing only.
pub fn prepare(command: &Command, rules: &Scripts) -> Result<Program, Refused> {
    let name = command.argv.first().map_or("", String::as_str);
    find(name, command, rules).map_err(|reason| Refused { program: name.to_owned(), reason })
}

/// Prepares a program and runs it with `extra` arguments, for at most `limit`. Nothing waits for it but the caller.
///
/// # Errors
/// It was refused, or could not be started. How it ended is not an error: see [`Ended`].
pub async fn run(
    command: &Command,
    rules: &Scripts,
    extra: &[String],
    limit: Duration,
) -> Result<Ended, Error> {
    let program = prepare_apart(command, rules, limit).await?;
    program.run(extra, limit).await.map_err(|error| program.not_started(error))
}

/// Prepares a program and starts it with `extra` arguments, for as long as the answer is kept.
///
/// # Errors
/// As [`run`].
pub async fn start(command: &Command, rules: &Scripts, extra: &[String]) -> Result<Running, Error> {
    let program = prepare_apart(command, rules, SEARCH).await?;
    program.start(extra).map_err(|error| program.not_started(error))
}

/// Prepares a program on a thread that may be held up, and gives up after `limit`.
async fn prepare_apart(command: &Command, rules: &Scripts, limit: Duration) -> Result<Program, Error> {
    let (command, rules) = (command.clone(), rules.clone());
    let name = command.argv.first().cloned().unwrap_or_default();
    match apart(limit, move || prepare(&command, &rules)).await {
        Ok(Ok(prepared)) => Ok(prepared?),
        // A search that panics, or that never began since the runtime ends.
        Ok(Err(error)) => Err(Error::Start { program: name, error: error.into() }),
        Err(_) => Err(Error::Users(name)),
    }
}

/// Does something with [`prepare`] on a thread that may be held up, and gives up after `limit`.
///
/// # Errors
/// Outside: the time is over. Inside: it panicked, or the runtime ends.
pub async fn apart<T: Send + 'static>(
    limit: Duration,
    search: impl FnOnce() -> T + Send + 'static,
) -> Result<Result<T, JoinError>, Elapsed> {
    static FREE: Semaphore = Semaphore::const_new(SEARCHES);
    let search = async {
        let permit: SemaphorePermit<'static> = FREE.acquire().await.expect("the semaphore is never closed");
        tokio::task::spawn_blocking(move || {
            let _busy = permit;
            search()
        })
        .await
    };
    tokio::time::timeout(limit, search).await
}

fn find(name: &str, command: &Command, rules: &Scripts) -> Result<Program, String> {
    let identity = user::of(command, rules)?;
    if let Some(program) = redirection(command, &identity) {
        return Ok(program);
    }
    let path = search::path_of(name, &identity)?;
    let walk = search::walk(&path).map_err(|fault| search::missing(name, fault))?;
    search::executable(&walk, &identity)?;
    let weakness = security::weakness(&walk, &identity);
    if let Some(open) = security::openness(&walk).filter(|_| rules.security) {
        return Err(open);
    }
    match weakness {
        Some(weakness) if rules.security => Err(weakness),

        weakness => Ok(Program {
            file: walk.file,
            argv: command.argv.clone(),
            identity,
            warning: weakness.map(|weakness| {
                format!(
                    "script {name} runs as root although {weakness}: enable_script_security would refuse it"
                )
            }),
        }),
    }
}

/// `</dev/tcp/192.0.2.21/80`, whose success is that the file can be opened: an idiom that keepalived gives to the shell.
fn redirection(command: &Command, identity: &Identity) -> Option<Program> {
    match &command.argv[..] {
        [only] if only.strip_prefix('<').is_some_and(|file| file.trim_start().starts_with('/')) => {
            Some(Program {
                file: "/bin/sh".into(),
                argv: vec!["sh".to_owned(), "-c".to_owned(), only.clone()],
                identity: identity.clone(),
                warning: None,
            })
        }
        _ => None,
    }
}

impl Program {
    /// What the operator should know of it at the start, though it is run: others can make it theirs.
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    fn not_started(&self, error: std::io::Error) -> Error {
        Error::Start { program: self.argv[0].clone(), error }
    }
}

#[cfg(test)]
mod tests;
