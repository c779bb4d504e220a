//! What follows from the resolved settings, [`Config`], where more than one of them is asked.

use super::generated::Config;
use crate::memory::watch::{Bounds, Limits};
use crate::memory::{Limit, account};

impl Config {
    /// The limits of one worker's memory, where the server may use so many bytes.
    pub fn memory_limits(&self, memory: Option<u64>) -> Limits {
        let bytes = |limit: Limit| limit.bytes(memory, self.workers as u64);
        let bounds = |soft, hard| Bounds { soft: bytes(soft), hard: bytes(hard) };
        Limits {
            rss: bounds(self.worker_max_rss, self.worker_max_rss_hard),
            pss: bounds(self.worker_max_pss, self.worker_max_pss_hard),
            descriptors: (self.worker_max_fds > 0).then_some(self.worker_max_fds),
        }
    }

    /// What the front may hold for its clients, where the server may use so many bytes.
    pub fn front_memory_limits(&self, memory: Option<u64>) -> account::Limits {
        account::Limits::new(self.front_memory_max, self.connection_memory_max, memory)
    }

    /// What process titles show between the brackets: `proc_name`, else the application.
    pub fn title(&self) -> &str {
        let name = self.proc_name.as_deref().or(self.default_proc_name.as_deref());
        name.unwrap_or(&self.wsgi_app)
    }

    /// HTTP/2 is among what is spoken.
    pub fn speaks_http2(&self) -> bool {
        self.http_protocols.iter().any(|name| name == "h2")
    }

    /// `https` or `http`: what clients speak to the server itself.
    pub const fn url_scheme(&self) -> &'static str {
        if self.certfile.is_some() { "https" } else { "http" }
    }

    /// Whether a Python logger writes the logs, in the workers and in the zygote.
    pub fn logs_in_python(&self) -> bool {
        let ours = ["gunicorn.glogging.Logger", "gunicorn.instrument.statsd.Statsd", "simple"];
        let class = &self.logger_class;
        class.object
            || !ours.contains(&class.name.as_str())
            || self.logconfig.is_some()
            || !self.logconfig_dict.is_empty()
            || self.logconfig_json.is_some()
    }
}
