//! The functions on the process and its surroundings: arguments, environment, signals, sockets, clocks,
//! randomness.

use super::Call;
use crate::fs::Errno;

/// Random bytes are requested in pieces of this size.
const RANDOM_CHUNK: usize = 1 << 16;

impl Call<'_> {
    pub(crate) fn args_get(&mut self, _list: u32, _text: u32) -> Result<(), Errno> {
        Ok(())
    }

    pub(crate) fn args_sizes_get(&mut self, count: u32, size: u32) -> Result<(), Errno> {
        self.memory.put_u32(count, 0)?;
        self.memory.put_u32(size, 0)
    }

    pub(crate) fn environ_get(&mut self, _list: u32, _text: u32) -> Result<(), Errno> {
        Ok(())
    }

    pub(crate) fn environ_sizes_get(&mut self, count: u32, size: u32) -> Result<(), Errno> {
        self.args_sizes_get(count, size)
    }

    pub(crate) fn proc_raise(&mut self, _signal: u32) -> Result<(), Errno> {
        Err(Errno::NoSystemCall)
    }

    pub(crate) fn sched_yield(&mut self) -> Result<(), Errno> {
        Ok(())
    }

    pub(crate) fn random_get(&mut self, address: u32, len: u32) -> Result<(), Errno> {
        for chunk in self.memory.bytes_mut(address, len)?.chunks_mut(RANDOM_CHUNK) {
            self.wasi.fill_random(chunk)?;
        }
        Ok(())
    }

    pub(crate) fn sock_accept(&mut self, fd: u32, _flags: u32, _result: u32) -> Result<(), Errno> {
        self.no_socket(fd)
    }

    pub(crate) fn sock_recv(
        &mut self,
        fd: u32,
        _list: u32,
        _count: u32,
        _flags: u32,
        _size: u32,
        _result: u32,
    ) -> Result<(), Errno> {
        self.no_socket(fd)
    }

    pub(crate) fn sock_send(
        &mut self,
        fd: u32,
        _list: u32,
        _count: u32,
        _flags: u32,
        _size: u32,
    ) -> Result<(), Errno> {
        self.no_socket(fd)
    }

    pub(crate) fn sock_shutdown(&mut self, fd: u32, _how: u32) -> Result<(), Errno> {
        self.no_socket(fd)
    }

    pub(crate) fn clock_res_get(&mut self, id: u32, result: u32) -> Result<(), Errno> {
        self.wasi.time(id)?;
        self.memory.put_u64(result, 1)
    }

    pub(crate) fn clock_time_get(&mut self, id: u32, _precision: u64, result: u32) -> Result<(), Errno> {
        let now = self.wasi.time(id)?;
        self.memory.put_u64(result, now)
    }

    /// The error for a descriptor: none is ever a socket.
    fn no_socket(&self, fd: u32) -> Result<(), Errno> {
        self.wasi.descriptors.get(fd).and(Err(Errno::NotSocket))
    }
}
