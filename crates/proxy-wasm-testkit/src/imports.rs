//! The host calls of Proxy-Wasm ABI 0.2.1, as Envoy answers them.
//!
//! Each is counted by name. What Envoy offers and this host does not play
//! (gRPC calls, shared queues) can be imported, and stops the VM when it is
//! called. What Envoy does not offer cannot be imported at all.

use std::time::Duration;

use wasmi::Caller;

use crate::foreign;
use crate::guest::{Call, Deferred, Guest, RootLife};
use crate::header_map::Kind;
use crate::http_call::{self, CallId, HttpCall};
use crate::module::Links;
use crate::status::{Refusal, Status};
use crate::stream::LocalReply;
use crate::world::LogLevel;

/// What Envoy offers beyond `link`.
pub(crate) const UNPLAYED: &[&str] = &[
    "proxy_register_shared_queue",
    "proxy_resolve_shared_queue",
    "proxy_dequeue_shared_queue",
    "proxy_enqueue_shared_queue",
    "proxy_grpc_call",
    "proxy_grpc_stream",
    "proxy_grpc_send",
    "proxy_grpc_cancel",
    "proxy_grpc_close",
    "proxy_get_header_map_size",
    "proxy_get_buffer_status",
    "proxy_continue_request",
    "proxy_continue_response",
    "proxy_clear_route_cache",
    "proxy_get_configuration",
];

fn answer(result: Result<(), Refusal>) -> Result<u32, wasmi::Error> {
    match result {
        Ok(()) => Ok(Status::Ok as u32),
        Err(Refusal::Status(status)) => Ok(status as u32),
        Err(Refusal::Trap(error)) => Err(error),
    }
}

macro_rules! host_call {
    ($linker:ident, $name:literal, $open:expr, |$call:ident $(, $arg:ident: $type:ty)*| $body:block) => {
        $linker
            .add(
                "env",
                $name,
                #[allow(clippy::too_many_arguments, reason = "the ABI's own signatures")]
                |caller: Caller<'_, Guest> $(, $arg: $type)*| -> Result<u32, wasmi::Error> {
                    let played = |$call: &mut Call<'_>| -> Result<(), Refusal> { $body };
                    let mut call = Call::enter(caller, $name, $open)?;
                    if call.world().lock().failing.contains($name) {
                        return answer(Err(Status::InternalFailure.into()));
                    }
                    answer(played(&mut call))
                },
            );
    };
}

/// Links all host calls.
pub(crate) fn link(linker: &mut Links) {
    link_process(linker);
    link_maps(linker);
    link_buffers(linker);
    link_streams(linker);
    link_shared_data(linker);
    link_metrics(linker);
    link_properties(linker);
    link_calls(linker);
}

fn link_process(linker: &mut Links) {
    host_call!(linker, "proxy_log", true, |call, level: u32, text: u32, size: u32| {
        let level = LogLevel::from_abi(level).ok_or(Status::BadArgument)?;
        let text = call.read_text(text, size)?;
        call.world().write_log(level, text);
        Ok(())
    });
    host_call!(linker, "proxy_get_log_level", true, |call, level_at: u32| {
        let level = call.world().lock().log_level;
        Ok(call.write_u32(level_at, level as u32)?)
    });
    host_call!(linker, "proxy_get_current_time_nanoseconds", true, |call, time_at: u32| {
        let now = u64::try_from(call.world().now().as_nanos()).unwrap();
        Ok(call.write_u64(time_at, now)?)
    });
    host_call!(linker, "proxy_set_tick_period_milliseconds", false, |call, period: u32| {
        let monotonic = call.world().lock().monotonic;
        let guest = call.guest();
        let root_id = guest.root_id();
        let root = guest.roots.get_mut(&root_id).ok_or(Status::BadArgument)?;
        root.tick_period = (period > 0).then(|| Duration::from_millis(u64::from(period)));
        root.tick_due = monotonic + root.tick_period.unwrap_or_default();
        Ok(())
    });
    host_call!(linker, "proxy_set_effective_context", false, |call, context: u32| {
        let guest = call.guest();
        if context != 0 && !guest.exists(context) {
            return Err(Status::BadArgument.into());
        }
        guest.effective = context;
        Ok(())
    });
    host_call!(linker, "proxy_done", false, |call| {
        let guest = call.guest();
        let context = guest.context();
        let root = guest.roots.get_mut(&context).filter(|root| root.life == RootLife::Draining);
        root.ok_or(Status::NotFound)?.life = RootLife::Done;
        Ok(())
    });
}

