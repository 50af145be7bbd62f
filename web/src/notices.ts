// Desktop notifications, if the reader turned them on: grouped, never a flood.

import { type AlertBook, grave } from "./alerts.ts";
import { $, text } from "./dom.ts";
import { notify } from "./prefs.ts";
import type { Alert } from "./protocol.ts";

const GAP_MS = 5000;

export class Notices {
  readonly #select = $<HTMLSelectElement>("notify");
  readonly #open: (alert: Alert) => void;
  #waiting: Alert[] = [];
  #timer = 0;
  #lastMs = -GAP_MS;

  constructor(book: AlertBook, open: (alert: Alert) => void) {
    this.#open = open;
    this.#select.addEventListener("change", () => void this.#choose());
    if (this.#allowed() !== "granted") notify.set("off");
    notify.watch((value) => {
      this.#select.value = value;
    });
    this.#explain();
    book.arrived.on((alerts) => this.#take(alerts));
  }

  #allowed(): string {
    return "Notification" in window ? Notification.permission : "unsupported";
  }

  async #choose(): Promise<void> {
    const value = this.#select.value as typeof notify.value;
    if (value !== "off" && this.#allowed() === "default") await Notification.requestPermission();
    notify.set(value !== "off" && this.#allowed() !== "granted" ? "off" : value);
    this.#select.value = notify.value;
    this.#explain();
  }

  #explain(): void {
    const allowed = this.#allowed();
    text($("notify-note"), allowed === "denied" ? "This browser blocks them for this page." : allowed === "unsupported" ? "This browser has none." : "");
  }

  #take(alerts: readonly Alert[]): void {
    const level = notify.value;
    if (level === "off") return;
    this.#waiting.push(...alerts.filter(({ severity, state }) => state === "fired" && grave(severity) >= grave(level)));
    if (!this.#waiting.length || this.#timer) return;
    this.#timer = window.setTimeout(() => this.#tell(), Math.max(0, this.#lastMs + GAP_MS - performance.now()));
  }

  #tell(): void {
    this.#timer = 0;
    this.#lastMs = performance.now();
    const alerts = this.#waiting.splice(0).sort((a, b) => grave(b.severity) - grave(a.severity));
    const first = alerts[0];
    if (!first || this.#allowed() !== "granted") return;
    const title = alerts.length > 1 ? `${alerts.length} alerts: ${[...new Set(alerts.map(({ symbol }) => symbol))].slice(0, 5).join(", ")}` : `${first.symbol}: ${first.severity}`;
    const notice = new Notification(title, { body: first.message, tag: "tickerlake", icon: "/static/favicon.svg" });
    notice.onclick = () => {
      window.focus();
      this.#open(first);
      notice.close();
    };
  }
}
