//! The table of what the admin listener answers.

use std::sync::Arc;

use http::Method;
use indrik_core::admin::access::Need;

use super::answer::Answer;
use super::context::{Asked, Context};
use super::dashboard;
use super::pages::{
    actions, events, health, inside, logs, metrics, nginx, openapi, requests, settings, status,
    watch,
};

/// One row of the table.
pub(super) struct Endpoint {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) need: Need,
    /// The parameters it knows; `None`: others are not its business.
    pub(super) query: Option<&'static [&'static str]>,
    pub(super) page: Page,
}

/// What answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Health,
    Ready,
    Status,
    Requests,
    Events,
    Logs,
    Nginx,
    Metrics,
    DashboardFile,
    DashboardHistory,
    DashboardLive,
    Watch,
    Stacks,
    Profile,
    Memory,
    /// What the path says is the command's word.
    Action(&'static str),
    Command,
    OpenApi,
    Settings,
    Change,
}

/// All of it.
pub(super) static ENDPOINTS: &[Endpoint] = &[
    get("/health", Need::Nothing, None, Page::Health),
    get("/ready", Need::Nothing, None, Page::Ready),
    get("/status", Need::Look, Some(&["format"]), Page::Status),
    get("/requests", Need::Look, Some(&["format", "limit"]), Page::Requests),
    get("/events", Need::Look, Some(&["after", "format"]), Page::Events),
    get("/logs", Need::LookInside, Some(&["after", "lines", "format"]), Page::Logs),
    get("/nginx_status", Need::Look, None, Page::Nginx),
    get("/metrics", Need::Look, None, Page::Metrics),
    get("/", Need::Nothing, None, Page::DashboardFile),
    get("/dashboard/app.js", Need::Nothing, None, Page::DashboardFile),
    get("/dashboard/actions.js", Need::Nothing, None, Page::DashboardFile),
    get("/dashboard/charts.js", Need::Nothing, None, Page::DashboardFile),
    get("/dashboard/format.js", Need::Nothing, None, Page::DashboardFile),
    get("/dashboard/history.js", Need::Nothing, None, Page::DashboardFile),
    get("/dashboard/profile.js", Need::Nothing, None, Page::DashboardFile),
    get("/dashboard/stream.js", Need::Nothing, None, Page::DashboardFile),
    get("/dashboard/tables.js", Need::Nothing, None, Page::DashboardFile),
    get("/dashboard/view.js", Need::Nothing, None, Page::DashboardFile),
    get("/dashboard/htm.js", Need::Nothing, None, Page::DashboardFile),
    get("/dashboard/preact.js", Need::Nothing, None, Page::DashboardFile),
    get("/dashboard/uplot.js", Need::Nothing, None, Page::DashboardFile),
    get("/dashboard/style.css", Need::Nothing, None, Page::DashboardFile),
    get("/dashboard/uplot.css", Need::Nothing, None, Page::DashboardFile),
    get("/dashboard/icon.svg", Need::Nothing, None, Page::DashboardFile),
    get("/dashboard/history", Need::Look, Some(&["span"]), Page::DashboardHistory),
    get("/dashboard/live", Need::Look, Some(&[]), Page::DashboardLive),
    get("/dashboard/watch.js", Need::Nothing, None, Page::DashboardFile),
    get("/api/watch", Need::Look, Some(&[]), Page::Watch),
    get("/api/stacks", Need::LookInside, Some(&["worker"]), Page::Stacks),
    get("/api/profile", Need::LookInside, Some(inside::PROFILE), Page::Profile),
    get("/api/memory", Need::LookInside, Some(&["trace", "worker"]), Page::Memory),
    get("/api/openapi.json", Need::Look, None, Page::OpenApi),
    get("/api/settings", Need::LookInside, Some(&["format"]), Page::Settings),
    Endpoint {
        method: Method::PATCH,
        path: "/api/settings",
        need: Need::Change,
        query: Some(&[]),
        page: Page::Change,
    },
    post("/api/command", Page::Command),
    post("/api/trace", Page::Action("trace")),
    post("/api/reload", Page::Action("reload")),
    post("/api/scale", Page::Action("scale")),
    post("/api/recycle", Page::Action("recycle")),
    post("/api/restart", Page::Action("restart")),
    post("/api/pause", Page::Action("pause")),
    post("/api/resume", Page::Action("resume")),
    post("/api/maintenance", Page::Action("maintenance")),
    post("/api/reopen", Page::Action("reopen")),
    post("/api/upgrade", Page::Action("upgrade")),
    post("/api/shutdown", Page::Action("shutdown")),
];

