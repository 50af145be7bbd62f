import { type AlertBook, grave } from "./alerts.ts";
import { zoneOf } from "./chart.ts";
import { $, h, icon, reconcile, text } from "./dom.ts";
import { grouped } from "./format.ts";
import { paint } from "./paint.ts";
import { clock } from "./prefs.ts";
import type { Alert, Severity } from "./protocol.ts";
import { Signal } from "./signal.ts";
import { chosen, evidence, serverNow, view } from "./state.ts";
import { market } from "./store.ts";
import { moment, sentence, sign } from "./words.ts";

const STEP = 100;
const ANNOUNCE_MS = 5000;

interface Item {
  element: HTMLElement;
  alert: Alert;
}

export class AlertList {
  readonly opened = new Signal<Alert | null>(null);
  readonly #book: AlertBook;
  readonly #list = $("alert-list");
  readonly #severity = $<HTMLSelectElement>("alert-severity");
  readonly #symbol = $<HTMLInputElement>("alert-symbol");
  readonly #mine = $<HTMLButtonElement>("alert-mine");
  readonly #hide = $<HTMLButtonElement>("alert-hide");
  readonly #more = $<HTMLButtonElement>("alert-more");
  readonly #items = new Map<string, Item>();
  #shown: Alert[] = [];
  #limit = STEP;
  #exhausted = false;
  #unsaid: Alert[] = [];
  #saying = 0;
  #zone = "";
  readonly #paint = () => this.#show();

