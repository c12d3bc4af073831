//! C16: a session saved to bytes goes on from there, or not at all.

use std::io::{self, Cursor, Read};

use abyme_core::{ErrorKind, Value, Via};

use crate::{
    case::cases,
    harness::Snapshot,
    host::Host,
    observed::assert_same,
    result::{fail, skip},
    session::SessionUnderTest,
};

cases! {
    theme c16_snapshots, clause 16;

    /// C16: a restored session has the variables, functions, classes and imports of the saved one.
    #[needs(Snapshot)]
    async fn everything_is_restored(s) {
        s.set("given", "from the host").await;
        s.run(
            r#"
                import math, decimal as d
                rate = 2
                def cost(n): return n * rate
                class Unit:
                    def __init__(self, name): self.name = name
                unit = Unit('m')
                rows = [1, 2]
                same_rows = rows
            "#,
        )
        .await
        .ok();
        let saved = s.snapshot().await;
        let mut restored = s.restore(&saved).await;
        restored
            .run("(given, cost(3), unit.name, isinstance(unit, Unit), rows is same_rows)")
            .await
            .value_is("('from the host', 6, 'm', True, True)");
        restored.run("(math.floor(1.5), d.Decimal('1.5'))").await.value_is("(1, Decimal('1.5'))");
        restored.run("1\ncost(0) / 0").await.raises("ZeroDivisionError").line_is(2);
        restored.in_step().await;
        s.in_step().await;
    }

    /// C16: the same bytes can be restored several times, into sessions that share nothing.
    #[needs(Snapshot)]
    async fn the_same_bytes_serve_twice(s) {
        s.run("rows = [1]").await.ok();
        let saved = s.snapshot().await;
        let mut first = s.restore(&saved).await;
        first.run("rows.append(2)").await.ok();
        let mut second = s.restore(&saved).await;
        second.run("rows.append(3)\nrows").await.value_is("[1, 3]");
        first.run("rows").await.value_is("[1, 2]");
        s.run("rows").await.value_is("[1]");
    }

    /// C16: what is done after the snapshot is not in it, and the snapshot outlives its session.
    #[needs(Snapshot)]
    async fn it_is_a_moment_of_the_past(s) {
        s.run("x = 'then'").await.ok();
        let saved = s.snapshot().await;
        s.run("x = 'now'\ny = 1").await.ok();
        s.run("x").await.value_is("'now'");
        s.shutdown_promptly().await;
        let mut restored = s.restore(&saved).await;
        restored.run("(x, 'y' in globals())").await.value_is("('then', False)");
    }

    /// C16: a restored session can be saved again.
    #[needs(Snapshot)]
    async fn a_restored_session_can_be_saved(s) {
        s.run("path = ['first']").await.ok();
        let mut saved = s.snapshot().await;
        for step in ["second", "third"] {
            let mut restored = s.restore(&saved).await;
            restored.run(format!("path.append('{step}')")).await.ok();
            saved = restored.snapshot().await;
        }
        s.restore(&saved).await.run("path").await.value_is("['first', 'second', 'third']");
    }

    /// C16: saving a session that was not started starts it.
    #[needs(Snapshot)]
    async fn an_unstarted_session_can_be_saved(s) {
        let saved = s.snapshot().await;
        s.restore(&saved).await.run("6 * 7").await.value_is("42");
        s.in_step().await;
    }

    /// C16: a session can be saved after an exception and after a submission; neither shows up again.
    #[needs(Snapshot)]
    async fn after_the_end_of_a_task(s) {
        s.run("x = 1\n1 / 0").await.raises("ZeroDivisionError");
        s.run("y = 2\nFINAL(x + y)").await.submitted_value(Via::Final, 3);
        let saved = s.snapshot().await;
        let mut restored = s.restore(&saved).await;
        restored.run("(x, y)").await.ok().value_is("(1, 2)").nothing_submitted();
        restored.run("FINAL('again')").await.submitted_value(Via::Final, "again");
    }

    /// C16: the scope is in a snapshot: host functions, outputs, tools with what they remember, and a draft
    /// in `answer`.
    #[needs(Snapshot)]
    async fn the_scope_is_restored(s) {
        s.serve(&Host::new().echo());
        s.outputs("title: str");
        s.tools("counter.py", "count = 0\ndef bump():\n    global count\n    count += 1\n    return count");
        s.run("def twice(x): return [echo(x)] * 2\nanswer['content'] = 'draft'\nbump()").await.value_is("1");
        let saved = s.snapshot().await;
        let mut restored = s.restore(&saved).await;
        restored.run("(twice('a'), bump())").await.value_is("(['a', 'a'], 2)");
        restored.run("answer['ready'] = True").await.submitted_value(Via::Answer, "draft");
        restored.run("SUBMIT('a')").await.submitted_fields(serde_json::json!({"title": "a"}));
    }

    /// C16: files in the working directory are in a snapshot.
    #[needs(Snapshot)]
    async fn files_are_restored(s) {
        if s.run("with open('notes.txt', 'w') as f: n = f.write('kept')").await.error.is_some() {
            skip("nothing can be written here");
        }
        let saved = s.snapshot().await;
        s.run("import os\nos.remove('notes.txt')").await.ok();
        s.restore(&saved).await.run("open('notes.txt').read()").await.value_is("'kept'");
    }

    /// C16: restored sessions draw different random numbers.
    #[needs(Snapshot)]
    async fn randomness_is_not_restored(s) {
        s.run("import random\nx = random.random()").await.ok();
        let saved = s.snapshot().await;
        let mut drawn = Vec::new();
        for _ in 0..3 {
            let mut restored = s.restore(&saved).await;
            let observation = restored.run("random.getrandbits(64)").await;
            drawn.push(observation.ok().whole_value().unwrap_or_default().to_owned());
        }
        let observation = s.run("random.getrandbits(64)").await;
        drawn.push(observation.ok().whole_value().unwrap_or_default().to_owned());
        drawn.sort();
        drawn.dedup();
        if drawn.len() != 4 {
            fail(format!("four sessions drew some of the same random numbers: {drawn:?}"));
        }
    }

    /// C16: five megabytes come back as they were.
    #[needs(Snapshot)]
    #[limit(60)]
    async fn five_megabytes_are_restored(s) {
        let text = "é🦀a".repeat(800_000);
        s.set("text", text.as_str()).await;
        let code = r#"
            import random
            data = random.Random(1).randbytes(1 << 20)
            rows = [{'n': n} for n in range(20_000)]
        "#;
        s.run(code).await.ok();
        let saved = s.snapshot().await;
        let mut restored = s.restore(&saved).await;
        assert_same(&restored.read("text").await, &Value::from(text), "the text");
        restored
            .run("(data == random.Random(1).randbytes(1 << 20), sum(row['n'] for row in rows))")
            .await
            .value_is("(True, 199990000)");
    }

    /// C16: bytes in which any bit is not as it was are refused.
    #[needs(Snapshot)]
    #[limit(120)]
    async fn a_flipped_bit_is_refused(s) {
        s.run("x = 'kept'").await.ok();
        let mut saved = s.snapshot().await;
        let last = saved.len().saturating_sub(1);
        let places = (0..32).chain((1..16).map(|part| last / 16 * part)).chain(last.saturating_sub(7)..=last);
        for place in places.filter(|place| *place <= last) {
            let bit = 1 << (place % 8);
            saved[place] ^= bit;
            refused(s, &saved, &format!("a flipped bit in byte {place} of {last}")).await;
            saved[place] ^= bit;
        }
        s.restore(&saved).await.run("x").await.value_is("'kept'");
    }

    /// C16: bytes whose end is missing, or has something behind it, are refused.
    #[needs(Snapshot)]
    async fn a_wrong_length_is_refused(s) {
        s.run("x = 'kept'").await.ok();
        let mut saved = s.snapshot().await;
        let whole = saved.len();
        for length in [0, 1, 8, 100, whole / 2, whole - 1] {
            if length < whole {
                refused(s, &saved[..length], &format!("the first {length} of {whole} bytes")).await;
            }
        }
        saved.push(0);
        refused(s, &saved, "a byte more").await;
        saved.extend_from_within(..whole);
        refused(s, &saved, "twice the bytes").await;
        s.restore(&saved[..whole]).await.run("x").await.value_is("'kept'");
    }

    /// C16: bytes that come little by little are restored as those that are there, and refused as those.
    #[needs(Snapshot)]
    async fn bytes_may_come_little_by_little(s) {
        s.run("x = 'kept'").await.ok();
        let mut saved = s.snapshot().await;
        let mut restored = match s.try_restore(Trickle::of(&saved, Ok(()))).await {
            Ok(restored) => restored,
            Err(error) => fail(format!("what comes little by little should be restored, but: {error:?}")),
        };
        restored.run("x").await.value_is("'kept'");
        for end in [saved.len() / 2, saved.len()] {
            match s.try_restore(Trickle::of(&saved[..end], Err("the disk has a bad sector"))).await {
                Err(error) if error.kind() == ErrorKind::Io && error.message().contains("bad sector") => {}
                Err(error) => fail(format!("a reader's failure should be an Io error, but: {error:?}")),
                Ok(_) => fail("a session was restored although its bytes could not be read"),
            }
        }
        if let Some(last) = saved.last_mut() {
            *last ^= 1;
        }
        refused(s, Trickle::of(&saved, Ok(())), "a flipped bit at the end").await;
        s.in_step().await;
    }

    /// C16: bytes of something else are refused.
    #[needs(Snapshot)]
    async fn bytes_of_something_else_are_refused(s) {
        let saved = s.snapshot().await;
        refused(s, b"\0asm\x01\0\0\0", "a WebAssembly module").await;
        refused(s, b"PK\x03\x04", "an archive").await;
        refused(s, "not a snapshot ".repeat(1000).as_bytes(), "a text").await;
        refused(s, &vec![0; saved.len()], "zeros").await;
        refused(s, &vec![0xff; saved.len()], "ones").await;
        for part in [16, 64, 1024] {
            let mut half = saved.clone();
            if let Some(rest) = half.get_mut(part..) {
                rest.fill(0);
                refused(s, &half, &format!("zeros after the first {part} bytes")).await;
            }
        }
        s.in_step().await;
    }

    /// C16: a session that has ended cannot be saved, and says why it ended.
    #[needs(Snapshot)]
    async fn an_ended_session_is_not_saved(s) {
        s.run("x = 1").await.ok();
        s.shutdown_promptly().await;
        for _ in 0..2 {
            match s.try_snapshot().await {
                Err(error)
                    if error.kind() == ErrorKind::SessionEnded && !error.message().trim().is_empty() => {}
                Err(error) => {
                    fail(format!("snapshot should answer SessionEnded with a reason, but: {error:?}"))
                }
                Ok(_) => fail("snapshot should answer SessionEnded, but it succeeded"),
            }
        }
        s.has_ended().await;
    }
}

