//! A conversation in a file: what was asked and answered, and its session, where that can be written.
//!
//! ```text
//! magic (19 bytes)   version (4)   xxh3 of what follows before the snapshot (8)
//! size of the snapshot (8)   xxh3 of the snapshot (8)   size of the header (8)   header, as JSON
//! values of inputs and results, in the header's order   the session's snapshot, to the end
//! ```
//!
//! Integers are little-endian. A text is written as UTF-8 and bytes as they are, so that large ones are read
//! at the speed of the disk; other values as JSON, without loss. The checksums find damage, and there are two
//! so that two threads can read a large file. They are no signature: a file is as trustworthy as the
//! directory that it lies in.

use std::{
    fs::File,
    hash::Hasher as _,
    io::{self, BufWriter, Read, Write},
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use super::questions::{EarlierQuestions, PastQuestion, Questions};
use crate::{
    error::{Error, ErrorKind, Result},
    interpreter::ChangedVariable,
    model::Usage,
    signature::TaskSignature,
    status::Status,
    value::Value,
    whole_file::replace_whole,
};

const MAGIC: &[u8; 19] = b"abyme-conversation\n";
const VERSION: u32 = 2;

/// What a file holds.
#[derive(Debug, PartialEq)]
pub(super) struct FileContent {
    pub(super) questions: Questions,
    pub(super) session: Option<SessionBytes>,
}

/// A session as bytes, and what is in it.
#[derive(Debug, PartialEq)]
pub(super) struct SessionBytes {
    /// The inputs and results that it holds, by name.
    pub(super) holds: Vec<String>,
    pub(super) snapshot: Bytes,
}

#[derive(Serialize, Deserialize)]
struct ConversationHeader {
    /// Version of Abyme, for people who look.
    abyme: String,
    signature: String,
    told: EarlierQuestions,
    usage: Usage,
    questions: Vec<QuestionHeader>,
    /// What the session holds; absent without a snapshot.
    holds: Option<Vec<String>>,
}

#[derive(Serialize, Deserialize)]
struct QuestionHeader {
    inputs: Vec<ValueHeader>,
    outputs: Option<Vec<ValueHeader>>,
    status: Option<Status>,
    usage: Usage,
    made: Vec<ChangedVariable>,
}

#[derive(Serialize, Deserialize)]
struct ValueHeader {
    name: String,
    form: ValueForm,
    bytes: u64,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ValueForm {
    Text,
    Bytes,
    Json,
}

/// Writes a file that only its owner may read, and puts it in the place of one of that name once it is whole
/// and on the disk. Gives its size.
pub(super) fn write(path: &Path, signature: &TaskSignature, content: &FileContent) -> Result<u64> {
    let encoded = encode(signature, content).map_err(|error| {
        Error::new(ErrorKind::Internal, format!("the conversation cannot be written down: {error}"))
            .with_source(error)
    })?;
    let mut size = 0;
    let written = replace_whole(path, |file| {
        let mut out = BufWriter::new(file);
        size = write_to(&mut out, &encoded)?;
        out.flush()
    });
    written.map(|()| size).map_err(|error| {
        Error::new(ErrorKind::Io, format!("cannot write the conversation to {}: {error}", path.display()))
            .with_source(error)
    })
}

/// The parts of a file after its checksum.
struct EncodedFile<'a> {
    header: Vec<u8>,
    values: Vec<EncodedValue<'a>>,
    snapshot: &'a [u8],
}

enum EncodedValue<'a> {
    Raw(&'a [u8]),
    Json(Vec<u8>),
}

impl EncodedValue<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Raw(bytes) => bytes,
            Self::Json(bytes) => bytes,
        }
    }
}

