"""What the codes of tapes and vendors let a trade set, against a list written from their documents."""

import itertools
import json
from collections import Counter

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickerlake.analytics.condition_codes import (
    COUNTS,
    IS_AUCTION,
    IS_EXTENDED,
    SETS_ALL,
    SETS_DAY_CLOSE,
    SETS_DAY_RANGE,
    SETS_PRICE,
)
from tickerlake.analytics.sale_conditions import Eligibility, eligibility, trade_sets

RANGE = SETS_DAY_RANGE | COUNTS
CORRECTED_CLOSE = SETS_DAY_RANGE | SETS_DAY_CLOSE | IS_AUCTION
LETTERS = {
    SETS_ALL: "@ADEFKSXY18",
    RANGE: "4GLPZ23",
    COUNTS: "CHINRVW7",
    SETS_ALL | IS_AUCTION: "O56",
    SETS_ALL | IS_EXTENDED: "T",
    COUNTS | IS_EXTENDED: "U",
    IS_AUCTION: "MQ",
    CORRECTED_CLOSE: "9",
}
NUMBERS = {
    SETS_ALL: (0, 1, 3, 9, 11, 14, 23, 24, 27, 34, 35, 36, 41, 57, 71),
    RANGE: (10, 22, 30, 31, 32, 33),
    COUNTS: (2, 7, 20, 21, 29, 37, 52, 53),
    SETS_ALL | IS_AUCTION: (8, 17, 18, 19, 25, 28, 55),
    SETS_ALL | IS_EXTENDED: (12,),
    COUNTS | IS_EXTENDED: (13,),
    IS_AUCTION: (15, 16),
    CORRECTED_CLOSE: (38,),
}


def of(*lists: list[str] | None, market: str = "XXXX") -> Eligibility:
    return eligibility(
        pl.Series([None if each is None else json.dumps(each) for each in lists], dtype=pl.String),
        pl.Series([f"AAPL.{market}"] * len(lists)),
    )


def sets(*codes: str, market: str = "XXXX") -> int:
    found = of(list(codes), market=market).sets
    return SETS_ALL if found is None else int(found[0])


@pytest.mark.parametrize("market", ["XNYS", "XNAS", "XXXX", "EDGX"])
@pytest.mark.parametrize(
    ("expected", "letter"), [(k, letter) for k, all_ in LETTERS.items() for letter in all_]
)
def test_letters_of_the_tapes(expected: int, letter: str, market: str) -> None:
    # a trade of the tapes begins with its settlement, which tells digits from the numbers of Massive
    assert sets("@", letter, market=market) == expected


@pytest.mark.parametrize(
    ("expected", "number"), [(k, number) for k, all_ in NUMBERS.items() for number in all_]
)
def test_numbers_of_massive(expected: int, number: int) -> None:
    assert sets("14", str(number), "41") == expected


def test_b_is_an_average_price_on_one_tape_and_a_bunched_trade_on_the_other() -> None:
    assert sets("@", "B", market="XNYS") == COUNTS
    assert sets("@", "B", market="ARCX") == COUNTS
    assert sets("@", "B", market="XNAS") == SETS_ALL
    # where the tape is unknown, the common one of the two
    assert sets("@", "B", market="XXXX") == COUNTS
    assert sets("4", "41") == SETS_ALL


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        # digits alone: those of the tapes that Massive no longer writes, else Massive's
        (["4"], RANGE),
        (["5"], SETS_ALL | IS_AUCTION),
        (["6"], SETS_ALL | IS_AUCTION),
        (["7"], COUNTS),
        (["2"], COUNTS),
        (["8"], SETS_ALL | IS_AUCTION),
        (["9"], SETS_ALL),
        (["0"], SETS_ALL),
        # in four places, joined, and with blanks
        (["@FTI"], COUNTS | IS_EXTENDED),
        (["@TI"], COUNTS | IS_EXTENDED),
        (["@6 X"], SETS_ALL | IS_AUCTION),
        ([" 4 W"], COUNTS),
        (["TI"], COUNTS | IS_EXTENDED),
        ([" ", "I"], COUNTS),
        (["", "F"], SETS_ALL),
        # masks: opening, odd lot of extended hours, derivatively priced, average price, exempt, odd lot
        (["20000040"], SETS_ALL | IS_AUCTION),
        (["80002000"], COUNTS | IS_EXTENDED),
        (["00000201"], RANGE),
        (["00104001"], COUNTS),
        (["20000020"], SETS_ALL),
        (["a0000001"], COUNTS),
        # fields of Refinitiv
        (["@F I[GV4_TEXT]"], COUNTS),
        (["  T   [GV4_TEXT]", "131[IRGCOND]", "NBL[PRC_QL2]"], SETS_ALL | IS_EXTENDED),
        (["@4 W[LSTSALCOND]"], COUNTS),
        (["O [CTS_QUAL]"], SETS_ALL | IS_AUCTION),
        (["ODD[IRGCOND]"], COUNTS),
        # names
        (["@", "Odd Lot"], COUNTS),
        (["US_ODD_LOT_TRADE"], COUNTS),
        (["Form T/Extended Hours"], SETS_ALL | IS_EXTENDED),
        (["Average Price Trade"], COUNTS),
        (["Regular Sale", "Closing Prints"], SETS_ALL | IS_AUCTION),
        (["Sold (Out Of Sequence)"], RANGE),
    ],
)
def test_spellings_of_vendors(codes: list[str], expected: int) -> None:
    assert sets(*codes) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("@TI", COUNTS | IS_EXTENDED),
        ('"@TI"', COUNTS | IS_EXTENDED),
        ("[14, 37]", COUNTS),
        ("37", COUNTS),
        ('["@", null, "I"]', COUNTS),
        ('{"a": "I"}', SETS_ALL),
        ("[true, [37]]", SETS_ALL),
        ("", SETS_ALL),
    ],
)
def test_forms_of_json(text: str, expected: int) -> None:
    found = eligibility(pl.Series([text, "[]"]), pl.Series(["A.XXXX", "B.XXXX"])).sets
    assert (SETS_ALL if found is None else int(found[0])) == expected
    assert trade_sets(text, "XXXX") == expected


