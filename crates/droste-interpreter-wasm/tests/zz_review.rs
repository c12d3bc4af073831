#![allow(clippy::unwrap_used, clippy::panic, reason = "scratch")]
mod common;
use async_trait::async_trait;
use common::{factory, session, session_of, told, value};
use droste_core::*;
use droste_interpreter_wasm::{WasmConfig, WasmFactory};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

#[derive(Debug)]
struct Ready;
#[async_trait]
impl HostFunctions for Ready {
    async fn call(&self, _: HostCall) -> Result<Value, HostError> {
        Ok(Value::from(1))
    }
}
#[derive(Debug)]
struct Never;
#[async_trait]
impl HostFunctions for Never {
    async fn call(&self, c: HostCall) -> Result<Value, HostError> {
        std::mem::forget(c.args.len());
        futures_util::future::pending().await
    }
}
fn scope() -> Arc<Scope> {
    Arc::new(
        Scope::new().function(
            FunctionSpec::new("f", "x").parameter(ParameterSpec::new("x").default_value(Value::None)),
        ),
    )
}
fn rss() -> u64 {
    let s = std::fs::read_to_string("/proc/self/status").unwrap();
    s.lines()
        .find(|l| l.starts_with("VmRSS"))
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        >> 10
}

// P: starvation
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starve() {
    let s = factory().session();
    let mut s = s;
    s.start().await.unwrap();
    let code = "import _droste_guest as g\nfrom collections import deque\nq = deque()\nwhile True:\n    q.append(g.start('f', (), {}))\n    if len(q) > 5000:\n        n = q.popleft()\n        try: g.reply(n)\n        except RuntimeError: q.append(n)\n";
    let (tx, rx) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        rt.block_on(async move {
            let t = Instant::now();
            let seen = s
                .execute(Cell::new(code).scope(scope()).time_limit(Duration::from_secs(1)), &Ready)
                .await
                .unwrap();
            let _ = tx.send((t.elapsed(), seen));
        });
    });
    match rx.recv_timeout(Duration::from_secs(20)) {
        Ok((t, seen)) => println!("STARVE ended after {t:?} {}", told(&seen)),
        Err(_) => println!("STARVE: HANG, not ended after 20 s with a limit of 1 s"),
    }
    std::process::exit(0);
}

// B: big ints
#[tokio::test]
async fn bigint() {
    for bits in [1_000_000u64, 4_000_000, 16_000_000] {
        let mut s = session().await;
        let t = Instant::now();
        let seen = s
            .execute(
                Cell::new(format!("SUBMIT(1 << {bits})"))
                    .scope(Arc::new(Scope::new().output("a", "int")))
                    .time_limit(Duration::from_secs(1)),
                &NoHostFunctions,
            )
            .await;
        println!("BIGINT {bits} {:?} ok={}", t.elapsed(), seen.is_ok());
    }
}

