import { toLogin } from "./api.ts";
import type { Message, Request } from "./protocol.ts";
import { Signal } from "./signal.ts";

const LEAST_MS = 500;
const MOST_MS = 10_000;
// the server speaks every two seconds
const SILENCE_MS = 10_000;
const LOGIN_ENDED = 4401;
const TRY_LATER = 1013;
const SENDS_A_SECOND = 15;

export type Line = { state: "open" } | { state: "opening"; first: boolean } | { state: "waiting"; untilMs: number };

interface Hooks {
  message(message: Message): void;
  frame(buffer: ArrayBuffer): void;
  opened(): void;
}

/** The connection to `/live`: it comes back by itself. */
export class Live {
  readonly line = new Signal<Line>({ state: "opening", first: true });
  #socket: WebSocket | null = null;
  #failures = 0;
  #retry = 0;
  #heardMs = 0;
  readonly #hooks: Hooks;
  readonly #waiting = new Map<string, Request>();
  #flush = 0;

  constructor(hooks: Hooks) {
    this.#hooks = hooks;
    document.addEventListener("visibilitychange", () => document.hidden || this.#hurry());
    window.addEventListener("online", () => this.#hurry());
    window.addEventListener("offline", () => this.#socket?.close());
    setInterval(() => this.#listen(), 1000);
  }

  open(): void {
    clearTimeout(this.#retry);
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live`);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    this.#heardMs = performance.now();
    this.line.set({ state: "opening", first: this.line.value.state === "opening" && this.line.value.first });
    socket.onmessage = ({ data }) => this.#take(data as string | ArrayBuffer);
    socket.onclose = ({ code }) => this.#closed(socket, code);
  }

  /** Send the newest of each kind of request, not more often than the server allows. */
  send(request: Request): void {
    this.#waiting.set(request.t, request);
    if (!this.#flush) this.#flush = window.setTimeout(() => this.#sendWaiting(), 2000 / SENDS_A_SECOND);
  }

  #sendWaiting(): void {
    this.#flush = 0;
    if (this.#socket?.readyState !== WebSocket.OPEN) return; // all is said anew on opening
    for (const request of this.#waiting.values()) this.#socket.send(JSON.stringify(request));
    this.#waiting.clear();
  }

  #take(data: string | ArrayBuffer): void {
    this.#heardMs = performance.now();
    if (typeof data !== "string") {
      this.#hooks.frame(data);
      return;
    }
    const message = JSON.parse(data) as Message;
    if (message.t === "hello" && this.line.value.state !== "open") {
      this.#failures = 0;
      this.line.set({ state: "open" });
      this.#hooks.message(message);
      this.#hooks.opened();
    } else {
      this.#hooks.message(message);
    }
  }

  #closed(socket: WebSocket, code: number): void {
    if (socket !== this.#socket) return;
    this.#socket = null;
    if (code === LOGIN_ENDED) {
      toLogin();
      return;
    }
    const least = code === TRY_LATER ? 2000 : LEAST_MS;
    const wait = Math.min(MOST_MS, least * 2 ** this.#failures++) * (0.75 + Math.random() / 2);
    this.line.set({ state: "waiting", untilMs: performance.now() + wait });
    this.#retry = window.setTimeout(() => this.open(), wait);
  }

  #hurry(): void {
    if (!this.#socket) this.open();
  }

  #listen(): void {
    if (!this.#socket || performance.now() - this.#heardMs < SILENCE_MS) return;
    // a dead line may take minutes to be told as closed
    const socket = this.#socket;
    socket.close();
    this.#closed(socket, 0);
  }
}
