import type { ConnectionState } from "../data/connection.ts";
import type { ReaderStatus } from "../data/protocol.ts";
import { serverNowMs } from "../data/state.ts";
import { $, h, icon, setIcon, setText } from "../view/dom.ts";
import { formatDuration } from "../view/format.ts";

const DISCONNECTED = "Connection lost. Showing the last data received; it updates when the connection is back.";
const STALE_MS = 60_000;

export interface StatusText {
  kind: "live" | "wait" | "stale" | "lost";
  label: string;
  /** Text of the banner at the top of the page; empty for none. */
  banner: string;
}

/** The status of the connection and the data. */
export function describeStatus(line: ConnectionState, status: ReaderStatus | null, nowMs: number, tickMs: number): StatusText {
  if (line.state === "waiting") {
    const seconds = Math.max(1, Math.ceil((line.untilMs - tickMs) / 1000));
    return { kind: "lost", label: `Connection lost, retrying in ${seconds} s`, banner: DISCONNECTED };
  }
  if (line.state === "opening") {
    return line.first
      ? { kind: "wait", label: "Connecting …", banner: "" }
      : { kind: "lost", label: "Connection lost, reconnecting …", banner: DISCONNECTED };
  }
  if (!status) return { kind: "wait", label: "Connected", banner: "" };
  if (status.kafka === "lost") {
    return { kind: "lost", label: "Kafka is not responding", banner: `Kafka is not responding. ${status.message || "No new data until it responds."}` };
  }
  if (status.kafka === "connecting") return { kind: "wait", label: "Connecting to Kafka …", banner: status.message };
  if (status.loading !== null) {
    return { kind: "wait", label: `Loading history ${Math.floor(status.loading * 100)}%`, banner: status.message };
  }
  if (!status.last_record_ms) return { kind: "stale", label: "Waiting for the first record", banner: status.message };
  const idleMs = nowMs - status.last_record_ms;
  if (idleMs >= STALE_MS) {
    return { kind: "stale", label: `No new data for ${formatDuration(idleMs / 1000)} (market may be closed)`, banner: status.message };
  }
  return { kind: "live", label: "Live", banner: status.message };
}

const ICONS = { live: "live", wait: "wait", stale: "stale", lost: "lost" } as const;

export class StatusBar {
  #connection: ConnectionState = { state: "opening", first: true };
  #status: ReaderStatus | null = null;
  readonly #pill = $("status");
  readonly #icon = icon("wait");
  readonly #label = h("span", { class: "words" });
  readonly #banner = $("banner");
  readonly #progress = $("progress");

  constructor() {
    this.#pill.append(this.#icon, this.#label);
    setInterval(() => this.#render(), 1000);
    this.#render();
  }

  set connection(line: ConnectionState) {
    this.#connection = line;
    this.#render();
  }

  set status(status: ReaderStatus | null) {
    this.#status = status;
    this.#render();
  }

  #render(): void {
    const status = describeStatus(this.#connection, this.#status, serverNowMs(), performance.now());
    if (this.#pill.dataset.kind !== status.kind) {
      this.#pill.dataset.kind = status.kind;
      document.body.dataset.fresh = status.kind;
      setIcon(this.#icon, ICONS[status.kind]);
    }
    setText(this.#label, status.label);
    this.#pill.title = status.banner || status.label;
    setText(this.#banner, status.banner);
    this.#banner.hidden = !status.banner;
    this.#banner.dataset.kind = status.kind;
    const loading = this.#connection.state === "open" ? (this.#status?.loading ?? null) : null;
    this.#progress.hidden = loading === null;
    this.#progress.style.transform = `scaleX(${loading ?? 0})`;
  }
}
