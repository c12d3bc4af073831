//! C17: what a session learns of the world is the same each time, where that is asked for.

use abyme_core::Determinism;

use crate::{case::cases, host::Host, result::fail, session::SessionUnderTest};

/// What of the world Python shows: clocks, random bytes and what is made of them, times of files, the order
/// of sets, addresses.
const LOOK: &str = r#"
import datetime, os, random, secrets, tempfile, time, uuid
def look():
    with open('note', 'w') as file:
        file.write('x')
    status = os.stat('note')
    with tempfile.NamedTemporaryFile() as file:
        temporary = os.path.basename(file.name)
    return (
        datetime.datetime.now().isoformat(), time.time_ns(), time.monotonic_ns(), time.perf_counter_ns(),
        status.st_mtime_ns, status.st_ctime_ns, temporary, uuid.uuid4().hex, uuid.uuid1().hex,
        secrets.token_hex(4), os.urandom(3), random.SystemRandom().random(),
        list({'one', 'two', 'three', 'four', 'five'}), hash('text'), id(object()),
    )
"#;

/// 2026-01-02 03:04:05.678 UTC.
const DAY: Determinism = Determinism { seed: 7, unix_ms: 1_767_323_045_678 };

/// Begins a session with this, and says what it sees.
async fn looks(s: &mut SessionUnderTest, determinism: Determinism) -> String {
    s.run(s.cell(LOOK).determinism(determinism)).await.ok();
    look(s).await
}

async fn look(s: &mut SessionUnderTest) -> String {
    let seen = s.run("look()").await;
    seen.ok().whole_value().unwrap_or_default().to_owned()
}

/// What `look` gives, but for the address.
fn without_address(seen: &str) -> String {
    seen.rsplit(", ").skip(1).collect::<Vec<_>>().join(", ")
}

fn same(left: &str, right: &str) {
    if left != right || left.is_empty() {
        fail(format!("these should be the same:\n{left}\n{right}"));
    }
}

fn differ(left: &str, right: &str) {
    if left == right {
        fail(format!("these should differ: {left}"));
    }
}

cases! {
    theme c17_determinism, clause 17;

    /// C17: two sessions see the same world, from one cell to the next.
    #[needs(Deterministic)]
    async fn the_same_cells_see_the_same(s) {
        let mut other = s.another().await;
        let first = looks(s, DAY).await;
        same(&first, &looks(&mut other, DAY).await);
        let second = look(s).await;
        differ(&first, &second);
        same(&second, &look(&mut other).await);
    }

    /// C17: the seed and the time of day are those that were given.
    #[needs(Deterministic)]
    async fn the_world_is_the_one_that_was_given(s) {
        s.run(s.cell("").determinism(DAY)).await.ok();
        s.run("import time\nround(time.time(), 2)").await.value_is("1767323045.68");
        let mut other = s.another().await;
        let bytes = "import os\nos.urandom(8)";
        let first = s.run(bytes).await.whole_value().map(str::to_owned);
        // A session's first cell draws some of its own.
        other.run("").await.ok();
        let seeded = Determinism { seed: 8, ..DAY };
        other.run(other.cell("").determinism(seeded)).await.ok();
        let second = other.run(bytes).await.whole_value().map(str::to_owned);
        if first.is_none() || first == second {
            fail(format!("two seeds give the same bytes: {first:?}"));
        }
        // Another seed changes no clock.
        s.run(s.cell("").determinism(Determinism { seed: 8, unix_ms: 0 })).await.ok();
        let again = s.run(bytes).await.whole_value().map(str::to_owned);
        s.run("time.time() > 1767323045.678").await.value_is("True");
        if again != second {
            fail(format!("the same seed gives other bytes: {again:?} and {second:?}"));
        }
    }

    /// C17: clocks go on with what is slept, and never back.
    #[needs(Deterministic)]
    async fn clocks_go_on(s) {
        s.run(s.cell("import time, asyncio").determinism(DAY)).await.ok();
        s.run(
            r#"
                before = time.time(), time.monotonic()
                time.sleep(0.25)
                asyncio.run(asyncio.sleep(0.25))
                after = time.time(), time.monotonic()
                [round(late - early, 2) for early, late in zip(before, after)]
            "#,
        )
        .await
        .value_is("[0.5, 0.5]");
        s.run("all(time.monotonic() < time.monotonic() for _ in range(1000))").await.value_is("True");
        // Code that waits for a time comes to an end.
        s.run("until = time.time() + 0.01\nwhile time.time() < until: pass").await.ok();
    }

    /// C17: time that passes beside a call of the host is time for the clocks.
    #[needs(Deterministic, ConcurrentCalls)]
    async fn a_limit_ends_beside_a_call(s) {
        s.serve(&Host::new().rest());
        s.run(s.cell("").determinism(DAY)).await.ok();
        s.run(
            r#"
                import time
                from concurrent.futures import ThreadPoolExecutor, TimeoutError
                before = time.monotonic()
                late = ThreadPoolExecutor().submit(rest, 1.5)
                try:
                    late.result(timeout=0.3)
                except TimeoutError:
                    limited = round(time.monotonic() - before, 1)
                late.result()
                limited
            "#,
        )
        .await
        .value_is("0.3");
    }

    /// C17: a session without it sees the world as it is.
    #[needs(Deterministic)]
    async fn others_see_the_world_as_it_is(s) {
        let mut other = s.another().await;
        for session in [&mut *s, &mut other] {
            session.run(LOOK).await.ok();
        }
        differ(&look(s).await, &look(&mut other).await);
        s.run("time.time() > 1767323045").await.value_is("True");
    }

    /// C17: a session that was put back after a crash sees what it would have seen without.
    #[needs(Deterministic, Restores)]
    async fn a_crash_changes_nothing(s) {
        let mut other = s.another().await;
        let first = looks(s, DAY).await;
        same(&first, &looks(&mut other, DAY).await);
        s.ends("look()\nos._exit(1)").await;
        same(&look(s).await, &look(&mut other).await);
    }

    /// C17: copies see what the original does next, until they are given another seed.
    #[needs(Deterministic, Fork, Snapshot)]
    async fn copies_go_on_alike(s) {
        looks(s, DAY).await;
        let saved = s.snapshot().await;
        let mut firsts = Vec::new();
        for (mut copy, mut other) in
            [(s.fork().await, s.fork().await), (s.restore(&saved).await, s.restore(&saved).await)]
        {
            let first = look(&mut copy).await;
            same(&first, &look(&mut other).await);
            firsts.push(first);
            other.run(other.cell("").determinism(Determinism { seed: 9, ..DAY })).await.ok();
            differ(&look(&mut copy).await, &look(&mut other).await);
        }
        // A fork has the scope already, and where its next object lies depends on that.
        same(&without_address(&look(s).await), &without_address(&firsts[0]));
        same(&without_address(&firsts[1]), &without_address(&firsts[0]));
    }
}
