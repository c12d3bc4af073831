//! What a guest was told that only its host knows, so that the same run can be repeated.
//!
//! A guest is deterministic: the same memory and the same answers give the same run. Of what preview 1
//! answers, most follows from the state of the system, which a checkpoint holds. The rest is recorded here:
//! the times of the host's clocks, its random bytes, and what the embedding program adds of its own imports.
//! Where an answer is not recorded (times of changed files, all that is read of a mount) the record says that
//! it is not complete.
//!
//! A digest of all calls with their arguments shows whether a run that was repeated is the same one.

use std::fmt;

/// The run of a guest, as far as it depends on its host.
///
/// Made by [`Wasi::record`](crate::Wasi::record) and [`Wasi::take_record`](crate::Wasi::take_record), and
/// used by [`Wasi::replay`](crate::Wasi::replay).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Of all calls, in order.
    digest: u64,
    /// Times, and numbers of the embedding program, in the order in which the guest asked.
    numbers: Vec<u64>,
    /// Random bytes, in the same way.
    random: Vec<u8>,
    /// The host's monotonic time at the end, in nanoseconds.
    monotonic: u64,
    /// How many bytes these take, with what the embedding program [held](Journal::hold).
    bytes: u64,
}

/// Records the run of a guest, or repeats a recorded one.
#[derive(Debug, Default)]
pub struct Journal {
    state: State,
    /// Of the calls since the run began.
    digest: u64,
}

#[derive(Debug, Default)]
enum State {
    /// Nothing is recorded.
    #[default]
    Off,
    /// All that the guest was told is in the record.
    Recording {
        record: Record,
        /// How many bytes it may take.
        limit: u64,
    },
    Replaying {
        record: Record,
        /// How many numbers and random bytes the guest was told.
        numbers: usize,
        random: usize,
        /// Whether the guest asked for more than was recorded, or would have been told something else.
        differs: bool,
    },
}

/// The guest does not do what it did in the run that it repeats. The error of the call into the guest
/// downcasts to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Differs;

impl fmt::Display for Differs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the guest does not do what it did when it was recorded")
    }
}

impl std::error::Error for Differs {}

impl Record {
    /// The record of a run that ended at this time of the host's monotonic clock, in nanoseconds.
    pub(super) fn ended_at(self, monotonic: u64) -> Self {
        Self { monotonic, ..self }
    }

    /// How many bytes it takes, with what the embedding program [held](Journal::hold) for it.
    pub fn size(&self) -> u64 {
        size_of::<Self>() as u64 + self.bytes
    }
}

impl Journal {
    /// Begins to record. The record may take `limit` bytes; one that would take more is not complete.
    pub(super) fn record(&mut self, limit: u64) {
        self.state = State::Recording { record: Record::default(), limit };
        self.digest = 0;
    }

    /// Begins to repeat a recorded run.
    pub(super) fn replay(&mut self, record: &Record) {
        self.state = State::Replaying { record: record.clone(), numbers: 0, random: 0, differs: false };
        self.digest = 0;
    }

    /// Ends recording. `None` if nothing was recorded, or not all that the guest was told.
    pub(super) fn take_record(&mut self) -> Option<Record> {
        match std::mem::take(&mut self.state) {
            State::Recording { record, .. } => Some(Record { digest: self.digest, ..record }),
            _ => None,
        }
    }

    /// Ends repeating. Returns the host's monotonic time at the recorded end, in nanoseconds, if the guest
    /// did what it did then.
    pub(super) fn end_replay(&mut self) -> Option<u64> {
        match std::mem::take(&mut self.state) {
            State::Replaying { record, numbers, random, differs } => {
                let all = numbers == record.numbers.len() && random == record.random.len();
                (all && !differs && self.digest == record.digest).then_some(record.monotonic)
            }
            _ => None,
        }
    }

    /// Whether a recorded run is repeated.
    pub fn is_replaying(&self) -> bool {
        matches!(self.state, State::Replaying { .. })
    }

