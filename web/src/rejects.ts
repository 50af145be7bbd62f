// Records that could not be used: a list, and one in full.

import * as api from "./api.ts";
import { $, h, text } from "./dom.ts";
import { full } from "./zone.ts";

const LONG = 20_000;

const plain = (value: unknown): string => (typeof value === "string" ? value : value === undefined || value === null ? "" : JSON.stringify(value));

export class Rejects {
  readonly #dialog = $<HTMLDialogElement>("rejects");
  readonly #list = $("reject-list");
  readonly #text = $("reject-text");
  readonly #note = $("reject-note");

  async open(topic: string): Promise<void> {
    text($("reject-title"), `Rejects of ${topic}`);
    this.#list.replaceChildren();
    text(this.#text, "");
    this.#note.hidden = false;
    text(this.#note, "Loading …");
    this.#dialog.showModal();
    try {
      const found = await api.rejects(topic);
      this.#list.replaceChildren(...found.map((reject) => this.#row(topic, reject)));
      text(this.#note, found.length ? "" : "None.");
      this.#note.hidden = found.length > 0;
    } catch (error) {
      text(this.#note, error instanceof api.Refused ? error.message : "They could not be loaded.");
    }
  }

  #row(topic: string, reject: api.Reject): HTMLElement {
    const ms = Number(reject.timestamp_ms ?? reject.ts_ms);
    const cells = [ms ? full(ms, "UTC", true) : "", plain(reject.partition), plain(reject.offset), plain(reject.reason)];
    const open = h("button", { type: "button", class: "small", click: () => void this.#one(topic, reject) }, "Show");
    return h("tr", {}, ...cells.map((cell) => h("td", {}, cell)), h("td", {}, open));
  }

  async #one(topic: string, { partition, offset }: api.Reject): Promise<void> {
    text(this.#text, "Loading …");
    try {
      const reject = await api.reject(topic, plain(partition), plain(offset));
      const words = JSON.stringify(reject, null, 2);
      text(this.#text, words.length > LONG ? `${words.slice(0, LONG)}\n… ${words.length - LONG} more characters` : words);
    } catch (error) {
      text(this.#text, error instanceof Error ? error.message : "It could not be loaded.");
    }
  }
}
