"""Makes the dashboard's JSON, which Grafana reads.

python docker/grafana/make_dashboard.py > docker/grafana/dashboards/telescope.json
"""

import json
from typing import Any

SOURCE = {"type": "prometheus", "uid": "prometheus"}
COLUMNS = 24  # width of Grafana's grid
JOB = 'job=~"$job"'
REQUESTS = f'{JOB},route=~"/v1/super-resolve.*"'
MODELS = f'{JOB},model=~"$model"'

Panel = dict[str, Any]


def per_second(metric: str, labels: str, by: str = "") -> str:
    return f"sum by ({by}) (rate({metric}{{{labels}}}[$__rate_interval]))"


def quantile(q: float, metric: str, labels: str) -> str:
    return f"histogram_quantile({q}, {per_second(f'{metric}_bucket', labels, 'le')})"


def panel(title: str, unit: str, queries: dict[str, str], *, kind: str = "timeseries", about: str = "") -> Panel:
    """queries: legend -> expression."""
    return {
        "type": kind,
        "title": title,
        "description": about,
        "datasource": SOURCE,
        "fieldConfig": {"defaults": {"unit": unit, "min": 0, "noValue": "0"}, "overrides": []},
        "targets": [
            {"refId": chr(65 + i), "datasource": SOURCE, "expr": expr, "legendFormat": legend}
            for i, (legend, expr) in enumerate(queries.items())
        ],
    }


def stats() -> list[Panel]:
    shown = [
        ("Replicas ready", "none", f"sum(telescope_ready{{{JOB}}})", "Replicas that take requests."),
        ("Requests", "reqps", per_second("telescope_requests_total", REQUESTS), "Requests a second."),
        ("Images", "cps", per_second("telescope_images_total", MODELS), "Images a second, with any outcome."),
        (
            "Refused",
            "percentunit",
            f"max(telescope:refused:ratio_rate5m{{{JOB}}})",
            "Share of the requests of five minutes that were refused: overload, a rate limit, or no valid key.",
        ),
        (
            "Failed or late",
            "percentunit",
            f"max(telescope:errors:ratio_rate5m{{{MODELS}}})",
            "Share of the images of five minutes that failed or missed their deadline.",
        ),
        (
            "Slower than 1 s",
            "percentunit",
            f"max(telescope:slow:ratio_rate5m{{{JOB}}})",
            "Share of the requests of five minutes; the objective is below 1 %.",
        ),
    ]
    return [panel(title, unit, {title: expr}, kind="stat", about=about) for title, unit, expr, about in shown]


def models() -> Panel:
    query = f"count by (model, version, digest, runtime, device) (telescope_model_info{{{MODELS}}})"
    about = "Replicas by model; more than one digest of a version is a mistake."
    made = panel("Served models", "none", {"": query}, kind="table", about=about)
    made["targets"][0] |= {"format": "table", "instant": True}
    tidy = {"excludeByName": {"Time": True}, "renameByName": {"Value": "replicas"}}
    made["transformations"] = [{"id": "organize", "options": tidy}]
    return made


def requests_and_images() -> list[Panel]:
    """Panels of requests and responses, as clients see them."""
    requests = per_second("telescope_requests_total", REQUESTS, "outcome")
    images = per_second("telescope_images_total", MODELS, "model, version, outcome")
    decisions = per_second("telescope_decisions_total", MODELS, "method, reason")
    keys = per_second("telescope_key_requests_total", JOB, "key, outcome")
    times = {
        f"{100 * q:.0f} %": quantile(q, "telescope_request_duration_seconds", REQUESTS) for q in (0.5, 0.95, 0.99)
    }
    budget = {window: f"telescope:slow:ratio_rate{window}{{{JOB}}}" for window in ("5m", "30m", "1h", "6h")}
    return [
        panel("Requests by outcome", "reqps", {"{{outcome}}": requests}),
        panel("Time of a request", "s", times, about="From the first byte in to the last out; also refusals."),
        panel("Slower than 1 s, over these windows", "percentunit", budget, about="The objective is below 1 %."),
        panel("Images by outcome", "cps", {"{{model}}:{{version}} {{outcome}}": images}),
        panel("Images by method and reason", "cps", {"{{method}}, {{reason}}": f"{decisions} > 0"}),
        panel("Requests by API key", "reqps", {"{{key}} {{outcome}}": keys}),
    ]


