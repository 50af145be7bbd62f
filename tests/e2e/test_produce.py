"""CSV → Kafka on a real broker: killed and rerun, `produce` writes each row once."""

import json
import secrets
import signal
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from support import oracle
from support.csv_files import DAILY_HEADER, write_daily_csv
from support.process import run, tickerlake, wait_until
from support.topics import has_more_than, total_high_watermark
from tickerlake.kafka.admin import Admin


def test_produce_killed_and_rerun(kafka: str, tmp_path: Path) -> None:
    topic = f"p.{secrets.token_hex(6)}"
    path = write_daily_csv(tmp_path, 20_000)
    options = ("produce", path, "-t", topic, "-b", kafka, "--rate", "8000/s")
    for _ in range(3):
        with tickerlake(*options) as child:
            wait_until(partial(has_more_than, kafka, topic, total_high_watermark(kafka, topic) + 2000), child)
            assert child.poll() is None, "it exited before it could be killed"
            child.kill()
    run("produce", path, "-t", topic, "-b", kafka)
    counts = oracle.count_by_field(kafka, topic, "source_line")
    assert len(counts) == 20_000
    assert set(counts.values()) == {1}
    _, err = run("produce", path, "-t", topic, "-b", kafka)
    assert "nothing new" in err


def test_order_and_key_of_an_instrument(kafka: str, tmp_path: Path) -> None:
    topic = f"p.{secrets.token_hex(6)}"
    run(
        "produce",
        write_daily_csv(tmp_path, 500),
        write_daily_csv(tmp_path, 500, "ZED.csv"),
        "-t",
        topic,
        "-b",
        kafka,
    )
    messages = oracle.read_messages(kafka, topic)
    assert {message.key() for message in messages} == {b"ACME.XXXX", b"ZED.XXXX"}
    for key in (b"ACME.XXXX", b"ZED.XXXX"):
        key_messages = [message for message in messages if message.key() == key]
        assert len({message.partition() for message in key_messages}) == 1
        opens = [json.loads(message.value() or b"")["ts_open_ns"] for message in key_messages]
        assert opens == sorted(opens)
        assert len(opens) == 500


def test_a_changed_file_is_detected(kafka: str, tmp_path: Path) -> None:
    topic = f"p.{secrets.token_hex(6)}"
    path = write_daily_csv(tmp_path, 100)
    run("produce", path, "-t", topic, "-b", kafka)
    path.write_text(path.read_text().replace("1005", "9999"))
    _, err = run("produce", path, "-t", topic, "-b", kafka, exit_code=4)
    assert "changed since" in err
    assert len(oracle.read_messages(kafka, topic)) == 100


def test_rejected_rows_go_to_the_rejects_topic(kafka: str, tmp_path: Path) -> None:
    topic = f"p.{secrets.token_hex(6)}"
    path = write_daily_csv(tmp_path, 10)
    path.write_text(path.read_text() + "1990-01-02,null,null,null,null,null,null\n1990-01-03,-1,2,-2,1,1,5\n")
    out, _ = run("produce", path, "-t", topic, "-b", kafka, "--json")
    assert json.loads(out)["files"][0]["rejects"] == 2
    rejects = [
        json.loads(message.value() or b"") for message in oracle.read_messages(kafka, f"{topic}.rejects")
    ]
    assert sorted(reject["line"] for reject in rejects) == [12, 13]
    assert all(reject["reason"] and reject["raw"] for reject in rejects)


def test_no_create(kafka: str, tmp_path: Path) -> None:
    _, err = run(
        "produce", write_daily_csv(tmp_path, 3), "-t", "not.there", "-b", kafka, "--no-create", exit_code=2
    )
    assert "no topic not.there" in err


def test_paced_by_event_time_and_stopped(kafka: str, tmp_path: Path) -> None:
    topic = f"p.{secrets.token_hex(6)}"
    # daily bars at one day per hour: only the first is due before the stop
    options = ("produce", write_daily_csv(tmp_path, 1000), "-t", topic, "-b", kafka, "--speed", "24x")
    with tickerlake(*options) as child:
        wait_until(partial(has_more_than, kafka, topic, 0), child)
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=30) == 130
    assert len(oracle.read_messages(kafka, topic)) == 1
    run("produce", tmp_path / "ACME.csv", "-t", topic, "-b", kafka)
    counts = oracle.count_by_field(kafka, topic, "source_line")
    assert len(counts) == 1000
    assert set(counts.values()) == {1}


