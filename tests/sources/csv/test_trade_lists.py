"""Lists of trades in many languages: price, size, time and symbol, not the number of a row nor its profit."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.options import Options, parse_options
from tickerlake.sources.csv.read import CsvSource, open_csv

PRICES = ("92150.5", "93980.1", "93990.5", "94510.9", "94000.0", "95120.2", "95100.7", "96010.3")
SIZES = ("0.237", "0.237", "0.11", "0.11", "0.42", "0.42", "0.2", "0.2")
PROFITS = ("—", "433.62", "—", "-124.75", "—", "468.9", "—", "181.92")


def open_rows(
    folder: Path, lines: Sequence[str], name: str = "QBTUSDT.csv", options: Options | None = None
) -> CsvSource:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return open_csv(path, options, ts_recv_ns=1, digest=False)


def roles_by_name(source: CsvSource) -> dict[str, str]:
    layout = source.parser.layout
    return {role: layout.names[i] for role, i in layout.roles.items()}


def strategy_rows(header: str) -> list[str]:
    rows = [
        f"{n // 2 + 1},{('Entry', 'Exit')[n % 2]},Long,2026-01-{3 + n:02} 15:0{n},{price},{size},{profit}"
        for n, (price, size, profit) in enumerate(zip(PRICES, SIZES, PROFITS, strict=True))
    ]
    return [header, *rows]


@pytest.mark.parametrize(
    "header",
    [
        "交易 #,類型,訊號,日期/時間,價格 USDT,合約,獲利 USDT",
        "交易 #,类型,信号,日期/时间,价格 USDT,合约,获利 USDT",
        "トレード番号,タイプ,シグナル,日時,価格 USDT,契約,利益 USDT",
        "거래 #,타입,신호,날짜/시간,가격 USDT,계약,수익 USDT",
        "Trade Nr.,Typ,Signal,Datum/Uhrzeit,Preis USDT,Kontrakte,Gewinn USDT",
        "Trade Nr.,Typ,Signal,Datum und Uhrzeit,Preis EUR,Positionsgröße (Menge),Netto-G&V EUR",
        "Сделка №,Тип,Сигнал,Дата/Время,Цена USDT,Контракты,Прибыль USDT",
        "N.º de operación,Tipo,Señal,Fecha/Hora,Precio USDT,Contratos,Beneficio USDT",
        "Nº da negociação,Tipo,Sinal,Data/Hora,Preço BRL,Contratos,Lucro BRL",
        "Trade n°,Type,Signal,Date/Heure,Prix EUR,Contrats,Profit EUR",
        "Trade n.,Tipo,Segnale,Data/Ora,Prezzo EUR,Contratti,Profitto EUR",
        "Nr transakcji,Typ,Sygnał,Data/Godzina,Cena PLN,Kontrakty,Zysk PLN",
        "İşlem #,Tür,Sinyal,Tarih/Saat,Fiyat TRY,Kontratlar,Kâr TRY",
        "Trade #,Type,Signal,Date/Time,Price BUSD,Contracts,Profit BUSD",
    ],
)
def test_lists_of_a_strategy(tmp_path: Path, header: str) -> None:
    source = open_rows(tmp_path, strategy_rows(header))
    names = header.split(",")
    assert source.record_type == "trade.v1"
    assert roles_by_name(source) == {"time": names[3], "price": names[4], "size": names[5]}
    assert source.symbols == ["QBTUSDT"]


NEW_LISTS = {
    "en": "Trade #,Type,Date and time,Signal,Price USDT,Position size (qty),Position size (value),Net P&L",
    "de": "Trade Nr.,Typ,Datum und Uhrzeit,Signal,Preis EUR,Positionsgröße (Menge),Positionsgröße (Wert),G&V",
    "ko": "거래 #,타입,날짜 및 시간,신호,가격 USDT,포지션 크기 (수량),포지션 크기 (값),순손익 USDT",
}


@pytest.mark.parametrize("language", NEW_LISTS)
def test_lists_with_the_size_of_positions(tmp_path: Path, language: str) -> None:
    header = NEW_LISTS[language]
    rows = [
        f"{n // 2 + 1},Entry,2026-01-{3 + n:02} 15:0{n},Long,{price},{size},21839.67,{n}3.62"
        for n, (price, size) in enumerate(zip(PRICES, SIZES, strict=True))
    ]
    names = header.split(",")
    roles = roles_by_name(open_rows(tmp_path, [header, *rows]))
    assert roles == {"time": names[2], "price": names[4], "size": names[5]}


@pytest.mark.parametrize(
    "header",
    ["第,型,號,何時,甲,乙,獲利", "Trade #,Foo,Bar,When,Baz,Qux,Profit", "Lp.,Foo,Bar,Czas,Baz,Qux,Zysk"],
)
def test_a_running_number_is_no_price(tmp_path: Path, header: str) -> None:
    try:
        roles = roles_by_name(open_rows(tmp_path, strategy_rows(header)))
    except DataError:
        return
    assert roles["price"] == header.split(",")[4]
    assert roles["size"] == header.split(",")[5]


def test_a_guess_that_rejects_most_rows_is_refused(tmp_path: Path) -> None:
    rows = [
        f"2026-01-{3 + n:02} 15:00,{price},{profit}"
        for n, (price, profit) in enumerate(zip(PRICES, PROFITS, strict=True))
    ]
    with pytest.raises(DataError, match="no column"):
        open_rows(tmp_path, ["When,Foo,Bar", *rows * 2])


# --- symbols


def fills(column: str, codes: Sequence[str], prices: Sequence[str], extra: str = "") -> list[str]:
    rows = [
        f"2026-01-{3 + n:02} 15:00:0{n},{code},{price},0.{n + 1}7{extra}"
        for n, (code, price) in enumerate(zip(codes, prices, strict=True))
    ]
    return [f"time,{column},price,size", *rows]


@pytest.mark.parametrize(
    "column",
    ["product", "Project", "token", "Produkt", "交易对", "通貨ペア", "페어", "Инструмент", "parite", "s"],
)
def test_columns_of_symbols(tmp_path: Path, column: str) -> None:
    codes = ["QBT-EUR", "QET-EUR"] * 3
    source = open_rows(tmp_path, fills(column, codes, ["55100", "3200.5"] * 3), "fills.csv")
    assert source.symbols == ["QBT-EUR", "QET-EUR"]


@pytest.mark.parametrize("column", ["Foo", "wallet of", "x"])
@pytest.mark.parametrize("codes", [["QBT", "QET"], ["Quibit", "Quether coin"]])
def test_several_instruments_are_asked_about(tmp_path: Path, column: str, codes: list[str]) -> None:
    lines = fills(column, codes * 3, ["55100", "3200.5"] * 3)
    with pytest.raises(DataError, match=f"several instruments.*column {column}") as caught:
        open_rows(tmp_path, lines, "fills.csv")
    assert caught.value.hint.startswith(f"If {column} is the symbol: --columns time,symbol,price,size.")
    named = parse_options(columns="time,symbol,price,size")
    assert open_rows(tmp_path, lines, "fills.csv", named).symbols == sorted(codes)
    assert open_rows(tmp_path, lines, "fills.csv", parse_options(symbol="QQQ")).symbols == ["QQQ"]


@pytest.mark.parametrize(
    ("codes", "prices"),
    [
        (["buy", "sell"] * 3, ["100", "101"] * 3),
        (["buy", "sell"] * 3, ["100", "901"] * 3),
        (["QA", "QB"] * 3, ["100", "120"] * 3),  # near each other
        (["QA", "QB"] * 3, ["100", "500", "700", "90", "100", "800"]),  # far apart within a code
        (["old"] * 3 + ["recent"] * 3, ["100", "180", "300", "500", "900", "1500"]),  # rising
        (
            ["a1", "b2", "c3", "d4", "e5", "f6"],
            ["100", "500", "90", "700", "100", "600"],
        ),  # on each row another
    ],
)
def test_one_instrument_is_not_asked_about(tmp_path: Path, codes: list[str], prices: list[str]) -> None:
    assert open_rows(tmp_path, fills("Foo", codes, prices), "QBTUSDT.csv").symbols == ["QBTUSDT"]


@pytest.mark.parametrize(
    "venues", [["ASX", "CXA"], ["XNAS", "XNYS"], ["NYSE", "NYSE"], ["Binance", "Kraken"]]
)
@pytest.mark.parametrize("column", ["Market", "Exchange", "market", "Venue", "Trading Platform"])
def test_venues_are_no_symbols(tmp_path: Path, column: str, venues: list[str]) -> None:
    lines = fills(column, venues * 3, ["100.5", "100.75"] * 3)
    assert open_rows(tmp_path, lines, "QBHP.csv").symbols == ["QBHP"]
    source = open_rows(tmp_path, lines, "trades.csv")
    assert not set(source.symbols) & set(venues)


@pytest.mark.parametrize("values", [["SPOT"], ["CNC", "MIS"], ["Margin"], ["0.25", "0.5"]])
def test_kinds_are_no_symbols(tmp_path: Path, values: list[str]) -> None:
    lines = fills("product", (values * 6)[:6], ["100.5", "100.75"] * 3)
    assert open_rows(tmp_path, lines, "QBHP.csv").symbols == ["QBHP"]


@pytest.mark.parametrize("column", ["name", "instrument", "asset", "security"])
def test_a_number_does_not_outweigh_the_files_name(tmp_path: Path, column: str) -> None:
    lines = fills(column, ["2781"] * 6, ["100.5", "100.75"] * 3)
    source = open_rows(tmp_path, lines, "QBHP.csv")
    assert source.symbols == ["QBHP"]
    assert any(f"column {column} holds 2781" in each for each in source.warnings)
    records = next(iter(source.batches())).records
    assert records["symbol"].unique().to_list() == ["QBHP"]
    source = open_rows(tmp_path, lines, "prices.csv")
    assert source.symbols == ["2781"]
    assert any("internal number" in each for each in source.warnings)


@pytest.mark.parametrize("column", ["code", "stock code", "symbol", "コード"])
def test_a_code_of_digits_stays(tmp_path: Path, column: str) -> None:
    source = open_rows(tmp_path, fills(column, ["7203"] * 6, ["100.5", "100.75"] * 3), "QTOY.csv")
    assert source.symbols == ["7203"]
