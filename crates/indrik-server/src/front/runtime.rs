//! The front's threads: one single-threaded runtime each.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::Weak;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use indrik_core::ids::WorkerId;
use indrik_core::logs::level::Level;
use indrik_core::memory::account::Measure;
use indrik_ring::{RINGS_UNREAD_MAX, Wake};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::{Builder, Handle};

use super::accept::accept;
use super::clock::{self, micros};
use super::conn::reaper::{SWEEP_INTERVAL, sweep};
use super::conn::tls;
use super::doors::{Doors, Order};
use super::listener::Listening;
use super::pool::{self, Delivered, Looks, NewWorker};
use super::relief::relieve;
use super::services::Services;

/// How often overdue work is looked for while any is queued ahead.
const FINE_TICK: Duration = Duration::from_millis(1);
/// How often otherwise: the precision of queue timeouts.
const COARSE_TICK: Duration = Duration::from_millis(20);
/// Threads per runtime for what may block (disks).
const BLOCKING_THREADS_MAX: usize = 16;

/// The running threads.
pub(super) struct Threads {
    handles: Arc<[Handle]>,
    doors: Arc<Doors>,
}

impl Threads {
    /// Starts them; nothing is accepted before doors are added and told to.
    pub(super) fn start(services: &Arc<Services>) -> io::Result<Self> {
        let count = services.settings().config.io_threads.max(1);
        let mut handles = Vec::with_capacity(count);
        for index in 0..count {
            let handle = start_thread(services, index, count)?;
            handle.spawn(wake_workers(Arc::clone(services)));
            handles.push(handle);
        }
        let handles: Arc<[Handle]> = handles.into();
        let doors = Arc::new(Doors::default());
        let threads = Self { handles, doors };
        threads.handles[0].spawn(tick(Arc::clone(services)));
        threads.handles[0].spawn(watch_certificate(Arc::clone(services)));
        threads.handles[0].spawn(watch_requests(Arc::clone(services)));
        threads.handles[0].spawn(watch_slow(Arc::clone(services)));
        threads.handles[0].spawn(relieve(Arc::clone(services)));
        threads.handles[0].spawn(watch_time(Arc::clone(services), Arc::clone(&threads.doors)));
        Ok(threads)
    }

    /// Adds sockets, which are accepted from when the others are.
    pub(super) fn add_doors(&self, services: &Arc<Services>, listeners: Vec<Listening>) {
        for Listening { socket, number, shared: with_others } in listeners {
            let door = self.doors.add(number, with_others);
            let (services, threads) = (Arc::clone(services), Arc::clone(&self.handles));
            self.handles[0].spawn(accept(services, socket, number, threads, door));
        }
    }

    pub(super) fn close_door(&self, number: u16) {
        self.doors.tell(number, Order::Finish);
    }

    pub(super) fn tell_doors(&self, order: Order) {
        self.doors.tell_all(order);
    }

    pub(super) fn doors_are_quiet(&self) -> bool {
        self.doors.are_quiet()
    }

    /// Adds a worker, and takes what it sends on the thread that its number falls to.
    pub(super) fn watch_worker(
        &self,
        services: &Arc<Services>,
        id: WorkerId,
        worker: NewWorker,
    ) -> io::Result<()> {
        let wake = Wake::from_fd(worker.channel.wake.as_fd().try_clone_to_owned()?);
        let thread = self.thread_of(id);
        let entered = thread.enter();
        // What the system refuses here is told to the caller: nobody would ever read the answers of a worker
        // that was added without it.
        #[expect(deprecated, reason = "its replacement is unsafe; `Fd` owns its descriptor")]
        let wake = AsyncFd::with_interest(Fd(wake), Interest::READABLE)?;
        drop(entered);
        services.pool.add(id, worker);
        thread.spawn(take_responses(Arc::clone(services), id, wake));
        Ok(())
    }

    /// Where what concerns a worker runs.
    pub(super) fn thread_of(&self, id: WorkerId) -> &Handle {
        let threads = self.handles.len() as u64;
        &self.handles[usize::try_from(id.0 % threads).unwrap_or(0)]
    }
}

/// Starts a thread and waits for its runtime.
fn start_thread(services: &Arc<Services>, index: usize, count: usize) -> io::Result<Handle> {
    let park: Weak<Services> = Arc::downgrade(services);
    let unpark = Weak::clone(&park);
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .on_thread_park(move || {
            if let Some(services) = park.upgrade() {
                services.pool.before_park(index, count);
            }
        })
        .on_thread_unpark(move || {
            if let Some(services) = unpark.upgrade() {
                // All that this turn finds ready arrived about now.
                clock::now();
                services.pool.after_unpark(index, count);
            }
        })
        .build()?;
    let handle = runtime.handle().clone();
    // The threads live as long as the process: the supervisor ends it when all is done.
    let metrics = Arc::clone(&services.metrics);
    thread::Builder::new().name(format!("indrik-io-{index}")).spawn(move || {
        metrics.enter();
        // Where front and worker share a core, every byte from a client would otherwise stop the
        // worker in the middle of a request. Not allowed: only slower.
        let _ = indrik_sys::sched::do_not_interrupt_others();
        runtime.block_on(std::future::pending::<()>());
    })?;
    Ok(handle)
}

