// The alerts loaded by this page, and which of them are acknowledged.

import * as api from "./api.ts";
import { acknowledged } from "./preferences.ts";
import { type Alert, SEVERITIES, type Severity } from "./protocol.ts";
import { Signal } from "./signal.ts";
import { serverNowMs } from "./state.ts";

const MAX_ALERTS = 5000;
const MAX_ACKNOWLEDGED = 5000;
const NEW_ALERT_MS = 600_000;
const UNREAD_MS = 24 * 3_600_000;

export interface Unread {
  count: number;
  severity: Severity | null;
}

const NO_UNREAD: Unread = { count: 0, severity: null };

export const severityRank = (severity: Severity): number => SEVERITIES.indexOf(severity);

/** Newest first: by time of detection, then by event time. */
export const compareNewestFirst = (a: Alert, b: Alert): number => b.detected_ms - a.detected_ms || b.event_ms - a.event_ms;

export class AlertStore {
  readonly changed = new Signal<Alert[]>([]);
  /** Alerts that arrived while the page was open. */
  readonly arrived = new Signal<Alert[]>([]);
  #byId = new Map<string, Alert>();
  readonly #acknowledged = new Set(acknowledged.value);
  #unread = new Map<number, Unread>();
  /** When the alerts of a `dedup_key` last ended. */
  #endedMs = new Map<string, number>();

  get all(): readonly Alert[] {
    return this.changed.value;
  }

  add(alerts: readonly Alert[], reset: boolean): void {
    if (reset) this.#byId = new Map();
    const added = alerts.filter(({ alert_id }) => !this.#byId.has(alert_id));
    for (const alert of alerts) this.#byId.set(alert.alert_id, alert);
    this.#reindex();
    // while the server loads history, old alerts arrive, too
    const since = serverNowMs() - NEW_ALERT_MS;
    const recent = added.filter(({ detected_ms }) => detected_ms >= since);
    if (!reset && recent.length) this.arrived.set(recent);
  }

  /** Load older alerts, without announcing them as new. Returns whether there may be more. */
  async loadOlder(query: { instrument?: string; severity?: string; end?: number; limit?: number }): Promise<boolean> {
    const { alerts, more } = await api.fetchAlerts({ limit: 200, ...query });
    for (const alert of alerts) if (!this.#byId.has(alert.alert_id)) this.#byId.set(alert.alert_id, alert);
    this.#reindex();
    return more;
  }

  unread(id: number): Unread {
    return this.#unread.get(id) ?? NO_UNREAD;
  }

  isAcknowledged(alert: Alert): boolean {
    return this.#acknowledged.has(alert.alert_id);
  }

  /** Whether a later alert has ended this one. */
  hasEnded(alert: Alert): boolean {
    return alert.state === "fired" && (this.#endedMs.get(alert.dedup_key) ?? -Infinity) >= alert.event_ms;
  }

  acknowledge(alerts: readonly Alert[], on = true): void {
    for (const { alert_id } of alerts) {
      if (on) this.#acknowledged.add(alert_id);
      else this.#acknowledged.delete(alert_id);
    }
    acknowledged.set([...this.#acknowledged].slice(-MAX_ACKNOWLEDGED));
    this.#reindex();
  }

  forInstrument(id: number): Alert[] {
    return this.all.filter((alert) => alert.id === id);
  }

  #reindex(): void {
    const sorted = [...this.#byId.values()].sort(compareNewestFirst);
    for (const { alert_id } of sorted.splice(MAX_ALERTS)) this.#byId.delete(alert_id);
    const since = serverNowMs() - UNREAD_MS;
    this.#unread = new Map();
    this.#endedMs = new Map();
    for (const alert of sorted) {
      if (alert.state !== "fired") {
        this.#endedMs.set(alert.dedup_key, Math.max(alert.event_ms, this.#endedMs.get(alert.dedup_key) ?? -Infinity));
      } else if (alert.detected_ms >= since && !this.isAcknowledged(alert)) {
        const { count, severity } = this.unread(alert.id);
        const highest = severity && severityRank(severity) >= severityRank(alert.severity) ? severity : alert.severity;
        this.#unread.set(alert.id, { count: count + 1, severity: highest });
      }
    }
    this.changed.set(sorted);
  }
}
