import { $, h, icon, reconcile, text } from "./dom.ts";
import { bytes, grouped, rate, span } from "./format.ts";
import { paint } from "./paint.ts";
import { clock } from "./prefs.ts";
import type { Lake, Pipeline } from "./protocol.ts";
import { Rates } from "./rates.ts";
import { Rejects } from "./rejects.ts";
import { view } from "./state.ts";
import { colors } from "./theme.ts";
import { full, MINE, short } from "./zone.ts";

const FRESH_S = 120;
const MANY = 1000;

type Cell = string | Node;

/** A table body whose rows stay while their texts change. */
class Table {
  readonly #rows = new Map<string, { row: HTMLElement; cells: HTMLElement[] }>();

  constructor(
    readonly body: HTMLElement,
    readonly names: readonly string[],
  ) {}

  fill(rows: readonly { key: string; cells: readonly Cell[]; state?: string }[]): void {
    const shown = rows.map(({ key, cells, state }) => {
      let entry = this.#rows.get(key);
      if (!entry) {
        const made = this.names.map((name) => h("td", { "data-label": name }));
        entry = { row: h("tr", {}, ...made), cells: made };
        this.#rows.set(key, entry);
      }
      entry.row.dataset.state = state ?? "";
      entry.cells.forEach((cell, at) => {
        const value = cells[at] ?? "";
        if (typeof value === "string") text(cell, value);
        else if (cell.firstChild !== value) cell.replaceChildren(value);
      });
      return entry.row;
    });
    reconcile(this.body, shown);
  }
}

export class PipelinePanel {
  readonly #rates = new Rates($("rates"));
  readonly #rejects = new Rejects();
  readonly #topics = new Table($("topics"), ["Topic", "Records", "Per second", "Partitions"]);
  readonly #groups = new Table($("groups"), ["Group", "Topic", "Lag", "Per second", "Lag by partition"]);
  readonly #lake = new Table($("lake"), ["Topic", "Records", "Segments", "Size", "Behind", "Newest stored", "Rejects"]);
  readonly #audits = new Table($("audits"), ["Topic", "When", "Result", "Records", "Kind"]);
  readonly #kept = new Map<string, HTMLElement>();
  #now: Pipeline | null = null;
  readonly #paint = () => this.#show();

