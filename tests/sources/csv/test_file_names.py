"""Symbols and intervals in names of files, as vendors and people write them."""

from pathlib import Path

import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.file_name import infer_symbol, parse_file_name
from tickerlake.sources.csv.detect.options import Options
from tickerlake.sources.csv.detect.times.interval import parse_interval
from tickerlake.sources.csv.read import open_csv

CERTAIN = """
AAPL.csv | AAPL |
aapl.csv | AAPL |
^GSPC.csv | ^GSPC |
BTC-USD.csv | BTC-USD |
BRK-B.csv | BRK-B |
7203.T.csv | 7203.T |
AAPL (1).csv | AAPL |
.SPX.csv | .SPX |
.aapl.csv | AAPL |
AAPL(2).csv | AAPL |
AAPL - Copy.csv | AAPL |
AAPL copy 2.csv | AAPL |
AAPL Historical Data (1).csv | AAPL |
AAPL_historical_data.csv | AAPL |
HistoricalQuotes_AAPL.csv | AAPL |
wkn_710999_historic.csv | 710999 |
wkn_A1EWWW_historic.csv | A1EWWW |
isin_DE0007100000_historic.csv | DE0007100000 |
AAPL.USUSD_Candlestick_1_M_BID_01.01.2024-31.01.2024.csv | AAPL.USUSD | 1m
EURUSD_Candlestick_1_h_ASK_01.01.2020-31.12.2020.csv | EURUSD | 1h
EURUSD_Candlestick_5_M_BID_01.01.2020-31.12.2020.csv | EURUSD | 5m
EURUSD_Candlestick_1_D_BID_01.01.2020-31.12.2020.csv | EURUSD | 1d
EURUSD_Ticks_02.01.2024-02.01.2024.csv | EURUSD |
eurusd-m1-bid-2020-01-01-2020-12-31.csv | EURUSD | 1m
usatechidxusd-h1-bid-2020-01-01T00-00.csv | USATECHIDXUSD | 1h
Bitstamp-BTC-USD-PT5M-20230101-20230201.csv | BTC-USD | 5m
Bitstamp-BTC-USD-PT5M-20230101T000000Z-20230102T000000Z.csv | BTC-USD | 5m
AAPL-PT1D-20240102_20240116.csv | AAPL | 1d
AAPL_PT1H.csv | AAPL | 1h
AAPL-P1D.csv | AAPL | 1d
AAPL-P1W-2020-2024.csv | AAPL | 1w
AAPL_P1M.csv | AAPL | 1mo
ETH-EUR_PT15M_2024-01-01_2024-02-01.csv | ETH-EUR | 15m
AAPL_daily_adjusted.csv | AAPL | 1d
daily_adjusted_AAPL.csv | AAPL | 1d
daily_IBM.csv | IBM | 1d
intraday_5min_IBM.csv | IBM | 5m
weekly_adjusted_IBM.csv | IBM | 1w
fx_daily_EUR_USD.csv | EUR_USD | 1d
BTCUSDT-1h-2024-01.csv | BTCUSDT | 1h
BTCUSDT-1m-2024-01-02.csv | BTCUSDT | 1m
BTCUSDT-1d-2024-2025.csv | BTCUSDT | 1d
BTCUSDT-aggTrades-2024-01.csv | BTCUSDT |
BTCUSDT-trades-2024-01-02.csv | BTCUSDT |
BTCUSD_PERP-1h-2024-01.csv | BTCUSD | 1h
1INCHUSDT-1h-2024-01.csv | 1INCHUSDT | 1h
Binance_BTCUSDT_d.csv | BTCUSDT | 1d
Binance_BTCUSDT_2023_minute.csv | BTCUSDT | 1m
Binance_BTCUSDT_1h.csv | BTCUSDT | 1h
Bitfinex_BTCUSD_1h.csv | BTCUSD | 1h
gemini_BTCUSD_2020_1min.csv | BTCUSD | 1m
Gemini_ETHUSD_hour.csv | ETHUSD | 1h
XBTUSD_60.csv | XBTUSD | 1h
XBTUSD_1440.csv | XBTUSD | 1d
AAPL_5min_RTH.csv | AAPL | 5m
AAPL_1min_ETH.csv | AAPL | 1m
ES_continuous_adjusted_1min.csv | ES | 1m
ESZ23_1min_continuous_UNadjusted.txt | ESZ23 | 1m
AAPL_full_1min_adjsplitdiv.txt | AAPL | 1m
AAPL_full_1min_UNADJUSTED.txt | AAPL | 1m
SPX_full_1hour.txt | SPX | 1h
IVE_tickbidask.txt | IVE |
IBM_unadjusted.txt | IBM |
EURUSD_M1_2020_2023.csv | EURUSD | 1m
EURUSD_M1_202001020000_202012312359.csv | EURUSD | 1m
EURUSD60.csv | EURUSD | 1h
GBPJPY1440.csv | GBPJPY | 1d
XAUUSD_H4.csv | XAUUSD | 4h
DAT_ASCII_EURUSD_M1_2020.csv | EURUSD | 1m
DAT_MT_EURUSD_M1_202001.csv | EURUSD | 1m
DAT_ASCII_EURUSD_T_202001.csv | EURUSD |
HISTDATA_COM_ASCII_EURUSD_M12020.zip | EURUSD | 1m
EURUSD-2024-01.csv | EURUSD |
data_AAPL_2020-01-01_2021-01-01.csv | AAPL |
AAPL_data.csv | AAPL |
AAPL_2006-01-01_to_2018-01-01.csv | AAPL |
MSFT_1986-03-13_2025-02-04.csv | MSFT |
AAPL.US_D1.csv | AAPL.US | 1d
aapl.us.txt | AAPL.US |
aapl_us_d.csv | AAPL | 1d
^spx_d.csv | ^SPX | 1d
SBER_200101_201231.csv | SBER |
SPFB.RTS_200101_201231.csv | SPFB.RTS |
SBER_200101_201231_D1.csv | SBER | 1d
BATS_AAPL, 1D.csv | AAPL | 1d
NASDAQ_DLY_AAPL, 5_abc12.csv | AAPL | 5m
BINANCE_BTCUSDT, 60.csv | BTCUSDT | 1h
CME_MINI_ES1!, 5.csv | ES1! | 5m
OANDA_EURUSD, 1D.csv | EURUSD | 1d
NSE_NIFTY, 15_4f2a1.csv | NIFTY | 15m
EUR_USD Historical Data (3).csv | EUR_USD |
BTC_USD Bitfinex Historical Data.csv | BTC_USD |
EUR_USD_M5.csv | EUR_USD | 5m
BTC_USDT-5m.csv | BTC_USDT | 5m
BTC_USDT_USDT-1h-futures.csv | BTC_USDT_USDT | 1h
binance_BTC_USDT_1h.csv | BTC_USDT | 1h
kraken-ETH-EUR-1d.csv | ETH-EUR | 1d
btc-usd-max.csv | BTC-USD |
BTC-Daily.csv | BTC | 1d
600000.SH.csv | 600000.SH |
SH#600000.txt | SH#600000 |
sh600000.csv | SH600000 |
000001.csv | 000001 |
005930.csv | 005930 |
532540.csv | 532540 |
0700.HK.csv | 0700.HK |
stock_7203.csv | 7203 |
PETR4.SA.csv | PETR4.SA |
RELIANCE.NS_1d.csv | RELIANCE.NS | 1d
Quote-Equity-RELIANCE-EQ-01-01-2024-to-01-02-2024.csv | RELIANCE |
ES 12-23.Last.txt | ES 12-23 |
EURUSD.Last.txt | EURUSD |
ESZ23-CME.txt | ESZ23 |
aapl_intraday-5min_historical-data-01-05-2024.csv | AAPL | 5m
esz23_price-history-01-05-2024.csv | ESZ23 |
MacroTrends_Data_Download_AAPL.csv | AAPL |
VIX_History.csv | VIX |
SP500.csv | SP500 |
WIKI-AAPL.csv | AAPL |
EOD-AAPL.csv | AAPL | 1d
CHRIS-CME_ES1.csv | ES1 |
GOOG-year.csv | GOOG |
AAPL_20240102.csv | AAPL |
AAPL_1D_TRADES.csv | AAPL | 1d
AAPL-1d-2024-01-02-2024-06-28.csv | AAPL | 1d
AAPL_2024.csv | AAPL |
AAPL 2020-2024 daily.csv | AAPL | 1d
AAPL_Q1_2024.csv | AAPL |
AAPL_202401.csv | AAPL |
AAPL_1704067200_1706745600.csv | AAPL |
AAPL_1704067200000.csv | AAPL |
AAPL_5Y.csv | AAPL |
AAPL_max.csv | AAPL |
AAPL_US_Equity.csv | AAPL |
AAPL US Equity.csv | AAPL |
AAPL_yahoo_finance.csv | AAPL |
polygon_AAPL_minute.csv | AAPL | 1m
alpaca-AAPL-1Min.csv | AAPL | 1m
AAPL_1Hour_bars.csv | AAPL | 1h
AAPL.O.csv | AAPL.O |
.SPX.csv | .SPX |
$SPX.csv | $SPX |
@ES.csv | @ES |
OPEN.csv | OPEN |
F.csv | F |
T.csv | T |
NOW.csv | NOW |
11492_OLN_entry2026-03-25_exit2026-04-13.csv | OLN |
MES_1min_20260120_20260415.csv | MES | 1m
XAGUSD1.csv | XAGUSD | 1m
XAGUSD5.csv | XAGUSD | 5m
TCS-2011-2024-nsedt.csv | TCS |
AA-2008-yahoofinance.csv | AA |
daily-KO.csv | KO | 1d
nvda-1999-2014.txt | NVDA |
GBP_USD.csv | GBP_USD |
AAPL_1.csv | AAPL |
AAPL-2.csv | AAPL |
AAPL_v2.csv | AAPL |
EURUSD_5 Mins_Bid_2020.csv | EURUSD | 5m
EURUSD_GMT+2_M1.csv | EURUSD | 1m
US30_H1.csv | US30 | 1h
AAPL.NAS_D1.csv | AAPL.NAS | 1d
USTEC_M30_202001.csv | USTEC | 30m
WINJ24_M1_20240102.csv | WINJ24 | 1m
BTC_1h.csv | BTC | 1h
ETH_1h.csv | ETH | 1h
btcusd_1h.csv | BTCUSD | 1h
BTC-USDT-SWAP-candlesticks-2024-01-02.csv | BTC-USDT-SWAP |
BTC-USDT-SWAP_1h.csv | BTC-USDT-SWAP | 1h
BTCUSDT.P_15m.csv | BTCUSDT.P | 15m
BTC-PERP.csv | BTC-PERP |
ETHBTC-4h.csv | ETHBTC | 4h
trades_BTCUSDT_20240102.csv | BTCUSDT |
kline_BTCUSDT_1m.csv | BTCUSDT | 1m
CBOE_VIX.csv | VIX |
NSE_RELIANCE.csv | RELIANCE |
RELIANCE__EQ__NSE__NSE__MINUTE.csv | RELIANCE | 1m
NIFTY50_minute.csv | NIFTY50 | 1m
BANKNIFTY-2024-01.csv | BANKNIFTY |
BANKNIFTY25JAN24FUT_1min.csv | BANKNIFTY25JAN24FUT | 1m
NIFTY24JAN21500CE.csv | NIFTY24JAN21500CE |
ESH4.csv | ESH4 |
ES1!.csv | ES1! |
CL=F.csv | CL=F |
CL=F_1d.csv | CL=F | 1d
GC=F-2020-2024.csv | GC=F |
^NSEI_1d_2020.csv | ^NSEI | 1d
^GSPC_2020-01-01_2024-01-01.csv | ^GSPC |
EURUSD=X.csv | EURUSD=X |
EURUSD=X_1h.csv | EURUSD=X | 1h
DX-Y.NYB.csv | DX-Y.NYB |
BRK.B_daily.csv | BRK.B | 1d
BRK-B-1d.csv | BRK-B | 1d
spy_2020_1min.csv | SPY | 1m
SPY_1min_2020-01.csv | SPY | 1m
SPY 1min.csv | SPY | 1m
spy-daily.csv | SPY | 1d
SPY.daily.csv | SPY | 1d
SPY.1min.csv | SPY | 1m
SPY.20240102.csv | SPY |
20240102_SPY.csv | SPY |
20240102-SPY-trades.csv | SPY |
SPY_trades_20240102.csv | SPY |
SPY.trades.csv | SPY |
trades.SPY.csv | SPY |
xnas-itch-20240102.SPY.trades.csv | SPY |
SPY240119C00470000.csv | SPY240119C00470000 |
TSLA Historical Prices.csv | TSLA |
tesla.csv | TESLA |
gold.csv | GOLD |
XAU_1d_data.csv | XAU | 1d
XAU_15m_data_2004_to_2025.csv | XAU | 15m
USDINR_D.csv | USDINR | 1d
EURUSD_D.csv | EURUSD | 1d
EURUSD_1D.csv | EURUSD | 1d
EUR-USD.csv | EUR-USD |
EUR_USD_2020.csv | EUR_USD |
OANDA_EURUSD_H1.csv | EURUSD | 1h
oanda-EUR_USD-M15.csv | EUR_USD | 15m
FXCM-EURUSD-D1.csv | EURUSD | 1d
ib_AAPL_1min.csv | AAPL | 1m
IBKR_AAPL_5mins.csv | AAPL | 5m
AAPL_5 mins.csv | AAPL | 5m
AAPL_NASDAQ_1min.csv | AAPL | 1m
NASDAQ-AAPL.csv | AAPL |
NASDAQ_AAPL.csv | AAPL |
NYSE-IBM-1d.csv | IBM | 1d
AAPL_XNAS.csv | AAPL |
AAPL.XNAS.csv | AAPL.XNAS |
AAPL.XNAS_1m.csv | AAPL.XNAS | 1m
hkex_00700.csv | 00700 |
00700.csv | 00700 |
HK.00700_K_DAY.csv | HK.00700 | 1d
SZ000001_1d.csv | SZ000001 | 1d
000001.XSHE_1m.csv | 000001.XSHE | 1m
000001.SZ.csv | 000001.SZ |
600519_day.csv | 600519 | 1d
600519_kline_daily.csv | 600519 | 1d
stock_600519.csv | 600519 |
1101.TW.csv | 1101.TW |
2330_2024.csv | 2330 |
2330.TWO_1d.csv | 2330.TWO | 1d
A005930_daily.csv | A005930 | 1d
result_AAPL.csv | AAPL |
df_AAPL.csv | AAPL |
AAPL_df.csv | AAPL |
AAPL_clean_data_final.csv | AAPL |
AAPL_ohlcv_1d.csv | AAPL | 1d
AAPL_prices.csv | AAPL |
stockdata-AAPL.csv | AAPL |
stock_data_AAPL_2020.csv | AAPL |
AAPL_stock_data.csv | AAPL |
AAPL_Stock_Price_2020.csv | AAPL |
AAPL Stock Price.csv | AAPL |
merged_AAPL.csv | AAPL |
AAPL_with_indicators.csv | AAPL |
AAPL_train.csv | AAPL |
"""

