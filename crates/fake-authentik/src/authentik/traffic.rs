//! How many calls are under way, by path, and were at the most: from when a call is read until it is answered or cut off.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::World;

#[derive(Default)]
pub(super) struct Traffic(HashMap<String, Count>);

#[derive(Default)]
struct Count {
    now: usize,
    most: usize,
}

impl Traffic {
    pub(super) fn most(&self, path: &str) -> usize {
        self.0.get(path).map_or(0, |count| count.most)
    }

    /// Forgets how many there were.
    pub(super) fn forget(&mut self) {
        for count in self.0.values_mut() {
            count.most = count.now;
        }
    }
}

/// A call that is under way until this is dropped.
pub(super) struct UnderWay {
    world: Arc<Mutex<World>>,
    path: String,
}

impl UnderWay {
    pub(super) fn begin(world: &Arc<Mutex<World>>, path: &str) -> Self {
        let mut locked = world.lock().unwrap();
        let count = locked.traffic.0.entry(path.to_owned()).or_default();
        count.now += 1;
        count.most = count.most.max(count.now);
        Self { world: Arc::clone(world), path: path.to_owned() }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        // A test that failed while it held the lock must see its own message.
        let Ok(mut world) = self.world.lock() else { return };
        if let Some(count) = world.traffic.0.get_mut(&self.path) {
            count.now -= 1;
        }
    }
}
