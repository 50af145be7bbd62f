"""Columns that say of each row whether the trade was cancelled: update actions and flags. Pure."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from tickerlake.sources.csv.detect.columns.cells import ColumnSample
from tickerlake.sources.csv.detect.columns.executions import Executions
from tickerlake.sources.csv.detect.columns.layout import normalize_name, split_words

_ACTION_NAMES: Final = frozenset("acaoatualizacao updateaction tradeupdateaction tradeaction".split())
"""Names of columns of actions as in FIX: 0 is new, 1 changes and 2 deletes an earlier trade."""

_NEW: Final = frozenset("0 new n add a insert i novo inclusao inclusão".split())
_CHANGES: Final = frozenset(
    """
    1 2 change modify update c u m delete d cancel cancelled canceled cancelado cancelamento alteracao
    alteração exclusao exclusão
    """.split()
)
_FLAG_WORDS: Final = frozenset(
    """
    cancelled canceled cancel cancellation bust busted deleted voided cancelado cancelada anulado anulada
    storno storniert annule annulee
    """.split()
)
_FLAG_FILLERS: Final = frozenset("is was trade flag indicator ind".split())
_NO: Final = frozenset({"", "0", "false", "f", "n", "no", "0.0"})
_YES: Final = frozenset({"1", "true", "t", "y", "yes", "x", "1.0"})


def without_cancellations(
    executions: Executions, names: Sequence[str], columns: Sequence[ColumnSample]
) -> Executions:
    """Return what makes a row an execution, without rows that cancel or change an earlier trade."""
    found: dict[int, frozenset[str]] = {}
    notes = [executions.note] if executions.note else []
    for i, name in enumerate(names):
        if normalize_name(name) in _ACTION_NAMES:
            kept, others = _NEW, _CHANGES
        elif _is_flag(name):
            kept, others = _NO, _YES
        else:
            continue
        texts = {text.lower() for text in columns[i].strings}
        if i in executions.texts or not texts - {""} or not texts & kept or not texts <= kept | others:
            continue
        found[i] = kept
        if dropped := sorted(texts - kept):
            notes.append(
                f"rows that cancel or change a trade are not read ({name.strip()} is {', '.join(dropped)}); "
                "an earlier row of that trade is."
            )
    return replace(
        executions,
        texts={**executions.texts, **found},
        events=executions.events | found.keys(),
        note=" ".join(notes),
    )


def _is_flag(name: str) -> bool:
    words = set(split_words(name))
    return bool(words & _FLAG_WORDS) and words <= _FLAG_WORDS | _FLAG_FILLERS
