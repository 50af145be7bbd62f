"""Words in lower case that are no tickers: what people and notebooks call their files. Pure."""

import re
from typing import Final

from tickerlake.sources.csv.currencies import COINS, MAJOR_CURRENCIES, PRECIOUS_METALS, STABLECOINS

_WORDS: Final = frozenset(
    """
    a ab about above acc account action active actual add ago ah aim all alpha alt an ana and any api app
    append apply april area array art as asset at au august aus auto aux avec avg axis b back backup bad
    bak band base basic batch bei beta big bin bis bit blob block board body bond book bot both box brief
    bt bug build bulk bull burn buy by c calc call came can car card case cash cat cell chain change
    check city class clean clear clone close closed closes cloud code coin col cols column combo come
    comp con concat cond conf config copy core cost could count cours cover crash create cross crypt cube
    cum cur curr curve cut cycle d da das dash data date datei daten dates datos day days db debug dec
    deep def del delta demo den dep der des desk dev df dff did die diff dir div do doc docs doe done dos
    dot down draft draw drop dt du due dump dup e each early earn easy edge edit eg ein eine el else
    empty en end ended energy enter entry env epoch equal err error est et even event ever every ex exam
    exit exp extra f face fact fair fake fall fast feb fed feed fetch few field fig fill filled filter
    final find fine first fit fix fixed flag flat float flow fold foo food for force form found frame
    free friday from fuer full fun func fund funds fur fut für g gain game gap gas gen get give given go
    gone good got grab graph great green grid group grow growth h had half hand hard has have he head
    heat help her here hi hide high him his hist hit hold home hot hour hours how huge human i id idea
    idx if img imp import in inc index info init inner input insert inst int into is issue ist it item
    items its j jan job join joined json jul july jump jun june just k keep kept key keys kind know kopie
    kurs kurse l la lab label lag land large las last late later le lead leaf learn left len les less let
    level levels lib life light like limit line lines link list liste lite live ll load loaded loader
    loan local log logs long look loop los lose loss lot lots low m made main make man many map mar march
    mark mask mass match math matrix may me mean means med mem mend merge mes method might min mine mini
    misc mit mix mixed ml mock mod mode model models mon money month months more most mov move moved
    moving much multi must n na name names nan near need net neu new news next nice no node noise none
    norm not note notes notice nov now null num number numpy nur o obj obs oct odd oder of off ok old on
    once one ones only op open option or orange order orders orig other ou our out outer output over own
    p pack page pages pair pairs panda pandas panel par para param parse part parts pas pass past path
    pay peak pending people per perf period pick pics pie pilot pipe pivot place plain plan play plot
    plots plus png point points pool pop por port pos post pour power pre pred preds prep pres press prev
    print prior prob prod profit proj promo proof pt pub pull pulled pure push put py python q qa quant
    que query queue quick r ran random range rank rate rates ratio raw re read reader ready real rec
    recent record red ref refs reg rel rem rename rep repo report reset resp rest ret return right rise
    risk roll root rough round row rows rule rules run runs s safe sale sales same samp sans save saved
    say scan score scrape script search sec second sector see seed seen select self sell send sep seq
    series serve set sets setup several shape shared sheet shift short show side sign signal sim simple
    sin since single site six size skip slice slow small smooth so soft some sort sorted source space
    span spec speed spend split spread sql src stack stage start state stats std step still stop store
    stored str strat stream string strip struct stub study style sub sum summer sun sur sure swap sync
    sys system t tab tail take taken talk target task tax team temp ten term terms test tested tests text
    than that the them then there these they thing this three tidy tip title tmp to today todo tool tools
    top total track train tree trend trial trim true try ts tune tuned turn tut two txt type types u un
    una und under une union unit units uno until up upd update upload upper us use used user users using
    util utils v val valid value values var vars vec vector ver verify very view views vix vol vom von vs
    w wait walk want war warm was watch way we web week weeks weight well went were west what when where
    which while who whole why wide will win window wip with word words work works world would wrap write
    wrong x xx xxx xy xyz y year years yes yet you your z zero zip zone zoom zum zur
    """.split()
)
"""Up to six letters; longer words are no tickers anyway."""

_INFLECTIONS: Final = ("ing", "ed", "es", "er", "s", "d")
_MAX_UNLISTED: Final = 4
"""Longer words in lower case are tickers only if they are of `_INSTRUMENTS`."""

_MIN_PAIR_LENGTH: Final = 6
# `entry`, `country`
_CURRENCIES: Final = (MAJOR_CURRENCIES | PRECIOUS_METALS | STABLECOINS | COINS) - {"try"}
_INSTRUMENTS: Final = frozenset(
    """
    googl brkb brka nifty sensex nikkei ftse kospi kosdaq topix ibov stoxx russell vix spx gspc dow sp500
    tesla apple google amazon netflix nvidia intel boeing infosys reliance tcs sony toyota shell
    gold silver copper oil brent wti natgas wheat corn cocoa coffee sugar bitcoin ether solana doge ripple
    """.split()
)
"""What people call instruments, and some longer tickers."""


def is_common_word(text: str) -> bool:
    """Return whether a text in lower case is a word, not a ticker: ``backup``, ``df2``, ``to-plot``."""
    parts = [part for part in re.split(r"[.\-]", text) if part]
    return any(map(_is_word, parts[:1])) or (len(parts) > 1 and any(map(_is_word, parts)) and "." not in text)


def _is_word(part: str) -> bool:
    bare = part.rstrip("0123456789")
    is_pair = len(bare) >= _MIN_PAIR_LENGTH and bool({bare[-3:], bare[-4:]} & _CURRENCIES)
    if not bare.isalpha() or not bare.isascii() or bare in _INSTRUMENTS or is_pair:
        return False
    if len(bare) > _MAX_UNLISTED and bare == part:
        return True
    stems = {bare, *(bare.removesuffix(each) for each in _INFLECTIONS if len(bare) > len(each) + 2)}
    return len(bare) > 1 and bool(stems & _WORDS)
