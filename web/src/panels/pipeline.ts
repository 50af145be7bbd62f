import { clock } from "../data/preferences.ts";
import type { LakeState, PipelineState } from "../data/protocol.ts";
import { view } from "../data/state.ts";
import { $, h, icon, reconcile, setText } from "../view/dom.ts";
import { formatBytes, formatDuration, formatNumber, formatRate } from "../view/format.ts";
import { schedulePaint } from "../view/paint.ts";
import { RatesChart } from "../view/rateschart.ts";
import { colors } from "../view/theme.ts";
import { formatDateTime, LOCAL_ZONE, zoneAbbreviation } from "../view/timezone.ts";
import { RejectsDialog } from "./rejects.ts";

const MAX_BEHIND_S = 120;
const HIGH_LAG = 1000;

type Cell = string | Node;

/** A table body that reuses its rows when their texts change. */
class KeyedTable {
  readonly #rows = new Map<string, { row: HTMLElement; cells: HTMLElement[] }>();

  constructor(
    readonly body: HTMLElement,
    readonly labels: readonly string[],
  ) {}

  fill(rows: readonly { key: string; cells: readonly Cell[]; state?: string }[]): void {
    const shown = rows.map(({ key, cells, state }) => {
      let entry = this.#rows.get(key);
      if (!entry) {
        const created = this.labels.map((name) => h("td", { "data-label": name }));
        entry = { row: h("tr", {}, ...created), cells: created };
        this.#rows.set(key, entry);
      }
      entry.row.dataset.state = state ?? "";
      entry.cells.forEach((cell, at) => {
        const value = cells[at] ?? "";
        if (typeof value === "string") setText(cell, value);
        else if (cell.firstChild !== value) cell.replaceChildren(value);
      });
      return entry.row;
    });
    reconcile(this.body, shown);
  }
}

export class PipelinePanel {
  readonly #rates = new RatesChart($("rates"));
  readonly #rejects = new RejectsDialog();
  readonly #topics = new KeyedTable($("topics"), ["Topic", "Records", "Per second", "Partitions"]);
  readonly #groups = new KeyedTable($("groups"), ["Group", "Topic", "Lag", "Per second", "Lag by partition"]);
  readonly #lake = new KeyedTable($("lake"), ["Topic", "Records", "Segments", "Size", "Lag", "Newest stored", "Rejects"]);
  readonly #audits = new KeyedTable($("audits"), ["Topic", "Time", "Result", "Records", "Scope"]);
  readonly #elements = new Map<string, HTMLElement>();
  #state: PipelineState | null = null;
  readonly #paint = () => this.#render();

