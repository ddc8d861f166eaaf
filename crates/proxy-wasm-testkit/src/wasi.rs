//! The part of WASI preview 1 that Envoy gives to a filter.
//!
//! Environment, clocks, randomness and lines to the log work; there are no
//! files and no arguments; leaving the process stops the VM. Time and
//! randomness are the world's, so that a test decides them.

use wasmi::Caller;

use crate::guest::{Call, Guest};
use crate::module::Links;
use crate::status::Status;
use crate::world::LogLevel;

pub(crate) const MODULE: &str = "wasi_snapshot_preview1";

const SUCCESS: u32 = 0;
const EBADF: u32 = 8;
const EFAULT: u32 = 21;
const EINVAL: u32 = 28;
const ENOENT: u32 = 44;
const ENOSYS: u32 = 52;
const ENOTSUP: u32 = 58;

/// What Envoy offers beyond `link`.
pub(crate) const UNPLAYED: &[&str] = &["poll_oneoff", "path_filestat_get", "path_create_directory"];

macro_rules! wasi_call {
    ($linker:ident, $name:literal, |$call:ident $(, $arg:ident: $type:ty)*| $body:block) => {
        $linker
            .add(
                MODULE,
                $name,
                |caller: Caller<'_, Guest> $(, $arg: $type)*| -> Result<u32, wasmi::Error> {
                    let played = |$call: &mut Call<'_>| -> Result<u32, Status> { $body };
                    // The only thing that goes wrong here is an address.
                    Ok(played(&mut Call::enter(caller, $name, true)?).unwrap_or(EFAULT))
                },
            );
    };
}

/// Links the WASI calls.
pub(crate) fn link(linker: &mut Links) {
    link_process(linker);
    link_files(linker);
}

fn link_process(linker: &mut Links) {
    wasi_call!(linker, "args_sizes_get", |call, count_at: u32, size_at: u32| {
        call.write_u32(count_at, 0)?;
        call.write_u32(size_at, 0)?;
        Ok(SUCCESS)
    });
    wasi_call!(linker, "args_get", |_call, _arguments: u32, _buffer: u32| { Ok(SUCCESS) });
    wasi_call!(linker, "environ_sizes_get", |call, count_at: u32, size_at: u32| {
        let environment = &call.guest().environment;
        let count = u32::try_from(environment.len()).unwrap();
        let size: usize = environment.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        call.write_u32(count_at, count)?;
        call.write_u32(size_at, u32::try_from(size).unwrap())?;
        Ok(SUCCESS)
    });
    wasi_call!(linker, "environ_get", |call, list_at: u32, buffer_at: u32| {
        let (mut list_at, mut buffer_at) = (list_at, buffer_at);
        for (name, value) in call.guest().environment.clone() {
            let line = format!("{name}={value}\0");
            call.write_u32(list_at, buffer_at)?;
            call.write(buffer_at, line.as_bytes())?;
            list_at += 4;
            buffer_at += u32::try_from(line.len()).unwrap();
        }
        Ok(SUCCESS)
    });
    wasi_call!(linker, "clock_time_get", |call, clock: u32, _precision: u64, time_at: u32| {
        let time = match clock {
            0 => call.world().lock().now,
            1 => call.world().lock().monotonic,
            _ => return Ok(ENOTSUP),
        };
        call.write_u64(time_at, u64::try_from(time.as_nanos()).unwrap())?;
        Ok(SUCCESS)
    });
    wasi_call!(linker, "random_get", |call, at: u32, size: u32| {
        if size > 65_536 {
            return Ok(EINVAL);
        }
        let bytes = call.world().lock().random_bytes(size as usize);
        call.write(at, &bytes)?;
        Ok(SUCCESS)
    });
    wasi_call!(linker, "sched_yield", |_call| { Ok(SUCCESS) });
    linker.add(MODULE, "proc_exit", |caller: Caller<'_, Guest>, code: u32| -> Result<(), wasmi::Error> {
        Call::enter(caller, "proc_exit", true)?;
        Err(wasmi::Error::new(format!("the filter left the process with code {code}")))
    });
}

fn link_files(linker: &mut Links) {
    wasi_call!(linker, "fd_write", |call, file: u32, pieces: u32, count: u32, written_at: u32| {
        let level = match file {
            1 => LogLevel::Info,
            2 => LogLevel::Error,
            _ => return Ok(EBADF),
        };
        let mut text = Vec::new();
        for piece in 0..count {
            let piece = call.read(pieces + piece * 8, 8)?;
            let word = |at: usize| u32::from_le_bytes(piece[at..at + 4].try_into().unwrap());
            text.extend(call.read(word(0), word(4))?);
        }
        call.write_u32(written_at, u32::try_from(text.len()).unwrap())?;
        let text = String::from_utf8_lossy(&text);
        call.world().write_log(level, text.strip_suffix('\n').unwrap_or(&text));
        Ok(SUCCESS)
    });
    wasi_call!(linker, "fd_read", |_call, _file: u32, _pieces: u32, _count: u32, _read_at: u32| {
        Ok(ENOSYS)
    });
    wasi_call!(linker, "fd_seek", |_call, _file: u32, _offset: i64, _whence: u32, _at: u32| { Ok(SUCCESS) });
    wasi_call!(linker, "fd_close", |_call, _file: u32| { Ok(SUCCESS) });
    wasi_call!(linker, "fd_fdstat_get", |call, file: u32, stat_at: u32| {
        if file != 1 && file != 2 {
            return Ok(EBADF);
        }
        for (word, value) in [(0, 0), (8, 64), (16, 0)] {
            call.write_u64(stat_at + word, value)?;
        }
        Ok(SUCCESS)
    });
    wasi_call!(linker, "fd_prestat_get", |_call, _file: u32, _at: u32| { Ok(EBADF) });
    wasi_call!(linker, "fd_prestat_dir_name", |_call, _file: u32, _at: u32, _size: u32| { Ok(ENOTSUP) });
    wasi_call!(linker, "path_open", |_call,
                                     _folder: u32,
                                     _look_up: u32,
                                     _path: u32,
                                     _size: u32,
                                     _open: u32,
                                     _rights: u64,
                                     _inheriting: u64,
                                     _flags: u32,
                                     _at: u32| { Ok(ENOENT) });
}
