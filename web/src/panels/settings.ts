// The settings menu and the clock.

import { clock, palette, theme } from "../data/preferences.ts";
import type { Signal } from "../data/signal.ts";
import { selectedId, serverInfo, serverNowMs } from "../data/state.ts";
import { $, h, setText } from "../view/dom.ts";
import { displayZone, formatTime, zoneAbbreviation } from "../view/timezone.ts";
import { closeOnOutsideClick } from "./chartheader.ts";

export function startSettings(): void {
  closeOnOutsideClick($<HTMLDetailsElement>("settings"));
  buildRadios("set-theme", theme, { system: "System", dark: "Dark", light: "Light" });
  buildRadios("set-palette", palette, { blue: "Blue / orange", green: "Green / red" });
  buildRadios("set-clock", clock, { exchange: "Exchange", local: "Local" });
  $("theme").addEventListener("click", () => theme.set(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
  $("clock").addEventListener("click", () => clock.set(clock.value === "exchange" ? "local" : "exchange"));
  serverInfo.on((now) => {
    setText($("version"), now?.version ?? "");
    $("logout").hidden = !now?.login;
  });
  const tick = () => {
    const zone = displayZone(selectedId.value);
    setText($("clock-time"), `${formatTime(serverNowMs(), zone)} ${zoneAbbreviation(serverNowMs(), zone)}`);
  };
  clock.watch((now) => {
    setText($("clock-zone"), now);
    tick();
  });
  selectedId.on(tick);
  setInterval(tick, 1000);
}

function buildRadios<T extends string>(id: string, choice: Signal<T>, names: Record<T, string>): void {
  const group = $(id);
  for (const [value, name] of Object.entries<string>(names)) {
    const input = h("input", { type: "radio", name: id, value });
    input.addEventListener("change", () => choice.set(value as T));
    choice.watch((now) => {
      input.checked = now === value;
    });
    group.append(h("label", {}, input, h("span", {}, name)));
  }
}