    /// Whether calls are noted at all: without, and once the record cannot hold all, nobody need make a
    /// digest of what they pass.
    pub fn is_on(&self) -> bool {
        !matches!(self.state, State::Off)
    }

    /// Notes a call: which function, and what it passes or a digest of that.
    pub fn note(&mut self, function: u64, passed: &[u64]) {
        if self.is_on() {
            self.digest =
                passed.iter().fold(mixed(self.digest, function), |digest, word| mixed(digest, *word));
        }
    }

    /// A number that only the host knows: `now`, or the recorded one.
    ///
    /// # Errors
    /// [`Differs`] if no more were recorded.
    pub(super) fn number(&mut self, now: u64) -> Result<u64, Differs> {
        if let Some(told) = self.replayed_number() {
            return told;
        }
        self.keep_number(now);
        Ok(now)
    }

    /// The next recorded number, where a run is repeated.
    pub fn replayed_number(&mut self) -> Option<Result<u64, Differs>> {
        let State::Replaying { record, numbers, differs, .. } = &mut self.state else { return None };
        let told = record.numbers.get(*numbers).copied();
        *numbers += usize::from(told.is_some());
        *differs |= told.is_none();
        Some(told.ok_or(Differs))
    }

    /// Keeps a number that the guest is told, where a run is recorded.
    pub fn keep_number(&mut self, number: u64) {
        if self.hold(size_of::<u64>() as u64)
            && let State::Recording { record, .. } = &mut self.state
        {
            record.numbers.push(number);
        }
    }

    /// Fills `bytes` with random ones: those of `ask`, or the recorded ones.
    pub(super) fn random<E: From<Differs>>(
        &mut self,
        bytes: &mut [u8],
        ask: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if let State::Replaying { record, random, differs, .. } = &mut self.state {
            let Some(told) = record.random.get(*random..*random + bytes.len()) else {
                *differs = true;
                return Err(Differs.into());
            };
            bytes.copy_from_slice(told);
            *random += bytes.len();
            return Ok(());
        }
        if let Err(error) = ask(bytes) {
            // A failure cannot be replayed, so the recording ends.
            self.forget();
            return Err(error);
        }
        if self.hold(bytes.len() as u64)
            && let State::Recording { record, .. } = &mut self.state
        {
            record.random.extend_from_slice(bytes);
        }
        Ok(())
    }

    /// Takes room in the record for so many bytes that the embedding program keeps. Returns whether it is to
    /// keep them. If there is no room, the record is not complete from here on, and what it holds is dropped.
    pub fn hold(&mut self, bytes: u64) -> bool {
        let State::Recording { record, limit } = &mut self.state else { return false };
        record.bytes = record.bytes.saturating_add(bytes);
        let fits = record.bytes <= *limit;
        if !fits {
            self.forget();
        }
        fits
    }

    /// Notes that the guest is told something that is not recorded.
    pub fn forget(&mut self) {
        match &mut self.state {
            State::Off => {}
            State::Recording { .. } => self.state = State::Off,
            // There was no such thing in the run that is repeated, or it would have no record.
            State::Replaying { differs, .. } => *differs = true,
        }
    }

    /// Fails once the guest has asked for more than was recorded.
    pub(super) fn check(&self) -> Result<(), Differs> {
        match self.state {
            State::Replaying { differs: true, .. } => Err(Differs),
            _ => Ok(()),
        }
    }
}