/// `InvalidInput`, and something to read about it.
fn refused<'a>(
    s: &SessionUnderTest,
    bytes: impl Into<Snapshot<'a>>,
    what: &'a str,
) -> impl Future<Output = ()> + Send + 'a {
    let restored = s.try_restore(bytes);
    async move {
        match restored.await {
            Err(error) if error.kind() == ErrorKind::InvalidInput && !error.message().trim().is_empty() => {}
            Err(error) => {
                fail(format!("{what} should be refused with InvalidInput and a reason, but: {error:?}"))
            }
            Ok(_) => fail(format!("{what} should be refused, but was restored")),
        }
    }
}

/// Bytes that come in pieces of odd sizes, with what happens at their end.
struct Trickle {
    left: Cursor<Vec<u8>>,
    end: Result<(), &'static str>,
    piece: usize,
}

impl Trickle {
    fn of(bytes: &[u8], end: Result<(), &'static str>) -> Snapshot<'static> {
        Snapshot::Reader(Box::new(Self { left: Cursor::new(bytes.to_vec()), end, piece: 0 }))
    }
}

impl Read for Trickle {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.piece = self.piece % 5003 + 1;
        let len = self.piece.min(bytes.len());
        match self.left.read(&mut bytes[..len])? {
            0 if len > 0 => self.end.map(|()| 0).map_err(io::Error::other),
            read => Ok(read),
        }
    }
}
