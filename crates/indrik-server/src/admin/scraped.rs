//! What `metrics_path` on the application's addresses answers, and to whom.

use std::net::{IpAddr, Ipv4Addr};

use http::StatusCode;
use indrik_core::admin::access::{From, Need, may};

use super::answer::Answer;
use super::caller::Caller;
use super::context::Context;
use super::request::{bearer, refused};
use crate::front::{Scrape, Scraped};
use crate::metrics;

/// Stands for those of whom only the proxy is known: they share the tries that an address has.
const UNKNOWN: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// What a scraper on the application's addresses is told, if it may. It may wait for the kernel.
pub(crate) fn scraped(context: &Context, scrape: &Scrape) -> Scraped {
    let allowed = context.metrics_allow.load();
    let is_allowed =
        scrape.client.is_some_and(|client| allowed.iter().any(|it| it.contains(client)));
    if !is_allowed && let Err(no) = check(context, scrape) {
        let (status, content_type, body) = (no.status, no.content_type, no.text());
        return Scraped { status, content_type, body };
    }
    let made = metrics::answer(&scrape.accept, &context.board, &context.log);
    Scraped { status: StatusCode::OK, content_type: made.content_type, body: made.body }
}

fn check(context: &Context, scrape: &Scrape) -> Result<(), Answer> {
    // Whoever guesses through a proxy of this machine must not have its own people wait.
    let peer = scrape.peer.filter(|ip| !ip.is_loopback());
    let ip = scrape.client.or(peer).unwrap_or(UNKNOWN);
    let caller = Caller { from: From::Remote, ip: Some(ip), uid: None };
    let token = scrape.authorization.as_deref().map(bearer);
    let judged = context.guard.judge(token, &caller, &context.log);
    may(Need::Look, From::Remote, judged.brought).map_err(|why| refused(why, judged.wait))
}
