import { redirectToLogin } from "./api.ts";
import type { ClientRequest, ServerMessage } from "./protocol.ts";
import { Signal } from "./signal.ts";

const MIN_BACKOFF_MS = 500;
const MAX_BACKOFF_MS = 10_000;
// the server sends a status every two seconds
const SERVER_TIMEOUT_MS = 10_000;
// close codes of the server
const CLOSE_LOGIN_REQUIRED = 4401;
const CLOSE_TRY_AGAIN_LATER = 1013;
const MAX_SENDS_PER_S = 15;

export type ConnectionState = { state: "open" } | { state: "opening"; first: boolean } | { state: "waiting"; untilMs: number };

interface Handlers {
  onMessage(message: ServerMessage): void;
  onFrame(buffer: ArrayBuffer): void;
  onOpen(): void;
}

/** The connection to `/live`; reconnects by itself. */
export class Connection {
  readonly status = new Signal<ConnectionState>({ state: "opening", first: true });
  #socket: WebSocket | null = null;
  #failures = 0;
  #retryTimer = 0;
  #lastMessageMs = 0;
  readonly #handlers: Handlers;
  readonly #pending = new Map<string, ClientRequest>();
  #flushTimer = 0;

  constructor(hooks: Handlers) {
    this.#handlers = hooks;
    document.addEventListener("visibilitychange", () => document.hidden || this.#reconnectNow());
    window.addEventListener("online", () => this.#reconnectNow());
    window.addEventListener("offline", () => this.#socket?.close());
    setInterval(() => this.#checkTimeout(), 1000);
  }

  open(): void {
    clearTimeout(this.#retryTimer);
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live`);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    this.#lastMessageMs = performance.now();
    this.status.set({ state: "opening", first: this.status.value.state === "opening" && this.status.value.first });
    socket.onmessage = ({ data }) => this.#receive(data as string | ArrayBuffer);
    socket.onclose = ({ code }) => this.#onClose(socket, code);
  }

  /** Send the latest request of each type, no more often than the server allows. */
  send(request: ClientRequest): void {
    this.#pending.set(request.t, request);
    if (!this.#flushTimer) this.#flushTimer = window.setTimeout(() => this.#sendPending(), 2000 / MAX_SENDS_PER_S);
  }

  #sendPending(): void {
    this.#flushTimer = 0;
    if (this.#socket?.readyState !== WebSocket.OPEN) return; // everything is sent again on opening
    for (const request of this.#pending.values()) this.#socket.send(JSON.stringify(request));
    this.#pending.clear();
  }

  #receive(data: string | ArrayBuffer): void {
    this.#lastMessageMs = performance.now();
    if (typeof data !== "string") {
      this.#handlers.onFrame(data);
      return;
    }
    const message = JSON.parse(data) as ServerMessage;
    if (message.t === "hello" && this.status.value.state !== "open") {
      this.#failures = 0;
      this.status.set({ state: "open" });
      this.#handlers.onMessage(message);
      this.#handlers.onOpen();
    } else {
      this.#handlers.onMessage(message);
    }
  }

  #onClose(socket: WebSocket, code: number): void {
    if (socket !== this.#socket) return;
    this.#socket = null;
    if (code === CLOSE_LOGIN_REQUIRED) {
      redirectToLogin();
      return;
    }
    const minBackoffMs = code === CLOSE_TRY_AGAIN_LATER ? 2000 : MIN_BACKOFF_MS;
    const wait = Math.min(MAX_BACKOFF_MS, minBackoffMs * 2 ** this.#failures++) * (0.75 + Math.random() / 2);
    this.status.set({ state: "waiting", untilMs: performance.now() + wait });
    this.#retryTimer = window.setTimeout(() => this.open(), wait);
  }

  #reconnectNow(): void {
    if (!this.#socket) this.open();
  }

  #checkTimeout(): void {
    if (!this.#socket || performance.now() - this.#lastMessageMs < SERVER_TIMEOUT_MS) return;
    // the browser may take minutes to close a dead connection
    const socket = this.#socket;
    socket.close();
    this.#onClose(socket, 0);
  }
}