fn link_maps(linker: &mut Links) {
    host_call!(linker, "proxy_get_header_map_pairs", false, |call, map: u32, at: u32, size_at: u32| {
        let pairs = call.guest().readable_map(map)?.map(|map| map.encode()).unwrap_or_default();
        call.give(&pairs, at, size_at)
    });
    host_call!(linker, "proxy_set_header_map_pairs", false, |call, map: u32, pairs: u32, size: u32| {
        let kind = match map {
            0 => Kind::Request,
            2 => Kind::Response,
            _ => Kind::Trailers,
        };
        let pairs = call.read_map(kind, pairs, size)?;
        *call.guest().writable_map(map)? = pairs;
        Ok(())
    });
    host_call!(
        linker,
        "proxy_get_header_map_value",
        false,
        |call, map: u32, name: u32, name_size: u32, at: u32, size_at: u32| {
            let name = call.read(name, name_size)?;
            let map = call.guest().readable_map(map)?.ok_or(Status::BadArgument)?;
            let value = map.get(&name).ok_or(Status::NotFound)?.to_vec();
            call.give(&value, at, size_at)
        }
    );
    host_call!(
        linker,
        "proxy_add_header_map_value",
        false,
        |call, map: u32, name: u32, name_size: u32, value: u32, value_size: u32| {
            let (name, value) = (call.read(name, name_size)?, call.read(value, value_size)?);
            call.guest().writable_map(map)?.add(&name, &value);
            Ok(())
        }
    );
    host_call!(
        linker,
        "proxy_replace_header_map_value",
        false,
        |call, map: u32, name: u32, name_size: u32, value: u32, value_size: u32| {
            let (name, value) = (call.read(name, name_size)?, call.read(value, value_size)?);
            call.guest().writable_map(map)?.replace(&name, &value);
            Ok(())
        }
    );
    host_call!(linker, "proxy_remove_header_map_value", false, |call, map: u32, name: u32, size: u32| {
        let name = call.read(name, size)?;
        call.guest().writable_map(map)?.remove(&name);
        Ok(())
    });
}

fn link_buffers(linker: &mut Links) {
    host_call!(
        linker,
        "proxy_get_buffer_bytes",
        false,
        |call, buffer: u32, start: u32, length: u32, at: u32, size_at: u32| {
            let bytes = call.guest().buffer(buffer)?.ok_or(Status::NotFound)?;
            let start = start as usize;
            let end = start.saturating_add(length as usize).min(bytes.len());
            match bytes.get(start..end) {
                // Envoy writes no result for nothing.
                Some([]) => Ok(()),
                Some(part) => call.give(part, at, size_at),
                None => Err(Status::BadArgument.into()),
            }
        }
    );
    host_call!(
        linker,
        "proxy_set_buffer_bytes",
        false,
        |call, buffer: u32, start: u32, length: u32, bytes: u32, size: u32| {
            let bytes = call.read(bytes, size)?;
            let stream = call.guest().stream().ok_or(Status::NotFound)?;
            let body = match buffer {
                0 => &mut stream.body,
                1 => &mut stream.response_body,
                _ => return Err(Status::BadArgument.into()),
            };
            let start = (start as usize).min(body.len());
            let end = start.saturating_add(length as usize).min(body.len());
            body.splice(start..end, bytes);
            Ok(())
        }
    );
}

fn link_streams(linker: &mut Links) {
    host_call!(linker, "proxy_continue_stream", false, |call, stream_type: u32| {
        let guest = call.guest();
        let context = guest.context();
        let deferred = match stream_type {
            0 => Deferred::ResumeRequest(context),
            1 => Deferred::ResumeResponse(context),
            _ => return Err(Status::BadArgument.into()),
        };
        if let Some(stream) = guest.streams.get_mut(&context) {
            stream.request_open = false;
            stream.trailers_open = false;
            if stream.deciding && stream_type == 0 {
                guest.violation(format!("stream {context} was resumed before it was paused"));
            }
            guest.deferred.push_back(deferred);
        }
        Ok(())
    });
    host_call!(linker, "proxy_close_stream", false, |call, stream_type: u32| {
        let guest = call.guest();
        let context = guest.context();
        if stream_type > 3 {
            return Err(Status::BadArgument.into());
        }
        if guest.streams.contains_key(&context) {
            guest.deferred.push_back(Deferred::Reset(context));
        }
        Ok(())
    });
    host_call!(
        linker,
        "proxy_send_local_response",
        false,
        |call,
         status: u32,
         details: u32,
         details_size: u32,
         body: u32,
         body_size: u32,
         headers: u32,
         headers_size: u32,
         grpc_status: i32| {
            let reply = LocalReply {
                status,
                details: call.read(details, details_size)?,
                body: call.read(body, body_size)?,
                headers: call.read_map(Kind::Response, headers, headers_size)?,
                grpc_status,
            };
            let guest = call.guest();
            let context = guest.context();
            guest.stop_iteration = true;
            if guest.streams.contains_key(&context) {
                guest.deferred.push_back(Deferred::Reply(context, reply));
            }
            Ok(())
        }
    );
}

fn link_shared_data(linker: &mut Links) {
    host_call!(
        linker,
        "proxy_get_shared_data",
        false,
        |call, key: u32, key_size: u32, at: u32, size_at: u32, cas_at: u32| {
            let key = call.read(key, key_size)?;
            let vm_id = call.guest().plugin.vm_id.clone();
            let found = call.world().lock().shared_data.get(vm_id.as_bytes(), &key).cloned();
            let (value, cas) = found.ok_or(Status::NotFound)?;
            call.give(&value, at, size_at)?;
            Ok(call.write_u32(cas_at, cas)?)
        }
    );
    host_call!(
        linker,
        "proxy_set_shared_data",
        false,
        |call, key: u32, key_size: u32, value: u32, value_size: u32, cas: u32| {
            let (key, value) = (call.read(key, key_size)?, call.read(value, value_size)?);
            let vm_id = call.guest().plugin.vm_id.clone();
            Ok(call.world().lock().shared_data.set(vm_id.as_bytes(), &key, &value, cas)?)
        }
    );
}

