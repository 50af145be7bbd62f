import type { Alert, BarsPage, IndicatorsPage } from "./protocol.ts";

export class Refused extends Error {
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
  const answer = await fetch(url, { signal: signal ?? null, headers: { accept: "application/json" } });
  if (answer.status === 401) toLogin();
  if (!answer.ok) {
    const said = (await answer.json().catch(() => ({}))) as { error?: string; hint?: string };
    throw new Refused([said.error ?? `The server answered ${answer.status}`, said.hint].filter(Boolean).join(". "), answer.status);
  }
  return (await answer.json()) as T;
}

export function toLogin(): void {
  location.assign("/login");
}

export interface Span {
  instrument: string;
  interval: string;
  end?: number | undefined;
  limit: number;
}

export const bars = (of: Span, signal?: AbortSignal) => get<BarsPage>("/api/v1/bars", { ...of }, signal);

export const indicatorValues = (of: Span, signal?: AbortSignal) => get<IndicatorsPage>("/api/v1/indicators", { ...of }, signal);

export const alerts = (query: { instrument?: string; severity?: string; end?: number | undefined; limit: number }) =>
  get<{ alerts: Alert[]; more: boolean }>("/api/v1/alerts", query);

export async function intervalsOf(instrument: string): Promise<string[]> {
  const { instruments } = await get<{ instruments: { instrument: string; intervals?: string[] }[] }>("/api/v1/instruments", { instrument });
  return instruments.find((each) => each.instrument === instrument)?.intervals ?? [];
}

/** Rejects are shown as the server describes them. */
export type Reject = Record<string, unknown>;

export async function rejects(topic: string): Promise<Reject[]> {
  const answer = await get<{ rejects?: Reject[] } | Reject[]>("/api/v1/rejects", { topic, limit: 100 });
  return Array.isArray(answer) ? answer : (answer.rejects ?? []);
}

export const reject = (topic: string, partition: string, offset: string) =>
  get<Reject>(`/api/v1/rejects/${[topic, partition, offset].map(encodeURIComponent).join("/")}`);