MADE_UP = """
Historical Data (1).csv | HISTORICAL-DATA-1
HistoricalQuotes.csv | HISTORICALQUOTES
HistoricalQuotes (3).csv | HISTORICALQUOTES-3
HistoricalData_1612345678901.csv | HISTORICALDATA-1612345678901
HistoricalPrices.csv | HISTORICALPRICES
download.csv | DOWNLOAD
export (3).csv | EXPORT-3
table.csv | TABLE
table (5).csv | TABLE-5
PT5M.csv | PT5M
P1D.csv | P1D
ohlcv-1m-2024.csv | OHLCV-1M-2024
ohlc_5m.csv | OHLC-5M
tBTCUSD-1m.csv | TBTCUSD
glbx-mdp3-20240102.ohlcv-1m.csv.zst | GLBX-MDP3-20240102-OHLCV-1M
xnas-itch-20240102.trades.csv.zst | XNAS-ITCH-20240102-TRADES
2024-01-02.csv.gz | 2024-01-02
all_stocks_5yr.csv | ALL-STOCKS-5YR
prices-split-adjusted.csv | PRICES-SPLIT-ADJUSTED
S&P 500 Historical Data.csv | S-P-500
Nifty 50 Historical Data.csv | NIFTY-50
Apple Stock Price History.csv | APPLE
coin_Bitcoin.csv | COIN-BITCOIN
Google_Stock_Price_Train.csv | GOOGLE
NASDAQ_20240102.csv | NASDAQ-20240102
Ünï côde (1).csv | UNI-CODE
株価_7203_日足.csv | 株価-7203-日足
LAST.csv | LAST
ALL.csv | ALL
TICK.csv | TICK
sp-500-micro-prices-intraday-09-24-2026.csv | SP-500-MICRO
CORN_mini.csv | CORN-MINI
EUR_micro.csv | EUR-MICRO
SP500_emini.csv | SP500-EMINI
COPPER-mini.csv | COPPER-MINI
GOLD_micro_1min.csv | GOLD-MICRO
Nifty_E-mini_5min.csv | NIFTY-E-MINI
.candles.csv | CANDLES
.data.csv | DATA
.prices.csv.gz | PRICES
2006-day-001.txt | 2006DAY-001
NASDAQ_extended_to_2026.csv | NASDAQ-EXTENDED-TO-2026
data2.csv | DATA2
prices_v2.csv | PRICES-V2
EURUSD_GMT+0_US-DST_M15.csv | EURUSD-GMT-0-DST
coinbaseUSD_1-min_data_2014-12-01_to_2019-01-09.csv | COINBASEUSD
bitstampUSD_1-min_data_2012-01-01_to_2021-03-31.csv | BITSTAMPUSD
reliance_nse_daily.csv | RELIANCE
NIFTY 50 - daily.csv | NIFTY-50
NIFTY_50_minute.csv | NIFTY
BF_B.csv | BF-B
BRK_B_1min.csv | BRK-B
Tesla Inc Historical Prices.csv | TESLA-INC
Apple.csv | APPLE
Infosys.csv | INFOSYS
Bitcoin.csv | BITCOIN
bitcoin_price.csv | BITCOIN
usdjpy_std_5m.csv | USDJPY-STD
AAPL-STK-SMART-USD.csv | AAPL-STK-SMART-USD
005930_삼성전자.csv | 005930-삼성전자
삼성전자.csv | 삼성전자
Сбербанк.csv | СБЕРБАНК
7203_トヨタ.csv | 7203-トヨタ
stocks_1d.csv | STOCKS-1D
quotes-2024.csv | QUOTES-2024
my data.csv | MY-DATA
portfolio.csv | PORTFOLIO
output.csv | OUTPUT
AAPLprices.csv | AAPLPRICES
train.csv | TRAIN
"""


