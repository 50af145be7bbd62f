"""Rules files: what is valid, and the problems reported for what is not."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tickerlake.alerts.rules.presets import PRESETS
from tickerlake.alerts.rules.ruleset import RuleProblem, RulesError, load, parse, preset
from tickerlake.errors import UsageError

FULL_RULES = """\
[lists]
tech = ["AAPL", "MSFT"]

[[rule]]
id = "big-move"
kind = "zscore"
symbols = ["AAPL", "BRK*", "@tech"]
exclude = ["BRK.A"]
interval = "1m"
threshold = 5
clear = 2
clear_bars = 3
direction = "both"
severity = "warning"
critical = 8
when = "close"
repeat = "once_per_bar_close"
cooldown = "15m"
session = "regular"
warmup = 30
expires = 2027-01-01
message = "{symbol}: {message} ({value})"

[[rule]]
kind = "cross"
level = "sma(200)"

[[rule]]
kind = "cross"
level = 150.5

[[notify]]
channel = "email"
to = "desk@example.com"
"""


def problems(text: str) -> list[RuleProblem]:
    with pytest.raises(RulesError) as caught:
        parse(text, "rules.toml")
    return caught.value.problems


def single_problem(line: str, kind: str = 'kind = "zscore"') -> RuleProblem:
    (problem,) = problems(f"\n[[rule]]\n{kind}\n{line}\n")
    return problem


def test_a_whole_file() -> None:
    rule_set = parse(FULL_RULES, "rules.toml")
    big, cross, price = rule_set.rules
    assert (big.id, cross.id, price.id) == ("big-move", "cross-1", "cross-2")
    assert big.symbols == ("AAPL", "BRK*", "MSFT")
    assert (big.exclude, big.intervals, big.critical, big.cooldown_ns) == (
        ("BRK.A",),
        ("1m",),
        8,
        900 * 10**9,
    )
    assert big.expires_ns == int(datetime(2027, 1, 1, tzinfo=UTC).timestamp()) * 10**9
    assert (big.line, cross.line, price.line) == (4, 24, 28)
    assert (cross.arguments["level"], price.arguments["level"]) == ("SMA(200)", 150.5)
    (channel,) = rule_set.notify
    assert (channel.table["channel"], channel.line) == ("email", 32)


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(FULL_RULES, encoding="utf-8")
    assert load(path).rules == parse(FULL_RULES, "x").rules
    with pytest.raises(UsageError, match="cannot be read"):
        load(tmp_path / "none.toml")


def test_all_errors_are_reported_at_once_with_their_lines() -> None:
    text = """\
lsts = 1

[[rule]]
id = "a"
kind = "zscore"
treshold = 5

[[rule]]
id = "b"
kind = "zsore"

[[rule]]
id = "a"
kind = "pct_change"
pct = -1

[[rule]]
kind = "gap_open"
pct = 3

[[rule]]
id = "gap_open-1"
kind = "gap_open"
pct = 3
"""
    assert [(p.line, p.rule, p.message, p.hint) for p in problems(text)] == [
        (1, "", "there is no key lsts.", "Did you mean lists?"),
        (6, "a", "there is no key treshold.", "Did you mean threshold?"),
        (10, "b", "there is no kind 'zsore'.", "Did you mean zscore?"),
        (15, "a", "pct is -1.", "It must be more than 0."),
        (21, "gap_open-1", "the rule of line 17 has the same id.", "Use another id."),
    ]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (
            "pct_chnge",
            [
                (3, "there is no kind 'pct_chnge'."),
                (4, "there is no key thresold."),
                (5, "pct is -1."),
                (6, 'cooldown is "soon", not a duration.'),
            ],
        ),
        (
            "qqq",
            [
                (3, "there is no kind 'qqq'."),
                (4, "there is no key thresold."),
                (6, 'cooldown is "soon", not a duration.'),
            ],
        ),
    ],
)
def test_the_other_keys_of_an_unknown_kind_are_checked(kind: str, expected: list[tuple[int, str]]) -> None:
    text = f"""\
