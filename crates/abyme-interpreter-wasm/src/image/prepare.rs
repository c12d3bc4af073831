//! Makes the base image: CPython is started, imports the standard modules and the driver, and its memory is
//! written down.

use abyme_core::{Error, ErrorKind, Result};
use abyme_wasi::Wasi;
use wasmtime::{Engine, Module, Val};
use wasmtime_wizer::{InstanceState, SnapshotVal, ValType, Wizer};

use crate::{
    engine::engine_config,
    guest::calls::HostCalls,
    image::files,
    progress::{PrepareProgress, Reporter},
    vm::{Vm, VmTemplate},
};

/// How much memory CPython may take while it starts; it needs about 35 MB.
const MEMORY: u64 = 256 << 20;

/// Makes the base image, as a WebAssembly module. That takes some seconds, of which most are compiling.
pub(crate) async fn base_image(reporter: &Reporter) -> Result<Vec<u8>> {
    let python = abyme_python_wasm::python_wasm().map_err(|error| {
        Error::new(ErrorKind::Unavailable, format!("the embedded Python is damaged: {error}"))
            .with_source(error)
    })?;
    let failed = |what: &'static str| {
        move |error: wasmtime::Error| Error::new(ErrorKind::Unavailable, format!("{what}: {error:#}"))
    };
    reporter.report(PrepareProgress::Compiling);
    let wizer = Wizer::new();
    let (context, instrumented) =
        wizer.instrument(&python).map_err(failed("the embedded Python is no module"))?;
    let engine = Engine::new(&engine_config()).map_err(failed("cannot set up WebAssembly"))?;
    let module = Module::new(&engine, &instrumented).map_err(failed("cannot compile the embedded Python"))?;
    reporter.report(PrepareProgress::Initialising);
    let template = VmTemplate::new(&engine, &module, MEMORY)
        .map_err(failed("the embedded Python does not fit its host"))?;
    let sources = files::SourceDir::write()?;
    let wasi = Wasi::new(sources.files()?);
    let mut vm =
        template.instance(wasi, HostCalls::default(), None).await.map_err(failed("cannot start Python"))?;
    if let Err(error) = initialise(&mut vm).await {
        let words = vm.written(1).unwrap_or_default();
        return Err(Error::new(ErrorKind::Unavailable, format!("Python does not start: {error:#}\n{words}")));
    }
    wizer.snapshot(&context, &mut Initialised(vm)).await.map_err(failed("cannot write the base image"))
}

/// An instance after CPython's start, from which the base image is made.
struct Initialised(Vm);

impl InstanceState for Initialised {
    async fn global_get(&mut self, name: &str, _: ValType) -> SnapshotVal {
        let Vm { store, instance, .. } = &mut self.0;
        match instance.get_global(&mut *store, name).map(|global| global.get(&mut *store)) {
            Some(Val::I64(value)) => SnapshotVal::I64(value),
            Some(Val::F32(bits)) => SnapshotVal::F32(bits),
            Some(Val::F64(bits)) => SnapshotVal::F64(bits),
            Some(Val::I32(value)) => SnapshotVal::I32(value),
            // Wizer only asks for globals of the module, and refuses all other types.
            _ => SnapshotVal::I32(0),
        }
    }

    async fn memory_contents(&mut self, _: &str, contents: impl FnOnce(&[u8]) + Send) {
        contents(self.0.memory());
    }
}

async fn initialise(vm: &mut Vm) -> wasmtime::Result<()> {
    vm.instance.get_typed_func::<(), ()>(&mut vm.store, "_initialize")?.call_async(&mut vm.store, ()).await?;
    let init = vm.instance.get_typed_func::<(), i32>(&mut vm.store, "abyme_init")?;
    match init.call_async(&mut vm.store, ()).await? {
        0 => Ok(()),
        _ => Err(wasmtime::Error::msg("its initialisation failed")),
    }
}
