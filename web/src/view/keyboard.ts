// Keyboard shortcuts, available everywhere except in text fields.

import { $ } from "./dom.ts";

export interface Actions {
  search(): void;
  step(by: number): void;
  open(): void;
  escape(): void;
  interval(n: number): void;
  toggleFavorite(): void;
  acknowledge(): void;
  view(name: "chart" | "overview" | "pipeline"): void;
  zoom(factor: number, shift: number): void;
  goToNewest(): void;
}

const TEXT_FIELDS = "input:not([type=checkbox]), select, textarea, [contenteditable]";

export function startKeyboard(actions: Actions): void {
  const help = $<HTMLDialogElement>("help");
  const keys: Record<string, () => void> = {
    "/": actions.search,
    ArrowDown: () => actions.step(1),
    ArrowUp: () => actions.step(-1),
    ArrowLeft: () => actions.zoom(1, -0.2),
    ArrowRight: () => actions.zoom(1, 0.2),
    Enter: actions.open,
    Escape: actions.escape,
    "+": () => actions.zoom(0.75, 0),
    "-": () => actions.zoom(1.33, 0),
    "0": actions.goToNewest,
    "?": () => help.showModal(),
    f: actions.toggleFavorite,
    a: actions.acknowledge,
    c: () => actions.view("chart"),
    o: () => actions.view("overview"),
    p: () => actions.view("pipeline"),
  };
  document.addEventListener("keydown", (event) => {
    const target = event.target as Element;
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (document.querySelector("dialog[open]") || target.matches(TEXT_FIELDS)) return;
    if (event.key === "Enter" && target.matches("button, a, summary, input")) return;
    if (event.key.startsWith("Arrow") && target.matches("[role=tab]")) return;
    const action = /^[1-9]$/.test(event.key) ? () => actions.interval(Number(event.key) - 1) : keys[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog || (event.target as Element).closest("[data-close]")) dialog.close();
    });
  }
  $("help-open").addEventListener("click", () => help.showModal());
}
