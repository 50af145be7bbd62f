import { $ } from "./dom.ts";
import { type View, view } from "./state.ts";

const narrow = matchMedia("(max-width: 820px)");
const PANELS: Record<View, string> = { watch: "watch", chart: "chart", alerts: "alerts", overview: "overview", pipeline: "pipeline" };

/** Tabs at the top, or on a phone at the bottom, where the watch list and the alerts are tabs as well. */
export function startTabs(): void {
  const list = $("tabs");
  const tabs = [...list.querySelectorAll<HTMLButtonElement>("[role=tab]")];
  const show = (name: View) => {
    const now = !narrow.matches && (name === "watch" || name === "alerts") ? "chart" : name;
    document.body.dataset.view = now;
    for (const tab of tabs) {
      const mine = tab.dataset.view === now;
      tab.setAttribute("aria-selected", String(mine));
      tab.tabIndex = mine ? 0 : -1;
    }
    for (const [each, id] of Object.entries(PANELS)) $(id).dataset.shown = String(each === now);
  };
  for (const tab of tabs) tab.addEventListener("click", () => view.set(tab.dataset.view as View));
  list.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    const there = tabs.filter((tab) => tab.offsetParent);
    const at = there.findIndex((tab) => tab.ariaSelected === "true");
    const next = there[(at + (event.key === "ArrowRight" ? 1 : -1) + there.length) % there.length];
    next?.click();
    next?.focus();
    event.preventDefault();
  });
  view.watch(show);
  narrow.addEventListener("change", () => show(view.value));
}
