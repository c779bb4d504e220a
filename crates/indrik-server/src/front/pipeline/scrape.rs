//! `metrics_path`: a scraper on the application's addresses. It waits in no queue and takes no worker; what it is told
//! is put together on a thread that may wait for the kernel.

use bytes::Bytes;
use http::header::{
    ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, FORWARDED, HeaderName, RETRY_AFTER, VARY,
    VIA, WWW_AUTHENTICATE,
};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use tokio::sync::Semaphore;

use super::forwarding::{Via, shown_client};
use super::stages::other_method;
use crate::front::context::RequestContext;
use crate::front::refusal::Refusal;
use crate::front::response::Body;
use crate::front::scraper::{Scrape, Scraped};

/// Scrapers that are answered at once; others try again.
const SCRAPES_MAX: usize = 4;
/// What a proxy says of itself or of its client.
const OF_PROXIES: [&str; 2] = ["x-forwarded-for", "x-real-ip"];

static PLACES: Semaphore = Semaphore::const_new(SCRAPES_MAX);

pub(super) async fn answer(
    context: RequestContext,
    parts: Parts,
) -> Result<Response<Body>, Refusal> {
    if let Some(response) = other_method(&parts) {
        return Ok(response);
    }
    let scraper = context.services().scraper.load_full();
    let (Some(scraper), Ok(_place)) = (scraper, PLACES.try_acquire()) else {
        return Ok(later());
    };
    let scrape = scrape(&context, &parts);
    let made = tokio::task::spawn_blocking(move || (**scraper)(&scrape)).await;
    let Ok(Scraped { status, content_type, body }) = made else { return Ok(later()) };
    let mut response = Response::new(Body::full(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"indrik\""));
    }
    Ok(response)
}

fn later() -> Response<Body> {
    let mut response = Response::new(Body::full(Bytes::from_static(b"try again\n")));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn scrape(context: &RequestContext, parts: &Parts) -> Scrape {
    let headers = &parts.headers;
    let text = |name: HeaderName| headers.get(name)?.to_str().ok().map(str::to_owned);
    let via = Via::of(parts);
    let (address, _) = shown_client(context.peer(), via);
    let is_of_proxy = headers.contains_key(FORWARDED)
        || headers.contains_key(VIA)
        || OF_PROXIES.iter().any(|name| headers.contains_key(*name));
    let is_told = via.is_some_and(|via| via.client.is_some());
    Scrape {
        // A proxy on this machine would lend everybody its address.
        client: address.parse().ok().filter(|_| is_told || !is_of_proxy),
        peer: context.peer().ip,
        authorization: text(AUTHORIZATION),
        accept: text(ACCEPT).unwrap_or_default(),
    }
}
