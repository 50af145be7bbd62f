"""Code pages: chosen by the words that they make of a file's bytes, and by names of columns."""

from pathlib import Path

import polars as pl
import pytest

from tickerlake.sources.csv.code_pages import CODE_PAGES, detect_code_page
from tickerlake.sources.csv.detect.lines.dialect import count_names
from tickerlake.sources.csv.read import open_csv

TEXTS = {
    "cp1251": [
        "Дата;Бумага;Цена\n02.01.2024;Сбербанк;270,5\n",
        "date,name,close\n2024-01-02,ГАЗПРОМ ао,160\n2024-01-02,Лукойл,7000\n",
        "TICKER;Название;CLOSE\nSBER;Сбер;1\n",
        'symbol,name\nA,АФК "Система"\nB,НЛМК ао\n',
        "Дата сделки;Код инструмента;Цена, руб.\n",
    ],
    "koi8_r": [
        "Дата;Бумага;Цена\n02.01.2024;Сбербанк;270,5\n",
        "date,name,close\n2024-01-02,Газпром нефть,160\n2024-01-02,Лукойл,7000\n",
        "a,b\nГАЗПРОМ,1\nСБЕРБАНК,1\nНОРНИКЕЛЬ,2\n",
    ],
    "cp866": [
        "Дата;Бумага;Цена\n02.01.2024;Сбербанк;270,5\n",
        "date,name,close\n2024-01-02,Газпром нефть,160\n2024-01-02,Лукойл,7000\n",
        "a,b\nГАЗПРОМ,1\nСБЕРБАНК,1\nНОРНИКЕЛЬ,2\n",
    ],
    "cp1253": [
        "Ημερομηνία;Άνοιγμα;Υψηλό;Χαμηλό;Κλείσιμο;Όγκος;Αξία\n",
        "date,name,close\n1,Εθνική Τράπεζα,5\n2,Μυτιληναίος,30\n",
    ],
    "cp1250": [
        "Data;Otwarcie;Najwyższy;Najniższy;Zamknięcie;Wolumen\n",
        "date,name,close\n2024-01-02,Żabka Group,20\n2024-01-02,Spółka Łódź,3\n",
        "Datum,Název,Závěr\n2024,Příbram,1\n2024,ČEZ,2\n",
        "name,x\nMagyar Telekom Távközlési,1\nRichter Gedeon Nyrt. - őrült,2\n",
        "a,b\nŻÓŁĆ,1\nZażółć gęślą jaźń,1\n",
        "Ime,Cijena\nPodravka Križevci,1\nĐuro Đaković,2\n",
    ],
    "cp1252": [
        "Datum;Eröffnung;Höchst;Tiefst;Schluss\n",
        "name,close\nNestlé,1\nMünchener Rück,2\nTelefónica,2\nInditex España,3\nØrsted,4\n",
        "name,close\nL'Oréal,3\nHermès,4\nSociété Générale,5\n",
        "a;b\nPrice €,2\nOpening Price (GH¢),3\n",
        "a,b\nPetróleo Brasileiro Ações,2\nParticipação,2\n",
        "Dato;Åbningskurs;Lukkekurs\n2024;Mærsk;1\n",
    ],
    "cp1254": [
        "Tarih;Açılış;En Yüksek;Kapanış\n",
        "name,close\nTürkiye İş Bankası,5\nŞişe ve Cam Fabrikaları,4\nEreğli,3\n",
    ],
    "cp950": [
        "證券代號,證券名稱,成交股數\n0050,元大台灣50,1\n",
        "指數,收盤指數,漲跌\n寶島股價指數,2,1\n發行量加權股價指數,3,4\n",
        "date,name\n1,台積電\n2,鴻海\n3,聯發科\n",
    ],
    "gb18030": [
        "日期,开盘,收盘\n",
        "date,name\n1,贵州茅台\n2,平安银行\n3,万科A\n",
        "代码,名称,最新价\n6,浦发银行,7\n",
    ],
    "cp949": ["일자,시가,고가\n", "date,name\n1,삼성전자\n2,현대차\n3,카카오\n"],
    "cp932": ["日付,始値,高値,終値\n", "date,name\n1,トヨタ自動車\n2,ソニーグループ\n3,三菱商事\n"],
}