  constructor() {
    const again = () => paint(this.#paint);
    view.on(again);
    colors.on(again);
    clock.on(again);
  }

  take(pipeline: Pipeline): void {
    this.#now = pipeline;
    const sum = (rates: { rate: number }[]) => rates.reduce((all, each) => all + (each.rate || 0), 0);
    this.#rates.add(pipeline.now_ms, sum(pipeline.topics), sum(pipeline.groups));
    paint(this.#paint);
  }

  #show(): void {
    const now = this.#now;
    $("pipeline-empty").hidden = !!now;
    $("pipeline-all").hidden = !now;
    if (!now || view.value !== "pipeline") return;
    this.#tiles(now);
    this.#rates.paint(colors.value);
    this.#topics.fill(
      now.topics.map(({ topic, records, rate: speed, partitions }) => ({
        key: topic,
        cells: [topic, grouped(records), rate(speed), String(partitions.length)],
      })),
    );
    this.#groups.fill(
      now.groups.map(({ group, topic, lag, rate: speed, partitions }) => ({
        key: `${group} ${topic}`,
        state: lag > MANY ? "warning" : "",
        cells: [group, topic, grouped(lag), rate(speed), this.#lags(`${group} ${topic}`, partitions)],
      })),
    );
    this.#stored(now);
    const zone = clock.value === "mine" ? MINE : "UTC";
    this.#audits.fill(
      now.audits.map(({ topic, ts_ms, ok, deep, records, findings }) => ({
        key: topic,
        state: ok ? "good" : "critical",
        cells: [topic, `${full(ts_ms, zone)} ${short(ts_ms, zone)}`, ok ? "✓ each record once" : `✕ ${grouped(findings)} findings`, grouped(records), deep ? "deep: every row read" : "offsets"],
      })),
    );
    $("audits-empty").hidden = now.audits.length > 0;
    $("groups-empty").hidden = now.groups.length > 0;
    $("topics-empty").hidden = now.topics.length > 0;
  }

  #stored({ lake, now_ms }: Pipeline): void {
    $("lake-part").hidden = !lake;
    $("lake-none").hidden = !!lake;
    if (!lake) return;
    text($("lake-uri"), lake.uri);
    $("lake-error").hidden = lake.ok;
    text($("lake-error"), lake.error || "The lake does not answer.");
    this.#lake.fill(
      lake.topics.map((each) => ({
        key: each.topic,
        state: each.behind_s > FRESH_S ? "warning" : "",
        cells: [
          each.topic,
          grouped(each.records),
          grouped(each.segments),
          bytes(each.bytes),
          each.behind ? `${grouped(each.behind)} (${span(each.behind_s)})` : "nothing",
          each.stored_ms ? `${span((now_ms - each.stored_ms) / 1000)} ago` : "–",
          this.#rejectButton(each.topic, each.rejects),
        ],
      })),
    );
    text($("lake-cost"), lake.cost?.explained ?? "");
  }

  #tiles({ kafka, topics, groups, lake, audits }: Pipeline): void {
    const sum = <T>(all: readonly T[], of: (each: T) => number) => all.reduce((total, each) => total + (of(each) || 0), 0);
    const lag = sum(groups, (each) => each.lag);
    tile("kafka", kafka.ok ? "answers" : "does not answer", kafka.ok ? `${topics.length} topics` : kafka.error, kafka.ok ? "good" : "critical");
    tile("in", `${rate(sum(topics, (each) => each.rate))}/s`, "written to Kafka");
    tile("out", `${rate(sum(groups, (each) => each.rate))}/s`, "read by groups");
    tile("lag", grouped(lag), groups.length ? `records, ${groups.length} group${groups.length > 1 ? "s" : ""}` : "no groups", lag > MANY * 10 ? "warning" : "");
    tile("lake", ...lakeWords(lake));
    const rejects = sum(lake?.topics ?? [], (each) => each.rejects);
    tile("rejects", lake ? grouped(rejects) : "–", lake ? "kept with their reasons" : "no lake was named", rejects ? "warning" : "");
    const bad = audits.filter(({ ok }) => !ok).length;
    tile("audit", !audits.length ? "–" : bad ? `${bad} failed` : "passed", audits.length ? `${audits.length} topic${audits.length > 1 ? "s" : ""}` : "not run yet", !audits.length ? "" : bad ? "critical" : "good");
    const cost = lake?.cost;
    tile("cost", cost ? `$${cost.usd.toFixed(cost.usd < 10 ? 4 : 2)}` : "–", cost ? `${grouped(cost.objects)} objects, ${bytes(cost.bytes)}` : "not known");
  }

  /** A bar for each partition, as high as its lag. */
  #lags(key: string, partitions: readonly { partition: number; lag: number }[]): HTMLElement {
    const box = this.#keep(`lag ${key}`, () => h("div", { class: "lags", role: "img" }));
    const most = Math.max(100, ...partitions.map(({ lag }) => lag));
    while (box.childElementCount < partitions.length) box.append(h("i"));
    partitions.forEach(({ partition, lag }, at) => {
      const bar = box.children[at] as HTMLElement;
      bar.style.transform = `scaleY(${Math.max(0.06, lag / most)})`;
      bar.title = `partition ${partition}: ${grouped(lag)}`;
    });
    box.setAttribute("aria-label", partitions.map(({ partition, lag }) => `${partition}: ${lag}`).join(", "));
    return box;
  }

  #rejectButton(topic: string, n: number): Cell {
    if (!n) return "none";
    const button = this.#keep(`rejects ${topic}`, () =>
      h("button", { type: "button", class: "small", click: () => void this.#rejects.open(topic) }, h("span"), icon("chevron")),
    );
    text(button.firstElementChild!, grouped(n));
    button.setAttribute("aria-label", `Show ${n} rejects of ${topic}`);
    return button;
  }

  #keep(key: string, make: () => HTMLElement): HTMLElement {
    let found = this.#kept.get(key);
    if (!found) this.#kept.set(key, (found = make()));
    return found;
  }
}

function lakeWords(lake: Lake | null): [string, string, string] {
  if (!lake) return ["–", "no lake was named", ""];
  if (!lake.ok) return ["unknown", lake.error || "the lake does not answer", "critical"];
  const oldest = Math.max(0, ...lake.topics.map((each) => each.behind_s));
  const behind = lake.topics.reduce((sum, each) => sum + each.behind, 0);
  return [behind ? span(oldest) : "up to date", behind ? `${grouped(behind)} records to store` : "all is stored", oldest > FRESH_S ? "warning" : "good"];
}

function tile(name: string, value: string, note: string, state = ""): void {
  const [figure, words] = [$(`tile-${name}`), $(`tile-${name}-note`)];
  text(figure, value);
  text(words, note);
  words.title = note;
  figure.parentElement!.dataset.state = state;
}
