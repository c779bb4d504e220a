//! The board for Grafana.

use serde_json::{Value as Json, json};

use super::table::{Panel, Table};

/// Grafana divides a board's width so.
const WIDTH: usize = 24;
const PANEL_WIDTH: usize = 8;
const PANEL_HEIGHT: usize = 8;

/// The whole file.
pub(super) fn text(table: &Table) -> String {
    let mut panels = Vec::new();
    let (mut top, mut left, mut row) = (0, 0, "");
    for panel in &table.panels {
        if panel.row != row {
            if left > 0 {
                top += PANEL_HEIGHT;
            }
            panels.push(json!({
                "type": "row", "title": panel.row, "collapsed": false, "id": panels.len() + 1, "panels": [],
                "gridPos": {"h": 1, "w": WIDTH, "x": 0, "y": top},
            }));
            (row, left, top) = (&panel.row, 0, top + 1);
        }
        panels.push(shown(panel, panels.len() + 1, (left, top)));
        left += PANEL_WIDTH;
        if left >= WIDTH {
            (left, top) = (0, top + PANEL_HEIGHT);
        }
    }
    let board = json!({
        "title": "Indrik",
        "uid": "indrik",
        "description": "Made of metrics.toml by `cargo xtask metrics`.",
        "tags": ["indrik"],
        "schemaVersion": 39,
        "version": 1,
        "editable": true,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [datasource(), instance()]},
        "annotations": {"list": []},
        "panels": panels,
    });
    format!("{board:#}\n")
}

fn shown(panel: &Panel, id: usize, (left, top): (usize, usize)) -> Json {
    let targets = panel.exprs.iter().enumerate().map(|(at, expr)| {
        json!({
            "refId": char::from(b'A' + at as u8).to_string(),
            "expr": expr,
            "legendFormat": panel.legend,
            "datasource": source(),
        })
    });
    json!({
        "id": id,
        "type": "timeseries",
        "title": panel.title,
        "datasource": source(),
        "gridPos": {"h": PANEL_HEIGHT, "w": PANEL_WIDTH, "x": left, "y": top},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"tooltip": {"mode": "multi"}, "legend": {"displayMode": "list", "placement": "bottom"}},
        "targets": targets.collect::<Vec<_>>(),
    })
}

fn source() -> Json {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

fn datasource() -> Json {
    json!({"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"})
}

fn instance() -> Json {
    json!({
        "name": "instance", "type": "query", "label": "Server", "datasource": source(),
        "query": "label_values(indrik_build_info, instance)", "refresh": 2,
        "multi": true, "includeAll": true, "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    })
}
