// A time scale with tick marks at the midnights and full hours of a time zone. The times of bars stay UTC.

import { defaultHorzScaleBehavior, type IHorzScaleBehavior, type Time } from "lightweight-charts";
import { SECOND_WEIGHT, tickMarkWeight } from "./tickweight.ts";
import { wallClock } from "./timezone.ts";

type Points = Parameters<IHorzScaleBehavior<Time>["fillWeightsForPoints"]>[0];

export interface ZonedScale extends IHorzScaleBehavior<Time> {
  zone: string;
}

export function createZonedScale(): ZonedScale {
  class Zoned extends defaultHorzScaleBehavior() implements ZonedScale {
    zone = "UTC";

    override fillWeightsForPoints(points: Points, from: number): void {
      for (let at = Math.max(1, from); at < points.length; at++) {
        const point = points[at]! as { timeWeight: number };
        point.timeWeight = tickMarkWeight(this.#wallClock(points[at - 1]!.originalTime), this.#wallClock(points[at]!.originalTime));
      }
      if (from === 0 && points.length > 1) (points[0] as { timeWeight: number }).timeWeight = SECOND_WEIGHT;
    }

    #wallClock(seconds: unknown): Date {
      return wallClock((seconds as number) * 1000, this.zone);
    }
  }
  return new Zoned();
}
