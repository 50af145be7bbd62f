// The rejects of a topic: a list, and a single one in full.

import * as api from "../data/api.ts";
import { $, h, setText } from "../view/dom.ts";
import { formatDateTime } from "../view/timezone.ts";

const MAX_CHARS = 20_000;

const toText = (value: unknown): string => (typeof value === "string" ? value : value === undefined || value === null ? "" : JSON.stringify(value));

export class RejectsDialog {
  readonly #dialog = $<HTMLDialogElement>("rejects");
  readonly #list = $("reject-list");
  readonly #text = $("reject-text");
  readonly #note = $("reject-note");

  async open(topic: string): Promise<void> {
    setText($("reject-title"), `Rejects in ${topic}`);
    this.#list.replaceChildren();
    setText(this.#text, "");
    this.#note.hidden = false;
    setText(this.#note, "Loading …");
    this.#dialog.showModal();
    try {
      const rejects = await api.fetchRejects(topic);
      this.#list.replaceChildren(...rejects.map((reject) => this.#row(topic, reject)));
      setText(this.#note, rejects.length ? "" : "No rejects.");
      this.#note.hidden = rejects.length > 0;
    } catch (error) {
      setText(this.#note, error instanceof api.ApiError ? error.message : "Could not load the rejects.");
    }
  }

  #row(topic: string, reject: api.Reject): HTMLElement {
    const ms = Number(reject.timestamp_ms ?? reject.ts_ms);
    const cells = [ms ? formatDateTime(ms, "UTC", true) : "", toText(reject.partition), toText(reject.offset), toText(reject.reason)];
    const open = h("button", { type: "button", class: "small", click: () => void this.#showReject(topic, reject) }, "Show");
    return h("tr", {}, ...cells.map((cell) => h("td", {}, cell)), h("td", {}, open));
  }

  async #showReject(topic: string, { partition, offset }: api.Reject): Promise<void> {
    setText(this.#text, "Loading …");
    try {
      const reject = await api.fetchReject(topic, toText(partition), toText(offset));
      const json = JSON.stringify(reject, null, 2);
      setText(this.#text, json.length > MAX_CHARS ? `${json.slice(0, MAX_CHARS)}\n… ${json.length - MAX_CHARS} more characters` : json);
    } catch (error) {
      setText(this.#text, error instanceof Error ? error.message : "Could not load the record.");
    }
  }
}
