"""A detector whose values a test chooses: the close minus 100. It is a custom detector like a user's."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from tickerlake.alerts.detectors.detector import Detector, IndicatorValues, Reading
from tickerlake.alerts.detectors.registry import register
from tickerlake.analytics.bars import Bars
from tickerlake.analytics.state_table import Fields, State

SCRIPTED = "scripted"


class Scripted(Detector):
    parameters: ClassVar[Mapping[str, object]] = {"threshold": 5.0}
    unit = "sigma"

    def fields(self) -> Fields:
        return Fields({})

    def step(self, state: State, bars: Bars, values: IndicatorValues) -> Reading:
        return self.compare_to_threshold(bars.close - 100.0, reference=np.full(len(bars), 100.0))


register(SCRIPTED, Scripted)
