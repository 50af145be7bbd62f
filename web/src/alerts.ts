// The alerts that this page knows, and which of them the reader has seen.

import * as api from "./api.ts";
import { acknowledged } from "./prefs.ts";
import { type Alert, SEVERITIES, type Severity } from "./protocol.ts";
import { Signal } from "./signal.ts";
import { serverNow } from "./state.ts";

const MOST = 5000;
const MOST_ACKNOWLEDGED = 5000;
const NEWS_MS = 600_000;
const FRESH_MS = 24 * 3_600_000;

export interface Unread {
  count: number;
  severity: Severity | null;
}

const NONE: Unread = { count: 0, severity: null };

export const grave = (severity: Severity): number => SEVERITIES.indexOf(severity);

/** Newest first: by when they were told, then by when it happened. */
export const newer = (a: Alert, b: Alert): number => b.detected_ms - a.detected_ms || b.event_ms - a.event_ms;

export class AlertBook {
  readonly changed = new Signal<Alert[]>([]);
  /** Those that came while the page was open. */
  readonly arrived = new Signal<Alert[]>([]);
  #known = new Map<string, Alert>();
  readonly #seen = new Set(acknowledged.value);
  #unread = new Map<number, Unread>();
  /** When what was fired (by `dedup_key`) was last over. */
  #over = new Map<string, number>();

  get all(): readonly Alert[] {
    return this.changed.value;
  }

  take(alerts: readonly Alert[], reset: boolean): void {
    if (reset) this.#known = new Map();
    const fresh = alerts.filter(({ alert_id }) => !this.#known.has(alert_id));
    for (const alert of alerts) this.#known.set(alert.alert_id, alert);
    this.#index();
    // while history is read, old ones come as well
    const since = serverNow() - NEWS_MS;
    const news = fresh.filter(({ detected_ms }) => detected_ms >= since);
    if (!reset && news.length) this.arrived.set(news);
  }

  /** Add what was asked for; nobody is told of it as new. */
  async older(query: { instrument?: string; severity?: string; end?: number; limit?: number }): Promise<boolean> {
    const { alerts, more } = await api.alerts({ limit: 200, ...query });
    for (const alert of alerts) if (!this.#known.has(alert.alert_id)) this.#known.set(alert.alert_id, alert);
    this.#index();
    return more;
  }

  unread(id: number): Unread {
    return this.#unread.get(id) ?? NONE;
  }

  isSeen(alert: Alert): boolean {
    return this.#seen.has(alert.alert_id);
  }

  /** Whether a later one has ended this alert. */
  isOver(alert: Alert): boolean {
    return alert.state === "fired" && (this.#over.get(alert.dedup_key) ?? -Infinity) >= alert.event_ms;
  }

  acknowledge(alerts: readonly Alert[], seen = true): void {
    for (const { alert_id } of alerts) {
      if (seen) this.#seen.add(alert_id);
      else this.#seen.delete(alert_id);
    }
    acknowledged.set([...this.#seen].slice(-MOST_ACKNOWLEDGED));
    this.#index();
  }

  of(id: number): Alert[] {
    return this.all.filter((alert) => alert.id === id);
  }

  #index(): void {
    const sorted = [...this.#known.values()].sort(newer);
    for (const { alert_id } of sorted.splice(MOST)) this.#known.delete(alert_id);
    const since = serverNow() - FRESH_MS;
    this.#unread = new Map();
    this.#over = new Map();
    for (const alert of sorted) {
      if (alert.state !== "fired") {
        this.#over.set(alert.dedup_key, Math.max(alert.event_ms, this.#over.get(alert.dedup_key) ?? -Infinity));
      } else if (alert.detected_ms >= since && !this.isSeen(alert)) {
        const { count, severity } = this.unread(alert.id);
        const most = severity && grave(severity) >= grave(alert.severity) ? severity : alert.severity;
        this.#unread.set(alert.id, { count: count + 1, severity: most });
      }
    }
    this.changed.set(sorted);
  }
}
