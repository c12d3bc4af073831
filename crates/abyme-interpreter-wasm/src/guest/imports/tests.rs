//! The imports, called as a guest calls them that is not ours: with any numbers, in any order, over memory
//! that holds anything. Each call does its work, or ends the guest with [`InvalidMessage`]; none reads or
//! writes outside of the guest's memory, and none panics.

use std::{
    collections::HashSet,
    fmt::Write,
    sync::{Arc, OnceLock},
};

use abyme_driver::repl::Collector;
use abyme_wasi::{Archive, FileSystem, Quota, Wasi};
use proptest::prelude::*;
use wasmtime::{Engine, Instance, Module, Store, Val};

use super::*;
use crate::guest::{calls::HostCalls, request::GuestMessage};

/// Every import, with its parameters (`i` for 32 bits, `F` for a float of 64) and whether it answers.
const IMPORTS: [(&str, &str, bool); 12] = [
    ("request", "", true),
    ("answer", "ii", false),
    ("start", "ii", true),
    ("wait", "iF", true),
    ("reply", "i", true),
    ("raw", "i", true),
    ("copy", "i", false),
    ("longs", "", true),
    ("long", "ii", false),
    ("fill", "ii", false),
    ("output", "iii", false),
    ("submit", "ii", false),
];

/// The guest's memory: two pages.
const PAGES: usize = 2;
const MEMORY: usize = PAGES << 16;
/// What all messages of the guest may take of the host.
const MAX_BYTES: u64 = 1 << 16;
/// Where good messages lie.
const MESSAGES: usize = 1 << 12;

struct Guest {
    store: Store<GuestState>,
    instance: Instance,
    memory: wasmtime::Memory,
}

impl Guest {
    async fn new() -> Self {
        static OF_ALL: OnceLock<Module> = OnceLock::new();
        let module =
            OF_ALL.get_or_init(|| Module::new(&Engine::default(), wat::parse_str(text()).unwrap()).unwrap());
        let mut linker = Linker::new(module.engine());
        add_to_linker(&mut linker).unwrap();
        let archive = Arc::new(Archive::new("/lib/python3.13", || Err("there is none here".into())));
        let files = FileSystem::new(Quota { max_bytes: 1 << 20, max_inodes: 500 }, archive, &[]).unwrap();
        let calls = HostCalls::new(MAX_BYTES);
        calls.lock().begin(Collector::new(100));
        let mut store = Store::new(module.engine(), GuestState::new(Wasi::new(files), calls, MEMORY));
        let instance = linker.instantiate_async(&mut store, module).await.unwrap();
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        store.data_mut().memory = Some(memory);
        Self { store, instance, memory }
    }

    async fn call(&mut self, which: usize, arguments: &[i64]) -> wasmtime::Result<()> {
        let (name, parameters, answers) = IMPORTS[which];
        let arguments: Vec<Val> = parameters
            .chars()
            .zip(arguments)
            .map(|(kind, value)| match kind {
                'i' => Val::I32(*value as i32),
                // Waits are short or not at all: nothing here finishes calls while one waits.
                _ => Val::F64(if *value % 2 == 0 { 0.0_f64 } else { 1e-6 }.to_bits()),
            })
            .collect();
        let function = self.instance.get_func(&mut self.store, name).unwrap();
        let mut result = [Val::I32(0)];
        let results = if answers { &mut result[..] } else { &mut result[..0] };
        function.call_async(&mut self.store, &arguments, results).await
    }
}

/// A module that imports everything, and exports each under the same name.
fn text() -> String {
    let mut text = String::from("(module\n");
    let types = |parameters: &str, answers: bool| {
        let types: Vec<_> = parameters.chars().map(|kind| if kind == 'i' { "i32" } else { "f64" }).collect();
        let result = if answers { "(result i32)" } else { "" };
        format!("(param {}) {result}", types.join(" "))
    };
    for (name, parameters, answers) in IMPORTS {
        let types = types(parameters, answers);
        writeln!(text, "(import \"{MODULE}\" \"{name}\" (func ${name} {types}))").unwrap();
    }
    writeln!(text, "(memory (export \"memory\") {PAGES})").unwrap();
    for (name, parameters, answers) in IMPORTS {
        let pass: String = (0..parameters.len()).map(|index| format!("(local.get {index})")).collect();
        let types = types(parameters, answers);
        writeln!(text, "(func (export \"{name}\") {types} (call ${name} {pass}))").unwrap();
    }
    text + ")"
}

/// What a good guest sends: a call, an answer, a submission, output.
fn messages() -> Vec<Vec<u8>> {
    let message = |write: &dyn Fn(&mut Encoder) -> Result<(), String>| {
        let mut encoder = Encoder::default();
        write(&mut encoder).unwrap();
        GuestMessage::from(encoder).data.to_vec()
    };
    vec![
        message(&|encoder| {
            encoder.begin_tuple(3)?;
            encoder.text("echo")?;
            encoder.value(&Value::list([1, 2]))?;
            encoder.value(&Value::dict([("k", "v")]))
        }),
        message(&|encoder| {
            encoder.begin_tuple(3)?;
            encoder.text("SUBMIT")?;
            encoder.value(&Value::dict([("answer", Value::from(42))]))?;
            encoder.value(&Value::None)
        }),
        message(&|encoder| encoder.value(&Value::dict([("value", "1"), ("error", "none")]))),
        "some output, нéé 🦀".as_bytes().to_vec(),
    ]
}