  constructor(book: AlertBook) {
    this.#book = book;
    const again = () => paint(this.#paint);
    for (const toggle of [this.#mine, this.#hide]) {
      toggle.addEventListener("click", () => {
        toggle.setAttribute("aria-pressed", String(toggle.ariaPressed !== "true"));
        this.#filtered();
      });
    }
    this.#severity.addEventListener("change", () => this.#filtered());
    this.#symbol.addEventListener("input", () => this.#filtered());
    this.#more.addEventListener("click", () => void this.#older());
    $("alert-all").addEventListener("click", () => book.acknowledge(this.#matching()));
    this.#list.addEventListener("click", (event) => this.#click(event));
    this.#list.addEventListener("keydown", (event) => this.#key(event));
    book.changed.on(again);
    book.arrived.on((alerts) => this.#announce(alerts));
    clock.on(again);
    chosen.on(() => (this.#mine.ariaPressed === "true" ? this.#filtered() : again()));
    evidence.on(again);
    view.on(again);
  }

  /** The alert that stands so many places below a given one. */
  beside(alert: Alert, by: number): Alert | undefined {
    return this.#shown[this.#shown.findIndex(({ alert_id }) => alert_id === alert.alert_id) + by];
  }

  #filtered(): void {
    this.#limit = STEP;
    this.#exhausted = false;
    this.#list.scrollTop = 0;
    paint(this.#paint);
  }

  #matching(): Alert[] {
    const least = grave(this.#severity.value as Severity);
    const query = this.#symbol.value.trim().toUpperCase();
    const mine = this.#mine.ariaPressed === "true";
    const hide = this.#hide.ariaPressed === "true";
    return this.#book.all.filter(
      (alert) =>
        grave(alert.severity) >= least &&
        (!query || alert.symbol.toUpperCase().includes(query)) &&
        (!mine || alert.id === chosen.value) &&
        !(hide && this.#book.isSeen(alert)),
    );
  }

  #show(): void {
    const zone = zoneOf(chosen.value);
    if (zone !== this.#zone) this.#items.clear();
    this.#zone = zone;
    const all = this.#matching();
    this.#shown = all.slice(0, this.#limit);
    text($("alert-count"), grouped(all.length));
    const fresh = all.filter((alert) => alert.state === "fired" && !this.#book.isSeen(alert)).length;
    text($("alerts-badge"), fresh ? (fresh > 99 ? "99+" : String(fresh)) : "");
    const held = this.#holding();
    reconcile(this.#list, this.#shown.map((alert) => this.#item(alert)));
    held();
    this.#more.hidden = all.length <= this.#limit && this.#exhausted;
    $("alert-empty").hidden = all.length > 0;
  }

  /** Keep what is being read where it is while others come above it. */
  #holding(): () => void {
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
    const seen = this.#book.isSeen(alert);
    const { element } = item;
    element.classList.toggle("seen", seen);
    element.classList.toggle("over", alert.state !== "fired" || this.#book.isOver(alert));
    element.toggleAttribute("data-current", evidence.value?.alert_id === alert.alert_id);
    const ack = element.querySelector<HTMLElement>(".ack")!;
    const label = seen ? "Mark as not seen" : "Acknowledge";
    if (ack.title !== label) {
      ack.title = label;
      ack.setAttribute("aria-label", label);
      ack.setAttribute("aria-pressed", String(seen));
    }
    return element;
  }

  /** In the zone of the clock at the top: one for all, so that times can be compared. */
  #build(alert: Alert, zone: string): HTMLElement {
    const state = alert.state === "fired" ? [] : [h("span", { class: "tag" }, alert.state)];
    return h(
      "li",
      { class: "alert", "data-testid": "alert", "data-id": alert.alert_id, "data-severity": alert.severity, "data-way": alert.direction },
      h(
        "button",
        { type: "button", class: "open" },
        h("span", { class: "severity", title: alert.severity }, icon(alert.severity), h("span", { class: "hidden" }, alert.severity)),
        h("time", { datetime: new Date(alert.event_ms).toISOString() }, moment(alert, zone, serverNow())),
        h("span", { class: "symbol", title: alert.instrument_id }, alert.symbol),
        h("span", { class: "sentence", title: alert.message }, h("i", { "aria-hidden": "true" }, sign(alert.direction)), ` ${sentence(alert)}`, ...state),
      ),
      h("button", { type: "button", class: "ack" }, icon("check")),
    );
  }

  #click(event: MouseEvent): void {
    const target = event.target as Element;
    const id = target.closest<HTMLElement>(".alert")?.dataset.id;
    const alert = id === undefined ? undefined : this.#items.get(id)?.alert;
    if (!alert) return;
    if (target.closest(".ack")) this.#book.acknowledge([alert], !this.#book.isSeen(alert));
    else this.open(alert);
  }

  open(alert: Alert): void {
    this.opened.set(alert);
    this.opened.set(null);
  }

  #key(event: KeyboardEvent): void {
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    const here = document.activeElement?.closest(".alert");
    const next = event.key === "ArrowDown" ? here?.nextElementSibling : here?.previousElementSibling;
    next?.querySelector<HTMLElement>(".open")?.focus();
    event.preventDefault();
    event.stopPropagation();
  }

  async #older(): Promise<void> {
    const all = this.#matching();
    if (all.length <= this.#limit && !this.#exhausted) {
      const mine = this.#mine.ariaPressed === "true" ? market.instrument[chosen.value] : undefined;
      const oldest = Math.min(...all.map(({ event_ms }) => event_ms));
      const query = { severity: this.#severity.value, ...(mine ? { instrument: mine } : {}), ...(Number.isFinite(oldest) ? { end: oldest } : {}) };
      this.#more.disabled = true;
      this.#exhausted = !(await this.#book.older(query).catch(() => true));
      this.#more.disabled = false;
    }
    this.#limit += STEP;
    paint(this.#paint);
  }

  /** Say new alerts to screen readers, together, not more often than can be listened to. */
  #announce(alerts: readonly Alert[]): void {
    this.#unsaid.push(...alerts);
    if (this.#saying) return;
    this.#saying = window.setTimeout(() => {
      const unsaid = this.#unsaid.splice(0);
      const [newest] = unsaid.sort((a, b) => grave(b.severity) - grave(a.severity));
      const others = unsaid.length - 1;
      this.#saying = 0;
      if (!newest) return;
      const log = $("alert-log");
      log.append(h("p", {}, `${newest.severity} alert: ${newest.message}${others > 0 ? ` and ${others} more` : ""}`));
      while (log.childElementCount > 5) log.firstElementChild!.remove();
    }, ANNOUNCE_MS);
  }
}