def test_what_one_condition_forbids_no_other_allows() -> None:
    assert sets("@", "6", "I") == COUNTS | IS_AUCTION
    assert sets("@", "4", "T") == RANGE | IS_EXTENDED
    assert sets("@", "4", "W") == COUNTS
    assert sets("12", "37") == COUNTS | IS_EXTENDED


def test_trades_without_restrictions_are_not_looked_at() -> None:
    assert of(["@"], ["@", "F"], [], None).sets is None
    assert of([], []).sets is None


@pytest.mark.parametrize("market", ["XLON", "XTKS", "XASX", "XCME"])
def test_codes_of_other_markets_forbid_nothing(market: str) -> None:
    result = of(["@", "I"], ["O"], ["XT"], market=market)
    assert result.sets is None or result.sets.to_list() == [SETS_ALL] * 3
    assert not result.left_out
    assert not result.unknown


def test_counts_what_is_left_out_and_names_unknown_codes() -> None:
    result = of(["@", "I"], ["@", "4", "W"], ["@", "4"], ["CX"], ["@", "%", "I"], ["CX", "ET"], ["@", "T"])
    assert result.left_out == Counter(
        {"odd lot trade": 2, "average price trade": 1, "derivatively priced": 1}
    )
    assert result.unknown == Counter({"CX": 2, "%": 1, "ET": 1})
    assert result.sets is not None
    assert result.sets.to_list()[3] == SETS_ALL


CODES = st.lists(
    st.sampled_from(["@", "I", "4", "T", "6", "B", "14", "37", "8", "TI", "ZZ", "80000001", "Odd Lot", " "]),
    max_size=4,
)


@given(
    st.lists(
        st.tuples(CODES, st.sampled_from(["A.XNAS", "B.XNYS", "C.XXXX", "D.XLON"])), min_size=1, max_size=12
    )
)
def test_neither_the_order_of_codes_nor_the_batch_matters(trades: list[tuple[list[str], str]]) -> None:
    def run(part: list[tuple[list[str], str]]) -> tuple[list[int], Counter[str], Counter[str]]:
        lists, ids = zip(*part, strict=True)
        result = eligibility(pl.Series([json.dumps(each) for each in lists]), pl.Series(ids))
        flags = [SETS_ALL] * len(part) if result.sets is None else result.sets.to_list()
        return flags, result.left_out, result.unknown

    flags, left_out, unknown = run(trades)
    singles = [run([one]) for one in trades]
    assert flags == list(itertools.chain.from_iterable(one for one, _, _ in singles))
    assert left_out == sum((one for _, one, _ in singles), Counter())
    assert unknown == sum((one for _, _, one in singles), Counter())
    assert flags == run([(codes[::-1], name) for codes, name in trades])[0]
    assert all(each & SETS_PRICE == 0 or each & SETS_DAY_RANGE for each in flags)
