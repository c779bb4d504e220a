//! One request to the admin listener: read within limits, checked, answered.
//!
//! [`answer`] is the whole way: is it meant for us, does the page exist, may they, what do they say.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, HOST, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use indrik_core::admin::access::{Denied, From, Need, may};
use indrik_core::admin::host::{is_cross_site, is_ours};
use indrik_core::admin::query::Query;
use indrik_core::control::Asker;

use super::answer::{Answer, bad};
use super::body::Body;
use super::caller::Caller;
use super::context::{Asked, Context};
use super::endpoints::{self, Endpoint, Found};
use super::socket::Socket;

/// Bytes of a body; more is answered 413.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// How long a body may take to come.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);
/// How long an answer may take to be made; streams have begun by then.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// Answers a request.
pub(super) async fn answer(
    context: &Arc<Context>,
    (caller, socket): (Caller, Arc<Socket>),
    request: Request<Incoming>,
) -> Response<Body> {
    let is_head = request.method() == Method::HEAD;
    let (Ok(answer) | Err(answer)) = make(context, (caller, socket), request).await;
    let mut response = answer.into_response();
    if is_head && let Body::Events(_) = response.body() {
        *response.body_mut() = Body::full(Bytes::new());
    }
    response
}

async fn make(
    context: &Arc<Context>,
    (caller, socket): (Caller, Arc<Socket>),
    request: Request<Incoming>,
) -> Result<Answer, Answer> {
    let (parts, body) = request.into_parts();
    let host = check_host(context, caller, &parts.headers, parts.version)?;
    let endpoint = find(parts.uri.path(), &parts.method)?;
    let token = parts.headers.get(AUTHORIZATION);
    let token = token.map(|value| bearer(value.to_str().unwrap_or_default()));
    let judged = context.guard.judge(token, &caller, &context.log);
    may(endpoint.need, caller.from, judged.brought).map_err(|why| refused(why, judged.wait))?;
    let may_also = |need| may(need, caller.from, judged.brought).is_ok();
    let (is_known, looks_inside) = (may_also(Need::Look), may_also(Need::LookInside));
    if endpoint.need == Need::Change {
        check_change(&parts.headers, host.as_deref())?;
    }
    let query = match endpoint.query {
        // Load balancers and scrapers add what they like; it says nothing here.
        None => Query::default(),
        Some(known) => {
            let query = Query::read(parts.uri.query().unwrap_or_default()).map_err(bad)?;
            query.only(known).map_err(bad)?;
            query
        }
    };
    let body = tokio::time::timeout(BODY_TIME_MAX, read(body));
    let body = body.await.map_err(|_| {
        let text = "the body did not come in time";
        Answer::error(StatusCode::REQUEST_TIMEOUT, text, "")
    })??;
    if !body.is_empty() && !endpoint.takes_body() {
        return Err(bad(format!("{} {} takes no body", endpoint.method, endpoint.path)));
    }
    let name = judged.name.map_or_else(|| caller.to_string(), |name| format!("token {name}"));
    let asker = Asker { name, is_owner: caller.from == From::Owner };
    let headers = parts.headers;
    let asked = Asked { query, headers, body, socket, asker, is_known, looks_inside };
    let answered = endpoints::answer(context, endpoint, asked);
    if endpoint.takes_its_time() {
        return Ok(answered.await);
    }
    let answered = tokio::time::timeout(ANSWER_TIME_MAX, answered).await;
    answered
        .map_err(|_| Answer::later(StatusCode::SERVICE_UNAVAILABLE, "the answer took too long", 1))
}