def test_invalid_pace_options(kafka: str, tmp_path: Path) -> None:
    options = ("produce", write_daily_csv(tmp_path, 3), "-t", "p.pace", "-b", kafka)
    for pace in (("--speed", "fast"), ("--speed", "0x"), ("--rate", "-1/s"), ("--rate", "nan")):
        _, err = run(*options, *pace, exit_code=2)
        assert f"{pace[0]} {pace[1]} is not valid" in err
    _, err = run(*options, "--speed", "60x", "--rate", "5/s", exit_code=2)
    assert "mutually exclusive" in err


def documents(servers: str, topic: str) -> list[dict[str, Any]]:
    return [json.loads(message.value() or b"") for message in oracle.read_messages(servers, topic)]


def count_by_line(servers: str, topic: str) -> Counter[tuple[str, int]]:
    """Count the committed records by file and line."""
    return Counter((each["source"], each["source_line"]) for each in documents(servers, topic))


def test_several_files_are_merged_by_time(kafka: str, tmp_path: Path) -> None:
    """The rows of one instrument alternate between two files."""
    topic = f"p.{secrets.token_hex(6)}"
    lines = write_daily_csv(tmp_path, 400).read_text().splitlines()
    halves = [tmp_path / "odd.csv", tmp_path / "even.csv"]
    for number, path in enumerate(halves):
        path.write_text("\n".join([DAILY_HEADER, *lines[1 + number :: 2]]) + "\n")
    out, _ = run("produce", *halves, "--symbol", "ACME", "-t", topic, "-b", kafka, "--json")
    assert [each["records"] for each in json.loads(out)["files"]] == [200, 200]
    bars = documents(kafka, topic)
    opens = [each["ts_open_ns"] for each in bars]
    assert opens == sorted(opens)
    assert len(set(opens)) == 400
    assert [each["source"] for each in bars[:4]] == ["odd.csv", "even.csv"] * 2


@pytest.mark.parametrize("rate", [pytest.param("8000/s", marks=pytest.mark.full), "7777/s"])
def test_several_files_killed_and_rerun(kafka: str, tmp_path: Path, rate: str) -> None:
    """Each timestamp has a row of each symbol, unordered, so that runs are killed within a timestamp."""
    topic = f"p.{secrets.token_hex(6)}"
    folder = tmp_path / "data"
    folder.mkdir()
    rows = 4_000
    for name, symbols in (("one.csv", ("ZED", "ACME")), ("two.csv", ("MID",)), ("three.csv", ("YAK", "BEE"))):
        lines = write_daily_csv(tmp_path, rows).read_text().splitlines()[1:]
        each = [f"{symbol},{line}" for line in lines for symbol in symbols]
        (folder / name).write_text("\n".join([f"Symbol,{DAILY_HEADER}", *each]) + "\n")
    for _ in range(3):
        with tickerlake("produce", folder, "-t", topic, "-b", kafka, "--rate", rate) as child:
            wait_until(partial(has_more_than, kafka, topic, total_high_watermark(kafka, topic) + 1000), child)
            assert child.poll() is None, "it exited before it could be killed"
            child.kill()
    run("produce", folder, "-t", topic, "-b", kafka)
    counts = count_by_line(kafka, topic)
    assert set(counts.values()) == {1}
    assert len(counts) == 5 * rows
    _, err = run("produce", folder, "-t", topic, "-b", kafka)
    assert err.count("nothing new") == 3


