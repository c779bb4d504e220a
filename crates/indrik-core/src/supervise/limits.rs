//! Every wait and count of the supervisor that is not a setting, with the reason for its size.

use std::time::Duration;

/// How long a zygote may take to answer a fork request. It has nothing else to do, so a longer
/// silence means that a hook hangs in it: it is killed and started anew. Nobody is replaced
/// meanwhile.
pub const FORK_MAX: Duration = Duration::from_secs(10);

/// The same where the worker is not wanted any more: what the zygote does is of no use to anybody.
pub const FORK_UNWANTED_MAX: Duration = Duration::from_secs(1);

/// How long a zygote's interpreter may take to come up, before any code of the user's but what Python runs at
/// every start. A slow disk needs seconds.
pub const HERE_MAX: Duration = Duration::from_secs(120);

/// How long the first zygote may take from then until it has read its configuration and run the hook `on_starting`; then the
/// setting `max_boot_time` counts.
pub const BOOT_MAX: Duration = Duration::from_secs(30 * 60);

/// How long the zygote of a reload may take from then to read its configuration, before `max_boot_time` is known: no other
/// reload can begin meanwhile.
pub const CONFIG_MAX: Duration = Duration::from_secs(120);

/// After a warm-up's own limit, which the front keeps: then it is not heard of any more.
pub const WARM_UP_SLACK: Duration = Duration::from_secs(5);

/// How often the answers of a generation that soaks are looked at.
pub const SOAK_LOOK: Duration = Duration::from_millis(500);

/// Before so many answers a generation that soaks is not judged by its errors, unless its time is
/// over.
pub const SOAK_ANSWERS_MIN: u64 = 20;

/// Between the request for tracebacks and SIGABRT, so that the dump is written first.
pub const DUMP_GRACE: Duration = Duration::from_millis(200);

/// Between SIGABRT and SIGKILL: time for the worker's abort handler.
pub const ABORT_GRACE: Duration = Duration::from_secs(1);

/// A second SIGTERM that comes this soon is the first one, heard twice: of what ends the whole group
/// of processes, and of a launcher among them that passes it on.
pub const TERM_ECHO: Duration = Duration::from_millis(100);

/// Between SIGQUIT and SIGKILL in a quick shutdown.
pub const QUICK_GRACE: Duration = Duration::from_secs(2);

/// The least time a worker gets for its exit hooks after its shutdown flag was set, even if the
/// graceful timeout is used up.
pub const STOP_GRACE_MIN: Duration = Duration::from_secs(2);

/// How long a worker that is not ready yet may take to leave by itself, which it does if it has started
/// up meanwhile. An import that still goes on is ended: nobody waits for it.
pub const BOOT_STOP_GRACE: Duration = Duration::from_secs(1);

/// How long the hook `pre_exec` may hold up the start of a new master; then the upgrade is given up.
pub const PRE_EXEC_MAX: Duration = Duration::from_secs(30);

/// How long an operator's pause may hold requests back.
pub const HOLD_MAX: Duration = Duration::from_secs(600);

/// The same where nothing is said.
pub const HOLD_DEFAULT: Duration = Duration::from_secs(30);

/// How long the hook `pre_stop` may hold up the end, which is announced already.
pub const PRE_STOP_MAX: Duration = Duration::from_secs(30);

/// Between two SIGKILLs for a zygote that a refork has replaced.
pub const REFORK_OLD_ZYGOTE_MAX: Duration = Duration::from_secs(10);

/// How long the hook `on_exit` may take, which runs when everything else is over.
pub const EXIT_HOOK_MAX: Duration = Duration::from_secs(30);

/// After SIGKILL the kernel may need this long (uninterruptible sleep); then the worker is
/// forgotten, so that it cannot hold up a shutdown for ever.
pub const KILL_MAX: Duration = Duration::from_secs(10);

/// How often the workers' signs of life are read.
pub const LIFE_LOOK: Duration = Duration::from_secs(1);

/// A worker whose main thread has shown no life for so long does not count as ready: it beats every
/// second when it has nothing to do.
pub const QUIET_MAX: Duration = Duration::from_secs(3);