  constructor() {
    const repaint = () => schedulePaint(this.#paint);
    view.on(repaint);
    colors.on(repaint);
    clock.on(repaint);
  }

  update(pipeline: PipelineState): void {
    this.#state = pipeline;
    const sum = (rates: { rate: number }[]) => rates.reduce((all, each) => all + (each.rate || 0), 0);
    this.#rates.add(pipeline.now_ms, sum(pipeline.topics), sum(pipeline.groups));
    schedulePaint(this.#paint);
  }

  #render(): void {
    const state = this.#state;
    $("pipeline-empty").hidden = !!state;
    $("pipeline-all").hidden = !state;
    if (!state || view.value !== "pipeline") return;
    this.#renderTiles(state);
    this.#rates.paint(colors.value);
    this.#topics.fill(
      state.topics.map(({ topic, records, rate: speed, partitions }) => ({
        key: topic,
        cells: [topic, formatNumber(records), formatRate(speed), String(partitions.length)],
      })),
    );
    this.#groups.fill(
      state.groups.map(({ group, topic, lag, rate: speed, partitions }) => ({
        key: `${group} ${topic}`,
        state: lag > HIGH_LAG ? "warning" : "",
        cells: [group, topic, formatNumber(lag), formatRate(speed), this.#lagBars(`${group} ${topic}`, partitions)],
      })),
    );
    this.#renderLake(state);
    const zone = clock.value === "local" ? LOCAL_ZONE : "UTC";
    this.#audits.fill(
      state.audits.map(({ topic, ts_ms, ok, deep, records, findings }) => ({
        key: topic,
        state: ok ? "good" : "critical",
        cells: [topic, `${formatDateTime(ts_ms, zone)} ${zoneAbbreviation(ts_ms, zone)}`, ok ? "✓ each record stored once" : `✕ ${formatNumber(findings)} findings`, formatNumber(records), deep ? "deep (all rows read)" : "offsets"],
      })),
    );
    $("audits-empty").hidden = state.audits.length > 0;
    $("groups-empty").hidden = state.groups.length > 0;
    $("topics-empty").hidden = state.topics.length > 0;
  }

  #renderLake({ lake, now_ms }: PipelineState): void {
    $("lake-part").hidden = !lake;
    $("lake-none").hidden = !!lake;
    if (!lake) return;
    setText($("lake-uri"), lake.uri);
    $("lake-error").hidden = lake.ok;
    setText($("lake-error"), lake.error || "The lake is not responding.");
    this.#lake.fill(
      lake.topics.map((each) => ({
        key: each.topic,
        state: each.behind_s > MAX_BEHIND_S ? "warning" : "",
        cells: [
          each.topic,
          formatNumber(each.records),
          formatNumber(each.segments),
          formatBytes(each.bytes),
          each.behind ? `${formatNumber(each.behind)} (${formatDuration(each.behind_s)})` : "0",
          each.stored_ms ? `${formatDuration((now_ms - each.stored_ms) / 1000)} ago` : "–",
          this.#rejectButton(each.topic, each.rejects),
        ],
      })),
    );
    setText($("lake-cost"), lake.cost?.explained ?? "");
  }

  #renderTiles({ kafka, topics, groups, lake, audits, reader }: PipelineState): void {
    const sum = <T>(all: readonly T[], of: (each: T) => number) => all.reduce((total, each) => total + (of(each) || 0), 0);
    const lag = sum(groups, (each) => each.lag);
    setTile("kafka", kafka.ok ? "up" : "not responding", kafka.ok ? `${topics.length} topics` : kafka.error, kafka.ok ? "good" : "critical");
    setTile("in", `${formatRate(sum(topics, (each) => each.rate))}/s`, reader.skipped ? `written to Kafka; ${formatNumber(reader.skipped)} records skipped` : "written to Kafka");
    setTile("out", `${formatRate(sum(groups, (each) => each.rate))}/s`, "read by consumer groups");
    setTile("lag", formatNumber(lag), groups.length ? `records, ${groups.length} group${groups.length > 1 ? "s" : ""}` : "no groups", lag > HIGH_LAG * 10 ? "warning" : "");
    setTile("lake", ...lakeTile(lake));
    const rejects = sum(lake?.topics ?? [], (each) => each.rejects);
    setTile("rejects", lake ? formatNumber(rejects) : "–", lake ? "stored with reasons" : "no lake configured", rejects ? "warning" : "");
    const failed = audits.filter(({ ok }) => !ok).length;
    setTile("audit", !audits.length ? "–" : failed ? `${failed} failed` : "passed", audits.length ? `${audits.length} topic${audits.length > 1 ? "s" : ""}` : "not run yet", !audits.length ? "" : failed ? "critical" : "good");
    const cost = lake?.cost;
    setTile("cost", cost ? `$${cost.usd.toFixed(cost.usd < 10 ? 4 : 2)}` : "–", cost ? `${formatNumber(cost.objects)} objects, ${formatBytes(cost.bytes)}` : "unknown");
  }

  /** A bar per partition, with its lag as the height. */
  #lagBars(key: string, partitions: readonly { partition: number; lag: number }[]): HTMLElement {
    const box = this.#cachedElement(`lag ${key}`, () => h("div", { class: "lags", role: "img" }));
    const maxLag = Math.max(100, ...partitions.map(({ lag }) => lag));
    while (box.childElementCount < partitions.length) box.append(h("i"));
    partitions.forEach(({ partition, lag }, at) => {
      const bar = box.children[at] as HTMLElement;
      bar.style.transform = `scaleY(${Math.max(0.06, lag / maxLag)})`;
      bar.title = `partition ${partition}: ${formatNumber(lag)}`;
    });
    box.setAttribute("aria-label", partitions.map(({ partition, lag }) => `${partition}: ${lag}`).join(", "));
    return box;
  }

  #rejectButton(topic: string, n: number): Cell {
    if (!n) return "0";
    const button = this.#cachedElement(`rejects ${topic}`, () =>
      h("button", { type: "button", class: "small", click: () => void this.#rejects.open(topic) }, h("span"), icon("chevron")),
    );
    setText(button.firstElementChild!, formatNumber(n));
    button.setAttribute("aria-label", `Show ${n} rejects in ${topic}`);
    return button;
  }

  #cachedElement(key: string, make: () => HTMLElement): HTMLElement {
    let element = this.#elements.get(key);
    if (!element) this.#elements.set(key, (element = make()));
    return element;
  }
}

function lakeTile(lake: LakeState | null): [string, string, string] {
  if (!lake) return ["–", "no lake configured", ""];
  if (!lake.ok) return ["unknown", lake.error || "the lake is not responding", "critical"];
  const oldest = Math.max(0, ...lake.topics.map((each) => each.behind_s));
  const behind = lake.topics.reduce((sum, each) => sum + each.behind, 0);
  return [behind ? formatDuration(oldest) : "up to date", behind ? `${formatNumber(behind)} records not stored yet` : "all records stored", oldest > MAX_BEHIND_S ? "warning" : "good"];
}

function setTile(name: string, value: string, note: string, state = ""): void {
  const [valueNode, noteNode] = [$(`tile-${name}`), $(`tile-${name}-note`)];
  setText(valueNode, value);
  setText(noteNode, note);
  noteNode.title = note;
  valueNode.parentElement!.dataset.state = state;
}
