// Messages to and from the server; times are in ms since 1970, UTC.

export type Severity = "info" | "warning" | "critical";
export const SEVERITIES: readonly Severity[] = ["info", "warning", "critical"];

export interface Alert {
  alert_id: string;
  rule_id: string;
  rule_version: number;
  kind: string;
  severity: Severity;
  state: "fired" | "cleared" | "expired";
  instrument_id: string;
  symbol: string;
  direction: "up" | "down" | "none";
  unit: string;
  suppressed_count: number;
  dedup_key: string;
  cause: string;
  message: string;
  latency_ms?: number | null;
  value?: number | null;
  threshold?: number | null;
  baseline?: number | null;
  window?: string | null;
  price?: number | null;
  reference_price?: number | null;
  volume?: number | null;
  score?: number | null;
  id: number;
  event_ms: number;
  detected_ms: number;
}

export interface Hello {
  t: "hello";
  epoch: string;
  version: string;
  now_ms: number;
  prefixes: string[];
  intervals: string[];
  indicators: string[];
  trades: boolean;
  login?: boolean;
}

export interface Instruments {
  t: "instruments";
  from: number;
  instrument: string[];
  symbol: string[];
  zone: string[];
}

/** Open, high and low are null together, where only the close is known. */
export type BarRow = [openMs: number, open: number | null, high: number | null, low: number | null, close: number, volume: number | null];

export interface LiveBar {
  t: "bar";
  id: number;
  interval: string;
  bar: BarRow;
  final: boolean;
}

export interface LiveValues {
  t: "values";
  id: number;
  interval: string;
  ms: number;
  values: Record<string, number | null>;
}

export interface ReaderStatus {
  t: "status";
  loading: number | null;
  kafka: "ok" | "connecting" | "lost";
  message: string;
  last_record_ms: number;
}

export interface PipelineState {
  now_ms: number;
  kafka: { ok: boolean; error: string };
  topics: { topic: string; records: number; rate: number; partitions: { partition: number; low: number; high: number }[] }[];
  groups: {
    group: string;
    topic: string;
    lag: number;
    rate: number;
    partitions: { partition: number; committed: number; lag: number }[];
  }[];
  lake: null | LakeState;
  audits: { topic: string; ts_ms: number; ok: boolean; deep: boolean; records: number; findings: number }[];
  /** What the dashboard has read of the topics, and what of it cannot be shown. */
  reader: { records: number; skipped: number };
}

export interface LakeState {
  uri: string;
  ok: boolean;
  error: string;
  topics: {
    topic: string;
    segments: number;
    bytes: number;
    records: number;
    behind: number;
    behind_s: number;
    stored_ms: number;
    rejects: number;
  }[];
  cost?: { usd: number; objects: number; bytes: number; explained: string } | null;
}

export type ServerMessage =
  | Hello
  | Instruments
  | LiveBar
  | LiveValues
  | ReaderStatus
  | ({ t: "pipeline" } & PipelineState)
  | { t: "alerts"; alerts: Alert[]; reset: boolean };

export type ClientRequest =
  | { t: "view"; ids: number[] }
  | { t: "chart"; id: number; interval: string }
  | { t: "chart"; id: null };

export interface BarsPage {
  instrument: string;
  interval: string;
  time: number[];
  open: (number | null)[];
  high: (number | null)[];
  low: (number | null)[];
  close: number[];
  volume: (number | null)[];
  forming: boolean;
  more: boolean;
}

export interface IndicatorsPage {
  time: number[];
  values: Record<string, (number | null)[]>;
}