/// Wakes the workers of this thread's turn when its bell is rung. Never ends.
async fn wake_workers(services: Arc<Services>) {
    std::future::poll_fn(|cx| {
        pool::answer(cx);
        services.pool.wake_workers();
        Poll::<()>::Pending
    })
    .await;
}

/// While all the memory that clients may have is taken, a worker's answers wait in its channel for those who have
/// too much of it to be cut, and at most so long at a time: with the answers that end their requests, memory is given back.
const MEMORY_WAIT_MAX: Duration = Duration::from_millis(20);

/// Takes a worker's responses until the worker is gone.
async fn take_responses(services: Arc<Services>, id: WorkerId, wake: AsyncFd<Fd>) {
    let mut wakers = Vec::new();
    let (mut unread, mut is_open) = (0, true);
    loop {
        if services.account.is_full() {
            let eased = services.account.is_below(Measure::Cut);
            let _ = tokio::time::timeout(MEMORY_WAIT_MAX, eased).await;
        }
        match services.pool.deliver(id, clock::now(), &mut wakers) {
            Delivered::More => tokio::task::yield_now().await,
            Delivered::Gone => return,
            Delivered::Nothing => {
                let mut waited = false;
                std::future::poll_fn(|cx| {
                    services.pool.poll_wait(id, cx);
                    // Edge-triggered: each ring is a new event, so they are read now and then only. A
                    // worker that has closed its end is looked at every tick until it is gone.
                    if is_open && let Poll::Ready(ready) = wake.poll_read_ready(cx) {
                        let _ = ready.map(|mut ready| ready.clear_ready());
                        unread += 1;
                        if unread >= RINGS_UNREAD_MAX {
                            unread = 0;
                            is_open = wake.get_ref().0.clear().is_ok();
                        }
                        return Poll::Ready(());
                    }
                    // Woken without a ring: by the park hook.
                    if std::mem::replace(&mut waited, true) {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    }
                })
                .await;
            }
        }
    }
}

struct Fd(Wake);

impl AsRawFd for Fd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// The dispatcher's clock.
async fn tick(services: Arc<Services>) {
    loop {
        if services.pool.needs_fine_tick() {
            tokio::time::sleep(FINE_TICK).await;
        } else {
            let _ = tokio::time::timeout(COARSE_TICK, services.pool.queued_ahead()).await;
        }
        services.pool.tick(clock::now());
    }
}

/// Takes a renewed certificate into use.
async fn watch_certificate(services: Arc<Services>) {
    let Some(tls) = services.tls.clone() else { return };
    loop {
        tokio::time::sleep(tls::LOOK_INTERVAL).await;
        let tls = Arc::clone(&tls);
        // A disk, perhaps a remote one: nobody's requests wait for it.
        let Ok(looked) = tokio::task::spawn_blocking(move || tls.look_again()).await else {
            return;
        };
        match looked {
            Ok(false) => {}
            Ok(true) => services.log.write(Level::Info, "TLS: the new certificate is in use"),
            Err(error) => services.log.error(&format!("{error}; the old certificate stays in use")),
        }
    }
}

/// How often requests are looked at that may be slow.
const SLOW_TICK: Duration = Duration::from_millis(50);

/// The limits that requests have of their own.
async fn watch_requests(services: Arc<Services>) {
    loop {
        let pause = services.settings().routes.look_every();
        tokio::time::sleep(pause.unwrap_or(SWEEP_INTERVAL)).await;
        if pause.is_some() {
            let only_if_queued = services.settings().config.timeout_only_if_queued;
            services.pool.look_for_overtime(only_if_queued, clock::now());
        }
    }
}

/// Requests that take long, where they are logged.
async fn watch_slow(services: Arc<Services>) {
    loop {
        let is_on = services.settings().follows;
        tokio::time::sleep(if is_on { SLOW_TICK } else { SWEEP_INTERVAL }).await;
        if is_on {
            services.slow.look(&services.pool, clock::now());
        }
    }
}

/// The timeouts of connections and requests, and the end of draining.
async fn watch_time(services: Arc<Services>, doors: Arc<Doors>) {
    loop {
        let pause = if services.is_draining() { COARSE_TICK } else { SWEEP_INTERVAL };
        tokio::time::sleep(pause).await;
        sweep(&services.connections, &services.settings().config, services.is_draining());
        let looks = {
            let config = &services.settings().config;
            let only_if_queued = config.timeout_only_if_queued;
            Looks { timeout_us: micros(config.timeout), only_if_queued }
        };
        services.recent.forget(clock::now());
        services.pool.expire_in_rings(clock::now());
        if looks.timeout_us != 0 {
            services.pool.check_timeouts(looks, clock::now());
        }
        services.look_at_refusals();
        services.tell_if_idle(&doors);
    }
}
