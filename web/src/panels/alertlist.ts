import { type AlertStore, severityRank } from "../data/alerts.ts";
import { market } from "../data/market.ts";
import { clock } from "../data/preferences.ts";
import type { Alert, Severity } from "../data/protocol.ts";
import { Signal } from "../data/signal.ts";
import { selectedAlert, selectedId, serverNowMs, view } from "../data/state.ts";
import { directionArrow, formatAlertTimeShort, messageWithoutSymbol } from "../view/alerttext.ts";
import { $, h, icon, reconcile, setText } from "../view/dom.ts";
import { formatNumber } from "../view/format.ts";
import { schedulePaint } from "../view/paint.ts";
import { displayZone } from "../view/timezone.ts";

const PAGE_ALERTS = 100;
const ANNOUNCE_MS = 5000;

interface Item {
  element: HTMLElement;
  alert: Alert;
}

export class AlertList {
  readonly opened = new Signal<Alert | null>(null);
  readonly #alerts: AlertStore;
  readonly #list = $("alert-list");
  readonly #severity = $<HTMLSelectElement>("alert-severity");
  readonly #symbol = $<HTMLInputElement>("alert-symbol");
  readonly #thisChartButton = $<HTMLButtonElement>("alert-mine");
  readonly #newOnlyButton = $<HTMLButtonElement>("alert-hide");
  readonly #moreButton = $<HTMLButtonElement>("alert-more");
  readonly #items = new Map<string, Item>();
  #shown: Alert[] = [];
  #limit = PAGE_ALERTS;
  #exhausted = false;
  #unannounced: Alert[] = [];
  #announceTimer = 0;
  #zone = "";
  readonly #paint = () => this.#render();

