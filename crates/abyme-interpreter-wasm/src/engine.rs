//! The settings of the WebAssembly engines.

use wasmtime::{Config, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use crate::config::WasmConfig;

/// Stack of the guest's WebAssembly code. Python's own limits on recursion fit into it with room to spare.
const WASM_STACK: usize = 16 << 20;
/// The stack of a fiber also holds the host functions that the guest calls.
const FIBER_STACK: usize = WASM_STACK + (1 << 20);
/// Elements of the table of functions; CPython has about 8 000.
const TABLE_ELEMENTS: usize = 20_000;
/// A page of WebAssembly memory.
pub(crate) const WASM_PAGE: u64 = 64 << 10;
/// Each instance of the pool has room for at least this much: the pool refuses modules that need more.
const MIN_MEMORY: u64 = 64 << 20;
/// The settings that both engines share: the one that prepares the interpreter, and the one that runs
/// sessions.
pub(crate) fn engine_config() -> Config {
    let mut config = Config::new();
    config
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(FIBER_STACK)
        .wasm_backtrace_max_frames(None)
        .generate_address_map(false)
        .native_unwind_info(false)
        .cranelift_opt_level(OptLevel::Speed);
    config
}

/// The settings of a pool of instances: making one takes some microseconds, and its memory is the base
/// image's until it is written to.
pub(crate) fn pooling(config: &WasmConfig) -> Config {
    let instances = config.max_sessions.saturating_add(1); // and the base image's
    let memory = config.memory_limit_bytes.next_multiple_of(WASM_PAGE).max(MIN_MEMORY);
    let memory = usize::try_from(memory).unwrap_or(usize::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(instances)
        .total_memories(instances)
        .total_tables(instances)
        .total_stacks(instances)
        .max_core_instance_size(1 << 20)
        .max_memory_size(memory)
        .table_elements(TABLE_ELEMENTS)
        .table_keep_resident(TABLE_ELEMENTS * size_of::<usize>());
    let mut engine = engine_config();
    engine
        .epoch_interruption(true)
        .memory_init_cow(true)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    engine
}
