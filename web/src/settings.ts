// The buttons at the top right.

import { zoneOf } from "./chart.ts";
import { $, h, text } from "./dom.ts";
import { closeOutside } from "./header.ts";
import { clock, palette, theme } from "./prefs.ts";
import type { Signal } from "./signal.ts";
import { chosen, hello, serverNow } from "./state.ts";
import { short, time } from "./zone.ts";

export function startSettings(): void {
  closeOutside($<HTMLDetailsElement>("settings"));
  radios("set-theme", theme, { system: "System", dark: "Dark", light: "Light" });
  radios("set-palette", palette, { blue: "Blue / orange", green: "Green / red" });
  radios("set-clock", clock, { exchange: "Exchange’s", mine: "Mine" });
  $("theme").addEventListener("click", () => theme.set(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
  $("clock").addEventListener("click", () => clock.set(clock.value === "exchange" ? "mine" : "exchange"));
  hello.on((now) => {
    text($("version"), now?.version ?? "");
    $("logout").hidden = !now?.login;
  });
  const tick = () => {
    const zone = zoneOf(chosen.value);
    text($("clock-time"), `${time(serverNow(), zone)} ${short(serverNow(), zone)}`);
  };
  clock.watch((now) => {
    text($("clock-whose"), now === "mine" ? "my time" : "exchange");
    tick();
  });
  chosen.on(tick);
  setInterval(tick, 1000);
}

function radios<T extends string>(id: string, choice: Signal<T>, names: Record<T, string>): void {
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
