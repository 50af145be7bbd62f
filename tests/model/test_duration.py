import pytest

from tickerlake.errors import UsageError
from tickerlake.model.duration import format_duration, parse_duration_ns, parse_duration_option


@pytest.mark.parametrize(
    ("text", "expected_ns", "formatted"),
    [("45s", 45e9, "45 s"), ("12m", 720e9, "12 min"), ("2h", 7200e9, "2 h"), ("125m", 7500e9, "2 h 5 min")],
)
def test_durations(text: str, expected_ns: float, formatted: str) -> None:
    assert parse_duration_ns(text) == expected_ns
    assert format_duration(expected_ns) == formatted


@pytest.mark.parametrize(("text", "expected_ns"), [("0s", 0), ("500ms", 5e8), (" 2w ", 14 * 86_400e9)])
def test_durations_of_options(text: str, expected_ns: float) -> None:
    assert parse_duration_option(text, "--grace") == expected_ns


@pytest.mark.parametrize("text", ["", "5", "m", "-5m", "5 minutes", "1.5h", "9999999999s"])
def test_invalid_durations(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration_ns(text)
    with pytest.raises(UsageError, match=r"--grace .* is not a duration"):
        parse_duration_option(text, "--grace")