def rows(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]


@pytest.mark.parametrize(("name", "symbol", "interval"), rows(CERTAIN))
def test_a_name_has_a_symbol_and_an_interval(name: str, symbol: str, interval: str) -> None:
    hints = parse_file_name(name)
    assert (hints.symbol, hints.interval) == (symbol, interval)
    assert infer_symbol(name, folder="/data/MSFT") == (symbol, "file name", "")


@pytest.mark.parametrize(("name", "derived"), rows(MADE_UP))
def test_a_symbol_is_made_up_with_a_warning(name: str, derived: str) -> None:
    symbol, origin, warning = infer_symbol(name, folder="/home/someone/quotes of mine")
    assert (symbol, origin) == (derived, "file name")
    assert "--symbol" in warning


@pytest.mark.parametrize(
    ("folder", "name", "symbol"),
    [
        ("/data/AAPL", "history.csv", "AAPL"),
        ("/data/AAPL", "HistoricalQuotes (1).csv", "AAPL"),
        ("/data/BTC-USD/1h", "2024-01.csv", "BTC-USD"),
        ("/data/BTCUSDT/2024/1m", "kline_01.csv.gz", "BTCUSDT"),
        ("/data/7203", "ohlcv-1d-2024.csv", "7203"),
        ("/data/symbol=BRK.B/date=2024-01-02", "part-0.csv", "BRK.B"),
        ("/data/symbol=BTC%2FUSD", "part-0.csv", "BTC/USD"),
        ("/data/pair=BTC USD", "part-0.csv", "BTC USD"),
    ],
)
def test_a_folder_names_the_symbol_of_a_generic_file(folder: str, name: str, symbol: str) -> None:
    assert infer_symbol(name, folder=folder) == (symbol, "folder", "")


