import type { Alert, BarsPage, IndicatorsPage } from "./protocol.ts";

export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

type Query = Record<string, string | number | undefined>;

async function get<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
  const url = new URL(path, location.origin);
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== "") url.searchParams.set(name, String(value));
  }
  const response = await fetch(url, { signal: signal ?? null, headers: { accept: "application/json" } });
  if (response.status === 401) redirectToLogin();
  if (!response.ok) {
    const errorBody = (await response.json().catch(() => ({}))) as { error?: string; hint?: string };
    throw new ApiError([errorBody.error ?? `The server responded with status ${response.status}`, errorBody.hint].filter(Boolean).join(". "), response.status);
  }
  return (await response.json()) as T;
}

export function redirectToLogin(): void {
  location.assign("/login");
}

export interface ChartQuery {
  instrument: string;
  interval: string;
  end?: number | undefined;
  limit: number;
}

export const fetchBars = (query: ChartQuery, signal?: AbortSignal) => get<BarsPage>("/api/v1/bars", { ...query }, signal);

export const fetchIndicators = (query: ChartQuery, signal?: AbortSignal) => get<IndicatorsPage>("/api/v1/indicators", { ...query }, signal);

export const fetchAlerts = (query: { instrument?: string; severity?: string; end?: number | undefined; limit: number }) =>
  get<{ alerts: Alert[]; more: boolean }>("/api/v1/alerts", query);

export async function fetchIntervals(instrument: string): Promise<string[]> {
  const { instruments } = await get<{ instruments: { instrument: string; intervals?: string[] }[] }>("/api/v1/instruments", { instrument });
  return instruments.find((each) => each.instrument === instrument)?.intervals ?? [];
}

/** A reject, shown with the fields that the server sends. */
export type Reject = Record<string, unknown>;

export async function fetchRejects(topic: string): Promise<Reject[]> {
  const response = await get<{ rejects?: Reject[] } | Reject[]>("/api/v1/rejects", { topic, limit: 100 });
  return Array.isArray(response) ? response : (response.rejects ?? []);
}

export const fetchReject = (topic: string, partition: string, offset: string) =>
  get<Reject>(`/api/v1/rejects/${[topic, partition, offset].map(encodeURIComponent).join("/")}`);