fn link_metrics(linker: &mut Links) {
    host_call!(
        linker,
        "proxy_define_metric",
        false,
        |call, kind: u32, name: u32, name_size: u32, id_at: u32| {
            let (world, name) = (call.world(), call.read_text(name, name_size)?);
            let id = call.guest().metrics.define(&mut world.lock().metrics, kind, name)?;
            Ok(call.write_u32(id_at, id)?)
        }
    );
    host_call!(linker, "proxy_increment_metric", false, |call, id: u32, offset: i64| {
        let world = call.world();
        Ok(call.guest().metrics.increment(&mut world.lock().metrics, id, offset)?)
    });
    host_call!(linker, "proxy_record_metric", false, |call, id: u32, value: u64| {
        let world = call.world();
        Ok(call.guest().metrics.record(&mut world.lock().metrics, id, value)?)
    });
    host_call!(linker, "proxy_get_metric", false, |call, id: u32, value_at: u32| {
        let world = call.world();
        let value = call.guest().metrics.get(&world.lock().metrics, id)?;
        Ok(call.write_u64(value_at, value)?)
    });
}

fn link_properties(linker: &mut Links) {
    host_call!(
        linker,
        "proxy_get_property",
        false,
        |call, path: u32, path_size: u32, at: u32, size_at: u32| {
            let path = call.read(path, path_size)?;
            let world = call.world();
            let guest = call.guest();
            let value = match path.as_slice() {
                b"plugin_name" => Some(guest.plugin.name.clone().into_bytes()),
                b"plugin_root_id" => Some(guest.plugin.root_id.clone().into_bytes()),
                b"plugin_vm_id" => Some(guest.plugin.vm_id.clone().into_bytes()),
                // The root context has no connection and no request.
                path => guest.stream().and_then(|stream| {
                    let own = world.lock().properties.get(path).cloned();
                    own.or_else(|| stream.filter_state.get(path).cloned())
                }),
            };
            call.give(&value.ok_or(Status::NotFound)?, at, size_at)
        }
    );
    host_call!(
        linker,
        "proxy_set_property",
        false,
        |call, path: u32, path_size: u32, value: u32, value_size: u32| {
            let (path, value) = (call.read(path, path_size)?, call.read(value, value_size)?);
            let stream = call.guest().stream().ok_or(Status::NotFound)?;
            stream.filter_state.insert(path, value);
            Ok(())
        }
    );
    host_call!(
        linker,
        "proxy_call_foreign_function",
        false,
        |call, name: u32, name_size: u32, arguments: u32, arguments_size: u32, at: u32, size_at: u32| {
            let name = call.read(name, name_size)?;
            let arguments = call.read(arguments, arguments_size)?;
            let results = foreign::call(&call.world(), &name, &arguments)?;
            call.give(&results, at, size_at)
        }
    );
}

fn link_calls(linker: &mut Links) {
    host_call!(
        linker,
        "proxy_http_call",
        false,
        |call,
         cluster: u32,
         cluster_size: u32,
         headers: u32,
         headers_size: u32,
         body: u32,
         body_size: u32,
         trailers: u32,
         trailers_size: u32,
         timeout: i32,
         token_at: u32| {
            let cluster = call.read(cluster, cluster_size)?;
            let mut headers = call.read_map(Kind::Request, headers, headers_size)?;
            let body = call.read(body, body_size)?;
            call.read_map(Kind::Trailers, trailers, trailers_size)?;
            call.write_u32(token_at, 0)?;
            http_call::validate(&call.world().lock(), &cluster, &headers, timeout)?;
            if !body.is_empty() {
                headers.replace(b"content-length", body.len().to_string().as_bytes());
            }
            let guest = call.guest();
            guest.calls_sent += 1;
            let id = CallId(guest.calls_sent);
            let sent = HttpCall {
                id,
                cluster: String::from_utf8_lossy(&cluster).into_owned(),
                headers,
                body,
                timeout: u64::try_from(timeout).ok().filter(|ms| *ms > 0).map(Duration::from_millis),
                root: guest.root_id(),
            };
            guest.calls.insert(id, sent);
            Ok(call.write_u32(token_at, id.0)?)
        }
    );
    host_call!(linker, "proxy_get_status", false, |call, code_at: u32, at: u32, size_at: u32| {
        let guest = call.guest();
        let was_reset = guest.answer.as_ref().is_some_and(|answer| answer.message.is_none());
        let (code, text): (u32, &[u8]) = if was_reset { (9, b"reset") } else { (0, b"") };
        call.write_u32(code_at, code)?;
        call.give(text, at, size_at)
    });
}