@pytest.mark.parametrize(
    "folder", ["/data/NASDAQ", "/data/2024", "/data/csv", "/data/aapl", "/AAPL/archive of mine"]
)
def test_other_folders_name_no_symbol(folder: str) -> None:
    symbol, origin, warning = infer_symbol("history.csv", folder=folder)
    assert (symbol, origin) == ("HISTORY", "file name")
    assert warning


@pytest.mark.parametrize(
    ("text", "interval"),
    [
        ("PT1M", "1m"), ("PT5M", "5m"), ("PT60M", "1h"), ("PT1H", "1h"), ("PT30S", "30s"), ("P1D", "1d"),
        ("PT1D", "1d"), ("PT24H", "1d"), ("P1W", "1w"), ("P1M", "1mo"), ("P3M", "3mo"), ("P1Y", "1y"),
        ("pt15m", "15m"), ("P", ""), ("PT", ""), ("P5X", ""), ("PT1W", ""), ("P1H", ""),
    ],
)  # fmt: skip
def test_durations_of_iso_8601(text: str, interval: str) -> None:
    assert parse_interval(text) == interval


def test_strict_refuses_a_symbol_that_is_made_up(tmp_path: Path) -> None:
    path = tmp_path / "Historical Data (1).csv"
    days = range(2, 9)
    path.write_text("date,open,high,low,close\n" + "".join(f"2024-01-{day:02},10,11,9,10\n" for day in days))
    assert "derived from its name" in open_csv(path).warnings[0]
    with pytest.raises(DataError, match="--strict"):
        open_csv(path, Options(strict=True))