fn encode<'a>(signature: &TaskSignature, content: &'a FileContent) -> serde_json::Result<EncodedFile<'a>> {
    let mut values = Vec::new();
    let mut headers = |named: &'a IndexMap<String, Value>| -> serde_json::Result<Vec<ValueHeader>> {
        let mut headers = Vec::new();
        for (name, value) in named {
            let (form, encoded) = match value {
                Value::Text(text) => (ValueForm::Text, EncodedValue::Raw(text.as_bytes())),
                Value::Bytes(bytes) => (ValueForm::Bytes, EncodedValue::Raw(bytes)),
                other => (ValueForm::Json, EncodedValue::Json(serde_json::to_vec(other)?)),
            };
            headers.push(ValueHeader { name: name.clone(), form, bytes: encoded.bytes().len() as u64 });
            values.push(encoded);
        }
        Ok(headers)
    };
    let mut questions = Vec::new();
    for question in &content.questions.past {
        questions.push(QuestionHeader {
            inputs: headers(&question.inputs)?,
            outputs: question.outputs.as_ref().map(&mut headers).transpose()?,
            status: question.status,
            usage: question.usage,
            made: question.made.clone(),
        });
    }
    let header = ConversationHeader {
        abyme: env!("CARGO_PKG_VERSION").to_owned(),
        signature: signature.to_string(),
        told: content.questions.told,
        usage: content.questions.usage,
        questions,
        holds: content.session.as_ref().map(|session| session.holds.clone()),
    };
    let snapshot = content.session.as_ref().map_or(&[][..], |session| &session.snapshot);
    Ok(EncodedFile { header: serde_json::to_vec(&header)?, values, snapshot })
}

fn write_to(out: &mut impl Write, encoded: &EncodedFile<'_>) -> io::Result<u64> {
    let snapshot = encoded.snapshot;
    let sizes = [snapshot.len() as u64, XxHash3_64::oneshot(snapshot), encoded.header.len() as u64];
    let sizes = sizes.map(u64::to_le_bytes).concat();
    let values = encoded.values.iter().map(EncodedValue::bytes);
    let body: Vec<&[u8]> = [&sizes[..], &encoded.header].into_iter().chain(values).collect();
    let mut sum = XxHash3_64::new();
    body.iter().for_each(|part| sum.write(part));
    let sum = sum.finish().to_le_bytes();
    let mut size = 0;
    let start = [&MAGIC[..], &VERSION.to_le_bytes(), &sum];
    for part in start.into_iter().chain(body).chain([snapshot]) {
        out.write_all(part)?;
        size += part.len() as u64;
    }
    Ok(size)
}

/// A file whose header is read, and that is of a conversation over the signature asked for. The two parts of
/// what it holds can be read by two threads.
pub(super) struct OpenFile {
    pub(super) questions: UnreadQuestions,
    pub(super) session: UnreadSession,
}

/// Questions in a file.
pub(super) struct UnreadQuestions {
    values: Part,
    headers: Vec<QuestionHeader>,
    told: EarlierQuestions,
    usage: Usage,
}

/// The session in a file, if there is one.
pub(super) struct UnreadSession {
    snapshot: Part,
    holds: Option<Vec<String>>,
}

/// Reads the header of a file of a conversation over `signature`.
pub(super) fn open(path: &Path, signature: &TaskSignature) -> Result<OpenFile> {
    let FileParts { header, values, snapshot } = parts(path)?;
    let header = header.and_then(|header| {
        let other = &header.signature;
        if *other != signature.to_string() {
            let problem =
                format!("it is of a task with the signature `{other}`, and this one has `{signature}`");
            return Err(problem.into());
        }
        Ok(header)
    });
    match header {
        Ok(ConversationHeader { questions: headers, told, usage, holds, .. }) => Ok(OpenFile {
            questions: UnreadQuestions { values, headers, told, usage },
            session: UnreadSession { snapshot, holds },
        }),
        Err(problem) => values.checked(Err(problem)).map_err(|problem| named(path, problem)),
    }
}

impl UnreadQuestions {
    pub(super) fn read(mut self) -> Result<Questions> {
        let path = self.values.path.clone();
        let past = self.past();
        let past = self.values.checked(past).map_err(|problem| named(&path, problem))?;
        Ok(Questions { past, told: self.told, usage: self.usage })
    }