/// Addresses and lengths: those of good messages, those around the end of the memory, and all others.
fn argument() -> impl Strategy<Value = i64> {
    let starts: Vec<i64> = (0..4).map(|slot| (MESSAGES + slot * 512) as i64).collect();
    let lengths: Vec<i64> = messages().iter().map(|message| message.len() as i64).collect();
    prop_oneof![
        6 => prop::sample::select(starts),
        6 => prop::sample::select(lengths),
        4 => 0..8_i64,
        3 => (MEMORY as i64 - 16)..(MEMORY as i64 + 16),
        2 => prop::sample::select(vec![-1, i64::from(i32::MAX), i64::from(i32::MIN), 0xffff_fff0, 1 << 30]),
        1 => any::<i64>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_import_does_harm(
        calls in prop::collection::vec((0..IMPORTS.len(), prop::collection::vec(argument(), 3)), 1..60),
        noise in prop::collection::vec((0..2048_usize, any::<u8>()), 0..6),
    ) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut guest = Guest::new().await;
            for (slot, message) in messages().iter().enumerate() {
                guest.memory.write(&mut guest.store, MESSAGES + slot * 512, message).unwrap();
            }
            for (at, byte) in &noise {
                guest.memory.write(&mut guest.store, MESSAGES + at, &[*byte]).unwrap();
            }
            guest.store.data_mut().request = {
                let mut encoder = Encoder::default();
                let texts = [Value::from("é🦀".repeat(20_000)), Value::from("a".repeat(20_000))];
                encoder.value(&Value::list(texts)).unwrap();
                // As a cell, whose texts the host remembers the places of.
                GuestMessage { is_cell: true, ..encoder.into() }
            };
            for (which, arguments) in calls {
                if let Err(error) = guest.call(which, &arguments).await {
                    // A trap of the guest itself would be an address that wasmtime caught for us.
                    let known = error.downcast_ref::<InvalidMessage>().is_some();
                    assert!(known, "{} {arguments:?}: {error:?}", IMPORTS[which].0);
                    return;
                }
                // The host's side, as far as the guest can make it grow.
                let state = guest.store.data();
                assert!(state.placed.bytes() <= MEMORY, "{}", state.placed.bytes());
                let started = guest.store.data().calls.lock().take_started();
                for (number, call) in started {
                    let given = Ok(call.kwargs.get("k").cloned().unwrap_or_default());
                    guest.store.data().calls.lock().finish(number, given);
                }
            }
        });
    }
}

/// Each import refuses what lies outside of the memory, at its very end too. What lies inside at the same
/// place is taken: else nothing would be tried here.
#[tokio::test]
async fn addresses_outside_of_the_memory_end_the_guest() {
    let end = MEMORY as i64;
    let mut refused = HashSet::new();
    for (name, arguments) in [
        ("answer", [end - 3, 4, 0]),
        ("answer", [-1, 1, 0]),
        ("start", [end, 1, 0]),
        ("start", [4, -1, 0]),
        ("copy", [end - 1, 0, 0]),
        ("long", [0, end - 7, 0]),
        ("long", [1, 0, 0]),
        ("fill", [0, end - 10, 0]),
        ("fill", [0, -8, 0]),
        ("fill", [7, 0, 0]),
        ("output", [0, end - 1, 2]),
        ("output", [9, i64::from(i32::MIN), i64::from(i32::MAX)]),
        ("submit", [end - 1, 2, 0]),
    ] {
        let mut guest = Guest::new().await;
        guest.store.data_mut().prepared = {
            let mut encoder = Encoder::default();
            encoder.value(&Value::from("é".repeat(50_000))).unwrap();
            let mut message = GuestMessage::from(encoder);
            message.data = vec![0; 2].into();
            message
        };
        assert_eq!(guest.store.data().prepared.longs.len(), 1, "there is a long object to ask for");
        let which = IMPORTS.iter().position(|(other, ..)| *other == name).unwrap();
        let error = guest.call(which, &arguments).await.unwrap_err();
        assert!(error.downcast_ref::<InvalidMessage>().is_some(), "{name} {arguments:?}: {error:?}");
        refused.insert(name);
    }
    let mut guest = Guest::new().await;
    guest.memory.write(&mut guest.store, MEMORY - 4, b"last").unwrap();
    let output = IMPORTS.iter().position(|(name, ..)| *name == "output").unwrap();
    guest.call(output, &[0, end - 4, 4]).await.unwrap();
    let takes_addresses = IMPORTS
        .iter()
        .filter(|(name, ..)| ["answer", "start", "copy", "long", "fill", "output", "submit"].contains(name));
    assert_eq!(takes_addresses.count(), refused.len());
}
