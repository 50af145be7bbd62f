// The evidence of one alert, beside the feed.

import type { AlertBook } from "./alerts.ts";
import type { AlertList } from "./alertlist.ts";
import { zoneOf } from "./chart.ts";
import { $, h, icon, text, turn } from "./dom.ts";
import { clock } from "./prefs.ts";
import type { Alert } from "./protocol.ts";
import { evidence } from "./state.ts";
import { figures, sign, when } from "./words.ts";

/** The address that opens an alert's chart. */
export const link = (alert: Alert): string => {
  const query = new URLSearchParams({ symbol: alert.instrument_id, t: String(alert.event_ms) });
  return `${location.origin}/?${query}`;
};

export class Evidence {
  readonly #book: AlertBook;
  readonly #card = $("evidence");
  readonly #ack = $<HTMLButtonElement>("evidence-ack");
  readonly #copy = $<HTMLButtonElement>("evidence-copy");
  readonly #mark = icon("info");

  constructor(book: AlertBook, list: AlertList) {
    this.#book = book;
    $("evidence-severity").append(this.#mark, h("span"));
    this.#ack.addEventListener("click", () => this.acknowledge());
    this.#copy.addEventListener("click", () => void this.#copyLink());
    $("evidence-close").addEventListener("click", () => evidence.set(null));
    const step = (by: number) => () => {
      const next = evidence.value && list.beside(evidence.value, by);
      if (next) list.open(next);
    };
    $("evidence-newer").addEventListener("click", step(-1));
    $("evidence-older").addEventListener("click", step(1));
    evidence.watch((alert) => this.#show(alert));
    clock.on(() => this.#show(evidence.value));
    book.changed.on(() => this.#state());
  }

  acknowledge(): void {
    const alert = evidence.value;
    if (alert) this.#book.acknowledge([alert], !this.#book.isSeen(alert));
  }

  #show(alert: Alert | null): void {
    this.#card.hidden = !alert;
    document.body.toggleAttribute("data-evidence", !!alert);
    if (!alert) return;
    const zone = zoneOf(alert.id);
    this.#card.dataset.severity = alert.severity;
    this.#card.dataset.way = alert.direction;
    turn(this.#mark, alert.severity);
    text($("evidence-severity").lastElementChild!, alert.severity);
    text($("evidence-symbol"), alert.symbol);
    text($("evidence-when"), when(alert, zone));
    text($("evidence-message"), `${sign(alert.direction)} ${alert.message}`);
    $("evidence-figures").replaceChildren(
      ...figures(alert, zone).map(([name, figure]) => h("div", {}, h("dt", {}, name), h("dd", { title: figure }, figure))),
    );
    this.#card.scrollTop = 0;
    this.#state();
  }

  #state(): void {
    const alert = evidence.value;
    if (!alert) return;
    const seen = this.#book.isSeen(alert);
    this.#ack.setAttribute("aria-pressed", String(seen));
    text($("evidence-ack-words"), seen ? "Seen" : "Acknowledge");
    const over = $("evidence-over");
    over.hidden = !this.#book.isOver(alert);
  }

  async #copyLink(): Promise<void> {
    if (!evidence.value) return;
    const told = $("evidence-copied");
    const address = link(evidence.value);
    try {
      await navigator.clipboard.writeText(address);
      text(told, "· link copied");
    } catch {
      // no clipboard without https: the address bar has the same link
      history.replaceState(null, "", address);
      text(told, "· the address bar has the link");
    }
    setTimeout(() => text(told, ""), 3000);
  }
}
