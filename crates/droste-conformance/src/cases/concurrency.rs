//! C8: host functions can be called from several threads at the same time.

use crate::{case::cases, host::Host, subject::Subject};

cases! {
    theme c08_concurrency, clause 8;

    /// C8: eight threads are in a host function at once: none is answered before all have called. Answers come in
    /// reverse order, and each thread gets its own.
    #[needs(Threads)]
    async fn eight_threads_at_once(s) {
        s.serve(&Host::new().meet(8));
        s.run(
            r#"
                import threading
                results = [None] * 8
                def work(n): results[n] = meet(n)
                threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
                for t in threads: t.start()
                for t in threads: t.join()
                results
            "#,
        )
        .await
        .value_is("[0, 1, 2, 3, 4, 5, 6, 7]");
    }

    /// C8: the same through a thread pool.
    #[needs(Threads)]
    async fn a_thread_pool_at_once(s) {
        s.serve(&Host::new().meet(16));
        s.run(
            r#"
                from concurrent.futures import ThreadPoolExecutor
                with ThreadPoolExecutor(16) as pool:
                    results = list(pool.map(meet, range(16)))
                results == list(range(16))
            "#,
        )
        .await
        .value_is("True");
    }

    /// C8: the same through `asyncio.to_thread`.
    #[needs(Threads)]
    async fn asyncio_threads_at_once(s) {
        s.serve(&Host::new().meet(3));
        s.run(
            r#"
                import asyncio
                async def all_of_them():
                    loop = asyncio.get_running_loop()
                    return await asyncio.gather(*(loop.run_in_executor(None, meet, n) for n in range(3)))
                asyncio.run(all_of_them())
            "#,
        )
        .await
        .value_is("[0, 1, 2]");
    }

    /// C8: the main thread calls while others do.
    #[needs(Threads)]
    async fn the_main_thread_takes_part(s) {
        s.serve(&Host::new().meet(4));
        s.run(
            r#"
                import threading
                threads = [threading.Thread(target=meet, args=(n,)) for n in range(1, 4)]
                for t in threads: t.start()
                own = meet(0)
                for t in threads: t.join()
                own
            "#,
        )
        .await
        .value_is("0");
    }

    /// C8: thousands of calls from many threads all get their own answers.
    #[needs(Threads)]
    async fn answers_do_not_mix(s) {
        s.serve(&Host::new().echo());
        s.run(POOL).await.ok();
        s.run("mixed(lambda n: echo(n) != n)").await.value_is("0");
        s.run("mixed(lambda n: echo('x' * n) != 'x' * n)").await.value_is("0");
    }

    /// C8: failures reach the thread that called, and no other.
    #[needs(Threads)]
    async fn failures_do_not_mix(s) {
        s.serve(&Host::new().echo().fail());
        s.run(POOL).await.ok();
        s.run(
            r#"
                def check(n):
                    if n % 2: return echo(n) != n
                    try: fail('ValueError', str(n))
                    except ValueError as error: return str(error) != str(n)
                mixed(check)
            "#,
        )
        .await
        .value_is("0");
    }

    /// C8: threads print and call at the same time, and neither loses anything.
    #[needs(Threads)]
    async fn printing_and_calling_at_once(s) {
        s.serve(&Host::new().echo());
        s.run(POOL).await.ok();
        let cell = s.cell("mixed(lambda n: print('.', end='') or echo(n) != n)").max_output_chars(10_000);
        s.run(cell).await.value_is("0").stdout_is(&".".repeat(2000));
    }

    /// C8: a thread that a cell leaves behind gets no answers from the next one's calls.
    #[needs(Threads)]
    async fn a_thread_left_behind_does_not_mix_in(s) {
        s.serve(&Host::new().echo());
        s.run(
            r#"
                import threading, time
                stop = False
                def nag():
                    while not stop:
                        try: echo('left behind')
                        except Exception: pass
                        time.sleep(0.001)
                threading.Thread(target=nag, daemon=True).start()
            "#,
        )
        .await
        .ok();
        for n in 0..50 {
            s.run(format!("[echo({n}) for _ in range(5)] == [{n}] * 5")).await.value_is("True");
        }
        s.run("stop = True").await.ok();
        settled(s).await;
    }
}

/// `mixed(f)`: how many of 2000 items, worked on by 8 threads, get something that `f` finds wrong.
const POOL: &str = r#"
    from concurrent.futures import ThreadPoolExecutor
    def mixed(f):
        with ThreadPoolExecutor(8) as pool:
            return sum(pool.map(f, range(2000)))
"#;

async fn settled(s: &mut Subject) {
    s.in_step().await;
}
