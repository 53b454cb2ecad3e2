//! The objects of a repository, told by one git that stays.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::git::GitError;

/// Bytes that are kept of what git says when it ends.
const MOST_WORDS: u64 = 16 << 10;

/// An object of the repository.
pub(super) struct Object {
    pub(super) id: String,
    pub(super) content: Vec<u8>,
}

/// A `git cat-file --batch` at work: it answers one question after the other.
#[derive(Debug)]
pub(super) struct Objects {
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    errors: Option<File>,
}

impl Objects {
    pub(super) fn begin(mut command: Command) -> Result<Self, GitError> {
        // A file takes whatever it says, also where nobody reads it.
        let errors = tempfile::tempfile().ok();
        let into = errors.as_ref().and_then(|file| file.try_clone().ok());
        command.stderr(into.map_or_else(Stdio::null, Stdio::from));
        let mut child = command.spawn().map_err(|error| GitError::NotStarted(error.to_string()))?;
        let (questions, answers) = (child.stdin.take(), child.stdout.take());
        let answers = answers.ok_or(GitError::Unreadable { command: "cat-file --batch" })?;
        Ok(Self { child, questions, answers: BufReader::with_capacity(1 << 16, answers), errors })
    }

    /// The object that a line of text names; `None` where there is none.
    pub(super) fn ask(&mut self, name: &str) -> std::io::Result<Option<Object>> {
        let ended = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        self.questions.as_mut().ok_or_else(ended)?.write_all(format!("{name}\n").as_bytes())?;
        // `<id> <type> <size>`, the content, a line feed; `<name> missing`, or another word, where there is no such
        // object.
        let mut header = String::new();
        self.answers.read_line(&mut header)?;
        let header = header.strip_suffix('\n').ok_or_else(ended)?;
        let mut fields = header.split(' ');
        let (Some(id), Some(_), Some(Ok(size)), None) =
            (fields.next(), fields.next(), fields.next().map(str::parse::<usize>), fields.next())
        else {
            return Ok(None);
        };
        let mut content = vec![0; size];
        self.answers.read_exact(&mut content)?;
        self.answers.read_exact(&mut [0])?;
        Ok(Some(Object { id: id.to_owned(), content }))
    }

    /// What it said where it ended before it answered.
    pub(super) fn last_words(mut self) -> String {
        drop(self.questions.take());
        let _ = self.child.wait();
        let mut said = Vec::new();
        if let Some(errors) = &mut self.errors
            && errors.rewind().is_ok()
        {
            let _ = errors.take(MOST_WORDS).read_to_end(&mut said);
        }
        String::from_utf8_lossy(&said).trim().to_owned()
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        // Without another question it ends.
        drop(self.questions.take());
        let _ = self.child.wait();
    }
}
