//! What goes on while requests are under way: the windows in which an outcome may be one of two, and the configurations
//! that may have judged a request. Owns their beginnings and ends; what they excuse is said by each expectation.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::expectation::Aspect;

/// From before something is done until it has taken effect in every worker.
struct Window<T> {
    what: T,
    from: Instant,
    until: Option<Instant>,
}

impl<T> Window<T> {
    fn new(what: T) -> Self {
        Self { what, from: Instant::now(), until: None }
    }

    fn meets(&self, born: Instant, ended: Instant) -> bool {
        self.from <= ended && self.until.is_none_or(|until| until >= born)
    }
}

#[derive(Default)]
pub(super) struct Weather {
    aspects: Mutex<Vec<Window<Aspect>>>,
    /// By `outpost_name`, which the application is told.
    configurations: Mutex<Vec<Window<String>>>,
}

impl Weather {
    pub(super) fn begin(&self, aspect: Aspect) {
        self.aspects.lock().unwrap().push(Window::new(aspect));
    }

    pub(super) fn end(&self, aspect: Aspect) {
        self.end_after(aspect, Duration::ZERO);
    }

    /// Ends this long from now.
    pub(super) fn end_after(&self, aspect: Aspect, time: Duration) {
        let mut windows = self.aspects.lock().unwrap();
        let open = windows.iter_mut().find(|it| it.what == aspect && it.until.is_none());
        open.expect("a window that was begun").until = Some(Instant::now() + time);
    }

    /// Whether a request of this time met it.
    pub(super) fn met(&self, aspect: Aspect, born: Instant, ended: Instant) -> bool {
        self.aspects.lock().unwrap().iter().any(|it| it.what == aspect && it.meets(born, ended))
    }

    /// From now on this configuration may be the one that judges, beside those before it.
    pub(super) fn may_be(&self, configuration: &str) {
        self.configurations.lock().unwrap().push(Window::new(configuration.to_owned()));
    }

    /// No other judges any more.
    pub(super) fn is_only(&self, configuration: &str) {
        let now = Instant::now();
        let mut windows = self.configurations.lock().unwrap();
        for window in windows.iter_mut().filter(|it| it.what != configuration && it.until.is_none()) {
            window.until = Some(now);
        }
    }

    pub(super) fn may_have_judged(&self, configuration: &str, born: Instant, ended: Instant) -> bool {
        let windows = self.configurations.lock().unwrap();
        windows.iter().any(|it| it.what == configuration && it.meets(born, ended))
    }
}
