import { market } from "./store.ts";

export interface Heading {
  key: string;
  title: string;
  explained: string;
  /** What rows are sorted by; NaN sorts last. */
  by: ((id: number) => number) | null;
}

/** Columns of the watch list; `alerts` counts the unread alerts of an instrument. */
export const headings = (alerts: (id: number) => number, favourite: (id: number) => boolean): Heading[] => [
  { key: "star", title: "★", explained: "Favourites", by: (id) => Number(favourite(id)) },
  { key: "symbol", title: "Symbol", explained: "Symbol", by: (id) => market.rank[id]! },
  { key: "badge", title: "!", explained: "New alerts", by: alerts },
  { key: "last", title: "Last", explained: "Last price", by: (id) => market.last(id) },
  { key: "change", title: "Chg", explained: "Change since the last close", by: (id) => market.change(id) },
  { key: "percent", title: "Chg %", explained: "Change since the last close, in percent", by: (id) => market.percent(id) },
  { key: "range", title: "Range", explained: "Where the last price lies between the session's low and high", by: (id) => market.place(id) },
  { key: "volume", title: "Volume", explained: "Volume of the session", by: (id) => market.columns.volume[id]! },
  { key: "relative", title: "× avg", explained: "Volume, in average sessions", by: (id) => market.relative(id) },
  { key: "trend", title: "Trend", explained: "The last closes", by: null },
];
