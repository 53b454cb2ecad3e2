//! Child processes. A command comes in; what goes out is how it ended. Each child leads a process group of its own,
//! has its own temporary folder, no stdin, and writes into a file: nothing of what it prints passes through memory.
//! When the run is cancelled, or the future is dropped, the whole group ends.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use tokio_util::sync::CancellationToken;

/// How long a group may take to end on SIGTERM before SIGKILL follows.
const GRACE: Duration = Duration::from_secs(2);

/// The most of what a child prints that [`Command::output`] reads, in bytes.
const MAX_OUTPUT: u64 = 8 * 1024 * 1024;

/// One command: run without a shell.
#[derive(Clone)]
pub(crate) struct Command {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) dir: PathBuf,
    /// The whole environment: nothing else is inherited.
    pub(crate) env: Vec<(OsString, OsString)>,
}

/// How a child ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ended {
    /// On its own.
    Exited(ExitStatus),
    /// Killed, because the run was cancelled.
    Cancelled,
}

/// What a short command printed.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) ended: Ended,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Command {
    /// Runs the command with a temporary folder of its own, and stdout and stderr in `log` (made anew, with the folders
    /// above it).
    pub(crate) async fn run(&self, log: &Path, cancel: &CancellationToken) -> io::Result<Ended> {
        self.run_with(temporary_folder()?.path(), log, cancel).await
    }

    /// As [`Command::run`], with this temporary folder.
    pub(crate) async fn run_with(&self, temporary: &Path, log: &Path, cancel: &CancellationToken) -> io::Result<Ended> {
        if let Some(parent) = log.parent() {
            fs_err::create_dir_all(parent)?;
        }
        let file = fs_err::File::create(log)?.into_parts().0;
        self.run_into(temporary, file.try_clone()?.into(), file.into(), cancel).await
    }

    /// Runs a command that prints little, and reads it.
    pub(crate) async fn output(&self, cancel: &CancellationToken) -> io::Result<Output> {
        let (mut stdout, mut stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
        let temporary = temporary_folder()?;
        let ended =
            self.run_into(temporary.path(), stdout.try_clone()?.into(), stderr.try_clone()?.into(), cancel).await?;
        Ok(Output { ended, stdout: read(&mut stdout)?, stderr: read(&mut stderr)? })
    }

    async fn run_into(
        &self,
        temporary: &Path,
        stdout: Stdio,
        stderr: Stdio,
        cancel: &CancellationToken,
    ) -> io::Result<Ended> {
        if cancel.is_cancelled() {
            return Ok(Ended::Cancelled);
        }
        let mut command = std::process::Command::new(&self.program);
        command
            .args(&self.args)
            .current_dir(&self.dir)
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        command.envs(["TMPDIR", "TMP", "TEMP"].map(|name| (name, temporary)));
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr).process_group(0);
        let group = Group { child: command.spawn()?, reaped: false };
        tokio::select! {
            ended = group.leader_ended() => ended?,
            () = cancel.cancelled() => {
                group.signal(Signal::TERM);
                // Whether it ended or not: what is left of the group is killed when `group` is dropped.
                let _ = tokio::time::timeout(GRACE, group.leader_ended()).await;
                return Ok(Ended::Cancelled);
            }
        }
        group.reap().map(Ended::Exited)
    }
}

/// A temporary folder for one child: some programs use fixed names in it. Outside the repository, so that nothing that
/// is unpacked there takes itself for a part of the workspace.
pub(crate) fn temporary_folder() -> io::Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix("rhdh-pack-").tempdir()
}

