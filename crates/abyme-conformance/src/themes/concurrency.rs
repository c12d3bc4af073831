//! C8: host functions can be called from several threads at the same time.
//!
//! Whether a thread is one of the system is not asked where calls in flight are all that matters.

use std::sync::Arc;

use abyme_core::{FunctionSpec, ParameterSpec, Value};
use tokio::sync::Semaphore;

use crate::{
    case::cases,
    host::{Host, argument},
    result::skip,
    session::SessionUnderTest,
};

cases! {
    theme c08_concurrency, clause 8;

    /// C8: eight threads are in a host function at once: none is answered before all have called. Answers
    /// come in reverse order, and each thread gets its own.
    #[needs(ConcurrentCalls)]
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

    /// C8: eight threads of a pool are in a host function at once.
    #[needs(ConcurrentCalls)]
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

    /// C8: eight jobs of an event loop's executor are in a host function at once.
    #[needs(ConcurrentCalls)]
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

    /// C8: eight threads of a pool run a function of the cell, which computes before and after its host call.
    #[needs(ConcurrentCalls)]
    async fn a_function_that_calls_at_once(s) {
        s.serve(&Host::new().meet(8));
        s.run(
            r#"
                from concurrent.futures import ThreadPoolExecutor
                chunks = ['x' * n for n in range(8)]
                def process(chunk):
                    found = meet(len(chunk))
                    return f'{chunk}:{found}'
                with ThreadPoolExecutor(max_workers=8) as pool:
                    results = list(pool.map(process, chunks))
                results == [f'{chunk}:{len(chunk)}' for chunk in chunks]
            "#,
        )
        .await
        .value_is("True");
    }

    /// C8: eight calls through `asyncio.to_thread` and `gather` are in a host function at once.
    #[needs(ConcurrentCalls)]
    async fn asyncio_to_thread_at_once(s) {
        s.serve(&Host::new().meet(5));
        s.run(
            r#"
                import asyncio
                def process(n): return meet(n) * 10
                async def all_of_them():
                    functions = [meet, process, meet, process, meet]
                    return await asyncio.gather(*(asyncio.to_thread(f, n) for n, f in enumerate(functions)))
                asyncio.run(all_of_them())
            "#,
        )
        .await
        .value_is("[0, 10, 2, 30, 4]");
    }

    /// C8: eight threads of a pool of `multiprocessing` are in a host function at once.
    #[needs(ConcurrentCalls)]
    async fn a_multiprocessing_thread_pool_at_once(s) {
        s.serve(&Host::new().meet(8));
        s.run(
            r#"
                from multiprocessing.pool import ThreadPool
                with ThreadPool(8) as pool:
                    results = pool.map(meet, range(8), chunksize=1)
                results
            "#,
        )
        .await
        .value_is("[0, 1, 2, 3, 4, 5, 6, 7]");
    }

    /// C8: eight coroutines that await a host function are in it at once.
    #[needs(ConcurrentCalls)]
    async fn awaited_at_once(s) {
        s.serve(&Host::new().meet(4));
        s.run(
            r#"
                import asyncio
                async def ask(n): return await meet(n)
                await asyncio.gather(*map(ask, range(4)))
            "#,
        )
        .await
        .value_is("[0, 1, 2, 3]");
    }

    /// C8: the same through the tasks of an `asyncio.TaskGroup`; one that fails is in its group of
    /// exceptions.
    #[needs(ConcurrentCalls)]
    async fn a_task_group_at_once(s) {
        if s.run("import asyncio\nhasattr(asyncio, 'TaskGroup')").await.whole_value() != Some("True") {
            skip("this Python has no TaskGroup");
        }
        s.serve(&Host::new().meet(4).fail());
        s.run(
            r#"
                async def all_of_them():
                    async with asyncio.TaskGroup() as group:
                        tasks = [group.create_task(asyncio.to_thread(meet, n)) for n in range(4)]
                    return [task.result() for task in tasks]
                asyncio.run(all_of_them())
            "#,
        )
        .await
        .value_is("[0, 1, 2, 3]");
        s.run(
            r#"
                async def one_fails():
                    async with asyncio.TaskGroup() as group:
                        group.create_task(asyncio.to_thread(fail, 'ValueError', 'boom'))
                try: asyncio.run(one_fails())
                except ExceptionGroup as group: caught = [repr(error) for error in group.exceptions]
                caught
            "#,
        )
        .await
        .value_is("[\"ValueError('boom')\"]");
    }

    /// C8: `as_completed` gives what is done while other calls are still in flight.
    #[needs(ConcurrentCalls)]
    async fn what_is_done_first_comes_first(s) {
        s.serve(&held_back(Host::new().echo()));
        s.run(
            r#"
                from concurrent.futures import ThreadPoolExecutor, as_completed
                with ThreadPoolExecutor(4) as pool:
                    futures = [pool.submit(held, n) for n in range(3)] + [pool.submit(echo, 'quick')]
                    done = as_completed(futures)
                    first = next(done).result()
                    let_go(3)
                    rest = sorted(future.result() for future in done)
                (first, rest)
            "#,
        )
        .await
        .value_is("('quick', [0, 1, 2])");
    }

    /// C8: a future keeps the exception of its call, and no other future has it.
    #[needs(ConcurrentCalls)]
    async fn a_future_keeps_its_exception(s) {
        s.serve(&Host::new().echo().fail());
        s.run(
            r#"
                from concurrent.futures import ThreadPoolExecutor, wait
                with ThreadPoolExecutor(3) as pool:
                    good = pool.submit(echo, 1)
                    bad = pool.submit(fail, 'KeyError', 'gone')
                    worse = pool.submit(lambda: echo(1) / 0)
                    done, not_done = wait([good, bad, worse])
                try: bad.result()
                except KeyError as error: caught = error.args
                (good.result(), good.exception(), caught, repr(worse.exception()), len(done), len(not_done))
            "#,
        )
        .await
        .value_is("(1, None, ('gone',), \"ZeroDivisionError('division by zero')\", 3, 0)");
    }

    /// C8: a call that fails in a pool's `map` raises where its result is taken, and the session goes on.
    #[needs(ConcurrentCalls)]
    async fn a_failure_in_a_pool_raises_in_the_cell(s) {
        s.serve(&Host::new().echo().fail());
        s.run(
            r#"
                from concurrent.futures import ThreadPoolExecutor
                taken = []
                def process(n): return fail('ValueError', 'the third') if n == 2 else echo(n)
                with ThreadPoolExecutor(4) as pool:
                    for result in pool.map(process, range(4)): taken.append(result)
            "#,
        )
        .await
        .raises("ValueError")
        .message_is("the third");
        s.run("taken").await.value_is("[0, 1]");
        s.in_step().await;
    }

    /// C8: the main thread calls while others do.
    #[needs(ConcurrentCalls)]
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
    #[needs(ConcurrentCalls)]
    async fn answers_do_not_mix(s) {
        s.serve(&Host::new().echo());
        s.run(POOL).await.ok();
        s.run("mixed(lambda n: echo(n) != n)").await.value_is("0");
        s.run("mixed(lambda n: echo('x' * n) != 'x' * n)").await.value_is("0");
    }

    /// C8: failures reach the thread that called, and no other.
    #[needs(ConcurrentCalls)]
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
    #[needs(ConcurrentCalls)]
    async fn printing_and_calling_at_once(s) {
        s.serve(&Host::new().echo());
        s.run(POOL).await.ok();
        let cell = s.cell("mixed(lambda n: print('.', end='') or echo(n) != n)").max_output_chars(10_000);
        s.run(cell).await.value_is("0").stdout_is(&".".repeat(2000));
    }

    /// C8: a thread that a cell leaves behind gets no answers from the next one's calls.
    #[needs(ConcurrentCalls)]
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

/// `held(n)`: gives back what it gets once `let_go(count)` gave it leave.
fn held_back(host: Host) -> Host {
    let leave = Arc::new(Semaphore::new(0));
    let given = leave.clone();
    let held = FunctionSpec::new("held", "Waits for leave.").parameter(ParameterSpec::new("value"));
    let let_go = FunctionSpec::new("let_go", "Gives leave.").parameter(ParameterSpec::new("count"));
    host.asynchronous(held, move |call| {
        let leave = leave.clone();
        async move {
            if let Ok(permit) = leave.acquire().await {
                permit.forget();
            }
            Ok(argument(&call, "value"))
        }
    })
    .function(let_go, move |call| {
        given.add_permits(argument(&call, "count").to().unwrap_or(0));
        Ok(Value::None)
    })
}

async fn settled(s: &mut SessionUnderTest) {
    s.in_step().await;
}
