//! Foreign functions: what a test registered, and two of Envoy's own.
//!
//! A registered function takes the place of Envoy's function of the same name. The host calls it without a lock on the
//! world, so that it may ask the world itself.

use std::sync::Arc;

use crate::protobuf::{field, fields};
use crate::status::Status;
use crate::world::World;

/// A function that a filter can call by its name.
pub(crate) type ForeignFunction = Arc<dyn Fn(&[u8]) -> Result<Vec<u8>, Status> + Send + Sync>;

/// Calls a foreign function.
pub(crate) fn call(world: &World, name: &[u8], arguments: &[u8]) -> Result<Vec<u8>, Status> {
    let registered = world.lock().foreign.get(name).cloned();
    if let Some(function) = registered {
        return function(arguments);
    }
    match name {
        b"set_envoy_filter_state" => {
            let fields = fields(arguments).ok_or(Status::BadArgument)?;
            // Only keys that have a factory; a filter's own names have none.
            match field(&fields, 1) {
                b"envoy.string" | b"envoy.hashable_string" => Ok(Vec::new()),
                _ => Err(Status::NotFound),
            }
        }
        b"clear_route_cache" => {
            world.lock().route_cache_clears += 1;
            Ok(Vec::new())
        }
        _ => Err(Status::NotFound),
    }
}
