"""``tickerlake simulate`` into a real broker: killed and rerun, it produces each trade once."""

import json
import secrets
import signal
from functools import partial
from pathlib import Path

from support import oracle
from support.process import run, tickerlake, wait_until
from support.topics import has_more_than, total_high_watermark

MARKET = ("simulate", "--symbols", 8, "--trades", 20_000, "--days", 2, "--seed", 5, "--jumps", 2)


def test_the_topic_and_the_file_have_the_same_records(kafka: str, tmp_path: Path) -> None:
    topic = f"m.{secrets.token_hex(6)}"
    out, err = run(*MARKET, "-t", topic, "-b", kafka, "--truth", tmp_path / "truth", "--json")
    assert f"created topic {topic}" in err
    summary = json.loads(out)
    assert (summary["records"], summary["new_records"], summary["finished"]) == (20_000, 20_000, True)
    run(*MARKET, "-o", tmp_path / "t.ndjson")
    lines = (tmp_path / "t.ndjson").read_bytes().splitlines()
    messages = oracle.read_messages(kafka, topic)
    assert sorted(message.value() or b"" for message in messages) == sorted(lines)
    assert all(
        message.key() == json.loads(message.value() or b"")["instrument_id"].encode() for message in messages
    )
    for key in {message.key() for message in messages}:
        key_messages = [message for message in messages if message.key() == key]
        assert len({message.partition() for message in key_messages}) == 1
        sequence = [json.loads(message.value() or b"")["sequence"] for message in key_messages]
        assert sequence == list(range(1, len(key_messages) + 1))
    assert (tmp_path / "truth").read_bytes() == (tmp_path / "t.ndjson.truth.ndjson").read_bytes()
    assert summary["labels"]["jump"] == (tmp_path / "truth").read_text().count('"jump"')


def test_simulate_killed_and_rerun(kafka: str, tmp_path: Path) -> None:
    topic = f"m.{secrets.token_hex(6)}"
    options = (*MARKET, "-t", topic, "-b", kafka, "--truth", tmp_path / "truth")
    for stop_signal in (signal.SIGKILL, signal.SIGINT):
        with tickerlake(*options, "--rate", "8000/s") as child:
            wait_until(partial(has_more_than, kafka, topic, total_high_watermark(kafka, topic) + 1000), child)
            assert child.poll() is None, "it exited before it could be stopped"
            child.send_signal(stop_signal)
            assert child.wait(timeout=30) == (130 if stop_signal == signal.SIGINT else -signal.SIGKILL)
    run(*options)
    counts = oracle.count_by_field(kafka, topic, "trade_id")
    assert len(counts) == 20_000
    assert set(counts.values()) == {1}
    _, err = run(*options)
    assert "nothing new" in err


def test_another_seed_is_another_market(kafka: str) -> None:
    topic = f"m.{secrets.token_hex(6)}"
    for seed in (1, 2, 1):
        run("simulate", "--symbols", 3, "--trades", 300, "--seed", seed, "-t", topic, "-b", kafka)
    assert oracle.count_by_field(kafka, topic, "source") == {"simulator:seed=1": 300, "simulator:seed=2": 300}
