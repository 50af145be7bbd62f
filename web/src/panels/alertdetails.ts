// The details of an alert, next to the list.

import type { AlertStore } from "../data/alerts.ts";
import { clock } from "../data/preferences.ts";
import type { Alert } from "../data/protocol.ts";
import { selectedAlert } from "../data/state.ts";
import { alertFacts, directionArrow, formatAlertTime } from "../view/alerttext.ts";
import { $, h, icon, setIcon, setText } from "../view/dom.ts";
import { displayZone } from "../view/timezone.ts";
import type { AlertList } from "./alertlist.ts";

/** A link to an alert's chart. */
export const alertUrl = (alert: Alert): string => {
  const query = new URLSearchParams({ symbol: alert.instrument_id, t: String(alert.event_ms) });
  return `${location.origin}/?${query}`;
};

export class AlertDetails {
  readonly #alerts: AlertStore;
  readonly #card = $("alert-details");
  readonly #ack = $<HTMLButtonElement>("alert-details-ack");
  readonly #copy = $<HTMLButtonElement>("alert-details-copy");
  readonly #severityIcon = icon("info");

  constructor(alerts: AlertStore, list: AlertList) {
    this.#alerts = alerts;
    $("alert-details-severity").append(this.#severityIcon, h("span"));
    this.#ack.addEventListener("click", () => this.acknowledge());
    this.#copy.addEventListener("click", () => void this.#copyLink());
    $("alert-details-close").addEventListener("click", () => selectedAlert.set(null));
    const step = (by: number) => () => {
      const next = selectedAlert.value && list.neighbor(selectedAlert.value, by);
      if (next) list.open(next);
    };
    $("alert-details-newer").addEventListener("click", step(-1));
    $("alert-details-older").addEventListener("click", step(1));
    selectedAlert.watch((alert) => this.#render(alert));
    clock.on(() => this.#render(selectedAlert.value));
    alerts.changed.on(() => this.#renderState());
  }

  acknowledge(): void {
    const alert = selectedAlert.value;
    if (alert) this.#alerts.acknowledge([alert], !this.#alerts.isAcknowledged(alert));
  }

  #render(alert: Alert | null): void {
    this.#card.hidden = !alert;
    document.body.toggleAttribute("data-alert-details", !!alert);
    if (!alert) return;
    const zone = displayZone(alert.id);
    this.#card.dataset.severity = alert.severity;
    this.#card.dataset.direction = alert.direction;
    setIcon(this.#severityIcon, alert.severity);
    setText($("alert-details-severity").lastElementChild!, alert.severity);
    setText($("alert-details-symbol"), alert.symbol);
    setText($("alert-details-when"), formatAlertTime(alert, zone));
    setText($("alert-details-message"), `${directionArrow(alert.direction)} ${alert.message}`);
    $("alert-details-values").replaceChildren(
      ...alertFacts(alert, zone).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", { title: value }, value))),
    );
    this.#card.scrollTop = 0;
    this.#renderState();
  }

  #renderState(): void {
    const alert = selectedAlert.value;
    if (!alert) return;
    const isAcknowledged = this.#alerts.isAcknowledged(alert);
    this.#ack.setAttribute("aria-pressed", String(isAcknowledged));
    setText($("alert-details-ack-words"), isAcknowledged ? "Acknowledged" : "Acknowledge");
    const endedTag = $("alert-details-ended");
    endedTag.hidden = !this.#alerts.hasEnded(alert);
  }

  async #copyLink(): Promise<void> {
    if (!selectedAlert.value) return;
    const note = $("alert-details-copied");
    const address = alertUrl(selectedAlert.value);
    try {
      await navigator.clipboard.writeText(address);
      setText(note, "· link copied");
    } catch {
      // there is no clipboard without https
      history.replaceState(null, "", address);
      setText(note, "· copy the link from the address bar");
    }
    setTimeout(() => setText(note, ""), 3000);
  }
}