[[rule]]
id = "a"
kind = "{kind}"
thresold = 5
pct = -1
cooldown = "soon"
symbols = ["AAPL"]
"""
    assert [(problem.line, problem.message) for problem in problems(text)] == expected


@pytest.mark.parametrize(
    ("line", "kind", "message", "hint"),
    [
        ("threshold = 0", "zscore", "threshold is 0.", "more than 0"),
        ("threshold = nan", "zscore", "threshold is nan.", "finite"),
        ("threshold = inf", "zscore", "threshold is inf.", "finite"),
        ('threshold = "5"', "zscore", 'threshold is "5", not a number.', "without quotes"),
        ("threshold = true", "zscore", "threshold is true, not a number.", "without quotes"),
        ("decay = 1", "zscore", "decay is 1.", "less than 1"),
        ("decay = 0.0", "zscore", "decay is 0.", "more than 0 and less than 1"),
        ("time_of_day = 1", "zscore", "time_of_day is 1.", "true or false"),
        ("clear = 5", "zscore", "clear is 5, not below threshold = 5.", "smaller"),
        ("clear = 0", "zscore", "clear is 0.", "more than 0"),
        ("clear_bars = 0", "zscore", "clear_bars is 0.", "1 to"),
        ("clear_bars = 1.5", "zscore", "clear_bars is 1.5, not a whole number.", ""),
        ("critical = 3", "zscore", "critical is 3, below threshold = 5", 'severity = "critical"'),
        ("warning = 9\ncritical = 8", "zscore", "warning is 9, not below critical.", "Swap"),
        ('severity = "urgent"', "zscore", 'severity is "urgent".', "info, warning, critical"),
        ('direction = "dwon"', "zscore", 'direction is "dwon".', "Did you mean down?"),
        ('when = "ticks"', "zscore", 'when is "ticks".', "Did you mean tick?"),
        ('repeat = "once_per_day"', "zscore", 'repeat is "once_per_day".', "Did you mean once_per_bar?"),
        ('cooldown = "15 minutes"', "zscore", 'cooldown is "15 minutes", not a duration.', "15m"),
        ("cooldown = 15", "zscore", "cooldown is 15, not a string.", "quotes"),
        ('interval = "1min"', "zscore", "interval is '1min', not an interval.", "1m"),
        ('session = "night"', "zscore", 'session is "night".', "all, regular, extended"),
        ('expires = "2027-01-01"', "zscore", "expires is '2027-01-01', not a date.", "without quotes"),
        ("warmup = -1", "zscore", "warmup is -1.", "0 to"),
        ('message = "{symbl}"', "zscore", "message cannot contain {symbl}.", "Did you mean symbol?"),
        ('message = "{symbol"', "zscore", "message is not a valid template", "{{"),
        ('message = "{symbol.__class__}"', "zscore", "message cannot contain {symbol.__class__}.", "symbol"),
        ("symbols = []", "zscore", "symbols is not a list of symbols.", "AAPL"),
        ('symbols = ["@tec"]', "zscore", "there is no list @tec.", "[lists]"),
        ('id = "a b"', "zscore", "id is 'a b'.", "letters"),
        ("id = 5", "zscore", "id is '5'.", "in quotes"),
        ('when = "tick"\nrepeat = "once_per_bar_close"', "zscore", 'when = "tick" does not wait', "close"),
        ("alpha = 0.5", "jump", "alpha is 0.5.", "less than 0.5"),
        ("window = 3", "jump", "window is 3.", "16 to"),
        ("threshold = 5\npct = 5", "pct_change", "pct_change has no threshold.", "Write pct = …."),
        ("", "pct_change", "pct is missing.", "Write pct = …."),
        ("pct = 1\nwindow = 0", "pct_change", "window is 0.", "1 to"),
        ("pct = 1\nwindow = 99999", "pct_change", "window is 99,999.", "1 to 2,000"),
        ('pct = 1\nwindow = "4h"\ninterval = "1s"', "pct_change", "A window of 14,400 bars", "2,000"),
        ('pct = 1\nwindow = "30s"\ninterval = "1m"', "pct_change", "a window of 30s is shorter than", "1m"),
        ("upper = 10\nlower = 10", "channel", "lower is 10, not below upper, which is 10.", "Swap"),
        ("", "channel", "the channel has no edge", "upper"),
        ('level = "SMB(20)"', "cross", "level: there is no indicator SMB.", "SMA"),
        ('level = "MACD(12,26,9)"', "cross", "which has 3 outputs.", "MACD(12,26,9).signal"),
        ("level = 0", "cross", "level is 0.", "more than 0"),
        ("level = 5\nclear = 1", "cross", "cross has no clear threshold.", "Remove"),
        ("", "vwap_deviation", "either pct or bps is required", "pct = 1.5"),
        ("pct = 1\nbps = 1", "vwap_deviation", "either pct or bps is required", "pct = 1.5"),
        ('pct = 1\ninterval = "1d"', "vwap_deviation", "vwap_deviation cannot use daily bars.", "1m"),
        ('interval = "1h"', "limit_band", "bars of 1h are too long for limit_band.", "5m"),
        ("tier = 3", "limit_band", "tier is 3.", "1 to 2"),
        ('times = 2\ndirection = "up"', "volume_spike", "volume_spike has no direction.", "Remove"),
        ('when = "tick"', "halt", "halt cannot evaluate single trades.", "close"),
        ("warmup = 2", "stale", "stale does not evaluate bars.", "Remove"),
        ("clear_bars = 2", "data_quality", "data_quality does not evaluate bars.", "Remove"),
        ('after = "soon"', "stale", 'after is "soon", not a duration.', "15m"),
        ('after = "0s"', "stale", 'after is "0s", not a duration.', "15m"),
        ('after = "500ms"', "stale", 'after is "500ms", not a duration.', "15m"),
        ('after = "999999w"', "stale", 'after is "999999w", not a duration.', "15m"),
        ("count = 0", "data_quality", "count is 0.", "1 to"),
    ],
)  # fmt: skip
def test_errors_are_reported(line: str, kind: str, message: str, hint: str) -> None:
    problem = single_problem(line, f'kind = "{kind}"')
    assert message in problem.message
    assert hint in problem.hint
    assert problem.rule in {f"{kind}-1", "a b", "5"}
    assert 2 <= problem.line <= 5


def test_each_error_names_its_line_and_the_exception_lists_them_all() -> None:
    with pytest.raises(RulesError) as caught:
        parse('[[rule]]\nkind = "zscore"\nthreshold = 0\nclear_bars = 0\n', "rules.toml")
    assert str(caught.value) == (
        "rules.toml has 2 problems:\n"
        "  line 3: rule zscore-1: threshold is 0. It must be more than 0.\n"
        "  line 4: rule zscore-1: clear_bars is 0. It must be from 1 to 10,000.\n"
        " See docs/alerts.md."
    )


def test_lines_are_found_behind_long_texts_and_quoted_keys() -> None:
    text = '[[rule]]\nkind = "zscore"\nmessage = """\nthreshold = 1\n[[rule]]\n"""\n"threshold" = 0\n'
    (problem,) = problems(text)
    assert problem.line == 7


def test_a_toml_syntax_error_has_its_line() -> None:
    (problem,) = problems("[[rule]]\nkind = \n")
    assert (problem.line, problem.rule) == (2, "")


def test_malformed_tables() -> None:
    assert problems("rule = 5")[0].message == "rule is not a list of tables."
    assert problems("[rule]\nkind = 'zscore'")[0].message == "rule is not a list of tables."
    assert problems("[lists]\ntech = 'AAPL'")[0].message == "the list tech is not a list of symbols."
    assert problems("lists = 5")[0].line == 1
    assert problems("[[rule]]\nthreshold = 5")[0].message == "kind is missing."


def test_unknown_symbols_are_reported_once_the_symbols_are_known() -> None:
    text = '[[rule]]\nkind = "zscore"\nsymbols = ["AAPL", "aapl", "X*", "MSTF"]\n'
    unmatched = parse(text, "x").unmatched_patterns(["AAPL", "MSFT"])
    assert [(p.line, p.message, p.hint) for p in unmatched] == [
        (3, "no symbol matches aapl.", "Did you mean AAPL?"),
        (3, "no symbol matches X*.", ""),
        (3, "no symbol matches MSTF.", "Did you mean MSFT?"),
    ]


def test_a_file_can_extend_a_preset() -> None:
    rule_set = parse('preset = "default"\n\n[[rule]]\nid = "gap"\nkind = "gap_open"\npct = 3\n', "x")
    assert [rule.arguments["pct"] for rule in rule_set.rules if rule.id == "gap"] == [3]
    assert len(rule_set.rules) == len(preset("default").rules)
    assert problems('preset = "defualt"')[0].hint == "Did you mean default?"


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_rules_files(name: str) -> None:
    assert preset(name).rules == parse(PRESETS[name], "copy").rules


def test_an_empty_file_has_no_rules() -> None:
    assert parse("", "x").rules == ()


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "huge", "loop", "deep", "binary", "missing"])
def test_what_is_not_a_rules_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "rules.toml"
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "huge":
            path.touch()
            os.truncate(path, 1 << 33)
        case "loop":
            path.symlink_to(path)
        case "deep":
            path.write_text("a = " + "[" * 5000)
        case "binary":
            path.write_bytes(bytes(range(256)))
    with pytest.raises(UsageError, match=r"rules\.toml") as caught:
        load(path)
    assert caught.value.hint
