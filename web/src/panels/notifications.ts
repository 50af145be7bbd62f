// Desktop notifications, if enabled by the user: grouped and rate-limited.

import { type AlertStore, severityRank } from "../data/alerts.ts";
import { notificationLevel } from "../data/preferences.ts";
import type { Alert } from "../data/protocol.ts";
import { $, setText } from "../view/dom.ts";

const MIN_GAP_MS = 5000;

export class DesktopNotifications {
  readonly #select = $<HTMLSelectElement>("notify");
  readonly #open: (alert: Alert) => void;
  #pending: Alert[] = [];
  #timer = 0;
  #lastMs = -MIN_GAP_MS;

  constructor(alerts: AlertStore, open: (alert: Alert) => void) {
    this.#open = open;
    this.#select.addEventListener("change", () => void this.#onChoose());
    if (this.#permission() !== "granted") notificationLevel.set("off");
    notificationLevel.watch((value) => {
      this.#select.value = value;
    });
    this.#renderNote();
    alerts.arrived.on((arrived) => this.#enqueue(arrived));
  }

  #permission(): string {
    return "Notification" in window ? Notification.permission : "unsupported";
  }

  async #onChoose(): Promise<void> {
    const value = this.#select.value as typeof notificationLevel.value;
    if (value !== "off" && this.#permission() === "default") await Notification.requestPermission();
    notificationLevel.set(value !== "off" && this.#permission() !== "granted" ? "off" : value);
    this.#select.value = notificationLevel.value;
    this.#renderNote();
  }

  #renderNote(): void {
    const permission = this.#permission();
    setText($("notify-note"), permission === "denied" ? "This browser blocks notifications for this page." : permission === "unsupported" ? "This browser does not support notifications." : "");
  }

  #enqueue(alerts: readonly Alert[]): void {
    const level = notificationLevel.value;
    if (level === "off") return;
    this.#pending.push(...alerts.filter(({ severity, state }) => state === "fired" && severityRank(severity) >= severityRank(level)));
    if (!this.#pending.length || this.#timer) return;
    this.#timer = window.setTimeout(() => this.#show(), Math.max(0, this.#lastMs + MIN_GAP_MS - performance.now()));
  }

  #show(): void {
    this.#timer = 0;
    this.#lastMs = performance.now();
    const alerts = this.#pending.splice(0).sort((a, b) => severityRank(b.severity) - severityRank(a.severity));
    const first = alerts[0];
    if (!first || this.#permission() !== "granted") return;
    const title = alerts.length > 1 ? `${alerts.length} alerts: ${[...new Set(alerts.map(({ symbol }) => symbol))].slice(0, 5).join(", ")}` : `${first.symbol}: ${first.severity}`;
    const notice = new Notification(title, { body: first.message, tag: "tickerlake", icon: "/static/favicon.svg" });
    notice.onclick = () => {
      window.focus();
      this.#open(first);
      notice.close();
    };
  }
}
