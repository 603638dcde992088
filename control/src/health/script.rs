//! The script probe: a program's exit status is the result (keepalived's `MISC_CHECK`).
//!
//! A program that is refused, hangs or cannot be started is a failure with that reason: never a server that is up since
//! nobody looked.

use std::net::IpAddr;
use std::time::Duration;

use super::{Failure, Success, Weight};
use crate::model::{Script, Scripts};
use crate::script::{self, Ended, Error, Outcome};

/// Runs the program for at most its own timeout, else `timeout`. It gets no arguments but its own, as with keepalived:
/// the real server is in the log only.
pub(super) async fn probe(
    script: &Script,
    rules: &Scripts,
    real: IpAddr,
    timeout: Duration,
) -> Result<Success, Failure> {
    let limit = script.command.timeout.unwrap_or(timeout);
    let ended = script::run(&script.command, rules, &[], limit).await.map_err(failure)?;
    tracing::debug!(%real, script = script.command.argv[0], "{}", ended.outcome);
    result(ended, script.sets_weight, limit)
}

fn result(ended: Ended, sets_weight: bool, limit: Duration) -> Result<Success, Failure> {
    match ended.outcome {
        Outcome::Exited(0) => Ok(Success::default()),
        Outcome::Exited(status @ 2..) if sets_weight => {
            let weight = u16::try_from(status - 2).expect("an exit status is at most 255");
            Ok(Success { weight: Some(Weight::Set(weight)) })
        }
        Outcome::TimedOut => Err(Failure::TimedOut(limit)),
        outcome if ended.first_line.is_empty() => Err(Failure::Wrong(format!("the script {outcome}"))),
        outcome => Err(Failure::Wrong(format!("the script {outcome}: {}", ended.first_line))),
    }
}

fn failure(error: Error) -> Failure {
    match error {
        Error::Start { error, program } => match Failure::from(error) {
            short @ Failure::Inconclusive(_) => short,
            // fork(2): the director has no more processes, which says nothing of the server.
            Failure::Other(error) if error.raw_os_error() == Some(libc::EAGAIN) => {
                Failure::Inconclusive(error)
            }
            Failure::Other(error) => Failure::Wrong(Error::Start { error, program }.to_string()),
            _ => Failure::Wrong(format!("{program} could not be run: the system forbids it")),
        },
        Error::Users(_) => Failure::Inconclusive(std::io::Error::other(error)),
        Error::Refused(refused) => Failure::Wrong(refused.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Command;

    async fn probe_of(shell: &str, sets_weight: bool) -> Result<Success, Failure> {
        let argv = ["/bin/sh", "-c", shell].map(str::to_owned).to_vec();
        let script = Script { command: Command { argv, user: None, timeout: None }, sets_weight };
        let real = IpAddr::from([192, 0, 2, 21]);
        probe(&script, &Scripts::default(), real, Duration::from_secs(20)).await
    }

    async fn words_of(shell: &str, sets_weight: bool) -> String {
        probe_of(shell, sets_weight).await.expect_err("it fails").to_string()
    }

    #[tokio::test]
    async fn status_0_is_up_and_others_say_what_the_script_said() {
        assert_eq!(probe_of("exit 0", false).await.expect("up"), Success::default());
        assert_eq!(words_of("exit 1", false).await, "the script exited with status 1");
        assert_eq!(
            words_of("echo; echo 'no database' >&2; echo more; exit 7", false).await,
            "the script exited with status 7: no database"
        );
        assert_eq!(words_of("kill -9 $$", true).await, "the script was ended by SIGKILL");
    }

    #[tokio::test]
    async fn a_status_from_2_is_a_weight_only_where_that_is_asked_for() {
        let weight = |weight| Success { weight: Some(Weight::Set(weight)) };
        assert_eq!(probe_of("exit 2", true).await.expect("up"), weight(0));
        assert_eq!(probe_of("exit 255", true).await.expect("up"), weight(253));
        assert_eq!(probe_of("exit 0", true).await.expect("the configured weight"), Success::default());
        assert_eq!(words_of("exit 1", true).await, "the script exited with status 1");
        assert_eq!(words_of("exit 2", false).await, "the script exited with status 2");
    }

    #[tokio::test]
    async fn what_hangs_and_what_is_missing_is_down_and_says_so() {
        let mut script = Script {
            command: Command {
                argv: ["/bin/sleep", "60"].map(str::to_owned).to_vec(),
                user: None,
                timeout: Some(Duration::from_millis(50)),
            },
            sets_weight: false,
        };
        let real = IpAddr::from([192, 0, 2, 21]);
        let failed = |result: Result<Success, Failure>| result.expect_err("it fails");
        let failure = failed(probe(&script, &Scripts::default(), real, Duration::from_secs(20)).await);
        assert_eq!((failure.to_string().as_str(), failure.counts()), ("timed out after 50 ms", true));
        script.command = Command { argv: vec!["/nowhere/pidof".to_owned()], user: None, timeout: None };
        let failure = failed(probe(&script, &Scripts::default(), real, Duration::from_secs(20)).await);
        assert!(failure.counts());
        assert!(failure.to_string().starts_with("script /nowhere/pidof refused: /nowhere does not exist"));
    }
}
