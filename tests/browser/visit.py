"""A visit to the page in a real browser, which records everything that should not happen."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    WebSocket,
    WebSocketRoute,
)

# the event of the policy: the console message differs between versions
_REPORT_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) => {
  console.error(`violates the policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
});
"""


class Visit:
    """A user in a separate browser context.

    Attributes
    ----------
    requests
        URLs of all requests of the page.
    problems
        Errors and warnings, dialogs, policy violations, requests to other origins.
    """

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        self.url = url
        self.requests: list[str] = []
        self.problems: list[str] = []
        self.closed = False
        self._origin = urlsplit(url).netloc
        defaults = {"viewport": {"width": 1440, "height": 900}, "color_scheme": "dark", "locale": "en-US"}
        self.context: BrowserContext = browser.new_context(**{**defaults, **options})
        self.context.set_default_timeout(20_000)
        self.context.add_init_script(_REPORT_VIOLATIONS)
        self.page: Page = self.context.new_page()
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.problems.append(f"exception: {error}"))
        self.page.on("dialog", self._dialog)
        self.page.on("request", self._request)
        self.page.on("websocket", self._websocket)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.problems.append(f"{message.type}: {message.text}")

    def _dialog(self, dialog: Any) -> None:
        self.problems.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _request(self, request: Request) -> None:
        self._record_request(request.url)

    def _websocket(self, socket: WebSocket) -> None:
        self._record_request(socket.url)

    def _record_request(self, url: str) -> None:
        self.requests.append(url)
        parts = urlsplit(url)
        if parts.netloc != self._origin and parts.scheme not in {"data", "blob"}:
            self.problems.append(f"request to another origin: {url}")

    def open(self, path: str = "") -> "Visit":
        """Open the page, and wait until its list has rows."""
        self.page.goto(self.url + path)
        self.rows.first.wait_for()
        return self

    def open_chart(self, path: str = "") -> "Visit":
        """Open the page, and wait until its chart has bars."""
        self.open(path)
        self.wait_for("() => (__tickerlake.bars()?.time.length ?? 0) > 0")
        return self

    @property
    def rows(self) -> Locator:
        """The visible rows of the watch list."""
        return self.page.locator("[data-testid=row]:visible")

    def row(self, instrument: str) -> Locator:
        """Return a row of the watch list."""
        return self.page.locator(f'[data-testid=row][data-id="{instrument}"]')

    def status(self) -> Locator:
        """Return the status of the connection."""
        return self.page.get_by_test_id("status")

    def rewrite_messages(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the messages of the server in transit; call it before opening the page."""

        def connect(route: WebSocketRoute) -> None:
            server = route.connect_to_server()

            def forward(message: str | bytes) -> None:
                if isinstance(message, str):
                    content = json.loads(message)
                    change(content)
                    message = json.dumps(content)
                route.send(message)

            server.on_message(forward)

        self.page.route_web_socket("**/live", connect)

    def ignore_problems(self, text: str) -> None:
        """Drop problems that the test causes itself."""
        self.problems = [each for each in self.problems if text not in each]

    def evaluate(self, script: str, argument: Any = None) -> Any:
        """Evaluate a script in the page."""
        return self.page.evaluate(script, argument)

    def wait_for(self, script: str, argument: Any = None) -> Any:
        """Wait until a script returns a true value, evaluating it in each frame."""
        self.page.wait_for_function("() => window.__tickerlake")
        return self.page.wait_for_function(script, arg=argument).json_value()

    def chart_state(self) -> dict[str, Any]:
        """Return the state of the chart: instrument, interval, view."""
        result: dict[str, Any] = self.evaluate("() => __tickerlake.chart()")
        return result

    def bars(self) -> dict[str, list[float]]:
        """Return the bars of the chart."""
        result: dict[str, list[float]] = self.evaluate("() => __tickerlake.bars()")
        return result

    def save_screenshot(self, name: str) -> None:
        """Save a screenshot of the page if the environment variable SCREENSHOTS is set."""
        folder = os.environ.get("SCREENSHOTS")
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=Path(folder) / f"{name}.png")

    def close(self) -> None:
        """End the visit; fail if there were problems."""
        if not self.closed:
            self.context.close()
        self.closed = True
        problems, self.problems = self.problems, []
        assert not problems, "\n".join(problems)


VisitFactory = Callable[..., Visit]