/// Whoever comes by a Unix socket is no browser, and names no host that matters.
fn check_host(
    context: &Context,
    caller: Caller,
    headers: &HeaderMap,
    version: Version,
) -> Result<Option<String>, Answer> {
    let mut hosts = headers.get_all(HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    let host = first.and_then(|host| host.to_str().ok()).map(str::to_owned);
    if matches!(caller.from, From::Owner | From::OtherUser) {
        return Ok(host);
    }
    let is_old = version < Version::HTTP_11 && first.is_none();
    let is_good = host.as_ref().is_some_and(|host| is_ours(host, &context.hosts.load()));
    if second.is_some() || !(is_old || is_good) {
        let hint = "ask for it by its address or as localhost, or add the name to admin_hosts";
        let text = "the Host of this request is not one of this server's";
        return Err(Answer::error(StatusCode::MISDIRECTED_REQUEST, text, hint));
    }
    Ok(host)
}

fn find(path: &str, method: &Method) -> Result<&'static Endpoint, Answer> {
    match endpoints::find(path, method) {
        Found::Endpoint(endpoint) => Ok(endpoint),
        Found::OtherMethods(methods) => {
            let text = format!("{path} takes {methods}");
            let answer = Answer::error(StatusCode::METHOD_NOT_ALLOWED, &text, "");
            let allow = HeaderValue::from_str(&methods);
            Err(allow.into_iter().fold(answer, |answer, allow| answer.with(ALLOW, allow)))
        }
        Found::Nothing => {
            let hint = "GET /api/openapi.json lists what there is";
            Err(Answer::error(StatusCode::NOT_FOUND, "there is no such page", hint))
        }
    }
}

/// The token of `Authorization`.
pub(super) fn bearer(value: &str) -> &str {
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        // Something else was meant to be one.
        _ => "",
    }
}

/// Whoever has brought too many wrong tokens is told to wait; a right one is never asked to.
pub(super) fn refused(why: Denied, wait: Option<Duration>) -> Answer {
    match (why, wait) {
        (Denied::WrongToken, Some(wait)) => {
            let text = "too many wrong tokens came from this address";
            Answer::later(StatusCode::TOO_MANY_REQUESTS, text, wait.as_secs().max(1))
        }
        (why, _) => denied(why),
    }
}

fn denied(why: Denied) -> Answer {
    const HOW: &str =
        "send Authorization: Bearer TOKEN; `indrik token new NAME` makes one for admin_tokens";
    let (status, what, hint) = match why {
        Denied::NoToken => (StatusCode::UNAUTHORIZED, "a token is needed here", HOW),
        Denied::WrongToken => (StatusCode::UNAUTHORIZED, "this token is not known", HOW),
        Denied::ScopeTooSmall => {
            (StatusCode::FORBIDDEN, "this token is for reading", "use one of scope operate")
        }
    };
    let answer = Answer::error(status, what, hint);
    match status {
        StatusCode::UNAUTHORIZED => {
            answer.with(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"indrik\""))
        }
        _ => answer,
    }
}

/// A page in somebody's browser must not be able to change anything: what changes comes as JSON, which a form cannot
/// send, and not from another site.
fn check_change(headers: &HeaderMap, host: Option<&str>) -> Result<(), Answer> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let origin = headers.get("origin").map(|value| value.to_str().unwrap_or("null"));
    if is_cross_site(text("sec-fetch-site"), origin, host.unwrap_or_default()) {
        let what = "a page of another site cannot change this server";
        return Err(Answer::error(StatusCode::FORBIDDEN, what, ""));
    }
    let media = text(CONTENT_TYPE.as_str()).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    if !media.eq_ignore_ascii_case("application/json") {
        let what = "what changes the server comes with Content-Type: application/json";
        return Err(Answer::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, what, ""));
    }
    Ok(())
}

async fn read(mut body: Incoming) -> Result<Bytes, Answer> {
    let too_large = || {
        let text = format!("a body has {BODY_BYTES_MAX} bytes at most");
        Answer::error(StatusCode::PAYLOAD_TOO_LARGE, &text, "")
    };
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return Err(too_large());
    }
    let mut whole = BytesMut::new();
    while let Some(frame) =
        std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await
    {
        let frame = frame.map_err(|_| bad("the body broke off"))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > BODY_BYTES_MAX {
            return Err(too_large());
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}
