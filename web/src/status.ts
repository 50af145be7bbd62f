import { $, h, icon, text, turn } from "./dom.ts";
import { span } from "./format.ts";
import type { Status } from "./protocol.ts";
import type { Line } from "./socket.ts";
import { serverNow } from "./state.ts";

const STALE_MS = 60_000;

export interface Words {
  kind: "live" | "wait" | "stale" | "lost";
  short: string;
  /** Said in a banner over the page; empty for none. */
  banner: string;
}

/** What the page says about its data. */
export function describe(line: Line, status: Status | null, nowMs: number, tickMs: number): Words {
  if (line.state === "waiting") {
    const seconds = Math.max(1, Math.ceil((line.untilMs - tickMs) / 1000));
    return { kind: "lost", short: `Connection lost, retrying in ${seconds} s`, banner: "Connection lost. What you see is the last that was received; it catches up by itself." };
  }
  if (line.state === "opening") {
    return line.first
      ? { kind: "wait", short: "Connecting …", banner: "" }
      : { kind: "lost", short: "Connection lost, trying …", banner: "Connection lost. What you see is the last that was received; it catches up by itself." };
  }
  if (!status) return { kind: "wait", short: "Connected", banner: "" };
  if (status.kafka === "lost") {
    return { kind: "lost", short: "Kafka does not answer", banner: `Kafka does not answer. ${status.message || "Nothing new can come until it does."}` };
  }
  if (status.kafka === "connecting") return { kind: "wait", short: "Connecting to Kafka …", banner: status.message };
  if (status.loading !== null) {
    return { kind: "wait", short: `Loading history ${Math.floor(status.loading * 100)}%`, banner: status.message };
  }
  if (!status.last_record_ms) return { kind: "stale", short: "Waiting for the first record", banner: status.message };
  const quiet = nowMs - status.last_record_ms;
  if (quiet >= STALE_MS) {
    return { kind: "stale", short: `No new data for ${span(quiet / 1000)} (market may be closed)`, banner: status.message };
  }
  return { kind: "live", short: "Live", banner: status.message };
}

const ICONS = { live: "live", wait: "wait", stale: "stale", lost: "lost" } as const;

export class StatusBar {
  #line: Line = { state: "opening", first: true };
  #status: Status | null = null;
  readonly #pill = $("status");
  readonly #mark = icon("wait");
  readonly #words = h("span", { class: "words" });
  readonly #banner = $("banner");
  readonly #progress = $("progress");

  constructor() {
    this.#pill.append(this.#mark, this.#words);
    setInterval(() => this.#show(), 1000);
    this.#show();
  }

  set line(line: Line) {
    this.#line = line;
    this.#show();
  }

  set status(status: Status | null) {
    this.#status = status;
    this.#show();
  }

  #show(): void {
    const words = describe(this.#line, this.#status, serverNow(), performance.now());
    if (this.#pill.dataset.kind !== words.kind) {
      this.#pill.dataset.kind = words.kind;
      document.body.dataset.fresh = words.kind;
      turn(this.#mark, ICONS[words.kind]);
    }
    text(this.#words, words.short);
    this.#pill.title = words.banner || words.short;
    text(this.#banner, words.banner);
    this.#banner.hidden = !words.banner;
    this.#banner.dataset.kind = words.kind;
    const loading = this.#line.state === "open" ? (this.#status?.loading ?? null) : null;
    this.#progress.hidden = loading === null;
    this.#progress.style.transform = `scaleX(${loading ?? 0})`;
  }
}
