"""An app in the peers' environment: the table by Dash, ten times per second.

As its documentation shows for live data: `dcc.Interval` requests the changed rows, and Dash AG Grid applies
them as transactions by row id. Gunicorn serves it, as recommended, with one worker.
A random walk in the process replaces the market; nothing is read.
"""

import importlib
import random
from typing import Any

ROWS = 500
UPDATE_MS = 100
COLUMNS = ("symbol", "last", "change", "volume")


def walk(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for row in rows:
        row["last"] = round(row["last"] + random.randint(-5, 5) / 100, 2)
        row["change"] = round(row["last"] - 100, 2)
        row["volume"] += 100
    return rows


def create() -> Any:
    """Return the application, for a WSGI server."""
    dash: Any = importlib.import_module("dash")
    grids: Any = importlib.import_module("dash_ag_grid")
    rows = [{"symbol": f"S{number:04}", "last": 100.0, "change": 0.0, "volume": 0} for number in range(ROWS)]
    app = dash.Dash(__name__)
    grid = grids.AgGrid(
        id="grid",
        rowData=rows,
        columnDefs=[{"field": name} for name in COLUMNS],
        getRowId="params.data.symbol",
        style={"height": "700px"},
    )
    app.layout = dash.html.Div([dash.dcc.Interval(id="timer", interval=UPDATE_MS), grid])

    @app.callback(  # type: ignore[untyped-decorator]
        dash.Output("grid", "rowTransaction"),
        dash.Input("timer", "n_intervals"),
        prevent_initial_call=True,
    )
    def update(_: int) -> dict[str, Any]:
        return {"update": walk(rows), "async": False}

    return app.server