    fn past(&mut self) -> Result<Vec<PastQuestion>, ReadProblem> {
        let mut values = |headers: Vec<ValueHeader>| -> Result<IndexMap<String, Value>, ReadProblem> {
            headers.into_iter().map(|header| value(header, &mut self.values)).collect()
        };
        let mut past = Vec::new();
        for question in std::mem::take(&mut self.headers) {
            past.push(PastQuestion {
                inputs: values(question.inputs)?,
                outputs: question.outputs.map(&mut values).transpose()?,
                status: question.status,
                usage: question.usage,
                made: question.made,
            });
        }
        Ok(past)
    }
}

impl UnreadSession {
    pub(super) fn read(mut self) -> Result<Option<SessionBytes>> {
        let path = self.snapshot.path.clone();
        let bytes = self.snapshot.take(self.snapshot.len());
        let snapshot = self.snapshot.checked(bytes).map_err(|problem| named(&path, problem))?;
        Ok(self.holds.map(|holds| SessionBytes { holds, snapshot: snapshot.into() }))
    }

    /// The session's bytes as they are asked for, and what it holds, if there is one.
    pub(super) fn reader(self) -> (SessionReader, Option<Vec<String>>) {
        (SessionReader(Arc::new(Mutex::new(self.snapshot))), self.holds)
    }
}

/// Reads the bytes of a session. Clones read the same ones.
#[derive(Clone)]
pub(super) struct SessionReader(Arc<Mutex<Part>>);

impl SessionReader {
    fn part(&self) -> MutexGuard<'_, Part> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what is left, and compares the checksum of all of it.
    pub(super) fn finish(self) -> Result<()> {
        let mut part = self.part();
        part.finish().map_err(|problem| named(&part.path, problem))
    }
}

impl Read for SessionReader {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut part = self.part();
        let len = usize::try_from(part.len()).map_or(bytes.len(), |left| left.min(bytes.len()));
        match part.fill(&mut bytes[..len]) {
            Ok(()) => Ok(len),
            Err(ReadProblem::Io(error)) => Err(error),
            Err(ReadProblem::Content(problem)) => Err(io::Error::other(problem)),
        }
    }
}

/// Reads a file of a conversation over `signature`.
pub(super) fn read(path: &Path, signature: &TaskSignature) -> Result<FileContent> {
    let OpenFile { questions, session } = open(path, signature)?;
    Ok(FileContent { questions: questions.read()?, session: session.read()? })
}

/// The signature of the conversation in a file, as a text.
pub(super) fn read_signature(path: &Path) -> Result<String> {
    let FileParts { header, mut values, mut snapshot } = parts(path)?;
    let whole = values.finish().and_then(|()| snapshot.finish());
    whole.and(header).map(|header| header.signature).map_err(|problem| named(path, problem))
}

/// What went wrong with a file.
fn named(path: &Path, problem: ReadProblem) -> Error {
    match problem {
        ReadProblem::Io(error) => {
            Error::new(ErrorKind::Io, format!("cannot read the conversation {}: {error}", path.display()))
                .with_source(error)
        }
        ReadProblem::Content(problem) => {
            let message = format!("the conversation {} cannot be read: {problem}", path.display());
            Error::new(ErrorKind::InvalidInput, message)
        }
    }
}

/// Why a file is not read.
#[derive(Debug)]
enum ReadProblem {
    Io(io::Error),
    /// What is wrong with what it holds.
    Content(String),
}

impl From<io::Error> for ReadProblem {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<String> for ReadProblem {
    fn from(problem: String) -> Self {
        Self::Content(problem)
    }
}

fn early() -> String {
    "it ends early".to_owned()
}

fn damaged() -> ReadProblem {
    "it is damaged: its checksum is wrong".to_owned().into()
}

/// How many bytes are read before their checksum is taken: they are in the processor's cache still.
const CHUNK: usize = 512 << 10;

/// A part of a file, which goes into its checksum as it is read. What is in it is read to where it stays: to
/// copy large values takes as long as all else.
struct Part {
    file: Arc<File>,
    path: PathBuf,
    /// The bytes that are not read yet.
    left: Range<u64>,
    /// The checksum of those that are.
    sum: XxHash3_64,
    /// What the checksum of all must be.
    expected: u64,
}

impl Part {
    fn len(&self) -> u64 {
        self.left.end.saturating_sub(self.left.start)
    }

