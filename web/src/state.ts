import type { Alert, Hello } from "./protocol.ts";
import { Signal } from "./signal.ts";

export type View = "watch" | "chart" | "alerts" | "overview" | "pipeline";

export const view = new Signal<View>("chart");
/** The instrument of the chart: its number, or -1. */
export const chosen = new Signal(-1);
/** The alert whose evidence is shown. */
export const evidence = new Signal<Alert | null>(null);
export const hello = new Signal<Hello | null>(null);
/** How far the server's clock is ahead of ours, in ms. */
export const ahead = new Signal(0);

export const serverNow = (): number => Date.now() + ahead.value;