def test_only_an_added_file_is_written(kafka: str, tmp_path: Path) -> None:
    topic = f"p.{secrets.token_hex(6)}"
    folder = tmp_path / "data"
    folder.mkdir()
    write_daily_csv(folder, 100, "A.csv")
    write_daily_csv(folder, 100, "B.csv")
    run("produce", folder, "-t", topic, "-b", kafka)
    write_daily_csv(folder, 50, "AB.csv")
    out, _ = run("produce", folder, "-t", topic, "-b", kafka, "--json")
    assert {each["source"]: each["new_records"] for each in json.loads(out)["files"]} == {
        "A.csv": 0,
        "AB.csv": 50,
        "B.csv": 0,
    }
    counts = count_by_line(kafka, topic)
    assert set(counts.values()) == {1}
    assert Counter(name for name, _ in counts) == {"A.csv": 100, "B.csv": 100, "AB.csv": 50}


def test_a_loop_gives_later_times_until_it_is_stopped(kafka: str, tmp_path: Path) -> None:
    topic = f"p.{secrets.token_hex(6)}"
    with tickerlake("produce", write_daily_csv(tmp_path, 20), "-t", topic, "-b", kafka, "--loop") as child:
        # transaction markers take offsets, too
        wait_until(partial(has_more_than, kafka, topic, 120), child)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    opens = [each["ts_open_ns"] for each in documents(kafka, topic)]
    assert len(opens) > 60
    assert opens == sorted(set(opens)), "each iteration is later than the one before"
    week = 7 * 86_400 * 10**9
    period = opens[20] - opens[0]
    assert period > 0
    assert period % week == 0
    assert opens == [opens[n % 20] + n // 20 * period for n in range(len(opens))]


def test_trades(kafka: str, tmp_path: Path) -> None:
    topic = f"p.{secrets.token_hex(6)}"
    path = tmp_path / "trades.csv"
    lines = [f"2024-01-02T12:00:{n:02}.{n:09}Z,ACME,10.25,{n + 1},t{n}" for n in range(50)]
    path.write_text("\n".join(["timestamp,symbol,price,size,trade_id", *lines]) + "\n")
    run("produce", path, "-t", topic, "-b", kafka)
    trades = documents(kafka, topic)
    assert {each["schema"] for each in trades} == {"trade.v1"}
    assert [each["trade_id"] for each in trades] == [f"t{n}" for n in range(50)]
    assert trades[7]["ts_event_ns"] % 10**9 == 7
    assert {message.key() for message in oracle.read_messages(kafka, topic)} == {b"ACME.XXXX"}


def test_strict_writes_nothing_if_a_row_is_rejected(kafka: str, tmp_path: Path) -> None:
    topic = f"p.{secrets.token_hex(6)}"
    valid, invalid = write_daily_csv(tmp_path, 10, "A.csv"), write_daily_csv(tmp_path, 10, "B.csv")
    invalid.write_text(invalid.read_text() + "1990-01-02,null,null,null,null,null,null\n")
    _, err = run("produce", valid, invalid, "--strict", "-t", topic, "-b", kafka, exit_code=4)
    assert "B.csv, line 12" in err
    assert total_high_watermark(kafka, topic) == total_high_watermark(kafka, f"{topic}.rejects") == 0
    out, _ = run("produce", valid, invalid, "-t", topic, "-b", kafka, "--json")
    files = json.loads(out)["files"]
    assert [(each["source"], each["records"], each["rejects"]) for each in files] == [
        ("A.csv", 10, 0),
        ("B.csv", 10, 1),
    ]
    assert len(count_by_line(kafka, topic)) == 20


def test_standard_input_twice_is_written_once(kafka: str, tmp_path: Path) -> None:
    topic = f"p.{secrets.token_hex(6)}"
    command = [sys.executable, "-c", "from tickerlake.cli.app import main; main()", "produce", "-"]
    options = ["--symbol", "ACME", "-t", topic, "-b", kafka]
    data = write_daily_csv(tmp_path, 30).read_bytes()
    for _ in range(2):
        subprocess.run([*command, *options], input=data, capture_output=True, timeout=60, check=True)
    counts = count_by_line(kafka, topic)
    assert len(counts) == 30
    assert set(counts.values()) == {1}
    other = data.replace(b"10.5", b"10.25")
    subprocess.run([*command, *options], input=other, capture_output=True, timeout=60, check=True)
    assert set(count_by_line(kafka, topic).values()) == {2}


def test_two_runs_over_some_of_the_same_files(kafka: str, tmp_path: Path) -> None:
    topic = f"p.{secrets.token_hex(6)}"
    first, shared, third = (write_daily_csv(tmp_path, 300, f"{name}.csv") for name in "ABC")
    with tickerlake("produce", first, shared, "-t", topic, "-b", kafka, "--rate", "20/s") as child:
        wait_until(partial(has_more_than, kafka, topic, 0), child)
        assert child.poll() is None
        _, err = run("produce", shared, third, "-t", topic, "-b", kafka, exit_code=4)
        assert "Another process" in err
        assert child.poll() is None, "the first run must continue"
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=60) == 130
    assert not [name for name, _ in count_by_line(kafka, topic) if name == "C.csv"]
    run("produce", first, shared, third, "-t", topic, "-b", kafka)
    counts = count_by_line(kafka, topic)
    assert len(counts) == 900
    assert set(counts.values()) == {1}


