import { type View, view } from "../data/state.ts";
import { $ } from "../view/dom.ts";

const narrow = matchMedia("(max-width: 820px)");
const PANELS: Record<View, string> = { watch: "watch", chart: "chart", alerts: "alerts", overview: "overview", pipeline: "pipeline" };

/** Tabs at the top; on a phone at the bottom, with the watch list and the alerts as additional tabs. */
export function startTabs(): void {
  const list = $("tabs");
  const tabs = [...list.querySelectorAll<HTMLButtonElement>("[role=tab]")];
  const show = (name: View) => {
    const current = !narrow.matches && (name === "watch" || name === "alerts") ? "chart" : name;
    document.body.dataset.view = current;
    for (const tab of tabs) {
      const isSelected = tab.dataset.view === current;
      tab.setAttribute("aria-selected", String(isSelected));
      tab.tabIndex = isSelected ? 0 : -1;
    }
    for (const [each, id] of Object.entries(PANELS)) $(id).dataset.shown = String(each === current);
  };
  for (const tab of tabs) tab.addEventListener("click", () => view.set(tab.dataset.view as View));
  list.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    const visible = tabs.filter((tab) => tab.offsetParent);
    const at = visible.findIndex((tab) => tab.ariaSelected === "true");
    const next = visible[(at + (event.key === "ArrowRight" ? 1 : -1) + visible.length) % visible.length];
    next?.click();
    next?.focus();
    event.preventDefault();
  });
  view.watch(show);
  narrow.addEventListener("change", () => show(view.value));
}
