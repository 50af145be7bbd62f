"""Slack shows the text of alerts literally."""

import json
from typing import Any

from support.receivers import Receiver, make_alert, make_notification
from tickerlake.notify.notification import Notification
from tickerlake.notify.targets.address import Endpoint
from tickerlake.notify.targets.slack import SlackTarget


def _post_and_read(note: Notification, **options: Any) -> dict[str, Any]:
    with Receiver() as receiver:
        endpoint = Endpoint.parse(receiver.url, allow_private=True)
        SlackTarget("desk", endpoint, **options).deliver(note)
        document: dict[str, Any] = json.loads(receiver.next_request().body)
    return document


def test_an_alert_is_text_and_blocks() -> None:
    document = _post_and_read(make_notification(), dashboard_url="https://lake.example.com/")
    assert document["text"] == "WARNING AAPL fell 3.1 % in a minute"
    section, context = document["blocks"]
    assert section["text"] == {
        "type": "plain_text",
        "emoji": False,
        "text": "WARNING AAPL fell 3.1 % in a minute",
    }
    assert context["elements"][0]["text"] == "2024-01-02T14:30:00.000000Z · fast-move"
    link = context["elements"][1]["text"]
    assert link == "<https://lake.example.com/?symbol=AAPL&amp;t=1704205800000|Dashboard>"


def test_control_characters_of_slack_are_escaped() -> None:
    note = make_notification("A&B", message="<!channel> *bold* :tada: <https://evil.example|click> & more")
    document = _post_and_read(note, dashboard_url="https://lake.example.com")
    shown = "WARNING A&amp;B: &lt;!channel&gt; *bold* :tada: &lt;https://evil.example|click&gt; &amp; more"
    assert document["text"] == shown
    assert document["mrkdwn"] is False
    assert document["blocks"][0]["text"]["text"] == shown
    assert "symbol=A%26B&amp;t=" in document["blocks"][1]["elements"][1]["text"]


def test_a_symbol_of_two_words_is_not_repeated() -> None:
    document = _post_and_read(make_notification("BRK B", message="BRK B fell 3.1 %"))
    assert document["text"] == "WARNING BRK B fell 3.1 %"
    document = _post_and_read(make_notification("BRK", message="BRKB fell 3.1 %"))
    assert document["text"] == "WARNING BRK: BRKB fell 3.1 %"


def test_a_cleared_alert_is_marked() -> None:
    assert _post_and_read(make_notification(state="cleared", message="calm"))["text"] == "cleared: AAPL: calm"


def test_a_group_is_listed_up_to_twenty() -> None:
    note = Notification(tuple(make_alert(f"S{number}") for number in range(25)), 100)
    lines = _post_and_read(note)["blocks"][0]["text"]["text"].split("\n")
    assert lines[0].startswith("WARNING market-wide: 25 of 100 symbols fell")
    assert lines[1] == "• S0 fell 3.1 % in a minute"
    assert len(lines) == 22
    assert lines[-1] == "… and 5 more"


def test_a_block_stays_within_slacks_limit() -> None:
    text = _post_and_read(make_notification(message="&" * 5_000))["blocks"][0]["text"]["text"]
    assert len(text) <= 3_000
    assert text.endswith("&amp;…")