@pytest.mark.parametrize(
    "name",
    """
    get_stock_data fetch_prices load_data save_data update_data index_data backup closes concat df joined long
    pivot temp wide df2 raw_3 my-closes to-plot dumped tmp foo
    """.split(),
)
def test_a_word_is_no_ticker(name: str) -> None:
    symbol, origin, warning = infer_symbol(f"{name}.csv")
    assert symbol
    assert (origin, "Specify it with --symbol" in warning) == ("file name", True)
    assert infer_symbol(f"{name}.csv", folder="/data/MSFT") == ("MSFT", "folder", "")


@pytest.mark.parametrize(
    "name", "aapl tsla nvda_daily brk-b petr4 eurusd xbtusd spy msft.us nifty MSFT OPEN".split()
)
def test_a_ticker_in_lower_case_is_none_the_less_one(name: str) -> None:
    symbol, origin, warning = infer_symbol(f"{name}.csv", folder="/data/GE")
    assert (symbol.lower(), origin, warning) == (name.removesuffix("_daily").lower(), "file name", "")


HEADER_AND_ROWS = "Date,Open,High,Low,Close,Volume\n" + "".join(
    f"2024-01-{day:02},10.0,10.5,9.5,10.{day},{day}000\n" for day in (2, 3, 4, 5, 8, 9)
)


