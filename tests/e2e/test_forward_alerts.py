"""Alerts reach a webhook, with a valid signature, and `alerts tail`."""

import json
import os
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from support.process import run
from support.receivers import Receiver, Reply

RULES = """
[[rule]]
id = "move"
kind = "pct_change"
window = "1m"
pct = 0.2
repeat = "every"
cooldown = "1s"

[[notify]]
kind = "webhook"
name = "desk"
url = "{url}"
secret_env = "DESK_SECRET"
allow_private = true
group = false
"""
SECRET = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"


def test_alerts_reach_a_webhook_and_tail(kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESK_SECRET", SECRET)
    run("simulate", "-t", "forward.trades", "-b", kafka, "--trades", 3_000, "--symbols", 3, "--days", 1)
    with Receiver(Reply(503)) as receiver:
        rules = tmp_path / "rules.toml"
        rules.write_text(RULES.format(url=receiver.url))
        run("rules", "check", rules)
        out, err = run(
            "track",
            "-t",
            "forward.trades",
            "-b",
            kafka,
            "--rules",
            rules,
            "--until-end",
            "--json",
            cwd=tmp_path,
        )
        printed = [json.loads(line) for line in out.splitlines()]
        fired = {alert["alert_id"] for alert in printed if alert["state"] == "fired"}
        assert len(fired) > 10
        assert f"desk: {len(fired)} alerts delivered" in err
        received = [receiver.next_request() for _ in range(len(fired) + 1)]
    delivered = set()
    for request in received:
        Webhook(SECRET).verify(request.body, dict(request.headers))
        delivered.add(json.loads(request.body)["data"]["alert_id"])
    assert delivered == fired
    out, _ = run("alerts", "tail", "-t", "forward.alerts", "-b", kafka, "-n", 5, "--no-follow", "--json")
    assert [json.loads(line) for line in out.splitlines()] == printed[-5:]
    # a second run sends nothing twice
    out, err = run(
        "track", "-t", "forward.trades", "-b", kafka, "--rules", rules, "--until-end", cwd=tmp_path
    )
    assert out == ""
    assert "desk: 0 alerts delivered" in err
    assert SECRET not in err
    assert os.environ["DESK_SECRET"] == SECRET