fn read(file: &mut std::fs::File) -> io::Result<String> {
    use std::io::{Read as _, Seek as _};
    let mut bytes = Vec::new();
    file.rewind()?;
    file.take(MAX_OUTPUT).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A process group. Until its leader is reaped, no other process can get the group's number, so that a signal never
/// hits a stranger; hence the leader is waited for without reaping it, and reaped only after the last signal.
#[derive(Debug)]
struct Group {
    child: std::process::Child,
    reaped: bool,
}

impl Group {
    fn leader(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }

    /// Waits for the leader's end. Should this future be dropped, its thread ends with the leader.
    async fn leader_ended(&self) -> io::Result<()> {
        let Some(leader) = self.leader() else { return Ok(()) };
        let wait = move || {
            rustix::io::retry_on_intr(|| {
                rustix::process::waitid(WaitId::Pid(leader), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
            })
        };
        tokio::task::spawn_blocking(wait).await.map_err(io::Error::other)??;
        Ok(())
    }

    /// Signals every process of the group. That none is left is no error.
    fn signal(&self, signal: Signal) {
        if let Some(leader) = self.leader() {
            let _ = rustix::process::kill_process_group(leader, signal);
        }
    }

    /// Kills what the leader left behind, and gives the leader's status.
    fn reap(mut self) -> io::Result<ExitStatus> {
        self.signal(Signal::KILL);
        self.reaped = true;
        self.child.wait()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.reaped {
            self.signal(Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn sh(script: &str, dir: &Path) -> Command {
        let env = vec![("PATH".into(), std::env::var_os("PATH").unwrap())];
        Command { program: "/bin/sh".into(), args: vec!["-c".into(), script.into()], dir: dir.to_owned(), env }
    }

    /// Waits until the children wrote their process ids into `pids`, then gives them.
    async fn pids(file: &Path, count: usize) -> Vec<Pid> {
        loop {
            let text = fs_err::read_to_string(file).unwrap_or_default();
            let pids: Vec<_> = text.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)).collect();
            if pids.len() == count && text.ends_with('\n') {
                return pids;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// True where the process is gone, or is a zombie whose new parent has not looked at it yet.
    fn is_gone(pid: Pid) -> bool {
        fs_err::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))
            .map_or(true, |stat| stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z')))
    }

    async fn all_gone(pids: &[Pid]) {
        while !pids.iter().all(|pid| is_gone(*pid)) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// A child that ignores SIGTERM, with a grandchild that does so too.
    const STUBBORN: &str = r#"trap "" TERM; (trap "" TERM; sh -c 'echo $$ >> pids; while :; do sleep 1; done') & echo $$ >> pids; while :; do sleep 1; done"#;

    #[tokio::test]
    async fn exit_status_and_output() {
        let dir = tempfile::tempdir().unwrap();
        let cancel = CancellationToken::new();
        let output =
            sh("echo out; echo err >&2; test -d \"$TMPDIR\" && exit 3", dir.path()).output(&cancel).await.unwrap();
        assert!(matches!(output.ended, Ended::Exited(status) if status.code() == Some(3)), "{output:?}");
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"));
        let log = dir.path().join("a/b.log");
        sh("echo out; echo err >&2; echo $TMPDIR > tmp", dir.path()).run(&log, &cancel).await.unwrap();
        assert_eq!(fs_err::read_to_string(log).unwrap(), "out\nerr\n");
        let temporary = fs_err::read_to_string(dir.path().join("tmp")).unwrap();
        assert!(!Path::new(temporary.trim()).exists(), "the child's TMPDIR is removed");
    }

    #[tokio::test]
    async fn cancelled_with_grandchildren_that_ignore_sigterm() {
        let dir = tempfile::tempdir().unwrap();
        let cancel = CancellationToken::new();
        let (command, log, file) = (sh(STUBBORN, dir.path()), dir.path().join("log"), dir.path().join("pids"));
        let (ended, (pids, started)) = tokio::join!(command.run(&log, &cancel), async {
            let pids = pids(&file, 2).await;
            cancel.cancel();
            (pids, Instant::now())
        });
        assert!(matches!(ended.unwrap(), Ended::Cancelled));
        assert!(started.elapsed() >= GRACE, "SIGTERM first");
        all_gone(&pids).await;
    }

    #[tokio::test]
    async fn dropped_in_the_middle() {
        let dir = tempfile::tempdir().unwrap();
        let cancel = CancellationToken::new();
        let (command, log, file) = (sh(STUBBORN, dir.path()), dir.path().join("log"), dir.path().join("pids"));
        let pids = tokio::select! {
            _ = command.run(&log, &cancel) => unreachable!("it never ends on its own"),
            pids = pids(&file, 2) => pids,
        };
        all_gone(&pids).await;
    }

    #[tokio::test]
    async fn what_a_child_leaves_behind_ends_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let command =
            sh("sh -c 'echo $$ >> pids; while :; do sleep 1; done' & while ! test -s pids; do :; done", dir.path());
        let ended = command.run(&dir.path().join("log"), &CancellationToken::new()).await.unwrap();
        assert!(matches!(ended, Ended::Exited(status) if status.success()));
        all_gone(&pids(&dir.path().join("pids"), 1).await).await;
    }
}
