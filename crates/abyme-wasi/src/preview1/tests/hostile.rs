//! Random calls with random arguments: each returns an error number or does its work.

use proptest::prelude::*;

use super::*;

/// Text that paths are taken from, and numbers that buffers are taken from.
const MEMORY: usize = 0x1_0000;
const PATHS: &str = "/work/a/../b/./tmp/c/dev/null/lib/python3.13/x//";

fn argument() -> impl Strategy<Value = i64> {
    prop_oneof![
        8 => 0..12_i64,
        4 => (MEMORY as i64)..(MEMORY as i64 + 200),
        4 => 0..0x2_0000_i64,
        2 => prop::sample::select(
            vec![-1, i64::MAX, i64::MIN, 0xffff_fff0, 0x1_fff8, 0x2_0000, 1 << 31, 1 << 40]
        ),
        1 => any::<i64>(),
    ]
}

fn call() -> impl Strategy<Value = (usize, Vec<i64>)> {
    // All but `proc_exit`, which is meant to end the guest.
    (0..FUNCTIONS.len() - 1, prop::collection::vec(argument(), 9))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn no_call_does_harm(
        calls in prop::collection::vec(call(), 1..200),
        noise in prop::collection::vec(any::<u8>(), 256),
    ) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut guest = Guest::new().await;
            guest.put(0, &noise);
            guest.put(MEMORY, PATHS.as_bytes());
            let mut checkpoint = None;
            for (index, (which, mut arguments)) in calls.into_iter().enumerate() {
                let (name, parameters) = FUNCTIONS[which];
                arguments.truncate(parameters.len());
                let error = guest.call(name, &arguments).await;
                assert!(error <= 76, "{name} {arguments:?} {error}");
                assert!(guest.store.data().wasi.files.used() <= 1 << 20);
                match index {
                    40 => checkpoint = Some(guest.store.data().wasi.checkpoint().to_bytes().unwrap()),
                    80 => {
                        let checkpoint = WasiCheckpoint::from_bytes(checkpoint.as_ref().unwrap()).unwrap();
                        guest.store.data_mut().wasi.restore(&checkpoint);
                    }
                    _ => {}
                }
            }
            // It still works.
            let fd = guest.open("/tmp/last", CREATE, READ | WRITE, 0).await;
            assert!(matches!(fd, Ok(_) | Err(51)), "{fd:?}");
        });
    }
}
