"""The built-in rules, as rules files."""

from typing import Final

DEFAULT: Final = """\
# Few false alarms: used if there is no rules file.

[[rule]]
id = "big-move"            # a return that is unusual for this stock at this time of day
kind = "zscore"
interval = "intraday"      # the shortest bars below a day that are tracked
session = "regular"        # extended hours are unlike regular ones: see the next rule
threshold = 5              # in sigmas (standard deviations)
clear = 2
clear_bars = 3
critical = 10

[[rule]]
id = "big-move-extended"   # the same before the open and after the close, by what is usual then
kind = "zscore"
interval = "intraday"
session = "extended"
threshold = 10             # few trades make large returns: news is larger
least = 1000               # shares: a single small print is not a move
warmup = 60                # bars: an hour of a busy stock, days of a quiet one
clear = 4
clear_bars = 3
critical = 20
cooldown = "1h"

[[rule]]
id = "big-day"             # the same for daily returns
kind = "zscore"
interval = "1d"
threshold = 5
clear = 2
clear_bars = 1
critical = 10
cooldown = "1d"

[[rule]]
id = "gap"                 # from the last close to the open
kind = "gap_open"
pct = 10
critical = 25
cooldown = "4h"

[[rule]]
id = "volume"
kind = "volume_spike"
session = "regular"
times = 30
severity = "info"
cooldown = "1h"

[[rule]]
id = "limit-band"          # US "Limit Up-Limit Down", treating every stock as Tier 2
kind = "limit_band"
session = "regular"
tier = 2
cooldown = "30m"

[[rule]]
id = "breaker"             # market-wide circuit breakers, for symbols of the S&P 500 index
kind = "market_breaker"
symbols = ["^GSPC", "^SPX", "SPX", ".SPX", ".INX"]
critical = 13

[[rule]]
id = "halt"                # trading resumes in a stock that trades nearly all the time
kind = "halt"
session = "regular"
minutes = 5
severity = "info"

[[rule]]
id = "no-data"
kind = "stale"
after = "15m"

[[rule]]
id = "bad-data"
kind = "data_quality"
count = 100
window = "10m"
"""

SENSITIVE: Final = """\
# Finds nearly every jump, also small ones, with more false alarms than the default.

[[rule]]
id = "jump"                # Lee and Mykland's test
kind = "jump"
interval = "intraday"
session = "regular"
time_of_day = true
alpha = 0.01

[[rule]]
id = "big-day"
kind = "zscore"
interval = "1d"
threshold = 4
clear = 2
clear_bars = 1
critical = 8
cooldown = "1d"

[[rule]]
id = "gap"
kind = "gap_open"
pct = 5
critical = 25
cooldown = "4h"

[[rule]]
id = "volume"
kind = "volume_spike"
session = "regular"
times = 15
severity = "info"

[[rule]]
id = "halt"
kind = "halt"
session = "regular"
minutes = 5

[[rule]]
id = "no-data"
kind = "stale"
after = "5m"
"""

SIMPLE: Final = """\
# Fixed percentages, the same for every stock and time of day.

[[rule]]
id = "move-5m"
kind = "pct_change"
interval = "intraday"
session = "regular"
window = "5m"
pct = 2
critical = 5

[[rule]]
id = "move-1d"
kind = "pct_change"
session = "regular"
window = "1d"
pct = 5
critical = 20
cooldown = "1h"

[[rule]]
id = "gap"
kind = "gap_open"
pct = 5
critical = 25
cooldown = "4h"
"""

PRESETS: Final = {"default": DEFAULT, "sensitive": SENSITIVE, "simple": SIMPLE}