/// A digest with one more word.
fn mixed(digest: u64, word: u64) -> u64 {
    (digest.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The number of a function for [`Journal::note`], of its name.
pub const fn function_number(name: &str) -> u64 {
    let (bytes, mut number, mut at) = (name.as_bytes(), 0xcbf2_9ce4_8422_2325_u64, 0);
    while at < bytes.len() {
        number = (number ^ bytes[at] as u64).wrapping_mul(0x100_0000_01b3);
        at += 1;
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(journal: &mut Journal, number: u64) -> Result<u64, Differs> {
        journal.number(number)
    }

    fn random(journal: &mut Journal, byte: u8, len: usize) -> Result<Vec<u8>, Differs> {
        let mut bytes = vec![0; len];
        journal.random(&mut bytes, |bytes| {
            bytes.fill(byte);
            Ok::<_, Differs>(())
        })?;
        Ok(bytes)
    }

    fn recorded() -> Record {
        let mut journal = Journal::default();
        journal.record(1000);
        journal.note(1, &[2, 3]);
        assert_eq!(ask(&mut journal, 7), Ok(7));
        assert_eq!(random(&mut journal, 8, 3).unwrap(), [8; 3]);
        journal.note(4, &[]);
        assert_eq!(ask(&mut journal, 9), Ok(9));
        journal.take_record().unwrap()
    }

    /// Repeats it with these calls, and asks for so much.
    fn repeated(calls: &[(u64, &[u64])], numbers: usize, bytes: usize) -> bool {
        let mut journal = Journal::default();
        journal.replay(&recorded());
        for (function, passed) in calls {
            journal.note(*function, passed);
        }
        for number in 0..numbers {
            assert_eq!(ask(&mut journal, 0), [7, 9].get(number).copied().ok_or(Differs));
        }
        assert_eq!(random(&mut journal, 0, bytes).is_ok(), bytes <= 3);
        assert_eq!(journal.check().is_err(), numbers > 2 || bytes > 3);
        journal.end_replay().is_some()
    }

    #[test]
    fn a_run_is_repeated() {
        assert!(repeated(&[(1, &[2, 3]), (4, &[])], 2, 3));
    }

    #[test]
    fn a_run_that_differs_is_noticed() {
        assert!(!repeated(&[(1, &[2, 3]), (4, &[])], 1, 3), "less is asked");
        assert!(!repeated(&[(1, &[2, 3]), (4, &[])], 3, 3), "more is asked");
        assert!(!repeated(&[(1, &[2, 3]), (4, &[])], 2, 2), "fewer random bytes");
        assert!(!repeated(&[(1, &[2, 3]), (4, &[])], 2, 4), "more random bytes");
        assert!(!repeated(&[(1, &[2, 4]), (4, &[])], 2, 3), "another argument");
        assert!(!repeated(&[(4, &[]), (1, &[2, 3])], 2, 3), "another order");
        assert!(!repeated(&[(1, &[2, 3])], 2, 3), "a call is missing");
        assert!(!repeated(&[(1, &[2]), (4, &[])], 2, 3), "an argument is missing");
    }

    #[test]
    fn a_record_is_bounded() {
        let mut journal = Journal::default();
        journal.record(100);
        assert!(journal.hold(50));
        assert_eq!(random(&mut journal, 1, 60).unwrap(), [1; 60], "the guest gets them all the same");
        assert!(!journal.hold(1) && !journal.is_on());
        assert_eq!(journal.take_record(), None);
        journal.record(100);
        journal.forget();
        assert_eq!(ask(&mut journal, 1), Ok(1));
        assert_eq!(journal.take_record(), None);
    }

    #[test]
    fn a_failure_is_not_recorded() {
        let mut journal = Journal::default();
        journal.record(100);
        assert_eq!(journal.random(&mut [0], |_| Err(Differs)), Err(Differs));
        assert_eq!(journal.take_record(), None);
    }

    #[test]
    fn what_is_not_recorded_is_no_part_of_a_repeated_run() {
        let mut journal = Journal::default();
        journal.record(100);
        journal.note(1, &[]);
        let record = journal.take_record().unwrap();
        for forgets in [false, true] {
            journal.replay(&record);
            journal.note(1, &[]);
            if forgets {
                journal.forget();
            }
            assert_eq!(journal.end_replay().is_none(), forgets);
        }
    }

    #[test]
    fn nothing_is_recorded_unless_asked_for() {
        let mut journal = Journal::default();
        assert_eq!(ask(&mut journal, 1), Ok(1));
        assert!(!journal.hold(0) && !journal.is_on());
        assert_eq!(journal.take_record(), None);
        assert_eq!(journal.end_replay(), None);
    }
}
