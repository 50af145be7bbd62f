"""CSV → Kafka on a real broker: killed and run again, each row is in the topic once."""

import json
import secrets
import signal
from datetime import date, timedelta
from functools import partial
from pathlib import Path

from support import oracle
from support.process import run, tickerlake, wait_until
from tickerlake.kafka.admin import Admin

HEADER = "Date,Open,High,Low,Close,Adj Close,Volume"


def prices(folder: Path, rows: int, name: str = "ACME.csv") -> Path:
    first = date(1950, 1, 2)
    lines = [f"{first + timedelta(days=n)},10.5,12.25,9.75,11,11,{1000 + n}" for n in range(rows)]
    path = folder / name
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return path


def retained(servers: str, topic: str) -> int:
    about = Admin(servers).describe(topic)
    return sum(high for _, high in Admin(servers).watermarks(about).values()) if about else 0


def _more_than(servers: str, topic: str, count: int) -> bool:
    return retained(servers, topic) > count


def test_killed_and_run_again(kafka: str, tmp_path: Path) -> None:
    topic = f"p.{secrets.token_hex(6)}"
    path = prices(tmp_path, 20_000)
    options = ("produce", path, "-t", topic, "-b", kafka, "--rate", "8000/s")
    for _ in range(3):
        with tickerlake(*options) as child:
            wait_until(partial(_more_than, kafka, topic, retained(kafka, topic) + 2000), child)
            assert child.poll() is None, "it ended before it could be killed"
            child.kill()
    run("produce", path, "-t", topic, "-b", kafka)
    counts = oracle.each_once(kafka, topic, "source_line")
    assert len(counts) == 20_000
    assert set(counts.values()) == {1}
    _, err = run("produce", path, "-t", topic, "-b", kafka)
    assert "nothing new" in err


def test_order_and_key_of_an_instrument(kafka: str, tmp_path: Path) -> None:
    topic = f"p.{secrets.token_hex(6)}"
    run("produce", prices(tmp_path, 500), prices(tmp_path, 500, "ZED.csv"), "-t", topic, "-b", kafka)
    found = oracle.messages(kafka, topic)
    assert {message.key() for message in found} == {b"ACME.XXXX", b"ZED.XXXX"}
    for key in (b"ACME.XXXX", b"ZED.XXXX"):
        mine = [message for message in found if message.key() == key]
        assert len({message.partition() for message in mine}) == 1
        opens = [json.loads(message.value() or b"")["ts_open_ns"] for message in mine]
        assert opens == sorted(opens)
        assert len(opens) == 500


def test_a_changed_file_is_noticed(kafka: str, tmp_path: Path) -> None:
    topic = f"p.{secrets.token_hex(6)}"
    path = prices(tmp_path, 100)
    run("produce", path, "-t", topic, "-b", kafka)
    path.write_text(path.read_text().replace("1005", "9999"))
    _, err = run("produce", path, "-t", topic, "-b", kafka, code=4)
    assert "changed since" in err
    assert len(oracle.messages(kafka, topic)) == 100


def test_refused_rows_are_kept_beside_the_topic(kafka: str, tmp_path: Path) -> None:
    topic = f"p.{secrets.token_hex(6)}"
    path = prices(tmp_path, 10)
    path.write_text(path.read_text() + "1990-01-02,null,null,null,null,null,null\n1990-01-03,-1,2,-2,1,1,5\n")
    out, _ = run("produce", path, "-t", topic, "-b", kafka, "--json")
    assert json.loads(out)["files"][0]["rejects"] == 2
    kept = [json.loads(message.value() or b"") for message in oracle.messages(kafka, f"{topic}.rejects")]
    assert sorted(reject["line"] for reject in kept) == [12, 13]
    assert all(reject["reason"] and reject["raw"] for reject in kept)


def test_no_create(kafka: str, tmp_path: Path) -> None:
    _, err = run("produce", prices(tmp_path, 3), "-t", "not.there", "-b", kafka, "--no-create", code=2)
    assert "no topic not.there" in err


def test_paced_by_event_time_and_stopped(kafka: str, tmp_path: Path) -> None:
    topic = f"p.{secrets.token_hex(6)}"
    # a bar a day, a day an hour: only the first is due when it is stopped
    options = ("produce", prices(tmp_path, 1000), "-t", topic, "-b", kafka, "--speed", "24x")
    with tickerlake(*options) as child:
        wait_until(partial(_more_than, kafka, topic, 0), child)
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=30) == 130
    assert len(oracle.messages(kafka, topic)) == 1
    run("produce", tmp_path / "ACME.csv", "-t", topic, "-b", kafka)
    counts = oracle.each_once(kafka, topic, "source_line")
    assert len(counts) == 1000
    assert set(counts.values()) == {1}


def test_a_pace_that_is_none(kafka: str, tmp_path: Path) -> None:
    options = ("produce", prices(tmp_path, 3), "-t", "p.pace", "-b", kafka)
    for pace in (("--speed", "fast"), ("--speed", "0x"), ("--rate", "-1/s"), ("--rate", "nan")):
        _, err = run(*options, *pace, code=2)
        assert f"{pace[0]} {pace[1]} is not understood" in err
    _, err = run(*options, "--speed", "60x", "--rate", "5/s", code=2)
    assert "both say how fast" in err
