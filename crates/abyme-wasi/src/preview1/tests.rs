//! Tests of the system, called as a guest calls it: from a module, with addresses in its memory.

use std::{
    fmt::Write,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use wasmtime::{Caller, Engine, Instance, Linker, Memory, Module, Store, Val};

use super::{linker::MODULE, *};
use crate::fs::{Archive, Errno, FileSystem, Quota};

mod calls;
mod hostile;
mod poll;

/// Every function, with its parameters: `i` for 32 bits, `I` for 64. All but the last one answer 32 bits.
const FUNCTIONS: [(&str, &str); 46] = [
    ("args_get", "ii"),
    ("args_sizes_get", "ii"),
    ("clock_res_get", "ii"),
    ("clock_time_get", "iIi"),
    ("environ_get", "ii"),
    ("environ_sizes_get", "ii"),
    ("fd_advise", "iIIi"),
    ("fd_allocate", "iII"),
    ("fd_close", "i"),
    ("fd_datasync", "i"),
    ("fd_fdstat_get", "ii"),
    ("fd_fdstat_set_flags", "ii"),
    ("fd_fdstat_set_rights", "iII"),
    ("fd_filestat_get", "ii"),
    ("fd_filestat_set_size", "iI"),
    ("fd_filestat_set_times", "iIIi"),
    ("fd_pread", "iiiIi"),
    ("fd_prestat_dir_name", "iii"),
    ("fd_prestat_get", "ii"),
    ("fd_pwrite", "iiiIi"),
    ("fd_read", "iiii"),
    ("fd_readdir", "iiiIi"),
    ("fd_renumber", "ii"),
    ("fd_seek", "iIii"),
    ("fd_sync", "i"),
    ("fd_tell", "ii"),
    ("fd_write", "iiii"),
    ("path_create_directory", "iii"),
    ("path_filestat_get", "iiiii"),
    ("path_filestat_set_times", "iiiiIIi"),
    ("path_link", "iiiiiii"),
    ("path_open", "iiiiiIIii"),
    ("path_readlink", "iiiiii"),
    ("path_remove_directory", "iii"),
    ("path_rename", "iiiiii"),
    ("path_symlink", "iiiii"),
    ("path_unlink_file", "iii"),
    ("poll_oneoff", "iiii"),
    ("proc_raise", "i"),
    ("random_get", "ii"),
    ("sched_yield", ""),
    ("sock_accept", "iii"),
    ("sock_recv", "iiiiii"),
    ("sock_send", "iiiii"),
    ("sock_shutdown", "ii"),
    ("proc_exit", "i"),
];

struct Host {
    wasi: Wasi,
    memory: Option<Memory>,
    interrupt: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl HasWasi for Host {
    fn wasi(&mut self) -> &mut Wasi {
        &mut self.wasi
    }

    fn memory(&self) -> Option<Memory> {
        self.memory
    }

    fn take_interrupt(caller: &mut Caller<'_, Self>) -> bool {
        caller.data().asked.fetch_add(1, Ordering::Relaxed);
        caller.data().interrupt.swap(false, Ordering::Relaxed)
    }
}

/// A guest whose exports pass their arguments on.
struct Guest {
    store: Store<Host>,
    instance: Instance,
    memory: Memory,
}

impl Guest {
    async fn new() -> Self {
        static MODULE_OF_ALL: OnceLock<Module> = OnceLock::new();
        let module = MODULE_OF_ALL
            .get_or_init(|| Module::new(&Engine::default(), wat::parse_str(text()).unwrap()).unwrap());
        let engine = module.engine();
        let mut linker = Linker::new(engine);
        add_to_linker(&mut linker).unwrap();
        let archive = Arc::new(Archive::new("/lib/python3.13", || Err("there is none here".into())));
        let wasi =
            Wasi::new(FileSystem::new(Quota { max_bytes: 1 << 20, max_inodes: 500 }, archive, &[]).unwrap());
        let host = Host { wasi, memory: None, interrupt: Arc::default(), asked: Arc::default() };
        let mut store = Store::new(engine, host);
        let instance = linker.instantiate_async(&mut store, module).await.unwrap();
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        Self { store, instance, memory }
    }

    /// Calls one function; its error number.
    async fn call(&mut self, name: &str, arguments: &[i64]) -> u32 {
        self.try_call(name, arguments).await.unwrap()
    }

    async fn try_call(&mut self, name: &str, arguments: &[i64]) -> wasmtime::Result<u32> {
        let (_, parameters) = FUNCTIONS.iter().find(|(other, _)| *other == name).unwrap();
        assert_eq!(parameters.len(), arguments.len(), "{name}");
        let arguments: Vec<Val> = parameters
            .chars()
            .zip(arguments)
            .map(|(kind, value)| if kind == 'i' { Val::I32(*value as i32) } else { Val::I64(*value) })
            .collect();
        let function = self.instance.get_func(&mut self.store, name).unwrap();
        let mut result = [Val::I32(-1)];
        let results = if name == "proc_exit" { &mut result[..0] } else { &mut result[..] };
        function.call_async(&mut self.store, &arguments, results).await?;
        Ok(result[0].unwrap_i32() as u32)
    }

    fn put(&mut self, address: usize, bytes: &[u8]) {
        self.memory.write(&mut self.store, address, bytes).unwrap();
    }

    fn get(&self, address: usize, len: usize) -> &[u8] {
        &self.memory.data(&self.store)[address..address + len]
    }

    fn u32(&self, address: usize) -> u32 {
        u32::from_le_bytes(self.get(address, 4).try_into().unwrap())
    }

    fn u64(&self, address: usize) -> u64 {
        u64::from_le_bytes(self.get(address, 8).try_into().unwrap())
    }

    /// One buffer at 1000, described at 0.
    fn buffer(&mut self, len: u32) {
        self.put(0, &1000_u32.to_le_bytes());
        self.put(4, &len.to_le_bytes());
    }

    async fn open(&mut self, path: &str, how: u32, rights: u64, flags: u16) -> Result<u32, u32> {
        self.put(500, path.as_bytes());
        let arguments =
            [3, 1, 500, path.len() as i64, i64::from(how), rights as i64, 0, i64::from(flags), 20];
        match self.call("path_open", &arguments).await {
            0 => Ok(self.u32(20)),
            error => Err(error),
        }
    }

    async fn write(&mut self, fd: u32, text: &str) -> Result<u32, u32> {
        self.buffer(text.len() as u32);
        self.put(1000, text.as_bytes());
        match self.call("fd_write", &[fd.into(), 0, 1, 20]).await {
            0 => Ok(self.u32(20)),
            error => Err(error),
        }
    }

    async fn read(&mut self, fd: u32, len: u32) -> Result<String, u32> {
        self.buffer(len);
        match self.call("fd_read", &[fd.into(), 0, 1, 20]).await {
            0 => Ok(String::from_utf8(self.get(1000, self.u32(20) as usize).to_vec()).unwrap()),
            error => Err(error),
        }
    }

    async fn seek(&mut self, fd: u32, offset: i64, whence: u32) -> Result<u64, u32> {
        match self.call("fd_seek", &[fd.into(), offset, whence.into(), 24]).await {
            0 => Ok(self.u64(24)),
            error => Err(error),
        }
    }
}

/// The text of a module that imports everything, and exports each under the same name.
fn text() -> String {
    let mut text = String::from("(module\n");
    for (name, parameters) in FUNCTIONS {
        let (types, result) = types(name, parameters);
        writeln!(text, "(import \"{MODULE}\" \"{name}\" (func ${name} (param {types}) {result}))").unwrap();
    }
    text.push_str("(memory (export \"memory\") 2)\n");
    for (name, parameters) in FUNCTIONS {
        let (types, result) = types(name, parameters);
        let pass: String = (0..parameters.len()).map(|index| format!("(local.get {index})")).collect();
        writeln!(text, "(func (export \"{name}\") (param {types}) {result} (call ${name} {pass}))").unwrap();
    }
    text + ")"
}

fn types(name: &str, parameters: &str) -> (String, &'static str) {
    let types: Vec<&str> = parameters.chars().map(|kind| if kind == 'i' { "i32" } else { "i64" }).collect();
    (types.join(" "), if name == "proc_exit" { "" } else { "(result i32)" })
}

const READ: u64 = 1 << 1;
const WRITE: u64 = 1 << 6;
const CREATE: u32 = 1;
