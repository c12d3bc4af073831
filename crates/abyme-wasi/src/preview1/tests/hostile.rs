//! Random calls: each returns an error number or does its work. Half of them have random numbers as
//! arguments, and half of them what a guest passes there, or nearly.

use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};

use super::*;

/// Text that paths are taken from, and numbers that buffers are taken from.
const MEMORY: usize = 0x1_0000;
const PATHS: &str = "/work/a/../b/./tmp/c/dev/null/lib/python3.13/x///tmp/x/y/tmp/z/work/k";

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

/// Where the paths begin in [`PATHS`], and their lengths.
const NAMED: [(i64, i64); 16] = [
    (0, 5),
    (0, 7),
    (6, 4),
    (11, 3),
    (14, 4),
    (14, 6),
    (15, 5),
    (20, 9),
    (29, 15),
    (45, 3),
    (48, 6),
    (48, 6),
    (48, 8),
    (56, 6),
    (57, 5),
    (62, 7),
];
/// Where descriptions of buffers are, and the buffers.
const BUFFERS: usize = 0x1_1000;
const DATA: usize = 0x1_2000;
/// What each function takes, in the order of [`FUNCTIONS`]: `d`escriptor, of the root (`D`), or one to be
/// gone (`e`), `p`ath with its `l`ength,
/// `b`uffers with their `c`ount, `a`ddress for what is answered, how `m`any bytes, `o`ffset, `f`lags, rights
/// (`R`), time (`T`).
const MEANINGS: [&str; 46] = [
    "aa",
    "aa",
    "fa",
    "fTa",
    "aa",
    "aa",
    "doof",
    "doo",
    "e",
    "d",
    "da",
    "df",
    "dRR",
    "da",
    "do",
    "dTTf",
    "dbcoa",
    "dam",
    "da",
    "dbcoa",
    "dbca",
    "damoa",
    "ee",
    "dofa",
    "d",
    "da",
    "dbca",
    "Dpl",
    "Dfpla",
    "DfplTTf",
    "DfplDpl",
    "DfplfRRfa",
    "Dplama",
    "Dpl",
    "DplDpl",
    "plDpl",
    "Dpl",
    "aaca",
    "f",
    "am",
    "",
    "dfa",
    "dbcfaa",
    "dbcfa",
    "df",
    "f",
];

/// Arguments of a function that mean something, with a random one among them now and then.
fn meant(which: usize) -> impl Strategy<Value = Vec<i64>> {
    let one = |meaning| match meaning {
        'D' => prop_oneof![9 => Just(3_i64), 1 => 4..8_i64].boxed(),
        'd' => prop_oneof![8 => 4..7_i64, 1 => 0..10_i64].boxed(),
        'e' => (4..8_i64).boxed(),
        'f' => prop_oneof![4 => 0..16_i64, 4 => 0..2_i64, 1 => any::<u16>().prop_map(i64::from)].boxed(),
        'b' => (0..4_i64).prop_map(|nth| BUFFERS as i64 + 8 * nth).boxed(),
        'c' => (0..4_i64).boxed(),
        'a' => (0..64_i64).prop_map(|nth| DATA as i64 + 64 * nth).boxed(),
        'm' => (0..200_i64).boxed(),
        'o' => prop_oneof![4 => 0..300_i64, 1 => -20..0_i64, 1 => Just(1 << 20)].boxed(),
        'R' => prop_oneof![Just(-1_i64), 0..0x1fff_ffff_i64].boxed(),
        'T' => prop_oneof![0..3_i64, Just(1_700_000_000_000_000_000), any::<i64>()].boxed(),
        other => panic!("nothing is meant by {other}"),
    };
    let (meanings, mut all) = (MEANINGS[which].replace("pl", "p"), Just(Vec::new()).boxed());
    for meaning in meanings.chars() {
        let next = match meaning {
            'p' => prop::sample::select(NAMED.to_vec())
                .prop_map(|(at, length)| vec![MEMORY as i64 + at, length])
                .boxed(),
            meaning => prop_oneof![40 => one(meaning), 1 => argument()].prop_map(|one| vec![one]).boxed(),
        };
        all = (all, next).prop_map(|(all, next)| [all, next].concat()).boxed();
    }
    all
}

/// A call, those that open, write and read more often than others.
fn meant_call() -> impl Strategy<Value = (usize, Vec<i64>)> {
    let often: Vec<usize> = ["path_open", "path_open", "fd_write", "fd_read", "path_create_directory"]
        .into_iter()
        .map(|name| FUNCTIONS.iter().position(|(other, _)| *other == name).unwrap())
        .collect();
    let which = prop_oneof![2 => 0..FUNCTIONS.len() - 1, 1 => prop::sample::select(often)];
    which.prop_flat_map(|which| meant(which).prop_map(move |arguments| (which, arguments)))
}

/// Memory as the calls expect it.
async fn prepared(noise: &[u8]) -> Guest {
    let mut guest = Guest::new().await;
    guest.put(0, noise);
    guest.put(MEMORY, PATHS.as_bytes());
    for (nth, length) in [5_u32, 100, 0, 3_000].into_iter().enumerate() {
        let base = u32::try_from(DATA + 0x1000 * nth).unwrap();
        guest.put(BUFFERS + 8 * nth, &[base.to_le_bytes(), length.to_le_bytes()].concat());
    }
    guest
}

fn block_on(body: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(body);
}

/// Calls with a meaning do their work often enough, each of those that files are made of.
#[test]
fn calls_with_a_meaning_mostly_get_through() {
    for (meanings, (name, parameters)) in MEANINGS.iter().zip(FUNCTIONS) {
        assert_eq!(meanings.len(), parameters.len(), "{name}");
    }
    block_on(async {
        let mut runner = TestRunner::deterministic();
        let mut done = std::collections::BTreeMap::new();
        for _ in 0..20 {
            let mut guest = prepared(&[0; 256]).await;
            for _ in 0..200 {
                let (which, arguments) = meant_call().new_tree(&mut runner).unwrap().current();
                let (name, _) = FUNCTIONS[which];
                if guest.call(name, &arguments).await == 0 {
                    *done.entry(name).or_insert(0) += 1;
                }
            }
        }
        for name in ["path_open", "fd_write", "fd_read", "fd_pread", "path_rename", "fd_readdir"] {
            assert!(done.get(name).is_some_and(|&times| times > 2), "{name}: {done:?}");
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn no_call_does_harm(
        calls in prop::collection::vec(prop_oneof![call(), meant_call()], 1..200),
        noise in prop::collection::vec(any::<u8>(), 256),
    ) {
        block_on(async {
            let mut guest = prepared(&noise).await;
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