/// A worker that was ready this long died of bad luck, not of a crash loop.
pub const YOUNG_AGE: Duration = Duration::from_secs(10);

/// First and longest delay before a worker that was ready and died young is replaced again. Short,
/// because such a worker serves between its deaths and somebody may be killing it from outside.
pub const CRASH_DELAY: Duration = Duration::from_millis(100);
/// See [`CRASH_DELAY`].
pub const CRASH_DELAY_MAX: Duration = Duration::from_secs(1);

/// First and longest delay before a worker or zygote that failed to boot is tried again.
pub const BOOT_DELAY: Duration = Duration::from_secs(1);
/// See [`BOOT_DELAY`].
pub const BOOT_DELAY_MAX: Duration = Duration::from_secs(30);

/// So many failures of workers in a row open the breaker, if they are more than one for each place.
pub const BREAKER_FAILURES: u32 = 5;

/// First and longest pause between two trials of an open breaker.
pub const BREAKER_PAUSE: Duration = Duration::from_secs(10);
/// See [`BREAKER_PAUSE`].
pub const BREAKER_PAUSE_MAX: Duration = Duration::from_secs(60);

/// A worker that has finished so many requests was of use, however young it died: what killed it is
/// rather in a request than in the code all workers run first.
pub const USEFUL_REQUESTS: u64 = 10;

/// Fork requests one zygote may have unanswered; keeps its socket's buffer and the file
/// descriptors in flight small.
pub const FORKS_IN_FLIGHT_MAX: usize = 8;

/// How often workers may be killed by a signal, or not be forked, before one was ever ready; then the server gives up.
pub const START_CRASHES_MAX: u32 = 3;

/// TTIN goes no higher.
pub const WORKERS_MAX: u32 = 1024;

/// Changed files remembered during a reload, to know the same change when the next worker reports it.
pub const CHANGES_MAX: usize = 1000;

/// How long an old server waits for the new one before it stays for good. The new one ends by itself when
/// it does not boot within its `max_boot_time`: this is twice the longest, for zygote and workers, and more.
pub const UPGRADE_MAX: Duration = Duration::from_secs(49 * 3600);

/// How long an old server waits for a sign of life of the new one, which gives one as soon as it supervises and then
/// every [`SUCCESSOR_SIGN_PAUSE`] until it serves. What comes before its first is an interpreter's start, see
/// [`HERE_MAX`].
pub const SUCCESSOR_SILENT_MAX: Duration = Duration::from_secs(120);

/// See [`SUCCESSOR_SILENT_MAX`].
pub const SUCCESSOR_SIGN_PAUSE: Duration = Duration::from_secs(30);

/// How often a service manager is asked for more time.
pub const MORE_TIME_INTERVAL: Duration = Duration::from_secs(5);

/// The least and the most it is asked for at once: more than the interval, so that the next word comes
/// in time, and little enough that a server which has stopped to speak is noticed.
pub const MORE_TIME_MIN: Duration = Duration::from_secs(10);
/// See [`MORE_TIME_MIN`].
pub const MORE_TIME_MAX: Duration = Duration::from_secs(30);

/// Characters of a text about what fails that are remembered for whoever asks how the server is.
pub const WHY_CHARS_MAX: usize = 300;

/// How often an address that is taken is tried, as in Gunicorn.
pub const LISTEN_TRIES_MAX: u32 = 5;

/// Between two tries to open an address that is taken, as in Gunicorn.
pub const LISTEN_PAUSE: Duration = Duration::from_secs(1);

/// What part of the processors' time the starts of successors may take while requests need it, in
/// hundredths, when workers are recycled by number or age.
pub const RECYCLING_PERCENT: u32 = 2;

/// What replacing a worker costs besides the start that is measured: pages that are copied, first
/// requests, the end of the old interpreter. Measured with a small Flask application.
pub const RECYCLING_COST: Duration = Duration::from_millis(50);

/// Processors are short when a start has waited for one longer than this part of the time it ran.
pub const RECYCLING_BUSY_FRACTION: u32 = 4;

/// The longest rest between two workers that are recycled by number or age.
pub const RECYCLING_REST_MAX: Duration = Duration::from_secs(60);
