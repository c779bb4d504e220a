//! The sampler: what threads, tasks and greenlets do, looked at so many times a second.
//!
//! A sample weighs what has passed since the one before: in a profile of CPU time what each thread's own clock has
//! counted, else the time on the wall. So a look that came late, because code in C kept the interpreter's
//! lock, counts for as long as that took.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use indrik_core::lane::UNKNOWN;
use indrik_ring::SlotState;
use parking_lot::Mutex;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use super::frames::{awaited, code, each_thread, of_greenlet};
use super::helper::Helper;
use super::owner::Use;
use super::tally::Tally;
use crate::channel::Channel;
use crate::routes;

/// Looks at what waits are not more frequent than this.
const WAITING_EVERY: Duration = Duration::from_millis(100);
/// Tasks or greenlets that are looked at.
const WAITING_MAX: usize = 1_000;
/// What looking may take of the time: a pause is at least so many times as long as the look before it.
const REST: u32 = 25;

/// One profile.
#[pyclass(frozen, module = "indrik._native")]
pub(crate) struct Sampler {
    channel: Py<Channel>,
    /// CPU time, or the time on the wall.
    is_cpu: bool,
    /// Code below this directory is the server's.
    package: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tally: Tally,
    /// By thread: its CPU time at the last look.
    clocks: HashMap<i32, Duration>,
    samples: u64,
}

/// What a look at the threads found, before it is counted.
struct Seen<'py> {
    ident: usize,
    frames: Vec<Bound<'py, PyAny>>,
}

#[pymethods]
impl Sampler {
    /// `package`: the directory of the server's own code.
    #[new]
    fn new(channel: Py<Channel>, is_cpu: bool, package: String) -> Self {
        Self { channel, is_cpu, package, state: Mutex::default() }
    }

    /// Looks `rate` times a second until `seconds` are over, the worker ends, or `goes_on()` says no. `waiting()`
    /// returns the coroutines of tasks with the addresses of these, and greenlets by slot.
    fn run(
        &self,
        py: Python<'_>,
        helper: &Bound<'_, Helper>,
        times: (f64, f64),
        goes_on: &Bound<'_, PyAny>,
        waiting: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let helper = helper.get();
        let (seconds, rate) = times;
        let period = Duration::try_from_secs_f64(1.0 / rate).unwrap_or(WAITING_EVERY);
        let begun = Instant::now();
        let until = begun + Duration::try_from_secs_f64(seconds).unwrap_or_default();
        let _watched = routes::Watched::begin();
        let (mut last, mut looked, mut pause) = (begun, begun, period);
        self.sample(py, Duration::ZERO, None)?;
        while Instant::now() < until {
            if !py.detach(|| helper.wait(pause)) {
                break;
            }
            let now = Instant::now();
            let passed = now - last;
            last = now;
            let is_slow = now - looked >= WAITING_EVERY;
            let since = now - looked;
            if is_slow {
                looked = now;
                if !goes_on.call0()?.is_truthy()? {
                    break;
                }
            }
            self.sample(py, passed, is_slow.then_some((since, waiting)))?;
            let took = now.elapsed();
            pause = period.saturating_sub(took).max(took * REST).min(WAITING_EVERY * 10);
        }
        Ok(())
    }

    /// What was found: how many looks, and a line for each stack.
    fn result(&self, py: Python<'_>) -> (u64, Vec<String>) {
        let mut state = self.state.lock();
        let channel = self.channel.get();
        let route = |(slot, generation): Use| Some(channel.slots.route(slot, generation));
        state.tally.settle_those(route);
        (state.samples, state.tally.lines(py))
    }
}

