import { market } from "../data/market.ts";

export interface WatchColumn {
  key: string;
  title: string;
  description: string;
  /** The key to sort rows by; NaN sorts last. */
  sortKey: ((id: number) => number) | null;
}

/** Columns of the watch list; `unreadAlerts` counts the unread alerts of an instrument. */
export const watchColumns = (unreadAlerts: (id: number) => number, isFavorite: (id: number) => boolean): WatchColumn[] => [
  { key: "star", title: "★", description: "Favorites", sortKey: (id) => Number(isFavorite(id)) },
  { key: "symbol", title: "Symbol", description: "Symbol", sortKey: (id) => market.alphabeticalRank[id]! },
  { key: "badge", title: "!", description: "New alerts", sortKey: unreadAlerts },
  { key: "last", title: "Last", description: "Last price", sortKey: (id) => market.last(id) },
  { key: "change", title: "Chg", description: "Change since the previous close", sortKey: (id) => market.change(id) },
  { key: "percent", title: "Chg %", description: "Change since the previous close, in percent", sortKey: (id) => market.percentChange(id) },
  { key: "range", title: "Range", description: "Last price within the session’s range", sortKey: (id) => market.rangePosition(id) },
  { key: "volume", title: "Volume", description: "Session volume", sortKey: (id) => market.columns.volume[id]! },
  { key: "relative", title: "× avg", description: "Volume relative to the average session", sortKey: (id) => market.relativeVolume(id) },
  { key: "trend", title: "Trend", description: "Recent closes", sortKey: null },
];