@pytest.mark.parametrize(
    ("above", "symbol"),
    [
        ("# Stock data for QAA from 2024-01-02 to 2024-01-09\n# Total records: 6\n\n", "QAA"),
        ("Symbol: QAA\n", "QAA"),
        ("Ticker,QAA,,,,\n", "QAA"),
        ("Symbol;7203.T\n", "7203.T"),
        ("# Stock Symbol = BRK.B\n", "BRK.B"),
        ("QAA Historical Data\n\n", "QAA"),
        ("Prices for BTC/USD (UTC)\n", "BTC/USD"),
        ("Stock code: 600000\n", "600000"),
    ],
)
def test_the_lines_above_the_header_name_the_symbol(tmp_path: Path, above: str, symbol: str) -> None:
    path = tmp_path / "fetch_prices.csv"
    path.write_text(above + HEADER_AND_ROWS)
    source = open_csv(path, Options())
    assert (source.symbols, source.warnings) == ([symbol], [])


@pytest.mark.parametrize(
    "above",
    [
        "# Stock data for US markets\n",
        "# Source: NASDAQ\n",
        "Daily Prices\n",
        "# data for QAA\n# data for QBB\n",
        "# data for QAA, QBB and QCC\n",
        "# Prices for S&P 500\n",
        "Currency: USD\n",
    ],
)
def test_other_lines_above_the_header_name_none(tmp_path: Path, above: str) -> None:
    path = tmp_path / "fetch_prices.csv"
    path.write_text(above + HEADER_AND_ROWS)
    source = open_csv(path, Options())
    assert source.symbols == ["FETCH"]
    assert "--symbol" in source.warnings[0]


def test_a_symbol_above_the_header_that_is_not_that_of_the_name_is_said(tmp_path: Path) -> None:
    path = tmp_path / "MSFT.csv"
    path.write_text("Symbol: AAPL\n" + HEADER_AND_ROWS)
    source = open_csv(path, Options())
    assert source.symbols == ["MSFT"]
    assert "line 1 says AAPL" in source.warnings[0]
    path.write_text("# Stock data for MSFT from 2024-01-02\n" + HEADER_AND_ROWS)
    assert open_csv(path, Options()).warnings == []