impl Sampler {
    fn sample(
        &self,
        py: Python<'_>,
        passed: Duration,
        waiting: Option<(Duration, &Bound<'_, PyAny>)>,
    ) -> PyResult<()> {
        let mut threads = Vec::new();
        let own = crate::overtime::this_thread() as usize;
        each_thread(py, |ident, frames| {
            if ident != own {
                threads.push(Seen {
                    ident,
                    frames: frames.iter().map(|it| it.clone().unbind().into_bound(py)).collect(),
                });
            }
        })?;
        let main = self.channel.get().owners.main();
        let natives = natives(py, main);
        // Python's side first: nothing of Python runs while the state is locked.
        let waits = match waiting {
            Some((since, waiting)) if !self.is_cpu => Some((since, waiting.call0()?)),
            _ => None,
        };
        let mut state = self.state.lock();
        state.samples += 1;
        self.settle(&mut state);
        let owners: HashMap<usize, Use> = self.owners();
        let stepping = self.channel.get().owners.stepping();
        for seen in threads {
            let native = natives.get(&seen.ident).copied();
            let frames = self.of_application(&seen.frames);
            // What it has had of the processor meanwhile counts when it is next seen with something to do: a short
            // request is seldom met, and weighs what it and those like it have taken.
            if frames.is_empty() && !self.is_first(&state, native) {
                continue;
            }
            let weight = self.weight(&mut state, native, passed);
            if weight == 0 || frames.is_empty() {
                continue;
            }
            let of = owners.get(&seen.ident).copied();
            let of = of.or_else(|| stepping.filter(|_| seen.ident == main));
            state.tally.add(frames, of, weight);
        }
        if let Some((since, waits)) = waits {
            self.look_at_waiting(&mut state.tally, &waits, since, &owners)?;
        }
        Ok(())
    }

    fn owners(&self) -> HashMap<usize, Use> {
        let channel = self.channel.get();
        channel.owners.all(&channel.slots).collect()
    }

    /// Whether a thread's clock has never been looked at.
    fn is_first(&self, state: &State, native: Option<i32>) -> bool {
        self.is_cpu && native.is_some_and(|native| !state.clocks.contains_key(&native))
    }

    /// Microseconds since the last look, as this profile counts them.
    fn weight(&self, state: &mut State, native: Option<i32>, passed: Duration) -> u64 {
        let time = if self.is_cpu {
            let Some((native, clock)) =
                native.and_then(|it| Some((it, indrik_sys::sched::thread_cpu(it)?)))
            else {
                return 0;
            };
            let before = state.clocks.insert(native, clock).unwrap_or(clock);
            clock.saturating_sub(before)
        } else {
            passed
        };
        u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
    }

    /// The frames without those of the server around the application. None where nothing is left: then it waits for
    /// requests, or does something for the server.
    fn of_application<'a, 'py>(&self, frames: &'a [Bound<'py, PyAny>]) -> &'a [Bound<'py, PyAny>] {
        let is_idle = |frame: &Bound<'py, PyAny>| {
            let code = code(frame);
            let py = frame.py();
            let file = code.getattr(intern!(py, "co_filename"));
            file.and_then(|file| file.extract::<String>()).is_ok_and(|file| {
                file.starts_with(&self.package)
                    || is_around(&file)
                    || (!self.is_cpu && waits_there(&file))
            })
        };
        let outer = frames.iter().rev().take_while(|frame| is_idle(frame)).count();
        &frames[..frames.len() - outer]
    }

    /// Gives the samples of requests whose route has become known to it.
    fn settle(&self, state: &mut State) {
        for (of, route) in routes::take_found() {
            state.tally.learn(of, route);
        }
        let slots = &self.channel.get().slots;
        state.tally.settle_those(|(slot, generation)| match slots.state(slot, generation) {
            SlotState::Free | SlotState::Reclaimed | SlotState::Done => Some(UNKNOWN),
            SlotState::Queued | SlotState::Running => None,
        });
    }

    fn look_at_waiting(
        &self,
        tally: &mut Tally,
        waits: &Bound<'_, PyAny>,
        since: Duration,
        owners: &HashMap<usize, Use>,
    ) -> PyResult<()> {
        let weight = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
        let (tasks, greenlets): (Bound<'_, PyList>, Bound<'_, PyDict>) = waits.extract()?;
        for task in tasks.iter().take(WAITING_MAX) {
            let (address, coroutine): (usize, Bound<'_, PyAny>) = task.extract()?;
            let mut frames = awaited(&coroutine);
            frames.reverse();
            if !frames.is_empty() {
                tally.add(&frames, owners.get(&address).copied(), weight);
            }
        }
        for (slot, running) in greenlets.iter().take(WAITING_MAX) {
            let (generation, greenlet): (u32, Bound<'_, PyAny>) = running.extract()?;
            if let Some(frames) = of_greenlet(&greenlet) {
                tally.add(
                    self.of_application(&frames),
                    Some((slot.extract()?, generation)),
                    weight,
                );
            }
        }
        Ok(())
    }
}

/// Where Python begins a process or a thread.
fn is_around(file: &str) -> bool {
    file == "<string>" || file.ends_with("/threading.py")
}

/// Where an event loop or a hub waits for something to do.
fn waits_there(file: &str) -> bool {
    const THERE: [&str; 6] = [
        "asyncio/base_events.py",
        "asyncio/events.py",
        "/selectors.py",
        "gevent/hub.py",
        "eventlet/hubs/",
        "concurrent/futures/thread.py",
    ];
    THERE.iter().any(|part| file.contains(part))
}

/// The kernel's numbers of threads, by their identity: those of the main thread and of `threading`'s.
fn natives(py: Python<'_>, main: usize) -> HashMap<usize, i32> {
    let found = || -> PyResult<HashMap<usize, i32>> {
        let modules = py.import(intern!(py, "sys"))?.getattr(intern!(py, "modules"))?;
        let modules = modules.cast::<PyDict>()?;
        let mut natives = HashMap::new();
        if let Some(threading) = modules.get_item(intern!(py, "threading"))? {
            let active = threading.getattr(intern!(py, "_active"))?;
            for (ident, thread) in active.cast::<PyDict>()?.iter() {
                // Read where it stands: a property of a subclass would be the application's code.
                let native = thread.getattr_opt(intern!(py, "_native_id"))?;
                if let (Ok(ident), Some(Ok(native))) =
                    (ident.extract(), native.map(|it| it.extract()))
                {
                    natives.insert(ident, native);
                }
            }
        }
        Ok(natives)
    };
    let mut natives = found().unwrap_or_default();
    // A process has the number of its main thread.
    if let Ok(process) = i32::try_from(std::process::id()) {
        natives.insert(main, process);
    }
    natives
}
