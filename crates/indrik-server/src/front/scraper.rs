//! Who scrapes the application's addresses, and what it is told.

use std::net::IpAddr;
use std::sync::Arc;

use http::StatusCode;

/// A scraper that asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scrape {
    /// Its address, where it is known that it is its own and not that of a proxy.
    pub client: Option<IpAddr>,
    /// The other end of the connection.
    pub peer: Option<IpAddr>,
    /// What it says of its right.
    pub authorization: Option<String>,
    /// What it reads.
    pub accept: String,
}

/// What it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scraped {
    /// Whether it may.
    pub status: StatusCode,
    /// What `body` is.
    pub content_type: &'static str,
    /// What is counted, or why not.
    pub body: Vec<u8>,
}

/// Who knows what a scraper is told; called where waiting is allowed.
pub type Scraper = Arc<dyn Fn(&Scrape) -> Scraped + Send + Sync>;