@pytest.mark.parametrize(
    ("encoding", "text"), [(page, text) for page, texts in TEXTS.items() for text in texts]
)
def test_code_page_of_words(encoding: str, text: str) -> None:
    data = text.encode(encoding)
    # some bytes mean the same in two code pages
    assert data.decode(detect_code_page(data, count_names)) == text


def test_every_code_page_is_tried() -> None:
    assert set(TEXTS) == set(CODE_PAGES)


@pytest.mark.parametrize("encoding", ["cp1251", "koi8_r", "cp866"])
def test_symbols_of_another_script_below_ascii(tmp_path: Path, encoding: str) -> None:
    rows = [
        f"2024-01-{day:02},{symbol},5,6,4,5,100" for day in (2, 3, 4) for symbol in ("Сбербанк", "Лукойл")
    ]
    path = tmp_path / "prices.csv"
    path.write_bytes("\n".join(("Date,Symbol,Open,High,Low,Close,Volume", *rows, "")).encode(encoding))
    source = open_csv(path, ts_recv_ns=1)
    assert source.symbols == ["Лукойл", "Сбербанк"]


def test_names_after_the_first_thousand_lines(tmp_path: Path) -> None:
    symbols = ["QAA"] * 1_400 + ["Сбербанк"] * 100
    lines = [
        f"2024-01-02T{k // 3600:02}:{k // 60 % 60:02}:{k % 60:02}Z,{symbol},5,1"
        for k, symbol in enumerate(symbols)
    ]
    path = tmp_path / "trades.csv"
    path.write_bytes("\n".join(("time,symbol,price,size", *lines, "")).encode("cp1251"))
    records = pl.concat([batch.records for batch in open_csv(path, ts_recv_ns=1).batches()])
    assert set(records["symbol"]) == {"QAA", "Сбербанк"}


@pytest.mark.parametrize("encoding", ["cp1252", "cp1250", "cp1251", "utf-8", "utf-16"])
def test_letters_of_symbols_that_depend_on_the_code_page_are_said(tmp_path: Path, encoding: str) -> None:
    symbols = {"cp1250": ("Żabka", "Spółka"), "cp1251": ("Сбербанк", "Лукойл")}.get(
        encoding, ("Nestlé", "Höhn")
    )
    rows = [f"2024-01-{day:02},{symbol},5,6,4,5,100" for day in range(1, 29) for symbol in symbols]
    path = tmp_path / "prices.csv"
    path.write_bytes("\n".join(("Date,Symbol,Open,High,Low,Close,Volume", *rows, "")).encode(encoding))
    source = open_csv(path, ts_recv_ns=1)
    said = [each for each in source.warnings if "is not UTF-8" in each]
    decision = next(each for each in source.decisions if each.name == "encoding")
    if encoding.startswith("utf"):
        assert (said, decision.warning) == ([], "")
        return
    assert said == [decision.warning]
    assert encoding in said[0]
    assert symbols[0] in said[0]


def test_letters_outside_of_symbols_are_not_worth_a_warning(tmp_path: Path) -> None:
    rows = [f"2024-01-{day:02};QAA;5;6;4;5;Börse" for day in range(1, 29)]
    path = tmp_path / "kurse.csv"
    path.write_bytes(
        "\n".join(("Datum;Symbol;Eröffnung;Hoch;Tief;Schluss;Platz", *rows, "")).encode("cp1252")
    )
    assert not any("UTF-8" in each for each in open_csv(path, ts_recv_ns=1).warnings)
