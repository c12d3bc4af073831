//! C11: output beyond the cap is counted, not stored.

use std::time::Duration;

use abyme_core::{Captured, Isolation};

use crate::{case::cases, machine, observed::Observed, result::fail};

cases! {
    theme c11_floods, clause 11;

    /// C11: of too long an output the first and the last half of the cap are kept, and its true length.
    async fn head_and_tail_are_kept(s) {
        let cell = s.cell("print('a' * 500 + 'b' * 500, end='')").max_output_chars(100);
        let observed = s.run(cell).await;
        kept(&observed, &observed.stdout, &"a".repeat(50), &"b".repeat(50), 1000);
    }

    /// C11: output of exactly the cap is whole; one more is cut.
    async fn the_cap_is_exact(s) {
        let cell = s.cell("print('x' * 100, end='')").max_output_chars(100);
        s.run(cell).await.stdout_is(&"x".repeat(100));
        let cell = s.cell("print('x' * 101, end='')").max_output_chars(100);
        let observed = s.run(cell).await;
        kept(&observed, &observed.stdout, &"x".repeat(50), &"x".repeat(50), 101);
    }

    /// C11: the cap counts characters, not bytes.
    async fn characters_are_counted(s) {
        let cell = s.cell("print('🦀' * 300, end='')").max_output_chars(100);
        let observed = s.run(cell).await;
        kept(&observed, &observed.stdout, &"🦀".repeat(50), &"🦀".repeat(50), 300);
    }

    /// C11: many small writes are cut as one long one is.
    async fn small_writes_are_cut_alike(s) {
        let cell = s.cell("for n in range(1000): print(n % 10, end='')").max_output_chars(20);
        let observed = s.run(cell).await;
        kept(&observed, &observed.stdout, "0123456789", "0123456789", 1000);
    }

    /// C11: stderr has a cap of its own.
    async fn stderr_has_its_own_cap(s) {
        let cell = s
            .cell(
                r#"
                    import sys
                    print('o' * 80, end='')
                    print('e' * 200, end='', file=sys.stderr)
                "#,
            )
            .max_output_chars(100);
        let observed = s.run(cell).await;
        observed.stdout_is(&"o".repeat(80));
        kept(&observed, &observed.stderr, &"e".repeat(50), &"e".repeat(50), 200);
    }

    /// C11: the last value has its cap too: fifty million characters are not sent to show a hundred.
    async fn the_value_has_its_own_cap(s) {
        for code in [
            "'x' * 50_000_000",
            "list(range(5_000_000))",
            "{n: str(n) for n in range(300_000)}",
            "b'x' * 50_000_000",
        ] {
            let cell = s.cell(code).max_output_chars(100);
            let observed = s.run(cell).await;
            let shown = observed
                .value
                .as_ref()
                .map_or(0, |value| value.head.chars().count() + value.tail.chars().count());
            observed.ok().expect((1..1000).contains(&shown), "expected about 100 characters of the value");
        }
    }

    /// C11: a cap of nothing keeps nothing, and counts.
    async fn a_cap_of_zero_counts(s) {
        let cell = s.cell("print('x' * 999)").max_output_chars(0);
        let observed = s.run(cell).await;
        kept(&observed, &observed.stdout, "", "", 1000);
        s.in_step().await;
    }

    /// C11: the exception behind a flood arrives.
    async fn the_exception_behind_a_flood_arrives(s) {
        s.run("for _ in range(100_000): print('flood')\nraise ValueError('at the end')")
            .await
            .raises("ValueError")
            .message_is("at the end")
            .expect(true, "");
        s.in_step().await;
    }

    /// C11: printing 1 GB is counted to the character, does not grow the host, and the session goes on.
    #[alone = "measures the memory of the process"]
    #[limit(240)]
    async fn a_gigabyte_is_counted(s) {
        s.run("1").await.ok();
        let before = machine::resident_bytes();
        let cell = s
            .cell("line = 'x' * ((1 << 20) - 1)\nfor _ in range(1024): print(line)")
            .timeout(Duration::from_secs(200));
        let observed = s.run(cell).await;
        let total = observed.stdout.total_chars;
        observed.ok().expect(total == 1 << 30, "expected all 2**30 characters to be counted");
        bounded(before);
        s.in_step().await;
    }

    /// C11: one piece of 100 MB on stderr is counted to the character, and does not grow the host.
    #[alone = "measures the memory of the process"]
    async fn a_single_huge_write_is_counted(s) {
        s.run("1").await.ok();
        let before = machine::resident_bytes();
        let observed = s.run("import sys\nsys.stderr.write('é' * 100_000_000)\nNone").await;
        let total = observed.stderr.total_chars;
        observed.ok().expect(total == 100_000_000, "expected all characters to be counted");
        // Where the session lives in the host's process, the piece itself does too.
        let own = matches!(s.declared().isolation, Isolation::None | Isolation::Wasm);
        bounded(before.map(|before| before + if own { 128 << 20 } else { 0 }));
        s.in_step().await;
    }

    /// C11: a flood that never ends is stopped by the time limit, and has not grown the host.
    #[needs(Interrupt)]
    #[alone = "measures the memory of the process"]
    async fn an_endless_flood_is_stopped(s) {
        s.run("1").await.ok();
        let (before, limit) = (machine::resident_bytes(), Duration::from_secs(1));
        let cell = s.cell("while True: print('flood ' * 100)").timeout(limit);
        let observed = s.run(cell).await;
        observed.stopped_within(limit)
            .expect(observed.stdout.total_chars > 10_000, "expected the flood to be counted");
        bounded(before);
        s.usable_or_ended().await;
    }

    /// C11: threads that flood together do no harm.
    #[needs(ConcurrentCalls)]
    async fn threads_can_flood(s) {
        let observed = s
            .run(
                r#"
                    import threading
                    def flood(): [print('x' * 99) for _ in range(5000)]
                    ts = [threading.Thread(target=flood) for _ in range(8)]
                    for t in ts: t.start()
                    for t in ts: t.join()
                "#,
            )
            .await;
        let total = observed.stdout.total_chars;
        observed.ok().expect(total == 8 * 5000 * 100, "expected all characters to be counted");
        s.in_step().await;
    }
}

#[track_caller]
fn kept(observed: &Observed, captured: &Captured, head: &str, tail: &str, total: usize) {
    let holds = captured.head == head && captured.tail == tail && captured.total_chars == total;
    observed.expect(holds, &format!("expected {head:?} ... {tail:?} of {total}"));
    let omitted = total - head.chars().count() - tail.chars().count();
    observed.expect(captured.omitted_chars == omitted, &format!("expected {omitted} to be omitted"));
}

/// The host grew by less than a flood would make it.
#[track_caller]
fn bounded(before: Option<u64>) {
    const MOST: u64 = 64 << 20;
    if let (Some(before), Some(after)) = (before, machine::resident_bytes())
        && after > before + MOST
    {
        fail(format!("the host grew by {} MB", (after - before) >> 20));
    }
}