def replicas() -> list[Panel]:
    """Panels of each replica's queue, predictor and resources."""
    phases = {
        "decode": quantile(0.95, "telescope_decode_seconds", JOB),
        "queue": quantile(0.95, "telescope_queue_wait_seconds", MODELS),
        "inference": quantile(0.95, "telescope_batch_duration_seconds", MODELS),
        "encode": quantile(0.95, "telescope_encode_seconds", JOB),
    }
    busy = per_second("telescope_batch_duration_seconds_sum", MODELS, "instance")
    waiting = {
        f"{name} {{{{instance}}}}": f"sum by (instance) (telescope_{name}_windows{{{JOB}}})"
        for name in ("queue", "admitted")
    }
    windows = {
        "{{instance}}": per_second("telescope_batch_size_sum", MODELS, "instance"),
        "padding {{instance}}": per_second("telescope_batch_padding_total", MODELS, "instance"),
    }
    by_model = [per_second(f"telescope_batch_size_{part}", MODELS, "model, version") for part in ("sum", "count")]
    failures = per_second("telescope_batch_failures_total", MODELS, "instance, model, version")
    memory = {
        f"{legend} {{{{instance}}}}": f"sum by (instance) ({metric}{{{JOB}}})"
        for legend, metric in {
            "resident": "process_resident_memory_bytes",
            "admitted": "telescope_admitted_bytes",
            "bodies": "telescope_body_bytes",
        }.items()
    }
    traffic = {
        "in": per_second("telescope_upload_bytes_total", JOB),
        "out": per_second("telescope_result_bytes_total", JOB),
    }
    return [
        panel("Where the time goes, 95 %", "s", phases, about="Of an image, a window, a batch, an image."),
        panel("Predictor busy", "percentunit", {"{{instance}}": busy}, about="At 100 % the queue grows."),
        panel("Windows waiting and admitted", "none", waiting),
        panel("Windows a second", "cps", windows),
        panel("Windows in a batch", "none", {"{{model}}:{{version}}": " / ".join(by_model)}),
        panel("Failed batches", "cps", {"{{instance}} {{model}}:{{version}}": failures}),
        panel("Cores in use", "none", {"{{instance}}": per_second("process_cpu_seconds_total", JOB, "instance")}),
        panel("Memory", "bytes", memory),
        panel("Traffic", "Bps", traffic),
    ]


def variable(name: str, query: str) -> dict[str, Any]:
    return {
        "type": "query", "name": name, "datasource": SOURCE, "query": query, "refresh": 2,
        "includeAll": True, "multi": True, "current": {"text": "All", "value": "$__all"},
    }  # fmt: skip


def laid_out(panels: list[Panel], *, width: int, height: int, top: int) -> list[Panel]:
    each_row = COLUMNS // width
    return [
        made | {"gridPos": {"x": i % each_row * width, "y": top + i // each_row * height, "w": width, "h": height}}
        for i, made in enumerate(panels)
    ]


def dashboard() -> dict[str, Any]:
    panels = [
        *laid_out(stats(), width=4, height=4, top=0),
        *laid_out([models()], width=COLUMNS, height=5, top=4),
        *laid_out([*requests_and_images(), *replicas()], width=8, height=8, top=9),
    ]
    return {
        "uid": "text-telescope",
        "title": "Text Telescope",
        "schemaVersion": 39,
        "refresh": "5s",
        "time": {"from": "now-15m", "to": "now"},
        "templating": {
            "list": [
                variable("job", "label_values(telescope_ready, job)"),
                variable("model", "label_values(telescope_model_info, model)"),
            ]
        },
        "panels": [made | {"id": i + 1} for i, made in enumerate(panels)],
    }


if __name__ == "__main__":
    print(json.dumps(dashboard(), indent=1))
