// A time scale whose marks stand at the midnights and full hours of a zone. The bars keep their true times.

import { defaultHorzScaleBehavior, type IHorzScaleBehavior, type Time } from "lightweight-charts";
import { SECOND, weight } from "./weight.ts";
import { wall } from "./zone.ts";

type Points = Parameters<IHorzScaleBehavior<Time>["fillWeightsForPoints"]>[0];

export interface ZonedScale extends IHorzScaleBehavior<Time> {
  zone: string;
}

export function zonedScale(): ZonedScale {
  class Zoned extends defaultHorzScaleBehavior() implements ZonedScale {
    zone = "UTC";

    override fillWeightsForPoints(points: Points, from: number): void {
      for (let at = Math.max(1, from); at < points.length; at++) {
        const point = points[at]! as { timeWeight: number };
        point.timeWeight = weight(this.#date(points[at - 1]!.originalTime), this.#date(points[at]!.originalTime));
      }
      if (from === 0 && points.length > 1) (points[0] as { timeWeight: number }).timeWeight = SECOND;
    }

    #date(seconds: unknown): Date {
      return wall((seconds as number) * 1000, this.zone);
    }
  }
  return new Zoned();
}
