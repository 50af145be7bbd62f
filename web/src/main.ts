import { AlertStore } from "./data/alerts.ts";
import { Connection } from "./data/connection.ts";
import { decodeFrame } from "./data/frames.ts";
import { instrumentsChanged, market, sparklinesChanged, valuesChanged } from "./data/market.ts";
import { preferredInterval } from "./data/preferences.ts";
import type { Alert, Hello, ServerMessage } from "./data/protocol.ts";
import { clockOffsetMs, selectedAlert, selectedId, serverInfo, view } from "./data/state.ts";
import { AlertDetails } from "./panels/alertdetails.ts";
import { AlertList } from "./panels/alertlist.ts";
import { ChartPanel } from "./panels/chart.ts";
import { ChartHeader } from "./panels/chartheader.ts";
import { DesktopNotifications } from "./panels/notifications.ts";
import { Overview } from "./panels/overview.ts";
import { PipelinePanel } from "./panels/pipeline.ts";
import { startSettings } from "./panels/settings.ts";
import { StatusBar } from "./panels/status.ts";
import { startTabs } from "./panels/tabs.ts";
import { WatchList } from "./panels/watchlist.ts";
import { startProbe } from "./probe.ts";
import { alertInterval } from "./view/alerttext.ts";
import { $ } from "./view/dom.ts";
import { startKeyboard } from "./view/keyboard.ts";
import { startTheme } from "./view/theme.ts";

// the server accepts no more
const MAX_VIEW_ROWS = 300;

startTheme();
startTabs();

const searchParams = new URLSearchParams(location.search);
/** What to open as soon as its instrument is known. */
let pendingTarget: { name: string; at?: number } | null = initialTarget();

const status = new StatusBar();
const alerts = new AlertStore();
const connection = new Connection({ onMessage: handleMessage, onFrame: handleFrame, onOpen: handleOpen });
const chart = new ChartPanel(alerts, (request) => connection.send(request));
const watch = new WatchList(alerts);
const list = new AlertList(alerts);
const header = new ChartHeader(chart, watch);
const pipeline = new PipelinePanel();
new Overview(alerts);
new AlertDetails(alerts, list);
new DesktopNotifications(alerts, openAlert);
startSettings();
startProbe(chart);

connection.status.watch((line) => {
  status.connection = line;
});
watch.visibleIds.on(sendView);
selectedId.on((id) => {
  if (id < 0) return;
  sendView();
  const name = market.instrument[id]!;
  document.title = `${market.symbol[id]} · tickerlake`;
  if (selectedAlert.value?.id === id) return; // the alert has opened its own chart
  selectedAlert.set(null);
  updateAddress(name);
  void chart.show(id);
});
list.opened.on((alert) => alert && openAlert(alert));
chart.pickedAlert.on((alert) => alert && selectAlert(alert));
startKeyboard({
  search: () => watch.focusSearch(),
  step: (by) => watch.moveCursor(by),
  open: () => watch.openCursor(),
  escape: () => selectedAlert.set(null),
  interval: (n) => header.selectInterval(n),
  toggleFavorite: () => watch.toggleFavorite(selectedId.value),
  acknowledge: () => {
    const alert = selectedAlert.value;
    if (alert) alerts.acknowledge([alert], !alerts.isAcknowledged(alert));
  },
  view: (name) => view.set(name),
  zoom: (factor, shift) => chart.zoom(factor, shift),
  goToNewest: () => void chart.goToNewest(),
});
connection.open();

function initialTarget(): { name: string; at?: number } | null {
  const name = searchParams.get("symbol");
  const at = Number(searchParams.get("t"));
  return name ? { name, ...(at > 0 ? { at } : {}) } : null;
}

function handleMessage(message: ServerMessage): void {
  switch (message.t) {
    case "hello":
      handleHello(message);
      break;
    case "instruments":
      market.addInstruments(message);
      instrumentsChanged.emit();
      openPending();
      break;
    case "alerts":
      alerts.add(message.alerts, message.reset);
      break;
    case "bar":
    case "values":
      chart.addLive(message);
      break;
    case "pipeline":
      clockOffsetMs.set(message.now_ms - Date.now());
      pipeline.update(message);
      break;
    case "status":
      status.status = message;
      break;
  }
}

function handleHello(message: Hello): void {
  clockOffsetMs.set(message.now_ms - Date.now());
  const before = serverInfo.value?.epoch;
  if (before !== undefined && before !== message.epoch) reset();
  serverInfo.set(message);
}

/** The server has a new market: its ids mean other instruments. */
function reset(): void {
  const name = market.instrument[selectedId.value];
  if (name !== undefined) pendingTarget = { name };
  selectedAlert.set(null);
  selectedId.set(-1);
  chart.clear();
  market.reset();
  alerts.add([], true);
  instrumentsChanged.emit();
}

function handleFrame(buffer: ArrayBuffer): void {
  const frame = decodeFrame(buffer);
  if (frame?.kind === "rows") {
    market.applyRows(frame);
    valuesChanged.emit();
  } else if (frame) {
    market.applySparklines(frame);
    sparklinesChanged.emit();
  }
}

function handleOpen(): void {
  status.status = null;
  sendView();
  void chart.resume();
}

function sendView(): void {
  const ids = new Set(watch.visibleIds.value);
  if (selectedId.value >= 0) ids.add(selectedId.value);
  connection.send({ t: "view", ids: [...ids].slice(-MAX_VIEW_ROWS) });
}

/** Open the requested instrument, or else the first of the list. */
function openPending(): void {
  if (selectedId.value >= 0 || !market.size) return;
  const id = pendingTarget ? market.find(pendingTarget.name) : market.alphabeticalRank.indexOf(0);
  $("chart-unknown").hidden = id >= 0;
  if (id < 0) {
    $("chart-unknown").textContent = `No data for ${pendingTarget?.name ?? "the instrument"} yet. The chart opens when its first record arrives.`;
    return;
  }
  const at = pendingTarget?.at;
  pendingTarget = null;
  if (at === undefined) {
    selectedId.set(id);
    return;
  }
  void openAt(id, at);
}

/** Open a deep link: the chart at a time, and the alert that fired then. */
async function openAt(id: number, at: number): Promise<void> {
  const instrument = market.instrument[id]!;
  await alerts.loadOlder({ instrument, end: at + 1, limit: 20 }).catch(() => false);
  const then = alerts.forInstrument(id).filter(({ event_ms }) => event_ms === at);
  const alert = then.find(({ state }) => state === "fired") ?? then[0];
  if (alert) {
    openAlert(alert);
    return;
  }
  selectedId.set(id);
  updateAddress(instrument, at);
  void chart.show(id, { at });
}

/** Show the details of an alert, and the chart at its time. */
function openAlert(alert: Alert): void {
  selectAlert(alert);
  const id = alert.id;
  view.set("chart");
  if (id < 0) return;
  selectedId.set(id);
  const bars = alertInterval(alert) || preferredInterval.value;
  void chart.show(id, { at: alert.event_ms, ...(bars ? { interval: bars } : {}) });
}

function selectAlert(alert: Alert): void {
  selectedAlert.set(alert);
  if (alert.id >= 0) updateAddress(alert.instrument_id, alert.event_ms);
}

/** Set the address to a link to what is shown. */
function updateAddress(symbol: string, at?: number): void {
  const query = new URLSearchParams({ symbol, ...(at === undefined ? {} : { t: String(at) }) });
  history.replaceState(null, "", `/?${query}`);
}