    /// Reads the next `len` bytes. If they are not there, nothing is left.
    fn take(&mut self, len: u64) -> Result<Vec<u8>, ReadProblem> {
        let Some(len) = usize::try_from(len).ok().filter(|_| len <= self.len()) else {
            return Err(early().into());
        };
        let mut bytes = vec![0; len];
        bytes.chunks_mut(CHUNK).try_for_each(|chunk| self.fill(chunk))?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), ReadProblem> {
        let mut filled = 0;
        while filled < bytes.len() {
            match read_at(&self.file, &mut bytes[filled..], self.left.start) {
                Ok(0) => {
                    self.left.end = self.left.start;
                    return Err(early().into());
                }
                Ok(read) => (filled, self.left.start) = (filled + read, self.left.start + read as u64),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.sum.write(bytes);
        Ok(())
    }

    fn header(&mut self) -> Result<ConversationHeader, ReadProblem> {
        let len = self.take_u64()?;
        let header = self.take(len)?;
        Ok(serde_json::from_slice(&header).map_err(|error| format!("its header is not readable: {error}"))?)
    }

    fn take_u64(&mut self) -> Result<u64, ReadProblem> {
        let bytes = self.take(8)?;
        Ok(u64::from_le_bytes(*bytes.first_chunk().ok_or_else(early)?))
    }

    /// What was made of the part, if its checksum is right: what is made of a damaged one, errors too, is
    /// dropped.
    fn checked<T>(mut self, made: Result<T, ReadProblem>) -> Result<T, ReadProblem> {
        match made {
            Err(ReadProblem::Io(error)) => Err(error.into()),
            made => self.finish().and(made),
        }
    }

    /// Reads the rest, and compares the checksum of all of it.
    fn finish(&mut self) -> Result<(), ReadProblem> {
        let mut bytes = Vec::new();
        while !self.left.is_empty() {
            let len = usize::try_from(self.len()).map_or(CHUNK, |left| left.min(CHUNK));
            bytes.resize(len, 0);
            match self.fill(&mut bytes) {
                Err(ReadProblem::Content(_)) => return Err(damaged()),
                filled => filled?,
            }
        }
        if self.sum.finish() == self.expected { Ok(()) } else { Err(damaged()) }
    }
}

/// Reads bytes of a file from `at` on.
fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<usize> {
    #[cfg(unix)]
    let read = std::os::unix::fs::FileExt::read_at(file, bytes, at);
    #[cfg(windows)]
    let read = std::os::windows::fs::FileExt::seek_read(file, bytes, at);
    read
}

/// The parts of a file.
struct FileParts {
    /// The header, from before the checksum is known: what is wrong with it counts where that is right.
    header: Result<ConversationHeader, ReadProblem>,
    /// What follows it before the snapshot.
    values: Part,
    snapshot: Part,
}

/// Finds the parts of a file.
fn parts(path: &Path) -> Result<FileParts> {
    // Reading a device or a pipe might not end.
    if path.metadata().is_ok_and(|status| !status.is_file() && !status.is_dir()) {
        let message = format!("the conversation {} cannot be read: it is no regular file", path.display());
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    let found = File::open(path).map_err(ReadProblem::Io).and_then(|file| parts_of(file, path));
    found.map_err(|problem| named(path, problem))
}

fn parts_of(file: File, path: &Path) -> Result<FileParts, ReadProblem> {
    let len = file.metadata()?.len();
    let file = Arc::new(file);
    let part = |left, expected| {
        let (file, path) = (file.clone(), path.to_path_buf());
        Part { file, path, left, sum: XxHash3_64::new(), expected }
    };
    let mut start = part(0..len, 0);
    match start.take(MAGIC.len() as u64) {
        Ok(magic) if magic == MAGIC => {}
        Err(ReadProblem::Io(error)) => return Err(error.into()),
        _ => return Err("this is no conversation of Abyme".to_owned().into()),
    }
    let version = u32::from_le_bytes(*start.take(4)?.first_chunk().ok_or_else(early)?);
    if version != VERSION {
        let problem =
            format!("it has version {version} of the format, and this program reads version {VERSION}");
        return Err(problem.into());
    }
    let sum = start.take_u64()?;
    let mut values = part(start.left, sum);
    let (size, snapshot_sum) = (values.take_u64()?, values.take_u64()?);
    let snapshot_at = len.checked_sub(size).filter(|at| *at >= values.left.start).ok_or_else(damaged)?;
    values.left.end = snapshot_at;
    let header = values.header();
    Ok(FileParts { header, values, snapshot: part(snapshot_at..len, snapshot_sum) })
}

/// Reads a value, and gives it with its name.
fn value(header: ValueHeader, body: &mut Part) -> Result<(String, Value), ReadProblem> {
    let bytes = body.take(header.bytes)?;
    let value = match header.form {
        ValueForm::Text => String::from_utf8(bytes).map(Value::from).map_err(|error| error.to_string()),
        ValueForm::Bytes => Ok(Value::Bytes(bytes.into())),
        ValueForm::Json => serde_json::from_slice(&bytes).map_err(|error| error.to_string()),
    };
    let value = value.map_err(|error| format!("the value of `{}` is not readable: {error}", header.name))?;
    Ok((header.name, value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Where the first checksum lies.
    const SUM_AT: usize = MAGIC.len() + 4;
    /// Where what it covers begins.
    const BODY_AT: usize = SUM_AT + 8;

    fn signature() -> TaskSignature {
        "docs, rows -> answer".parse().unwrap()
    }

    fn content() -> FileContent {
        let inputs = IndexMap::from([
            ("docs".to_owned(), Value::from("naïve\n".repeat(100))),
            ("rows".to_owned(), Value::list([Value::from(1), Value::Float(f64::INFINITY), Value::None])),
        ]);
        let outputs = IndexMap::from([("answer".to_owned(), Value::Bytes(Bytes::from_static(b"\0\xff")))]);
        let answered = PastQuestion {
            inputs,
            outputs: Some(outputs),
            status: Some(Status::Submitted),
            usage: Usage::tokens(3, 4),
            made: vec![ChangedVariable::new("n", "int", "int")],
        };
        let past = vec![answered, PastQuestion::default()];
        let questions =
            Questions { past, told: EarlierQuestions { unlisted: 1, lost: 0 }, usage: Usage::tokens(3, 4) };
        let session = SessionBytes { holds: vec!["docs".into()], snapshot: Bytes::from_static(b"a session") };
        FileContent { questions, session: Some(session) }
    }

    fn written() -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.conversation");
        write(&path, &signature(), &content()).unwrap();
        (directory, path)
    }

    #[test]
    fn what_is_written_reads_back_and_is_its_owners_alone() {
        let (directory, path) = written();
        assert_eq!(read(&path, &signature()).unwrap(), content());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        // It is replaced as a whole, and nothing else is left.
        let without = FileContent { session: None, ..content() };
        write(&path, &signature(), &without).unwrap();
        assert_eq!(read(&path, &signature()).unwrap(), without);
        assert_eq!(directory.path().read_dir().unwrap().count(), 1);
    }

    #[test]
    fn parts_that_are_read_in_several_steps_are_whole() {
        let (_directory, path) = written();
        let mut content = content();
        let text: String = (0..CHUNK / 3).map(|number| format!("{number:05}é")).collect();
        content.questions.past[0].inputs.insert("docs".to_owned(), Value::from(text));
        let snapshot = Bytes::from((0..2 * CHUNK + 1).map(|number| number as u8).collect::<Vec<_>>());
        content.session = Some(SessionBytes { holds: Vec::new(), snapshot });
        write(&path, &signature(), &content).unwrap();
        assert!(read(&path, &signature()).unwrap() == content);
        // Damage anywhere is found, also in what no value is made of.
        let bytes = std::fs::read(&path).unwrap();
        let places = [BODY_AT, BODY_AT + 7, BODY_AT + 10, BODY_AT + 20, bytes.len() / 3];
        for at in places.into_iter().chain([bytes.len() - CHUNK, bytes.len() - 1]) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            std::fs::write(&path, damaged).unwrap();
            for problem in [read(&path, &signature()).err(), read_signature(&path).err()] {
                assert!(problem.is_some_and(|error| error.message().contains("damaged")), "byte {at}");
            }
        }
    }

    #[test]
    fn a_session_is_read_as_it_is_asked_for() {
        let (_directory, path) = written();
        let reader = || open(&path, &signature()).unwrap().session.reader();
        let (mut session, holds) = reader();
        let (mut bytes, mut piece) = (Vec::new(), [0; 4]);
        while let read @ 1.. = session.read(&mut piece).unwrap() {
            bytes.extend_from_slice(&piece[..read]);
        }
        assert_eq!((&bytes[..], holds), (&b"a session"[..], Some(vec!["docs".to_owned()])));
        session.finish().unwrap();
        // What was not asked for is checked too.
        let mut file = std::fs::read(&path).unwrap();
        *file.last_mut().unwrap() ^= 1;
        std::fs::write(&path, file).unwrap();
        let (mut session, _) = reader();
        assert_eq!(session.read(&mut piece).unwrap(), 4);
        assert!(session.finish().is_err_and(|error| error.message().contains("damaged")));
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let (directory, path) = written();
        let bytes = std::fs::read(&path).unwrap();
        let refused = |bytes: &[u8], why: &str| {
            let path = directory.path().join("b");
            std::fs::write(&path, bytes).unwrap();
            let error = read(&path, &signature()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.message().contains(why), "{why}: {error}");
        };
        let mut newer = bytes.clone();
        newer[MAGIC.len()] = 3;
        refused(&newer, "version 3 of the format");
        refused(b"something else", "no conversation of Abyme");
        refused(&bytes[..bytes.len() - 1], "damaged");
        refused(&bytes[..bytes.len() / 2], "damaged");
        refused(&[&bytes[..], b"more"].concat(), "damaged");
        refused(&bytes[..MAGIC.len() + 2], "ends early");
        let other: TaskSignature = "docs -> answer".parse().unwrap();
        let error = read(&path, &other).unwrap_err();
        assert!(error.message().contains("`docs, rows -> answer`"), "{error}");
        assert_eq!(read(&directory.path().join("none"), &other).unwrap_err().kind(), ErrorKind::Io);
    }

    proptest! {
        #[test]
        fn no_damage_is_taken_for_a_conversation(at in 0usize..1 << 16, to in any::<u8>(), repaired: bool) {
            let (mut bytes, content) = (Vec::new(), content());
            write_to(&mut bytes, &encode(&signature(), &content).unwrap()).unwrap();
            let snapshot_at = bytes.len() - content.session.unwrap().snapshot.len();
            let at = at % bytes.len();
            let was = std::mem::replace(&mut bytes[at], to);
            if repaired {
                // What a hostile file would do.
                let sum = XxHash3_64::oneshot(&bytes[snapshot_at..]).to_le_bytes();
                bytes[BODY_AT + 8..BODY_AT + 16].copy_from_slice(&sum);
                let sum = XxHash3_64::oneshot(&bytes[BODY_AT..snapshot_at]).to_le_bytes();
                bytes[SUM_AT..BODY_AT].copy_from_slice(&sum);
            }
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), &bytes).unwrap();
            let parsed = read(file.path(), &signature());
            prop_assert!(repaired || was == to || parsed.is_err());
        }
    }
}
