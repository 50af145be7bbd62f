import type { Alert, Hello } from "./protocol.ts";
import { Signal } from "./signal.ts";

export type View = "watch" | "chart" | "alerts" | "overview" | "pipeline";

export const view = new Signal<View>("chart");
/** The id of the charted instrument, or -1. */
export const selectedId = new Signal(-1);
/** The alert whose details are shown. */
export const selectedAlert = new Signal<Alert | null>(null);
export const serverInfo = new Signal<Hello | null>(null);
/** How far the server's clock is ahead of the browser's, in ms. */
export const clockOffsetMs = new Signal(0);

export const serverNowMs = (): number => Date.now() + clockOffsetMs.value;