  constructor(alerts: AlertStore) {
    this.#alerts = alerts;
    const repaint = () => schedulePaint(this.#paint);
    for (const toggle of [this.#thisChartButton, this.#newOnlyButton]) {
      toggle.addEventListener("click", () => {
        toggle.setAttribute("aria-pressed", String(toggle.ariaPressed !== "true"));
        this.#onFilterChange();
      });
    }
    this.#severity.addEventListener("change", () => this.#onFilterChange());
    this.#symbol.addEventListener("input", () => this.#onFilterChange());
    this.#moreButton.addEventListener("click", () => void this.#loadOlder());
    $("alert-all").addEventListener("click", () => alerts.acknowledge(this.#matching()));
    this.#list.addEventListener("click", (event) => this.#onClick(event));
    this.#list.addEventListener("keydown", (event) => this.#onKey(event));
    alerts.changed.on(repaint);
    alerts.arrived.on((arrived) => this.#announce(arrived));
    clock.on(repaint);
    selectedId.on(() => (this.#thisChartButton.ariaPressed === "true" ? this.#onFilterChange() : repaint()));
    selectedAlert.on(repaint);
    view.on(repaint);
  }

  /** The alert at an offset from another one in the list. */
  neighbor(alert: Alert, by: number): Alert | undefined {
    return this.#shown[this.#shown.findIndex(({ alert_id }) => alert_id === alert.alert_id) + by];
  }

  #onFilterChange(): void {
    this.#limit = PAGE_ALERTS;
    this.#exhausted = false;
    this.#list.scrollTop = 0;
    schedulePaint(this.#paint);
  }

  #matching(): Alert[] {
    const minRank = severityRank(this.#severity.value as Severity);
    const query = this.#symbol.value.trim().toUpperCase();
    const onlyThisChart = this.#thisChartButton.ariaPressed === "true";
    const onlyUnacknowledged = this.#newOnlyButton.ariaPressed === "true";
    return this.#alerts.all.filter(
      (alert) =>
        severityRank(alert.severity) >= minRank &&
        (!query || alert.symbol.toUpperCase().includes(query)) &&
        (!onlyThisChart || alert.id === selectedId.value) &&
        !(onlyUnacknowledged && this.#alerts.isAcknowledged(alert)),
    );
  }

  #render(): void {
    const zone = displayZone(selectedId.value);
    if (zone !== this.#zone) this.#items.clear();
    this.#zone = zone;
    const all = this.#matching();
    this.#shown = all.slice(0, this.#limit);
    setText($("alert-count"), formatNumber(all.length));
    const unread = all.filter((alert) => alert.state === "fired" && !this.#alerts.isAcknowledged(alert)).length;
    setText($("alerts-badge"), unread ? (unread > 99 ? "99+" : String(unread)) : "");
    const restoreScroll = this.#anchorScroll();
    reconcile(this.#list, this.#shown.map((alert) => this.#item(alert)));
    restoreScroll();
    this.#moreButton.hidden = all.length <= this.#limit && this.#exhausted;
    $("alert-empty").hidden = all.length > 0;
  }

  /** Return a function that restores the scroll position of the visible alerts when others were added above. */
  #anchorScroll(): () => void {
    const top = this.#list.scrollTop;
    const anchor = top > 4 ? [...this.#list.children].find((each) => (each as HTMLElement).offsetTop >= top) : undefined;
    const before = (anchor as HTMLElement | undefined)?.offsetTop ?? 0;
    return () => {
      if (anchor?.isConnected) this.#list.scrollTop = top + (anchor as HTMLElement).offsetTop - before;
    };
  }

  #item(alert: Alert): HTMLElement {
    let item = this.#items.get(alert.alert_id);
    if (!item) {
      if (this.#items.size > 4 * this.#limit) this.#items.clear();
      item = { element: this.#build(alert, this.#zone), alert };
      this.#items.set(alert.alert_id, item);
    }
    const isAcknowledged = this.#alerts.isAcknowledged(alert);
    const { element } = item;
    element.classList.toggle("acknowledged", isAcknowledged);
    element.classList.toggle("ended", alert.state !== "fired" || this.#alerts.hasEnded(alert));
    element.toggleAttribute("data-current", selectedAlert.value?.alert_id === alert.alert_id);
    const ack = element.querySelector<HTMLElement>(".ack")!;
    const label = isAcknowledged ? "Mark as unacknowledged" : "Acknowledge";
    if (ack.title !== label) {
      ack.title = label;
      ack.setAttribute("aria-label", label);
      ack.setAttribute("aria-pressed", String(isAcknowledged));
    }
    return element;
  }

  /** Create an item, in the same time zone as all others so that times can be compared. */
  #build(alert: Alert, zone: string): HTMLElement {
    const state = alert.state === "fired" ? [] : [h("span", { class: "tag" }, alert.state)];
    return h(
      "li",
      { class: "alert", "data-testid": "alert", "data-id": alert.alert_id, "data-severity": alert.severity, "data-direction": alert.direction },
      h(
        "button",
        { type: "button", class: "open" },
        h("span", { class: "severity", title: alert.severity }, icon(alert.severity), h("span", { class: "hidden" }, alert.severity)),
        h("time", { datetime: new Date(alert.event_ms).toISOString() }, formatAlertTimeShort(alert, zone, serverNowMs())),
        h("span", { class: "symbol", title: alert.instrument_id }, alert.symbol),
        h("span", { class: "sentence", title: alert.message }, h("i", { "aria-hidden": "true" }, directionArrow(alert.direction)), ` ${messageWithoutSymbol(alert)}`, ...state),
      ),
      h("button", { type: "button", class: "ack" }, icon("check")),
    );
  }

  #onClick(event: MouseEvent): void {
    const target = event.target as Element;
    const id = target.closest<HTMLElement>(".alert")?.dataset.id;
    const alert = id === undefined ? undefined : this.#items.get(id)?.alert;
    if (!alert) return;
    if (target.closest(".ack")) this.#alerts.acknowledge([alert], !this.#alerts.isAcknowledged(alert));
    else this.open(alert);
  }

  open(alert: Alert): void {
    this.opened.set(alert);
    this.opened.set(null);
  }

  #onKey(event: KeyboardEvent): void {
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    const current = document.activeElement?.closest(".alert");
    const next = event.key === "ArrowDown" ? current?.nextElementSibling : current?.previousElementSibling;
    next?.querySelector<HTMLElement>(".open")?.focus();
    event.preventDefault();
    event.stopPropagation();
  }

  async #loadOlder(): Promise<void> {
    const all = this.#matching();
    if (all.length <= this.#limit && !this.#exhausted) {
      const instrument = this.#thisChartButton.ariaPressed === "true" ? market.instrument[selectedId.value] : undefined;
      const oldest = Math.min(...all.map(({ event_ms }) => event_ms));
      const query = { severity: this.#severity.value, ...(instrument ? { instrument: instrument } : {}), ...(Number.isFinite(oldest) ? { end: oldest } : {}) };
      this.#moreButton.disabled = true;
      this.#exhausted = !(await this.#alerts.loadOlder(query).catch(() => true));
      this.#moreButton.disabled = false;
    }
    this.#limit += PAGE_ALERTS;
    schedulePaint(this.#paint);
  }

  /** Announce new alerts to screen readers, in batches that can be listened to. */
  #announce(alerts: readonly Alert[]): void {
    this.#unannounced.push(...alerts);
    if (this.#announceTimer) return;
    this.#announceTimer = window.setTimeout(() => {
      const batch = this.#unannounced.splice(0);
      const [newest] = batch.sort((a, b) => severityRank(b.severity) - severityRank(a.severity));
      const others = batch.length - 1;
      this.#announceTimer = 0;
      if (!newest) return;
      const log = $("alert-log");
      log.append(h("p", {}, `${newest.severity} alert: ${newest.message}${others > 0 ? ` and ${others} more` : ""}`));
      while (log.childElementCount > 5) log.firstElementChild!.remove();
    }, ANNOUNCE_MS);
  }
}
