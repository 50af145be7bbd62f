"""Changes to calendars in the settings file: what is read, and what is rejected."""

from datetime import date, time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickerlake.config import load_settings
from tickerlake.errors import UsageError
from tickerlake.session_changes import ExtraSession, SessionChanges, read_changes

GOOD = """
[track]
calendar = "XNYS"

[calendar.XBOM]
extra = [
  { date = 2025-02-01, open = "09:15", close = "15:30" },
  { date = "2024-11-01", open = 18:00:00, close = "19:00:30" },
]
closed = [2025-02-26, "2025-03-14"]

[[calendar.XNSE.extra]]
date = 2024-01-20
open = "09:15"
close = "12:30"
"""


def load(folder: Path, text: str) -> dict[str, SessionChanges]:
    path = folder / "tickerlake.toml"
    path.write_text(text)
    return load_settings({"TICKERLAKE_LAKE": "./lake"}, path).calendar


def test_changes_are_read_in_every_form(tmp_path: Path) -> None:
    assert load(tmp_path, GOOD) == {
        "XBOM": SessionChanges(
            (
                ExtraSession(date(2025, 2, 1), time(9, 15), time(15, 30)),
                ExtraSession(date(2024, 11, 1), time(18), time(19, 0, 30)),
            ),
            (date(2025, 2, 26), date(2025, 3, 14)),
        ),
        "XNSE": SessionChanges((ExtraSession(date(2024, 1, 20), time(9, 15), time(12, 30)),)),
    }
    assert load(tmp_path, "[calendar]\n") == load(tmp_path, "") == {}


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("calendar = 5", "line 1: calendar is 5", "[calendar.XBOM]"),
        ("calendar = 'XNYS'", "line 1: calendar is 'XNYS'", "[calendar.XBOM]"),
        (
            "\n[calendar.xbom]\nextra = []",
            "line 2: calendar.'xbom': that is not the code of a market",
            "XBOM",
        ),
        ("[calendar.XBOM]\n\nextr = []", "line 3: calendar.XBOM: there is no key 'extr'", "extra?"),
        ("[calendar.XBOM]\n\nextra = 5", "line 3: calendar.XBOM.extra is 5", "extra = ["),
        ("[calendar.XBOM]\nextra = [5]", "line 2: calendar.XBOM.extra: 5 is not a session", "extra = ["),
        (
            "[calendar.XBOM]\nclosed = 2025-01-01",
            "line 2: calendar.XBOM.closed is datetime.date",
            "closed = [",
        ),
        ("[calendar.XBOM]\nclosed = ['1.2.2025']", "'1.2.2025' is not a date", "2025-02-01"),
        ("[calendar.XBOM]\nclosed = [2025-01-01T09:00:00]", "is not a date", "2025-02-01"),
        ("[calendar.XBOM]\nclosed = [0001-01-01]", "0001-01-01 is not a date of a session", "1970"),
        ("[calendar.XBOM]\nclosed = [2025-01-01, '2025-01-01']", "2025-01-01 is there twice", "Keep one"),
        (
            "[calendar.XBOM]\nextra = [{ date = 2025-01-01, open = '09:15' }]",
            "line 2: calendar.XBOM.extra: a session of '2025-01-01' has no close",
            "close =",
        ),
        (
            "[[calendar.XBOM.extra]]\ndate = 2025-01-01\nopen = '9:15'\nclose = '10:00'",
            "line 1: calendar.XBOM.extra: open of 2025-01-01 is '9:15', not a time of day",
            "09:15",
        ),
        (
            "[[calendar.XBOM.extra]]\ndate = 2025-01-01\nopen = '09:15'\nclose = '24:00'",
            "close of 2025-01-01 is '24:00'",
            "time zone of the exchange",
        ),
        (
            "[[calendar.XBOM.extra]]\ndate = 2025-01-01\nopen = '09:15'\nclose = '10:00'\nnote = 'x'",
            "a session has no key 'note'",
            "date, open, close",
        ),
        (
            "[calendar.XBOM]\nclosed = ['2025-01-01', 2025-01-02, 2025-01-01]",
            "line 2: calendar.XBOM.closed: 2025-01-01 is there twice",
            "Keep one",
        ),
    ],
)
def test_an_error_names_line_key_and_value(tmp_path: Path, text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(tmp_path, text + "\n")
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_day_is_not_both_extra_and_closed(tmp_path: Path) -> None:
    session = "{ date = 2025-01-01, open = '09:15', close = '10:00' }"
    with pytest.raises(UsageError, match=r"line 3: calendar\.XBOM\.extra: 2025-01-01 is there twice"):
        load(tmp_path, f"[calendar.XBOM]\nclosed = ['2025-01-01']\nextra = [{session}]\n")


def test_a_variable_does_not_change_calendars(tmp_path: Path) -> None:
    (tmp_path / "tickerlake.toml").write_text(GOOD)
    with pytest.raises(UsageError, match=r"TICKERLAKE_CALENDAR .*TICKERLAKE_TRACK__CALENDAR"):
        load_settings({"TICKERLAKE_CALENDAR": "XNYS"}, tmp_path / "tickerlake.toml")


_SESSIONS = st.builds(
    ExtraSession,
    st.dates(date(1970, 1, 1), date(2100, 12, 31)),
    *[st.times().map(lambda at: at.replace(microsecond=0))] * 2,
)


@given(
    st.dictionaries(
        st.from_regex(r"[A-Z0-9]{4}", fullmatch=True),
        st.lists(_SESSIONS, max_size=5, unique_by=lambda each: each.date),
        max_size=3,
    ),
    st.booleans(),
)
def test_what_is_written_is_what_is_read(sessions: dict[str, list[ExtraSession]], as_text: bool) -> None:
    table = {
        code: {
            "extra": [
                {
                    "date": each.date.isoformat() if as_text else each.date,
                    "open": each.open.isoformat() if as_text else each.open,
                    "close": each.close.isoformat() if as_text else each.close,
                }
                for each in extra
            ]
        }
        for code, extra in sessions.items()
    }
    changes = read_changes(table, lambda code, key: f"{code} {key}")
    assert changes == {code: SessionChanges(tuple(extra)) for code, extra in sessions.items()}


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=12)
    | st.dates()
    | st.times()
    | st.datetimes(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["extra", "closed", "date", "open", "close", "XBOM", "x"]), inner)
    ),
    max_leaves=12,
)


@given(_VALUES)
def test_any_other_content_is_an_error_in_one_line(content: object) -> None:
    try:
        changes = read_changes({"XBOM": content}, lambda code, key: f"a.toml, line 1 ({code})")
    except UsageError as error:
        failure = error
    else:
        assert set(changes) == {"XBOM"}
        return
    assert failure.message.startswith("a.toml, line 1 (XBOM): calendar.XBOM")
    assert failure.message.isprintable()
    assert len(failure.message) < 200
    assert failure.hint
