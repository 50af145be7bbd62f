import { AlertList } from "./alertlist.ts";
import { AlertBook } from "./alerts.ts";
import { ChartPanel } from "./chart.ts";
import { $ } from "./dom.ts";
import { Evidence } from "./evidence.ts";
import { decode } from "./frames.ts";
import { Header } from "./header.ts";
import { listen } from "./keys.ts";
import { Notices } from "./notices.ts";
import { Overview } from "./overview.ts";
import { PipelinePanel } from "./pipeline.ts";
import { interval as wanted } from "./prefs.ts";
import { startProbe } from "./probe.ts";
import type { Alert, Hello, Message } from "./protocol.ts";
import { startSettings } from "./settings.ts";
import { Live } from "./socket.ts";
import { ahead, chosen, evidence, hello, view } from "./state.ts";
import { StatusBar } from "./status.ts";
import { listed, market, moved, sketched } from "./store.ts";
import { startTabs } from "./tabs.ts";
import { startTheme } from "./theme.ts";
import { WatchList } from "./watchlist.ts";
import { intervalOf } from "./words.ts";

startTheme();
startTabs();

const asked = new URLSearchParams(location.search);
/** What to open as soon as it is known. */
let pending: { name: string; at?: number } | null = start();

const status = new StatusBar();
const book = new AlertBook();
const live = new Live({ message: take, frame, opened });
const chart = new ChartPanel(book, (request) => live.send(request));
const watch = new WatchList(book);
const list = new AlertList(book);
const header = new Header(chart, watch);
const pipeline = new PipelinePanel();
new Overview(book);
new Evidence(book, list);
new Notices(book, openAlert);
startSettings();
startProbe(chart);

live.line.watch((line) => {
  status.line = line;
});
watch.onScreen.on(tellView);
chosen.on((id) => {
  if (id < 0) return;
  tellView();
  const name = market.instrument[id]!;
  document.title = `${market.symbol[id]} · tickerlake`;
  if (evidence.value?.id === id) return; // the alert has opened its own chart
  evidence.set(null);
  remember(name);
  void chart.show(id);
});
list.opened.on((alert) => alert && openAlert(alert));
chart.picked.on((alert) => alert && show(alert));
listen({
  search: () => watch.focusSearch(),
  step: (by) => watch.step(by),
  open: () => watch.openCursor(),
  escape: () => evidence.set(null),
  interval: (n) => header.nth(n),
  favourite: () => watch.toggleFavourite(chosen.value),
  acknowledge: () => {
    const alert = evidence.value;
    if (alert) book.acknowledge([alert], !book.isSeen(alert));
  },
  view: (name) => view.set(name),
  zoom: (factor, shift) => chart.zoom(factor, shift),
  now: () => void chart.goToNow(),
});
live.open();

function start(): { name: string; at?: number } | null {
  const name = asked.get("symbol");
  const at = Number(asked.get("t"));
  return name ? { name, ...(at > 0 ? { at } : {}) } : null;
}

function take(message: Message): void {
  switch (message.t) {
    case "hello":
      greet(message);
      break;
    case "instruments":
      market.name(message);
      listed.tell();
      openPending();
      break;
    case "alerts":
      book.take(message.alerts, message.reset);
      break;
    case "bar":
    case "values":
      chart.live(message);
      break;
    case "pipeline":
      ahead.set(message.now_ms - Date.now());
      pipeline.take(message);
      break;
    case "status":
      status.status = message;
      break;
  }
}

function greet(message: Hello): void {
  ahead.set(message.now_ms - Date.now());
  const before = hello.value?.epoch;
  if (before !== undefined && before !== message.epoch) startOver();
  hello.set(message);
}

/** Another server: its numbers mean other instruments. */
function startOver(): void {
  const name = market.instrument[chosen.value];
  if (name !== undefined) pending = { name };
  evidence.set(null);
  chosen.set(-1);
  chart.clear();
  market.reset();
  book.take([], true);
  listed.tell();
}

function frame(buffer: ArrayBuffer): void {
  const read = decode(buffer);
  if (read?.kind === "rows") {
    market.apply(read);
    moved.tell();
  } else if (read) {
    market.draw(read);
    sketched.tell();
  }
}

function opened(): void {
  status.status = null;
  tellView();
  void chart.resume();
}

function tellView(): void {
  const ids = new Set(watch.onScreen.value);
  if (chosen.value >= 0) ids.add(chosen.value);
  live.send({ t: "view", ids: [...ids].slice(-300) });
}

/** Open what was asked for, or else the first of the list. */
function openPending(): void {
  if (chosen.value >= 0 || !market.size) return;
  const id = pending ? market.find(pending.name) : market.rank.indexOf(0);
  $("chart-unknown").hidden = id >= 0;
  if (id < 0) {
    $("chart-unknown").textContent = `There is no ${pending?.name ?? "instrument"} yet. It opens here when its first record comes.`;
    return;
  }
  const at = pending?.at;
  pending = null;
  if (at === undefined) {
    chosen.set(id);
    return;
  }
  void openAt(id, at);
}

/** A deep link: the chart at a moment, and the alert that was told then. */
async function openAt(id: number, at: number): Promise<void> {
  const instrument = market.instrument[id]!;
  await book.older({ instrument, end: at + 1, limit: 20 }).catch(() => false);
  const then = book.of(id).filter(({ event_ms }) => event_ms === at);
  const alert = then.find(({ state }) => state === "fired") ?? then[0];
  if (alert) {
    openAlert(alert);
    return;
  }
  chosen.set(id);
  remember(instrument, at);
  void chart.show(id, { at });
}

/** Show an alert's evidence, and the chart at its moment. */
function openAlert(alert: Alert): void {
  show(alert);
  const id = alert.id;
  view.set("chart");
  if (id < 0) return;
  chosen.set(id);
  const bars = intervalOf(alert) || wanted.value;
  void chart.show(id, { at: alert.event_ms, ...(bars ? { interval: bars } : {}) });
}

function show(alert: Alert): void {
  evidence.set(alert);
  if (alert.id >= 0) remember(alert.instrument_id, alert.event_ms);
}

/** Make the address one that opens what is shown. */
function remember(symbol: string, at?: number): void {
  const query = new URLSearchParams({ symbol, ...(at === undefined ? {} : { t: String(at) }) });
  history.replaceState(null, "", `/?${query}`);
}