const fn get(
    path: &'static str,
    need: Need,
    query: Option<&'static [&'static str]>,
    page: Page,
) -> Endpoint {
    Endpoint { method: Method::GET, path, need, query, page }
}

const fn post(path: &'static str, page: Page) -> Endpoint {
    Endpoint { method: Method::POST, path, need: Need::Change, query: Some(&[]), page }
}

impl Endpoint {
    /// Whether a request for it may have a body.
    pub(super) fn takes_body(&self) -> bool {
        self.method != Method::GET
    }

    /// Whether its answer has limits of its own.
    pub(super) fn takes_its_time(&self) -> bool {
        let looks = [Page::Stacks, Page::Profile, Page::Memory, Page::Command];
        looks.contains(&self.page) || matches!(self.page, Page::Action(_))
    }
}

/// What a path and a method lead to.
pub(super) enum Found {
    Endpoint(&'static Endpoint),
    /// The path is there for these.
    OtherMethods(String),
    Nothing,
}

/// Looks a path up. HEAD is as good as GET.
pub(super) fn find(path: &str, method: &Method) -> Found {
    let asked = if method == Method::HEAD { &Method::GET } else { method };
    let here = || ENDPOINTS.iter().filter(|endpoint| endpoint.path == path);
    if let Some(endpoint) = here().find(|endpoint| endpoint.method == asked) {
        return Found::Endpoint(endpoint);
    }
    let mut methods: Vec<&str> = here().map(|endpoint| endpoint.method.as_str()).collect();
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    match methods.is_empty() {
        true => Found::Nothing,
        false => Found::OtherMethods(methods.join(", ")),
    }
}

/// Has the page answer.
pub(super) async fn answer(
    context: &Arc<Context>,
    endpoint: &'static Endpoint,
    asked: Asked,
) -> Answer {
    match endpoint.page {
        Page::Health => health::health(context, &asked),
        Page::Ready => health::ready(context, &asked),
        Page::Status => status::answer(context, &asked).await,
        Page::Requests => requests::answer(context, &asked),
        Page::Events => events::answer(context, &asked),
        Page::Logs => logs::answer(context, &asked),
        Page::Nginx => nginx::answer(context),
        Page::Metrics => metrics::answer(context, &asked).await,
        Page::DashboardFile => dashboard::file(endpoint.path, &asked),
        Page::DashboardHistory => dashboard::history(context, &asked),
        Page::DashboardLive => dashboard::live(context, &asked),
        Page::Watch => watch::answer(context, &asked),
        Page::Stacks => inside::stacks(context, &asked).await,
        Page::Profile => inside::profile(context, &asked).await,
        Page::Memory => inside::memory(context, &asked).await,
        Page::Action(word) => actions::answer(context, &asked, Some(word)).await,
        Page::Command => actions::answer(context, &asked, None).await,
        Page::OpenApi => Answer::json(&openapi::description(&rows())),
        Page::Settings => settings::list(context, &asked),
        Page::Change => settings::change(context, &asked).await,
    }
}

/// The table, for its description: without the files of the page.
fn rows() -> Vec<openapi::Row> {
    let row = |endpoint: &Endpoint| openapi::Row {
        method: endpoint.method.to_string(),
        path: endpoint.path,
        need: endpoint.need,
        query: endpoint.query.unwrap_or_default().to_vec(),
    };
    let is_file = |endpoint: &&Endpoint| endpoint.page == Page::DashboardFile;
    ENDPOINTS.iter().filter(|endpoint| !is_file(endpoint)).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_dashboard_has_its_path() {
        for path in dashboard::paths() {
            let Found::Endpoint(endpoint) = find(path, &Method::GET) else { panic!("{path}") };
            assert_eq!(endpoint.page, Page::DashboardFile, "{path}");
        }
    }

    #[test]
    fn everything_that_programs_ask_for_is_described() {
        for row in rows() {
            assert!(openapi::about(&row).is_some(), "{} {}", row.method, row.path);
        }
    }

    #[test]
    fn every_path_leads_to_its_page_and_other_methods_are_told() {
        for endpoint in ENDPOINTS {
            assert!(matches!(find(endpoint.path, &endpoint.method), Found::Endpoint(_)));
        }
        assert!(matches!(find("/health", &Method::HEAD), Found::Endpoint(_)));
        let Found::OtherMethods(methods) = find("/health", &Method::DELETE) else { panic!() };
        assert_eq!(methods, "GET, HEAD");
        assert!(matches!(find("/nowhere", &Method::GET), Found::Nothing));
    }
}
