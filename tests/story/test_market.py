"""A simulated market → Kafka on a real broker: killed and run again, each trade is in the topic once."""

import json
import secrets
import signal
from functools import partial
from pathlib import Path

from support import oracle
from support.process import run, tickerlake, wait_until
from support.topics import more_than, retained

MARKET = ("simulate", "--symbols", 8, "--trades", 20_000, "--days", 2, "--seed", 5, "--jumps", 2)


def test_the_topic_holds_what_the_file_holds(kafka: str, tmp_path: Path) -> None:
    topic = f"m.{secrets.token_hex(6)}"
    out, err = run(*MARKET, "-t", topic, "-b", kafka, "--truth", tmp_path / "truth", "--json")
    assert f"created topic {topic}" in err
    summary = json.loads(out)
    assert (summary["records"], summary["new_records"], summary["finished"]) == (20_000, 20_000, True)
    run(*MARKET, "-o", tmp_path / "t.ndjson")
    lines = (tmp_path / "t.ndjson").read_bytes().splitlines()
    found = oracle.messages(kafka, topic)
    assert sorted(message.value() or b"" for message in found) == sorted(lines)
    assert all(
        message.key() == json.loads(message.value() or b"")["instrument_id"].encode() for message in found
    )
    for key in {message.key() for message in found}:
        mine = [message for message in found if message.key() == key]
        assert len({message.partition() for message in mine}) == 1
        sequence = [json.loads(message.value() or b"")["sequence"] for message in mine]
        assert sequence == list(range(1, len(mine) + 1))
    assert (tmp_path / "truth").read_bytes() == (tmp_path / "t.ndjson.truth.ndjson").read_bytes()
    assert summary["labels"]["jump"] == (tmp_path / "truth").read_text().count('"jump"')


def test_killed_and_run_again(kafka: str, tmp_path: Path) -> None:
    topic = f"m.{secrets.token_hex(6)}"
    options = (*MARKET, "-t", topic, "-b", kafka, "--truth", tmp_path / "truth")
    for end in (signal.SIGKILL, signal.SIGINT):
        with tickerlake(*options, "--rate", "8000/s") as child:
            wait_until(partial(more_than, kafka, topic, retained(kafka, topic) + 1000), child)
            assert child.poll() is None, "it ended before it could be stopped"
            child.send_signal(end)
            assert child.wait(timeout=30) == (130 if end == signal.SIGINT else -signal.SIGKILL)
    run(*options)
    counts = oracle.each_once(kafka, topic, "trade_id")
    assert len(counts) == 20_000
    assert set(counts.values()) == {1}
    _, err = run(*options)
    assert "nothing new" in err


def test_another_seed_is_another_market(kafka: str) -> None:
    topic = f"m.{secrets.token_hex(6)}"
    for seed in (1, 2, 1):
        run("simulate", "--symbols", 3, "--trades", 300, "--seed", seed, "-t", topic, "-b", kafka)
    assert oracle.each_once(kafka, topic, "source") == {"simulator:seed=1": 300, "simulator:seed=2": 300}