def send(kafka: str, topic: str, *values: bytes | None) -> None:
    client = Producer({"bootstrap.servers": kafka})
    for value in values:
        client.produce(topic, value, b"k")
    assert client.flush(30) == 0


def test_a_topic_of_another_record_type_is_refused(kafka: str, tmp_path: Path) -> None:
    topic, path = f"p.{secrets.token_hex(6)}", write_daily_csv(tmp_path, 20)
    run("produce", path, "-t", topic, "-b", kafka, "--partitions", "1")
    simulate = ("simulate", "-t", topic, "-b", kafka, "--trades", "300", "--symbols", "3")
    _, err = run(*simulate, exit_code=4)
    assert f"{topic} holds bar.v1 (read offset 19 of partition 0); these records are trade.v1." in err
    assert "Use another --topic, or --mix." in err
    assert len(oracle.read_messages(kafka, topic)) == 20
    run(*simulate, "--mix")
    assert len(oracle.read_messages(kafka, topic)) == 320
    # nothing is left to write, so nothing is refused
    _, err = run("produce", path, "-t", topic, "-b", kafka)
    assert "nothing new" in err
    other = write_daily_csv(tmp_path, 20, "OTHER.csv")
    _, err = run("produce", other, "-t", topic, "-b", kafka, exit_code=4)
    assert "holds trade.v1" in err


@pytest.mark.parametrize(
    "values", [(), (b'{"hello":1}', b"\xff", None, b'{"schema":5}', b'{"schema":"order.v1"}')]
)
def test_a_topic_without_records_of_ours_is_accepted(
    kafka: str, tmp_path: Path, values: tuple[bytes | None, ...]
) -> None:
    topic = f"p.{secrets.token_hex(6)}"
    Admin(kafka).create_topic(topic, 3)
    send(kafka, topic, *values)
    run("produce", write_daily_csv(tmp_path, 20), "-t", topic, "-b", kafka)
    assert len(oracle.read_messages(kafka, topic)) == 20 + len(values)


def test_records_of_ours_are_found_far_before_the_end(kafka: str, tmp_path: Path) -> None:
    topic = f"p.{secrets.token_hex(6)}"
    Admin(kafka).create_topic(topic, 3)
    run("produce", write_daily_csv(tmp_path, 20), "-t", topic, "-b", kafka)
    for number in range(3):
        client = Producer({"bootstrap.servers": kafka, "transactional.id": f"{topic}-{number}"})
        client.init_transactions()
        # aborted trades and markers after foreign records
        for _ in range(20):
            client.begin_transaction()
            for _ in range(20):
                client.produce(topic, b'{"schema":"trade.v1"}', partition=number)
            client.flush()
            client.abort_transaction()
    send(kafka, topic, *[b"{}"] * 500)
    _, err = run("simulate", "-t", topic, "-b", kafka, "--trades", "100", "--symbols", "3", exit_code=4)
    assert f"{topic} holds bar.v1" in err
    run("produce", write_daily_csv(tmp_path, 20, "OTHER.csv"), "-t", topic, "-b", kafka)