// A: host memory
#[tokio::test]
async fn host_memory() {
    let mut s = factory().session();
    let before = rss();
    let code = "import _droste_guest as g\nbig = [None] * 20_000_000\nx = g.start('f', (big,), {})\nimport time; time.sleep(0.5)";
    let peak = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let p2 = peak.clone();
    std::thread::spawn(move || {
        loop {
            p2.fetch_max(rss(), std::sync::atomic::Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let _ = s.execute(Cell::new(code).scope(scope()), &Never).await.unwrap();
    println!(
        "MEM one call of 20M None: before {before} peak {} MiB",
        peak.load(std::sync::atomic::Ordering::Relaxed)
    );
    peak.store(0, std::sync::atomic::Ordering::Relaxed);
    let code = "import _droste_guest as g\nbig = 'x' * 20_000_000\nfor _ in range(100): g.start('f', (big,), {})\nimport time; time.sleep(0.5)";
    let _ = s.execute(Cell::new(code).scope(scope()), &Never).await.unwrap();
    println!("MEM 100 calls of 20 MB: peak {} MiB", peak.load(std::sync::atomic::Ordering::Relaxed));
    peak.store(0, std::sync::atomic::Ordering::Relaxed);
    let code = "from concurrent.futures import ThreadPoolExecutor\nbig = 'x' * 20_000_000\np = ThreadPoolExecutor(100)\nr = p.map(f, [big] * 100)\nlist(r)";
    let seen =
        s.execute(Cell::new(code).scope(scope()).time_limit(Duration::from_secs(5)), &Never).await.unwrap();
    println!(
        "MEM pool.map(f, [20 MB]*100): peak {} MiB {:?}",
        peak.load(std::sync::atomic::Ordering::Relaxed),
        seen.interruption
    );
}

// K: come_back under contention
#[tokio::test]
async fn come_back_contended() {
    let f = WasmFactory::new(WasmConfig::new().max_sessions(1).slot_wait(Duration::from_secs(5)));
    let mut a = f.session();
    a.execute(Cell::new("x = 42"), &NoHostFunctions).await.unwrap();
    let g = f.clone();
    let waiter = tokio::spawn(async move {
        let mut b = g.session();
        let r = b.start().await;
        tokio::time::sleep(Duration::from_secs(8)).await;
        r.is_ok()
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let t = Instant::now();
    let seen = a
        .execute(Cell::new("import os; os._exit(1)").time_limit(Duration::from_secs(1)), &NoHostFunctions)
        .await
        .unwrap();
    println!("COMEBACK took {:?} restored={:?} ended={:?}", t.elapsed(), seen.restored, seen.session_ended);
    println!("COMEBACK waiter got it: {}", waiter.await.unwrap());
    println!("COMEBACK later: {:?}", a.execute(Cell::new("x"), &NoHostFunctions).await.map(|o| o.value));
}

// dropped while coming back
#[tokio::test]
async fn come_back_dropped() {
    let f = WasmFactory::new(WasmConfig::new().max_sessions(1).slot_wait(Duration::from_secs(5)));
    let mut a = f.session();
    a.execute(Cell::new("x = 42"), &NoHostFunctions).await.unwrap();
    let g = f.clone();
    let waiter = tokio::spawn(async move {
        let mut b = g.session();
        let r = b.start().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        r.is_ok()
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let _ = tokio::time::timeout(
        Duration::from_millis(300),
        a.execute(Cell::new("import os; os._exit(1)"), &NoHostFunctions),
    )
    .await;
    waiter.await.unwrap();
    println!("DROPPED later: {:?}", a.execute(Cell::new("x"), &NoHostFunctions).await.map(|o| o.value));
}

// AC: long last words
#[tokio::test]
async fn last_words() {
    let mut s = session().await;
    let seen = s.run_code("import os\nos.write(2, b'x' * 1_000_000)\nos.abort()").await.unwrap();
    println!(
        "WORDS restored has {} chars, stderr {}",
        seen.restored.as_ref().unwrap().len(),
        seen.stderr.total_chars
    );
    let seen = s.run_code("print('kept?')\nimport os\nos._exit(1)").await.unwrap();
    println!("LOST print: {:?}", seen.stdout);
    let seen = s.run_code("import os\nos.write(1, b'raw?')\nos._exit(1)").await.unwrap();
    println!("LOST raw: {:?}", seen.stdout);
    let seen = s.run_code("print('x' * 50_000)\nimport os\nos._exit(1)").await.unwrap();
    println!("LOST long print: {} {} ", seen.stdout.total_chars, seen.stdout.omitted_chars);
}

// interrupts that hit the next cell
#[tokio::test]
async fn late_interrupts() {
    let mut s = factory().session();
    s.execute(Cell::new("x = list(range(300000))"), &NoHostFunctions).await.unwrap();
    let (mut bad, mut int, mut killed) = (0, 0, 0);
    for n in 0..600u64 {
        let limit = Duration::from_micros(n * 50);
        let seen = s
            .execute(
                Cell::new("y = sorted(x, key=lambda v: -v)").time_limit(limit).read("x"),
                &NoHostFunctions,
            )
            .await
            .unwrap();
        match seen.interruption {
            Some(Interruption::Interrupted) => int += 1,
            Some(_) => killed += 1,
            None => {}
        }
        if seen.interruption.is_none() && seen.error.is_some() {
            println!("ODD {}", told(&seen));
        }
        let next = s
            .execute(Cell::new("1 + 1\nz = [i for i in range(1000)]\nlen(z)"), &NoHostFunctions)
            .await
            .unwrap();
        if !next.is_ok() {
            bad += 1;
            println!("NEXT {}", told(&next));
        }
    }
    println!("LATE interrupted {int} killed {killed} next-cell hit {bad}");
    // the same with drops
    let mut bad = 0;
    for n in 0..300u64 {
        let _ = tokio::time::timeout(
            Duration::from_micros(n * 100),
            s.execute(Cell::new("y = sorted(x, key=lambda v: -v)"), &NoHostFunctions),
        )
        .await;
        let next =
            s.execute(Cell::new("z = [i for i in range(1000)]\nlen(z)"), &NoHostFunctions).await.unwrap();
        if !next.is_ok() {
            bad += 1;
            println!("NEXT {}", told(&next));
        }
    }
    println!("LATE after drops: next-cell hit {bad}");
}

// checkpoint correctness over many crashes, with growth
#[tokio::test]
async fn checkpoints() {
    let mut s = factory().session();
    for n in 0..30u32 {
        let seen = s.execute(Cell::new(format!("try: d\nexcept NameError: d = {{}}\nd[{n}] = bytearray([{n}]) * {}\nif {n} > 5: d.pop({n} - 5)\nh = sum(sum(v[::4096]) for v in d.values())\nh", 1_000_000 * (1 + n % 7))), &NoHostFunctions).await.unwrap();
        let h = seen.value.clone().unwrap().to_string();
        let crash = [
            "import os; d.clear(); os._exit(1)",
            "d.clear(); d[1] = bytearray(200_000_000); import os; os.abort()",
            "import faulthandler; d.clear(); faulthandler._sigsegv()",
        ][n as usize % 3];
        let seen = s.execute(Cell::new(crash), &NoHostFunctions).await.unwrap();
        assert!(seen.restored.is_some(), "{}", told(&seen));
        let mut fork = s.fork().await.unwrap();
        let bytes = s.snapshot().await.unwrap();
        let mut back = factory().restore(&bytes).await.unwrap();
        for t in [&mut s as &mut dyn CodeInterpreter, &mut *fork, &mut *back] {
            let seen = t
                .execute(Cell::new("sum(sum(v[::4096]) for v in d.values()) == h and h"), &NoHostFunctions)
                .await
                .unwrap();
            assert_eq!(seen.value.unwrap().to_string(), h, "{n}");
        }
    }
    println!("CHECKPOINTS ok");
}

#[tokio::test]
async fn depth() {
    for (name, make) in [
        ("list", "x = [x]"),
        ("dict", "x = {'a': x}"),
        ("dollar", "x = {'$a': x}"),
        ("tuple", "x = (x,)"),
        ("enumlist", "x = [x, {1, 2}]"),
    ] {
        let mut s = session().await;
        for n in [98, 99, 100, 101, 102, 105, 120, 400] {
            let seen = s.run_code(&format!("x = 1\nfor _ in range({n}): {make}\nFINAL(x)")).await;
            println!(
                "DEPTH {name} {n}: {}",
                match seen {
                    Ok(o) => format!("{:?} sub={}", o.error.map(|e| e.to_string()), o.submission.is_some()),
                    Err(e) => format!("ERR {e}"),
                }
            );
            if s.ended().is_some() {
                s = session().await;
            }
        }
    }
    let mut s = factory().session();
    for n in [99, 100, 101, 102] {
        let mut v = Value::from(1);
        for _ in 0..n {
            v = Value::List(vec![v]);
        }
        let seen = s.execute(Cell::new("1").variable("x", v).read("x"), &NoHostFunctions).await;
        println!("DEPTH in {n}: {:?}", seen.map(|o| (o.error, o.variables.len())).map_err(|e| e.to_string()));
    }
}

#[tokio::test]
async fn odd_values() {
    let mut s = session().await;
    for code in [
        "import enum\nclass E(enum.IntEnum):\n    A = 1\nclass S(str): pass\nclass F(float): pass\nclass B(bytes): pass\nclass I(int): pass\nFINAL([E.A, S('x'), F(1), B(b'x'), I(3), bytearray(b'x'), memoryview(b'xy'), {S('k'): 1}, {1: 2}, 1j, ..., 2**100, -2**100, -2**31, 2**31, -0.0, float('nan'), '\\ud800', {'\\ud800': 1, '?': 2}, b''])",
        "FINAL('\\ud800' * 20000)",
        "print('\\ud800' * 3)",
        "FINAL(-2**63)",
        "FINAL(Ellipsis)",
    ] {
        match s.run_code(code).await {
            Ok(o) => println!(
                "ODD {:?} {:?} {:?}",
                o.error,
                o.submission.map(|s| s.to_value().repr(400)),
                o.stdout.head
            ),
            Err(e) => println!("ODD ERR {e}"),
        }
    }
    let mut s = factory().session();
    for v in [
        Value::Float(-0.0),
        Value::Float(f64::NAN),
        Value::from(i64::MIN),
        Value::from(i64::MAX),
        Value::int_from_decimal("-9223372036854775809").unwrap(),
        Value::from(i32::MIN as i64),
        Value::from(""),
        Value::Bytes(Default::default()),
        Value::List(vec![]),
        Value::from("\u{10ffff}".repeat(20000)),
        Value::from("é".repeat(20000)),
        Value::from("日".repeat(20000)),
        Value::from("x".repeat(16384)),
        Value::list([
            Value::from("x".repeat(16384)),
            Value::dict([
                ("a", Value::list([Value::from("y".repeat(20000))])),
                ("b", Value::from("z".repeat(20000))),
            ]),
        ]),
    ] {
        let seen =
            s.execute(Cell::new("").variable("x", v.clone()).read("x"), &NoHostFunctions).await.unwrap();
        let ok = format!("{:?}", seen.variables.get("x")) == format!("{:?}", Some(&v));
        if !ok {
            println!("ROUND {} {:?}", v.repr(50), seen.variables.get("x").map(|v| v.repr(50)));
        }
    }
}

// many cancelled cells with calls in flight
#[tokio::test]
async fn cancelled() {
    let mut s = factory().session();
    s.execute(Cell::new("k = 1").scope(scope()), &Ready).await.unwrap();
    for code in [
        "f()",
        "while True:\n    try: f()\n    except BaseException: pass",
        "import time; time.sleep(100)",
        "from concurrent.futures import ThreadPoolExecutor\nlist(ThreadPoolExecutor(8).map(f, range(20)))",
        "import asyncio\nawait asyncio.gather(*[asyncio.to_thread(f) for _ in range(10)])",
        "try: f()\nfinally:\n    f()",
        "while True: pass",
    ] {
        let t = Instant::now();
        let _ = tokio::time::timeout(
            Duration::from_millis(50),
            s.execute(Cell::new(code).scope(scope()), &Never),
        )
        .await;
        let mut fk = s.fork().await.unwrap();
        let a = s.execute(Cell::new("f(), k").scope(scope()), &Ready).await.unwrap();
        let b = fk.execute(Cell::new("f(), k").scope(scope()), &Ready).await.unwrap();
        println!(
            "CANCEL {:?} {:?} {:?} {code:?}",
            t.elapsed(),
            a.value.map(|v| v.to_string()).or(a.error.map(|e| e.to_string())),
            b.value.map(|v| v.to_string()).or(b.error.map(|e| e.to_string()))
        );
    }
    let _ = tokio::time::timeout(Duration::from_millis(50), s.execute(Cell::new("while True: pass"), &Never))
        .await;
    s.shutdown().await.unwrap();
    println!("CANCEL shutdown: {}", s.start().await.unwrap_err());
}

#[tokio::test]
async fn misc() {
    let _ = value(&mut session().await, "1").await;
    let _ = session_of(factory()).await;
    for limit in [None, Some(Duration::ZERO), Some(Duration::MAX)] {
        let mut s = factory().session();
        let o = s.execute(Cell::new("1").time_limit(limit), &NoHostFunctions).await.unwrap();
        println!(
            "LIMIT {limit:?} {:?} {:?} {:?}",
            o.value.map(|v| v.to_string()),
            o.interruption,
            o.error.map(|e| e.to_string())
        );
    }
    let f = WasmFactory::new(WasmConfig::new().max_sessions(2).grace(Duration::ZERO));
    let mut s = f.session();
    let o = s
        .execute(Cell::new("while True: pass").time_limit(Duration::from_millis(50)), &NoHostFunctions)
        .await
        .unwrap();
    println!("GRACE0 {:?}", o.interruption);
    let f = WasmFactory::new(WasmConfig::new().max_sessions(2).grace(Duration::MAX));
    let mut s = f.session();
    let o = tokio::spawn(async move {
        s.execute(Cell::new("while True: pass").time_limit(Duration::from_millis(50)), &NoHostFunctions)
            .await
            .map(|o| o.interruption)
    })
    .await;
    println!("GRACEMAX {:?}", o);
}

#[derive(Debug)]
struct Panics;
#[async_trait]
impl HostFunctions for Panics {
    async fn call(&self, _: HostCall) -> Result<Value, HostError> { panic!("tool bug") }
}
#[derive(Debug)]
struct Echo;
#[async_trait]
impl HostFunctions for Echo {
    async fn call(&self, mut c: HostCall) -> Result<Value, HostError> { tokio::task::yield_now().await; Ok(c.args.pop().or_else(|| c.kwargs.pop().map(|(_, v)| v)).unwrap_or_default()) }
}

#[tokio::test]
async fn starve_ordinary() {
    for code in ["while True: f()", "import asyncio\nwhile True: await asyncio.gather(*[asyncio.to_thread(f) for _ in range(100)])",
        "from concurrent.futures import ThreadPoolExecutor\np = ThreadPoolExecutor(64)\nwhile True: list(p.map(f, range(1000)))",
        "from concurrent.futures import ThreadPoolExecutor\np = ThreadPoolExecutor(64)\nlist(p.map(f, range(1_000_000)))"] {
        let mut s = factory().session();
        s.start().await.unwrap();
        let t = Instant::now();
        let o = s.execute(Cell::new(code).scope(scope()).time_limit(Duration::from_secs(1)), &Ready).await.unwrap();
        println!("ORDINARY {:?} {:?} {:?} {code:?}", t.elapsed(), o.interruption, o.error.map(|e| e.to_string()));
    }
}

#[tokio::test]
async fn late2() {
    let mut s = factory().session();
    s.execute(Cell::new("x = list(range(300000))"), &NoHostFunctions).await.unwrap();
    let (mut bad, mut int, mut killed, mut none) = (0, 0, 0, 0);
    for n in 0..2000u64 {
        let limit = Duration::from_micros((n % 300) * 100);
        let seen = s.execute(Cell::new(format!("for _ in range({}): pass", (n * 7919) % 2_000_000)).time_limit(limit), &NoHostFunctions).await.unwrap();
        match (seen.interruption, &seen.error) { (Some(Interruption::Interrupted), Some(_)) => int += 1, (Some(Interruption::Interrupted), None) => println!("interrupted but no error"), (Some(_), _) => killed += 1, (None, Some(_)) => println!("ODD {}", told(&seen)), _ => none += 1 }
        let next = s.execute(Cell::new("z = [i for i in range(1000)]\nlen(z)"), &NoHostFunctions).await.unwrap();
        if !next.is_ok() { bad += 1; println!("NEXT {}", told(&next)); }
    }
    println!("LATE2 interrupted {int} killed {killed} in time {none} next-cell hit {bad}");
    let mut bad = 0;
    for n in 0..1000u64 {
        let _ = tokio::time::timeout(Duration::from_micros((n % 300) * 100), s.execute(Cell::new(format!("for _ in range({}): pass", (n * 7919) % 2_000_000)), &NoHostFunctions)).await;
        let next = s.execute(Cell::new("z = [i for i in range(1000)]\nlen(z)"), &NoHostFunctions).await.unwrap();
        if !next.is_ok() { bad += 1; println!("NEXT {}", told(&next)); }
    }
    println!("LATE2 after drops: next-cell hit {bad}");
    // and with time.sleep, host calls
    let mut bad = 0;
    for n in 0..300u64 {
        let code = ["import time\ntime.sleep(0.01)", "f()\nf()\nf()", "from concurrent.futures import ThreadPoolExecutor\nlist(ThreadPoolExecutor(8).map(f, range(200)))"][n as usize % 3];
        let o = s.execute(Cell::new(code).scope(scope()).time_limit(Duration::from_micros((n * 131) % 12000)), &Echo).await.unwrap();
        if o.restored.is_some() || o.session_ended.is_some() { println!("{}", told(&o)); }
        let next = s.execute(Cell::new("z = [i for i in range(1000)]\nf(len(z))").scope(scope()), &Echo).await.unwrap();
        if !next.is_ok() || next.value.as_ref().unwrap().to_string() != "1000" { bad += 1; println!("NEXT {}", told(&next)); }
    }
    println!("LATE2 sleeps and calls: next-cell hit {bad}");
}

#[tokio::test]
async fn huge_error() {
    let mut s = session().await;
    let o = s.run_code("raise ValueError('x' * 30_000_000)").await.unwrap();
    let e = o.error.unwrap();
    println!("HUGE message {} traceback {}", e.message.len(), e.traceback.len());
    let o = s.run_code("class A: pass\nA.__name__ = 'n' * 10_000_000\na = A()\nraise type('T' * 10_000_000, (Exception,), {})()").await.unwrap();
    let e = o.error.unwrap();
    println!("HUGE type {} message {} traceback {} changed {:?}", e.type_name.len(), e.message.len(), e.traceback.len(), o.changed.iter().map(|c| (c.name.len(), c.type_name.len(), c.summary.len())).collect::<Vec<_>>());
    let o = s.run_code("globals()['v' * 10_000_000] = 1").await.unwrap();
    println!("HUGE name {:?}", o.changed.iter().map(|c| (c.name.len(), c.type_name.len(), c.summary.len())).collect::<Vec<_>>());
}

#[tokio::test]
async fn panics() {
    let mut s = factory().session();
    s.execute(Cell::new("k = 5").scope(scope()), &Ready).await.unwrap();
    let mut s = tokio::spawn(async move {
        let r = std::panic::AssertUnwindSafe(s.execute(Cell::new("f()").scope(scope()), &Panics));
        let r = futures_util::FutureExt::catch_unwind(r).await.is_err();
        println!("PANIC caught {r}");
        s
    }).await.unwrap();
    println!("PANIC then {:?}", s.execute(Cell::new("f(), k").scope(scope()), &Ready).await.map(|o| o.value.map(|v| v.to_string())));
}

#[tokio::test]
async fn detached_arguments() {
    let mut s = factory().session();
    for code in ["from concurrent.futures import ThreadPoolExecutor\nimport datetime\nlist(ThreadPoolExecutor(4).map(f, [{1}, datetime.date(2020,1,1), (1,2), 1j, bytearray(b'x')]))",
        "import asyncio, datetime\nawait asyncio.gather(*[asyncio.to_thread(f, v) for v in [{1}, datetime.date(2020,1,1), (1,2), 1j, f]])",
        "f({1})", "x = []\nfor _ in range(300): x = [x]\nlist(ThreadPoolExecutor(4).map(f, [x]))"] {
        match s.execute(Cell::new(code).scope(scope()), &Echo).await { Ok(o) => println!("DETACHED {:?} {:?}", o.value.map(|v| v.to_string()), o.error.map(|e| e.to_string())), Err(e) => println!("DETACHED ERR {e}") }
    }
}

// longest time for which the executor does nothing else
#[tokio::test(flavor = "current_thread")]
async fn stalls() {
    use std::sync::atomic::{AtomicU64, Ordering};
    let worst = Arc::new(AtomicU64::new(0));
    let w = worst.clone();
    tokio::spawn(async move { let mut last = Instant::now(); loop { tokio::time::sleep(Duration::from_millis(1)).await; let gap = last.elapsed().as_millis() as u64; w.fetch_max(gap, Ordering::Relaxed); last = Instant::now(); } });
    let f = WasmFactory::new(WasmConfig::new().max_sessions(4).memory_limit(2 << 30));
    f.warm().await.unwrap();
    let mut s = f.session();
    s.start().await.unwrap();
    let peak = Arc::new(AtomicU64::new(0)); let p2 = peak.clone();
    std::thread::spawn(move || loop { p2.fetch_max(rss(), Ordering::Relaxed); std::thread::sleep(Duration::from_millis(5)); });
    for (name, code) in [("SUBMIT 20M None", "FINAL([None] * 20_000_000)"), ("urandom 500MB", "import os\nx = os.urandom(500_000_000)"), ("next cell (checkpoint of 500 MB)", "1"), ("again", "2"), ("rewrite", "x = bytearray(x)"), ("next", "3"), ("print 200MB", "import sys\nx = None\nsys.stdout.write('x' * 200_000_000)"), ("os.write", "import os\nfor _ in range(10): os.write(1, b'x' * 100_000_000)")] {
        tokio::time::sleep(Duration::from_millis(5)).await;
        worst.store(0, Ordering::Relaxed);
        peak.store(0, Ordering::Relaxed);
        let t = Instant::now();
        let o = s.execute(Cell::new(code), &NoHostFunctions).await.unwrap();
        let took = t.elapsed();
        drop(o);
        tokio::time::sleep(Duration::from_millis(5)).await;
        println!("STALL {name}: {} ms of {took:?}, peak rss {}", worst.load(Ordering::Relaxed), peak.load(Ordering::Relaxed));
    }
    s.execute(Cell::new("import os\ny = os.urandom(300_000_000)"), &NoHostFunctions).await.unwrap();
    worst.store(0, Ordering::Relaxed);
    let b = s.snapshot().await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    println!("STALL snapshot of {} MB: {} ms", b.len() >> 20, worst.load(Ordering::Relaxed));
    worst.store(0, Ordering::Relaxed);
    let _r = f.restore(&b).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    println!("STALL restore: {} ms", worst.load(Ordering::Relaxed));
}

#[tokio::test]
async fn hostile_snapshots() {
    use sha2::Digest;
    let mut s = factory().session();
    s.execute(Cell::new("import os\nos.makedirs('/work/a/b')\nf = open('/work/a/x', 'w')\nf.write('hello'); f.flush()\ng = open('/tmp/y', 'wb')\ng.write(b'z' * 100000)\nk = 1"), &NoHostFunctions).await.unwrap();
    let good = s.snapshot().await.unwrap();
    drop(s);
    let head = 20 + 4 + 32 + 32;
    let pages = u32::from_le_bytes(good[head + 8..head + 12].try_into().unwrap()) as usize;
    let files = head + 12 + pages * 4100;
    println!("SNAP {} bytes, {pages} pages, {} of files", good.len(), good.len() - files);
    let mut x = 0x1234_5678_9abc_def0u64;
    let mut rnd = || { x ^= x << 13; x ^= x >> 7; x ^= x << 17; x };
    let (mut ok, mut refused, mut ended) = (0, 0, 0);
    let t = Instant::now();
    let mut n = 0;
    while t.elapsed() < Duration::from_secs(25) {
        n += 1;
        let mut b = good.clone();
        match n % 4 {
            0 => { for _ in 0..1 + rnd() % 3 { let at = files + (rnd() as usize) % (b.len() - files).min(300); b[at] = [0, 1, 2, 4, 0x7f, 0x80, 0xff, 3][rnd() as usize % 8]; } }
            1 => { let at = b.len() - 1 - rnd() as usize % 200; b[at] = [0, 1, 2, 7, 0x7f, 0x80, 0xff, 3][rnd() as usize % 8]; }
            2 => { for _ in 0..50 { let at = head + 12 + (rnd() as usize) % (pages * 4100); b[at] = rnd() as u8; } }
            _ => { let at = head + (rnd() as usize % 12); b[at] = rnd() as u8; }
        }
        let sum = sha2::Sha256::digest(&b[head..]);
        b[head - 32..head].copy_from_slice(&sum);
        match factory().restore(&b).await {
            Err(e) => { assert!(matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::Config), "{e:?}"); refused += 1 }
            Ok(mut s) => match s.execute(Cell::new("import os\nfor d in ('/work', '/tmp', '/work/a'):\n    try: print(os.listdir(d), os.stat(d))\n    except OSError as e: print(e)\ntry: f.write('more'); f.flush(); f.tell(); f.truncate(3)\nexcept BaseException as e: print(e)\nopen('/work/new', 'w').write('x')\nos.write(1, b'raw')\nopen('/tmp/y', 'ab').write(b'1')\nk").time_limit(Duration::from_secs(2)), &NoHostFunctions).await {
                Ok(o) => { if o.session_ended.is_some() { ended += 1 } else { ok += 1 } let _ = s.snapshot().await; let _ = s.fork().await; }
                Err(_) => ended += 1,
            }
        }
    }
    println!("SNAP fuzz: {n} tried, {ok} ok, {refused} refused, {ended} ended");
}

#[tokio::test(flavor = "current_thread")]
async fn cold() {
    let f = WasmFactory::new(WasmConfig::new().cache(false).max_sessions(2));
    let t = Instant::now();
    let r = tokio::time::timeout(Duration::from_secs(2), f.warm()).await;
    println!("COLD dropped after {:?}: {}", t.elapsed(), r.is_err());
    let r = f.warm().await;
    println!("COLD ready after {:?}: {}", t.elapsed(), r.is_ok());
}

#[tokio::test(flavor = "current_thread")]
async fn big_checkpoint() {
    let f = WasmFactory::new(WasmConfig::new().max_sessions(4).memory_limit(2 << 30));
    let mut s = f.session();
    for code in ["import os\nx = os.urandom(200_000_000)\nh = hash(x)\nlen(x)", "1", "2", "hash(x) == h", "y = bytearray(x)\nlen(y)", "3", "4"] {
        let t = Instant::now();
        let o = s.execute(Cell::new(code), &NoHostFunctions).await.unwrap();
        println!("BIG {code:?} {:?} rss {} {:?} {:?}", t.elapsed(), rss(), o.value.map(|v| v.to_string()), o.error.map(|e| e.to_string()));
    }
    let o = s.execute(Cell::new("y[:] = b''\nx = None\nimport gc; gc.collect(); z = bytearray(500_000_000)\nimport os; os._exit(1)"), &NoHostFunctions).await.unwrap();
    println!("BIG {:?}", o.restored);
    let t = Instant::now();
    let o = s.execute(Cell::new("import os; hash(x) == h and hash(bytes(y)) == h"), &NoHostFunctions).await.unwrap();
    println!("BIG {:?} {:?} {:?} rss {}", o.value.map(|v| v.to_string()), o.error.map(|e| e.to_string()), t.elapsed(), rss());
    let t = Instant::now();
    let b = s.snapshot().await.unwrap();
    println!("BIG snapshot {} {:?}", b.len() >> 20, t.elapsed());
}

/// The session's own words after it was killed, when no slot is free: how long does execute take?
#[tokio::test]
async fn kill_contended() {
    let f = WasmFactory::new(WasmConfig::new().max_sessions(1).slot_wait(Duration::from_secs(30)));
    let mut a = f.session();
    a.execute(Cell::new("x = 42"), &NoHostFunctions).await.unwrap();
    let g = f.clone();
    let _waiter = tokio::spawn(async move { let mut b = g.session(); let _ = b.start().await; tokio::time::sleep(Duration::from_secs(12)).await; });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let t = Instant::now();
    let o = a.execute(Cell::new("while True:\n    try:\n        while True: pass\n    except BaseException: pass").time_limit(Duration::from_secs(1)), &NoHostFunctions).await.unwrap();
    println!("KILL limit 1 s, took {:?} {:?} restored={:?}", t.elapsed(), o.interruption, o.restored.is_some());
}

/// One cell, ordinary names only: how far can the host be driven?
#[tokio::test]
async fn host_memory_2() {
    let peak = Arc::new(std::sync::atomic::AtomicU64::new(0)); let p2 = peak.clone();
    std::thread::spawn(move || loop { let r = rss(); p2.fetch_max(r, std::sync::atomic::Ordering::Relaxed); if r > 10_000 { println!("MEM2 over 10 GB of host memory from a session of 512 MiB: stopped"); std::process::exit(0) } std::thread::sleep(Duration::from_millis(5)); });
    let mut s = factory().session();
    let code = "import asyncio\nbig = 'x' * 100_000_000\nawait asyncio.gather(*[asyncio.to_thread(f, big) for _ in range(1000)])";
    let o = s.execute(Cell::new(code).scope(scope()).time_limit(Duration::from_secs(20)), &Never).await.unwrap();
    println!("MEM2 peak {} {:?}", peak.load(std::sync::atomic::Ordering::Relaxed), o.error.map(|e| e.to_string()));
}
#[tokio::test]
async fn host_memory_3() {
    let peak = Arc::new(std::sync::atomic::AtomicU64::new(0)); let p2 = peak.clone();
    std::thread::spawn(move || loop { let r = rss(); p2.fetch_max(r, std::sync::atomic::Ordering::Relaxed); if r > 10_000 { println!("MEM3 over 10 GB of host memory from a session of 512 MiB: stopped"); std::process::exit(0) } std::thread::sleep(Duration::from_millis(5)); });
    let mut s = factory().session();
    let o = s.execute(Cell::new("x = [[]] * 50_000_000\nFINAL([x, x])").scope(scope()).time_limit(Duration::from_secs(20)), &Never).await.unwrap();
    println!("MEM3 peak {} {:?} {}", peak.load(std::sync::atomic::Ordering::Relaxed), o.error.map(|e| e.to_string()), o.submission.is_some());
    let o = s.execute(Cell::new("x = [None] * 60_000_000\nFINAL(x)").scope(scope()).time_limit(Duration::from_secs(20)), &Never).await.unwrap();
    println!("MEM3 peak {} {:?} {}", peak.load(std::sync::atomic::Ordering::Relaxed), o.error.map(|e| e.to_string()), o.submission.is_some());
}
