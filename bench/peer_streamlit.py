"""An app in the peers' environment: the table by Streamlit, ten times per second.

As its documentation shows for live data: a fragment that runs every 0.1 s, and `st.dataframe`.
A random walk in the process replaces the market; nothing is read.
"""

import importlib
import random
from typing import Any

ROWS = 500
UPDATE_S = 0.1


def main() -> None:
    st: Any = importlib.import_module("streamlit")
    pd: Any = importlib.import_module("pandas")
    st.set_page_config(layout="wide")
    if "table" not in st.session_state:
        st.session_state.table = pd.DataFrame(
            {
                "symbol": [f"S{number:04}" for number in range(ROWS)],
                "last": 100.0,
                "change": 0.0,
                "volume": 0,
            }
        )

    @st.fragment(run_every=UPDATE_S)  # type: ignore[untyped-decorator]
    def show_table() -> None:
        table = st.session_state.table
        steps = pd.Series([random.randint(-5, 5) / 100 for _ in range(ROWS)])
        table["last"] = (table["last"] + steps).round(2)
        table["change"] = (table["last"] - 100).round(2)
        table["volume"] += 100
        st.dataframe(table, height=700, hide_index=True)

    show_table()


if __name__ == "__main__":
    main()
